"""What a training run has measured, epoch by epoch."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qkan.files import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Epoch", "History", "larger_is_better"]

Epoch = Mapping[str, float]
"""One epoch: `epoch` (from 1), `train_loss`, with a sparsity penalty `penalty`, with a scheduler `lr`, `seconds` (of
training), and with validation data `test_loss`, the metrics and `test_seconds`."""

_FORMAT = "qkan history 1"
_NON_FINITE = ("NaN", "Infinity", "-Infinity")


def larger_is_better(name: str) -> bool:
    """Whether larger values of a quantity are better: unless it is a loss, a penalty or a time."""
    return not name.endswith(("loss", "penalty", "seconds"))


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
        >>> (history + history)["epoch"]
        [1, 2, 3, 4]
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

    def __add__(self, other: "History") -> "History":
        """Return the history of a run and of the one that went on with the same model; epochs are counted through.

        Raises:
            ValueError: the names differ.
        """
        if not isinstance(other, History):
            return NotImplemented
        if self.epochs and other.epochs and set(self.names) != set(other.names):
            first, second = (sorted(set(one.names) - set(two.names)) for one, two in ((self, other), (other, self)))
            raise ValueError(
                f"the first history alone holds {first}, the second alone {second}: leave these out, with "
                "without(...), and add what both hold"
            )
        return History((*self.epochs, *(_renumbered(epoch, len(self)) for epoch in other.epochs)))

    def without(self, *names: str) -> "History":
        """Return a history without these quantities.

        Raises:
            ValueError: no epoch has been run, or one of them was not measured.
        """
        for name in names:
            self._known(name)
        kept = ({name: value for name, value in epoch.items() if name not in names} for epoch in self.epochs)
        return History(tuple(MappingProxyType(epoch) for epoch in kept))

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[float]:
        """Return one quantity over all epochs."""
        return [epoch[name] for epoch in self._known(name)]

    def array(self, name: str) -> NDArray[np.float64]:
        """Return one quantity over all epochs as a NumPy array, float64 [epochs].

        Raises:
            ValueError: no epoch has been run, or `name` was not measured.
        """
        return np.array(self[name], dtype=np.float64)

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
            largest: whether the largest value is the best; by default it is, except for losses, penalties and seconds.

        Raises:
            ValueError: no epoch has been run, or `name` was not measured.
        """
        epochs = self._known(name)
        if largest is None:
            largest = larger_is_better(name)
        return (max if largest else min)(epochs, key=lambda epoch: epoch[name])

    def plot(self, names: Sequence[str] | None = None) -> "Figure":
        """Draw the curves: `qkan.plot.training_curves`."""
        from qkan.plot import training_curves

        return training_curves(self, names)

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain lists by name, for JSON and for plots."""
        return {name: self[name] for name in self.names}

    @classmethod
    def from_dict(cls, columns: Mapping[str, Sequence[float]]) -> "History":
        """Build a history from what `to_dict` returned.

        Raises:
            ValueError: the lists differ in length.
        """
        rows = zip(*columns.values(), strict=True)
        return cls(tuple(MappingProxyType(dict(zip(columns, values, strict=True))) for values in rows))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history as JSON, atomically; a value that is not finite becomes text, which JSON has for it.

        Raises:
            OSError: the folder does not exist or cannot be written.

        Example:
            >>> import tempfile
            >>> file = Path(tempfile.mkdtemp()) / "history.json"
            >>> history = History().append({"epoch": 1, "train_loss": 0.1})
            >>> history.save(file)
            >>> History.load(file) == history
            True
        """
        columns = {name: [_to_json(value) for value in values] for name, values in self.to_dict().items()}
        write_json(path, {"format": _FORMAT, "epochs": columns})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "History":
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing, no whole JSON, or not a history.
        """
        columns = _read(Path(path))
        return cls.from_dict({name: [_from_json(value) for value in values] for name, values in columns.items()})

    def _known(self, name: str | None = None) -> tuple[Epoch, ...]:
        if not self.epochs:
            raise ValueError("this history is empty: no epoch has been run")
        if name is not None and name not in self.epochs[0]:
            raise ValueError(f"this history holds {', '.join(self.names)}; got {name!r}")
        return self.epochs


def _renumbered(epoch: Epoch, before: int) -> Epoch:
    counted = {"epoch": epoch["epoch"] + before} if "epoch" in epoch else {}
    return MappingProxyType({**epoch, **counted})


def _to_json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _from_json(value: float | str) -> float:
    return float(value) if isinstance(value, str) else value


def _read(path: Path) -> dict[str, list[float | str]]:
    if not path.is_file():
        raise ValueError(f"no history at {path}: name a file that History.save wrote")
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse)
    except ValueError as error:
        raise ValueError(f"{path} is no whole JSON file ({error}): it is damaged, or not a history") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a history ({_FORMAT!r}): name a file that History.save wrote")
    columns = content.get("epochs")
    if not isinstance(columns, dict) or not all(isinstance(column, list) for column in columns.values()):
        raise ValueError(f"{path} must hold a list of numbers per quantity under 'epochs'; it holds something else")
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise ValueError(f"{path} must hold as many epochs of every quantity; got {lengths}")
    for name, column in columns.items():
        wrong = [value for value in column if not _is_number(value)]
        if wrong:
            raise ValueError(f"{path} must hold numbers; got {wrong[0]!r} among {name}")
    return columns


def _is_number(value: Any) -> bool:
    return value in _NON_FINITE if isinstance(value, str) else type(value) in (int, float)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
