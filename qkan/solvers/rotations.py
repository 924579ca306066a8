"""Bloch vectors at the nodes of the lowering, with a backward derived by hand.

The nodes are few and shared by all edges, so the lowering is a long chain of small rotations. Autograd would record
each of them and keep its operands; here the backward turns the final vectors back to the start, together with the
adjoint: both are multiplied by the inverse of each rotation, and with (a, b) the components in its plane and (ā, b̄)
their adjoints, the gradient of its angle is b̄ a - ā b. Channels may have no inverse: the vectors in front of them are
kept, and a channel multiplies the adjoint by its factors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qkan._cached import cached
from qkan.ansatz import Operation
from qkan.bases.fourier import Pair
from qkan.noise import Affine, compose
from qkan.solvers.bloch import PLANE, Vector, angle_pairs, evolve, fixed

__all__ = ["node_expectations"]


def node_expectations(circuit: tuple[Operation, ...], theta: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return <Z> [nodes, out, in] of every edge at every node.

    Args:
        circuit: the unrolled circuit.
        theta: [out, in, angles], radians.
        cos: cosine of every upload at every node, [uploads, nodes, 1, 1]; a constant.
        sin: its sine.
    """
    circuit, rest = _shortened(circuit)
    if torch.compiler.is_compiling():  # the compiler derives and fuses a backward of its own
        z = _vectors(circuit, theta, cos, sin)[0][2]
    else:
        z = _Rotations.apply(_Opaque(circuit), theta, cos, sin)[0][2]
    return z if rest == Affine(1, 1, 1, 0) else z * rest.z + rest.shift


@cached
def _shortened(circuit: tuple[Operation, ...]) -> tuple[tuple[Operation, ...], Affine]:
    """Return the circuit without the channels that can as well act on the result, and their map.

    These are the last ones, and such as shrink all components alike (depolarizing): they commute with every gate, and
    with every channel but those that shift.
    """
    kept: list[Operation] = []
    rest, shifted = Affine(1.0, 1.0, 1.0, 0.0), False
    for op in reversed(circuit):
        affine = compose(op.channels)
        if op.source == "channel" and (
            not kept or (affine.x == affine.y == affine.z and not (affine.shift or shifted))
        ):
            rest = affine.then(rest)
            continue
        shifted = shifted or bool(affine.shift)
        kept.append(op)
    return tuple(reversed(kept)), rest


