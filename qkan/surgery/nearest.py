"""The nearest circuit to a function: angles, and a scale, by damped Gauss-Newton steps on the exact coefficients.

The derivatives are those of the parameter-shift rule, dz/dt = (z(t + π/2) - z(t - π/2)) / 2, which is exact.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.ansatz import Ansatz
from qkan.precision import widest_dtype
from qkan.solvers.fourier import coefficients

__all__ = ["Family", "Nearest", "descend", "nearest"]

# Circuits of one evaluation of the derivatives.
_BLOCK = 2**18
_FIRST_DAMPING, _LEAST_DAMPING = 1e-3, 1e-15


class Nearest(NamedTuple):
    """Circuits: theta [out, in, angles]; bias [out, in, uploads] or None; scale [out, in]; the coefficients of both.

    ``table`` [out, in, 1 + functions] holds scale times the coefficients of the circuits, the constant first.
    """

    theta: Tensor
    bias: Tensor | None
    scale: Tensor
    table: Tensor


@dataclass(frozen=True)
class Family:
    """All edges of one circuit with integer weights, as functions of what can be trained: angles, then biases."""

    ansatz: Ansatz
    weights: tuple[int, ...]

    @property
    def angles(self) -> int:
        """The number of angles."""
        return self.ansatz.angles(len(self.weights) // self.ansatz.uploads(1))

    @property
    def parameters(self) -> int:
        """The number of angles, and of biases where the ansatz has trainable ones."""
        return self.angles + (len(self.weights) if self.ansatz.trainable_bias else 0)

    def parts(self, p: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return angles and biases (or None) from p [..., parameters]."""
        return p[..., : self.angles], p[..., self.angles :] if self.ansatz.trainable_bias else None

    def tables(self, p: Tensor) -> Tensor:
        """Return constant and coefficients [edges, 1 + functions] for p [edges, parameters]."""
        theta, bias = self.parts(p.unsqueeze(1))
        found = coefficients(self.ansatz, theta, self.weights, bias)
        return torch.cat([found.constant, found.coefficients.squeeze(1)], -1)

    def slopes(self, p: Tensor) -> Tensor:
        """Return the derivatives of `tables`, [edges, 1 + functions, parameters]."""
        shifts = torch.eye(self.parameters, device=p.device, dtype=p.dtype) * (math.pi / 2)
        moved = p + torch.stack([shifts, -shifts]).unsqueeze(-2)  # [2, parameters, edges, parameters]
        up, down = self.tables(moved.flatten(0, 2)).view(2, self.parameters, len(p), -1).unbind(0)
        return ((up - down) / 2).permute(1, 2, 0)


