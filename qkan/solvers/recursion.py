"""Coefficients of the lowering, gate by gate, from the amplitudes of the state as polynomials of e^{iu}.

With R uploads of weight 1 each amplitude has R + 1 coefficients, where a Bloch vector has 3 (2R + 1) values at the
nodes, and uploads cost nothing (see `qkan.solvers.plan`). From β at the nodes follow <Z> = ± (1 - 2 |β|²) and the
series, by two small products. Edges are taken in blocks that stay in the cache.

The backward, derived by hand, turns the last amplitudes back to the start, together with their adjoints (ᾱ, β̄). A gate
about Y by 2h gives h̄ = Σ β̄ α - ᾱ β, over the real and imaginary parts of all rows behind it; one about X the same with
-iα for α and iβ for β; one about Z by t, which multiplies β by e^{it}, t̄ = Σ β̄ iβ.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.solvers.plan import Plan, Turn

__all__ = ["Constants", "gradient", "table"]

# Floats of both amplitudes in a block of edges: few calls, two threads at work, and all of it in the caches. On a GPU
# memory is the only limit.
_FLOATS, _FLOATS_GPU = 2**18, 2**26


class Constants(NamedTuple):
    """What is the same for all edges."""

    scales: Tensor  # [angles, 1], of the plan
    evaluate: Tensor  # [2 nodes, 2 rows]: real and imaginary part of β at the nodes, from those of its rows
    transform: Tensor  # [1 + functions, 2 nodes]: the series but for its constant, from the squares of these


def table(plan: Plan, constants: Constants, theta: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    """Return constant and coefficients of every edge [1 + functions, out, in], and what `gradient` needs.

    Args:
        plan: the recursion.
        constants: of the plan, with the dtype and device of theta.
        theta: [out, in, angles], radians.
    """
    angles = _angles(plan, theta)
    found = theta.new_empty(len(constants.transform), angles.shape[1])
    last = theta.new_empty(2, 2, len(plan.powers), angles.shape[1])
    for block in _blocks(plan, angles):
        _forward(plan, _trigonometry(angles[:, block], constants.scales), last[..., block])
        values = torch.mm(constants.evaluate, last[1, ..., block].flatten(0, 1))
        torch.mm(constants.transform, values.square_(), out=found[:, block])
    found[0] += plan.sign
    return found.view(len(found), *theta.shape[:-1]), (last,)


def gradient(plan: Plan, constants: Constants, theta: Tensor, last: Tensor, upstream: Tensor) -> Tensor:
    """Return the gradient of the angles [out, in, angles], from that of the table [1 + functions, out, in]."""
    angles, upstream = _angles(plan, theta), upstream.flatten(1)
    found = torch.zeros(angles.shape, dtype=angles.dtype, device=angles.device)  # contiguous, as angles are not
    for block in _blocks(plan, angles):
        turned = _trigonometry(angles[:, block], -constants.scales)
        alpha, beta = _with_adjoints(constants, last[..., block], upstream[:, block])
        _backward(plan, turned, alpha, beta, found[:, block])
    return (found * constants.scales)[: theta.shape[-1]].mT.reshape(theta.shape)


def _angles(plan: Plan, theta: Tensor) -> Tensor:
    """Return the angles of all turns, [angles, edges]."""
    if plan.quarters:
        theta = torch.cat([theta, theta.new_full((*theta.shape[:-1], plan.quarters), math.pi / 2)], -1)
    return theta.flatten(0, -2).mT


def _blocks(plan: Plan, angles: Tensor) -> Iterator[slice]:
    most = (_FLOATS_GPU if angles.is_cuda else _FLOATS) // (4 * len(plan.powers))
    edges = angles.shape[1]
    width = -(-edges // max(1, -(-edges // most)))
    yield from (slice(first, first + width) for first in range(0, edges, max(1, width)))


def _trigonometry(angles: Tensor, scales: Tensor) -> Tensor:
    """Return (-sin, cos, sin) of every angle times its scale, [angles, 3, edges]."""
    found = angles.new_empty(angles.shape[0], 3, angles.shape[1])
    minus, cos, sin = found.unbind(1)
    torch.mul(angles, scales, out=minus)
    torch.cos(minus, out=cos)
    torch.sin(minus, out=sin)
    torch.neg(sin, out=minus)
    return found


# Below: amplitudes [real and imaginary part, rows, edges]; pairs (-sin, cos, sin) [3, edges] of one angle.


def _forward(plan: Plan, turned: Tensor, last: Tensor) -> None:
    """Write the last amplitudes (α, β), [2, 2, rows, edges]."""
    alpha, beta = (_constant(value, turned) for value in plan.start)
    for number, turn in enumerate(plan.turns, 1):
        pairs = turned[turn.angle]
        if turn.axis == "Z":
            beta = _phase(beta, pairs)
            continue
        both = last if number == len(plan.turns) else last.new_empty(2, 2, turn.rows, last.shape[-1])
        (_turn_y if turn.axis == "Y" else _turn_x)(turn, alpha, beta, pairs, both)
        alpha, beta = both.unbind(0)
    if not plan.turns:
        last[0], last[1] = alpha, beta


def _constant(value: complex, like: Tensor) -> Tensor:
    found = like.new_empty(2, 1, like.shape[-1])
    found[0], found[1] = value.real, value.imag
    return found


def _phase(beta: Tensor, pairs: Tensor) -> Tensor:
    """Return β e^{it} [..., 2, rows, edges]."""
    real, imaginary = beta.unsqueeze(-3).unbind(-4)  # each [..., 1, rows, edges]
    return torch.mul(real, pairs[1:, None]).addcmul_(imaginary, pairs[:2, None])


def _turn_y(turn: Turn, alpha: Tensor, beta: Tensor, pairs: Tensor, both: Tensor) -> None:
    """Write (c α - s β, s α + c β)."""
    of_alpha, of_beta = _rows(turn, alpha, both)
    torch.mul(alpha, pairs[1:, None, None], out=of_alpha)
    of_beta.addcmul_(beta, pairs[:2, None, None])


def _turn_x(turn: Turn, alpha: Tensor, beta: Tensor, pairs: Tensor, both: Tensor) -> None:
    """Write (c α - i s β, c β - i s α)."""
    of_alpha, of_beta = _rows(turn, alpha, both)
    minus, cos, sin = pairs
    torch.mul(alpha, cos, out=of_alpha[0])
    torch.mul(alpha[1], sin, out=of_alpha[1, 0])
    torch.mul(alpha[0], minus, out=of_alpha[1, 1])
    of_beta[1].addcmul_(beta, cos)
    of_beta[0, 0].addcmul_(beta[1], sin)
    of_beta[0, 1].addcmul_(beta[0], minus)


def _rows(turn: Turn, alpha: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of both into which α and β go, and clear the others than those of α."""
    end = turn.alpha + alpha.shape[-2]
    if turn.alpha:
        both[:, :, : turn.alpha].zero_()
    if end < turn.rows:
        both[:, :, end:].zero_()
    return both[:, :, turn.alpha : end], both[:, :, turn.beta : turn.beta + alpha.shape[-2]]


