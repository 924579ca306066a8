"""Which elementary function an edge is: suggestions ranked by how well and how simply they fit."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import index_below, positive_integer
from qkan.attribution import inputs_of
from qkan.elementary import LIBRARY, Elementary, named
from qkan.layers.edges import EdgeLayer, check_edge, edge_layers
from qkan.layers.recording import layer_inputs
from qkan.symbolic.fitting import Affine, Samples, fit

__all__ = ["Suggestion", "entering", "find_layer", "score", "suggest", "suggest_symbolic"]

# In log2(1 - R² + _FLOOR): a trained edge is no better than that, and differences below it mean nothing.
_FLOOR = 1e-5
_USUAL = tuple(function for function in LIBRARY.values() if function.form != "constant")


class Suggestion(NamedTuple):
    """An elementary function with its constants: y is about d + c f(a x + b).

    name: of the function in `qkan.elementary.LIBRARY`. r2: 1 - Σ (y - fit)² / Σ (y - mean y)²; None if nothing was
    fitted. affine: (a, b, c, d). complexity: of the function. score: see `score`; the lowest is the best.
    """

    name: str
    r2: float | None
    affine: Affine
    complexity: float
    score: float


def score(r2: float, complexity: float, weight_simple: float = 0.8) -> float:
    """Return weight_simple · complexity + (1 - weight_simple) · log2(1 - R² + 1e-5); lower is better.

    With weight_simple = 0.8 one unit of complexity has to pay by a rest 1 - R² that is 16 times smaller.

    >>> round(score(1.0, complexity=2, weight_simple=0.8), 3)
    -1.722
    """
    return weight_simple * complexity + (1 - weight_simple) * math.log2(max(1 - r2, 0) + _FLOOR)


def suggest(
    x: Tensor,
    y: Tensor,
    *,
    library: Iterable[str] | None = None,
    top: int | None = 5,
    weight_simple: float = 0.8,
    reach: float = 10.0,
) -> list[Suggestion]:
    """Return the elementary functions that fit samples best, the best first.

    Each is fitted as d + c f(a x + b) by least squares, with f finite and continuous on the whole interval of the data.
    Constants that others take up stay fixed: a = ±1 for powers, roots, 1/x, abs and log, b = 0 for exp. Samples that
    are constant are suggested to be the function 0 alone.

    Args:
        x: samples, any shape; they should fill their interval.
        y: as many.
        library: names of functions; None for all of `qkan.elementary.LIBRARY` but "0", which is so simple that it would
            win over a function with R² 0.998.
        top: how many to return; None for all.
        weight_simple: from 0 (R² alone) to 1 (complexity alone), see `score`.
        reach: the largest half-width of a x + b over the data; 10 is about three periods of a sine.

    Raises:
        ValueError: for samples that are not finite or too few, an unknown name, or a number out of range.
        TypeError: if top is no integer.

    Example:
        >>> x = torch.linspace(-1, 1, 200, dtype=torch.float64)
        >>> best = suggest(x, 2 * torch.sin(3 * x + 0.5) - 1)[0]
        >>> best.name, [round(number, 6) for number in best.affine]
        ('sin', [3.0, 0.5, 2.0, -1.0])
    """
    functions = _USUAL if library is None else named(library)
    if not 0 <= weight_simple <= 1:
        raise ValueError(f"weight_simple must be from 0 to 1; got {weight_simple!r}")
    if not 0.1 <= reach < math.inf:
        raise ValueError(f"reach must be a finite number of at least 0.1; got {reach!r}")
    samples = Samples.of(x, y)
    if samples.constant:
        functions = (LIBRARY["0"],)
    found = [_fitted(function, samples, weight_simple, reach) for function in functions]
    ranked = sorted(found, key=lambda one: one.score)
    return ranked if top is None else ranked[: positive_integer("top", top)]


def _fitted(function: Elementary, samples: Samples, weight_simple: float, reach: float) -> Suggestion:
    found = fit(function, samples, reach)
    rank = score(found.r2, function.complexity, weight_simple)
    return Suggestion(function.name, found.r2, found.affine, function.complexity, rank)


def suggest_symbolic(
    model: nn.Module,
    layer: int | str,
    output: int,
    input: int,
    data: Tensor | tuple[Tensor, Tensor],
    *,
    library: Iterable[str] | None = None,
    top: int | None = 5,
    weight_simple: float = 0.8,
    reach: float = 10.0,
) -> list[Suggestion]:
    """Return the elementary functions that fit an edge best over what enters it for the given data, the best first.

    Args:
        model: any module with edge layers, or such a layer.
        layer: its number in the order of `qkan.layers.edges.edge_layers`, or its name there.
        output: o in 0..out_features - 1 of the layer.
        input: i in 0..in_features - 1 of the layer.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets, which are not read.
        library: see `suggest`, as all further keywords.
        top: how many to return.
        weight_simple: what simplicity counts.
        reach: how far the search goes.

    Raises:
        ValueError: for a place out of range, or as `suggest`.
        TypeError: likewise.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([2, 1], ansatz="real", reps=1, dtype=torch.float64)  # a sine on every edge
        >>> suggest_symbolic(model, 0, 0, 1, torch.rand(100, 2, dtype=torch.float64) * 6)[0].name in ("sin", "cos")
        True
    """
    name, found = find_layer(model, layer)
    output, input = check_edge(found, output, input)
    x = entering(model, name, data)[:, input]
    with torch.no_grad():
        y = found.edge_function(output, input)(x)
    return suggest(x, y, library=library, top=top, weight_simple=weight_simple, reach=reach)


def find_layer(model: nn.Module, layer: int | str) -> tuple[str, EdgeLayer]:
    """Return the name of an edge layer of a model, and the layer.

    Raises:
        ValueError: if there is no such layer.
        TypeError: if it is named by neither a number nor a text.
    """
    layers = edge_layers(model)
    if isinstance(layer, str):
        if layer not in layers:
            raise ValueError(f"layer must be one of {', '.join(map(repr, layers))}, or a number; got {layer!r}")
        return layer, layers[layer]
    name = list(layers)[index_below("layer", layer, len(layers))]
    return name, layers[name]


@torch.no_grad()
def entering(model: nn.Module, name: str, data: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return what enters an edge layer of a model for the given data, [samples, in], in float64.

    Raises:
        ValueError: if the layer is never called.
    """
    seen = layer_inputs(model, inputs_of(data))
    if name not in seen:
        raise ValueError(f"layer {name!r} is not called when the model runs, so nothing is known of its inputs")
    return seen[name].double()
