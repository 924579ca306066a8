"""Numbers of a page in one compressed piece of text."""

import base64
import gzip
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Blob", "Kind", "Place", "packed"]

Kind = Literal["f4", "u4", "u1"]

Place = tuple[Kind, int, int]
"""Type, first byte and number of elements of an array in a blob."""

_ALIGNMENT = 4  # typed arrays of a browser start at multiples of the size of their elements


def packed(content: bytes) -> str:
    """Return bytes as base64 of gzip, without a time stamp: equal content gives equal text.

    >>> gzip.decompress(base64.b64decode(packed(b"abc")))
    b'abc'
    """
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


class Blob:
    """Arrays one behind the other, little-endian.

    Attributes:
        size: bytes so far, before compression.

    Example:
        >>> blob = Blob()
        >>> blob.add([1.0, 2.0]), blob.add([True, False, True], "u1"), blob.add([7], "u4")
        (('f4', 0, 2), ('u1', 8, 3), ('u4', 12, 1))
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, values: ArrayLike | Any, kind: Kind = "f4") -> Place:
        """Append an array, flattened, and return its place."""
        array = np.ascontiguousarray(np.asarray(values).reshape(-1), dtype=np.dtype(kind).newbyteorder("<"))
        place = (kind, self.size, array.size)
        content = array.tobytes()
        content += bytes(-len(content) % _ALIGNMENT)
        self._parts.append(content)
        self.size += len(content)
        return place

    def text(self) -> str:
        """Return all arrays as base64 of gzip."""
        return packed(b"".join(self._parts))
