"""The epochs of a training run, one after the other."""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType

import numpy as np
import torch
from torch import Tensor, nn

from qkan.data.batches import Loader
from qkan.data.reading import Reading
from qkan.history import Epoch, History
from qkan.training.evaluation import evaluate, weighted_means
from qkan.training.progress import Progress
from qkan.training.resume import TrainingState
from qkan.training.steps import Measure
from qkan.training.stopping import Watch

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
        checkpoint: written after every epoch.
    """

    state: TrainingState
    watch: Watch
    training: Reading
    held_out: Reading | None
    index: Tensor | None
    metrics: Mapping[str, Measure]
    callbacks: Sequence[Callback]
    checkpoint: str | os.PathLike[str] | None

    def go(self, history: History, epochs: int, bar: Progress) -> History:
        """Go on until there are so many epochs, or something ends the run."""
        ended = False
        while len(history) < epochs and not self.watch.done and not ended:
            measured = self._train(bar) | self._validate()
            self._require_finite(measured, len(history) + 1)
            self.state.schedule.after_epoch(measured)
            history = history.append({"epoch": len(history) + 1, **measured})
            self.watch.see(history.last)
            if self.checkpoint is not None:
                self.state.save(self.checkpoint, history, self.watch.weights, self.index)
            bar.show(history)
            ended = self._call_back(history.last)
        return history

    def _train(self, bar: Progress) -> dict[str, float]:
        """Go through the data once; the losses stay on the device until the end, so that no step waits for another."""
        start, state = time.perf_counter(), self.state
        step, schedule, device = state.step, state.schedule, state.device
        losses, sizes = [], []
        rate: dict[str, float] = {}
        for inputs, targets in self.training.epoch(state.generator):
            losses.append(step.take(inputs.to(device), targets.to(device)))
            sizes.append(len(targets))
            rate = schedule.learning_rate
            schedule.after_step()
            bar.step()
        means = dict(zip(step.names, weighted_means(losses, sizes), strict=True))
        return means | rate | {"seconds": time.perf_counter() - start}

    def _validate(self) -> dict[str, float]:
        if self.held_out is None:
            return {}
        start, step, held_out = time.perf_counter(), self.state.step, self.held_out
        size = None if isinstance(held_out.source, Loader) else held_out.size
        measured = evaluate(step.model, held_out.source, batch_size=size, loss=step.loss, metrics=self.metrics)
        return {"test_loss": measured.pop("loss"), **measured, "test_seconds": time.perf_counter() - start}

    def _call_back(self, epoch: Epoch) -> bool:
        """Call all callbacks; return whether one of them ends the run."""
        answers = [callback(self.state.step.model, epoch) for callback in self.callbacks]
        for answer in answers:
            if not isinstance(answer, (bool, np.bool_, NoneType)):
                raise TypeError(f"a callback returns True to end the run, or else None; got {answer!r}")
        return any(answers)

    def _require_finite(self, measured: Mapping[str, float], epoch: int) -> None:
        losses = {name: value for name, value in measured.items() if name.endswith(("loss", "penalty"))}
        bad = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
        model, checkpoint = self.state.step.model, self.checkpoint
        if not bad and not _all_finite(self.state.step.parameters):
            bad = [f"parameter {name} is not finite" for name, p in model.named_parameters() if not p.isfinite().all()]
        if bad:
            kept = "" if checkpoint is None or epoch == 1 else f"; {checkpoint} holds epoch {epoch - 1}"
            raise FloatingPointError(f"training diverged in epoch {epoch} ({bad[0]}): lower the learning rate{kept}")


def _all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all numbers are: by the largest ones, since a sum may overflow, and with a single wait for the device."""
    largest = [torch.linalg.vector_norm(values.detach(), math.inf) for values in tensors if values.numel()]
    if not largest:
        return True
    if len({values.device for values in largest}) > 1:
        largest = [values.cpu() for values in largest]
    return math.isfinite(torch.stack(largest).max().item())  # the largest of NaN and numbers is NaN
