"""Checks of the arguments that families of bases share."""

import math
import operator
from collections.abc import Iterable
from typing import Any

__all__ = ["check_compat", "finite_number", "interval", "nonnegative_integer"]


def nonnegative_integer(name: str, value: Any) -> int:
    """Return an integer of at least 0, NumPy's included.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is below 0, or a bool.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r} of type {type(value).__name__}") from None
    if number < 0 or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer of at least 0; got {value!r}")
    return number


def finite_number(name: str, value: Any, above: float = -math.inf) -> float:
    """Return a finite number above a bound.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not finite, or not above the bound.
    """
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    if not (math.isfinite(number) and number > above):
        bound = "" if above == -math.inf else f" above {above:g}"
        raise ValueError(f"{name} must be a finite number{bound}; got {value!r}")
    return number


def interval(name: str, value: Any) -> tuple[float, float]:
    """Return two finite numbers, the first one below the second.

    Raises:
        TypeError: if it is no pair of numbers.
        ValueError: if they are not finite, or not in this order.

    >>> interval("grid_range", [-1, 1])
    (-1.0, 1.0)
    """
    numbers = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    if len(numbers) != 2:
        raise TypeError(f"{name} must be two numbers such as (-1.0, 1.0); got {value!r}")
    low, high = (finite_number(name, number) for number in numbers)
    if not low < high:
        raise ValueError(f"{name} must be two numbers, the first below the second; got {value!r}")
    return low, high


def check_compat(value: Any) -> str | None:
    """Return the name of the package whose exact function is wanted, or None.

    Raises:
        ValueError: for another name.
    """
    if value not in (None, "torch-conv-kan"):
        raise ValueError(f"compat must be None or 'torch-conv-kan'; got {value!r}")
    return None if value is None else str(value)
