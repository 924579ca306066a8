"""The multilinear basis: the products of (1, cos t_r, sin t_r) over several angles."""

from collections.abc import Iterator

import torch
from torch import Tensor

from qkan._derived import Rule, Tensors, apply
from qkan.bases.blocks import blocks

__all__ = ["features"]


def features(angles: Tensor) -> Tensor:
    """Return the products over all angles of a factor each out of (1, cos t_r, sin t_r), but for the constant.

    Args:
        angles: [*batch, in, R], radians.

    Returns:
        [*batch, in, 3^R - 1], the factor of the last angle changing fastest.

    >>> features(torch.zeros(5, 3, 2))[0, 0]
    tensor([1., 0., 1., 1., 0., 0., 0., 0.])
    """
    *batch, width, count = angles.shape
    turned = angles.reshape(-1, width, count).permute(2, 1, 0).contiguous()  # [R, in, batch]
    if torch.compiler.is_compiling():  # the compiler derives and fuses a backward of its own
        columns = _columns(turned)
    else:
        columns = apply(Rule(_columns, _write, _pull, keeps_result=True), turned)
    # [functions, in, batch] in memory, as the contraction takes it.
    return columns.permute(2, 1, 0).view(*batch, width, 3**count - 1)


def _columns(t: Tensor) -> Tensor:
    """Return [3^R - 1, in, batch] from t [R, in, batch]."""
    table = torch.ones_like(t[0]).unsqueeze(0)
    for one in t.unbind(0):
        factor = torch.stack([torch.ones_like(one), one.cos(), one.sin()])
        table = (table.unsqueeze(1) * factor).flatten(0, 1)
    return table[1:]


def _write(t: Tensor) -> tuple[Tensor, tuple[()]]:
    """Return what `_columns` returns, written in place."""
    columns = torch.empty(3 ** len(t), *t.shape[1:], dtype=t.dtype, device=t.device)
    for block in blocks(columns):
        part = columns[:, block]
        part[0] = 1
        for stride, one in _levels(t[:, block]):
            # The products of the angles so far are where the later ones have the factor 1.
            known = part[:: 3 * stride]
            torch.mul(known, one.cos(), out=part[stride :: 3 * stride])
            torch.mul(known, one.sin(), out=part[2 * stride :: 3 * stride])
    return columns[1:], ()


def _pull(tensors: Tensors, kept: Tensors, gradient: Tensor, _needed: object) -> tuple[Tensor]:
    """Return the gradient [R, in, batch], from the last angle to the first."""
    (t,), (columns,) = tensors, kept
    found = torch.empty(t.shape, dtype=t.dtype, device=t.device)
    for block in blocks(columns):
        adjoint = gradient[:, block].clone()
        for number, (stride, one) in reversed(list(enumerate(_levels(t[:, block])))):
            # Of the products so far the first is the constant 1, which has no row.
            before = slice(3 * stride - 1, None, 3 * stride)
            by_cos, by_sin = adjoint[stride - 1 :: 3 * stride], adjoint[2 * stride - 1 :: 3 * stride]
            cos, sin = one.cos(), one.sin()
            slopes = (by_sin * cos).addcmul_(by_cos, sin, value=-1)
            slopes[1:] *= columns[before, block]
            torch.sum(slopes, 0, out=found[number, block])
            adjoint[before].addcmul_(by_cos[1:], cos).addcmul_(by_sin[1:], sin)
    return (found,)


def _levels(t: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield every angle with the number of products that follow one another with the same factor of it."""
    count = len(t)
    yield from ((3 ** (count - r - 1), one) for r, one in enumerate(t.unbind(0)))
