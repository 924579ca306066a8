"""Save and load trained models: weights in safetensors, the configuration as JSON inside; loading executes no code."""

import json
import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from qkan.ansatz import Ansatz
from qkan.files import replace_atomically
from qkan.layers.activation import QKANActivation
from qkan.layers.bottleneck import (
    BottleneckKANConv1d,
    BottleneckKANConv2d,
    BottleneckKANConv3d,
    BottleneckQKANConv1d,
    BottleneckQKANConv2d,
    BottleneckQKANConv3d,
)
from qkan.layers.conv import QKANConv1d, QKANConv2d, QKANConv3d
from qkan.layers.kan import KANLinear
from qkan.layers.kan_conv import KANConv1d, KANConv2d, KANConv3d
from qkan.layers.linear import QKANLinear
from qkan.layers.snapped import SnappedLinear
from qkan.lowering import LoweredLinear
from qkan.models.hybrid import HQKAN
from qkan.models.kan import KAN
from qkan.models.stack import QKAN
from qkan.models.study import StudyNetwork

__all__ = ["load", "save"]

_KEY = "qkan"
# Version 2 can hold snapped layers; files without any are written as version 1, which older packages read too.
_VERSIONS = (1, 2)
_CLASSES: dict[str, type[nn.Module]] = {
    cls.__name__: cls
    for cls in (
        *(QKANLinear, QKANActivation, LoweredLinear, QKAN, HQKAN, StudyNetwork, SnappedLinear, KANLinear, KAN),
        *(QKANConv1d, QKANConv2d, QKANConv3d, KANConv1d, KANConv2d, KANConv3d),
        *(BottleneckKANConv1d, BottleneckKANConv2d, BottleneckKANConv3d),
        *(BottleneckQKANConv1d, BottleneckQKANConv2d, BottleneckQKANConv3d),
    )
}


@runtime_checkable
class Configured(Protocol):
    """A model that can say, in plain JSON values, with which arguments it is built."""

    def config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a model to one file, atomically: its tensors, and inside, as JSON, how to build it.

    Args:
        model: a `QKANLinear`, `QKANActivation`, `QKAN`, `HQKAN`, `KANLinear`, `KAN`, or network of the study; or what
            `lower`, a measurement or snapping edges made of one.
        path: of the file, by custom ``*.safetensors``.

    Raises:
        TypeError: for a model of another class.
        ValueError: if its base activation has no name.
        ImportError: without safetensors.

    Example:
        >>> import tempfile
        >>> from qkan import QKAN
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> save(QKAN([3, 2], ansatz="rpz"), path)
        >>> load(path).layers[0].options.ansatz.name
        'rpz'
    """
    name = type(model).__name__
    if _CLASSES.get(name) is not type(model) or not isinstance(model, Configured):
        raise TypeError(
            f"model must be one of {', '.join(_CLASSES)}; got {name}. Save such a part of it, or its state_dict()"
        )
    header: dict[str, Any] = {"class": name, "config": model.config()}
    header |= {"lowered": _configs(model, LoweredLinear), "snapped": _configs(model, SnappedLinear)}
    header["version"] = 2 if header["snapped"] or name == SnappedLinear.__name__ else 1
    tensors = {key: tensor.detach().contiguous() for key, tensor in model.state_dict().items()}
    data = _safetensors().torch.save(tensors, metadata={_KEY: json.dumps(header)})
    with replace_atomically(path) as file:
        file.write(data)


def _configs(model: nn.Module, kind: type[LoweredLinear] | type[SnappedLinear]) -> dict[str, dict[str, Any]]:
    """Return the configurations of the layers of one class inside, by name; those of outer layers come first."""
    return {name: module.config() for name, module in model.named_modules() if name and isinstance(module, kind)}


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """Return the model that `save` wrote, with its dtypes, on the given device.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, no safetensors file, a bare state dict, or does not fit its own configuration.
        ImportError: without safetensors.
    """
    path = Path(path)
    tensors, header = _read(path)
    model = _build(path, header)
    _compare(path, model.state_dict(), tensors)
    model.to_empty(device=device)
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor.data = tensor.data.to(tensors[name].dtype).copy_(tensors[name])
    return model


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: name the file that qkan.save wrote")
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict, but a handle
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}). qkan.save writes safetensors; other files, which "
            "can hold code, are not read: torch.load(path, weights_only=True) and model.load_state_dict read weights"
        ) from error
    if _KEY not in metadata:
        raise ValueError(
            f"{path} is a bare state dict: it holds {_listed(tensors)}, but no configuration to build the model from. "
            "Build the model as it was, then model.load_state_dict(safetensors.torch.load_file(path))"
        )
    return tensors, _header(path, metadata[_KEY])


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
        version, name, config = header["version"], header["class"], header["config"]
        replaced = [header.get("lowered", {}), header.get("snapped", {})]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has a damaged configuration ({error!r}): save the model again") from error
    if version not in _VERSIONS:
        known = " and ".join(map(str, _VERSIONS))
        raise ValueError(f"{path} has format version {version!r}, this package reads {known}: upgrade qkan-torch")
    if not isinstance(name, str) or name not in _CLASSES or not all(isinstance(d, dict) for d in [config, *replaced]):
        raise ValueError(f"{path} holds a {name!r}; this package builds {', '.join(_CLASSES)}: upgrade qkan-torch")
    return {"class": name, "config": config, "lowered": replaced[0], "snapped": replaced[1]}


def _build(path: Path, header: dict[str, Any]) -> nn.Module:
    """Build on the meta device: nothing is allocated, nothing drawn, before the file is known to fit."""
    try:
        with torch.device("meta"):
            model = _make(header["class"], header["config"])
            for kind in (SnappedLinear, LoweredLinear):  # lowered layers may be inside of snapped ones
                for name, config in header["lowered" if kind is LoweredLinear else "snapped"].items():
                    model.set_submodule(name, _make(kind.__name__, config))
        return model
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise ValueError(f"{path} has a configuration that builds no {header['class']}: {error}") from error


def _make(name: str, config: dict[str, Any]) -> nn.Module:
    """Return a new object of one of our classes; an inner layer is told by its class and its configuration."""
    arguments, ansatz, inner = dict(config), config.get("ansatz"), config.get("inner")
    if isinstance(ansatz, dict):
        arguments["ansatz"] = Ansatz.from_dict(ansatz)
    if isinstance(inner, dict):
        arguments["inner"] = _make(inner["class"], inner["config"])
    return _CLASSES[name](**arguments)


def _compare(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is not of this model" for name in found if name not in wanted]
    faults += [
        f"{name} has shape {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if faults:
        raise ValueError(f"{path} does not fit its own configuration ({'; '.join(faults)}): save the model again")


def _listed(tensors: dict[str, Tensor]) -> str:
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:4]]
    return ", ".join(shown) + (f" and {len(tensors) - 4} more" if len(tensors) > 4 else "")


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ImportError('qkan.save and qkan.load need safetensors: pip install "qkan-torch[checkpoint]"') from error
    return safetensors
