"""Coefficients of the lowering, gate by gate, from the amplitudes of the state as polynomials of e^{iu}.

With R uploads of weight 1 each amplitude has R + 1 coefficients, where a Bloch vector has 3 (2R + 1) values at the
nodes, and uploads cost nothing (see `plan`). From β at the nodes follow <Z> = ± (1 - 2 |β|²) and the
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

from qkan.solvers.lowering.plan import Plan, Turn

__all__ = ["Constants", "gradient", "table"]

# Floats of both amplitudes in a block of edges: few calls, two threads at work, and all of it in the caches. On a GPU
# memory is the only limit.
_FLOATS, _FLOATS_GPU = 2**19, 2**26


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


class _Pairs(NamedTuple):
    """(-sin, cos) and (cos, sin) of one angle, each [2, 1, edges]."""

    minus_sin_cos: Tensor
    cos_sin: Tensor


def _trigonometry(angles: Tensor, scales: Tensor) -> list[_Pairs]:
    """Return the pairs of every angle times its scale."""
    found = angles.new_empty(angles.shape[0], 3, 1, angles.shape[1])
    minus, cos, sin = found[:, :, 0].unbind(1)
    torch.mul(angles, scales, out=minus)
    torch.cos(minus, out=cos)
    torch.sin(minus, out=sin)
    torch.neg(sin, out=minus)
    return [_Pairs(*both) for both in zip(found[:, :2].unbind(0), found[:, 1:].unbind(0), strict=True)]


# Below: amplitudes [real and imaginary part, rows, edges].


def _forward(plan: Plan, turned: list[_Pairs], last: Tensor) -> None:
    """Write the last amplitudes (α, β), [2, 2, rows, edges]."""
    alpha, beta = (_constant(value, last) for value in plan.start)
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


def _constant(value: tuple[float, float], like: Tensor) -> Tensor:
    found = like.new_empty(2, 1, like.shape[-1])
    found[0], found[1] = value
    return found


def _phase(beta: Tensor, pairs: _Pairs) -> Tensor:
    """Return β e^{it} [..., 2, rows, edges]."""
    real, imaginary = beta.unsqueeze(-3).unbind(-4)  # each [..., 1, rows, edges]
    return torch.mul(real, pairs.cos_sin).addcmul_(imaginary, pairs.minus_sin_cos)


def _turn_y(turn: Turn, alpha: Tensor, beta: Tensor, pairs: _Pairs, both: Tensor) -> None:
    """Write (c α - s β, s α + c β)."""
    of_alpha, of_beta = _rows(turn, alpha, both)
    torch.mul(alpha, pairs.cos_sin.unsqueeze(1), out=of_alpha)
    of_beta.addcmul_(beta, pairs.minus_sin_cos.unsqueeze(1))


def _turn_x(turn: Turn, alpha: Tensor, beta: Tensor, pairs: _Pairs, both: Tensor) -> None:
    """Write (c α - i s β, c β - i s α)."""
    (new_alpha, of_alpha), (of_beta, new_beta) = (rows.unbind(0) for rows in _rows(turn, alpha, both))
    (minus, cos), (_, sin) = pairs.minus_sin_cos, pairs.cos_sin
    torch.mul(alpha, cos, out=new_alpha)
    torch.mul(alpha[1], sin, out=of_alpha[0])
    torch.mul(alpha[0], minus, out=of_alpha[1])
    new_beta.addcmul_(beta, cos)
    of_beta[0].addcmul_(beta[1], sin)
    of_beta[1].addcmul_(beta[0], minus)


def _rows(turn: Turn, alpha: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of both into which α and β go, and clear the others than those of α."""
    count = alpha.shape[-2]
    if count == turn.rows:
        return both, both
    end = turn.alpha + count
    if turn.alpha:
        both.narrow(2, 0, turn.alpha).zero_()
    if end < turn.rows:
        both.narrow(2, end, turn.rows - end).zero_()
    return both.narrow(2, turn.alpha, count), both.narrow(2, turn.beta, count)


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


def _backward(plan: Plan, turned: list[_Pairs], alpha: Tensor, beta: Tensor, found: Tensor) -> None:
    """Write the gradients of the turned angles, [angles, edges]."""
    gradients = found.unbind(0)
    rows = [1, *(turn.rows for turn in plan.turns)]
    for turn, before in zip(reversed(plan.turns), reversed(rows[:-1]), strict=True):
        pairs = turned[turn.angle]
        slopes = _SLOPES[turn.axis](*alpha.unbind(0), *beta.unbind(0))
        torch.sum(slopes.flatten(0, -2), 0, out=gradients[turn.angle])
        if turn.axis == "Z":
            beta = _phase(beta, pairs)
        elif turn.axis == "Y":
            alpha, beta = _undo_y(turn, alpha, beta, pairs, before)
        else:
            alpha, beta = _undo_x(turn, alpha, beta, pairs, before)


def _undo_y(turn: Turn, alpha: Tensor, beta: Tensor, pairs: _Pairs, rows: int) -> tuple[Tensor, Tensor]:
    """Return (c α + s β, c β - s α)."""
    (sin, cos), (_, minus) = pairs.minus_sin_cos, pairs.cos_sin
    return (
        torch.mul(alpha.narrow(2, turn.alpha, rows), cos).addcmul_(beta.narrow(2, turn.alpha, rows), sin),
        torch.mul(beta.narrow(2, turn.beta, rows), cos).addcmul_(alpha.narrow(2, turn.beta, rows), minus),
    )


def _undo_x(turn: Turn, alpha: Tensor, beta: Tensor, pairs: _Pairs, rows: int) -> tuple[Tensor, Tensor]:
    """Return (c α + i s β, c β + i s α)."""
    (sin, cos), (_, minus) = pairs.minus_sin_cos, pairs.cos_sin

    def undone(one: Tensor, other: Tensor, begin: int) -> Tensor:
        found = torch.mul(one.narrow(2, begin, rows), cos)
        real, imaginary = other.narrow(2, begin, rows).unbind(1)
        found[:, 0].addcmul_(imaginary, minus)
        found[:, 1].addcmul_(real, sin)
        return found

    return undone(alpha, beta, turn.alpha), undone(beta, alpha, turn.beta)


# Per row and edge, from α, ᾱ, β, β̄.


def _slopes_y(alpha: Tensor, alpha_bar: Tensor, beta: Tensor, beta_bar: Tensor) -> Tensor:
    return torch.mul(beta_bar, alpha).addcmul_(alpha_bar, beta, value=-1)


def _slopes_x(alpha: Tensor, alpha_bar: Tensor, beta: Tensor, beta_bar: Tensor) -> Tensor:
    found = torch.mul(alpha_bar[0], beta[1]).addcmul_(alpha_bar[1], beta[0], value=-1)
    return found.addcmul_(beta_bar[0], alpha[1]).addcmul_(beta_bar[1], alpha[0], value=-1)


def _slopes_z(_alpha: Tensor, _alpha_bar: Tensor, beta: Tensor, beta_bar: Tensor) -> Tensor:
    return torch.mul(beta_bar[1], beta[0]).addcmul_(beta_bar[0], beta[1], value=-1)


_SLOPES: dict[str, Callable[..., Tensor]] = {"X": _slopes_x, "Y": _slopes_y, "Z": _slopes_z}
