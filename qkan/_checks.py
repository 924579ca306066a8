"""Checks of arguments that several modules share."""

import operator
from typing import Any

__all__ = ["positive_integer"]


def positive_integer(name: str, value: Any) -> int:
    """Return an integer of at least 1, NumPy's included.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is below 1, or a bool.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r} of type {type(value).__name__}") from None
    if number < 1 or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
    return number
