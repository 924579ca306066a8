"""What the benchmarks share: interleaved medians, unique storage saved for backward, a table, one JSON line."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Return, per side, the median milliseconds of `calls` calls in each of `rounds` rounds, the sides in turn."""
    for run in sides.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            times[name].append(_median(run, calls))
    return times


def _median(run: Callable[[], object], calls: int) -> float:
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def saved_for_backward(run: Callable[[], Tensor], known: Iterable[Tensor]) -> float:
    """Return the MiB of unique storage that autograd keeps for backward, without that of the known tensors."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    for tensor in known:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(storages.values()) / 2**20


def report(claim: str, rows: list[dict[str, object]]) -> None:
    """Print the rows as a table for people, and as one JSON line last."""
    names = list(rows[0])
    cells = [names, *[[_cell(row[name]) for name in names] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    print(claim)
    for row in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
    print(json.dumps({"claim": claim, **machine, "rows": rows}))


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
