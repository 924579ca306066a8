"""Grids of B-splines that follow the data or become finer, and splines carried from one grid to another."""

import torch
from torch import Tensor

from qkan.bases import bspline
from qkan.bases.projection import least_squares
from qkan.precision import widest_dtype

__all__ = ["adapted", "carried", "refined"]


def adapted(x: Tensor, grid_size: int, order: int, margin: float, grid_eps: float, digits: float = 0.0) -> Tensor:
    """Return knots that follow data: a blend of quantiles and uniform ones, as efficient-kan's.

    Args:
        x: data, [samples, in].
        grid_size: number of intervals G.
        order: degree k.
        margin: by how much the uniform knots reach beyond the data, above 0: so knots of constant data differ too.
        grid_eps: share of the uniform knots, the others being quantiles.
        digits: relative precision of the dtype that will hold the knots: the margin is widened to what it can resolve.

    Returns:
        [in, G + 2k + 1], ascending.

    >>> adapted(torch.tensor([[0.0], [3.0], [4.0]]), 2, 1, 1.0, 0.5).flatten()
    tensor([-3.5000, -0.5000,  2.5000,  4.5000,  7.5000], dtype=torch.float64)
    """
    ordered = x.to(widest_dtype(x.device)).sort(0).values
    places = torch.arange(grid_size + 1, device=x.device) * (len(x) - 1) // grid_size
    margins = (digits * grid_size / grid_eps * ordered.abs().amax(0)).clamp(min=margin)
    low, high = ordered[0] - margins, ordered[-1] + margins
    uniform = bspline.knots(grid_size, 0, low, high)
    inner = grid_eps * uniform + (1 - grid_eps) * ordered[places].mT
    return _extended(inner, order, (high - low).unsqueeze(-1) / grid_size)


def refined(grid: Tensor, grid_size: int, order: int) -> Tensor:
    """Return knots of as many intervals with the same ends, spread over the old ones.

    Every old knot is a new one if grid_size is a multiple of the old number.

    >>> refined(torch.tensor([[-1.0, 0.0, 1.0, 4.0, 5.0]]), 4, 1)
    tensor([[-0.5000,  0.0000,  0.5000,  1.0000,  2.5000,  4.0000,  5.5000]])
    """
    inner = grid[:, order : -order or None]
    place = torch.arange(grid_size + 1, device=grid.device) * (inner.shape[-1] - 1)
    number = (place // grid_size).clamp(max=inner.shape[-1] - 2)
    share = (place - number * grid_size).to(grid.dtype) / grid_size
    new = torch.lerp(inner[:, number], inner[:, number + 1], share.expand(len(inner), -1))
    return _extended(new, order, new[:, 1:2] - new[:, :1], new[:, -1:] - new[:, -2:-1])


def _extended(inner: Tensor, order: int, before: Tensor, behind: Tensor | None = None) -> Tensor:
    """Return a grid with `order` more knots on both sides, in steps [in, 1]."""
    steps = torch.arange(1, order + 1, device=inner.device, dtype=inner.dtype)
    behind = before if behind is None else behind
    return torch.cat([inner[:, :1] - before * steps.flip(0), inner, inner[:, -1:] + behind * steps], -1)


def carried(weights: Tensor, old: Tensor, new: Tensor, order: int) -> Tensor:
    """Return the coefficients of the splines on new knots that come closest to those on old ones.

    By least squares of any rank, at points in every interval between the ends of the new grid: finite always, and exact
    where the new splines hold the old ones.

    Args:
        weights: [out, in, functions].
        old: knots, [in, old knots].
        new: knots, [in, new knots].
        order: degree k.

    Returns:
        [out, in, new functions], in the dtype of weights.
    """
    exact = widest_dtype(weights.device)
    old, new = old.to(exact), new.to(exact)
    inner = new[:, order : -order or None]
    share = (torch.arange(2 * order + 2, device=new.device, dtype=exact) + 0.5) / (2 * order + 2)
    points = (inner[:, :-1, None] + (inner[:, 1:] - inner[:, :-1]).unsqueeze(-1) * share).flatten(1).mT
    values = torch.einsum("nif,oif->ino", bspline.features(points, old, order), weights.to(exact))
    design = bspline.features(points, new, order).transpose(0, 1)
    # Contiguous, for these become a parameter, and L-BFGS of torch takes gradients as vectors without a copy.
    return least_squares(design, values).permute(2, 0, 1).to(weights.dtype).contiguous()
