"""Bloch vectors at the nodes of the lowering, with a backward derived by hand.

The nodes are few and shared by all edges, so the lowering is a long chain of small rotations. Autograd would record
each of them and keep its operands; here the backward turns the final vectors back to the start, together with the
adjoint: both are multiplied by the inverse of each rotation, and with (a, b) the components in its plane and (ā, b̄)
their adjoints, the gradient of its angle is b̄ a - ā b. It needs gates that are rotations; channels have no inverse.
"""

from typing import Any

import torch
from torch import Tensor

from qkan.ansatz import Operation
from qkan.bases.fourier import Pair
from qkan.solvers.bloch import PLANE, angle_pairs, evolve, fixed

__all__ = ["node_vectors"]


def node_vectors(circuit: tuple[Operation, ...], theta: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the final Bloch vectors [3, nodes, out, in] of every edge at every node.

    Args:
        circuit: the unrolled circuit.
        theta: [out, in, angles], radians.
        cos: cosine of every upload at every node, [uploads, nodes, 1, 1]; a constant.
        sin: its sine.
    """
    if torch.compiler.is_compiling():  # the compiler derives and fuses a backward of its own
        return _vectors(circuit, theta, cos, sin)
    vectors: Tensor = _Rotations.apply(circuit, theta, cos, sin)
    return vectors


def _vectors(circuit: tuple[Operation, ...], theta: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    vector = evolve(circuit, angle_pairs(theta), _pairs(cos, sin), transverse=True)
    shape = (cos.shape[1], *theta.shape[:-1])
    return torch.stack([c.expand(shape) if isinstance(c, Tensor) else theta.new_full(shape, c) for c in vector])


class _Rotations(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(circuit: tuple[Operation, ...], theta: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return _vectors(circuit, theta, cos, sin)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.circuit = inputs[0]
        ctx.save_for_backward(*inputs[1:], output)
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, adjoint: Tensor) -> tuple[None, Tensor, None, None]:
        # Only differentiable operations on what was saved: second derivatives come for free.
        theta, cos, sin, vectors = ctx.saved_tensors
        return None, _angle_gradient(ctx.circuit, theta, _pairs(cos, sin), vectors, adjoint), None, None

    @staticmethod
    def jvp(ctx: Any, _circuit: None, tangent: Tensor, _cos: None, _sin: None) -> Tensor:
        theta, cos, sin = ctx.saved_tensors
        return _push_forward(ctx.circuit, theta, _pairs(cos, sin), tangent)


def _pairs(cos: Tensor, sin: Tensor) -> list[Pair]:
    return list(zip(cos.unbind(0), sin.unbind(0), strict=True))


def _angle_gradient(
    circuit: tuple[Operation, ...], theta: Tensor, uploads: list[Pair], vectors: Tensor, adjoint: Tensor
) -> Tensor:
    """Return the gradient [out, in, angles] of the angles, by turning vectors and adjoints back to the start."""
    pairs = angle_pairs(theta)
    both: list[Tensor] = list(torch.stack([vectors, adjoint], dim=1).unbind(0))  # each [2, nodes, out, in]
    gradients = [torch.zeros_like(theta[..., 0])] * theta.shape[-1]
    for op in reversed(circuit):
        if op.source == "fixed":
            both = fixed(op.name, both)  # its own inverse
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
    return torch.stack(gradients, dim=-1)


def _push_forward(circuit: tuple[Operation, ...], theta: Tensor, uploads: list[Pair], tangent: Tensor) -> Tensor:
    """Return the derivative [3, nodes, out, in] of the vectors in the direction of a tangent [out, in, angles]."""
    pairs = angle_pairs(theta)
    zero = torch.zeros_like(uploads[0][0] * theta[..., 0])  # [nodes, out, in]
    start = torch.stack([zero, zero])  # state and its derivative
    both = [start, start, torch.stack([zero + 1, zero])]
    for op in circuit:
        if op.source == "fixed":
            both = fixed(op.name, both)
            continue
        i, j = PLANE[op.name]
        cos, sin = (pairs if op.source == "trainable" else uploads)[op.position]
        a, b = both[i] * cos - both[j] * sin, both[i] * sin + both[j] * cos
        if op.source == "trainable":
            turn = tangent[..., op.position]
            a, b = torch.stack([a[0], a[1] - turn * b[0]]), torch.stack([b[0], b[1] + turn * a[0]])
        both[i], both[j] = a, b
    return torch.stack([component[1] for component in both])
