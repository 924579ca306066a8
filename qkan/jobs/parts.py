"""Where the data of a job come from: one reader per kind of source."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qkan.data.images import cache_folder, channels_first, load_images
from qkan.data.npz import opened, read_array
from qkan.jobs.config import Data

__all__ = ["Part", "read_parts"]


@dataclass(frozen=True)
class Part:
    """A training or a validation part.

    Args:
        images: all of them, [samples, ...], or a sequence of pairs (image, target) that reads them.
        targets: of images that are a tensor.
        shape: of one image, [channels, height, width], as far as it is known; or of one row of numbers.
        classes: how many, if their names are known.
        names: what a sample is called in an error.
    """

    images: Any
    targets: Any
    shape: tuple[int, ...]
    classes: int | None = None
    names: Callable[[int], str] = "sample {}".format


def read_parts(data: Data) -> tuple[Part, Part | None]:
    """Return the training part and the other one, if there is one.

    Raises:
        ValueError, FileNotFoundError, ImportError, OSError: it cannot be read; the text says why.
    """
    return _READERS[data.source](data)


def _digits(data: Data) -> tuple[Part, Part]:
    train, test, classes = load_images("digits")
    first, second = (Part(part.images, part.labels, tuple(part.images.shape[1:]), classes) for part in (train, test))
    return first, second


def _generated(data: Data) -> tuple[Part, Part]:
    size, generator = data.image_size or 1, torch.Generator().manual_seed(0)
    shape = (data.channels, size, size)

    def part() -> Part:
        images = torch.randint(256, (data.samples, *shape), dtype=torch.uint8, generator=generator)
        targets = torch.randint(data.classes, (data.samples,), generator=generator)
        return Part(images, targets, shape, data.classes)

    return part(), part()


def _npz(data: Data) -> tuple[Part, Part | None]:
    path = data.path or ""
    if not Path(path).is_file():
        raise FileNotFoundError(f"data.path: no file at {path}")
    with opened(path, f"data.path: {path} is no .npz file of plain arrays") as file:
        names = set(file.files)
    train = _arrays(path, "train")
    test = _arrays(path, "test") if {"x_test", "y_test"} <= names else None
    if test is not None and (test.shape, test.targets.dtype) != (train.shape, train.targets.dtype):
        raise ValueError(f"{path}: x_test and y_test must be like x_train and y_train; got {list(test.shape)}")
    return train, test


def _arrays(path: str, part: str) -> Part:
    inputs, targets = read_array(path, f"x_{part}"), read_array(path, f"y_{part}")
    if inputs.dtype == np.uint8 and inputs.ndim in (3, 4):
        images = channels_first(inputs).contiguous()
    elif np.issubdtype(inputs.dtype, np.floating) and inputs.ndim >= 2 and np.isfinite(inputs).all():
        images = torch.from_numpy(inputs.astype(np.float64 if inputs.dtype == np.float64 else np.float32))
    else:
        raise ValueError(
            f"{path}: x_{part} must be uint8 [samples, height, width (, channels)] or finite numbers [samples, ...]; "
            f"got {inputs.dtype} {list(inputs.shape)}"
        )
    if len(targets) != len(inputs) or len(inputs) == 0 or 0 in inputs.shape:
        raise ValueError(f"{path}: x_{part} and y_{part} must hold as many samples; got {len(inputs)}, {len(targets)}")
    return Part(images, _targets(path, f"y_{part}", targets), tuple(images.shape[1:]))


def _targets(path: str, key: str, values: Any) -> Tensor:
    if np.issubdtype(values.dtype, np.floating) and values.ndim == 2 and np.isfinite(values).all():
        return torch.from_numpy(values)
    if values.ndim == 2 and values.shape[1] == 1:  # Keras keeps labels as a column
        values = values[:, 0]
    if np.issubdtype(values.dtype, np.integer) and values.ndim in (1, 3) and values.size and values.min() >= 0:
        return torch.from_numpy(values.astype(np.int64))
    raise ValueError(
        f"{path}: {key} must be classes from 0, [samples] or [samples, height, width], or finite numbers "
        f"[samples, outputs]; got {values.dtype} {list(values.shape)}"
    )


def _folder(data: Data) -> tuple[Part, Part | None]:
    from torchvision.datasets import ImageFolder  # type: ignore[import-untyped]

    root = Path(data.path or "")
    if not (root / "train").is_dir():
        raise FileNotFoundError(f"data.path: {root} must hold a folder train, with a folder of images per class")
    other = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    try:
        parts = [ImageFolder(folder) for folder in (root / "train", other) if folder is not None]
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(f"data.path: {root} is no folder of images per class ({error})") from error
    if len(parts) == 2 and parts[0].classes != parts[1].classes:
        odd = sorted({*parts[0].classes} ^ {*parts[1].classes})
        raise ValueError(f"data.path: {root}: both parts must hold the same classes; {odd[0]} is in one of them alone")
    made = [_read_lazily(part, data, len(part.classes), part.samples) for part in parts]
    return made[0], made[1] if len(made) == 2 else None


def _read_lazily(images: Any, data: Data, classes: int, files: Any = None) -> Part:
    size = data.image_size or 1
    names = Part.names if files is None else lambda number: str(files[number][0])
    return Part(images, None, (3, size, size), classes, names)


def _torchvision(data: Data) -> tuple[Part, Part | None]:
    try:
        from torchvision import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('data.source = "torchvision" needs it: pip install "qkan-torch[train]"') from error
    kind = getattr(datasets, data.name or "", None)
    if data.name not in datasets.__all__ or not isinstance(kind, type):
        raise ValueError(f"data.name must be a class of torchvision.datasets; got {data.name!r}")
    ways: list[tuple[dict[str, Any], ...]] = [({"train": True}, {"train": False})]
    ways += [({"split": "train"}, {"split": "test"}), ({"split": "train"}, {"split": "val"})]
    told: Exception | None = None
    for way in ways:
        try:
            first, second = (_one_of(kind, data, which) for which in way)
            return first, second
        except TypeError as error:
            told = error
        except (RuntimeError, ValueError, OSError) as error:
            if "split" not in str(error):
                raise FileNotFoundError(
                    f"data.path: no {data.name} at {data.path} ({error}): name torchvision's root, or let it use the "
                    "network with data.download = true"
                ) from error
            told = error
    raise ValueError(f"data.name: {data.name} has no training and test part that torchvision would tell apart ({told})")


def _one_of(kind: Any, data: Data, which: dict[str, Any]) -> Part:
    made = kind(data.path or cache_folder(), **which, download=data.download)
    values, labels = getattr(made, "data", None), getattr(made, "targets", None)
    classes = len(made.classes) if getattr(made, "classes", None) else None
    if values is not None and labels is not None:
        images = channels_first(np.asarray(values)).contiguous()
        return Part(images, torch.as_tensor(np.asarray(labels, dtype=np.int64)), tuple(images.shape[1:]), classes)
    if classes is None or data.image_size is None:
        raise ValueError(f"data.image_size is missing: {kind.__name__} holds images of many sizes")
    return _read_lazily(made, data, classes)


def _datasets(data: Data) -> tuple[Part, Part | None]:
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('data.source = "datasets" needs it: pip install "qkan-torch[datasets]"') from error
    if data.path is not None:
        try:
            found = datasets.load_from_disk(data.path)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(f"data.path: no saved data set at {data.path} ({error})") from error
    elif data.download:
        found = datasets.load_dataset(data.name)
    else:
        raise ValueError("data.download is false: give data.path of a data set saved to disk, or allow the network")
    if not isinstance(found, datasets.DatasetDict) or "train" not in found:
        raise ValueError(f"data.path: {data.path or data.name} must hold a part named train")
    other = next((found[name] for name in ("validation", "val", "test") if name in found), None)
    train = _rows(found["train"], data)
    return train, None if other is None else _rows(other, data)


def _rows(part: Any, data: Data) -> Part:
    kinds = {name: type(feature).__name__ for name, feature in part.features.items()}
    image = next((name for name, kind in kinds.items() if kind == "Image"), None)
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    if image is None or label is None:
        raise ValueError(f"a data set needs a column of images and one of class labels; got {kinds}")
    return _read_lazily(_Columns(part, image, label), data, part.features[label].num_classes)


class _Columns:
    """Two columns of a table, as pairs."""

    def __init__(self, rows: Any, image: str, label: str) -> None:
        self.rows, self.image, self.label = rows, image, label

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        row = self.rows[index]
        return row[self.image], row[self.label]


_READERS: dict[str, Callable[[Data], tuple[Part, Part | None]]] = {
    "digits": _digits,
    "torchvision": _torchvision,
    "folder": _folder,
    "npz": _npz,
    "datasets": _datasets,
    "generated": _generated,
}
