"""Markdown tables and short texts for the page of results."""

import statistics
from collections.abc import Iterable, Sequence

__all__ = ["mean_and_range", "table", "verdict"]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def mean_and_range(values: Sequence[float], digits: int = 2) -> str:
    """The mean, and the smallest and largest value, if there are several: `26.40 (26.1 to 26.8)`."""
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"
