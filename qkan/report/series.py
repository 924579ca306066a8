"""Curves of edges in few numbers: exact Fourier series, from which the page computes what it draws."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan.ansatz import Ansatz, ArccosMap
from qkan.layers import activations
from qkan.layers.edges import EdgeLayer
from qkan.layers.linear import QKANLinear
from qkan.lowering import LoweredLinear
from qkan.solvers.auto import evaluations
from qkan.solvers.base import Encoding
from qkan.solvers.fourier import coefficients

__all__ = ["Edges", "Series", "activation_name", "indices", "per_edge", "series"]

Edges = list[tuple[int, int]]
"""(output, input) of edges of one layer."""

_FUNCTIONS = 120  # per edge; longer series are sampled instead
_EVALUATIONS = 1000  # of a circuit per edge, above which coefficients take too much memory


class Series(NamedTuple):
    """φ(x) = readout(constant + Σ_f coefficients_f functions_f(u)) + base σ(x), for some edges of a layer.

    The functions are cos k u, then sin k u, for the harmonics k; or, without harmonics, the products of 1,
    cos(w_r u + b_r) and sin(w_r u + b_r), the last upload r the fastest, without the product of ones. u is x, or arccos
    of its map. The readout is none, or z -> gain z / sqrt(1 + sqrt(1 - z²)).
    """

    argument: ArccosMap | None
    harmonics: tuple[int, ...] | None
    constant: Tensor  # [edges]
    coefficients: Tensor  # [edges, functions]
    weight: Tensor | None = None  # [edges, uploads], of products
    bias: Tensor | None = None
    gain: Tensor | None = None  # [edges], of the amplitude readout
    base: Tensor | None = None  # [edges]


@torch.no_grad()
def series(layer: EdgeLayer, edges: Edges) -> Series | None:
    """Return the exact series of these edges, or None for a layer that has none, or too long ones.

    Args:
        layer: in double precision.
        edges: (output, input) of each.

    Example:
        >>> found = series(QKANLinear(2, 1, ansatz="real", reps=1, init=0.0, dtype=torch.float64), [(0, 1)])
        >>> sine = torch.tensor([0.0, 1.0])  # H, X, Z, RY(x): z = 0 cos x + 1 sin x
        >>> found.harmonics, bool((found.coefficients - sine).abs().max() < 1e-12)
        ((1,), True)
    """
    if isinstance(layer, LoweredLinear):
        return _lowered(layer, edges)
    if isinstance(layer, QKANLinear) and _affordable(layer):
        return _circuits(layer, edges)
    return None


def _affordable(layer: QKANLinear) -> bool:
    options = layer.options
    if _count(options.circuit, options.weights, options.reps) > _FUNCTIONS:
        return False
    return isinstance(options.weights, str) or (
        evaluations(options.circuit, options.reps, options.weights) <= _EVALUATIONS
    )


def _count(circuit: Ansatz, weights: Encoding, reps: int) -> int:
    if isinstance(weights, str):
        return int(3 ** circuit.uploads(reps)) - 1
    return 2 * len(circuit.harmonics(weights))


def _circuits(layer: QKANLinear, edges: Edges) -> Series:
    options = layer.options
    rows, columns = indices(edges)
    theta = layer.theta[rows, columns].unsqueeze(0)  # [1, edges, angles]: as many inputs of one output
    weight, bias = (per_edge(tensor, rows, columns) for tensor in (layer.encoding_weight, layer.encoding_bias))
    harmonics = None if isinstance(options.weights, str) else options.circuit.harmonics(options.weights)
    if harmonics is None and weight is not None:
        found = coefficients(options.circuit, theta, weight)
        shift = torch.zeros_like(weight) if bias is None else bias
    else:
        shift = None
        found = coefficients(options.circuit, theta, options.start_weights, bias)
    constant, table = found.constant[0], found.coefficients[0]
    gain = layer.gain(theta.dtype)[rows, columns]
    base = None if layer.base_weight is None else (layer.mask * layer.base_weight)[rows, columns]
    amplitude = options.readout == "amplitude"
    if not amplitude:
        constant, table = gain * constant, gain.unsqueeze(-1) * table
    return Series(
        options.circuit.arccos_map, harmonics, constant, table, weight, shift, gain if amplitude else None, base
    )


def _lowered(layer: LoweredLinear, edges: Edges) -> Series | None:
    rows, columns = indices(edges)
    table, base = layer.coefficients[rows, columns], None
    if layer.base_activation is not None:
        table, base = table[:, :-1], table[:, -1]
    if table.shape[-1] > _FUNCTIONS:
        return None
    weight, bias = (per_edge(tensor, rows, columns) for tensor in (layer.encoding_weight, layer.encoding_bias))
    harmonics = None if isinstance(layer.encoding, str) else layer.ansatz.harmonics(layer.encoding)
    constant = layer.constant[rows, columns]
    return Series(layer.ansatz.arccos_map, harmonics, constant, table, weight, bias, None, base)


def indices(edges: Edges) -> tuple[Tensor, Tensor]:
    """Return the outputs and the inputs of edges, [edges] each."""
    pairs = torch.tensor(edges, dtype=torch.long).view(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def per_edge(tensor: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor | None:
    """Return what a parameter holds of these edges, [edges, ...]: [out, in, ...], or [in, uploads] for all outputs."""
    if tensor is None:
        return None
    return tensor[columns] if tensor.dim() == 2 else tensor[rows, columns]


def activation_name(activation: nn.Module | None) -> str | None:
    """Return what σ is called, its class where it has no name, or None if there is none.

    >>> activation_name(nn.SiLU()), activation_name(nn.PReLU()), activation_name(None)
    ('silu', 'PReLU', None)
    """
    try:
        return activations.name_of(activation)
    except ValueError:
        return type(activation).__name__
