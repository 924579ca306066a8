"""What conversion reads of a model: the edges of every layer as curves, what enters them, and what is kept as it is."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.ansatz import ArccosMap
from qkan.layers import activations
from qkan.layers.edges import EdgeLayer, EditableLayer
from qkan.layers.kan import KANLinear
from qkan.layers.linear import QKANLinear
from qkan.layers.recording import layer_inputs
from qkan.layers.snapped import SnappedLinear
from qkan.lowering import LoweredLinear
from qkan.models.stack import Stack
from qkan.precision import widest_dtype

__all__ = ["Base", "Fourier", "Source", "common_activation", "curves", "fourier", "sources"]


class Base(NamedTuple):
    """A base branch: what every edge adds as weight_oi σ(x_i), mask included."""

    activation: nn.Module
    weight: Tensor  # [out, in]


class Source(NamedTuple):
    """A layer that is converted."""

    name: str
    layer: EdgeLayer
    inputs: Tensor  # [samples, in], in float64 where the device has it
    base: Base | None
    bias: Tensor | None  # [out]
    kept: Tensor  # bool [out, in]: edges that are not removed

    @property
    def like(self) -> Tensor:
        """A tensor of the layer, for dtype and device."""
        return next(self.layer.parameters())  # type: ignore[attr-defined, no-any-return]  # an edge layer is a module


def sources(model: nn.Module, x: Tensor) -> list[Source]:
    """Return all layers of a model, with what enters them when it computes its output for x [samples, in].

    Raises:
        TypeError: if the model is no `QKAN` or `KAN`.
        ValueError: for no samples, or if what enters a layer is not finite.
    """
    if not isinstance(model, Stack):
        raise TypeError(
            f"model must be a QKAN or KAN; got {type(model).__name__}: convert the part that is one, such as model.core"
        )
    if not x.numel():
        raise ValueError(f"data must hold at least one sample; got {tuple(x.shape)}")
    found = []
    for name, entering in layer_inputs(model, x).items():
        if not entering.isfinite().all():
            raise ValueError(f"data must be finite in every layer; what enters {name} holds NaN or infinity")
        found.append(_source(name, model.get_submodule(name), entering))
    return found


def _source(name: str, layer: nn.Module, entering: Tensor) -> Source:
    if not isinstance(layer, EdgeLayer):
        raise TypeError(f"layer {name} must have edges; got {type(layer).__name__}")
    inputs = entering.to(widest_dtype(entering.device))
    bias = layer.bias if isinstance(layer, EditableLayer | LoweredLinear) else None
    return Source(name, layer, inputs, _base(layer), bias, _kept(layer, inputs))


def _base(layer: EdgeLayer) -> Base | None:
    if isinstance(layer, SnappedLinear):
        return _base(layer.inner)
    if isinstance(layer, LoweredLinear):
        found = layer.base_activation
        return None if found is None else Base(found, layer.coefficients[..., -1])
    if not isinstance(layer, QKANLinear | KANLinear) or layer.base_activation is None or layer.base_weight is None:
        return None
    return Base(layer.base_activation, layer.mask * layer.base_weight)


def _kept(layer: EdgeLayer, inputs: Tensor) -> Tensor:
    """Return which edges are there: by the mask, or for a layer without one, those that add anything at all."""
    if isinstance(layer, EditableLayer):
        return layer.mask != 0
    expansion = layer.expansion(inputs[:1])
    if expansion is None:
        return torch.ones(layer.out_features, layer.in_features, dtype=torch.bool, device=inputs.device)
    return (expansion.coefficients != 0).any(-1) | (expansion.constant != 0)


def curves(layer: EdgeLayer, x: Tensor, base: Base | None = None) -> Iterator[Tensor]:
    """Yield for every input what its edges add, [points, out], without this base branch, at x [points, in]."""
    expansion = layer.expansion(x)
    for i in range(layer.in_features):
        if expansion is None:
            edges = [layer.edge_function(o, i)(x[:, i]) for o in range(layer.out_features)]
            values = torch.stack(edges, -1)
        else:
            values = expansion.columns[:, i] @ expansion.coefficients[:, i].mT + expansion.constant[:, i]
        if base is not None:
            values = values - base.activation(x[:, i]).unsqueeze(-1) * base.weight[:, i]
        yield values


def common_activation(found: Sequence[Source]) -> str | nn.Module | None:
    """Return the activation of all base branches; None if there is none, or if they differ."""
    modules = [source.base.activation for source in found if source.base is not None]
    names = {_name(module) for module in modules}
    if len(names) != 1:
        return None
    return names.pop() or modules[0]


def _name(activation: nn.Module) -> str | None:
    try:
        return activations.name_of(activation)
    except ValueError:
        return None


class Fourier(NamedTuple):
    """Edges that are Fourier series: constant, then the cosines, then the sines of the harmonics of u."""

    table: Tensor  # [out, in, 1 + 2 harmonics]
    harmonics: tuple[int, ...]
    arccos_map: ArccosMap | None


def fourier(source: Source) -> Fourier | None:
    """Return the edges of a layer, without its base branch, if they are exact Fourier series."""
    layer = source.layer
    if isinstance(layer, QKANLinear):
        ansatz, encoding = layer.options.circuit, layer.options.weights
    elif isinstance(layer, LoweredLinear):
        ansatz, encoding = layer.ansatz, layer.encoding
    else:
        return None
    expansion = layer.expansion(source.inputs[:1])
    if expansion is None or isinstance(encoding, str):
        return None
    harmonics = ansatz.harmonics(encoding)
    series = expansion.coefficients[..., : 2 * len(harmonics)]
    return Fourier(torch.cat([expansion.constant.unsqueeze(-1), series], -1), harmonics, ansatz.arccos_map)
