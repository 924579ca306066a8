"""Sources of batches: what `fit` and `evaluate` read."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["Batches", "Pairs", "as_batches", "index_batches"]


@runtime_checkable
class Batches(Protocol):
    """A data set that is read batch by batch, as often as wanted."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets [batch, ...]: shuffled by the generator, or in order without one."""
        ...


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

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets [batch, ...]: shuffled by the generator, or in order without one."""
        for index in index_batches(len(self), batch_size, generator, self.inputs.device):
            yield self.inputs[index], self.targets[index.to(self.targets.device)]


def as_batches(data: Batches | tuple[Tensor, Tensor], argument: str = "data") -> Batches:
    """Return a source of batches, made from a pair of tensors if that is what came.

    Raises:
        TypeError: `data` is neither.
        ValueError: the tensors do not hold the same number of samples, or there are no samples.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        data = Pairs(*data)
    if not isinstance(data, Batches):
        raise TypeError(
            f"{argument} must be a pair of tensors (inputs, targets), or an object with __len__ and "
            f"batches(batch_size, generator=None); got {type(data).__name__}"
        )
    if len(data) == 0:
        raise ValueError(f"{argument} holds no samples: give at least one")
    return data
