"""Learning rates that change: when a scheduler of torch is stepped, and on what."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

__all__ = ["Schedule", "ScheduleOn", "Scheduler"]

ScheduleOn = Literal["epoch", "step", "train_loss", "test_loss"]

Scheduler = LRScheduler | Callable[[Optimizer], LRScheduler]
"""A scheduler over the optimizer of the run, or a function that makes one from it."""


@dataclass(frozen=True)
class Schedule:
    """A scheduler and the moment of its steps.

    Args:
        scheduler: None leaves the learning rate alone.
        on: "epoch", "step", or the loss that a `ReduceLROnPlateau` reads after every epoch.
    """

    scheduler: LRScheduler | None = None
    on: ScheduleOn = "epoch"

    @classmethod
    def of(
        cls, scheduler: Scheduler | None, on: ScheduleOn | None, optimizer: Optimizer, validated: bool
    ) -> "Schedule":
        """Return the schedule of a run.

        Args:
            scheduler: of any kind that torch has.
            on: by default "epoch", and for `ReduceLROnPlateau` the validation loss, or the training loss without
                validation data.
            optimizer: of the run.
            validated: whether there are validation data.

        Raises:
            TypeError: `scheduler` is neither a scheduler nor a function that makes one.
            ValueError: the scheduler is that of another optimizer, or `on` does not suit it.
        """
        if scheduler is None:
            if on is not None:
                raise ValueError(f"schedule_on says when a scheduler is stepped; got {on!r} without scheduler=")
            return cls()
        made = scheduler if isinstance(scheduler, LRScheduler) else _made(scheduler, optimizer)
        if made.optimizer is not optimizer:
            raise ValueError(
                "scheduler must be over the optimizer of this run: give that one as optimizer=, or scheduler as a "
                "function of the optimizer"
            )
        plateau = isinstance(made, ReduceLROnPlateau)
        chosen: ScheduleOn = on or (("test_loss" if validated else "train_loss") if plateau else "epoch")
        _check_moment(chosen, type(made).__name__, plateau, validated)
        return cls(made, chosen)

    @property
    def learning_rate(self) -> dict[str, float]:
        """The current learning rate of the first parameter group as `lr`; nothing without a scheduler."""
        return {} if self.scheduler is None else {"lr": float(self.scheduler.optimizer.param_groups[0]["lr"])}

    def after_step(self) -> None:
        """Follow a step of the optimizer."""
        if self.scheduler is not None and self.on == "step":
            self.scheduler.step()

    def after_epoch(self, measured: Mapping[str, float]) -> None:
        """Follow an epoch and what was measured in it."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(measured[self.on])
        elif self.scheduler is not None and self.on == "epoch":
            self.scheduler.step()


def _made(scheduler: Callable[[Optimizer], LRScheduler], optimizer: Optimizer) -> LRScheduler:
    made = scheduler(optimizer) if callable(scheduler) else scheduler
    if not isinstance(made, LRScheduler):
        raise TypeError(
            "scheduler must be a torch scheduler, or a function that makes one from the optimizer; "
            f"got {'one that makes ' if callable(scheduler) else ''}{type(made).__name__}"
        )
    return made


def _check_moment(on: str, kind: str, plateau: bool, validated: bool) -> None:
    if on not in get_args(ScheduleOn):
        raise ValueError(f"schedule_on must be one of {', '.join(get_args(ScheduleOn))}; got {on!r}")
    if plateau != on.endswith("loss"):
        wanted = (
            "a loss: schedule_on='test_loss' or 'train_loss'" if plateau else "no loss: schedule_on='epoch' or 'step'"
        )
        raise ValueError(f"{kind} reads {wanted}; got {on!r}")
    if on == "test_loss" and not validated:
        raise ValueError("schedule_on='test_loss' needs validation data: give validation=, or say 'train_loss'")
