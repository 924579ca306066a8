"""Projection onto a basis: least squares that no rank upsets."""

import torch
from torch import Tensor

from qkan.precision import widest_dtype

__all__ = ["least_squares"]


def least_squares(design: Tensor, values: Tensor, cutoff: float = 1e-12) -> Tensor:
    """Return the coefficients of smallest norm among those that minimise |design c - values|².

    By singular values in float64 (where the device has it); those below the cut-off times the largest one are taken for
    0, and their directions are left out: coefficients are finite for any rank, more functions than points included.

    Args:
        design: finite values of the functions at the points, [*batch, points, functions].
        values: finite, [*batch, points, columns].
        cutoff: relative to the largest singular value. A larger one gives smaller coefficients and a larger error.

    Returns:
        [*batch, functions, columns].

    >>> twice_the_same = torch.ones(4, 2)
    >>> least_squares(twice_the_same, torch.full((4, 1), 3.0)).flatten()
    tensor([1.5000, 1.5000])
    """
    exact = widest_dtype(design.device)
    left, singular, right = torch.linalg.svd(design.to(exact), full_matrices=False)
    kept = singular > cutoff * singular[..., :1]
    inverse = torch.where(kept, 1 / torch.where(kept, singular, 1), 0)
    found: Tensor = right.mT @ (inverse.unsqueeze(-1) * (left.mT @ values.to(exact)))
    return found.to(torch.promote_types(design.dtype, values.dtype))
