"""What a training run has measured, epoch by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["Epoch", "History"]

Epoch = Mapping[str, float]
"""One epoch: `epoch` (from 1), `train_loss`, `seconds` (of training), and with validation data `test_loss`,
`test_seconds` and the metrics."""


@dataclass(frozen=True)
class History:
    """The record of a run: one read-only mapping per epoch, all with the same names.

    Example:
        >>> history = History().append({"epoch": 1, "test_loss": 2.0, "top1": 0.3})
        >>> history = history.append({"epoch": 2, "test_loss": 1.5, "top1": 0.2})
        >>> history["top1"]
        [0.3, 0.2]
        >>> history.best("top1")["epoch"], history.best("test_loss")["epoch"], history.last["epoch"]
        (1, 2, 2)
    """

    epochs: tuple[Epoch, ...] = field(default=())

    def append(self, epoch: Epoch) -> "History":
        """Return a history with one epoch more.

        Raises:
            ValueError: the names differ from those of the epochs before.
        """
        if self.epochs and set(epoch) != set(self.last):
            raise ValueError(f"an epoch of this history holds {sorted(self.last)}; got {sorted(epoch)}")
        return History((*self.epochs, MappingProxyType(dict(epoch))))

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """Return one quantity over all epochs."""
        return [epoch[name] for epoch in self._known(name)]

    @property
    def names(self) -> tuple[str, ...]:
        """What was measured."""
        return tuple(self.epochs[0]) if self.epochs else ()

    @property
    def last(self) -> Epoch:
        """The last epoch.

        Raises:
            ValueError: no epoch has been run.
        """
        return self._known()[-1]

    def best(self, name: str, largest: bool | None = None) -> Epoch:
        """Return the first epoch with the best value of `name`.

        Args:
            name: what to compare.
            largest: whether the largest value is the best; by default it is, except for losses and seconds.

        Raises:
            ValueError: no epoch has been run, or `name` was not measured.
        """
        epochs = self._known(name)
        if largest is None:
            largest = not name.endswith(("loss", "seconds"))
        return (max if largest else min)(epochs, key=lambda epoch: epoch[name])

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain lists by name, for JSON and for plots."""
        return {name: self[name] for name in self.names}

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[float]]) -> "History":
        """Build a history from what `to_dict` returned."""
        history = cls()
        for values in zip(*columns.values(), strict=True):
            history = history.append(dict(zip(columns, values, strict=True)))
        return history

    def _known(self, name: str | None = None) -> tuple[Epoch, ...]:
        if not self.epochs:
            raise ValueError("this history is empty: no epoch has been run")
        if name is not None and name not in self.epochs[0]:
            raise ValueError(f"this history holds {', '.join(self.names)}; got {name!r}")
        return self.epochs
