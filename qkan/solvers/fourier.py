"""Exact lowering: with integer encoding weights an edge is a Fourier series, and a layer one matrix product.

Evaluate z_j = <Z>(u_j) on u_j = 2πj/N, N = 2D + 1, D the degree. Then c_0 = mean z_j, a_k = (2/N) Σ z_j cos k u_j and
b_k = (2/N) Σ z_j sin k u_j give <Z>(u) = c_0 + Σ_k a_k cos ku + b_k sin ku for every u (Schuld, Sweke, Meyer 2021; no
approximation). Weights shared by the outputs of a layer need no integers: <Z> is linear in (1, cos t_r, sin t_r) for
the angle t_r of every upload, so that 3^R samples give the coefficients of the 3^R products.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from qkan._cached import cached
from qkan.ansatz import Ansatz, Operation
from qkan.bases import fourier as basis
from qkan.bases.arguments import argument
from qkan.bases.fourier import Pair
from qkan.contraction import contract_linear
from qkan.precision import full_precision
from qkan.readout import Readout, expectation
from qkan.solvers.base import Encoding, Solver, Weight
from qkan.solvers.rotations import node_expectations

__all__ = ["Fourier", "Series", "coefficients", "features", "interpolate", "nodes"]


class Series(NamedTuple):
    """Edges as linear functions of features: z = constant + Σ_f coefficients_f features_f."""

    constant: Tensor  # [out, in]
    coefficients: Tensor  # [out, in, functions]


class Fourier(Solver):
    """Coefficients from N circuit evaluations per edge, whatever the batch; then one matrix product."""

    name = "fourier"

    def refusal(self, ansatz: Ansatz, reps: int, encoding: Encoding) -> str | None:
        """Refuse weights per edge: without a shared spectrum there is no finite Fourier basis."""
        if encoding != "trainable":
            return None
        return (
            "solver='fourier' needs integer encoding weights or weights shared by the outputs, and "
            "encoding='trainable' has a weight for every edge; use solver='bloch' (or 'auto'), or "
            "encoding='trainable-shared'"
        )

    def edges(
        self,
        ansatz: Ansatz,
        x: Tensor,
        theta: Tensor,
        weight: Weight,
        bias: Tensor | None = None,
        readout: Readout = expectation,
    ) -> Tensor:
        """Return the readout of every edge, z from its coefficients."""
        with full_precision(x):
            series = coefficients(ansatz, theta, weight, bias)
            columns = features(ansatz, x, weight, bias)
            z = torch.einsum("...if,oif->...oi", columns, series.coefficients) + series.constant
            return readout(z, None)

    def layer(
        self,
        ansatz: Ansatz,
        x: Tensor,
        theta: Tensor,
        weight: Weight,
        bias: Tensor | None,
        gain: Tensor,
        readout: Readout = expectation,
    ) -> Tensor:
        """Return the layer as one product of features [*batch, in, functions]; [batch, out, in] never exists."""
        if readout is not expectation:
            return super().layer(ansatz, x, theta, weight, bias, gain, readout)
        with full_precision(x):
            series = coefficients(ansatz, theta, weight, bias)
            columns = features(ansatz, x, weight, bias)
            scaled = series.coefficients * gain.unsqueeze(-1)
            constant = (series.constant * gain).sum(-1)
        return contract_linear(columns, scaled, constant)


def features(ansatz: Ansatz, x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """Return the features [*batch, in, functions] whose coefficients `coefficients` computes, from x [*batch, in].

    With weights per edge, [out, in, uploads], there are features per edge, [*batch, out, in, functions].
    """
    u = argument(x, ansatz.arccos_map)
    if isinstance(weight, Tensor) and weight.dim() == 3:
        u = u.unsqueeze(-2)
    if isinstance(weight, Tensor):
        return _products(u, weight, bias)
    return basis.features(u, ansatz.harmonics(weight))


def coefficients(ansatz: Ansatz, theta: Tensor, weight: Weight, bias: Tensor | None = None) -> Series:
    """Return the exact coefficients of every edge.

    Args:
        ansatz: the circuit.
        theta: [out, in, angles], radians.
        weight: integers, one per upload, or [in, uploads] (whose features hold weight and bias).
        bias: [out, in, uploads] or [in, uploads] with integers, or None; with a tensor weight the features hold it.

    Raises:
        ValueError: for weights per edge.
    """
    if isinstance(weight, Tensor):
        if weight.dim() != 2:
            raise ValueError(f"weight must be integers or [in, uploads] for the lowering; got {tuple(weight.shape)}")
        uploads = weight.shape[-1]
        cos, sin, transform = _product_nodes(uploads, theta)
    else:
        uploads = len(weight)
        cos, sin, transform = _fourier_nodes(ansatz, weight, theta)
    circuit = ansatz.circuit(uploads // ansatz.uploads(1))
    if bias is not None and not isinstance(weight, Tensor):
        circuit = _with_biases(circuit, theta.shape[-1])
        theta = torch.cat([theta, bias.expand(*theta.shape[:-1], uploads)], dim=-1)
    z = node_expectations(circuit, theta, cos, sin)  # [nodes, out, in]
    return interpolate(z, transform)


@cached
def _with_biases(circuit: tuple[Operation, ...], angles: int) -> tuple[Operation, ...]:
    """Return the circuit with the bias of every upload as one more trainable rotation, numbered after the angles."""
    operations = []
    for op in circuit:
        operations.append(op)
        if op.source == "encoding":
            operations.append(Operation(op.name, "trainable", angles + op.position))
    return tuple(operations)


def nodes(ansatz: Ansatz, weight: Weight, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return where an edge has to be known to be known everywhere, and what makes a `Series` of its values there.

    The nodes of integer weights are u_j = 2πj/N, where the r-th upload turns by w_r u_j (biases are to be added);
    tensor weights need the 3^R grid {0, 2π/3, 4π/3}^R of the angles themselves (the features hold weights and biases).

    Args:
        ansatz: the circuit.
        weight: integers, one per upload, or a tensor whose last dimension are the uploads.
        like: gives dtype and device.

    Returns:
        angles [uploads, nodes] of the uploads, radians, and the transform [nodes, 1 + functions] for `interpolate`.

    Example:
        >>> from qkan.ansatz import PZ
        >>> angles, transform = nodes(PZ, (1, 3), torch.zeros(()))
        >>> angles.shape, transform.shape
        (torch.Size([2, 9]), torch.Size([9, 9]))
    """
    if isinstance(weight, Tensor):
        third = 2 * math.pi / 3
        uploads = weight.shape[-1]
        return _grid(like.new_tensor([0.0, third, 2 * third]), uploads), _product_transform(uploads, like)
    angles, transform = _fourier_angles(ansatz, weight, like)
    return angles.mT, transform


