"""The network, with the curve of every edge in place; of a large one the part that matters, and its scores."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.plot import diagram, panels, selection, sources, style
from qkan.plot.sources import Data, Scores, Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["network"]

_SIDE = 6.6  # inches beside the diagram of a large network


def network(
    model: nn.Module,
    data: Data | None = None,
    *,
    scores: Scores | None = None,
    beta: float | None = None,
    max_edges: int = 30,
    count: int = 12,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    input_shape: Sequence[int] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draw a network with the curve of each edge in place, the inputs at the bottom (as pykan does, arXiv 2404.19756).

    An edge is drawn over the range that its input takes, in a box of its own scale; opacity and width of its strokes
    say how much it matters. Removed edges are not drawn, and a node without edges is hollow.

    A network with more than `max_edges` edges in a layer shows a connected part of it instead: the strongest edge into
    each node, then the strongest ones, `count` per layer. Beside it stand, for each layer, the scores of the nodes that
    enter it (sorted bars, or the image that the inputs are) and the scores of all edges as a heat map, with the shown
    edges ringed.

    Args:
        model: a QKAN, a KAN, one edge layer, or a model whose edge layers follow one another.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets; a thousand samples are enough. None
            draws inputs uniform over one period, [-π, π] (splines: over their grid), and passes them on; the same
            every time.
        scores: how much edges matter, [out, in] per layer, by name or in order; None for their relevance, which the
            outputs hand back (`qkan.attribution.attribute`).
        beta: strength is tanh(beta · score), as in pykan; None for score / largest score of the layer.
        max_edges: edges of a layer up to which all are drawn.
        count: edges of each layer in the diagram of a larger network.
        input_names: one per input; None for x₀, x₁, ..., with row and column where they are an image.
        output_names: one per output; None for y₀, y₁, ...
        input_shape: [height, width] or [channels, height, width] of inputs that are an image; None takes inputs whose
            number is the square of 8 or more for one, in a large network; (1, inputs) for none.
        title: above the figure.

    Raises:
        ImportError: matplotlib is missing.
        TypeError: for a number that is none.
        ValueError: for layers that do not follow one another or have no edges left, data or scores that are not
            finite, names or a shape that do not fit, or data missing where the model is no stack of edge layers.

    Example:
        >>> from qkan import QKAN
        >>> figure = network(QKAN([2, 5, 1]), torch.rand(100, 2), input_names=["x", "y"])
        >>> len(figure.axes[0].child_axes)
        15
    """
    found = sources.shown(model, data)
    _require_chain(found)
    tables = sources.given_scores(found, scores, lambda: sources.relevance(found))
    living = [sources.alive(one) for one in found]
    _require_edges(found, living)
    first, last = found[0].layer, found[-1].layer
    shape = panels.image_shape(input_shape, first.in_features)
    inputs = _checked("input_names", input_names, "x", first.in_features)
    if shape is not None and input_names is None:
        inputs = [f"{name}\n{panels.pixel(number, shape)}" for number, name in enumerate(inputs)]
    names = _Names(inputs, _checked("output_names", output_names, "y", last.out_features), len(found))
    label = "relevance" if scores is None else "score"
    beside = _Beside(tables, living, shape, names, label)
    strength = [_strength(table, left, beta) for table, left in zip(tables, living, strict=True)]
    count = positive_integer("count", count)
    large = max(int(left.sum()) for left in living) > positive_integer("max_edges", max_edges)
    chosen = selection.connected(tables, living, count) if large else [_all(left) for left in living]
    rows = selection.nodes_of(chosen) if large else [range(first.in_features), *(range(len(left)) for left in living)]
    picture = diagram.Diagram(
        parts=[diagram.Part(*of_layer) for of_layer in zip(found, chosen, strength, strict=True)],
        rows=rows,
        names=[[names.of(level, node) for node in row] for level, row in enumerate(rows)],
        numbered=large,
    )
    figure = style.empty(picture.width + _SIDE * large, picture.height)
    if title is not None:
        figure.suptitle(title, fontsize=style.TITLE + 1)
    if large:
        places = figure.add_gridspec(1, 2, width_ratios=[picture.width, _SIDE])
        picture.draw(figure.add_subfigure(places[0]).add_subplot())
        beside.draw(figure.add_subfigure(places[1]), picture)
    else:
        picture.draw(figure.add_subplot())
    return figure


class _Names(NamedTuple):
    """What nodes are called."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    layers: int

    def of(self, level: int, node: int) -> str:
        """Return the name of a node of a row, 0 the row of the inputs; hidden ones have their number."""
        if level == 0:
            return self.inputs[node]
        return self.outputs[node] if level == self.layers else f"{node}"


class _Beside(NamedTuple):
    """What stands beside the diagram of a large network."""

    tables: Sequence[Tensor]
    living: Sequence[Tensor]
    shape: tuple[int, int, int] | None
    names: _Names
    label: str

    def draw(self, figure: "SubFigure", picture: diagram.Diagram) -> None:
        """Draw the scores of every layer, the first at the bottom as in the diagram."""
        grid = figure.subplots(len(self.tables), 2, squeeze=False, width_ratios=[1, 1.35])[::-1]
        for level, (nodes, edges) in enumerate(grid):
            self._nodes(nodes, level, picture.rows[level])
            shown, total = picture.parts[level].edges, int(self.living[level].sum())
            panels.edge_map(edges, self.tables[level], shown, self.label)
            edges.set_title(f"layer {level}: {total} edges, {len(shown)} shown", fontsize=style.TITLE)

    def _nodes(self, axes: "Axes", level: int, shown: Sequence[int]) -> None:
        scores = torch.where(self.living[level], self.tables[level], 0).sum(0)
        if level == 0 and self.shape is not None:
            panels.image(axes, scores, self.shape, shown, self.label)
        else:
            called = [self.names.of(level, node) for node in range(len(scores))]
            panels.bars(axes, scores, called, shown, self.label)
        axes.set_title(f"hidden nodes of row {level}" if level else "inputs", fontsize=style.TITLE)


def _require_chain(found: Sequence[Shown]) -> None:
    for one, following in pairwise(found):
        if one.layer.out_features != following.layer.in_features:
            raise ValueError(
                f"edge layers must follow one another; {one.name} has {one.layer.out_features} outputs and "
                f"{following.name} {following.layer.in_features} inputs; draw the edges of one with qkan.plot.edges"
            )


def _require_edges(found: Sequence[Shown], living: Sequence[Tensor]) -> None:
    for number, left in enumerate(living):
        if not left.any():
            raise ValueError(f"layer {found[number].name or number} has no edges left; nothing to draw")


def _checked(argument: str, given: Sequence[str] | None, letter: str, size: int) -> Sequence[str]:
    names = [f"${letter}_{{{number}}}$" for number in range(size)] if given is None else list(given)
    if len(names) != size:
        raise ValueError(f"{argument} must hold {size} names; got {len(names)}")
    return names


def _all(living: Tensor) -> selection.Edges:
    return [(int(output), int(input)) for output, input in living.nonzero().tolist()]


def _strength(table: Tensor, living: Tensor, beta: float | None) -> Tensor:
    """Return how strong edges look, [out, in] within 0..1."""
    if beta is not None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta must be a finite number above 0, or None; got {beta!r}")
        return torch.tanh(beta * table)
    largest = torch.where(living, table, 0).max()
    return table / torch.where(largest > 0, largest, 1)
