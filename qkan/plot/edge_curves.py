"""Edges one by one, over the density of the data."""

from typing import TYPE_CHECKING

from torch import nn

from qkan._checks import positive_integer
from qkan.layers.edges import check_edge
from qkan.plot import sources, style
from qkan.plot.sources import Data, Scores, Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["edge", "edges"]

_POINTS = 400
_MARGIN = 0.05  # of the range of the data, on both sides of it


def edge(model: nn.Module, output: int, input: int, data: Data | None = None, *, layer: int | str = 0) -> "Figure":
    """Draw what one edge adds to its output, φ(x), over the density of what enters it.

    Args:
        model: a model with edge layers, or one edge layer.
        output: o in 0..out_features - 1 of the layer.
        input: i in 0..in_features - 1.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets. None draws the edge over
            where uniform inputs lead (see `qkan.plot.network`), and no density.
        layer: number or name of the layer.

    Raises:
        ImportError: matplotlib is missing.
        TypeError: for a number that is none.
        ValueError: for a layer or an edge that is not there, or data that is not finite.

    Example:
        >>> from qkan import QKAN
        >>> edge(QKAN([3, 2, 1]), output=1, input=2).axes[0].get_title()
        'layer 0, input 2 → output 1'
    """
    found = sources.shown(model, data)
    number, one = sources.pick(found, layer)
    output, input = check_edge(one.layer, output, input)
    figure = style.empty(5.0, 3.4)
    axes = figure.add_subplot()
    _draw(axes, one, output, input, density=data is not None)
    place = "" if len(found) == 1 and not one.name else f"layer {number}, "
    left = "" if bool(sources.alive(one)[output, input]) else " (removed)"
    style.tidy(axes, f"{place}input {input} → output {output}{left}", f"input $x_{{{input}}}$", r"$\varphi(x)$")
    if data is not None:
        figure.legend(fontsize=style.SMALL, frameon=False, loc="outside lower center", ncols=2)
    return figure


def edges(
    model: nn.Module, data: Data | None = None, *, layer: int | str = 0, count: int = 12, scores: Scores | None = None
) -> "Figure":
    """Draw the strongest edges of a layer, each over the density of what enters it, the strongest first.

    Args:
        model: a model with edge layers, or one edge layer.
        data: inputs [samples, ...] of the model, as in `edge`.
        layer: number or name of the layer.
        count: how many edges at most.
        scores: what ranks them; None for the standard deviation of what they add, `qkan.attribution.edge_scores`.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: for a layer that is not there, one without edges left, or scores that do not fit.

    Example:
        >>> import torch
        >>> from qkan import QKANLinear
        >>> len(edges(QKANLinear(8, 3), torch.randn(200, 8), count=5).axes)
        5
    """
    found = sources.shown(model, data)
    number, one = sources.pick(found, layer)
    table = sources.given_scores(found, scores, lambda: sources.spreads(found))[number]
    chosen = sources.strongest(table, sources.alive(one), positive_integer("count", count))
    if not chosen:
        raise ValueError(f"layer {number} has no edges left; nothing to draw")
    rows, columns = style.grid(len(chosen))
    figure = style.empty(2.5 * columns, 1.9 * rows + 0.3)
    for position, (output, input) in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, position + 1)
        _draw(axes, one, output, input, density=data is not None)
        style.tidy(axes, f"{input} → {output}   (score {float(table[output, input]):.2g})")
        axes.title.set_fontsize(style.SMALL)
        axes.tick_params(labelsize=style.TINY)
    figure.supxlabel("what enters the edge", fontsize=style.TEXT)
    figure.supylabel(r"$\varphi(x)$", fontsize=style.TEXT)
    total = int(sources.alive(one).sum())
    figure.suptitle(f"layer {number}: {len(chosen)} of {total} edges, input → output", fontsize=style.TITLE)
    return figure


def _draw(axes: "Axes", one: Shown, output: int, input: int, *, density: bool) -> None:
    column = one.x[:, input]
    low, high = sources.span(column)
    margin = _MARGIN * (high - low) if density else 0.0
    if density:
        style.histogram(axes, style.numbers(column), low, high)
    x, y = sources.curve(one, output, input, low - margin, high + margin, _POINTS)
    axes.plot(x, y, color=style.CURVE, linewidth=1.8, label=r"edge $\varphi$")
    axes.set_xlim(low - margin, high + margin)
    axes.grid(alpha=0.25)
