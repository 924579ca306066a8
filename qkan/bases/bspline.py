"""The B-spline basis on a grid of knots per input, in local form: of every input only order + 1 functions are computed.

With G intervals and order k there are G + k functions on G + 2k + 1 knots, the extended ones included. Where x lies in
[t_m, t_m+1) the functions B_m-k .. B_m do not vanish; the recursion of Cox and de Boor builds them from the k knots on
either side (de Boor 1978, chapter X). It divides by no distance but such that hold [t_m, t_m+1): knots may coincide.
"""

import torch
from torch import Tensor

__all__ = ["features", "knots"]


def knots(
    grid_size: int,
    order: int,
    low: Tensor | float,
    high: Tensor | float,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the extended uniform knots t_j = low + (j - k) h, h = (high - low) / G, for j = 0 .. G + 2k.

    Args:
        grid_size: number of intervals G between low and high.
        order: degree k of the pieces.
        low: where the grid starts, a number or [*inputs].
        high: where it ends, like low.
        device: where the knots live; that of low, if it is a tensor.
        dtype: their dtype; that of low, if it is a tensor.

    Returns:
        [*inputs, G + 2k + 1].

    >>> knots(2, 1, 0.0, 1.0)
    tensor([-0.5000,  0.0000,  0.5000,  1.0000,  1.5000])
    """
    if not isinstance(low, Tensor):
        low = torch.tensor(low, device=device, dtype=dtype)
    steps = torch.arange(-order, grid_size + order + 1, device=low.device, dtype=low.dtype)
    width = (high - low) / grid_size
    return low.unsqueeze(-1) + steps * width.unsqueeze(-1)


def features(x: Tensor, grid: Tensor, order: int) -> Tensor:
    """Return the values of all B-splines; they are 0 outside of the knots, and NaN where x is.

    Args:
        x: [*batch, in].
        grid: ascending knots, [in, knots], uniform or not.
        order: degree k >= 1 of the pieces.

    Returns:
        [*batch, in, knots - 1 - order].

    >>> features(torch.tensor([[0.25]]), knots(2, 1, 0.0, 1.0).unsqueeze(0), 1)
    tensor([[[0.5000, 0.5000, 0.0000]]])
    """
    rows = x.reshape(-1, x.shape[-1]).mT.contiguous()  # [in, batch]
    columns = _columns(rows, grid.contiguous(), order)
    # [functions, in, batch] in memory: every function is one contiguous piece, and the product takes it as it is.
    return columns.movedim(-1, 0).mT.view(*x.shape, len(columns))


def _columns(x: Tensor, grid: Tensor, order: int) -> Tensor:
    """Return the functions [functions, in, batch] of x [in, batch]."""
    first, last = grid[:, :1], grid[:, -1:]
    inside = ~((x < first) | (x > last))  # true of a NaN
    x = torch.where(inside, x, first)
    interval = _interval(x, grid)
    values = _local(x, _neighbours(grid, interval, order), inside.to(x.dtype))
    count = grid.shape[-1] - 1 - order
    # Of functions that begin before the first knot, or end behind the last one, there are `order` on either side.
    places = interval + torch.arange(order + 1, device=x.device).view(-1, 1, 1)
    columns = x.new_zeros(count + 2 * order, *x.shape).scatter(0, places, values)
    return columns[order : order + count]


def _interval(x: Tensor, grid: Tensor) -> Tensor:
    """Return the number m of the interval [t_m, t_m+1) that holds x, [in, batch]; none of them is empty."""
    # Counted, not bisected: torch.searchsorted copies and warns under vmap, and is no faster on grids of usual size.
    passed = torch.sum(x >= grid.mT.unsqueeze(-1), 0, dtype=torch.int32)
    # The last interval that is not empty holds its end too.
    nonempty = torch.sum(grid < grid[:, -1:], -1, keepdim=True, dtype=torch.int32)
    return (torch.minimum(passed, nonempty) - 1).clamp(min=0).long()  # a NaN passes no knot


def _neighbours(grid: Tensor, interval: Tensor, order: int) -> Tensor:
    """Return the knots t_m-k+1 .. t_m+k of the interval m of every input, [2k, in, batch]."""
    steps = torch.arange(1, order + 1, device=grid.device, dtype=grid.dtype)
    # Knots that do not exist are only used by functions that do not exist; they must differ from their neighbours.
    before, behind = grid[:, :1] - steps.flip(0), grid[:, -1:] + steps
    windows = torch.cat([before, grid, behind], -1).unfold(-1, 2 * order, 1)  # [in, knots + 1, 2k]
    index = (interval + 1).unsqueeze(-1).expand(*interval.shape, 2 * order)
    return windows.gather(1, index).permute(2, 0, 1)


def _local(x: Tensor, around: Tensor, one: Tensor) -> Tensor:
    """Return the order + 1 functions that do not vanish, [order + 1, in, batch], from the knots around x."""
    order = len(around) // 2
    before, behind = x - around[:order], around[order:] - x
    values = [one]
    for degree in range(1, order + 1):
        shares = [value / (behind[r] + before[order - degree + r]) for r, value in enumerate(values)]
        rising = [torch.zeros_like(one), *(share * before[order - degree + r] for r, share in enumerate(shares))]
        falling = [*(share * behind[r] for r, share in enumerate(shares)), torch.zeros_like(one)]
        values = [up + down for up, down in zip(rising, falling, strict=True)]
    return torch.stack(values)
