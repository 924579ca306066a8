"""Claim: B-spline layers cost 2 times F.linear of their features, quantum convolutions 1.3 times a plain one of theirs.

    python benchmarks/family.py [--device cuda]

Forward and backward in float32, in turn, in one process. Linear: `KANLinear` from x, and `F.linear` from features that
are there, with gradients for both; [784 -> 64, batch 256] is the claim's row. Convolutions: kernel 3x3, padding 1,
`QKANConv2d` from images, and `Conv2d` from a tensor of in · 2K channels that is there; the plain convolution runs in
torch's usual order of channels and with channels last, and `ratio` is against the faster one. [64 -> 64, 32x32, batch
32] is the claim's row; the fewer the channels or the larger the kernels beside the images, the more the rest weighs.
"""

import argparse
import functools

import torch
import torch.nn.functional as F
from harness import Row, Run, interleaved, median, peak_mib, ratio, timer_of
from reporting import report
from torch import Tensor, nn

from qkan import KANLinear, QKANConv2d, QKANLinear

# Channels in and out, pixels of a side, batch, repetitions.
CASES = ((64, 64, 32, 32, 3), (64, 64, 32, 32, 1), (16, 32, 32, 64, 3), (3, 32, 32, 64, 3), (256, 256, 8, 32, 3))


def step(layer: nn.Module, x: Tensor) -> Run:
    def run() -> None:
        y = layer(x)
        y.backward(torch.ones_like(y))
        x.grad = None
        layer.zero_grad()

    return run


# Layers beside the plain product of their features.
LINEAR = {
    "bspline": lambda **more: KANLinear(784, 64, **more),
    "rbf": lambda **more: KANLinear(784, 64, "rbf", **more),
    "chebyshev": lambda **more: KANLinear(784, 64, "chebyshev", **more),
    "quantum": lambda **more: QKANLinear(784, 64, **more),
}


def measure_linear(device: str, rounds: int, name: str, batch: int) -> Row:
    layer = LINEAR[name](device=device)
    x = torch.rand(batch, 784, device=device) * 2 - 1
    expansion = layer.expansion(x)
    flat = expansion.columns.detach().mT.flatten(-2).contiguous().requires_grad_()
    weight = expansion.coefficients.detach().mT.flatten(-2).contiguous().requires_grad_()
    upstream = torch.randn(batch, 64, device=device)
    parameters = [p for p in layer.parameters() if p.requires_grad]
    x.requires_grad_()
    runs: dict[str, Run] = {
        "layer": lambda: torch.autograd.grad(layer(x), [x, *parameters], upstream),
        "product": lambda: torch.autograd.grad(F.linear(flat, weight), [flat, weight], upstream),
    }
    times = interleaved(runs, rounds, timer=timer_of(device))
    row: Row = {"part": "linear", "basis": name, "batch": batch, "functions": expansion.columns.shape[-1]}
    for side, run in runs.items():
        row[f"{side} ms"], row[f"{side} MiB"] = median(times, side), peak_mib(run, device)
    return row | {"ratio": ratio(times, "layer", "product")}


def measure(device: str, rounds: int, in_channels: int, out_channels: int, pixels: int, batch: int, reps: int) -> Row:
    quantum = QKANConv2d(in_channels, out_channels, 3, padding=1, reps=reps, device=device)
    images = functools.partial(torch.randn, batch, requires_grad=True, device=device)
    channels = in_channels * 2 * reps
    last = torch.randn(batch, channels, pixels, pixels, device=device).contiguous(memory_format=torch.channels_last)
    plain = nn.Conv2d(channels, out_channels, 3, padding=1, device=device)
    turned = nn.Conv2d(channels, out_channels, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    runs = {
        "quantum": step(quantum, images(in_channels, pixels, pixels)),
        "plain": step(plain, images(channels, pixels, pixels)),
        "plain last": step(turned, last.requires_grad_()),
    }
    times = interleaved(runs, rounds, timer=timer_of(device))
    row: Row = {
        "part": "convolution",
        "in": in_channels,
        "out": out_channels,
        "pixels": pixels,
        "batch": batch,
        "reps": reps,
    }
    for side, run in runs.items():
        row[f"{side} ms"], row[f"{side} MiB"] = median(times, side), peak_mib(run, device)
    ratios = [ratio(times, "quantum", side) for side in ("plain", "plain last")]
    return row | {"ratio": max(value for value in ratios if value is not None)}


if __name__ == "__main__":
    torch.manual_seed(0)
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="one round: to try the script out")
    options = parser.parse_args()
    how = options.device, 1 if options.quick else 7
    rows = [*(measure_linear(*how, name, 256) for name in LINEAR), *(measure(*how, *case) for case in CASES)]
    report(str(__doc__).splitlines()[0], rows, device=options.device, quick=options.quick)
