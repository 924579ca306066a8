"""Least squares for d + c f(a x + b): c and d in closed form, a and b by a grid and then Levenberg-Marquardt.

The inputs are scaled to ξ in [-1, 1], f is fitted as f(α ξ + β): what a search tries does not depend on the units of x.
With c and d eliminated (variable projection: Golub, Pereyra 1973; the derivative with Kaufman's simplification, 1975)
the search has one or two variables, and many starts run at once. Parameters for which f is not finite and continuous
on the whole interval of the data are never accepted.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.elementary import Elementary

__all__ = ["Affine", "Fit", "Samples", "fit"]

Affine = tuple[float, float, float, float]
"""The constants a, b, c, d."""

# Heuristics. Samples of the grid and of the first steps, and of the last ones; the most starts; the smallest half-width
# of a x + b (below it f is a parabola, and c not determined) and the largest b in units of the data. The search ends
# when _PATIENCE steps have lowered no rest by a thousandth.
_COARSE, _FINE, _STARTS = 160, 1000, 160
_PATIENCE = 6
_SMALLEST, _LARGEST_SHIFT = 1e-2, 1e2
# Where exp(a x) alone would leave the range of numbers, exp(a x + b) keeps its b.
_LARGEST_EXPONENT = 50.0


class Fit(NamedTuple):
    """What was found: R² = 1 - Σ (y - d - c f(a x + b))² / Σ (y - mean y)², and the constants."""

    r2: float
    affine: Affine


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a function, sorted by x, and what all fits to them share.

    Args:
        x: [samples], float64.
        y: [samples], float64.
        middle: of the interval of x. half: half of its width, 1 if all x are equal.
        constant: whether y is constant to rounding.
    """

    x: Tensor
    y: Tensor
    middle: float
    half: float
    constant: bool

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> "Samples":
        """Return samples x and y of any equal shapes.

        Raises:
            ValueError: if there are fewer than two, shapes differ, or one is not finite.
        """
        if x.shape != y.shape or x.numel() < 2:
            raise ValueError(f"x and y must hold the same number of samples, at least 2; got {x.shape} and {y.shape}")
        x, y = (tensor.detach().flatten().to("cpu", torch.float64) for tensor in (x, y))
        if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise ValueError("x and y must be finite; leave samples out where the edge or its input is NaN or infinite")
        order = x.argsort()
        x, y = x[order], y[order]
        low, high = float(x[0]), float(x[-1])
        constant = float(y.max() - y.min()) <= 1e-12 * float(y.abs().max()) or low == high
        return cls(x, y, (low + high) / 2, (high - low) / 2 or 1.0, constant)

    def some(self, count: int) -> "Samples":
        """Return at most so many samples, evenly through the sorted ones, both ends included."""
        if len(self.x) <= count:
            return self
        chosen = torch.linspace(0, len(self.x) - 1, count, dtype=torch.float64).round().long()
        return Samples(self.x[chosen], self.y[chosen], self.middle, self.half, self.constant)

    @property
    def scaled(self) -> Tensor:
        """The inputs as ξ in [-1, 1]."""
        return (self.x - self.middle) / self.half


def fit(function: Elementary, samples: Samples, reach: float = 10.0) -> Fit:
    """Return the best d + c f(a x + b) for which f is finite on the interval of the data.

    A constant y is fitted by d alone, with R² 1; so is every y by the function 0, with R² 0 unless y is constant.

    Args:
        function: f.
        samples: of the function to be fitted.
        reach: the largest half-width of a x + b over the data that the search tries, at least 0.1.

    Example:
        >>> x = torch.linspace(0, 2, 50, dtype=torch.float64)
        >>> from qkan.elementary import LIBRARY
        >>> found = fit(LIBRARY["exp"], Samples.of(x, 3 * torch.exp(-2 * x) + 1))
        >>> [round(number, 6) for number in (found.r2, *found.affine)]
        [1.0, -2.0, 0.0, 3.0, 1.0]
    """
    if function.form == "constant" or samples.constant:
        # The rest is 0 by definition of c: 1 - rest / 0 is no number.
        return Fit(float(samples.constant), (1.0, 0.0, 0.0, float(samples.y.mean())))
    if function.form == "linear":
        return _finished(function, samples, 1.0, 0.0)
    coarse, fine = samples.some(_COARSE), samples.some(_FINE)
    starts = _starts(function, coarse, reach)
    for some, steps, kept in ((coarse, 4, 12), (coarse, 12, 3), (fine, 60, 1)):
        starts, rest = _refine(function, some, starts, steps)
        starts = starts[rest.argsort()[:kept]]
    return _normal(function, samples, *starts[0].tolist())


