"""Claim: training a QKAN layer under noise costs at most 1.5 times what noiseless training costs.

    python benchmarks/noise.py

Forward and backward of the same layer with and without channels after every rotation, float32, in one process, in turn.
"""

import statistics
from collections.abc import Callable

import torch
from harness import interleaved, saved_for_backward
from reporting import report
from torch import Tensor

from qkan import QKANLinear
from qkan.noise import Noise

CASES = [(32, 28, 1000), (784, 64, 128), (40, 16, 250)]  # in, out, batch
NOISES = {
    "depolarizing": Noise(depolarizing=0.01),
    "all": Noise(0.01, amplitude_damping=0.01, phase_damping=0.01, bit_flip=0.01, readout_error=(0.01, 0.02)),
}


def measure(n_in: int, n_out: int, batch: int, noise: str) -> dict[str, object]:
    layers = {"noiseless": QKANLinear(n_in, n_out), "noisy": QKANLinear(n_in, n_out, noise=NOISES[noise])}
    x = torch.randn(batch, n_in, requires_grad=True)
    upstream = torch.randn(batch, n_out)

    def step(layer: QKANLinear) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: torch.autograd.grad(layer(x), [x, layer.theta], upstream)

    times = interleaved({name: step(layer) for name, layer in layers.items()}, rounds=9, calls=20)
    ratios = [a / b for a, b in zip(times["noisy"], times["noiseless"], strict=True)]
    row: dict[str, object] = {"in": n_in, "out": n_out, "batch": batch, "noise": noise}
    for name, layer in layers.items():
        row[f"{name} ms"] = statistics.median(times[name])
        row[f"{name} saved MiB"] = saved_for_backward(lambda layer=layer: layer(x), [x, layer.theta, layer.mask])
    return row | {"ratio": statistics.median(ratios)}


if __name__ == "__main__":
    torch.manual_seed(0)
    report(str(__doc__).splitlines()[0], [measure(*case, noise) for case in CASES for noise in NOISES])
