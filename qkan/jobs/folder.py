"""Checkpoints in a folder: weights in safetensors, the rest as plain tensors, and a list of what is whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

__all__ = ["Folder", "storable"]

_FORMAT = "qkan checkpoint 1"
_WEIGHTS, _STATE, _LIST = "model.safetensors", "state.pt", "manifest.json"
_KEPT = 2


@final
class Folder:
    """Keeps the last two checkpoints of a run, each a folder named by a number.

    `model.safetensors` are the weights, `state.pt` all else, read with `weights_only`, and `manifest.json` holds the
    SHA-256 of both. A checkpoint is written under another name and renamed when it is whole and on the disk.

    Args:
        path: of the folder that holds them.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        newest = self.newest()
        return str(self.path if newest is None else newest)

    def newest(self) -> Path | None:
        """Return the last checkpoint; None if there is none."""
        found = self._all()
        return found[-1] if found else None

    def write(self, content: Mapping[str, Any]) -> None:
        """Write a checkpoint, and remove those before the last one.

        Raises:
            OSError: it cannot be written; nothing is left of it, and those before are kept.
        """
        before = self._all()
        number = 1 + (int(before[-1].name) if before else 0)
        temporary = self.path / f".{number}.{os.getpid()}.tmp"
        try:
            temporary.mkdir(parents=True)
            _write(temporary, content)
            os.replace(temporary, self.path / f"{number:08d}")
            _to_disk(self.path)
        # torch and safetensors tell a full disk in their own ways
        except (OSError, RuntimeError, _error()) as error:
            kept = f"; {before[-1]} is kept" if before else ""
            reason = " ".join(str(error).split())
            raise OSError(f"no checkpoint could be written to {self.path} ({reason}){kept}: make room") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for old in before[: 1 - _KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def read(self) -> dict[str, Any]:
        """Return the last checkpoint.

        Raises:
            ValueError: there is none, or one of its files is missing or damaged; the text names it.
        """
        newest = self.newest()
        if newest is None:
            raise ValueError(f"no checkpoint in {self.path}: start the run without resume")
        _verify(newest)
        state = _state(newest / _STATE)
        return {**state, "model": _weights(newest / _WEIGHTS)}

    def _all(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        found = [path for path in self.path.iterdir() if path.name.isascii() and path.name.isdigit() and path.is_dir()]
        return sorted(found, key=lambda path: int(path.name))


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(storable(content["model"]), folder / _WEIGHTS, metadata={"format": "pt"})
    with open(folder / _STATE, "wb") as file:
        torch.save({name: _on_cpu(value) for name, value in content.items() if name != "model"}, file)
    digests = {name: _digest(folder / name) for name in (_WEIGHTS, _STATE)}
    # no space between: every byte of it counts
    (folder / _LIST).write_text(json.dumps({"format": _FORMAT, "files": digests}, separators=(",", ":")))
    for name in (_WEIGHTS, _STATE, _LIST):
        _to_disk(folder / name)


def storable(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights as safetensors takes them: on the CPU, contiguous, and none sharing its memory with another."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, Mapping):
        return {name: _on_cpu(part) for name, part in value.items()}
    return [_on_cpu(part) for part in value] if isinstance(value, list) else value


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(folder: Path) -> None:
    """Raise unless every file is what was written."""
    try:
        listed = json.loads((folder / _LIST).read_bytes())
        whole = listed["format"] == _FORMAT and {*listed["files"]} == {_WEIGHTS, _STATE} and len(listed) == 2
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder / _LIST} is missing or damaged ({error}): {_remedy(folder)}") from error
    if not whole:
        raise ValueError(f"{folder / _LIST} is not the list of a checkpoint ({_FORMAT!r}): {_remedy(folder)}")
    for name, digest in listed["files"].items():
        try:
            found = _digest(folder / name)
        except OSError as error:
            raise ValueError(f"{folder / name} cannot be read ({error.strerror}): {_remedy(folder)}") from error
        if found != digest:
            raise ValueError(f"{folder / name} is damaged: its SHA-256 is not that of {_LIST}: {_remedy(folder)}")


def _remedy(folder: Path) -> str:
    return f"remove {folder} and go on from the checkpoint before, or start the run again"


def _state(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive can fail anywhere in torch
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is damaged or no checkpoint ({reason}): {_remedy(path.parent)}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{path} must hold a dictionary; got {type(content).__name__}: {_remedy(path.parent)}")
    return content


def _weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, KeyError, _error()) as error:
        raise ValueError(f"{path} is damaged or no safetensors file ({error}): {_remedy(path.parent)}") from error


def _error() -> type[Exception]:
    try:
        from safetensors import SafetensorError
    except ImportError as error:
        raise ImportError('checkpoints need safetensors: pip install "qkan-torch[train]"') from error
    return SafetensorError