def _starts(function: Elementary, samples: Samples, reach: float) -> Tensor:
    """Return the points (α, β) of the grid that are lower than their neighbours, the lowest first, [starts, 2]."""
    grid = _grid(function, reach)  # [α, β, 2]
    flat = grid.flatten(0, 1)
    allowed = _allowed(function, flat)
    rest = torch.full((len(flat),), math.inf, dtype=torch.float64)
    rest[allowed] = _project(function, samples, flat[allowed]).rest
    table = rest.view(1, *grid.shape[:2])
    # With both free there are narrow valleys, in which the points of a grid lie now deeper, now higher: one per β.
    window = (3, 1) if function.form == "free" else (3, 3)
    floor = -torch.nn.functional.max_pool2d(-table, window, stride=1, padding=(window[0] // 2, window[1] // 2))
    low = ((table == floor) & torch.isfinite(table)).flatten()
    return flat[low][rest[low].argsort()[:_STARTS]]


def _grid(function: Elementary, reach: float) -> Tensor:
    """Return the points (α, β) that the search tries, [α, β, 2]; f may not be finite at some."""
    width = min(reach, function.half_width or reach)
    one = torch.ones(1, dtype=torch.float64)
    if function.form == "shift":
        steps = torch.linspace(0, 1, 41, dtype=torch.float64)
        outside = 1 + 10 ** (-4 + (4 + math.log10(reach)) * steps)  # a singular end, from close to far away
        inside = torch.linspace(-1, 1, 161, dtype=torch.float64)
        alpha, beta = one, torch.cat([-outside.flip(0), inside, outside])
    else:
        # Denser near 0; inside the ends, where some functions have no derivative.
        alpha = torch.arange(1, 1 + max(24, math.ceil(4 * width)), dtype=torch.float64)
        alpha = _SMALLEST + (0.99 * width - _SMALLEST) * (alpha / len(alpha)) ** 1.2
        centres = torch.linspace(-1, 1, max(17, 2 * math.ceil(function.centre / 0.3) + 1), dtype=torch.float64)
        beta = 0 * one if function.form == "scale" else function.centre * centres
    if not function.reflects:
        alpha = torch.cat([-alpha.flip(0), alpha])
    return torch.cartesian_prod(alpha, beta).view(len(alpha), len(beta), 2)


def _allowed(function: Elementary, parameters: Tensor) -> Tensor:
    """Return whether f is finite for ξ in [-1, 1], and α and β are in range, [starts]."""
    alpha, beta = parameters.unbind(-1)
    size = alpha.abs()
    inside = function.finite_on(beta - size, beta + size) & (size >= 0.99 * _SMALLEST)
    # Far out there is nothing new: powers become lines, and cosh becomes exp.
    near = beta.abs() <= (_LARGEST_SHIFT if function.form == "shift" else 2 * function.centre + size)
    return inside & near & ((alpha > 0) if function.reflects else inside)


class _Projection(NamedTuple):
    """The fits for several (α, β), with c and d eliminated."""

    rest: Tensor  # [starts], Σ (y - fit)² / Σ (y - mean y)², infinite where f is not finite
    residual: Tensor  # [starts, samples]
    slope: Tensor  # [starts], c
    values: Tensor  # [starts, samples], f less its mean


def _project(function: Elementary, samples: Samples, parameters: Tensor, values: Tensor | None = None) -> _Projection:
    if values is None:
        values = function(_arguments(samples, parameters))
    values = values - values.mean(-1, keepdim=True)
    y = samples.y - samples.y.mean()
    square = values.square().sum(-1)
    slope = (values @ y) / square
    residual = y - slope.unsqueeze(-1) * values
    rest = residual.square().sum(-1) / y.square().sum()
    return _Projection(torch.where(torch.isfinite(rest), rest, math.inf), residual, slope, values)


def _arguments(samples: Samples, parameters: Tensor) -> Tensor:
    alpha, beta = parameters.unsqueeze(-2).unbind(-1)  # each [starts, 1]
    return alpha * samples.scaled + beta


def _refine(function: Elementary, samples: Samples, parameters: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return (α, β) [starts, 2] after Levenberg-Marquardt steps that never go up, and their rests [starts]."""
    free = {"shift": [1], "scale": [0]}.get(function.form, [0, 1])
    now = _project(function, samples, parameters)
    damping = torch.full((len(parameters),), 1e-3, dtype=torch.float64)
    before = now.rest
    for count in range(steps):
        columns = _derivatives(function, samples, parameters, now)[..., free]  # [starts, samples, free]
        step = _damped(columns, now.residual, damping)
        trial = parameters.clone()
        trial[:, free] += step
        found = _project(function, samples, trial)
        better = (found.rest < now.rest) & _allowed(function, trial)
        parameters = torch.where(better.unsqueeze(-1), trial, parameters)
        now = _Projection(*(torch.where(_like(better, new), new, old) for new, old in zip(found, now, strict=True)))
        damping = torch.where(better, damping / 8, damping * 6).clamp(1e-15, 1e15)
        small = (step.abs() <= 1e-15 * (1 + parameters[:, free].abs())).all(-1)
        if bool((now.rest <= 1e-30).any() or small.all()):
            break
        if count % _PATIENCE == _PATIENCE - 1:
            if bool((now.rest > 0.999 * before).all()):
                break
            before = now.rest
    return parameters, now.rest


def _like(mask: Tensor, tensor: Tensor) -> Tensor:
    return mask.view(-1, *[1] * (tensor.dim() - 1))


def _derivatives(function: Elementary, samples: Samples, parameters: Tensor, now: _Projection) -> Tensor:
    """Return what moves the fit, [starts, samples, 2]: c P f'(t) (ξ, 1), P the projection off the constants and f."""
    with torch.enable_grad():
        t = _arguments(samples, parameters.detach()).requires_grad_()
        (slopes,) = torch.autograd.grad(function(t).sum(), t)
    slopes = torch.where(torch.isfinite(slopes), slopes, 0)  # at an end of the domain
    columns = now.slope.view(-1, 1, 1) * slopes.unsqueeze(-1) * _basis(samples)
    columns = columns - columns.mean(-2, keepdim=True)
    unit = torch.nn.functional.normalize(now.values, dim=-1).unsqueeze(-1)
    return columns - unit * (unit * columns).sum(-2, keepdim=True)


def _basis(samples: Samples) -> Tensor:
    return torch.stack([samples.scaled, torch.ones_like(samples.scaled)], -1)


def _damped(columns: Tensor, residual: Tensor, damping: Tensor) -> Tensor:
    """Return the steps [starts, free] that solve (JᵀJ + λ diag JᵀJ) step = Jᵀ r."""
    normal = columns.mT @ columns
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    right = (columns * residual.unsqueeze(-1)).sum(-2)
    tiny = torch.finfo(torch.float64).tiny
    # Directions without any effect would make it singular.
    normal = normal + torch.diag_embed(damping.unsqueeze(-1) * diagonal + 1e-14 * diagonal.amax(-1, True) + tiny)
    steps: Tensor = torch.linalg.solve(normal, right)
    return steps


def _normal(function: Elementary, samples: Samples, alpha: float, beta: float) -> Fit:
    """Return the fit in x, in the form that `Elementary.form` says."""
    a, b = alpha / samples.half, beta - alpha * samples.middle / samples.half
    if function.form == "shift":
        a, b = math.copysign(1.0, a), b / abs(a)
    elif function.form == "scale" and abs(a) * float(samples.x.abs().max()) < _LARGEST_EXPONENT:
        b = 0.0
    elif function.name in ("sin", "cos", "tan"):
        b = math.remainder(b, math.pi)  # half a turn is the sign of c
    return _finished(function, samples, a, b)


def _finished(function: Elementary, samples: Samples, a: float, b: float) -> Fit:
    """Return c, d and R² on all samples."""
    values = function(a * samples.x + b).unsqueeze(0)
    found = _project(function, samples, torch.empty(1, 2, dtype=torch.float64), values)
    c = float(found.slope)
    return Fit(1 - float(found.rest), (a, b, c, float(samples.y.mean()) - c * float(values.mean())))
