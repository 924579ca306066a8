"""One step of an optimizer: the loss, the penalty, the gradient, its clipping."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.swa_utils import AveragedModel

from qkan._checks import positive_integer
from qkan.training.averaging import averaged
from qkan.training.engine import Engine, Plain

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
        average_decay: of moving averages of the weights, see `averaged`; None keeps none.
        accumulate: how many parts a batch is taken in, one after the other, to save memory; the step is the same.
        engine: where the passes happen.

    Attributes:
        forward: what a step calls: the model as the engine prepared it.
        average: the model of averaged weights, if there is one.

    Raises:
        TypeError: `sparsity`, `clip_norm` or `accumulate` is of another type.
        ValueError: `clip_norm` is not positive and finite, `accumulate` below 1, the optimizer moves parameters of
            another model, or it searches along lines on several processes.
    """

    model: nn.Module
    optimizer: Optimizer
    loss: Measure
    clip_norm: float | None = None
    sparsity: Penalty | None = None
    average_decay: float | None = None
    accumulate: int = 1
    engine: Engine = field(default_factory=Plain)
    forward: nn.Module = field(init=False)
    average: AveragedModel | None = field(init=False)

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
        positive_integer("accumulate", self.accumulate)
        if isinstance(self.optimizer, LBFGS) and self.engine.world > 1:
            raise ValueError(
                "LBFGS compares losses within a step, which several processes do not share: use one, or AdamW"
            )
        # the class is frozen; the copy is made before the engine may cut the model
        object.__setattr__(self, "average", averaged(self.model, self.average_decay))
        object.__setattr__(self, "forward", self.engine.prepare(self.model, self.optimizer))

    @property
    def evaluated(self) -> nn.Module:
        """What is measured and kept: the averaged weights, or else the model."""
        return self.model if self.average is None else self.average.module

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer moves."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @property
    def names(self) -> tuple[str, ...]:
        """What `take` measures."""
        return ("train_loss",) if self.sparsity is None else ("train_loss", "penalty")

    def take(self, inputs: Tensor, targets: Tensor, weight: float = 1.0) -> Tensor:
        """Take one step, and return the loss [] or the loss and the penalty [2] before it.

        A closure, because some optimizers evaluate the loss more than once. Where any of these evaluations is NaN, so
        is what is returned: a line search cannot compare NaN, and may end there with finite weights.

        Args:
            inputs: [batch, ...].
            targets: [batch, ...].
            weight: of this batch in the mean over the processes: world · its rows / the rows of all.
        """
        seen: list[Tensor] = []

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            total, measured = self._accumulated(inputs, targets, weight)
            if self.clip_norm is not None:
                self.engine.clip(self.parameters, self.clip_norm)
            seen.append(measured)
            return total

        self.engine.step(self.optimizer, closure)
        if self.average is not None:
            self.average.update_parameters(self.model)
        if len(seen) == 1:
            return seen[0]
        broken = torch.stack(seen).isnan().any()
        return torch.where(broken, math.nan, seen[0])

    def _accumulated(self, inputs: Tensor, targets: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Add the gradients of the parts of a batch; return what was minimised, and what is written down."""
        count = min(self.accumulate, len(targets))
        if count == 1:
            return self._backward(inputs, targets, 1.0, weight)
        parts = list(zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True))
        found = []
        for number, part in enumerate(parts, start=1):
            with nullcontext() if number == count else self.engine.alone(self.forward):
                found.append(self._backward(*part, len(part[1]) / len(targets), weight))
        totals, measured = zip(*found, strict=True)
        return torch.stack(totals).sum(0), torch.stack(measured).sum(0)

    def _backward(self, inputs: Tensor, targets: Tensor, fraction: float, weight: float) -> tuple[Tensor, Tensor]:
        total, measured = self._evaluate(inputs, targets)
        factor = fraction * weight
        self.engine.backward(total if factor == 1 else total * factor)
        if fraction == 1:
            return total.detach(), measured
        return total.detach() * fraction, measured * fraction

    def _evaluate(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is minimised, and what is written down."""
        if self.sparsity is None:
            value = self.loss(self.forward(inputs), targets)
            return value, value.detach()
        with self.sparsity.recording(self.model) as penalty:
            value = self.loss(self.forward(inputs), targets)
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
