"""One side of a comparison, in an interpreter of its own: this package and its peer import under the same name.

Reads JSON lines and answers each with one: {"do": "build" or "layer", ...} first, then methods of `Side`. An answer
{"error": ...} says what this side cannot do.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from harness import peak_mib, saved_for_backward, timer_of
from reporting import machine
from torch import Tensor, nn
from variants import inference, reason, step

Part = tuple[nn.Module, dict[str, Tensor]]
"""A module and its parameters θ, w, b by name, w and b where they are trainable."""


def ours(request: dict[str, Any], data: dict[str, Tensor]) -> Part:
    from qkan import QKANLinear

    n_out, n_in, angles = data["theta"].shape
    layer = QKANLinear(
        n_in,
        n_out,
        reps=angles // 2 - 1,
        solver=request["solver"],
        readout=request["readout"],
        encoding="trainable" if request["trainable"] else "unit",
        device=request["device"],
    )
    names = {"theta": layer.theta}
    if request["trainable"]:
        names |= {"w": layer.encoding_weight, "b": layer.encoding_bias}
    return layer, names


def peer(request: dict[str, Any], data: dict[str, Tensor]) -> Part:
    from qkan import QKAN

    n_out, n_in, angles = data["theta"].shape
    model = QKAN(
        [n_in, n_out],
        reps=angles // 2 - 1,
        solver=request["solver"],
        fast_measure=request["readout"] == "amplitude",
        preact_trainable=request["trainable"],
        checkpoint_reps=request["checkpoint"],
        device=request["device"],
    )
    layer = model.layers[0]
    names = {"theta": layer.theta}
    if request["trainable"]:
        names |= {"w": layer.preacts_weight, "b": layer.preacts_bias}
    return model, names


def random_layer(request: dict[str, Any]) -> "Side":
    """Return a layer of ours with any options, and random inputs."""
    from qkan import QKANLinear

    layer = QKANLinear(request["n_in"], request["n_out"], device=request["device"], **request["options"])
    data = {
        "x": torch.randn(request["batch"], request["n_in"]),
        "upstream": torch.randn(request["batch"], request["n_out"]),
    }
    parameters = dict(layer.named_parameters())
    return Side(
        (layer, parameters), {name: tensor.to(request["device"]) for name, tensor in data.items()}, request["device"]
    )


def layer_of(request: dict[str, Any]) -> "Side":
    """Return a layer of either package with the given inputs and parameters."""
    data = torch.load(request["inputs"], weights_only=True, map_location=request["device"])
    part = (ours if request["package"] == "qkan-torch" else peer)(request, data)
    # the peer's PennyLane solver reads θ as [in, out]
    turned = request["package"] == "qkan" and request["solver"] == "qml"
    for name, own in part[1].items():
        own.data = (data[name].transpose(0, 1) if turned else data[name]).reshape(own.shape).contiguous()
    return Side(part, data, request["device"], turned)


class Side:
    """A layer with its parameters and inputs, and what can be asked of it."""

    def __init__(self, part: Part, data: dict[str, Tensor], device: str, turned: bool = False) -> None:
        self.module, self.parameters = part
        self.device, self.timer, self.turned = device, timer_of(device), turned
        self.x, self.upstream = data["x"].requires_grad_(), data["upstream"]
        build = step(self.x, self.upstream)
        self.functions: dict[str, Callable[[Tensor], Tensor]] = {"eager": self.module}
        self.runs = {"eager": build(self.module, list(self.parameters.values()))}
        self.small = step(self.x[:1].detach().requires_grad_(), self.upstream[:1])
        self.build = build

    def outputs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write y and the gradients of x, θ, w, b."""
        y = self.module(self.x)
        gradients = torch.autograd.grad(y, [self.x, *self.parameters.values()], self.upstream)
        results = dict(zip(["x", *self.parameters], gradients, strict=True))
        if self.turned:
            results["theta"] = results["theta"].transpose(0, 1)
        flat = {name: gradient.reshape(gradient.shape[0], -1).cpu() for name, gradient in results.items()}
        torch.save({"y": y.detach().cpu(), **flat}, request["path"])
        return {"device": y.device.type, "dtype": str(y.dtype)}

    def memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return MiB at the peak (eager, in a process that did nothing else) and saved for backward."""
        peak = {}
        if request["mode"] == "eager":
            self.small(self.module, list(self.parameters.values()))()
            peak = {"peak MiB": peak_mib(self.runs["eager"], self.device)}
        function = self.functions[request["mode"]]
        known = [self.x, self.upstream, *self.module.parameters(), *self.module.buffers()]
        return peak | {"saved MiB": saved_for_backward(lambda: function(self.x), known)}

    def compile(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compile; where graph breaks are allowed, whatever compiles is compiled."""
        function = torch.compile(self.module, dynamic=False, fullgraph=request["fullgraph"])
        run = self.build(function, list(self.parameters.values()))
        run()
        self.functions["compiled"], self.runs["compiled"] = function, run
        return {}

    def inference(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make forward passes in evaluation mode, without gradients, a mode of `time`."""
        self.runs["inference"] = inference(self.x)(self.module, [])
        return {}

    def time(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the median milliseconds of the calls in a mode."""
        self.module.train(request["mode"] != "inference")
        return {"ms": self.timer(self.runs[request["mode"]], request["calls"])}


MAKERS = {"build": layer_of, "layer": random_layer}


def main() -> None:
    # Whatever a package prints goes to the error stream: the answers are alone in the output.
    answers, sys.stdout = os.fdopen(os.dup(1), "w"), sys.stderr
    os.dup2(2, 1)
    side: Side | None = None
    for line in sys.stdin:
        request = json.loads(line)
        do, answer = request["do"], {}
        try:
            if do == "machine":
                answer = machine(*request["packages"])
            elif do in MAKERS:
                torch.set_num_threads(request["threads"])
                side = MAKERS[do](request)
            else:
                answer = getattr(side, do)(request)
        except Exception as error:  # the other side tells it
            answer = {"error": reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
