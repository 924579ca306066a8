"""How a source of batches is read: in what steps, and what part of it is held out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from qkan.data.batches import Batches, Data, Divisible, Loader, Pair, Seekable, as_batches
from qkan.data.shares import share

__all__ = ["Reading", "check_fraction", "divide", "hold_out", "split"]


@dataclass(frozen=True)
class Reading:
    """A source and the size of its batches.

    Args:
        source: what is read.
        batch_size: samples per step; None for all of them in one, in their order, or for the size of a `DataLoader`.

    Raises:
        ValueError: a batch size for a `DataLoader`, which has its own.
    """

    source: Batches
    batch_size: int | None

    def __post_init__(self) -> None:
        if self.batch_size is not None and isinstance(self.source, Loader):
            raise ValueError(
                f"a DataLoader has a batch size of its own: leave out batch_size={self.batch_size}, or give the "
                "Dataset instead"
            )

    @property
    def size(self) -> int | None:
        """Samples per step, None if it is a `DataLoader` whose batch sampler alone knows."""
        if isinstance(self.source, Loader):
            return self.source.loader.batch_size
        return len(self.source) if self.batch_size is None else self.batch_size

    @property
    def steps(self) -> int:
        """Steps in one epoch."""
        if isinstance(self.source, Loader):
            return len(self.source.loader)
        return math.ceil(len(self.source) / (self.size or 1))

    def beside(self, held_out: Batches) -> "Reading":
        """Return how data held out from this source are read: in batches of the same size, or their own."""
        if isinstance(held_out, Loader):
            return Reading(held_out, None)
        return Reading(held_out, self.size if isinstance(self.source, Loader) else self.batch_size)

    def epoch(self, generator: torch.Generator, skip: int = 0) -> Iterator[Pair]:
        """Go through the samples once; without a batch size there is nothing to draw.

        Args:
            generator: of the order.
            skip: batches left out at the start; all draws that come before the rest are made before this returns.
        """
        whole = self.batch_size is None and not isinstance(self.source, Loader)
        source, size, order = self.source, self.size or 1, None if whole else generator
        if skip and isinstance(source, Seekable):
            return source.batches_after(skip, size, order)
        batches = source.batches(size, order)
        for _ in range(skip):
            next(batches, None)
        return batches

    def share(self, number: int, rows: int, rank: int, world: int) -> int:
        """Return how many of the rows of a batch count, where several processes read their shares.

        A process without a share reads one row all the same, so that it takes part, and that row counts nothing.

        Args:
            number: of the batch in its epoch, from 0.
            rows: that this process read.
            rank: of this process.
            world: how many processes there are.

        Raises:
            ValueError: the source does not divide its batches among the processes.
        """
        if world == 1:
            return rows
        own = len(share(self.together(number), rank, world))
        if rows != max(own, 1):
            raise ValueError(
                f"process {rank} of {world} reads its {own} rows of a batch; got {rows}: give a source that shares its "
                "batches among the processes"
            )
        return own

    def together(self, number: int) -> int:
        """Return the rows of a batch in all processes, by its number in the epoch, from 0."""
        size = self.size or 1
        return min(size, len(self.source) - number * size)


def check_fraction(source: Batches, fraction: float) -> int:
    """Return how many samples a fraction of a source is.

    Raises:
        TypeError: the source gives no access to single samples.
        ValueError: the fraction is not between 0 and 1, or holds out nothing or everything.
    """
    _divisible(source)
    if not 0 < fraction < 1:
        raise ValueError(f"a fraction held out for validation is between 0 and 1, both excluded; got {fraction!r}")
    count = round(fraction * len(source))
    if not 0 < count < len(source):
        what = "nothing" if count == 0 else "everything"
        raise ValueError(f"a fraction of {fraction} of {len(source)} samples holds out {what}: give another fraction")
    return count


def hold_out(source: Batches, fraction: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw which samples are held out: int64 [held out], ascending, on the CPU.

    Raises:
        TypeError, ValueError: as `check_fraction`.
    """
    count = check_fraction(source, fraction)
    device = None if generator is None else generator.device
    order = torch.randperm(len(source), generator=generator, device=device)
    return order[:count].sort().values.cpu()


def divide(source: Batches, held_out: Tensor) -> tuple[Batches, Batches]:
    """Return a source without the samples of these numbers, and one of these alone.

    Raises:
        TypeError: the source gives no access to single samples.
    """
    kept = torch.ones(len(source), dtype=torch.bool)
    kept[held_out] = False
    divisible = _divisible(source)
    return divisible.take(kept.nonzero().squeeze(1)), divisible.take(held_out)


def split(data: Data, fraction: float, generator: torch.Generator | None = None) -> tuple[Batches, Batches]:
    """Return sources for training and for validation, as `fit(..., validation=fraction)` divides them.

    For several calls of `fit` that are to share their validation data.

    Args:
        data: a pair of tensors, a map-style `Dataset` of such pairs, or a source with `take` (see `Divisible`).
        fraction: of the samples, held out for validation.
        generator: draws them; torch's own by default.

    Raises:
        TypeError: `data` is of another kind.
        ValueError: the fraction is not between 0 and 1, or holds out nothing or everything.

    Example:
        >>> training, held_out = split((torch.eye(10), torch.arange(10)), 0.3)
        >>> len(training), len(held_out)
        (7, 3)
    """
    source = as_batches(data)
    return divide(source, hold_out(source, fraction, generator))


def _divisible(source: Batches) -> Divisible:
    if isinstance(source, Divisible):
        return source
    kind = "DataLoader" if isinstance(source, Loader) else type(source).__name__
    raise TypeError(
        f"a fraction is held out of tensors, of a Dataset, or of a source with take(index); got {kind}: give the "
        "validation data themselves"
    )
