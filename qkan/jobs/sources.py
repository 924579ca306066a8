"""Sources of batches whose every draw is told by the seed, the epoch and the number of the sample.

So neither the number of processes, nor that of the workers, nor a stop in between changes what a sample looks like.
"""

import abc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from qkan.data.batches import Pair
from qkan.data.shares import share

__all__ = ["Arrays", "Mix", "Place", "Samples", "Source", "drawing_from"]

Mix = Callable[[Tensor, Tensor], Pair]
"""Mixes the samples of a batch; it draws from torch's own generator."""


@dataclass(frozen=True)
class Place:
    """Which of several processes this is."""

    rank: int = 0
    world: int = 1


class Source(abc.ABC):
    """Reads this process's share of every batch.

    Args:
        place: which process this is.
        mix: changes whole batches.
    """

    def __init__(self, place: Place, mix: Mix | None) -> None:
        self.place, self.mix = place, mix

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of samples, those of all processes."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Return a short checksum that tells whether two jobs see the same samples, as far as that is cheap."""

    @abc.abstractmethod
    def _read(self, batches: Sequence[Tensor], seed: int) -> Iterator[Pair]:
        """Yield the samples of these numbers."""

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Yield inputs and targets [batch, ...]: shuffled by the generator, or in order without one."""
        return self.batches_after(0, batch_size, generator)

    def batches_after(self, skip: int, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Return what `batches` yields but for the first `skip`; the order is drawn before this returns."""
        order, seed = torch.arange(len(self)), 0
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
            seed = int(torch.randint(2**62, (), generator=generator))
        shares = [self._share(batch) for batch in torch.split(order, batch_size)[skip:]]
        return self._mixed(self._read(shares, seed), skip, seed)

    def _share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch, or else one sample to take part with (see `Reading.share`)."""
        rows = share(len(batch), self.place.rank, self.place.world)
        return batch[rows.start : rows.stop] if rows else batch[:1]

    def _mixed(self, batches: Iterator[Pair], skip: int, seed: int) -> Iterator[Pair]:
        if self.mix is None:
            return batches
        mix, rank, world = self.mix, self.place.rank, self.place.world
        return (self._mix(mix, pair, seed + number * world + rank) for number, pair in enumerate(batches, skip))

    @staticmethod
    def _mix(mix: Mix, pair: Pair, seed: int) -> Pair:
        with drawing_from(seed):
            return mix(*pair)


@final
class Arrays(Source):
    """Samples in memory, turned into numbers batch by batch.

    Args:
        inputs: [samples, ...]; bytes are divided by 255.
        targets: [samples, ...].
        mean: subtracted, [channels, 1, 1] or nothing.
        std: divided by.
        place: which process this is.
        mix: changes whole batches.
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, mean: Tensor, std: Tensor, place: Place, mix: Mix | None = None
    ) -> None:
        super().__init__(place, mix)
        self.inputs, self.targets = inputs, targets
        unit = 255 if inputs.dtype == torch.uint8 else 1
        self.shift, self.factor = mean * unit, 1 / (std * unit)

    def __len__(self) -> int:
        return len(self.inputs)

    def digest(self) -> str:
        """Return a checksum of the samples."""
        total = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            total.update(str(list(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes())
        return total.hexdigest()[:16]

    def _read(self, batches: Sequence[Tensor], seed: int) -> Iterator[Pair]:
        kind = self.shift.dtype
        for index in batches:
            yield self.inputs[index].to(kind).sub_(self.shift).mul_(self.factor), self.targets[index]


@final
class Samples(Source):
    """Samples that are read and changed one by one, in this process or by workers.

    Args:
        images: a sequence of pairs (image, target), or any map-style data set of them.
        names: what a sample is called in an error, by its number.
        change: of an image and its target; it draws from torch's own generator.
        place: which process this is.
        workers: how many processes read.
        mix: changes whole batches.
    """

    def __init__(
        self,
        images: Any,
        names: Callable[[int], str],
        change: Callable[[Any, Any], tuple[Tensor, Any]],
        place: Place,
        workers: int = 0,
        mix: Mix | None = None,
    ) -> None:
        super().__init__(place, mix)
        self.samples, self.workers = _Changed(images, names, change), workers

    def __len__(self) -> int:
        return len(self.samples)

    def digest(self) -> str:
        """Return a checksum of the names of the samples."""
        total = hashlib.sha256()
        for index in range(len(self)):
            place = PurePath(self.samples.names(index)).parts[-2:]  # without the folder, which may move
            total.update("/".join(place).encode() + b"\n")
        return total.hexdigest()[:16]

    def _read(self, batches: Sequence[Tensor], seed: int) -> Iterator[Pair]:
        plan = [[(index, seed) for index in batch.tolist()] for batch in batches]
        # a generator of its own: a DataLoader draws a seed for its workers, here from nobody else's
        loader = DataLoader(
            self.samples, batch_sampler=plan, num_workers=self.workers, collate_fn=_collate, generator=torch.Generator()
        )
        for batch in _alive(iter(loader)):
            if isinstance(batch, _Unreadable):
                raise ValueError(f"{batch.name} cannot be read ({batch.reason}): repair it, or take it out of the data")
            yield batch


@dataclass(frozen=True)
class _Unreadable:
    """Takes the place of a sample: an exception would come out of a worker with the worker's traceback as its text."""

    name: str
    reason: str


class _Changed(Dataset[Any]):
    def __init__(self, images: Any, names: Callable[[int], str], change: Callable[[Any, Any], Any]) -> None:
        self.images, self.names, self.change = images, names, change

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: tuple[int, int]) -> Any:
        index, seed = number
        try:
            image, target = self.images[index]
        except Exception as error:  # Pillow passes on whatever its decoders raise
            return _Unreadable(self.names(index), " ".join(str(error).split()) or type(error).__name__)
        with drawing_from(seed + 2 * index + 1):
            return self.change(image, target)


def _collate(samples: list[Any]) -> Any:
    broken = next((sample for sample in samples if isinstance(sample, _Unreadable)), None)
    return broken or tuple(default_collate(samples))


def _alive(batches: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from batches
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        first = str(error).splitlines()[0]
        raise OSError(
            f"a process that reads the data has died ({first}): lower data.workers or train.batch_size"
        ) from error


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Draw from a seed wherever torch's own generator on the CPU is asked, which is left as it was.

    Example:
        >>> with drawing_from(3):
        ...     first = torch.rand(())
        >>> with drawing_from(3):
        ...     first == torch.rand(())
        tensor(True)
    """
    before = torch.get_rng_state()
    torch.set_rng_state(torch.Generator().manual_seed(_scattered(seed)).get_state())
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _scattered(seed: int) -> int:
    """Return a seed far from that of the neighbour (the finaliser of splitmix64), from 0 to 2^63 - 1."""
    z = (seed + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return (z ^ (z >> 31)) >> 1
