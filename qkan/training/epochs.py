"""The epochs of a training run, one after the other."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType

import numpy as np
import torch
from torch import Tensor, nn

from qkan.data.batches import Pair
from qkan.data.reading import Reading
from qkan.history import Epoch, History
from qkan.training.evaluation import measure
from qkan.training.progress import Progress
from qkan.training.resume import Restored, TrainingState
from qkan.training.steps import Measure
from qkan.training.stopping import Watch
from qkan.training.stores import Store
from qkan.training.tally import Tally

__all__ = ["Callback", "Run"]

Callback = Callable[[nn.Module, Epoch], bool | None]
"""(model, what the epoch measured) -> True to end the run."""


@dataclass(frozen=True)
class Run:
    """What the epochs of a run share.

    Args:
        state: the moving parts.
        watch: tells when to end.
        training: what is trained on.
        held_out: what is evaluated after every epoch, if anything.
        index: which samples of the data that is, if it is a part of them.
        metrics: evaluated there besides the loss.
        callbacks: called after every epoch.
        store: keeps a checkpoint after every epoch.
        every: and after so many steps within one.
    """

    state: TrainingState
    watch: Watch
    training: Reading
    held_out: Reading | None
    index: Tensor | None
    metrics: Mapping[str, Measure]
    callbacks: Sequence[Callback]
    store: Store | None
    every: int | None = None

    def go(self, restored: Restored, epochs: int, bar: Progress) -> History:
        """Go on until there are so many epochs, or something ends the run."""
        ended, history, tally = False, restored.history, restored.tally
        while len(history) < epochs and not self.watch.done and not ended:
            measured = self._train(history, tally, bar) | self._validate()
            self._require_finite(measured, history)
            self.state.schedule.after_epoch(measured)
            history, tally = history.append({"epoch": len(history) + 1, **measured}), None
            self.watch.see(history.last)
            self._save(history)
            bar.show(history)
            ended = self._call_back(history.last)
        return history

    def _train(self, history: History, begun: Tally | None, bar: Progress) -> dict[str, float]:
        """Go through the data once, or through the rest of an epoch that was begun."""
        start, state = time.perf_counter(), self.state
        step, schedule, device, engine = state.step, state.schedule, state.device, state.step.engine
        tally = begun or state.tally()
        spent, rate = tally.seconds, dict[str, float]()
        for inputs, targets in self._batches(begun):
            own = self.training.share(tally.steps, len(targets), engine.rank, engine.world)
            weight = 1.0 if engine.world == 1 else own * engine.world / self.training.together(tally.steps)
            tally.add(step.take(inputs.to(device), targets.to(device), weight), own)
            rate = schedule.learning_rate
            schedule.after_step()
            bar.step()
            if self.every and tally.steps % self.every == 0 and tally.steps < self.training.steps:
                tally.seconds = spent + time.perf_counter() - start
                self._save_within(history, tally)
        for module in dict.fromkeys((step.model, step.evaluated)):
            engine.agree(module)
        means = dict(zip(step.names, tally.means(engine), strict=True))
        return means | rate | {"seconds": spent + time.perf_counter() - start}

    def _batches(self, begun: Tally | None) -> Iterator[Pair]:
        """Yield the batches of an epoch; one that was begun goes on with the draws that it had made."""
        if begun is None:
            return self.training.epoch(self.state.generator)
        if begun.steps >= self.training.steps:
            steps = f"{begun.steps} steps of an epoch that has {self.training.steps}"
            raise ValueError(f"{self.store}: epoch holds {steps}: it is damaged")
        with torch.random.fork_rng(devices=[]):
            self.state.generator.set_state(begun.order)
            return self.training.epoch(self.state.generator, skip=begun.steps)

    def _save(self, history: History, tally: Tally | None = None) -> None:
        if self.store is not None:
            self.state.save(self.store, history, self.watch.weights, self.index, tally)

    def _save_within(self, history: History, tally: Tally) -> None:
        """Keep a checkpoint in the middle of an epoch, unless the run has diverged since the last one."""
        means = dict(zip(self.state.step.names, tally.means(self.state.step.engine), strict=True))
        self._require_finite(means, history)
        self._save(history, tally)

    def _validate(self) -> dict[str, float]:
        if self.held_out is None:
            return {}
        start, step = time.perf_counter(), self.state.step
        measured = measure(step.evaluated, self.held_out, {"loss": step.loss, **self.metrics}, step.engine)
        return {"test_loss": measured.pop("loss"), **measured, "test_seconds": time.perf_counter() - start}

    def _call_back(self, epoch: Epoch) -> bool:
        """Call all callbacks; return whether one of them ends the run."""
        answers = [callback(self.state.step.evaluated, epoch) for callback in self.callbacks]
        for answer in answers:
            if not isinstance(answer, (bool, np.bool_, NoneType)):
                raise TypeError(f"a callback returns True to end the run, or else None; got {answer!r}")
        return any(answers)

    def _require_finite(self, measured: Mapping[str, float], history: History) -> None:
        losses = {name: value for name, value in measured.items() if name.endswith(("loss", "penalty"))}
        bad = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
        model, epoch = self.state.step.model, len(history) + 1
        if not bad and not _all_finite(self.state.step.parameters):
            bad = [f"parameter {name} is not finite" for name, p in model.named_parameters() if not p.isfinite().all()]
        if bad:
            within = "" if self.every is None else ", or a part of the one after"
            kept = "" if self.store is None or epoch == 1 else f"; {self.store} holds epoch {epoch - 1}{within}"
            raise FloatingPointError(f"training diverged in epoch {epoch} ({bad[0]}): lower the learning rate{kept}")


def _all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers are: by the largest ones, since a sum may overflow, and with a single wait for the device."""
    largest = [torch.linalg.vector_norm(values.detach(), math.inf) for values in tensors if values.numel()]
    if not largest:
        return True
    if len({values.device for values in largest}) > 1:
        largest = [values.cpu() for values in largest]
    return math.isfinite(torch.stack(largest).max().item())  # the largest of NaN and numbers is NaN
