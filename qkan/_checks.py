"""Checks of arguments that several modules share."""

import difflib
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

__all__ = ["check_floating", "check_input", "check_keywords", "index_below", "indices_below", "positive_integer"]


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


def check_keywords(owner: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raise unless all names given are known.

    Raises:
        TypeError: for the first one that is not, with the nearest that is.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise TypeError(f"{owner} got an unexpected keyword {name!r}; {hint}options are {', '.join(known)}")


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


def index_below(name: str, value: Any, size: int) -> int:
    """Return an integer from 0 to size - 1, NumPy's included.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is out of range; negative ones are.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r} of type {type(value).__name__}") from None
    if isinstance(value, bool) or not 0 <= number < size:
        raise ValueError(f"{name} must be in 0..{size - 1}; got {value!r}")
    return number


def indices_below(name: str, values: Any, size: int) -> list[int]:
    """Return integers from 0 to size - 1, at least one and none twice.

    Raises:
        TypeError: for values that are no sequence of integers.
        ValueError: for one out of range, one twice, or none.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a sequence of integers; got {values!r}")
    found = [index_below(f"{name}[{position}]", value, size) for position, value in enumerate(values)]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{name} must hold at least one integer and none twice; got {found}")
    return found
