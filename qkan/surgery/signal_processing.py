"""From Fourier coefficients to angles: quantum signal processing for the ansätze pz and rpz.

A function f(x) = c_0 + Σ_k a_k cos kx + b_k sin kx of degree R is the <Z> of a circuit of R unit uploads if and only if
|f| <= 1 (Yu et al. 2022, arXiv 2205.07848). Its amplitudes P, Q with |P|² = (1 + f)/2 and |Q|² = (1 - f)/2 are
polynomials in w = e^{ix}, up to a phase (Fejér-Riesz). Layers are stripped from the end: since |P|² + |Q|² = 1, the
coefficients of w^0 and of w^R, as vectors (p, q), are orthogonal. One RZ makes the first of them real and one RY turns
it to |0>; then P has lost w^R and Q has lost w^0, and taking RZ(x) back leaves a state of degree R - 1.

With zeros outside of the unit circle the coefficients of w^0 do not vanish, and their length grows from strip to strip:
no division is by a small number.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from qkan import ansatz as ansatze
from qkan._checks import positive_integer
from qkan.ansatz import PZ, RPZ, Ansatz
from qkan.precision import widest_dtype
from qkan.surgery.factorisation import extremes, root, series
from qkan.surgery.nearest import Family, descend

__all__ = ["Angles", "angles", "realisable"]

# Floats of the largest matrices in memory at once.
_BLOCK = 2**22
# Both squares are lifted by so many eps: where f = ± 1 everywhere one of them would vanish.
_LIFT = 64
# Above this error, left by zeros of high order, angles are polished.
_ACCURATE, _POLISH = 1e-13, 30


class Angles(NamedTuple):
    """Circuits of given functions: scale <Z>(x) = f(x).

    theta: [out, in, angles], radians. bias: [out, in, reps] of the encoding for rpz, None for pz. scale: [out, in],
    max |f| where it is above 1, otherwise 1. error: [out, in], a bound of max |scale <Z>(x) - f(x)|, measured: the sum
    over all harmonics of how far the amplitude is off.
    """

    theta: Tensor
    bias: Tensor | None
    scale: Tensor
    error: Tensor


def realisable(ansatz: Ansatz) -> bool:
    """Return whether `angles` knows this ansatz: pz and rpz, without noise."""
    return ansatz in (PZ, RPZ)


@torch.no_grad()
def angles(
    constant: Tensor, cos: Tensor, sin: Tensor, *, ansatz: str | Ansatz = "pz", reps: int | None = None
) -> Angles:
    """Return the angles of circuits with unit encoding for f(x) = constant + Σ_k cos_k cos kx + sin_k sin kx.

    Computed in float64 (where the device has it), and returned in the dtype of the coefficients.

    Args:
        constant: [out, in].
        cos: [out, in, K], of the harmonics 1..K.
        sin: [out, in, K].
        ansatz: pz or rpz.
        reps: R >= K; None for K.

    Raises:
        ValueError: for another ansatz, shapes that do not fit, reps below K, or coefficients that are not finite.
        TypeError: if reps is no integer.

    Example:
        >>> wanted = torch.tensor([[0.2]], dtype=torch.float64), torch.tensor([[[0.0, 0.3]]], dtype=torch.float64)
        >>> found = angles(wanted[0], wanted[1], torch.zeros_like(wanted[1]), reps=3)
        >>> from qkan.functional import edges
        >>> x = torch.linspace(-3, 3, 50, dtype=torch.float64).unsqueeze(-1)
        >>> torch.allclose(edges(x, found.theta).flatten(), 0.2 + 0.3 * torch.cos(2 * x).flatten(), atol=1e-13)
        True
    """
    circuit = ansatze.named(ansatz)
    if not realisable(circuit):
        raise ValueError(
            f"ansatz must be pz or rpz without noise for quantum signal processing; got {circuit}. "
            "qkan.surgery.nearest.nearest finds the nearest circuits of others"
        )
    reps = _check(constant, cos, sin, reps)
    exact = widest_dtype(constant.device)
    missing = reps - cos.shape[-1]
    padded = (F.pad(part.to(exact), (0, missing)) for part in (cos, sin))
    rows = series(constant.to(exact), *padded).flatten(0, 1)
    blocks = torch.split(rows, max(1, _BLOCK // (2 * reps + 2) ** 2))
    family = Family(circuit, (1,) * reps)
    found = [_solved(family, block, constant.dtype) for block in blocks]
    p, scale, error = (torch.cat(part) for part in zip(*found, strict=True))
    theta, bias = family.parts(p.view(*constant.shape, -1))
    return Angles(theta, bias, scale.view(constant.shape), error.view(constant.shape))


def _check(constant: Tensor, cos: Tensor, sin: Tensor, reps: int | None) -> int:
    """Return the number of repetitions."""
    if constant.dim() != 2 or cos.dim() != 3 or cos.shape[:2] != constant.shape or sin.shape != cos.shape:
        raise ValueError(
            "constant, cos and sin must be [out, in], [out, in, K] and [out, in, K]; "
            f"got {tuple(constant.shape)}, {tuple(cos.shape)} and {tuple(sin.shape)}"
        )
    if not all(part.isfinite().all() for part in (constant, cos, sin)):
        raise ValueError("constant, cos and sin must be finite; got NaN or infinity")
    least = max(1, cos.shape[-1])
    found = least if reps is None else positive_integer("reps", reps)
    if found < least:
        raise ValueError(f"reps must be at least {least}, the highest harmonic; got {found}")
    return found


def _solved(family: Family, rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return parameters [edges, parameters], scales and errors [edges], for functions as rows of `series`."""
    low, high = extremes(rows)
    scale = torch.maximum(high, -low).clamp(min=1)
    small = rows / scale.unsqueeze(-1)
    lifted = torch.zeros_like(small)
    lifted[:, 0] = 1 + _LIFT * torch.finfo(scale.dtype).eps
    p = _parameters(family, *_stripped(root((lifted + small) / 2), root((lifted - small) / 2)))
    p = _polished(family, p, small)
    p, scale = p.to(dtype), scale.to(dtype)
    error = _distance(scale.to(rows.real.dtype).unsqueeze(-1) * _rows(family, p.to(rows.real.dtype)), rows)
    return p, scale, error.to(dtype)


