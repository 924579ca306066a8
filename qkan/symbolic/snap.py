"""Snapping: edges become elementary functions whose constants can be trained on. New models; the old one stays."""

import copy
from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from qkan.elementary import LIBRARY, named
from qkan.layers.edges import EdgeLayer, EditableLayer, check_edge, edge_layers
from qkan.layers.snapped import SnappedLinear, snapped
from qkan.lowering import replace_layers
from qkan.symbolic.suggest import Suggestion, entering, find_layer, score, suggest

__all__ = ["AutoSymbolic", "Snap", "auto_symbolic", "fix_symbolic"]

M = TypeVar("M", bound=nn.Module)

# An edge adds nothing if it stays below this part of the largest value of its layer.
_NOTHING = 1e-9


class Snap(NamedTuple):
    """What became of an edge: "snapped", "removed" or "kept", with the best suggestion and the reason in words."""

    layer: str
    output: int
    input: int
    action: str
    suggestion: Suggestion | None
    reason: str


class AutoSymbolic(NamedTuple, Generic[M]):
    """The new model, and what became of every edge that it had."""

    model: M
    report: list[Snap]


def fix_symbolic(
    model: M,
    layer: int | str,
    output: int,
    input: int,
    name: str,
    data: Tensor | tuple[Tensor, Tensor] | None = None,
    affine: Sequence[float] | None = None,
) -> tuple[M, Suggestion]:
    """Return a model in which one edge is d + c f(a x + b), and the constants with their R².

    The constants are trainable parameters of a `SnappedLinear`, which takes the place of the layer: go on with
    `qkan.fit`. An edge that was snapped before, or removed, becomes the new function.

    Args:
        model: any module with edge layers, or such a layer.
        layer: its number in the order of `qkan.layers.edges.edge_layers`, or its name there.
        output: o in 0..out_features - 1 of the layer.
        input: i in 0..in_features - 1 of the layer.
        name: of the function, in `qkan.elementary.LIBRARY`.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets, which are not read: the constants
            are fitted to what the edge does on them.
        affine: the constants (a, b, c, d); None to fit them. With data as well they are not fitted, and R² is theirs.

    Raises:
        ValueError: for a place out of range, an unknown name, neither data nor affine, an affine that makes the
            function NaN or infinite on the data, or another function than "0" for an edge that is constant on them.
        TypeError: for a layer that cannot be edited, such as a lowered one.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([2, 1], ansatz="real", reps=1, dtype=torch.float64)
        >>> x = torch.linspace(-3, 3, 200, dtype=torch.float64).view(100, 2)
        >>> new, found = fix_symbolic(model, 0, 0, 1, "sin", x)
        >>> round(found.r2, 6), torch.allclose(new(x), model(x))
        (1.0, True)
    """
    place, old = find_layer(model, layer)
    editable = _editable(place, old)
    output, input = check_edge(old, output, input)
    named([name])
    samples = None if data is None else _samples(old, entering(model, place, data), output, input)
    if affine is not None:
        chosen = _given(name, affine, samples)
    elif samples is not None:
        chosen = _fitted(name, samples)
    else:
        raise ValueError("fix_symbolic needs data to fit the constants to, or affine=(a, b, c, d)")
    new = snapped(editable, {(output, input): (name, chosen.affine)})
    return replace_layers(model, {place: new}), chosen  # type: ignore[return-value]


@torch.no_grad()
def _samples(layer: EdgeLayer, x: Tensor, output: int, input: int) -> tuple[Tensor, Tensor]:
    return x[:, input], layer.edge_function(output, input)(x[:, input])


def _fitted(name: str, samples: tuple[Tensor, Tensor]) -> Suggestion:
    found = suggest(*samples, library=[name])
    if found[0].name != name:
        raise ValueError(f"the edge is constant on the data, {found[0].affine[3]:.6g}: snap it to '0'; got {name!r}")
    return found[0]


def _given(name: str, affine: Sequence[float], samples: tuple[Tensor, Tensor] | None) -> Suggestion:
    constants = [float(number) for number in affine]
    if len(constants) != 4:
        raise ValueError(f"affine must be four numbers (a, b, c, d); got {affine!r}")
    a, b, c, d = constants
    r2, complexity = None, LIBRARY[name].complexity
    if samples is not None:
        x, y = samples
        rest, total = (y - d - c * LIBRARY[name](a * x + b)).square().sum(), (y - y.mean()).square().sum()
        if not torch.isfinite(rest):
            raise ValueError(f"affine must keep {name!r} finite on the data; got {affine!r}")
        r2 = 1 - float(rest / total) if total > 0 else None
    return Suggestion(name, r2, (a, b, c, d), complexity, score(1.0 if r2 is None else r2, complexity))


