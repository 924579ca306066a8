"""The bars of speed.md: what was to be reached, what was measured, and why where it was missed."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Results", "bars"]

Results = dict[str, dict[str, Any]]
Value = Callable[[Results], float | None]

# bar, column -> what profiling found where the bar is missed
_SMALL = (
    "about 107 kernels and 240 views of 1 to 5 us: coefficients 0.45 to 0.6 ms and features 0.2 to 0.25 ms by "
    "themselves, beside a product of 0.27 ms; compiled, 6 kernels"
)
REASONS: dict[tuple[str, str], str] = {
    ("32 -> 28, batch 1000: times faster than the peer's exact", "eager"): _SMALL,
    ("32 -> 28, batch 1000: times the bare F.linear of the same features", "eager"): _SMALL,
    ("784 -> 64, batch 128: times faster than the peer's best CPU solver", "eager"): (
        "coefficients of 50 176 edges take 7 of 12 ms, elementwise passes over amplitudes in the caches; compiled they "
        "are one loop"
    ),
    ("256 -> 256, batch 4096: times the bare F.linear of the same features", "compiled"): (
        "features and their gradient, 25 MiB each, are written to memory; two runs gave 1.31 and 1.46"
    ),
    ("32 -> 28, batch 1000, trainable weights per edge: times faster than the peer's exact", "eager"): (
        "a third is sines and cosines, six per edge and sample, computed twice because nothing is kept; the rest are "
        "elementwise passes over blocks"
    ),
    ("32 -> 28, batch 1000, inference of lower(model): times the bare F.linear of the same features", "eager"): (
        "cosines and sines, their multiples and turning x round in memory take 0.15 ms, the product 0.1 ms"
    ),
    ("32 -> 28, batch 1000, inference of lower(model): times the bare F.linear of the same features", "compiled"): (
        "cosines and sines of 32 000 numbers alone take 45 us, beside a product of 0.1 ms"
    ),
    ("B-spline 784 -> 64, batch 256: times the bare F.linear of the same features", "eager"): (
        "the splines of 200 704 inputs take 6 ms of CPU time forward and 7 ms backward, by elementwise passes; the "
        "product takes 4 ms"
    ),
    ("QKANConv2d 64 -> 64, 32x32: times a convolution of the same features", "eager"): (
        "five runs on this shared machine gave 1.19 to 1.42"
    ),
}


@dataclass(frozen=True)
class Bar:
    """What to reach in each column: at least this, or at most."""

    case: str
    least: bool
    columns: dict[str, tuple[float, Value]]


def _rows(results: Results, script: str, **keys: object) -> list[dict[str, Any]]:
    rows = results.get(script, {}).get("rows", []) + results.get(f"{script}_amplitude", {}).get("rows", [])
    return [row for row in rows if all(row.get(name.rstrip("_")) == value for name, value in keys.items())]


def _one(script: str, column: str, **keys: object) -> Value:
    def value(results: Results) -> float | None:
        found = _rows(results, script, **keys)
        return found[0].get(column) if found else None

    return value


def _peer(column: str, side: str | None, **keys: object) -> Value:
    """Return a ratio to a solver of the peer, or to the fastest of them."""

    def value(results: Results) -> float | None:
        rows = _rows(results, "against_peer", **keys)
        sides = [r for r in rows if r["side"].startswith("peer") and "pages kept" not in r["side"]]
        found = [r[column] for r in sides if r.get(column) and side in (None, r["side"])]
        return min(found) if found else None

    return value


def _smaller(ours: str, theirs: str, **keys: object) -> Value:
    """Return the storage that the peer saves for backward by what we save."""

    def value(results: Results) -> float | None:
        saved = {row["side"]: row.get("saved MiB") for row in _rows(results, "against_peer", **keys)}
        return _quotient(saved.get(theirs), saved.get(ours))

    return value


def _growth(side: str, **keys: object) -> Value:
    """Return the storage saved at 6 repetitions by that at 3."""

    def value(results: Results) -> float | None:
        rows = [_rows(results, "against_peer", side=side, reps=reps, **keys) for reps in (6, 3)]
        return _quotient(*(row[0]["saved MiB"] for row in rows)) if all(rows) else None

    return value


def _quotient(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    return one / other if other else 1.0 if one == other else math.inf


HEAD = {"in_": 32, "out": 28, "batch": 1000}
PLAIN = {"reps": 3, "readout": "expectation", "weights": "fixed"}
WIDE = {"in_": 784, "out": 64, "batch": 128}
SQUARE = {"in_": 64, "out": 64, "batch": 256}
PER_EDGE = PLAIN | {"weights": "per edge"}
EXACT, AUTO, BLOCH = "peer exact", "qkan-torch auto", "qkan-torch bloch"


def _against_peer(
    case: str, keys: dict[str, object], exact: tuple[float, float], best: tuple[float, float] | None
) -> list[Bar]:
    """Return the bars against the peer, which runs eagerly as it ships, and beneath them those of the peer compiled."""
    found = []
    for name, side, least in (("exact", EXACT, exact), ("best CPU solver", None, best)):
        if least:
            columns = {"eager": (least[0], _peer("x qkan", side, **keys))}
            columns["compiled"] = (least[1], _peer("x compiled", side, **keys))
            found.append(Bar(f"{case}: times faster than the peer's {name}", True, columns))
    both = {"compiled": (0.0, _peer("compiled x compiled", None, **keys))}
    return [*found, Bar(f"{case}: the same with the peer compiled too, its best (no bar)", True, both)]


def _product(case: str, what: str, limits: tuple[float, float], **keys: object) -> Bar:
    columns = {
        way: (limit, _one("against_gemm", f"{way} / product", what=what, **keys))
        for way, limit in zip(("eager", "compiled"), limits, strict=True)
    }
    return Bar(f"{case}: times the bare F.linear of the same features", False, columns)


def _memory() -> list[Bar]:
    def bar(case: str, least: bool, limit: float, value: Value) -> Bar:
        return Bar(f"64 -> 64, batch 256, saved for backward: {case}", least, {"eager": (limit, value)})

    keys = SQUARE | PER_EDGE
    unsized = {name: value for name, value in keys.items() if name != "reps"}
    return [
        bar("times less than the peer's exact", True, 40, _smaller(AUTO, EXACT, **SQUARE, **PLAIN)),
        bar("edgewise, times less than the peer's exact", True, 15, _smaller(BLOCH, EXACT, **SQUARE, **PLAIN)),
        bar("edgewise, trainable weights, times less", True, 15, _smaller(AUTO, EXACT, **keys)),
        bar("edgewise, 6 reps by 3 reps", False, 1.1, _growth(BLOCH, **{**unsized, "weights": "fixed"})),
        bar("edgewise, trainable weights, 6 reps by 3 reps", False, 1.1, _growth(AUTO, **unsized)),
    ]


PENALISED = (
    "QKAN [2, 5, 1]",
    "QKAN [2, 5, 1], 20 reps",
    "QKAN [32, 28]",
    "QKAN [32, 28], ternary",
    "QKAN [784, 64, 10]",
    "HQKAN-44 head",
    "QKAN [32, 28], amplitude",
    "QKAN [32, 28], trainable",
)
_SPLINE = _one("family", "ratio", part="linear", basis="bspline")
_CONV = _one("family", "ratio", part="convolution", in_=64, out=64, reps=3)
_PLOT = _one("plots", "first s", model="QKAN [784, 64, 10]")


def _penalty(model: str) -> Bar:
    columns = {"eager": (2, _one("sparsity", "ratio", model=model))}
    return Bar(f"{model}, training step with the sparsity penalty: times one without", False, columns)


BARS = [
    *_against_peer("32 -> 28, batch 1000", HEAD | PLAIN, (200, 300), (100, 150)),
    _product("32 -> 28, batch 1000", "training step", (4, 2.5), **HEAD),
    *_against_peer("784 -> 64, batch 128", WIDE | PLAIN, (700, 1500), (500, 1000)),
    _product("256 -> 256, batch 4096", "training step", (1.6, 1.3), in_=256, out=256, batch=4096),
    *_against_peer("32 -> 28, batch 1000, trainable weights per edge", HEAD | PER_EDGE, (20, 30), None),
    *_against_peer("32 -> 28, batch 1000, amplitude readout", HEAD | PLAIN | {"readout": "amplitude"}, (40, 60), None),
    *_memory(),
    _product("32 -> 28, batch 1000, inference of lower(model)", "inference, lowered", (3, 1.6), **HEAD),
    Bar(
        "training step of HQKAN-44, whole network: times that of the MLP",
        False,
        {
            way: (1.05, _one("hqkan_step", f"{way} / mlp", part="whole network", model="hqkan-44"))
            for way in ("eager", "compiled")
        },
    ),
    *(_penalty(model) for model in PENALISED),
    Bar("B-spline 784 -> 64, batch 256: times the bare F.linear of the same features", False, {"eager": (2, _SPLINE)}),
    Bar("QKANConv2d 64 -> 64, 32x32: times a convolution of the same features", False, {"eager": (1.3, _CONV)}),
    Bar("network plot of [784, 64, 10], written as PNG: seconds", False, {"eager": (5, _PLOT)}),
]


def bars(results: Results) -> str:
    """Return the bars as a table."""
    lines = ["| case | column | bar | measured | | reason |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(line for bar in BARS for line in _lines(bar, results))])


def _lines(bar: Bar, results: Results) -> Iterable[str]:
    for column, (limit, find) in bar.columns.items():
        value = find(results)
        told = "at least" if bar.least else "at most"
        shown = "not measured" if value is None else f"{value:.3g}"
        cells = [bar.case, column, f"{told} {limit:g}" if limit else "-", shown]
        yield "| " + " | ".join([*cells, *_verdict(bar, column, limit, value)]) + " |"


def _verdict(bar: Bar, column: str, limit: float, value: float | None) -> tuple[str, str]:
    if value is None or not limit:
        return "-", "-"
    met = value >= limit if bar.least else value <= limit
    return ("met", "-") if met else ("**missed**", REASONS.get((bar.case, column), "not yet profiled"))
