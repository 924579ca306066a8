"""Claim: a training step of HQKAN-44, with its convolutions, costs at most 1.05 times that of the network with an MLP.

    python benchmarks/hqkan_step.py

The networks of the CIFAR-100 study at its batch of 1000: gradients to None, forward, cross-entropy, backward, Adam.
In one process, in turn; then the heads alone, on 256 features that need no gradient. `/ mlp` compares equal columns.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness import Row, Run, interleaved, median, ratio
from torch import Tensor, nn
from variants import Setup, compiled, main, reason, replay

from qkan.models.study import StudyNetwork

WHOLE, HEADS = ("mlp", "hqkan-44"), ("mlp", "hqkan-44", "linear")
AMPLITUDE = "hqkan-44, amplitude"


def rows(setup: Setup) -> list[Row]:
    batch = setup.batch(1000)
    images = torch.rand(batch, 3, 32, 32, device=setup.device) * 2 - 1
    columns = torch.randn(batch, 256, device=setup.device)
    whole = {name: StudyNetwork(name, 3, 100).to(setup.device) for name in WHOLE}
    whole[AMPLITUDE] = StudyNetwork("hqkan-44", 3, 100, readout="amplitude").to(setup.device)
    heads = {name: StudyNetwork(name, 3, 100).head.to(setup.device) for name in HEADS}
    return _measure("whole network", whole, images, setup) + _measure("head alone", heads, columns, setup)


def _measure(part: str, models: dict[str, nn.Module], inputs: Tensor, setup: Setup) -> list[Row]:
    torch._dynamo.reset()
    targets = torch.randint(100, (len(inputs),), device=setup.device)
    runs: dict[str, Run] = {}
    notes: dict[str, str] = {}
    for name, model in models.items():
        makers = {"eager": lambda m=model: _step(m, m, inputs, targets)}
        makers["compiled"] = lambda m=model: _step(m, compiled(m), inputs, targets)
        if setup.device == "cuda":
            makers["replay"] = lambda m=model: replay(_step(m, m, inputs, targets))
        for way, make in makers.items():
            try:
                runs[f"{name} {way}"] = make()
                runs[f"{name} {way}"]()
            except Exception as error:  # told in the table
                runs.pop(f"{name} {way}", None)
                notes[name] = f"{way}: {reason(error)}"
    times = interleaved(runs, setup.rounds, setup.calls, setup.timer)
    return [_row(part, name, len(inputs), model, times) | {"note": notes.get(name)} for name, model in models.items()]


def _row(part: str, name: str, batch: int, model: nn.Module, times: dict[str, list[float]]) -> Row:
    row: Row = {"part": part, "model": name, "batch": batch, "parameters": sum(p.numel() for p in model.parameters())}
    for way in dict.fromkeys(key.rsplit(" ", 1)[1] for key in times):
        row[f"{way} ms"] = median(times, f"{name} {way}")
        row[f"{way} / mlp"] = ratio(times, f"{name} {way}", f"mlp {way}")
    return row


def _step(model: nn.Module, function: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Run:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, capturable=inputs.is_cuda)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(function(inputs), targets).backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    main(__doc__, rows)
