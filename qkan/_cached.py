"""A cache that `torch.compile` does not see."""

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["cached"]

P = ParamSpec("P")
R = TypeVar("R", bound=Hashable)


def cached(function: Callable[P, R]) -> Callable[P, R]:
    """Keep the last 256 results of a function from hashable descriptions to immutable results.

    Dynamo warns of every `lru_cache` that it meets; while compiling the function itself is traced, once.
    """
    stored = lru_cache(maxsize=256)(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs) if torch.compiler.is_compiling() else stored(*args, **kwargs)  # type: ignore[arg-type]

    return call
