"""Sources of batches: what `fit` and `evaluate` read, made from tensors, a `Dataset` or a `DataLoader`."""

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

__all__ = [
    "Batches",
    "Data",
    "Divisible",
    "Loader",
    "Pair",
    "Pairs",
    "Samples",
    "Seekable",
    "as_batches",
    "index_batches",
]

Pair = tuple[Tensor, Tensor]


@runtime_checkable
class Batches(Protocol):
    """A data set that is read batch by batch, as often as wanted."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Yield inputs and targets [batch, ...]: shuffled by the generator, or in order without one."""
        ...


@runtime_checkable
class Divisible(Batches, Protocol):
    """A source of batches whose samples have numbers, so that a part of them can be held out."""

    def take(self, index: Tensor) -> "Divisible":
        """Return a source of the samples of these numbers alone: int64 [samples], on the CPU."""
        ...


@runtime_checkable
class Seekable(Batches, Protocol):
    """A source of batches that can begin in the middle without reading what comes before."""

    def batches_after(self, skip: int, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Return what `batches` yields but for the first `skip`; the order is drawn before this returns."""
        ...


Data = Batches | Pair | Dataset[Any] | DataLoader[Any]
"""What can be read: a source of batches, a pair of tensors (inputs, targets), a map-style `Dataset` of such pairs, or a
`DataLoader` of batches of them."""


def index_batches(
    samples: int, batch_size: int, generator: torch.Generator | None = None, device: torch.device | None = None
) -> Iterator[Tensor]:
    """Yield index tensors [batch] that together cover all samples once; the last may be shorter.

    The permutation is drawn where the generator lives (usually the CPU) and then moved, so that the order of a seed is
    the same whatever device holds the data.

    Example:
        >>> [index.tolist() for index in index_batches(5, 2)]
        [[0, 1], [2, 3], [4]]
    """
    if generator is None:
        order = torch.arange(samples)
    else:
        order = torch.randperm(samples, generator=generator, device=generator.device)
    return iter(torch.split(order.to(device), batch_size) if samples else ())


class Pairs:
    """Inputs and targets held as two tensors.

    Args:
        inputs: [samples, ...].
        targets: [samples, ...].

    Raises:
        ValueError: the two do not hold the same number of samples.
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        if inputs.dim() == 0 or targets.dim() == 0 or len(inputs) != len(targets):
            raise ValueError(
                "inputs and targets hold one row per sample, as many in both; "
                f"got shapes {tuple(inputs.shape)} and {tuple(targets.shape)}"
            )
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Yield inputs and targets [batch, ...]: shuffled by the generator, or in order without one."""
        if generator is None:
            # copies of slices: faster than an index, and a model that changes its inputs leaves the data alone
            for start in range(0, len(self), batch_size):
                rows = slice(start, start + batch_size)
                yield self.inputs[rows].clone(), self.targets[rows].clone()
            return
        for index in index_batches(len(self), batch_size, generator, self.inputs.device):
            yield self.inputs[index], self.targets[index.to(self.targets.device)]

    def take(self, index: Tensor) -> "Pairs":
        """Return the samples of these numbers: int64 [samples]."""
        return Pairs(self.inputs[index.to(self.inputs.device)], self.targets[index.to(self.targets.device)])


class Samples:
    """A map-style `Dataset` of pairs (input, target), in the order that a pair of tensors would have.

    Samples become batches as in a `DataLoader`: arrays and numbers turn into tensors.

    Args:
        dataset: has a length, and gives a pair for every index.

    Example:
        >>> samples = Samples([(torch.zeros(3), 1), (torch.ones(3), 0)])
        >>> [(tuple(inputs.shape), targets.tolist()) for inputs, targets in samples.batches(2)]
        [((2, 3), [1, 0])]
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # as_batches refuses those without a length

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Yield inputs and targets [batch, ...]: shuffled by the generator, or in order without one."""
        order = [index.tolist() for index in index_batches(len(self), batch_size, generator)]
        # a generator of its own: a DataLoader draws a seed for its workers, here from nobody else's
        for batch in DataLoader(self.dataset, batch_sampler=order, generator=torch.Generator()):
            yield _pair(batch)

    def take(self, index: Tensor) -> "Samples":
        """Return the samples of these numbers: int64 [samples]."""
        return Samples(Subset(self.dataset, index.tolist()))


class Loader:
    """A `DataLoader` of pairs (inputs, targets), which has a batch size and an order of its own.

    Whatever it draws from torch's own generator on the CPU is drawn from the generator of `batches` instead: the order,
    where the loader was built without a generator, the seeds of its workers, and random changes of the samples. A
    loader with a generator of its own draws its order from that.

    Args:
        loader: over a map-style `Dataset`.

    Raises:
        ValueError: it yields single samples instead of batches.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        if loader.batch_sampler is None:
            raise ValueError(
                "a DataLoader with batch_size=None yields single samples: give the DataLoader a batch size"
            )
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader.dataset)  # type: ignore[arg-type]  # as_batches refuses those without a length

    @property
    def generators(self) -> list[torch.Generator]:
        """The generators of its own, without torch's own."""
        samplers = (self.loader.sampler, self.loader.batch_sampler, getattr(self.loader.batch_sampler, "sampler", None))
        found = [self.loader.generator, *(getattr(sampler, "generator", None) for sampler in samplers)]
        own = {id(each): each for each in found if each is not None and each is not torch.default_generator}
        return list(own.values())

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Pair]:
        """Yield what the loader yields, in batches of its own size; the same draws every time without a generator."""
        source = torch.Generator() if generator is None else generator
        with _drawing_from(source):
            batches = iter(self.loader)
        while True:
            with _drawing_from(source):
                batch = next(batches, None)
            if batch is None:
                return
            yield _pair(batch)


