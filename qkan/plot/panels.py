"""What stands beside the diagram of a large network: scores of nodes, and of all edges."""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from qkan._checks import positive_integer
from qkan.plot import style
from qkan.plot.selection import Edges

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bars", "edge_map", "image", "image_shape", "pixel"]

_SIDE = 8  # the smallest square of inputs that is taken for an image
_BARS = 20
_RING = style.COLOURS[1]


def image_shape(given: Sequence[int] | None, inputs: int) -> tuple[int, int, int] | None:
    """Return channels, height and width of inputs that are an image, or None.

    Raises:
        TypeError: for sizes that are no integers.
        ValueError: for sizes that do not give the number of inputs.
    """
    if given is None:
        side = math.isqrt(inputs)
        return (1, side, side) if side >= _SIDE and side * side == inputs else None
    sizes = [positive_integer(f"input_shape[{position}]", size) for position, size in enumerate(given)]
    if len(sizes) not in (2, 3) or math.prod(sizes) != inputs:
        raise ValueError(
            f"input_shape must be [height, width] or [channels, height, width] of {inputs} inputs; got {tuple(sizes)}"
        )
    channels, height, width = (1, *sizes)[-3:]
    return (channels, height, width) if height > 1 else None


def pixel(number: int, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the row and the column of an input."""
    return divmod(number % (shape[1] * shape[2]), shape[2])


def image(axes: "Axes", scores: Tensor, shape: tuple[int, int, int], shown: Collection[int], label: str) -> None:
    """Draw the scores [inputs] as an image, the sum over its channels, with a ring around the inputs shown."""
    style.heat_map(axes, style.numbers(scores.view(shape).sum(0)), label, upright=False)
    axes.set_aspect("equal")
    pixels = [pixel(number, shape) for number in sorted(shown)]
    axes.plot([x for _, x in pixels], [y for y, _ in pixels], "o", markerfacecolor="none", markeredgecolor=_RING,
              markersize=6, markeredgewidth=1.1)  # fmt: skip


def bars(axes: "Axes", scores: Tensor, names: Sequence[str], shown: Collection[int], label: str) -> None:
    """Draw the scores [nodes] of the strongest nodes as bars, the largest first; those in the diagram have a colour."""
    values = style.numbers(scores)
    order = np.argsort(-values, kind="stable")[:_BARS]
    colours = [style.CURVE if int(node) in shown else style.GREY for node in order]
    axes.bar(range(len(order)), values[order], 0.8, color=colours)
    style.tidy(axes, y=label)
    axes.set_xticks(range(len(order)), [names[node] for node in order], rotation=90)
    axes.tick_params(axis="x", labelsize=style.TINY, length=0)
    axes.set_xlim(-0.7, len(order) - 0.3)
    if len(order) < len(values):
        share = 100 * values[order].sum() / max(values.sum(), np.finfo(float).tiny)
        axes.text(0.98, 0.95, f"{len(order)} of {len(values)} nodes\n{share:.0f} % of the sum", ha="right", va="top",
                  fontsize=style.SMALL, transform=axes.transAxes)  # fmt: skip


def edge_map(axes: "Axes", table: Tensor, edges: Edges, label: str) -> None:
    """Draw the scores [out, in] of all edges of a layer, with a ring around those of the diagram."""
    style.heat_map(axes, style.numbers(table), label)
    axes.plot([i for _, i in edges], [o for o, _ in edges], "o", markerfacecolor="none", markeredgecolor=_RING,
              markersize=4.5, markeredgewidth=0.9)  # fmt: skip
    style.tidy(axes, x="input", y="output")
