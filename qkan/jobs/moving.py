"""The optimizer and the learning rate of a job."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from qkan.jobs.config import Optimizer, Schedule
from qkan.jobs.typed import tuples

__all__ = ["factor", "make_optimizer", "make_schedule"]

_FIRST = 0.01


def make_optimizer(optimizer: Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """Return an optimizer of torch over what is trained of a model.

    Raises:
        ValueError: there is no such class, it does not take an option, or there is nothing to train.
    """
    found = getattr(torch.optim, optimizer.name, None)
    kind = found if isinstance(found, type) and issubclass(found, torch.optim.Optimizer) else torch.optim.Optimizer
    if kind is torch.optim.Optimizer:
        raise ValueError(f"optimizer.name must be a class of torch.optim, such as AdamW; got {optimizer.name!r}")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if "lr" in optimizer.options:
        raise ValueError("optimizer.options.lr: the learning rate is optimizer.lr")
    make: Callable[..., torch.optim.Optimizer] = kind
    try:
        return make(parameters, lr=optimizer.lr, **tuples(optimizer.options))
    except (TypeError, ValueError, RuntimeError, IndexError, AssertionError) as error:
        raise ValueError(f"optimizer.options: {optimizer.name} cannot be made ({error})") from error


def make_schedule(schedule: Schedule, epochs: int, steps: int) -> Callable[[torch.optim.Optimizer], LambdaLR] | None:
    """Return what makes the scheduler of a run, to be stepped after every step; None where the rate stays."""
    if schedule.kind == "constant" and not schedule.warmup:
        return None
    warmup, total = round(schedule.warmup * steps), epochs * steps

    return lambda optimizer: LambdaLR(optimizer, lambda step: factor(schedule, step, warmup, total))


def factor(schedule: Schedule, step: int, warmup: int, total: int) -> float:
    """Return the part of the learning rate that a step takes.

    Linear from 1 % to 1 over the warm-up; then, with t from 0 to 1 over the other steps and f the final part,
    f + (1 - f) (1 + cos πt) / 2 (Loshchilov & Hutter 2017, arXiv 1608.03983) or f + (1 - f) (1 - t)^power.

    Args:
        schedule: the kind.
        step: from 0.
        warmup: steps of the warm-up.
        total: steps of the run.

    Example:
        >>> [round(factor(Schedule("cosine"), step, 1, 5), 3) for step in range(5)]
        [0.01, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup:
        return _FIRST + (1 - _FIRST) * step / warmup
    t = min(1.0, (step - warmup) / max(1, total - warmup))
    falling = {
        "constant": 1.0,
        "cosine": (1 + math.cos(math.pi * t)) / 2,
        "polynomial": float((1 - t) ** schedule.power),
    }
    return schedule.final + (1 - schedule.final) * falling[schedule.kind]
