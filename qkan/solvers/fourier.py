"""Exact lowering: with integer encoding weights an edge is a Fourier series, and a layer one matrix product.

Evaluate z_j = <Z>(u_j) on u_j = 2πj/N, N = 2D + 1, D the degree. Then c_0 = mean z_j, a_k = (2/N) Σ z_j cos k u_j and
b_k = (2/N) Σ z_j sin k u_j give <Z>(u) = c_0 + Σ_k a_k cos ku + b_k sin ku for every u (Schuld, Sweke, Meyer 2021; no
approximation). Weights shared by the outputs of a layer need no integers: <Z> is linear in (1, cos t_r, sin t_r) for
the angle t_r of every upload, so that 3^R samples give the coefficients of the 3^R products.
"""

from functools import partial

import torch
from torch import Tensor

from qkan._cached import cached
from qkan._derived import Rule, Tensors, apply
from qkan.ansatz import Ansatz, Operation
from qkan.bases import fourier as basis
from qkan.bases import products
from qkan.bases.arguments import argument
from qkan.contraction import contract_linear
from qkan.noise import Affine
from qkan.precision import full_precision
from qkan.readout import Readout, amplitude, expectation
from qkan.solvers.base import Encoding, Solver, Weight
from qkan.solvers.lowering import rotations
from qkan.solvers.lowering.nodes import Nodes, Series, constants
from qkan.solvers.lowering.plan import Plan, plan
from qkan.solvers.lowering.recursion import gradient, table
from qkan.solvers.lowering.unrolled import few, unrolled_table
from qkan.solvers.pointwise import amplitude_layer

__all__ = ["Fourier", "coefficients", "features"]


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
        if readout not in (expectation, amplitude):
            return super().layer(ansatz, x, theta, weight, bias, gain, readout)
        with full_precision(x):
            columns = features(ansatz, x, weight, bias)
            if readout is amplitude:
                series = coefficients(ansatz, theta, weight, bias)
                return amplitude_layer(columns, series.coefficients, series.constant, gain)
            series = _series(_table(ansatz, theta, weight, bias) * gain)
        return contract_linear(columns, series.coefficients, series.constant.sum(-1))


def features(ansatz: Ansatz, x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    """Return the features [*batch, in, functions] whose coefficients `coefficients` computes, from x [*batch, in].

    With weights per edge, [out, in, uploads], there are features per edge, [*batch, out, in, functions].
    """
    u = argument(x, ansatz.arccos_map)
    if isinstance(weight, Tensor) and weight.dim() == 3:
        u = u.unsqueeze(-2)
    if isinstance(weight, Tensor):
        angles = u.unsqueeze(-1) * weight
        return products.features(angles if bias is None else angles + bias)
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
    return _series(_table(ansatz, theta, weight, bias))


def _series(table: Tensor) -> Series:
    constant, rest = torch.split_with_sizes(table, [1, len(table) - 1])
    return Series(constant[0], rest.permute(1, 2, 0))


def _table(ansatz: Ansatz, theta: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """Return constant and coefficients of every edge, [1 + functions, out, in]."""
    if isinstance(weight, Tensor) and weight.dim() != 2:
        raise ValueError(f"weight must be integers or [in, uploads] for the lowering; got {tuple(weight.shape)}")
    where = Nodes.of(ansatz, weight)
    circuit = ansatz.circuit(where.uploads // ansatz.uploads(1))
    if bias is not None and not isinstance(weight, Tensor):
        circuit = _with_biases(circuit, theta.shape[-1])
        theta = torch.cat([theta, bias.expand(*theta.shape[:-1], where.uploads)], dim=-1)
    circuit, rest = rotations.shortened(circuit)
    table = apply(_rule(circuit, where, theta.shape[-1]), theta)
    if rest == Affine(1, 1, 1, 0):
        return table
    shift = torch.zeros(len(table), 1, 1, dtype=table.dtype, device=table.device)
    shift[0] = rest.shift
    return table * rest.z + shift


def _rule(circuit: tuple[Operation, ...], where: Nodes, angles: int) -> Rule:
    """Return how the table of constant and coefficients [1 + functions, out, in] comes from theta."""
    plain = partial(rotations.plain_table, circuit, where)
    if any(op.source == "channel" for op in circuit):
        return Rule(plain, partial(rotations.table, circuit, where), partial(_pull_rotations, circuit, where))
    recursion = plan(circuit, where.weights, angles)
    compiled = partial(unrolled_table, recursion, where) if few(recursion) else plain
    return Rule(plain, partial(_run, recursion, where), partial(_pull, recursion, where), compiled=compiled)


def _run(recursion: Plan, where: Nodes, theta: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    return table(recursion, constants(where, recursion, theta.dtype, theta.device), theta)


def _pull(
    recursion: Plan, where: Nodes, tensors: Tensors, kept: Tensors, upstream: Tensor, _needed: object
) -> tuple[Tensor]:
    (theta,) = tensors
    return (gradient(recursion, constants(where, recursion, theta.dtype, theta.device), theta, kept[0], upstream),)


def _pull_rotations(
    circuit: tuple[Operation, ...], where: Nodes, tensors: Tensors, kept: Tensors, upstream: Tensor, _needed: object
) -> tuple[Tensor]:
    return (rotations.gradient(circuit, where, tensors[0], kept, upstream),)


@cached
def _with_biases(circuit: tuple[Operation, ...], angles: int) -> tuple[Operation, ...]:
    """Return the circuit with the bias of every upload as one more trainable rotation, numbered after the angles."""
    operations = []
    for op in circuit:
        operations.append(op)
        if op.source == "encoding":
            operations.append(Operation(op.name, "trainable", angles + op.position))
    return tuple(operations)
