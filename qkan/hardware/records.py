"""Records of measurements: what was measured so far, and of what, in a file that is whole at any time."""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qkan.files import replace_atomically

__all__ = ["Record", "digest"]

_FORMAT = "qkan measurement 1"


@dataclass(frozen=True)
class Record:
    """A file with the values measured so far, in the order of the settings.

    Args:
        path: of the file, by custom ``*.npz``; None keeps nothing.
        facts: what is measured, as texts by name; a record is continued only under the same ones.
    """

    path: str | os.PathLike[str] | None
    facts: dict[str, str]

    def load(self, most: int) -> Tensor:
        """Return the values [settings so far], none where there is no file yet, which is then created.

        Args:
            most: settings of the whole measurement.

        Raises:
            ValueError: if the file is damaged, or the record of another measurement.
            OSError: if it cannot be written.
        """
        nothing = torch.empty(0, dtype=torch.float64)
        if self.path is None:
            return nothing
        if not Path(self.path).exists():
            self.save(nothing)  # a folder that does not exist is found before anything is measured
            return nothing
        facts, z = _read(self.path)
        self._compare(facts)
        if z.shape[0] > most:
            raise ValueError(_damaged(self.path))
        return z

    def save(self, z: Tensor) -> None:
        """Write what was measured so far, atomically."""
        if self.path is None:
            return
        with replace_atomically(self.path) as file:
            np.savez(file, format=_FORMAT, facts=json.dumps(self.facts), z=z.numpy())

    def _compare(self, found: dict[str, str]) -> None:
        changes = [
            f"{name} was {_short(found.get(name))}, is {_short(self.facts.get(name))}"
            for name in {**self.facts, **found}
            if found.get(name) != self.facts.get(name)
        ]
        if changes:
            raise ValueError(
                f"{self.path} is the record of another measurement ({'; '.join(changes)}): measure the same, or name "
                "another record"
            )


def digest(parts: Iterable[object]) -> str:
    """Return a fingerprint of tensors on the CPU, bit by bit, and of anything else by its ``repr``."""
    found = hashlib.sha256()
    for part in parts:
        found.update(repr(part.shape if isinstance(part, Tensor) else part).encode())
        if isinstance(part, Tensor):
            found.update(part.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, str], Tensor]:
    try:
        # opened here, because np.load does not close a damaged archive
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            if str(file["format"]) != _FORMAT:
                raise ValueError(str(file["format"]))
            facts = {str(name): str(text) for name, text in json.loads(str(file["facts"])).items()}
            return facts, torch.from_numpy(file["z"]).to(torch.float64).flatten()
    # in all these ways numpy reports a damaged file, by where the damage is
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(_damaged(path)) from error


def _damaged(path: str | os.PathLike[str]) -> str:
    return f"{path} is truncated, damaged, or no record of a measurement: delete it and measure again"


def _short(text: str | None) -> str:
    text = str(text)
    return text if len(text) <= 100 else f"{text[:100]}..."
