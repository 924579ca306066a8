"""Claim: a training step with the sparsity penalty costs at most 2 times one without.

    python benchmarks/sparsity.py

Forward, loss, backward and Adam step of the same model, as `fit` takes them, float32, with and
without `Sparsity`, in one process, in turn. `amplitude` and `trainable` have no shared features: their scores come from
the blocks over [batch, out, in] that compute the output.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from harness import Row, Run, interleaved, median, peak_mib, ratio
from torch import Tensor, nn
from variants import Setup, main

from qkan import HQKAN, QKAN
from qkan.attribution import Sparsity

CASES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # model, inputs, batch
    "QKAN [2, 5, 1]": (lambda: QKAN([2, 5, 1], scale=True, bias=True), 2, 1000),
    "QKAN [2, 5, 1], 20 reps": (lambda: QKAN([2, 5, 1], reps=20, scale=True), 2, 1000),
    "QKAN [32, 28]": (lambda: QKAN([32, 28]), 32, 1000),
    "QKAN [32, 28], ternary": (lambda: QKAN([32, 28], encoding="ternary"), 32, 1000),
    "QKAN [784, 64, 10]": (lambda: QKAN([784, 64, 10]), 784, 128),
    "HQKAN-44 head": (lambda: HQKAN(256, 100, latent=(32, 28)), 256, 1000),
    "QKAN [32, 28], amplitude": (lambda: QKAN([32, 28], readout="amplitude"), 32, 1000),
    "QKAN [32, 28], trainable": (lambda: QKAN([32, 28], encoding="trainable"), 32, 1000),
}


def step(model: nn.Module, x: Tensor, y: Tensor, sparsity: Sparsity | None) -> Run:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> None:
        optimizer.zero_grad()
        recording: AbstractContextManager[Callable[[], Tensor] | None]
        recording = nullcontext() if sparsity is None else sparsity.recording(model)
        with recording as penalty:
            loss = F.mse_loss(model(x), y)
            if penalty is not None:
                loss = loss + penalty()
        loss.backward()
        optimizer.step()

    return run


def measure(name: str, setup: Setup) -> Row:
    build, inputs, batch = CASES[name]
    model, x = build(), torch.randn(setup.batch(batch), inputs)
    y = torch.randn_like(model(x))
    runs = {"without": step(model, x, y, None), "with": step(model, x, y, Sparsity())}
    times = interleaved(runs, setup.rounds, setup.calls)
    row: Row = {"model": name, "batch": len(x)}
    for side, run in runs.items():
        row[f"{side} ms"], row[f"{side} MiB"] = median(times, side), peak_mib(run)
    return row | {"ratio": ratio(times, "with", "without")}


def rows(setup: Setup) -> list[Row]:
    return [measure(name, setup) for name in CASES]


if __name__ == "__main__":
    main(__doc__, rows)
