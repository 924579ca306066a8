"""Claim: a QKAN layer takes few operators: what a training step and an inference of QKAN([32, 28]) launch, counted.

    python benchmarks/operators.py

Counted by torch.profiler. `operators`: ATen calls that no other ATen call makes; `kernels`: calls that compute, that
is, innermost ATen calls but views and allocations, and the compiler's fused loops (on CUDA: launches of any kind). A
training step is forward and backward with gradients of x and all parameters, without an optimizer.
"""

from collections.abc import Iterable
from typing import Any

import torch
from harness import Row, Run, interleaved, median
from torch import nn
from torch.profiler import ProfilerActivity, profile
from variants import Setup, inference, main, step, variants

from qkan import QKAN, lower

BATCHES = (1, 32, 1000)
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "resize_", "lift_fresh", "_unsafe_view", "detach_"}
BOOKKEEPING = {"as_strided_", "promote_types", "result_type", "scalar_tensor"}
FUSED = ("cpp_fused", "triton_", "mkl::", "mkldnn::")


def rows(setup: Setup) -> list[Row]:
    torch._inductor.config.cpp.enable_kernel_profile = True  # the fused loops show up in profiles
    return [row for batch in BATCHES for row in _rows(batch, setup)]


def _rows(batch: int, setup: Setup) -> list[Row]:
    torch._dynamo.reset()
    model = QKAN([32, 28], device=setup.device)
    models = {
        "QKAN([32, 28])": model,
        "the same, amplitude": QKAN([32, 28], readout="amplitude", device=setup.device),
        "the same, lowered": lower(model),
        "nn.Linear(32, 28)": nn.Linear(32, 28, device=setup.device),
    }
    x = torch.randn(batch, 32, device=setup.device, requires_grad=True)
    kinds = {"training step": step(x, torch.randn(batch, 28, device=setup.device)), "inference": inference(x)}
    found = []
    for name, module in models.items():
        for kind, build in kinds.items():
            if (name, kind) != ("the same, lowered", "training step"):  # its parameters have no gradient
                runs, reasons = variants(module, build, setup, x)
                row = {"batch": batch, "model": name, "what": kind} | _measure(runs, setup)
                found.append(row | ({"note": str(reasons)} if reasons else {}))
    return found


def _measure(runs: dict[str, Run], setup: Setup) -> Row:
    times = interleaved(runs, setup.rounds, setup.calls, setup.timer)
    row: Row = {}
    for name, run in runs.items():
        operators, kernels = count(run, setup.device)
        time = median(times, name)
        row |= {f"{name} operators": operators, f"{name} kernels": kernels}
        row[f"{name} us"] = None if time is None else 1e3 * time
    return row


def count(run: Run, device: str) -> tuple[int, int]:
    """Return the numbers of outermost ATen calls and of kernels of one run."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as profiled:
        run()
        if device == "cuda":
            torch.cuda.synchronize()
    return count_events(profiled.events(), device)


def count_events(events: Iterable[Any], device: str) -> tuple[int, int]:
    """Return the numbers of outermost ATen calls and of kernels among the profiler's events."""
    host = [event for event in events if event.device_type == torch.autograd.DeviceType.CPU]
    outermost = sum(_is_aten(event) and not _within_aten(event) for event in host)
    if device == "cuda":
        return outermost, sum("LaunchKernel" in event.name or "GraphLaunch" in event.name for event in host)
    return outermost, sum(map(_computes, host))


def _is_aten(event: Any) -> bool:
    return bool(event.name.startswith("aten::"))


def _within_aten(event: Any) -> bool:
    parent = event.cpu_parent
    return parent is not None and (_is_aten(parent) or _within_aten(parent))


def _computes(event: Any) -> bool:
    if any(mark in event.name for mark in FUSED):
        return True
    if not _is_aten(event) or any(_is_aten(child) for child in event.cpu_children):
        return False
    name = event.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name, None)
    view = packet is not None and any(getattr(packet, overload).is_view for overload in packet.overloads())
    return not view and name not in ALLOCATIONS | BOOKKEEPING


if __name__ == "__main__":
    main(__doc__, rows)