def _stripped(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angles of RY, [edges, R + 1], and of the RZ before them, [edges, R], from the amplitudes."""
    polar, azimuth = [], []
    for degree in reversed(range(up.shape[-1])):
        # Of the last state any RZ is free: <Z> does not see it. Of all others it is the angle of a gate.
        phase = (down[:, 0] * up[:, 0].conj()).angle()
        down = down * torch.polar(torch.ones_like(phase), -phase).unsqueeze(-1)
        azimuth.append(phase)
        angle = 2 * torch.atan2(down[:, 0].abs(), up[:, 0].abs())
        polar.append(angle)
        cos, sin = (angle / 2).cos().unsqueeze(-1), (angle / 2).sin().unsqueeze(-1)
        up, down = cos * up + sin * down, cos * down - sin * up
        up, down = up[:, :degree], down[:, 1:]
    polar[-1] = polar[-1] - math.pi / 2  # from |+> and not from |0>
    return torch.stack(polar[::-1], -1), torch.stack(azimuth[:0:-1], -1)


def _parameters(family: Family, polar: Tensor, azimuth: Tensor) -> Tensor:
    """Return the parameters in the order of the ansatz."""
    if family.ansatz.trainable_bias:
        return torch.cat([polar, azimuth], -1)
    first = torch.zeros_like(azimuth[:, :1])
    return torch.stack([torch.cat([first, azimuth], -1), polar], -1).flatten(-2)


def _polished(family: Family, p: Tensor, rows: Tensor) -> Tensor:
    """Return parameters after Gauss-Newton steps where the error is above rounding."""
    rough = _distance(_rows(family, p), rows) > _ACCURATE
    if not rough.any():
        return p
    target = _table(rows[rough])
    metric = torch.eye(target.shape[-1], device=p.device, dtype=p.dtype).expand(len(target), -1, -1)
    better, _, _ = descend(family, p[rough], target, metric, bound=None, steps=_POLISH)
    return p.masked_scatter(rough.unsqueeze(-1), better)


def _rows(family: Family, p: Tensor) -> Tensor:
    table = family.tables(p)
    cos, sin = table[:, 1:].chunk(2, -1)
    return series(table[:, 0], cos, sin)


def _table(rows: Tensor) -> Tensor:
    """Return constant, cosines, sines from rows."""
    return torch.cat([rows[:, :1].real, 2 * rows[:, 1:].real, -2 * rows[:, 1:].imag], -1)


def _distance(rows: Tensor, wanted: Tensor) -> Tensor:
    apart = (rows - wanted).abs()
    return apart[:, 0] + 2 * apart[:, 1:].sum(-1)
