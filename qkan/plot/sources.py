"""What a figure shows: the edge layers of a model, what enters them, which edges are left, and how much they matter."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import index_below
from qkan.attribution import attribute, inputs_of, layer_scores
from qkan.layers.edges import EdgeLayer, EditableLayer, edge_layers
from qkan.layers.kan import KANLinear
from qkan.layers.recording import layer_inputs
from qkan.models.stack import Stack
from qkan.plot.style import numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Data", "Scores", "Shown",
    "alive", "choose", "curve", "given_scores", "pick", "relevance", "shown", "span", "spreads", "strongest",
]  # fmt: skip

Data = Tensor | tuple[Tensor, Tensor]
"""Inputs [samples, ...] of a model, or a pair of inputs and targets, which are not read."""

Scores = Mapping[str, Tensor] | Sequence[Tensor]
"""One [out, in] per edge layer, by the layer's name or in the order of the layers."""

_SAMPLES = 1000  # drawn where no data is given
_PROBES = 16  # samples that tell whether an edge is 0


class Shown(NamedTuple):
    """An edge layer of a model, with its name there, and what enters it, [samples, in]."""

    name: str
    layer: EdgeLayer
    x: Tensor


@torch.no_grad()
def shown(model: nn.Module, data: Data | None) -> list[Shown]:
    """Return the edge layers that the model calls, with what enters them for the data.

    Without data, the inputs are uniform over one period, [-π, π], or over the grid of splines; always the same ones.

    Raises:
        ValueError: if the model has no edge layer or calls none, if what enters them is empty or not finite, or if data
            is None and what the first edge layer takes is not what the model takes.
    """
    layers = edge_layers(model)
    seen = layer_inputs(model, _uniform(model, layers) if data is None else inputs_of(data))
    found = [Shown(name, layer, seen[name]) for name, layer in layers.items() if name in seen]
    for name, _, x in found:
        if not x.numel():
            raise ValueError(f"data must hold at least one sample; nothing enters {name or 'the layer'}")
        if not x.isfinite().all():
            raise ValueError(f"what enters {name or 'the layer'} is not finite; give data in the domain of the edges")
    return found


def _uniform(model: nn.Module, layers: Mapping[str, EdgeLayer]) -> Tensor:
    if not isinstance(model, Stack | EdgeLayer):
        raise ValueError(
            f"data must be given for {type(model).__name__}: only of a QKAN, a KAN or a single edge layer is it known "
            "what enters the edges"
        )
    first = next(iter(layers.values()))
    like = next(model.parameters(), torch.empty(0))
    # A generator of its own, as torch creates it: the same samples every time, and the global one is left alone.
    share = torch.rand(_SAMPLES, first.in_features, generator=torch.Generator()).to(like)
    share = (share - share.amin(0)) / (share.amax(0) - share.amin(0))  # both ends are among them
    if isinstance(first, KANLinear):
        low, high = first.domain().to(like).unbind(-1)
        return low + (high - low) * share
    return math.pi * (2 * share - 1)


def pick(found: Sequence[Shown], layer: int | str) -> tuple[int, Shown]:
    """Return the number of a layer among those found, and the layer.

    Raises:
        TypeError: if it is neither a name nor a number.
        ValueError: if there is no such layer.
    """
    number = choose([one.name for one in found], layer)
    return number, found[number]


def choose(names: Sequence[str], layer: int | str) -> int:
    """Return the number of a layer, given by its number or name."""
    if not isinstance(layer, str):
        return index_below("layer", layer, len(names))
    if layer not in names:
        raise ValueError(f"layer must be one of {', '.join(map(repr, names))}, or its number; got {layer!r}")
    return names.index(layer)


@torch.no_grad()
def alive(one: Shown) -> Tensor:
    """Return which edges are left, a boolean [out, in]: mask not 0, or, of a layer without mask, values not 0."""
    if isinstance(one.layer, EditableLayer):
        return one.layer.mask != 0
    return (one.layer.contributions(one.x[:_PROBES]) != 0).any(0)


@torch.no_grad()
def relevance(found: Sequence[Shown]) -> list[Tensor]:
    """Return the relevance [out, in] of the edges of layers one after the other, as `attribute` defines it.

    Each output of the last layer has relevance 1. What stands between two layers hands it on unit by unit.
    """
    tables: list[Tensor] = []
    for one in reversed(found):
        (own,), _ = attribute([one.layer], one.x)  # its outputs taken as 1 each
        node = tables[-1].sum(0) if tables else own.new_ones(len(own))
        tables.append(own * node.to(own).unsqueeze(-1))
    return tables[::-1]


@torch.no_grad()
def spreads(found: Sequence[Shown]) -> list[Tensor]:
    """Return the standard deviation [out, in] of what every edge adds to its output."""
    return [layer_scores(one.layer, one.x) for one in found]


def given_scores(found: Sequence[Shown], scores: Scores | None, default: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Return the scores [out, in] of every layer, where the layer is: those given, or the default ones.

    Raises:
        ValueError: if one is missing, has another shape, or holds a number that is negative or not finite.
    """
    if scores is None:
        tables = default()
    elif isinstance(scores, Mapping):
        missing = [one.name for one in found if one.name not in scores]
        if missing:
            raise ValueError(f"scores must hold one [out, in] for every layer; there is none for {missing[0]!r}")
        tables = [scores[one.name] for one in found]
    else:
        tables = list(scores)
    shapes = [(one.layer.out_features, one.layer.in_features) for one in found]
    if [tuple(table.shape) for table in tables] != shapes:
        raise ValueError(f"scores must be {shapes}, [out, in] of every layer; got {[tuple(t.shape) for t in tables]}")
    if not all(bool(((table >= 0) & table.isfinite()).all()) for table in tables):
        raise ValueError("scores must be finite and at least 0; if they are computed, give data in the edges' domain")
    return [table.detach().to(one.x.device) for one, table in zip(found, tables, strict=True)]


def strongest(table: Tensor, living: Tensor, count: int) -> list[tuple[int, int]]:
    """Return (output, input) of the edges with the largest scores [out, in], among those left, the largest first."""
    order = torch.where(living, table, -1).flatten().argsort(descending=True, stable=True)
    width = table.shape[-1]
    return [divmod(int(edge), width) for edge in order[: min(count, int(living.sum()))]]


def span(column: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest of the values [samples]; an interval around one that is alone."""
    low, high = float(column.min()), float(column.max())
    return (low, high) if low < high else (low - 1, high + 1)


@torch.no_grad()
def curve(
    one: Shown, output: int, input: int, low: float, high: float, points: int
) -> tuple["NDArray[np.float64]", "NDArray[np.float64]"]:
    """Return x and φ(x) of an edge on equispaced points of [low, high]."""
    x = torch.linspace(low, high, points, dtype=one.x.dtype, device=one.x.device)
    return numbers(x), numbers(one.layer.edge_function(output, input)(x))
