"""Image data sets in one .npz file, with the names of Keras."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "Split", "opened", "read_array", "read_npz"]

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]
Arrays = tuple[Split, Split]
"""Training and test split, each images [samples, height, width (, channels)] and labels [samples]."""


def read_npz(path: str | os.PathLike[str], shape: tuple[int, int, int], classes: int) -> Arrays:
    """Read and check `x_train`, `y_train`, `x_test`, `y_test`; other arrays in the file are left alone.

    Args:
        path: the file; it is read without pickle, so loading it executes nothing.
        shape: height, width, channels of one image; a single channel may be left out.
        classes: labels run from 0 to classes - 1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file or one of its arrays is not as expected.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file at {path}")
    return _split(path, "train", shape, classes), _split(path, "test", shape, classes)


def _split(path: str | os.PathLike[str], part: str, shape: tuple[int, int, int], classes: int) -> Split:
    images, labels = _images(path, f"x_{part}", shape), _labels(path, f"y_{part}", classes)
    if len(images) != len(labels):
        raise ValueError(
            f"{path}: x_{part} and y_{part} must hold as many samples; got {len(images)} and {len(labels)}"
        )
    return images, labels


def read_array(path: str | os.PathLike[str], key: str) -> NDArray[Any]:
    """Read one array, without pickle.

    Raises:
        ValueError: the file is damaged, or holds no such array.
    """
    with opened(path, f"{path}: {key} is not a plain array in an .npz file") as file:
        names = file.files
        array: NDArray[Any] | None = file[key] if key in names else None
    if array is None:
        raise ValueError(f"{path}: needs x_train, y_train, x_test, y_test; got {', '.join(names)}")
    return array


@contextmanager
def opened(path: str | os.PathLike[str], fault: str) -> Iterator[Any]:
    """Open an .npz file without pickle, for a block that reads from it and does nothing else.

    Args:
        path: of the file.
        fault: what is told of a file that is damaged or something else.

    Raises:
        ValueError: opening or reading fails.
    """
    try:
        # opened here, because np.load does not close a damaged archive
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            yield file
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"{fault}: write it with numpy.savez") from error


def _images(path: str | os.PathLike[str], key: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    array = read_array(path, key)
    allowed = [shape] if shape[2] > 1 else [shape, shape[:2]]
    if array.dtype != np.uint8 or array.shape[1:] not in allowed or len(array) == 0:
        expected = " or ".join(str(["samples", *sizes]).replace("'", "") for sizes in allowed)
        raise ValueError(f"{path}: {key} must be uint8 {expected}; got {array.dtype} {list(array.shape)}")
    return array


def _labels(path: str | os.PathLike[str], key: str, classes: int) -> NDArray[np.int64]:
    array = read_array(path, key)
    if array.ndim == 2 and array.shape[1] == 1:  # Keras keeps CIFAR labels as a column
        array = array[:, 0]
    if not np.issubdtype(array.dtype, np.integer) or array.ndim != 1 or len(array) == 0:
        raise ValueError(f"{path}: {key} must be integers [samples]; got {array.dtype} {list(array.shape)}")
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(f"{path}: {key} must lie in 0 .. {classes - 1}; got {array.min()} .. {array.max()}")
    return array.astype(np.int64)
