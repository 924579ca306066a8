"""Claim: a layer's time and memory grow linearly with its batch, and the edgewise solver's memory not at all with reps.

    python benchmarks/scaling.py

One quantity varies at a time, all points of a sweep in turn; forward and backward with gradients of x and all
parameters, float32. Exponents are least squares of log(value) on log(quantity) over the whole range; `off` is the
largest factor by which a point lies off the fitted line. Memory: unique storage kept for backward, and the growth of
the peak resident size of a process of its own that takes two eager steps.
"""

import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from harness import Row, interleaved, median, saved_for_backward, timer_of
from processes import Worker
from reporting import report
from torch import nn
from variants import Setup, parse, step, variants

from qkan import QKANLinear


@dataclass(frozen=True)
class Point:
    """One layer of a sweep."""

    n_in: int = 64
    n_out: int = 64
    batch: int = 256
    reps: int = 3
    encoding: str = "unit"
    solver: str = "auto"

    @property
    def options(self) -> dict[str, Any]:
        """The options of the layer."""
        return {"reps": self.reps, "encoding": self.encoding, "solver": self.solver}


BATCHES, WIDTHS, REPS = (256, 1024, 4096, 16384), (32, 64, 128, 256, 512), (1, 2, 4, 8, 16)


def _sweeps(setup: Setup) -> dict[tuple[str, str], dict[float, Point]]:
    """Return the points by their quantity, by solver and name of the quantity."""
    small = setup.quick
    sweeps: dict[tuple[str, str], dict[float, Point]] = {}
    for solver, start in (("fourier", Point()), ("edgewise", Point(32, 32, encoding="trainable"))):
        batches, widths, reps = (a[:2] if small else a for a in (BATCHES, WIDTHS, REPS))
        if solver == "edgewise":
            batches, widths = tuple(b // 4 for b in batches), tuple(w // 2 for w in widths)
        sweeps[solver, "batch"] = {b: replace(start, batch=b) for b in batches}
        sweeps[solver, "width"] = {w: replace(start, n_in=w, n_out=w) for w in widths}
        sweeps[solver, "reps"] = {r: replace(start, reps=r) for r in reps}
    uploads = (1, 2) if small else (1, 2, 3, 4)
    harmonics = {(3**r - 1) / 2: Point(reps=r, encoding="ternary") for r in uploads}
    sweeps["fourier", "harmonics (ternary, 1 to 4 reps)"] = harmonics
    shared = {3**r - 1: Point(reps=r, encoding="trainable-shared") for r in uploads}
    sweeps["fourier", "functions (trainable-shared, 1 to 4 reps)"] = shared
    return sweeps


def rows(setup: Setup) -> list[Row]:
    return [row for names, points in _sweeps(setup).items() for row in _sweep(*names, points, setup)]


def _sweep(solver: str, quantity: str, points: dict[float, Point], setup: Setup) -> list[Row]:
    torch._dynamo.reset()
    runs, found = {}, {}
    for value, point in points.items():
        layer = QKANLinear(point.n_in, point.n_out, device=setup.device, **point.options)
        made, found[value] = _prepare(layer, point, setup)
        runs |= {f"{value} {name}": run for name, run in made.items()}
    times = interleaved(runs, setup.rounds, setup.calls, timer_of(setup.device))
    for value, row in found.items():
        row |= {f"{name.split()[1]} ms": median(times, name) for name in runs if name.split()[0] == str(value)}
    keys = {"solver": solver, "quantity": quantity}
    points_rows = [keys | {"value": value, "point": _name(points[value])} | row for value, row in found.items()]
    return points_rows + [keys | fit for fit in _fits(points_rows)]


def _prepare(layer: nn.Module, point: Point, setup: Setup) -> tuple[dict[str, Any], Row]:
    x = torch.randn(point.batch, point.n_in, device=setup.device, requires_grad=True)
    upstream = torch.randn(point.batch, point.n_out, device=setup.device)
    made, reasons = variants(layer, step(x, upstream), setup, x)
    known = [x, upstream, *layer.parameters(), *layer.buffers()]
    row: Row = {"saved MiB": saved_for_backward(lambda: layer(x), known), "peak MiB": _peak(point, setup)}
    return made, row | ({"note": str(reasons)} if reasons else {})


def _peak(point: Point, setup: Setup) -> float | None:
    with tempfile.TemporaryDirectory() as name:
        worker = Worker(sys.executable, Path(name))
        size = {"n_in": point.n_in, "n_out": point.n_out, "batch": point.batch, "options": point.options}
        worker.require("layer", threads=torch.get_num_threads(), device=setup.device, **size)
        peak = worker.require("memory", mode="eager").get("peak MiB")
        worker.close()
    return peak


def _name(point: Point) -> str:
    return f"{point.n_in} -> {point.n_out}, batch {point.batch}, reps {point.reps}, {point.encoding}"


def _fits(rows: Sequence[Row]) -> list[Row]:
    names = [name for name in rows[0] if name.endswith((" ms", " MiB"))]
    low, high = rows[0]["value"], rows[-1]["value"]
    exponents: Row = {"value": f"{low:g} to {high:g}", "point": "exponent"}
    off: Row = {"value": f"{low:g} to {high:g}", "point": "off"}
    for name in names:
        pairs = [(row["value"], row[name]) for row in rows if row.get(name)]
        if len(pairs) == len(rows):
            exponents[name], off[name] = exponent(pairs)
    return [exponents, off]


def exponent(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the exponent of the least-squares power law, and the largest factor by which a point is off it."""
    logs = [(math.log(x), math.log(y)) for x, y in pairs]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    return slope, math.exp(max(abs(y - mean_y - slope * (x - mean_x)) for x, y in logs))


if __name__ == "__main__":
    setup, _ = parse(__doc__)
    report(str(__doc__).splitlines()[0], rows(setup), quick=setup.quick)
