"""One step of an optimizer: the loss, the penalty, the gradient, its clipping."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

__all__ = ["Measure", "MakeOptimizer", "Penalty", "Step", "optimizer_of"]

Measure = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> a mean over the batch, a tensor without dimensions."""

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@runtime_checkable
class Penalty(Protocol):
    """What a model pays for, besides its loss; such as `qkan.attribution.Sparsity`."""

    def recording(self, model: nn.Module) -> AbstractContextManager[Callable[[], Tensor]]:
        """Yield a function that returns the penalty, with its gradient, of the forward passes within the context."""
        ...


@dataclass(frozen=True)
class Step:
    """How weights move on one batch.

    Args:
        model: the model being trained.
        optimizer: over parameters of it.
        loss: a mean over the batch.
        clip_norm: the largest Euclidean norm of all gradients together; None leaves them.
        sparsity: a penalty added to the loss.

    Raises:
        TypeError: `sparsity` or `clip_norm` is of another type.
        ValueError: `clip_norm` is not positive and finite, or the optimizer moves parameters of another model.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Measure
    clip_norm: float | None = None
    sparsity: Penalty | None = None

    def __post_init__(self) -> None:
        own = {id(parameter) for parameter in self.model.parameters()}
        held = self.parameters
        foreign = sum(id(parameter) not in own for parameter in held)
        if foreign:
            raise ValueError(
                f"optimizer must be over parameters of the model; {foreign} of its {len(held)} are not: build it from "
                "model.parameters(), or give a function of the parameters"
            )
        _check_clip_norm(self.clip_norm)
        if self.sparsity is not None and not isinstance(self.sparsity, Penalty):
            raise TypeError(
                "sparsity must offer recording(model), as qkan.attribution.Sparsity does; "
                f"got {type(self.sparsity).__name__}"
            )

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def names(self) -> tuple[str, ...]:
        """What `take` measures."""
        return ("train_loss",) if self.sparsity is None else ("train_loss", "penalty")

    def take(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one step, and return the loss [] or the loss and the penalty [2] before it.

        A closure, because some optimizers evaluate the loss more than once. Where any of these evaluations is NaN, so
        is what is returned: a line search cannot compare NaN, and may end there with finite weights.
        """
        seen: list[Tensor] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            total, measured = self._evaluate(inputs, targets)
            total.backward()  # type: ignore[no-untyped-call]
            if self.clip_norm is not None:
                clip_grad_norm_(self.parameters, self.clip_norm)
            seen.append(measured)
            return total.detach()

        self.optimizer.step(closure)  # type: ignore[arg-type]  # torch annotates float
        if len(seen) == 1:
            return seen[0]
        broken = torch.stack(seen).isnan().any()
        return torch.where(broken, math.nan, seen[0])

    def _evaluate(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is minimised, and what is written down."""
        if self.sparsity is None:
            value = self.loss(self.model(inputs), targets)
            return value, value.detach()
        with self.sparsity.recording(self.model) as penalty:
            value = self.loss(self.model(inputs), targets)
            paid = penalty()
        return value + paid, torch.stack([value.detach(), paid.detach().to(value)])


def optimizer_of(optimizer: Optimizer | MakeOptimizer | None, model: nn.Module) -> Optimizer:
    """Return an optimizer for a model: Adam with a learning rate of 1e-3 unless told.

    Raises:
        TypeError: `optimizer` is neither one nor a function that makes one.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if optimizer is None:
        return torch.optim.Adam(model.parameters(), lr=1e-3)
    made = optimizer(model.parameters()) if callable(optimizer) else optimizer
    if not isinstance(made, Optimizer):
        raise TypeError(
            "optimizer must be a torch optimizer, or a function that makes one from parameters, such as "
            f"torch.optim.LBFGS; got {'one that makes ' if callable(optimizer) else ''}{type(made).__name__}"
        )
    return made


def _check_clip_norm(clip_norm: float | None) -> None:
    if clip_norm is None:
        return
    if not isinstance(clip_norm, (int, float)) or isinstance(clip_norm, bool):
        raise TypeError(f"clip_norm must be a number, or None; got {clip_norm!r}")
    if not 0 < clip_norm < math.inf:
        raise ValueError(f"clip_norm must be a positive, finite number; got {clip_norm}")
