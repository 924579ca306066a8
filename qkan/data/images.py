"""Images in memory, and the three data sets of the image study: digits, MNIST, CIFAR-100."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qkan.data.batches import index_batches
from qkan.data.npz import Arrays, Split, read_npz

__all__ = ["DATA_SETS", "Images", "cache_folder", "channels_first", "load_images"]


class Images:
    """Images as bytes in memory, turned into floats batch by batch.

    A byte takes a quarter of a float, and no step waits for the decoding of files: all of CIFAR-100 is 184 MB.

    Args:
        images: uint8 [samples, channels, height, width].
        labels: int64 [samples], on the same device.

    Raises:
        ValueError: another type or shape.

    Example:
        >>> images = Images(torch.full((3, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(3))
        >>> [(x.shape[0], x.max().item(), y.tolist()) for x, y in images.batches(2)]
        [(2, 1.0, [0, 1]), (1, 1.0, [2])]
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        if images.dtype != torch.uint8 or images.dim() != 4:
            raise ValueError(
                f"images must be uint8 [samples, channels, height, width]; got {images.dtype} {list(images.shape)}"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(images)}], one per image; got {labels.dtype} {list(labels.shape)}"
            )
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.images.shape[1]

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images float32 [batch, channels, height, width] in [-1, 1] and labels [batch].

        Shuffled by the generator, or in order without one.
        """
        for index in index_batches(len(self), batch_size, generator, self.images.device):
            yield self.images[index].float().div_(127.5).sub_(1), self.labels[index]

    def take(self, index: Tensor) -> "Images":
        """Return the images of these numbers alone: int64 [samples]."""
        index = index.to(self.images.device)
        return Images(self.images[index], self.labels[index])

    def digest(self) -> str:
        """Return a short checksum of the content, which tells whether two runs saw the same data."""
        total = hashlib.sha256()
        for tensor in (self.images, self.labels):
            total.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return total.hexdigest()[:16]


@dataclass(frozen=True)
class DataSet:
    """What the arrays of a data set must look like.

    Args:
        classes: the number of labels.
        shape: height, width and channels of one image.
        padding: rows and columns of zeros added on each side (the study's network takes 32 x 32).
        torchvision: the name of its class there, if it has one.
    """

    classes: int
    shape: tuple[int, int, int]
    padding: int = 0
    torchvision: str | None = None


DATA_SETS = {
    "digits": DataSet(10, (32, 32, 1)),
    "mnist": DataSet(10, (28, 28, 1), padding=2, torchvision="MNIST"),
    "cifar100": DataSet(100, (32, 32, 3), torchvision="CIFAR100"),
}


def load_images(
    name: str, path: str | os.PathLike[str] | None = None, device: torch.device | str | None = None
) -> tuple[Images, Images, int]:
    """Load a data set into memory.

    - `digits`: 1,797 digits of 8 x 8, which come with scikit-learn, enlarged 4 times by nearest neighbour. Every fifth
      of each class is held out; the same writers are in both parts, which makes it an easy set.
    - `mnist`: 28 x 28, padded with zeros to 32 x 32.
    - `cifar100`: 32 x 32 in colour, 100 classes.

    Args:
        name: one of the above.
        path: for `mnist` and `cifar100`: a folder in torchvision's layout (its `root`), or an `.npz` file with the
            arrays `x_train`, `y_train`, `x_test`, `y_test` of Keras. Without it torchvision reads, and downloads if
            need be, `qkan` in the user's cache directory (`$XDG_CACHE_HOME` or `~/.cache`).
        device: where to hold the data.

    Returns:
        training images, test images, the number of classes.

    Raises:
        ValueError: an unknown name, or a file whose arrays do not fit.
        FileNotFoundError: nothing at `path`, or no data there.
        ImportError: scikit-learn or torchvision is needed and missing.
        OSError: the download failed.
    """
    if name not in DATA_SETS:
        raise ValueError(f"data set must be one of {', '.join(DATA_SETS)}; got {name!r}")
    data_set = DATA_SETS[name]
    if data_set.torchvision is None:
        arrays = _digits(path)
    elif path is not None and Path(path).suffix == ".npz":
        arrays = read_npz(path, data_set.shape, data_set.classes)
    else:
        arrays = _torchvision(data_set.torchvision, path)
    train, test = (_images(split, data_set.padding, device) for split in arrays)
    return train, test, data_set.classes


def _images(split: Split, padding: int, device: torch.device | str | None) -> Images:
    """Put arrays [samples, height, width (, channels)] into the order of torch, with a frame of zeros."""
    images, labels = split
    pixels = torch.nn.functional.pad(channels_first(images), [padding] * 4).contiguous()
    return Images(pixels.to(device), torch.from_numpy(labels).to(device))


def channels_first(images: NDArray[np.uint8]) -> Tensor:
    """Return images [samples, height, width (, channels)] in the order of torch, [samples, channels, height, width].

    >>> channels_first(np.zeros((2, 3, 4), np.uint8)).shape, channels_first(np.zeros((2, 3, 4, 5), np.uint8)).shape
    (torch.Size([2, 1, 3, 4]), torch.Size([2, 5, 3, 4]))
    """
    return torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2)


def _digits(path: str | os.PathLike[str] | None) -> Arrays:
    if path is not None:
        raise ValueError(f"digits come with scikit-learn and take no path; got {str(path)!r}: leave it out")
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('digits need scikit-learn: pip install "qkan-torch[data]"') from error
    small, labels = load_digits(return_X_y=True)
    images = np.round(small.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # values 0 .. 16
    images = images.repeat(4, axis=1).repeat(4, axis=2)  # [1797, 32, 32]
    labels = labels.astype(np.int64)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[4::5]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def _torchvision(name: str, path: str | os.PathLike[str] | None) -> Arrays:
    remedies = (
        'either pip install "qkan-torch[vision]" and let torchvision download it over a network, or give (--data) a '
        "torchvision root, or give (--data) an .npz file with x_train, y_train, x_test, y_test"
    )
    try:
        from torchvision import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(f"{name} needs torchvision or a file: {remedies}") from error
    if path is not None and not Path(path).is_dir():
        raise FileNotFoundError(f"{path} is neither a folder (a torchvision root) nor an .npz file")
    root, download, read = path or cache_folder(), path is None, getattr(datasets, name)
    if download:
        cache_folder().mkdir(parents=True, exist_ok=True)
    try:
        parts = [read(root, train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        if download:
            raise OSError(f"{name} could not be downloaded ({error}): {remedies}") from error
        raise FileNotFoundError(f"{path} is no torchvision root that holds {name} ({error}): {remedies}") from error
    train, test = ((np.asarray(part.data), np.asarray(part.targets, dtype=np.int64)) for part in parts)
    return train, test


def cache_folder() -> Path:
    """Return the folder of downloads: `qkan` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkan"
