"""What a checkpoint holds, checked against the run that is to go on before anything of the run is changed."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from qkan.history import History
from qkan.training.engine import Engine
from qkan.training.fitness import check_alike, check_optimizer, check_tensors
from qkan.training.schedules import Schedule
from qkan.training.steps import Step
from qkan.training.tally import Tally

__all__ = ["Loading", "model_state", "optimizer_state"]

_BROKEN = (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, OverflowError)
"""What torch raises for a state that does not fit, by where it does not."""


@dataclass(frozen=True)
class Loading:
    """A checkpoint that is being taken up.

    Args:
        name: of the checkpoint, for errors.
        content: what it holds.
    """

    name: str
    content: Mapping[str, Any]

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Return a part that is a dictionary.

        Raises:
            ValueError: it is missing or something else.
        """
        value = self.content.get(key)
        if not isinstance(value, Mapping):
            raise ValueError(f"{self.name}: {key} must be a dictionary; got {type(value).__name__}: it is damaged")
        return value

    def history(self) -> History:
        """Return the epochs so far."""
        columns = self.mapping("history")
        with self.reading("history"):
            for name, values in columns.items():
                if not all(type(value) in (int, float) for value in values):
                    raise ValueError(f"{name} must be numbers")
            return History.from_dict(columns)

    def random(self, rank: int, device: torch.device) -> Mapping[str, Tensor] | None:
        """Return the states of torch's own generators in this process; None if it had no part in the run before."""
        with self.reading("random"):
            states = self.content["random"]
            found = [states] if isinstance(states, Mapping) else list(states)  # older ones hold that of one process
            for state in found:
                torch.Generator().set_state(state["cpu"])
                if device.type == "cuda" and "cuda" in state:
                    torch.Generator(device).set_state(state["cuda"])
            return found[rank] if rank < len(found) else None

    def weights(self, model: nn.Module) -> Mapping[str, Any] | None:
        """Return the weights of the best epoch, if they were kept."""
        weights = self.content.get("weights")
        with self.reading("weights"):
            if weights is not None:
                check_tensors(weights, model.state_dict())
        return weights

    def held_out(self) -> Tensor | None:
        """Return the numbers of the samples held out."""
        index = self.content.get("held_out")
        with self.reading("held_out"):
            if index is not None:
                samples = self.mapping("settings")["fit.samples"]
                if index.dtype != torch.int64 or index.dim() != 1 or not 0 < len(index) < samples:
                    raise ValueError(f"must be some of {samples} numbers")
                if index.min() < 0 or index.max() >= samples:
                    raise ValueError(f"must be numbers from 0 to {samples - 1}")
        return index

    def tally(self, step: Step, device: torch.device) -> Tally | None:
        """Return the record of the epoch in the middle of which the checkpoint was written."""
        content = self.content.get("epoch")
        if content is None:
            return None
        with self.reading("epoch"):
            samples = self.mapping("settings")["fit.samples"]
            if not 0 < sum(content["sizes"]) < samples:
                raise ValueError(f"sizes must be of a part of {samples} samples")
            return Tally.from_dict(
                content, self.content["generator"], self.content["others"], device, step.engine, len(step.names)
            )

    def model(self, step: Step) -> None:
        """Put the weights, and their averages, where they were."""
        with self.reading("model"):
            now, saved = step.model.state_dict(), self.mapping("model")
            check_tensors(saved, now)
            step.model.load_state_dict({name: step.engine.part(saved[name], now[name]) for name in now})
        if step.average is not None:
            with self.reading("average"):
                check_tensors(self.mapping("average"), step.average.state_dict())
                step.average.load_state_dict(self.mapping("average"))

    def optimizer(self, step: Step) -> None:
        """Put the optimizer, and what the engine keeps, where they were."""
        with self.reading("optimizer"):
            saved, optimizer = self.mapping("optimizer"), step.optimizer
            check_optimizer(saved, optimizer)
            optimizer.load_state_dict(_laid_out(saved, optimizer, step.engine))
        with self.reading("engine"):
            step.engine.load(self.content.get("engine", {}))

    def scheduler(self, schedule: Schedule) -> None:
        """Put the schedule where it was."""
        if schedule.scheduler is not None:
            with self.reading("scheduler"):
                check_alike(self.mapping("scheduler"), schedule.scheduler.state_dict())
                schedule.scheduler.load_state_dict(dict(self.mapping("scheduler")))

    def generators(self, generator: torch.Generator, others: Sequence[torch.Generator]) -> None:
        """Put the generators where they were at the start of the next epoch, or of the one that goes on."""
        with self.reading("generator"):
            # torch's own generator belongs to the caller: `TrainingState.random` sets and restores it
            target = torch.Generator() if generator is torch.default_generator else generator
            target.set_state(self.content["generator"])
        with self.reading("others"):
            for other, state in zip(others, self.content.get("others", ()), strict=True):
                other.set_state(state)

    @contextmanager
    def all_or_nothing(self, step: Step, schedule: Schedule) -> Iterator[None]:
        """Run a block; where it fails, put the model, the optimizer and the scheduler back where they were."""
        undo = [
            _undo(part) for part in (step.model, step.average, step.optimizer, schedule.scheduler) if part is not None
        ]
        try:
            yield
        except BaseException:
            for restore in undo:
                restore()
            raise

    @contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Run a block that takes up a part; whatever it raises names the part.

        Raises:
            ValueError: the block failed.
        """
        try:
            yield
        except _BROKEN as error:
            told = str(error) or type(error).__name__
            if told.startswith(self.name):
                raise
            reason = " ".join(told.split())
            raise ValueError(f"{self.name}: {key} is damaged or of another run ({reason}): take another") from error


def model_state(model: nn.Module, engine: Engine) -> dict[str, Any]:
    """Return the weights, whole where processes hold parts of them."""
    return {name: _whole(value, engine) for name, value in model.state_dict().items()}


def optimizer_state(optimizer: Optimizer, engine: Engine) -> dict[str, Any]:
    """Return the state of an optimizer, whole where processes hold parts of it."""
    content = optimizer.state_dict()
    state = {
        index: {name: _whole(value, engine) for name, value in values.items()}
        for index, values in content["state"].items()
    }
    return {**content, "state": state}


def _whole(value: Any, engine: Engine) -> Any:
    return engine.whole(value) if isinstance(value, Tensor) else value


def _laid_out(saved: Mapping[str, Any], optimizer: Optimizer, engine: Engine) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: {
            name: engine.part(value, parameters[index]) if _has_shape(value, parameters[index]) else value
            for name, value in values.items()
        }
        for index, values in saved["state"].items()
    }
    return {**saved, "state": state}


def _has_shape(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _undo(part: Any) -> Callable[[], object]:
    before = copy.deepcopy(part.state_dict())
    return lambda: part.load_state_dict(before)
