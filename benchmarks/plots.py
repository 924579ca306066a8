"""Claim: the plot of a network of [784, 64, 10], 1000 samples, is drawn and written as a PNG in under 5 s.

    python benchmarks/plots.py

`first` is the first call of a process, the import of matplotlib included; `again` the median of three more. Relevance
of all edges over the data, curves of the shown ones, drawing, and `savefig`.
"""

import io
import time

import torch
from harness import Row, median, wall_ms
from torch import Tensor, nn
from variants import Setup, main

from qkan import QKAN
from qkan.plot import network

CASES = {"QKAN [2, 5, 1]": [2, 5, 1], "QKAN [10, 20, 8, 4]": [10, 20, 8, 4], "QKAN [784, 64, 10]": [784, 64, 10]}


def draw(model: nn.Module, x: Tensor) -> None:
    network(model, x).savefig(io.BytesIO(), format="png")


def measure(name: str, setup: Setup) -> Row:
    model = QKAN(CASES[name])
    x = torch.rand(setup.batch(1000), model.width[0]) * 2 - 1
    start = time.perf_counter()
    draw(model, x)
    first = time.perf_counter() - start
    times = {"again": [wall_ms(lambda: draw(model, x), 1 if setup.quick else 3)]}
    again = median(times, "again")
    return {"model": name, "samples": len(x), "first s": first, "again s": None if again is None else again / 1e3}


def rows(setup: Setup) -> list[Row]:
    """Return the largest network first: its first call imports matplotlib."""
    return [measure(name, setup) for name in reversed(CASES)]


if __name__ == "__main__":
    main(__doc__, rows)