def as_batches(data: Data, argument: str = "data") -> Batches:
    """Return a source of batches, made from what came.

    Raises:
        TypeError: `data` is of another kind, or an iterable data set.
        ValueError: the tensors do not hold the same number of samples, or there are no samples.
    """
    if isinstance(data, Batches):
        source = data
    elif isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        source = Pairs(*data)
    elif isinstance(data, DataLoader):
        _check_mapped(data.dataset, argument)
        source = Loader(data)
    elif isinstance(data, Dataset):
        _check_mapped(data, argument)
        source = Pairs(*data.tensors) if type(data) is TensorDataset and len(data.tensors) == 2 else Samples(data)
    else:
        raise TypeError(
            f"{argument} must be a pair of tensors (inputs, targets), a Dataset, a DataLoader, or an object with "
            f"__len__ and batches(batch_size, generator=None); got {type(data).__name__}"
        )
    if len(source) == 0:
        raise ValueError(f"{argument} holds no samples: give at least one")
    return source


def _check_mapped(dataset: Dataset[Any], argument: str) -> None:
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise TypeError(
            f"{argument} must hold its samples by number: {type(dataset).__name__} has no length or no order that a "
            "generator could draw and a resumed run repeat; give a map-style Dataset, or an object with __len__ and "
            "batches(batch_size, generator=None)"
        )


def _pair(batch: Any) -> Pair:
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
        return batch[0], batch[1]
    kind = type(batch).__name__
    if isinstance(batch, (tuple, list)):
        kind += f" of {', '.join(type(part).__name__ for part in batch)}"
    raise TypeError(
        f"a batch must be a pair of tensors (inputs, targets); got {kind}: let the Dataset return such pairs, or give "
        "the DataLoader a collate_fn that makes them"
    )


@contextmanager
def _drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Draw from a generator wherever torch's own on the CPU is asked, which is left as it was."""
    if generator is torch.default_generator:
        yield
        return
    if generator.device.type != "cpu":
        raise ValueError(f"a DataLoader draws on the CPU: give a generator on the CPU; got one on {generator.device}")
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