# Further below each amplitude is [state and adjoint, real and imaginary part, rows, edges]; pairs of minus the angle.


def _with_adjoints(constants: Constants, last: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    state = last.new_empty(2, 2, *last.shape[1:])  # α and β, state and adjoint, ...
    state[:, 0] = last
    state[0, 1] = 0
    values = torch.mm(constants.evaluate, last[1].flatten(0, 1))
    values *= torch.mm(constants.transform.mT, upstream)
    adjoint = state[1, 1].flatten(0, 1)
    torch.addmm(adjoint, constants.evaluate.mT, values, beta=0, alpha=2, out=adjoint)
    return state[0], state[1]


def _backward(plan: Plan, turned: Tensor, alpha: Tensor, beta: Tensor, found: Tensor) -> None:
    """Write the gradients of the turned angles, [angles, edges]."""
    rows = [1, *(turn.rows for turn in plan.turns)]
    for turn, before in zip(reversed(plan.turns), reversed(rows[:-1]), strict=True):
        pairs = turned[turn.angle]
        found[turn.angle] = _GRADIENTS[turn.axis](alpha, beta)
        if turn.axis == "Z":
            beta = _phase(beta, pairs)
            continue
        at, bt = slice(turn.alpha, turn.alpha + before), slice(turn.beta, turn.beta + before)
        if turn.axis == "Y":
            sin, cos, minus = pairs
            alpha, beta = _undo_y(alpha, beta, cos, sin, at), _undo_y(beta, alpha, cos, minus, bt)
        else:
            alpha, beta = _undo_x(alpha, beta, pairs, at), _undo_x(beta, alpha, pairs, bt)


def _undo_y(one: Tensor, other: Tensor, cos: Tensor, sin: Tensor, rows: slice) -> Tensor:
    return torch.mul(one[:, :, rows], cos).addcmul_(other[:, :, rows], sin)


def _undo_x(one: Tensor, other: Tensor, pairs: Tensor, rows: slice) -> Tensor:
    """Return c α + i s β; or the same with both exchanged."""
    found = torch.mul(one[:, :, rows], pairs[1])
    found[:, 0].addcmul_(other[:, 1, rows], pairs[2])
    found[:, 1].addcmul_(other[:, 0, rows], pairs[0])
    return found


def _gradient_y(alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.mul(beta[1], alpha[0]).addcmul_(alpha[1], beta[0], value=-1).sum((0, 1))


def _gradient_x(alpha: Tensor, beta: Tensor) -> Tensor:
    found = torch.mul(alpha[1, 0], beta[0, 1]).addcmul_(alpha[1, 1], beta[0, 0], value=-1)
    return found.addcmul_(beta[1, 0], alpha[0, 1]).addcmul_(beta[1, 1], alpha[0, 0], value=-1).sum(0)


def _gradient_z(_alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.mul(beta[1, 1], beta[0, 0]).addcmul_(beta[1, 0], beta[0, 1], value=-1).sum(0)


_GRADIENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"X": _gradient_x, "Y": _gradient_y, "Z": _gradient_z}
