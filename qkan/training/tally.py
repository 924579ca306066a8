"""What the steps of an epoch have measured so far."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from qkan.training.engine import Engine
from qkan.training.evaluation import weighted_means

__all__ = ["Tally"]


@dataclass
class Tally:
    """The losses of an epoch and what it started from.

    Args:
        order: the state of the generator that shuffles, at the start of the epoch.
        others: those of the data's own generators.
        losses: what every step measured; they stay on the device, so that no step waits for another.
        sizes: the samples of every step.
        seconds: that the steps before a resumption took.
    """

    order: Tensor
    others: list[Tensor]
    losses: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps have been taken."""
        return len(self.sizes)

    def add(self, loss: Tensor, size: int) -> None:
        """Take note of a step."""
        self.losses.append(loss)
        self.sizes.append(size)

    def means(self, engine: Engine) -> list[float]:
        """Return the means over the samples of all processes."""
        return weighted_means(self.losses, self.sizes, engine)

    def to_dict(self, engine: Engine) -> dict[str, Any]:
        """Return the means of every step over the processes, their sizes, and the seconds up to now."""
        losses, sizes = torch.stack(self.losses).cpu(), torch.tensor(self.sizes)
        if engine.world > 1:
            weights = sizes.reshape(-1, *[1] * (losses.dim() - 1))
            sums, sizes = engine.sum(losses.double() * weights), engine.sum(sizes.double()).long()
            losses = (sums / sizes.reshape(weights.shape)).to(losses)
        return {"losses": losses, "sizes": sizes.tolist(), "seconds": self.seconds}

    @classmethod
    def from_dict(
        cls, content: Any, order: Tensor, others: list[Tensor], device: torch.device, engine: Engine, measures: int
    ) -> "Tally":
        """Return what `to_dict` was called on; the first process takes the samples of all.

        Raises:
            ValueError: the content is something else.
        """
        losses, sizes, seconds = content["losses"], content["sizes"], content["seconds"]
        shape = (len(sizes),) if measures == 1 else (len(sizes), measures)
        if not isinstance(losses, Tensor) or not losses.is_floating_point() or losses.shape != shape:
            raise ValueError(f"losses must be numbers {list(shape)}")
        if not sizes or not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError("sizes must be integers of at least 1")
        if type(seconds) is not float:
            raise ValueError("seconds must be a number")
        own = sizes if engine.rank == 0 else [0] * len(sizes)
        return cls(order, others, list(losses.to(device)), list(own), seconds)
