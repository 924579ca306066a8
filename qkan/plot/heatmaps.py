"""Heat maps of the scores of edges."""

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from qkan.plot import sources, style
from qkan.plot.sources import Data, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["scores"]

_WRITTEN = 60  # edges of a layer whose scores are written as numbers too


def scores(model: nn.Module, data: Data | None = None, *, scores: Scores | None = None) -> "Figure":
    """Draw the scores of all edges, one heat map [out, in] per layer.

    Args:
        model: a model with edge layers, or one edge layer.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets; None for uniform inputs, as in
            `qkan.plot.network`.
        scores: one [out, in] per layer, by name or in order; None for `qkan.attribution.edge_scores`, the standard
            deviations of what the edges add.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: for scores that do not fit, or data that is not finite.

    Example:
        >>> from qkan import QKAN
        >>> figure = scores(QKAN([3, 2, 1]))
        >>> [axes.images[0].get_array().shape for axes in figure.axes[:2]]
        [(2, 3), (1, 2)]
    """
    found = sources.shown(model, data)
    tables = sources.given_scores(found, scores, lambda: sources.spreads(found))
    label = "standard deviation" if scores is None else "score"
    ratios = [min(max(table.shape[1], 6), 30) for table in tables]
    figure = style.empty(min(14.0, max(4.0, 0.28 * sum(ratios) + 1.3 * len(tables))), 3.4)
    panels = figure.subplots(1, len(tables), squeeze=False, width_ratios=ratios)[0]
    for number, (axes, table) in enumerate(zip(panels, tables, strict=True)):
        style.heat_map(axes, style.numbers(table), label)
        style.tidy(axes, f"layer {number}", "input", "output")
        if table.numel() <= _WRITTEN:
            _write(axes, style.numbers(table))
    return figure


def _write(axes: "Axes", table: "NDArray[np.float64]") -> None:
    for (output, input), value in np.ndenumerate(table):
        colour = "white" if value < 0.5 * table.max() else style.INK
        text = f"{value:.2g}" if value else "0"
        axes.text(input, output, text, ha="center", va="center", fontsize=style.TINY, color=colour)