@torch.no_grad()
def nearest(
    family: Family,
    target: Tensor,
    metric: Tensor,
    *,
    largest: float = 1e4,
    restarts: int = 8,
    steps: int = 100,
    generator: torch.Generator | None = None,
) -> Nearest:
    """Return the circuits whose scaled coefficients come closest to the wanted ones: the best of several descents.

    Minimised is |M (scale c(p) - target)|² over scale and parameters p. Descents from random angles find a local
    minimum each; that the best of them is the global one is likely, not certain.

    Args:
        family: the circuit.
        target: wanted constant and coefficients, [out, in, 1 + functions].
        metric: M of every input, [in, rows, 1 + functions]; what it does not see is free.
        largest: bound of a scale, relative to the largest coefficient of its target. Without one, scales can grow
            without end: differences of nearly equal circuits are no circuits, but limits of scaled ones.
        restarts: number of descents.
        steps: of each.
        generator: source of the first angles; the global one when None.

    Example:
        >>> from qkan.ansatz import named
        >>> family = Family(named("mix"), (1, 1, 1))
        >>> p = torch.linspace(-2, 2, 8, dtype=torch.float64).view(1, 8)
        >>> target, metric = 0.7 * family.tables(p).unsqueeze(0), torch.eye(7, dtype=torch.float64).unsqueeze(0)
        >>> found = nearest(family, target, metric, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(found.table, target, rtol=0, atol=1e-9)
        True
    """
    exact = widest_dtype(target.device)
    wanted = target.to(exact).flatten(0, 1)
    seen = metric.to(exact).repeat(len(target), 1, 1)  # one for every edge
    per_edge = restarts * 2 * max(1, family.parameters)
    found: list[tuple[Tensor, Tensor]] = []
    for rows, m in zip(*(torch.split(part, max(1, _BLOCK // per_edge)) for part in (wanted, seen)), strict=True):
        start = torch.rand(restarts, len(rows), family.parameters, generator=generator, device=rows.device, dtype=exact)
        found.append(_best(family, (2 * start - 1) * math.pi, rows, m, largest, steps))
    p, scale = (torch.cat(part) for part in zip(*found, strict=True))
    table = scale.unsqueeze(-1) * family.tables(p)
    theta, bias = family.parts(p.view(*target.shape[:2], -1))
    return Nearest(theta, bias, scale.view(target.shape[:2]), table.view(target.shape))


def _best(
    family: Family, start: Tensor, target: Tensor, metric: Tensor, largest: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Return p and scale of the best of the descents from start [restarts, edges, parameters]."""
    restarts, edges = start.shape[:2]
    bound = largest * target.abs().amax(-1).repeat(restarts)
    repeated = target.repeat(restarts, 1), metric.repeat(restarts, 1, 1)
    p, scale, cost = descend(family, start.flatten(0, 1), *repeated, bound=bound, steps=steps)
    row, edge = cost.view(restarts, edges).argmin(0), torch.arange(edges, device=cost.device)
    return p.view(start.shape)[row, edge], scale.view(restarts, edges)[row, edge]


def descend(
    family: Family, p: Tensor, target: Tensor, metric: Tensor, *, bound: Tensor | None, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return p, scale and cost |M (scale c(p) - target)|² after Levenberg-Marquardt steps, each edge by itself.

    Args:
        family: the circuit.
        p: start, [edges, parameters].
        target: [edges, 1 + functions].
        metric: M, [edges, rows, 1 + functions].
        bound: of the scales, [edges], which start at their best; None keeps them at 1.
        steps: at most so many.
    """
    scale = torch.ones_like(p[:, 0]) if bound is None else _scale(family.tables(p), target, metric, bound)
    residual = _residual(family, p, scale, target, metric)
    damping = torch.full_like(scale, _FIRST_DAMPING)
    for _ in range(steps):
        step = _step(_jacobian(family, p, scale, metric, bound is not None), residual, damping)
        moved = p + step[:, : family.parameters]
        rescaled = scale if bound is None else (scale + step[:, -1]).clamp(-bound, bound)
        tried = _residual(family, moved, rescaled, target, metric)
        better = _cost(tried) < _cost(residual)
        p, scale = torch.where(better.unsqueeze(-1), moved, p), torch.where(better, rescaled, scale)
        residual = torch.where(better.unsqueeze(-1), tried, residual)
        damping = torch.where(better, damping / 5, damping * 4).clamp(_LEAST_DAMPING)
        if (damping > 1 / _LEAST_DAMPING).all():  # no step helps any more
            break
    return p, scale, _cost(residual)


def _residual(family: Family, p: Tensor, scale: Tensor, target: Tensor, metric: Tensor) -> Tensor:
    return _seen(metric, scale.unsqueeze(-1) * family.tables(p) - target)


def _seen(metric: Tensor, table: Tensor) -> Tensor:
    return (metric @ table.unsqueeze(-1)).squeeze(-1)


def _cost(residual: Tensor) -> Tensor:
    return residual.square().sum(-1)


def _scale(table: Tensor, target: Tensor, metric: Tensor, bound: Tensor) -> Tensor:
    """Return the best scale of given circuits."""
    own, wanted = _seen(metric, table), _seen(metric, target)
    square = own.square().sum(-1)
    best = torch.where(square > 0, (own * wanted).sum(-1) / torch.where(square > 0, square, 1), 0)
    return best.clamp(-bound, bound)


def _jacobian(family: Family, p: Tensor, scale: Tensor, metric: Tensor, scaled: bool) -> Tensor:
    """Return the derivatives of the residual by p, and by the scale last, [edges, rows, parameters (+ 1)]."""
    by_p = metric @ family.slopes(p) * scale.view(-1, 1, 1)
    return torch.cat([by_p, metric @ family.tables(p).unsqueeze(-1)], -1) if scaled else by_p


def _step(jacobian: Tensor, residual: Tensor, damping: Tensor) -> Tensor:
    """Solve (JᵀJ + damping diag JᵀJ) step = -Jᵀ residual; angles that nothing sees stay."""
    normal = jacobian.mT @ jacobian
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    tiny = torch.finfo(normal.dtype).tiny ** 0.5
    ridge = diagonal.clamp(min=0) + 1e-6 * diagonal.amax(-1, keepdim=True) + tiny
    matrix = normal + torch.diag_embed(damping.unsqueeze(-1) * ridge + tiny)
    step = torch.linalg.solve_ex(matrix, -(jacobian.mT @ residual.unsqueeze(-1))).result.squeeze(-1)
    return torch.where(step.isfinite().all(-1, keepdim=True), step, 0)
