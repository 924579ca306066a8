"""Where the checkpoints of a run are kept: in one file, unless another store is given."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch

from qkan.files import replace_atomically

__all__ = ["Checkpoint", "File", "Store", "store_of"]


@runtime_checkable
class Store(Protocol):
    """Keeps the last checkpoint of a run; its text, `str(store)`, names it in errors."""

    def write(self, content: Mapping[str, Any]) -> None:
        """Keep a checkpoint, wholly or not at all: plain values and tensors by name."""
        ...

    def read(self) -> dict[str, Any]:
        """Return the last checkpoint; without executing anything that it holds.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        ...


Checkpoint = str | os.PathLike[str] | Store
"""A file, or a store of another kind."""


@final
class File:
    """One file, replaced atomically.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the file."""
        with replace_atomically(self.path) as file:
            torch.save(dict(content), file)

    def read(self) -> dict[str, Any]:
        """Return what `write` wrote.

        Raises:
            ValueError: the file is missing, truncated or damaged.
        """
        if not self.path.is_file():
            raise ValueError(f"no checkpoint at {self}: start the run without resume, or name the file it wrote")
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        # torch.load reports a damaged file in all these ways, by where the damage is
        except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{self} is truncated, damaged, or not a checkpoint of a training run: delete it and start the run "
                "again"
            ) from error
        return content if isinstance(content, dict) else {}


def store_of(checkpoint: Checkpoint) -> Store:
    """Return the store of a run: a path means a file."""
    return checkpoint if isinstance(checkpoint, Store) else File(checkpoint)
