"""Checkpoints of a training run: all that is needed to go on as if it had never stopped."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from qkan.history import History
from qkan.training.loading import Loading, model_state, optimizer_state
from qkan.training.schedules import Schedule
from qkan.training.steps import Step
from qkan.training.stopping import EarlyStopping
from qkan.training.stores import Store
from qkan.training.tally import Tally

__all__ = ["Restored", "TrainingState", "describe", "fingerprint"]

_FORMAT = "qkan training checkpoint 1"


@dataclass(frozen=True)
class Restored:
    """What a checkpoint held beside the state of the moving parts.

    Args:
        history: of the epochs so far.
        random: the states of torch's own generators (layers such as dropout draw from them).
        weights: those of the best epoch, if they are kept.
        held_out: the numbers of the samples held out of the data, if any.
        tally: of the epoch in which the checkpoint was written, if it was not at its end.
    """

    history: History = field(default_factory=History)
    random: Mapping[str, Tensor] | None = None
    weights: Mapping[str, Any] | None = None
    held_out: Tensor | None = None
    tally: Tally | None = None


@dataclass(frozen=True)
class TrainingState:
    """The moving parts of a run and the settings that it must keep.

    Args:
        step: the model being trained and its optimizer.
        schedule: of the learning rate.
        generator: what shuffles.
        others: generators of the data's own.
        settings: plain values by name; a checkpoint is continued only under the same ones.
    """

    step: Step
    schedule: Schedule
    generator: torch.Generator
    others: tuple[torch.Generator, ...]
    settings: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next((parameter.device for parameter in self.step.model.parameters()), torch.device("cpu"))

    def tally(self) -> Tally:
        """Return the empty record of an epoch that starts now."""
        return Tally(self.generator.get_state(), [generator.get_state() for generator in self.others])

    def save(
        self,
        store: Store,
        history: History,
        weights: Mapping[str, Any] | None = None,
        held_out: Tensor | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Keep the state, atomically; with a tally it is one in the middle of an epoch.

        Raises:
            OSError: it cannot be written; the checkpoint before is left as it was.
        """
        step, scheduler, start = self.step, self.schedule.scheduler, tally or self.tally()
        content = {
            "format": _FORMAT,
            "settings": dict(self.settings),
            "history": history.to_dict(),
            "model": model_state(step.model, step.engine),
            "optimizer": optimizer_state(step.optimizer, step.engine),
            "scheduler": None if scheduler is None else scheduler.state_dict(),
            "generator": start.order,
            "others": start.others,
            "random": step.engine.gather(_random_state(self.device)),
            "weights": weights,
            "held_out": held_out,
            "epoch": None if tally is None else tally.to_dict(step.engine),
            "average": None if step.average is None else step.average.state_dict(),
            "engine": step.engine.state(),
        }
        if step.engine.rank == 0:
            store.write(content)

    def load(self, store: Store, epochs: int) -> Restored:
        """Put the model, the optimizer, the scheduler and the generators where the checkpoint left them.

        Nothing is changed unless the whole checkpoint was read and fits this run.

        Args:
            store: where `save` kept it.
            epochs: the epochs this run is to have: the checkpoint must not hold more.

        Raises:
            ValueError: there is none, it is damaged, or belongs to a run with other settings or with more epochs.
        """
        content = store.read()
        if content.get("format") != _FORMAT:
            raise ValueError(
                f"{store} is not a checkpoint of a training run ({_FORMAT!r}): name the file that fit wrote"
            )
        loading = Loading(str(store), content)
        with loading.reading("settings"):
            _compare(loading.mapping("settings"), self.settings, store)
        history = loading.history()
        if len(history) > epochs:
            raise ValueError(f"{store} holds {len(history)} epochs, more than epochs={epochs}: ask for at least these")
        restored = Restored(
            history,
            loading.random(self.step.engine.rank, self.device),
            loading.weights(self.step.evaluated),
            loading.held_out(),
            loading.tally(self.step, self.device),
        )
        with loading.all_or_nothing(self.step, self.schedule):
            loading.model(self.step)
            loading.optimizer(self.step)
            loading.scheduler(self.schedule)
            loading.generators(self.generator, self.others)
        return restored

    @contextmanager
    def random(self, states: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Run a block from saved states of torch's own generators, and leave those of the caller as they were."""
        if states is None:
            yield
            return
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(states["cpu"])
            if devices and "cuda" in states:
                torch.cuda.set_rng_state(states["cuda"], self.device)
            yield


def fingerprint(step: Step, schedule: Schedule, stopping: EarlyStopping | None) -> dict[str, Any]:
    """What a resumed run must share with the one before it; the number of epochs and the patience are free.

    What is absent is None, which is what an older checkpoint holds of it.
    """
    groups = [
        {name: value for name, value in group.items() if name != "params"} for group in step.optimizer.param_groups
    ]
    shapes = {name: f"{list(value.shape)} {value.dtype}" for name, value in step.model.state_dict().items()}
    return {
        "fit.parameters": shapes,
        "fit.optimizer": f"{type(step.optimizer).__name__} {groups}",
        "fit.scheduler": _scheduler(schedule),
        "fit.loss": describe(step.loss),
        "fit.clip_norm": step.clip_norm,
        "fit.average_decay": step.average_decay,
        "fit.sparsity": None if step.sparsity is None else describe(step.sparsity),
        "fit.early_stopping": _watched(stopping),
    }


def describe(value: object) -> str:
    """Return the name of a function, or the text of an object without its place in memory, which every process changes.

    Example:
        >>> import functools
        >>> describe(torch.relu), describe(functools.partial(describe))
        ('relu', 'functools.partial(<function describe>)')
    """
    return getattr(value, "__name__", None) or re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _scheduler(schedule: Schedule) -> str | None:
    if schedule.scheduler is None:
        return None
    state = json.dumps(schedule.scheduler.state_dict(), default=describe)
    return f"{type(schedule.scheduler).__name__} on {schedule.on} {state}"


def _watched(stopping: EarlyStopping | None) -> str | None:
    if stopping is None:
        return None
    rule = {name: getattr(stopping, name) for name in ("metric", "min_delta", "restore_best", "largest")}
    return json.dumps(rule)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _compare(saved: Mapping[str, Any], wanted: Mapping[str, Any], store: Store) -> None:
    names = sorted(name for name in {*saved, *wanted} if saved.get(name) != wanted.get(name))
    if names:
        changes = "; ".join(f"{name}: was {_short(saved.get(name))}, now {_short(wanted.get(name))}" for name in names)
        raise ValueError(f"{store} belongs to a run with other settings ({changes}): use the same, or start a new run")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
