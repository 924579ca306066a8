"""The Fourier basis: cos kx and sin kx for a list of harmonics k."""

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from qkan._derived import Rule, Tensors, apply
from qkan.bases.blocks import blocks

__all__ = ["Pair", "factors", "features", "multiples", "write"]

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
    rows = u.reshape(-1, u.shape[-1]).mT  # [in, batch]
    columns = _tables(tuple(harmonics), rows)
    # [functions, in, batch] in memory: every function is one contiguous piece, and the product takes it as it is.
    return columns.movedim(-1, 0).mT.view(*u.shape, len(columns))


def _tables(harmonics: tuple[int, ...], u: Tensor) -> Tensor:
    if torch.compiler.is_compiling():  # the compiler derives and fuses a backward of its own
        return _columns(harmonics, u)
    plain, run, pull = partial(_columns, harmonics), partial(_write, harmonics), partial(_pull, harmonics)
    return apply(Rule(plain, run, pull, keeps_result=True), u)


def _columns(harmonics: tuple[int, ...], u: Tensor) -> Tensor:
    """Return cos ku for every k, then sin ku for every k, [2K, in, batch], from u [in, batch]."""
    pairs = multiples(u.cos(), u.sin(), harmonics)
    columns = [pairs[k][part] for part in (0, 1) for k in harmonics]
    return torch.stack(columns) if columns else u.new_empty(0, *u.shape)


def _write(harmonics: tuple[int, ...], u: Tensor) -> tuple[Tensor, tuple[()]]:
    """Return what `_columns` returns, written in place: fresh memory costs more than what is computed in it."""
    columns = torch.empty(2, len(harmonics), *u.shape, dtype=u.dtype, device=u.device)
    for block in blocks(columns):
        known = {k: columns[:, position, block] for position, k in enumerate(harmonics)}  # each [2, in, batch]
        _write_multiples(u[block], known)
    return columns.flatten(0, 1), ()


def _write_multiples(u: Tensor, wanted: dict[int, Tensor]) -> None:
    """Write (cos ku, sin ku) into [2, in, batch] for every k, by angle addition as in `multiples`."""
    first = wanted[1] if 1 in wanted else torch.empty(2, *u.shape, dtype=u.dtype, device=u.device)
    torch.cos(first[1].copy_(u), out=first[0])  # turned round in memory first, if it has to be
    torch.sin(first[1], out=first[1])
    done = {1: first}

    def pair(k: int) -> Tensor:
        if k not in done:
            a, b = pair(k // 2), pair(k - k // 2)
            done[k] = torch.mul(a, b[0], out=wanted[k] if k in wanted else torch.empty_like(a))
            done[k][0].addcmul_(a[1], b[1], value=-1)
            done[k][1].addcmul_(a[0], b[1])
        return done[k]

    for k in wanted:
        pair(k)


def _pull(
    harmonics: tuple[int, ...], tensors: Tensors, kept: Tensors, gradient: Tensor, _needed: object
) -> tuple[Tensor]:
    """Return the gradient [in, batch]: d cos ku = -k sin ku, d sin ku = k cos ku."""
    (columns,) = kept
    found = torch.empty(columns.shape[1:], dtype=columns.dtype, device=columns.device)
    weights = factors(harmonics, found.dtype, found.device).view(-1, 1, 1)
    for block in blocks(columns) if harmonics else ():
        (cos, sin), (by_cos, by_sin) = columns[:, block].chunk(2), gradient[:, block].chunk(2)
        slopes = torch.mul(by_sin, cos).addcmul_(by_cos, sin, value=-1)  # [K, in, batch]
        torch.sum(slopes.mul_(weights), 0, out=found[block])
    return (found if harmonics else found.zero_(),)


def write(columns: Tensor, u: Tensor, harmonics: Sequence[int]) -> None:
    """Write cos ku for every k, then sin ku for every k, into memory that is there; without a derivative.

    Args:
        columns: [2K, *shape], strided in any way.
        u: [*shape], radians.
        harmonics: K integers k >= 1.
    """
    pairs = torch.unflatten(columns, 0, (2, len(harmonics)))
    _write_multiples(u, {k: pairs[:, position] for position, k in enumerate(harmonics)})


@lru_cache(maxsize=256)
def factors(harmonics: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the harmonics as a tensor [K], made once."""
    return torch.tensor(harmonics, dtype=dtype, device=device)


def _zero(like: Tensor) -> Pair:
    # like * 0, not zeros: a NaN or infinity in x stays visible.
    return torch.ones_like(like) + like * 0, like * 0


def _sum(a: Pair, b: Pair) -> Pair:
    if a[0] is b[0]:
        return 1 - 2 * a[1] * a[1], 2 * a[0] * a[1]
    return torch.addcmul(a[0] * b[0], a[1], b[1], value=-1), torch.addcmul(a[1] * b[0], a[0], b[1])
