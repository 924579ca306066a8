"""A bar that shows how far a training run is."""

from types import TracebackType
from typing import TYPE_CHECKING, Any

from qkan.history import History

if TYPE_CHECKING:
    from tqdm import tqdm  # type: ignore[import-untyped]

__all__ = ["Progress"]

_HIDDEN = ("epoch", "seconds", "test_seconds")


class Progress:
    """A tqdm bar over the steps of a run; without `shown` it costs nothing.

    Args:
        steps: of one epoch.
        epochs: of the run.
        history: of the epochs before a resumption.
        shown: whether there is a bar at all.
        begun: steps of the next epoch before a resumption.
    """

    def __init__(self, steps: int, epochs: int, history: History, shown: bool, begun: int = 0) -> None:
        self.epochs = epochs
        self._bar = _bar(steps * epochs, steps * len(history) + begun) if shown else None
        self.show(history)

    def step(self) -> None:
        """Count a step."""
        if self._bar is not None:
            self._bar.update()

    def show(self, history: History) -> None:
        """Show what the last epoch has measured."""
        if self._bar is None:
            return
        self._bar.set_description(f"epoch {len(history)}/{self.epochs}", refresh=False)
        if len(history):
            seen = {name: value for name, value in history.last.items() if name not in _HIDDEN}
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in seen.items()})

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar(total: int, initial: int) -> "tqdm[Any]":
    from tqdm import tqdm

    # twice a second at most: a log file keeps every refresh
    return tqdm(total=total, initial=initial, unit="batch", mininterval=0.5)
