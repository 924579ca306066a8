"""The recursion of `qkan.solvers.lowering.recursion` number by number: the compiler makes one loop over edges of it."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from qkan.solvers.lowering.nodes import Nodes
from qkan.solvers.lowering.plan import Plan, Power, Turn

__all__ = ["few", "unrolled_table"]

Number = tuple[Any, Any]  # real and imaginary part of a number for every edge, tensors [out, in] or floats
Function = tuple[int, ...]  # of the series, as the features count them
Terms = dict[Function, Any]


def few(plan: Plan) -> bool:
    """Whether the compiler may unroll it: its own time grows with the square of the rows."""
    return len(plan.powers) <= 5


def unrolled_table(plan: Plan, where: Nodes, theta: Tensor) -> Tensor:
    """Return constant and coefficients of every edge, [1 + functions, out, in], from theta [out, in, angles]."""
    beta = _last_beta(plan, _angles(plan, theta))
    terms: Terms = {}
    for (k, first), (m, second) in itertools.product(zip(plan.powers, beta, strict=True), repeat=2):
        if k >= m:
            difference = tuple(a - b for a, b in zip(k, m, strict=True))
            _add(terms, where, difference, _times_conjugate(first, second))
    zero = torch.zeros_like(theta[..., 0])
    rows = [terms.get(function, 0.0) * (-2 * plan.sign) + zero for function in _functions(where)]
    return torch.stack([rows[0] + plan.sign, *rows[1:]])


def _functions(where: Nodes) -> list[Function]:
    """Return the functions of the series in the order of the features: (k, 0) and (k, 1) for cos ku and sin ku."""
    if where.weights is None:
        return list(itertools.product((0, 1, 2), repeat=where.uploads))
    return [(0, 0), *((k, 0) for k in where.harmonics), *((k, 1) for k in where.harmonics)]


def _add(terms: Terms, where: Nodes, difference: Power, value: Number) -> None:
    """Add what value e^{i difference t}, and unless the difference is 0 its conjugate, give to every function."""
    real, imaginary = value
    if not any(difference):
        _sum(terms, (0,) * (len(difference) if where.weights is None else 2), real)
    elif where.weights is not None:
        _sum(terms, (difference[0], 0), 2 * real)
        _sum(terms, (difference[0], 1), -2 * imaginary)
    else:
        # e^{i Σ d_r t_r} = Π (cos t_r + i d_r sin t_r)
        for function in itertools.product(*((1, 2) if d else (0,) for d in difference)):
            sines = [d for d, part in zip(difference, function, strict=True) if part == 2]
            part = (real, -imaginary, -real, imaginary)[len(sines) % 4]
            _sum(terms, function, 2 * math.prod(sines) * part)


def _sum(terms: Terms, function: Function, value: Any) -> None:
    terms[function] = _plus(terms.get(function, 0.0), value)


def _angles(plan: Plan, theta: Tensor) -> list[Tensor]:
    """Return the angle by which every gate turns, a list of [out, in]."""
    angles = theta.shape[-1]
    if theta.device.type == "cpu":
        # A product with 1 turns [out, in, angles] round in memory. Anything that the compiler can look into it fuses
        # into the loop, which would then read every eighth number and could not use vectors.
        moved = torch.mm(torch.eye(angles, dtype=theta.dtype), theta.flatten(0, -2).mT)
        rows = list(moved.view(angles, *theta.shape[:-1]).unbind(0))
    else:
        rows = list(theta.unbind(-1))
    # acos(0), not math.pi / 2: with dynamic shapes the compiler takes floats among globals for variables.
    rows += [torch.full_like(theta[..., 0], math.acos(0))] * plan.quarters
    return [row * scale for row, scale in zip(rows, plan.scales, strict=True)]


def _last_beta(plan: Plan, angles: list[Tensor]) -> list[Number]:
    alpha, beta = ([start] for start in plan.start)
    for turn in plan.turns:
        cos, sin = angles[turn.angle].cos(), angles[turn.angle].sin()
        if turn.axis == "Z":
            beta = [_times((cos, sin), number) for number in beta]
            continue
        c: Number = (cos, 0.0)
        first, second = ((0.0, -sin), (0.0, -sin)) if turn.axis == "X" else ((-sin, 0.0), (sin, 0.0))
        alpha, beta = _mixed(turn, alpha, c, beta, first), _mixed(turn, alpha, second, beta, c)
    return beta


def _mixed(turn: Turn, alpha: list[Number], a: Number, beta: list[Number], b: Number) -> list[Number]:
    """Return a α + b β, their rows aligned."""
    found: list[Number] = [(0.0, 0.0)] * turn.rows
    for numbers, factor, begin in ((alpha, a, turn.alpha), (beta, b, turn.beta)):
        for row, number in enumerate(numbers, begin):
            product = _times(factor, number)
            found[row] = _plus(found[row][0], product[0]), _plus(found[row][1], product[1])
    return found


def _times(a: Number, b: Number) -> Number:
    real = _plus(_product(a[0], b[0]), _minus(_product(a[1], b[1])))
    return real, _plus(_product(a[0], b[1]), _product(a[1], b[0]))


def _times_conjugate(a: Number, b: Number) -> Number:
    return _times(a, (b[0], _minus(b[1])))


# Zeros are known: they cost nothing.


def _product(a: Any, b: Any) -> Any:
    return 0.0 if _is_zero(a) or _is_zero(b) else a * b


def _plus(a: Any, b: Any) -> Any:
    return b if _is_zero(a) else a if _is_zero(b) else a + b


def _minus(a: Any) -> Any:
    return a if _is_zero(a) else -a


def _is_zero(a: Any) -> bool:
    return isinstance(a, float) and a == 0.0
