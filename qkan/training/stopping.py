"""When a training run ends early, and which of its weights are kept."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from qkan._checks import positive_integer
from qkan.history import Epoch, History, larger_is_better

__all__ = ["EarlyStopping", "Watch"]


@dataclass(frozen=True)
class EarlyStopping:
    """End a run when a quantity has stopped getting better.

    Args:
        patience: epochs without an improvement after which the run ends.
        metric: what is watched, by its name in the history.
        min_delta: an improvement is by more than this.
        restore_best: at the end, give the model the weights of the epoch that improved last.
        largest: whether larger values are better; by default they are, except for losses, penalties and seconds. Say
            False for an error that is named otherwise.

    Raises:
        TypeError: `patience` is no integer, or another argument of the wrong type.
        ValueError: `patience` is below 1, or `min_delta` negative or infinite.

    Example:
        >>> EarlyStopping(patience=3).improves(0.5, best=0.6)
        True
        >>> EarlyStopping(patience=3, metric="top1", min_delta=0.01).improves(0.605, best=0.6)
        False
    """

    patience: int
    metric: str = "test_loss"
    min_delta: float = 0.0
    restore_best: bool = True
    largest: bool | None = None

    def __post_init__(self) -> None:
        positive_integer("patience", self.patience)
        if not isinstance(self.metric, str):
            raise TypeError(f"metric must be a name in the history, such as 'test_loss'; got {self.metric!r}")
        if not isinstance(self.min_delta, (int, float)) or isinstance(self.min_delta, bool):
            raise TypeError(f"min_delta must be a number; got {self.min_delta!r}")
        if not 0 <= self.min_delta < math.inf:
            raise ValueError(f"min_delta must be a finite number of at least 0; got {self.min_delta}")

    def improves(self, value: float, best: float) -> bool:
        """Whether a value is better than the best before it; any number is better than NaN."""
        largest = larger_is_better(self.metric) if self.largest is None else self.largest
        gain = value - best if largest else best - value
        return gain > self.min_delta or (math.isnan(best) and not math.isnan(value))


class Watch:
    """One run under an `EarlyStopping`: which epoch is the best so far, and its weights.

    Args:
        stopping: the rule; None never ends a run.
        model: the model being trained.
        history: of the epochs before a resumption; they are seen again.
        weights: of the best of these epochs.

    Attributes:
        weights: the state of the model after the best epoch, None unless it is to be restored.
    """

    def __init__(
        self,
        stopping: EarlyStopping | None,
        model: nn.Module,
        history: History | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        self.stopping, self.model = stopping, model
        self._best, self._waited = math.nan, 0
        for epoch in (history or History()).epochs:
            self._improved(epoch)
        self.weights = weights

    @property
    def done(self) -> bool:
        """Whether the run is to end."""
        return self.stopping is not None and self._waited >= self.stopping.patience

    def see(self, epoch: Epoch) -> None:
        """Take note of an epoch, right after it; the first one improves on nothing."""
        if self._improved(epoch) and self.stopping is not None and self.stopping.restore_best:
            self.weights = copy.deepcopy(self.model.state_dict())

    def restore(self) -> None:
        """Give the model the best weights, if they were kept."""
        if self.weights is not None:
            self.model.load_state_dict(self.weights)

    def _improved(self, epoch: Epoch) -> bool:
        if self.stopping is None:
            return False
        value = epoch[self.stopping.metric]
        improved = self.stopping.improves(value, self._best)
        if improved:
            self._best = value
        self._waited = 0 if improved else self._waited + 1
        return improved
