"""Blocks of inputs, small enough that what is done to their features stays in the caches."""

from collections.abc import Iterator

from torch import Tensor

__all__ = ["blocks"]

# Features of a block: those of two cores.
_FLOATS = 2**19


def blocks(columns: Tensor) -> Iterator[slice]:
    """Yield slices of the inputs of features [..., in, batch]; on a GPU there is one."""
    count = columns.shape[-2]
    step = max(1, _FLOATS * count // max(1, columns.numel())) if columns.device.type == "cpu" else count
    yield from (slice(first, first + step) for first in range(0, count, step))
