"""How figures look: colours that the colour-blind can tell apart, sizes of text, and what several figures share."""

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "ARGUMENTS", "COLOURS", "CURVE", "DATA", "GREY", "INK", "MAP", "SMALL", "TEXT", "TINY", "TITLE",
    "empty", "grid", "heat_map", "histogram", "numbers", "step", "tidy", "whole",
]  # fmt: skip

# The palette of Okabe and Ito (Color Universal Design).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CURVE, DATA, INK, GREY = COLOURS[0], "#F0C27B", "#222222", "#8A8A8A"
MAP = "cividis"  # even to the eye, and to most colour-blind ones
TITLE, TEXT, SMALL, TINY = 10.0, 9.0, 8.0, 6.5  # points

ARGUMENTS = {None: "x", "tanh": r"\arccos\,\tanh x", "clamp": r"\arccos\,\mathrm{clamp}(x)", "none": r"\arccos x"}
"""What an edge is a Fourier series of, by the `arccos_map` of its ansatz."""

_BINS = 40
_COLUMNS = 4


def empty(width: float, height: float, layout: str | None = "constrained") -> "Figure":
    """Return an empty figure of this size in inches, which belongs to no window and to no global state.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "qkan-torch[plot]"') from error
    return Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]  # one of the names it knows


def grid(count: int) -> tuple[int, int]:
    """Return how many rows and columns hold this number of panels, about equally many in a row.

    >>> [grid(count) for count in (1, 4, 5, 12)]
    [(1, 1), (1, 4), (2, 3), (3, 4)]
    """
    rows = math.ceil(count / _COLUMNS)
    return rows, math.ceil(count / rows)


def numbers(tensor: Tensor) -> "NDArray[np.float64]":
    """Return a tensor of any device and dtype as an array of float64."""
    return tensor.detach().cpu().double().numpy()


def tidy(axes: "Axes", title: str = "", x: str = "", y: str = "") -> None:
    """Set title and labels, in the sizes that all figures share, and leave away what is no data."""
    axes.set_title(title, fontsize=TITLE, color=INK)
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)
    axes.tick_params(which="both", labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def histogram(axes: "Axes", values: "NDArray[np.float64]", low: float, high: float) -> None:
    """Draw how the values [samples] spread over [low, high], behind the curves, as tall as the axes at most."""
    counts, borders = np.histogram(values, bins=_BINS, range=(low, high))
    height = 0.95 * counts / max(counts.max(), 1)
    axes.stairs(
        height, borders, fill=True, color=DATA, alpha=0.55, zorder=0, label="density of the data",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip


def heat_map(axes: "Axes", table: "NDArray[np.float64]", label: str, *, upright: bool = True) -> None:
    """Draw a table [rows, columns] of numbers of at least 0, the first row at the bottom (or, as in images, on top)."""
    origin: Literal["lower", "upper"] = "lower" if upright else "upper"
    image = axes.imshow(table, cmap=MAP, vmin=0, aspect="auto", origin=origin, interpolation="nearest")
    tidy(axes)
    for axis, size in ((axes.yaxis, table.shape[0]), (axes.xaxis, table.shape[1])):
        axis.set_ticks(range(0, size, step(size)))
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05)
    bar.set_label(label, fontsize=SMALL)
    bar.ax.tick_params(labelsize=TINY)
    bar.outline.set_visible(False)


def step(size: int) -> int:
    """Return the distance, 1, 2 or 5 times a power of ten, at which 0..size - 1 has about ten ticks at most.

    >>> [step(size) for size in (3, 28, 64, 784)]
    [1, 5, 10, 100]
    """
    power = 1
    while size > 55 * power:
        power *= 10
    return next(digit * power for digit in (1, 2, 5) if size <= 11 * digit * power)


def whole(axes: "Axes") -> None:
    """Let ticks stand at whole numbers of x only."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