def auto_symbolic(
    model: M,
    data: Tensor | tuple[Tensor, Tensor],
    *,
    library: Iterable[str] | None = None,
    r2_threshold: float = 0.0,
    weight_simple: float = 0.8,
    reach: float = 10.0,
) -> AutoSymbolic[M]:
    """Return a model in which every edge is the elementary function that fits it best, and a report.

    Layer by layer: what enters a layer is computed by the layers that are already snapped, so that edges are fitted
    where they will be used. Removed edges stay removed, snapped ones as they are; edges that add nothing are removed,
    constant ones snapped to "0" with their constant; edges that no function fits well enough are kept.

    Args:
        model: any module with edge layers that can be edited.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets, which are not read.
        library: names of functions; None for all but "0", see `suggest`.
        r2_threshold: edges whose best function has a lower R² are kept.
        weight_simple: what simplicity counts, see `score`.
        reach: how far the search goes, see `suggest`.

    Raises:
        ValueError: as `suggest`, or if a layer is never called.
        TypeError: for a layer that cannot be edited, such as a lowered one.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([2, 1], ansatz="real", reps=1, dtype=torch.float64)
        >>> x = torch.linspace(-3, 3, 200, dtype=torch.float64).view(100, 2)
        >>> new, report = auto_symbolic(model, x, library=["x", "sin"])
        >>> [(snap.input, snap.action, snap.suggestion.name) for snap in report]
        [(0, 'snapped', 'sin'), (1, 'snapped', 'sin')]
    """
    names = None if library is None else list(library)
    report: list[Snap] = []
    for place in edge_layers(model):
        layer = _editable(place, edge_layers(model)[place])
        x = entering(model, place, data)
        samples = {(o, i): _samples(layer, x, o, i) for o, i in layer.mask.nonzero().tolist()}
        largest = max((float(y.abs().max()) for _, y in samples.values()), default=0.0)
        snaps = []
        for (o, i), (inputs, outputs) in samples.items():
            if isinstance(layer, SnappedLinear) and layer.number_of(o, i) is not None:
                snaps.append(Snap(place, o, i, "kept", None, "it was snapped before"))
                continue
            best = suggest(inputs, outputs, library=names, top=1, weight_simple=weight_simple, reach=reach)
            snaps.append(_decide(place, o, i, best, float(outputs.abs().max()) > _NOTHING * largest, r2_threshold))
        model = replace_layers(model, {place: _changed(layer, snaps)})  # type: ignore[assignment]
        report += snaps
    return AutoSymbolic(model, report)


def _decide(place: str, output: int, input: int, found: list[Suggestion], adds: bool, threshold: float) -> Snap:
    if not adds:
        return Snap(place, output, input, "removed", None, "it adds nothing on the data")
    best, r2 = found[0], found[0].r2 or 0.0
    if r2 < threshold:
        return Snap(place, output, input, "kept", best, f"R² of {best.name}, {r2:.6g}, is below {threshold:g}")
    return Snap(place, output, input, "snapped", best, f"R² of {best.name} is {r2:.6g}")


def _changed(layer: EditableLayer, snaps: list[Snap]) -> nn.Module:
    edges, removed = {}, torch.zeros_like(layer.mask, dtype=torch.bool)
    for snap in snaps:
        if snap.action == "snapped" and snap.suggestion is not None:
            edges[snap.output, snap.input] = (snap.suggestion.name, snap.suggestion.affine)
        removed[snap.output, snap.input] = snap.action == "removed"
    new = snapped(layer, edges) if edges else copy.deepcopy(layer)
    new.remove_edges(removed)
    return new  # type: ignore[return-value]  # an edge layer is a module


def _editable(place: str, layer: EdgeLayer) -> EditableLayer:
    if not isinstance(layer, EditableLayer):
        raise TypeError(
            f"layer {place!r} must have a mask that can be edited; got {type(layer).__name__}; snap before lower()"
        )
    return layer
