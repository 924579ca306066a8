"""Trigonometric polynomials: their largest value, and their square roots (Fejér-Riesz).

A polynomial of degree R is one row of complex coefficients c_0 .. c_R: f(x) = Re c_0 + Σ_k 2 Re(c_k e^{ikx}), that is,
the Laurent polynomial in w = e^{ix} with c_-k = conj c_k.
"""

import math

import torch
from torch import Tensor

__all__ = ["extremes", "root", "series"]

# Newton steps of a factor: quadratic for f > 0; where f touches 0 an error of the polynomial shrinks 4 times a step.
_STEPS = 60
# Newton steps of an extremum, from a grid that is finer than any wave.
_POLISH = 6


def series(constant: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the rows [..., R + 1] of constant + Σ_k cos_k cos kx + sin_k sin kx, k = 1 .. R."""
    first = torch.complex(constant, torch.zeros_like(constant)).unsqueeze(-1)
    return torch.cat([first, torch.complex(cos, -sin) / 2], -1)


def extremes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest value of every polynomial, from rows [edges, R + 1].

    All local extrema of a grid of 32 R points are polished by Newton's method: a polynomial has at most 2 R of them.
    """
    return -_largest(-rows), _largest(rows)


def _largest(rows: Tensor) -> Tensor:
    degree = rows.shape[-1] - 1
    count = 32 * max(1, degree)
    step = 2 * math.pi / count
    values = torch.fft.irfft(rows, count, norm="forward")  # at x_j = step j
    summit = (values >= values.roll(1, -1)) & (values >= values.roll(-1, -1))
    places = torch.where(summit, values, -math.inf).topk(max(1, degree), -1).indices
    x, best = places.to(values.dtype) * step, values.gather(-1, places)
    for _ in range(_POLISH):
        slope, curvature = _values(rows, x, 1), _values(rows, x, 2)
        moving = curvature < 0
        x = x - torch.where(moving, slope / torch.where(moving, curvature, 1), 0).clamp(-step, step)
        best = torch.maximum(best, _values(rows, x, 0))
    return torch.amax(best, -1)


def _values(rows: Tensor, x: Tensor, derivative: int) -> Tensor:
    """Return a derivative of every polynomial at its own points x [edges, points]."""
    k = torch.arange(rows.shape[-1], device=x.device, dtype=x.dtype)
    weights = rows * torch.complex(torch.zeros_like(k), k) ** derivative * torch.where(k > 0, 2, 1)
    waves = torch.polar(torch.ones_like(x).unsqueeze(-1), x.unsqueeze(-1) * k)  # [edges, points, R + 1]
    return (waves @ weights.unsqueeze(-1)).squeeze(-1).real


def root(rows: Tensor) -> Tensor:
    """Return P of degree R with |P(e^{ix})|² = f(x) >= 0 and no zero inside of the unit circle.

    Newton's method on the coefficients (G. Wilson, SIAM J. Numer. Anal. 6, 1 (1969)): from a constant it converges to
    this factor, also where f touches 0, where methods by logarithms (cepstra) fail and zeros come in pairs.

    Args:
        rows: [edges, R + 1], of polynomials that are at least 0 and positive somewhere.

    Returns:
        Complex coefficients [edges, R + 1] of w^0 .. w^R.
    """
    factor = torch.zeros_like(rows)
    factor[:, 0] = rows[:, 0].real.sqrt()
    best, smallest = factor, torch.full_like(rows[:, 0].real, math.inf)
    rounding = 2 * torch.finfo(smallest.dtype).eps * rows[:, 0].real
    for _ in range(_STEPS):
        missing = rows - _square(factor)
        size = missing.abs().amax(-1)
        better = size < smallest
        best = torch.where(better.unsqueeze(-1), factor, best)
        smallest = torch.where(better, size, smallest)
        if (smallest <= rounding).all():
            break
        factor = factor + _newton_step(factor, missing)
    return best


def _square(factor: Tensor) -> Tensor:
    """Return the rows of |P|²: the sums over j of p_j+k conj p_j."""
    count = factor.shape[-1]
    return torch.stack([(factor[:, k:] * factor[:, : count - k].conj()).sum(-1) for k in range(count)], -1)


def _newton_step(factor: Tensor, missing: Tensor) -> Tensor:
    """Solve P conj D + D conj P = missing for D, with the phase of P left as it is."""
    edges, count = factor.shape
    by_step, by_conjugate = (factor.new_zeros(edges, count, count) for _ in range(2))
    for k in range(count):
        by_step[:, k, k:] = factor[:, : count - k].conj()
        by_conjugate[:, k, : count - k] = factor[:, k:]
    total, difference = by_step + by_conjugate, by_step - by_conjugate
    matrix = torch.cat(
        [torch.cat([total.real, -difference.imag], -1), torch.cat([total.imag, difference.real], -1)], -2
    )
    target = torch.cat([missing.real, missing.imag], -1)
    # The imaginary part of c_0 says nothing; in its place the imaginary part of p_0 stays.
    matrix[:, count], target[:, count] = 0, 0
    matrix[:, count, count] = 1
    step = torch.linalg.solve_ex(matrix, target).result
    step = torch.where(step.isfinite().all(-1, keepdim=True), step, 0)  # singular: the factor stays
    return torch.complex(step[:, :count], step[:, count:])
