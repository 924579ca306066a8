"""The model of a job: one of the package by its name, or what a builder returns."""

import importlib
import inspect
from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import nn

from qkan.jobs.config import Model
from qkan.jobs.data import Task
from qkan.jobs.typed import tuples
from qkan.models import baselines, study
from qkan.models.hybrid import HQKAN
from qkan.models.kan import KAN
from qkan.models.stack import QKAN

__all__ = ["build", "names"]

_STACKS: dict[str, Callable[..., nn.Module]] = {"QKAN": QKAN, "KAN": KAN}
_CHANNELS = ("in_channels", "channels", "input_channels")
_OUTPUTS = ("classes", "num_classes", "out_features")


def names() -> list[str]:
    """Return the models that are known by name."""
    return [*study.MODELS, *baselines.MODELS, *_STACKS, "HQKAN"]


def build(model: Model, task: Task, seed: int, trust: bool = False) -> nn.Module:
    """Build a model with initial weights of a seed.

    - `hqkan-44` and the others of the study, which take images of 32 x 32: options are those of the quantum core.
    - `SimpleKAGNConv` and the others of `qkan.models.baselines`: options are those of `baseline`.
    - `QKAN`, `KAN`: `hidden` lists the widths between the inputs, all pixels of an image, and the outputs.
    - `HQKAN`: options are its own.
    - `module:function`: a builder in `qkan.models`, such as `qkan.models.baselines:baseline`, called with the options;
      arguments named `in_channels` or `classes` (or `channels`, `num_classes`) come from the data unless given. A
      builder elsewhere is code that a file names: it needs `trust`.

    Args:
        model: the name and the options.
        task: what the data ask for.
        seed: of the initial weights.
        trust: whether builders outside of `qkan.models` may be called.

    Raises:
        ValueError: an unknown name, options that the model does not take, or a builder that is not trusted.
    """
    maker, options = _maker(model, task, trust)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = maker(**options)
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"model.options: {model.name} cannot be built ({error})") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"model.name: {model.name} must return a torch module; got {type(made).__name__}")
    return made


def _maker(model: Model, task: Task, trust: bool) -> tuple[Callable[..., Any], dict[str, Any]]:
    name, options = model.name, dict(model.options)
    if ":" in name:
        builder = _builder(name, trust)
        return builder, _told(builder, task) | options
    if name in study.MODELS:
        return study.StudyNetwork, {"name": name, "channels": task.channels, "classes": task.outputs} | options
    if name in baselines.MODELS:
        known = {"model": name, "in_channels": task.channels, "classes": task.outputs}
        return baselines.baseline, known | tuples(options)
    if name in _STACKS:
        return _flattened(_STACKS[name], _widths(options, task)), tuples(options)
    if name == "HQKAN":
        return _flattened(HQKAN, prod(task.shape), task.outputs), tuples(options)
    raise ValueError(f"model.name must be one of {', '.join(names())}, or module:function; got {name!r}")


def _widths(options: dict[str, Any], task: Task) -> list[Any]:
    hidden = options.pop("hidden", [])
    if not isinstance(hidden, list):
        raise ValueError(f"model.options.hidden must be a list of widths; got {hidden!r}")
    return [prod(task.shape), *hidden, task.outputs]


def _flattened(kind: Callable[..., nn.Module], *sizes: Any) -> Callable[..., nn.Module]:
    return lambda **options: nn.Sequential(nn.Flatten(), kind(*sizes, **options))


def _builder(name: str, trust: bool) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    own = module == "qkan.models" or module.startswith("qkan.models.")
    if not own and not trust:
        raise ValueError(
            f"model.name: {name} is code outside of qkan.models: run the command with --trust-code to import it"
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(f"model.name: there is no {name} ({error})") from error
    # not what a module of ours has imported
    if not callable(found) or (own and not str(getattr(found, "__module__", "")).startswith("qkan.models")):
        raise ValueError(f"model.name: {name} is no function that builds a model")
    builder: Callable[..., Any] = found
    return builder


def _told(builder: Callable[..., Any], task: Task) -> dict[str, Any]:
    """Return what the data tell of the arguments of a builder."""
    try:
        parameters = inspect.signature(builder).parameters
    except ValueError:
        return {}
    told = {name: task.channels for name in _CHANNELS if name in parameters}
    return told | {name: task.outputs for name in _OUTPUTS if name in parameters}
