"""The B-spline basis on a grid of knots per input, in local form: of every input only order + 1 functions are computed.

With G intervals and order k there are G + k functions on G + 2k + 1 knots, the extended ones included. Where x lies in
[t_m, t_m+1) the functions B_m-k .. B_m do not vanish; the recursion of Cox and de Boor builds them from the k knots on
either side (de Boor 1978, chapter X). It divides by no distance but such that hold [t_m, t_m+1): knots may coincide.
"""

from functools import partial

import torch
from torch import Tensor

from qkan._derived import Rule, Tensors, apply

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
    if torch.compiler.is_compiling():  # the compiler derives and fuses a backward of its own
        return _plain(order, x, grid)
    rule = Rule(partial(_plain, order), partial(_run, order), partial(_pull, order))
    return apply(rule, x, grid)


def _run(order: int, x: Tensor, grid: Tensor) -> tuple[Tensor, tuple[()]]:
    """Return what `_plain` returns, in blocks of inputs: fresh memory costs more than what is computed in it."""
    count = grid.shape[-1] - 1 - order
    columns = x.new_zeros(count + 2 * order, *x.shape)
    for block in _blocks(x):
        interval, values = _values(order, x[block], grid[block])
        columns[:, block].scatter_(0, _places(interval, order), values)
    return columns[order : order + count], ()


def _pull(
    order: int, tensors: Tensors, _kept: Tensors, gradient: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor, Tensor]:
    """Return the gradients: B'_j = k (B_j / (t_j+k - t_j) - B_j+1 / (t_j+k+1 - t_j+1)), B of degree k - 1 (de Boor)."""
    x, grid = tensors
    if needed[1]:
        found: tuple[Tensor, Tensor] = torch.func.vjp(partial(_plain, order), x, grid)[1](gradient)
        return found
    slopes = torch.empty_like(x)
    for block in _blocks(x):
        _slopes(order, x[block], grid[block], gradient[:, block], slopes[block])
    return slopes, torch.zeros_like(grid)


def _slopes(order: int, x: Tensor, grid: Tensor, gradient: Tensor, out: Tensor) -> None:
    """Write the gradient of some inputs, [in, batch]."""
    x, inside = _clamped(x, grid)
    interval = _interval(x, grid)
    around = _neighbours(grid, interval, order)
    lower = _local(x, around[1:-1], inside.to(x.dtype)) if order > 1 else inside.to(x.dtype).unsqueeze(0)
    shares = lower.div_(around[order:] - around[:order])
    places = _places(interval, order) - order
    there = (places >= 0) & (places < len(gradient))  # some belong to no function
    chosen = torch.gather(gradient, 0, places.clamp_(0, len(gradient) - 1)).mul_(there)
    torch.sum((chosen[1:] - chosen[:-1]).mul_(shares), 0, out=out).mul_(order)


def _blocks(x: Tensor) -> list[slice]:
    """Return slices of the inputs of x [in, batch] with about 2^15 numbers; elsewhere than on a CPU there is one."""
    rows = max(1, 2**15 // max(x.shape[-1], 1)) if x.device.type == "cpu" else max(len(x), 1)
    return [slice(first, first + rows) for first in range(0, len(x), rows)]


def _places(interval: Tensor, order: int) -> Tensor:
    """Return where functions go that do not vanish, [order + 1, in, batch], among all with those that do not exist."""
    return interval + torch.arange(order + 1, device=interval.device).view(-1, 1, 1)


def _clamped(x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return x, the first knot where it lies outside of them, and whether it lies inside."""
    first, last = grid[:, :1], grid[:, -1:]
    inside = ~((x < first) | (x > last))  # true of a NaN
    return torch.where(inside, x, first), inside


def _plain(order: int, x: Tensor, grid: Tensor) -> Tensor:
    interval, values = _values(order, x, grid)
    count = grid.shape[-1] - 1 - order
    # Of functions that begin before the first knot, or end behind the last one, there are `order` on either side.
    columns = x.new_zeros(count + 2 * order, *x.shape).scatter(0, _places(interval, order), values)
    return columns[order : order + count]


def _values(order: int, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the intervals [in, batch], and the functions that do not vanish there, [order + 1, in, batch]."""
    x, inside = _clamped(x, grid)
    interval = _interval(x, grid)
    return interval, _local(x, _neighbours(grid, interval, order), inside.to(x.dtype))


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
    extended = torch.cat([before, grid, behind], -1).expand(2 * order, -1, -1)  # [2k, in, knots + 2k]
    return extended.gather(-1, interval + torch.arange(1, 2 * order + 1, device=grid.device).view(-1, 1, 1))


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
