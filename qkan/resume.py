"""Checkpoints of a training run: all that is needed to go on as if it had never stopped."""

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkan.files import replace_atomically
from qkan.history import History

__all__ = ["TrainingState"]

_FORMAT = "qkan training checkpoint 1"


@dataclass(frozen=True)
class TrainingState:
    """The moving parts of a run and the settings that it must keep.

    Args:
        model: the model being trained.
        optimizer: its optimizer.
        generator: what shuffles.
        settings: plain values by name; a checkpoint is continued only under the same ones.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    settings: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))

    def save(self, path: str | os.PathLike[str], history: History) -> None:
        """Write the state atomically."""
        content = {
            "format": _FORMAT,
            "settings": dict(self.settings),
            "history": history.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "random": _random_state(self.device),
        }
        with replace_atomically(path) as file:
            torch.save(content, file)

    def load(self, path: str | os.PathLike[str], epochs: int) -> tuple[History, Mapping[str, Tensor]]:
        """Put the model, the optimizer and the generator where the checkpoint left them.

        Nothing is changed unless the whole file was read and fits this run.

        Args:
            path: what `save` wrote.
            epochs: the epochs this run is to have: the checkpoint must not hold more.

        Returns:
            the history, and the states of torch's own generators (layers such as dropout draw from them).

        Raises:
            ValueError: the file is missing, is not a whole checkpoint, or belongs to a run with other settings or
                with more epochs.
        """
        content = _read(Path(path))
        _compare(content["settings"], self.settings, path)
        history = History.from_dict(content["history"])
        if len(history) > epochs:
            raise ValueError(f"{path} holds {len(history)} epochs, more than epochs={epochs}: ask for at least these")
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        # torch's own generator belongs to the caller: `random` sets and restores it
        if self.generator is not torch.default_generator:
            self.generator.set_state(content["generator"])
        return history, content["random"]

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


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"no checkpoint at {path}: start the run without resume, or name the file it wrote")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load reports a damaged file in all these ways, by where the damage is
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is truncated, damaged, or not a checkpoint of a training run: delete it and start the run again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a checkpoint of a training run ({_FORMAT!r}): name the file that fit wrote")
    return content


def _compare(saved: Mapping[str, Any], wanted: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    names = sorted(name for name in {*saved, *wanted} if saved.get(name) != wanted.get(name))
    if names:
        changes = "; ".join(f"{name}: was {_short(saved.get(name))}, now {_short(wanted.get(name))}" for name in names)
        raise ValueError(f"{path} belongs to a run with other settings ({changes}): use the same, or start a new run")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
