"""The Fourier basis: cos kx and sin kx for a list of harmonics k."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Pair", "features", "multiples"]

Pair = tuple[Tensor, Tensor]
"""Cosine and sine of one angle."""


def multiples(cos: Tensor, sin: Tensor, harmonics: Iterable[int]) -> dict[int, Pair]:
    """Return (cos kx, sin kx) for every integer k asked for, from cos x and sin x.

    Angle addition instead of cos(k x): the product k x would round away the phase of a large x.

    >>> c, s = torch.tensor(0.5).cos(), torch.tensor(0.5).sin()
    >>> multiples(c, s, [-2])[-2][1]
    tensor(-0.8415)
    """
    known: dict[int, Pair] = {1: (cos, sin)}

    def pair(k: int) -> Pair:
        if k not in known:
            known[k] = _zero(cos) if k == 0 else _sum(pair(k // 2), pair(k - k // 2))
        return known[k]

    return {k: pair(k) if k >= 0 else (pair(-k)[0], -pair(-k)[1]) for k in harmonics}


def features(u: Tensor, harmonics: Sequence[int]) -> Tensor:
    """Return cos ku for every k, then sin ku for every k.

    Args:
        u: [*batch, in], radians.
        harmonics: K integers k >= 1.

    Returns:
        [*batch, in, 2K].

    >>> features(torch.zeros(5, 3), harmonics=(1, 2)).shape
    torch.Size([5, 3, 4])
    """
    # [*batch, functions, in] in memory: rows stay contiguous, which is several times faster.
    if torch.compiler.is_compiling():  # the compiler derives and fuses a backward of its own
        return _columns(u, tuple(harmonics)).mT
    columns: Tensor = _Features.apply(u, tuple(harmonics))
    return columns.mT


def _columns(u: Tensor, harmonics: tuple[int, ...]) -> Tensor:
    pairs = multiples(u.cos(), u.sin(), harmonics)
    columns = [pairs[k][part] for part in (0, 1) for k in harmonics]
    return torch.stack(columns, dim=-2) if columns else u.new_empty(*u.shape[:-1], 0, u.shape[-1])


class _Features(torch.autograd.Function):
    """[*batch, in] -> [*batch, 2K, in]; keeps nothing for backward but its own result."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, harmonics: tuple[int, ...]) -> Tensor:
        return _columns(u, harmonics)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.harmonics = inputs[1]
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # d cos ku = -k sin ku, d sin ku = k cos ku: differentiable operations on the result, so that second
        # derivatives come for free.
        (columns,) = ctx.saved_tensors
        (cos, sin), (cos_bar, sin_bar) = columns.chunk(2, dim=-2), gradient.chunk(2, dim=-2)
        slopes = torch.addcmul(sin_bar * cos, cos_bar, sin, value=-1)  # [*batch, K, in]
        return (slopes * _column(ctx.harmonics, columns)).sum(-2), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _harmonics: None) -> Tensor:
        (columns,) = ctx.saved_tensors
        (cos, sin), slopes = columns.chunk(2, dim=-2), _column(ctx.harmonics, columns) * tangent.unsqueeze(-2)
        return torch.cat([-sin * slopes, cos * slopes], dim=-2)


def _column(harmonics: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.tensor(harmonics, dtype=like.dtype, device=like.device).unsqueeze(-1)  # [K, 1]


def _zero(like: Tensor) -> Pair:
    # like * 0, not zeros: a NaN or infinity in x stays visible.
    return torch.ones_like(like) + like * 0, like * 0


def _sum(a: Pair, b: Pair) -> Pair:
    if a[0] is b[0]:
        return 1 - 2 * a[1] * a[1], 2 * a[0] * a[1]
    return torch.addcmul(a[0] * b[0], a[1], b[1], value=-1), torch.addcmul(a[1] * b[0], a[0], b[1])
