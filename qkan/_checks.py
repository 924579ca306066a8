"""Checks of arguments that several modules share."""

import operator
from typing import Any

from torch import Tensor

__all__ = ["check_floating", "check_input", "positive_integer"]


def check_floating(x: Any) -> None:
    """Raise unless x is a floating-point tensor.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a floating-point tensor; got {kind}; convert it with x.float()")


def check_input(x: Any, in_features: int) -> None:
    """Raise unless x is a floating-point tensor [*batch, in_features].

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if its last dimension is another.
    """
    check_floating(x)
    if x.dim() == 0 or x.shape[-1] != in_features:
        raise ValueError(f"x must be [*batch, {in_features}], with in_features as its last size; got {tuple(x.shape)}")


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
