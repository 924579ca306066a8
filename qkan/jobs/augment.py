"""How images and batches are changed: torchvision's transforms, version 2."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from qkan.data.batches import Pair
from qkan.jobs.config import Augment, Data
from qkan.jobs.sources import Mix

__all__ = ["Change", "changes_samples", "evaluation_change", "mix_of", "training_change", "v2"]

Change = Callable[[Any, Any], tuple[Tensor, Any]]
"""(an image of Pillow or bytes [channels, height, width], target) -> numbers, target."""


def v2() -> Any:
    """Return `torchvision.transforms.v2`.

    Raises:
        ImportError: without torchvision.
    """
    try:
        from torchvision.transforms import v2 as transforms  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('changing images needs torchvision: pip install "qkan-torch[train]"') from error
    return transforms


def changes_samples(augment: Augment) -> bool:
    """Whether samples are changed one by one."""
    return augment.crop != "none" or augment.flip or augment.policy != "none" or augment.erase > 0


def training_change(data: Data, augment: Augment, size: int, channels: int, dtype: torch.dtype) -> Change:
    """Return how training images are changed.

    Args:
        data: the size and the scale.
        augment: the random changes.
        size: height and width of the images.
        channels: of the images.
        dtype: of the numbers.
    """
    transforms = v2()
    steps = [] if augment.crop == "resized" else _sized(data, transforms)
    if augment.crop == "resized":
        steps.append(transforms.RandomResizedCrop(size, antialias=True))
    if augment.crop == "pad":
        steps.append(transforms.RandomCrop(size, padding=augment.padding))
    if augment.flip:
        steps.append(transforms.RandomHorizontalFlip())
    policy = _policy(augment, transforms)
    steps += [] if policy is None else [policy]
    steps += _scaled(data, channels, dtype, transforms)
    if augment.erase:
        steps.append(transforms.RandomErasing(p=augment.erase))
    return _Changed(transforms.Compose([transforms.ToImage(), *steps]), channels)


def evaluation_change(data: Data, channels: int, dtype: torch.dtype) -> Change:
    """Return how images of validation data are brought to size and scale."""
    transforms = v2()
    steps = [*_sized(data, transforms), *_scaled(data, channels, dtype, transforms)]
    return _Changed(transforms.Compose([transforms.ToImage(), *steps]), channels)


class _Changed:
    """A class, as workers are sent it."""

    def __init__(self, transform: Any, channels: int) -> None:
        self.transform, self.channels = transform, channels

    def __call__(self, image: Any, target: Any) -> tuple[Tensor, Any]:
        if not isinstance(image, Tensor):
            image = image.convert({1: "L", 3: "RGB"}[self.channels])
        if isinstance(target, Tensor) and target.dim() == 2:
            from torchvision.tv_tensors import Image, Mask  # type: ignore[import-untyped]

            changed, mask = self.transform(Image(image), Mask(target))
            return changed.as_subclass(Tensor), mask.as_subclass(Tensor)
        return self.transform(image).as_subclass(Tensor), target


def _sized(data: Data, transforms: Any) -> list[Any]:
    size = data.image_size
    if size is None:
        return []
    if data.source in ("folder", "datasets"):  # photographs: the middle of the shorter side's enlargement
        return [transforms.Resize(round(size * 8 / 7), antialias=True), transforms.CenterCrop(size)]
    return [transforms.Resize((size, size), antialias=True)]


def _scaled(data: Data, channels: int, dtype: torch.dtype, transforms: Any) -> list[Any]:
    mean, std = (list(values) * (channels if len(values) == 1 else 1) for values in (data.mean, data.std))
    return [transforms.ToDtype(dtype, scale=True), transforms.Normalize(mean, std)]


def _policy(augment: Augment, transforms: Any) -> Any:
    makers = {
        "none": lambda: None,
        "randaugment": lambda: transforms.RandAugment(augment.operations, augment.magnitude),
        "trivialaugment": transforms.TrivialAugmentWide,
        "autoaugment": transforms.AutoAugment,
        "augmix": transforms.AugMix,
    }
    return makers[augment.policy]()


def mix_of(augment: Augment, classes: int) -> Mix | None:
    """Return how batches are mixed: targets become probabilities [batch, classes], smoothed after mixing."""
    chosen = []
    if augment.mixup:
        chosen.append(v2().MixUp(alpha=augment.mixup, num_classes=classes))
    if augment.cutmix:
        chosen.append(v2().CutMix(alpha=augment.cutmix, num_classes=classes))
    if not chosen and not augment.label_smoothing:
        return None
    smoothing = augment.label_smoothing

    def mix(inputs: Tensor, targets: Tensor) -> Pair:
        # one sample would be mixed with itself alone
        if chosen and len(targets) > 1:
            way = chosen[int(torch.randint(len(chosen), ()))]
            inputs, targets = way(inputs, targets)
        else:
            targets = one_hot(targets, classes).to(inputs.dtype)
        return inputs, targets * (1 - smoothing) + smoothing / classes

    return mix