def _vectors(circuit: tuple[Operation, ...], theta: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Return the final vectors [3, nodes, out, in], and those in front of channels [channels, 3, nodes, out, in]."""
    before: list[Vector] = []
    final = evolve(circuit, angle_pairs(theta), _pairs(cos, sin), transverse=True, before_channels=before)
    shape = (cos.shape[1], *theta.shape[:-1])

    def stacked(vector: Vector) -> Tensor:
        return torch.stack([c.expand(shape) if isinstance(c, Tensor) else theta.new_full(shape, c) for c in vector])

    return stacked(final), torch.stack([stacked(v) for v in before]) if before else theta.new_empty(0, 3, *shape)


@dataclass(frozen=True)
class _Opaque:
    """A circuit into which vmap does not look, which would count the fields of its gates as inputs."""

    operations: tuple[Operation, ...]


class _Rotations(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(circuit: _Opaque, theta: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        # What backward reads is an output: second derivatives go through it.
        return _vectors(circuit.operations, theta, cos, sin)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.circuit = inputs[0].operations
        ctx.save_for_backward(*inputs[1:], *output)
        # The same in both: vmap keeps one list of batch dimensions for them.
        ctx.save_for_forward(*inputs[1:], *(tensor.detach() for tensor in output))

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor) -> tuple[None, Tensor, None, None]:
        # Only differentiable operations on what was saved: second derivatives come for free.
        theta, cos, sin, *states = ctx.saved_tensors
        return None, _angle_gradient(ctx.circuit, theta, _pairs(cos, sin), states, adjoints), None, None

    @staticmethod
    def jvp(ctx: Any, _circuit: None, tangent: Tensor, _cos: None, _sin: None) -> tuple[Tensor, Tensor]:
        theta, cos, sin, *_ = ctx.saved_tensors
        return _push_forward(ctx.circuit, theta, _pairs(cos, sin), tangent)


def _pairs(cos: Tensor, sin: Tensor) -> list[Pair]:
    return list(zip(cos.unbind(0), sin.unbind(0), strict=True))


def _angle_gradient(
    circuit: tuple[Operation, ...],
    theta: Tensor,
    uploads: list[Pair],
    states: Sequence[Tensor],
    adjoints: Sequence[Tensor],
) -> Tensor:
    """Return the gradient [out, in, angles] of the angles, by turning vectors and adjoints back to the start.

    ``states`` and ``adjoints`` hold two tensors each, as `_vectors` returns them.
    """
    pairs = angle_pairs(theta)
    both: list[Tensor] = list(torch.stack([states[0], adjoints[0]], dim=1).unbind(0))  # each [2, nodes, out, in]
    before = list(torch.stack([states[1], adjoints[1]], dim=2).unbind(0))  # each [3, 2, nodes, out, in]
    gradients = [theta.new_zeros(theta.shape[:-1])] * theta.shape[-1]
    for op in reversed(circuit):
        if op.source == "fixed":
            both = fixed(op.name, both)  # its own inverse
            continue
        if op.source == "channel":
            both = _before_channel(compose(op.channels), both, before.pop())
            continue
        i, j = PLANE[op.name]
        a, b = both[i], both[j]
        if op.source == "trainable":
            gradients[op.position] = torch.addcmul(b[1] * a[0], a[1], b[0], value=-1).sum(0)
        cos, sin = (pairs if op.source == "trainable" else uploads)[op.position]
        both[i], both[j] = torch.addcmul(a * cos, b, sin), torch.addcmul(b * cos, a, sin, value=-1)
        if op.source == "encoding" and op.position == 0:
            # Before the first upload the state is the same at all nodes: the adjoints add up.
            both = [_gathered(c) for c in both]
            before = [torch.stack([_gathered(c) for c in v]) for v in before]
    return torch.stack(gradients, dim=-1) if gradients else torch.zeros_like(theta)


def _gathered(pair: Tensor) -> Tensor:
    """Return state and adjoint [2, 1, out, in] from [2, nodes, out, in] with one state for all nodes."""
    return torch.stack([pair[0, :1], pair[1].sum(0, keepdim=True)])


def _before_channel(affine: Affine, both: Sequence[Tensor], before: Tensor) -> list[Tensor]:
    """Return states and adjoints in front of a channel: the states as kept, the adjoints by its transposed map."""
    factors = (affine.x, affine.y, affine.z)
    return [
        torch.stack([kept[0], torch.add(kept[1], now[1], alpha=factor)])
        for kept, now, factor in zip(before.unbind(0), both, factors, strict=True)
    ]


def _push_forward(
    circuit: tuple[Operation, ...], theta: Tensor, uploads: list[Pair], tangent: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of both results of `_vectors` in the direction of a tangent [out, in, angles]."""
    pairs = angle_pairs(theta)
    zero = torch.zeros_like(uploads[0][0] * theta.new_zeros(theta.shape[:-1]))  # [nodes, out, in]
    start = torch.stack([zero, zero])  # state and its derivative
    both = [start, start, torch.stack([zero + 1, zero])]
    before = []
    for op in circuit:
        if op.source == "fixed":
            both = fixed(op.name, both)
            continue
        if op.source == "channel":
            before.append(torch.stack([component[1] for component in both]))
            both = _through_channel(compose(op.channels), both)
            continue
        i, j = PLANE[op.name]
        cos, sin = (pairs if op.source == "trainable" else uploads)[op.position]
        a, b = both[i] * cos - both[j] * sin, both[i] * sin + both[j] * cos
        if op.source == "trainable":
            turn = tangent[..., op.position]
            a, b = torch.stack([a[0], a[1] - turn * b[0]]), torch.stack([b[0], b[1] + turn * a[0]])
        both[i], both[j] = a, b
    final = torch.stack([component[1] for component in both])
    return final, torch.stack(before) if before else final.new_empty(0, *final.shape)


def _through_channel(affine: Affine, both: Sequence[Tensor]) -> list[Tensor]:
    x, y, z = both[0] * affine.x, both[1] * affine.y, both[2] * affine.z
    return [x, y, torch.stack([z[0] + affine.shift, z[1]])]