def interpolate(z: Tensor, transform: Tensor) -> Series:
    """Return the series of edges with values z [nodes, out, in]; the transform [nodes, 1 + functions] as in `nodes`."""
    table = torch.einsum("noi,nf->foi", z, transform)
    return Series(table[0], table[1:].permute(1, 2, 0))


def _fourier_nodes(ansatz: Ansatz, weights: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cos and sin [uploads, N, 1, 1] of each upload at the N nodes, and the transform [N, 1 + 2K]."""
    angles, transform = _fourier_angles(ansatz, weights, like)
    return angles.cos().mT[..., None, None], angles.sin().mT[..., None, None], transform


def _fourier_angles(ansatz: Ansatz, weights: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angles [N, uploads] at the N nodes, and the transform [N, 1 + 2K]."""
    harmonics = ansatz.harmonics(weights)
    count = 2 * max(harmonics, default=0) + 1
    index = torch.arange(count, device=like.device)

    def turn(multiples: tuple[int, ...]) -> Tensor:
        # k j mod N in integers, centred: the angle is exact and at most π before it is rounded.
        k = torch.tensor(multiples, dtype=torch.int64, device=like.device)
        step = torch.remainder(index.unsqueeze(-1) * k + count // 2, count) - count // 2
        return step.to(like.dtype) * (2 * math.pi / count)  # [N, multiples]

    angles = turn(harmonics)
    transform = torch.cat([angles.new_ones(count, 1), 2 * angles.cos(), 2 * angles.sin()], -1) / count
    return turn(weights), transform


def _product_nodes(uploads: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cos and sin [R, 3^R, 1, 1] of the uploads on the grid {0, 2π/3, 4π/3}^R, and the transform [3^R, 3^R]."""
    cos, sin = (_grid(values, uploads)[..., None, None] for values in _thirds(like))
    return cos, sin, _product_transform(uploads, like)


def _product_transform(uploads: int, like: Tensor) -> Tensor:
    cos, sin = _thirds(like)
    one = torch.stack([torch.ones_like(cos), 2 * cos, 2 * sin], -1) / 3  # [3 nodes, 3 functions]
    transform = like.new_ones(1, 1)
    for _ in range(uploads):
        transform = torch.kron(transform, one)
    return transform


def _thirds(like: Tensor) -> Pair:
    """Return cos and sin [3] of 0, 2π/3, 4π/3, without rounding these angles."""
    return like.new_tensor([1.0, -0.5, -0.5]), like.new_tensor([0.0, 0.75**0.5, -(0.75**0.5)])


def _grid(values: Tensor, uploads: int) -> Tensor:
    """Return three values [3] of each upload on the grid of all, [uploads, 3^uploads], the last upload fastest."""
    shapes = [(3**r, 3, 3 ** (uploads - r - 1)) for r in range(uploads)]
    return torch.stack([values.view(1, 3, 1).expand(shape).reshape(-1) for shape in shapes])


def _products(u: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the products of (1, cos t_r, sin t_r) over all uploads but for the constant, [*batch, in, 3^R - 1]."""
    table = u.new_ones(1)
    biases: Sequence[Tensor | int] = [0] * weight.shape[-1] if bias is None else bias.unbind(-1)
    for w, b in zip(weight.unbind(-1), biases, strict=True):
        t = w * u + b
        factor = torch.stack([torch.ones_like(t), t.cos(), t.sin()], -1)  # [*batch, in, 3]
        table = (table.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(-2)
    return table[..., 1:]
