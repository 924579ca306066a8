"""Convolutions of expanded images: the features of circuits with their coefficients, and the base branch."""

import torch
from torch import Tensor, nn

from qkan import bases
from qkan.ansatz import Ansatz
from qkan.bases.arguments import argument
from qkan.contraction import contract_conv
from qkan.layers.geometry import Geometry
from qkan.solvers.base import Weight
from qkan.solvers.fourier import features
from qkan.solvers.images import convolve
from qkan.solvers.lowering.nodes import Series

__all__ = ["contract_base", "contract_series"]


def contract_series(
    geometry: Geometry, circuit: Ansatz, x: Tensor, series: Series, weight: Weight, bias: Tensor | None = None
) -> Tensor:
    """Return the convolution of the features of images with the coefficients of edges.

    Args:
        geometry: of the convolution.
        circuit: says what the features are.
        x: [batch, in, *space], not padded.
        series: of the edges, [out, fan_in] and [out, fan_in, functions], gain and mask included.
        weight: integers, one per upload, or [in, uploads].
        bias: [in, uploads] with a tensor weight; not used with integers.

    Returns:
        [batch, out, *space].
    """
    place = {"stride": geometry.stride, "dilation": geometry.dilation}
    table = torch.unflatten(series.coefficients, 1, geometry.edges[1:])
    if not isinstance(weight, Tensor) and circuit.harmonics(weight) and not geometry.pads_features:
        u = argument(geometry.pad(x), circuit.arccos_map)
        constant = series.constant.sum(-1)
        return convolve(u, circuit.harmonics(weight), table, constant, groups=geometry.groups, **place)
    # The constant is one more function: 1 at pixels that are there, 0 around those if features are padded.
    images, padding = _padded(geometry, x)
    columns = features(circuit, images.movedim(1, -1), weight, bias)
    columns = bases.append(columns, columns.new_ones(columns.shape[:-1]))
    columns = torch.unflatten(columns, -2, (geometry.groups, -1))
    constant = torch.unflatten(series.constant, 1, geometry.edges[1:])
    table = torch.cat([table, constant.unsqueeze(-1)], -1)
    return contract_conv(columns.movedim((-3, -1, -2), (1, 2, 3)), table, padding=padding, **place)


def contract_base(geometry: Geometry, x: Tensor, activation: nn.Module, weight: Tensor) -> Tensor:
    """Return the convolution of σ of images x [batch, in, *space] with weights [out, in/groups, *kernel]."""
    images, padding = _padded(geometry, x)
    columns = torch.unflatten(activation(images), 1, (geometry.groups, 1, -1))
    place = {"stride": geometry.stride, "dilation": geometry.dilation}
    return contract_conv(columns, weight.to(x.dtype).unsqueeze(-1), padding=padding, **place)


def _padded(geometry: Geometry, x: Tensor) -> tuple[Tensor, tuple[tuple[int, int], ...]]:
    """Return images as they are to be expanded, and the padding that is left for their features."""
    return (x, geometry.margins) if geometry.pads_features else (geometry.pad(x), ())
