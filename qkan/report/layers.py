"""What the page knows of a layer: what it is, its scores, the density of its inputs, its circuit."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from qkan.ansatz import Ansatz, Operation
from qkan.layers.edges import EdgeLayer
from qkan.layers.kan import KANLinear
from qkan.layers.linear import QKANLinear
from qkan.lowering import LoweredLinear
from qkan.plot.panels import image_shape
from qkan.plot.sources import Shown, span
from qkan.plot.style import numbers
from qkan.report.blob import Blob
from qkan.report.details import details
from qkan.report.ranges import Range
from qkan.report.series import Edges, activation_name

__all__ = ["Part", "layer_of", "other_modules", "ranges"]

_BINS = 40
_MARGIN = 0.05  # of the range of the data, on both sides of it
_OPEN = 1 - 1e-3  # where curves over arccos x end


def ranges(one: Shown, given: bool) -> Range:
    """Return over which x the edges of every input are drawn: the range of the data with a margin, or that drawn."""
    ends = np.array([span(column) for column in one.x.unbind(1)])
    low, high = ends[:, 0], ends[:, 1]
    margin = _MARGIN * (high - low) if given else 0
    low, high = low - margin, high + margin
    if _arccos_of_x(one.layer):
        low, high = low.clip(-_OPEN, _OPEN), high.clip(-_OPEN, _OPEN)
    return Range(low, high)


def _arccos_of_x(layer: EdgeLayer) -> bool:
    circuit = _circuit(layer)
    return circuit is not None and circuit.arccos_map == "none"


def _circuit(layer: EdgeLayer) -> Ansatz | None:
    if isinstance(layer, QKANLinear):
        return layer.options.circuit
    return layer.ansatz if isinstance(layer, LoweredLinear) else None


class Part(NamedTuple):
    """A layer of the page: in double precision with what enters it, as it is in the model, and its edges.

    table: scores [out, in]. living: which edges are left, a boolean [out, in]. edges: those with details.
    """

    one: Shown
    original: nn.Module
    table: Tensor
    living: Tensor
    edges: Edges


def layer_of(part: Part, given: bool, blob: Blob) -> dict[str, Any]:
    """Return a layer as plain JSON values; its arrays go to the blob.

    Args:
        part: the layer.
        given: whether its inputs come from data.
        blob: takes the arrays.
    """
    one, original, table, living, edges = part
    where = ranges(one, given)
    shape = image_shape(None, one.layer.in_features)
    return {
        "name": one.name or type(original).__name__,
        "kind": type(original).__name__,
        "inputs": one.layer.in_features,
        "outputs": one.layer.out_features,
        "image": shape,
        "summary": _summary(original, living),
        "score": blob.add(numbers(table)),
        "living": blob.add(living.numpy(), "u1"),
        "low": blob.add(where.low),
        "high": blob.add(where.high),
        "density": _density(one.x, where, blob),
        "circuit": _drawn_circuit(one.layer),
        "details": details(one, edges, where, blob),
    }


def _summary(layer: nn.Module, living: Tensor) -> dict[str, Any]:
    trained = sum(p.numel() for p in layer.parameters() if p.requires_grad)
    about: dict[str, Any] = {"edges": int(living.sum()), "removed": int((~living).sum()), "parameters": trained}
    return about | {"about": _about(layer)}


def _about(layer: nn.Module) -> str:
    """Return what a layer is, in words."""
    if isinstance(layer, QKANLinear):
        return f"{layer.extra_repr()}, base={activation_name(layer.base_activation)}; {layer.options.circuit}"
    if isinstance(layer, KANLinear):
        return f"{layer.basis.name}: {layer.basis.extra_repr()}, base={activation_name(layer.base_activation)}"
    if isinstance(layer, LoweredLinear):
        return f"{layer.extra_repr()}; lowered from {layer.ansatz}"
    return layer.extra_repr()


def _density(x: Tensor, where: Range, blob: Blob) -> dict[str, Any]:
    """Return how the inputs [samples, in] spread over what is drawn, counts [in, bins]."""
    values = numbers(x)
    counts = [_histogram(values[:, i], where.low[i], where.high[i]) for i in range(values.shape[1])]
    return {"bins": _BINS, "counts": blob.add(np.stack(counts))}


def _histogram(column: NDArray[np.float64], low: float, high: float) -> NDArray[np.int64]:
    counts, _ = np.histogram(column, bins=_BINS, range=(low, high))
    return counts


def _drawn_circuit(layer: EdgeLayer) -> dict[str, Any] | None:
    """Return the gates of a circuit in order, with the integer weights of its uploads; None for classical layers."""
    if not isinstance(layer, QKANLinear):
        return None
    options = layer.options
    weights: Sequence[int] | None = None if options.trainable_encoding else options.start_weights
    operations = [_operation(operation) for operation in options.circuit.circuit(options.reps)]
    return {"operations": operations, "weights": weights, "readout": options.readout, "name": options.circuit.name}


def _operation(operation: Operation) -> dict[str, Any]:
    noise = [
        f"{channel.name.replace('_', ' ')} {', '.join(f'{s:.3g}' for s in channel.strengths)}"
        for channel in operation.channels
    ]
    return {"name": operation.name, "source": operation.source, "at": operation.position, "noise": noise}


def other_modules(model: nn.Module, layers: Sequence[str]) -> list[dict[str, Any]]:
    """Return the parts with parameters of their own that belong to no edge layer, in the order of the model."""
    inside = tuple(f"{name}." for name in layers)
    return [
        {
            "name": name,
            "kind": type(module).__name__,
            "about": module.extra_repr(),
            "parameters": sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad),
        }
        for name, module in model.named_modules()
        if name and name not in layers and not name.startswith(inside)
        if "" not in layers and next(module.parameters(recurse=False), None) is not None
    ]
