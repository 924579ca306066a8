"""The data of a job: read as its configuration says, and divided into a training and a validation part."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Subset

from qkan.data.batches import Pairs
from qkan.data.reading import hold_out
from qkan.jobs import augment as changes
from qkan.jobs.config import Config
from qkan.jobs.parts import Part, read_parts
from qkan.jobs.sources import Arrays, Mix, Place, Samples, Source

__all__ = ["Loaded", "Task", "load"]


@dataclass(frozen=True)
class Task:
    """What a model has to do.

    Args:
        kind: tell one of `outputs` classes, one for every pixel, or so many numbers.
        outputs: how many.
        shape: of an input: [channels, height, width], or [features].
    """

    kind: Literal["classes", "map", "numbers"]
    outputs: int
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        """The first size of an input."""
        return self.shape[0]


@dataclass(frozen=True)
class Loaded:
    """The two parts of the data, and what they are for; `validation` is None where there is none."""

    training: Source
    validation: Source | None
    task: Task


def load(config: Config, place: Place, dtype: torch.dtype = torch.float32) -> Loaded:
    """Read the data of a job.

    Raises:
        ValueError: data or augmentation that do not fit; the text names the key.
        FileNotFoundError: nothing at `data.path`.
        ImportError: a library is needed and missing.
        OSError: a download failed.
    """
    training, validation = read_parts(config.data)
    if config.data.validation is not None:
        if validation is not None:
            raise ValueError("data.validation holds samples out where there is no other part; these data have one")
        training, validation = _divided(training, config.data.validation, config.train.seed)
    task = _task(config, training, validation)
    _check(config, task)
    mix = changes.mix_of(config.augment, task.outputs) if task.kind == "classes" else None
    held_out = None if validation is None else _source(config, validation, task, place, dtype, None, random=False)
    return Loaded(_source(config, training, task, place, dtype, mix, random=True), held_out, task)


def _divided(part: Part, fraction: float, seed: int) -> tuple[Part, Part]:
    numbers = torch.zeros(len(part.images))
    index = hold_out(Pairs(numbers, numbers), fraction, torch.Generator().manual_seed(seed))
    kept = torch.ones(len(part.images), dtype=torch.bool)
    kept[index] = False
    return _taken(part, kept.nonzero().squeeze(1)), _taken(part, index)


def _taken(part: Part, index: Tensor) -> Part:
    numbers = index.tolist()
    names = part.names
    if isinstance(part.images, Tensor):
        return replace(part, images=part.images[index], targets=part.targets[index])
    return replace(part, images=Subset(part.images, numbers), names=lambda number: names(numbers[number]))


def _task(config: Config, training: Part, validation: Part | None) -> Task:
    shape = training.shape if config.data.image_size is None else (training.shape[0], *[config.data.image_size] * 2)
    parts = [training] if validation is None else [training, validation]
    if training.classes is not None:
        return Task("classes", training.classes, shape)
    targets = [part.targets for part in parts if part.targets is not None]
    if targets[0].is_floating_point():
        return Task("numbers", int(torch.tensor(targets[0].shape[1:]).prod()), shape)
    return Task("map" if targets[0].dim() == 3 else "classes", 1 + max(int(part.max()) for part in targets), shape)


def _check(config: Config, task: Task) -> None:
    """Refuse what does not go together."""
    images, augment = len(task.shape) == 3, config.augment
    if not images and (config.data.image_size or changes.changes_samples(augment)):
        raise ValueError(f"augment and data.image_size are for images; these inputs are {list(task.shape)}")
    for name, values in (("mean", config.data.mean), ("std", config.data.std)):
        if len(values) not in (1, task.channels):
            raise ValueError(f"data.{name} must hold 1 or {task.channels} numbers, one per channel; got {len(values)}")
    if task.kind != "classes":
        used = {"mixup": augment.mixup, "cutmix": augment.cutmix, "label_smoothing": augment.label_smoothing}
        used["policy"] = augment.policy != "none"
        wrong = next((name for name, value in used.items() if value), None)
        if wrong:
            raise ValueError(f"augment.{wrong} is for images of one class each; leave it out for this data")
    if augment.crop != "none" and task.shape[-1] != task.shape[-2]:
        raise ValueError(f"augment.crop gives square images; these are {list(task.shape)}: give data.image_size")
    if changes.changes_samples(augment) and task.channels not in (1, 3):
        raise ValueError(f"augment takes images of 1 or 3 channels; these have {task.channels}")


def _source(
    config: Config, part: Part, task: Task, place: Place, dtype: torch.dtype, mix: Mix | None, random: bool
) -> Source:
    data = config.data
    changed = random and changes.changes_samples(config.augment)
    if isinstance(part.images, Tensor) and part.shape == task.shape and not changed:
        # numbers stay as they are
        scale = (data.mean, data.std) if part.images.dtype == torch.uint8 else ((0.0,), (1.0,))
        mean, std = (torch.tensor(values, dtype=dtype).reshape(-1, *[1] * (len(task.shape) - 1)) for values in scale)
        targets = part.targets.to(dtype) if part.targets.is_floating_point() else part.targets
        return Arrays(part.images, targets, mean, std, place, mix)
    if random:
        change = changes.training_change(data, config.augment, task.shape[-1], task.channels, dtype)
    else:
        change = changes.evaluation_change(data, task.channels, dtype)
    images: Any = list(zip(part.images, part.targets, strict=True)) if isinstance(part.images, Tensor) else part.images
    return Samples(images, part.names, change, place, data.workers, mix)
