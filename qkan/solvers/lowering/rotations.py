"""Coefficients of the lowering under noise, from Bloch vectors at the nodes; and the plain version of all of them.

Channels leave no amplitudes to follow. The backward, derived by hand, turns the final vectors back to the start,
together with the adjoint: both are multiplied by the inverse of each rotation, and with (a, b) the components in its
plane and (ā, b̄) their adjoints, the gradient of its angle is b̄ a - ā b. Channels may have no inverse: the vectors in
front of them are kept, and a channel multiplies the adjoint by its factors.
"""

import torch
from torch import Tensor

from qkan._cached import cached
from qkan.ansatz import Operation
from qkan.bases.fourier import Pair
from qkan.noise import Affine, compose
from qkan.solvers.bloch import PLANE, Vector, angle_pairs, evolve, fixed
from qkan.solvers.lowering.nodes import Nodes, trigonometry

__all__ = ["gradient", "plain_table", "shortened", "table"]

Circuit = tuple[Operation, ...]


@cached
def shortened(circuit: Circuit) -> tuple[Circuit, Affine]:
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


def plain_table(circuit: Circuit, where: Nodes, theta: Tensor) -> Tensor:
    """Return constant and coefficients of every edge [1 + functions, out, in], by differentiable operations.

    Args:
        circuit: the unrolled circuit.
        where: its nodes.
        theta: [out, in, angles], radians.
    """
    cos, sin, transform = trigonometry(where, theta)
    z = evolve(circuit, angle_pairs(theta), _pairs(cos, sin), transverse=False)[2]
    shape = (cos.shape[1], *theta.shape[:-1])
    values = z.expand(shape) if isinstance(z, Tensor) else theta.new_full(shape, z)
    return torch.einsum("noi,nf->foi", values, transform)


def table(circuit: Circuit, where: Nodes, theta: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return what `plain_table` returns, and what `gradient` needs."""
    cos, sin, transform = trigonometry(where, theta)
    before: list[Vector] = []
    final = evolve(circuit, angle_pairs(theta), _pairs(cos, sin), transverse=True, before_channels=before)
    shape = (cos.shape[1], *theta.shape[:-1])

    def stacked(vector: Vector) -> Tensor:
        return torch.stack([c.expand(shape) if isinstance(c, Tensor) else theta.new_full(shape, c) for c in vector])

    last = stacked(final)  # [3, nodes, out, in]
    kept = torch.stack([stacked(v) for v in before]) if before else theta.new_empty(0, *last.shape)
    return torch.einsum("noi,nf->foi", last[2], transform), (last, kept)


def gradient(circuit: Circuit, where: Nodes, theta: Tensor, kept: tuple[Tensor, ...], upstream: Tensor) -> Tensor:
    """Return the gradient of the angles [out, in, angles], from that of the table [1 + functions, out, in]."""
    cos, sin, transform = trigonometry(where, theta)
    last, before_channels = kept
    adjoint = torch.zeros_like(last)
    adjoint[2] = torch.einsum("foi,nf->noi", upstream, transform)
    both = list(torch.stack([last, adjoint], dim=1).unbind(0))  # each [2, nodes, out, in]
    return _angle_gradient(circuit, theta, _pairs(cos, sin), both, list(before_channels.unbind(0)))


def _pairs(cos: Tensor, sin: Tensor) -> list[Pair]:
    return list(zip(cos.unbind(0), sin.unbind(0), strict=True))


def _angle_gradient(
    circuit: Circuit, theta: Tensor, uploads: list[Pair], both: list[Tensor], before: list[Tensor]
) -> Tensor:
    """Return the gradient [out, in, angles], by turning vectors and adjoints back to the start."""
    pairs = angle_pairs(theta)
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
            both = [torch.stack([c[0, :1], c[1].sum(0, keepdim=True)]) for c in both]
            before = [v[:, :1] for v in before]
    return torch.stack(gradients, dim=-1) if gradients else torch.zeros_like(theta)


def _before_channel(affine: Affine, both: list[Tensor], before: Tensor) -> list[Tensor]:
    """Return states and adjoints in front of a channel: the states as kept, the adjoints by its transposed map."""
    factors = (affine.x, affine.y, affine.z)
    return [
        torch.stack([kept, now[1] * factor]) for kept, now, factor in zip(before.unbind(0), both, factors, strict=True)
    ]
