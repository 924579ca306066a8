"""Where the steps of a run happen: in this process and as the model is, unless an engine says otherwise."""

import abc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, final

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

__all__ = ["Engine", "Plain"]


class Engine(abc.ABC):
    """Runs the forward and backward passes of a step: in other precisions, or on one of several processes.

    Every process holds the model, reads its share of every batch (see `qkan.data.shares.share`), and after a step all
    have the same weights. What `fit` writes and measures is that of all of them.
    """

    rank: int
    world: int

    @abc.abstractmethod
    def prepare(self, model: nn.Module, optimizer: Optimizer) -> nn.Module:
        """Return the module that a training step calls; its parameters are those of the model."""

    @abc.abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add to the gradients: the mean over the processes, unless within `alone`."""

    @abc.abstractmethod
    def alone(self, forward: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which gradients stay with their process until a backward pass outside of it."""

    @abc.abstractmethod
    def clip(self, parameters: Sequence[Tensor], norm: float) -> None:
        """Shorten the gradients together to a Euclidean norm."""

    @abc.abstractmethod
    def step(self, optimizer: Optimizer, closure: Callable[[], Tensor]) -> None:
        """Take a step of the optimizer."""

    @abc.abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes."""

    @abc.abstractmethod
    def agree(self, model: nn.Module) -> None:
        """Give the buffers of the model, such as running means, the same values in all processes."""

    @abc.abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process, plain ones and tensors on the CPU."""

    @abc.abstractmethod
    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor whole of which every process may hold a part; all of them must call it."""

    @abc.abstractmethod
    def part(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Return what this process holds of a whole tensor that is laid out like another."""

    @abc.abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what a resumed run has to share beside the model and the optimizer."""

    @abc.abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""


@final
class Plain(Engine):
    """One process, in the precision of the model."""

    rank: Literal[0] = 0
    world: Literal[1] = 1

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> nn.Module:
        """Return the model."""
        return model

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def alone(self, forward: nn.Module) -> AbstractContextManager[Any]:
        """Return a context that does nothing."""
        return nullcontext()

    def clip(self, parameters: Sequence[Tensor], norm: float) -> None:
        """Shorten the gradients together to a Euclidean norm."""
        clip_grad_norm_(parameters, norm)

    def step(self, optimizer: Optimizer, closure: Callable[[], Tensor]) -> None:
        """Take a step of the optimizer."""
        optimizer.step(closure)  # type: ignore[arg-type]  # torch annotates float

    def sum(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def agree(self, model: nn.Module) -> None:
        """Do nothing."""

    def gather(self, value: Any) -> list[Any]:
        """Return the value, in a list."""
        return [value]

    def whole(self, tensor: Tensor) -> Tensor:
        """Return the tensor."""
        return tensor

    def part(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Return the tensor."""
        return tensor

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
