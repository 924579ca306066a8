"""Where the numbers of every epoch go: a table, and the trackers of Accelerate."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from qkan.files import write_csv
from qkan.history import Epoch, History
from qkan.jobs.config import Track

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

__all__ = ["Trackers", "tracker_names"]


def tracker_names(track: Track) -> list[str]:
    """Return the trackers asked for, by the names of Accelerate.

    Raises:
        ImportError: one of them is not installed.
    """
    chosen = {"tensorboard": track.tensorboard, "wandb": track.wandb != "off"}
    found = [name for name, wanted in chosen.items() if wanted]
    for name in found:
        _require(name)
    return found


def _require(name: str) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise ImportError(f'track.{name} needs it: pip install "qkan-torch[{name}]"')


class Trackers:
    """A callback of `fit` that passes on what an epoch has measured.

    Args:
        accelerator: holds the trackers.
        table: the file of comma-separated values; None writes none.
        before: the epochs before a resumption.
    """

    def __init__(self, accelerator: "Accelerator", table: Path | None, before: History) -> None:
        self.accelerator, self.table, self.history = accelerator, table, before

    def start(self, track: Track, out: Path, config: Mapping[str, Any]) -> None:
        """Start the trackers, with the configuration."""
        options = {"wandb": {"mode": track.wandb, "dir": str(out), "name": out.name}} if track.wandb != "off" else {}
        self.accelerator.init_trackers(track.project, config=dict(_flat(config)), init_kwargs=options)

    def __call__(self, model: nn.Module, epoch: Epoch) -> None:
        """Pass an epoch on."""
        self.history = self.history.append(epoch)
        self.accelerator.log(dict(epoch), step=int(epoch["epoch"]))
        if self.table is not None:
            write_csv(self.table, self.history.names, self.history.epochs)


def _flat(values: Mapping[str, Any], at: str = "") -> Any:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value if isinstance(value, (bool, int, float)) else str(value)
