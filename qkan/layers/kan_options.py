"""The options of a classical KAN layer: one frozen, validated description that layers, models and checkpoints share."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict, cast

from torch import nn

from qkan._checks import check_keywords, positive_integer
from qkan.layers import activations

__all__ = ["KANArguments", "KANOptions"]


class KANArguments(TypedDict, total=False):
    """The keywords of `KANOptions`, for type checkers and editors."""

    grid_size: int
    spline_order: int
    grid_range: tuple[float, float]
    base_activation: str | Callable[..., Any] | nn.Module | None
    scale_noise: float
    scale_base: float
    scale_spline: float
    bias: bool


@dataclass(frozen=True)
class KANOptions:
    """What a KAN layer is, apart from its widths; names and defaults are efficient-kan's.

    Args:
        grid_size: number of intervals G of the grid.
        spline_order: degree k >= 1 of the splines.
        grid_range: where the grid starts and ends; it is extended by k intervals on both sides.
        base_activation: σ of the base branch: a module, module class, function or name, ``"identity"`` included; None
            for no base branch.
        scale_noise: width of the noise that the splines start as, times G.
        scale_base: multiplies the start of the base weights.
        scale_spline: multiplies the start of the spline scalers.
        bias: whether outputs have a trainable bias (starts at 0).

    Raises:
        ValueError: for a value out of range.
        TypeError: for a value of the wrong type.
    """

    grid_size: int = 5
    spline_order: int = 3
    grid_range: tuple[float, float] = (-1.0, 1.0)
    base_activation: str | Callable[..., Any] | nn.Module | None = "silu"
    scale_noise: float = 0.1
    scale_base: float = 1.0
    scale_spline: float = 1.0
    bias: bool = False

    def __post_init__(self) -> None:
        for name in ("grid_size", "spline_order"):
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        object.__setattr__(self, "grid_range", _range(self.grid_range))
        activations.check(self.base_activation)
        for name in ("scale_noise", "scale_base", "scale_spline"):
            object.__setattr__(self, name, _multiplier(name, getattr(self, name)))
        if not isinstance(self.bias, bool):
            raise TypeError(f"bias must be True or False; got {self.bias!r}")

    @classmethod
    def parse(cls, owner: str, arguments: Mapping[str, Any]) -> "KANOptions":
        """Return the options given as keywords of ``owner``.

        Raises:
            TypeError: for a keyword that does not exist, with the nearest that does.
        """
        check_keywords(owner, arguments, [field.name for field in fields(cls)])
        return cls(**arguments)

    @property
    def functions(self) -> int:
        """The number of splines per input, G + k."""
        return self.grid_size + self.spline_order

    def arguments(self) -> KANArguments:
        """Return the keywords that build a layer like this one; a module as base activation is copied.

        >>> KANOptions(**KANOptions(grid_size=8).arguments()) == KANOptions(grid_size=8)
        True
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return cast(KANArguments, values | {"base_activation": copy.deepcopy(self.base_activation)})

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values.

        Raises:
            ValueError: if the base activation is a module or function that has no name.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "grid_range": list(self.grid_range),
            "base_activation": activations.name_of(self.base_activation),
        }


def _number(value: Any) -> float:
    return math.nan if isinstance(value, bool | str) else float(value)


def _range(given: Any) -> tuple[float, float]:
    """Return two finite numbers, the first one below the second."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"grid_range must be two numbers such as (-1.0, 1.0); got {given!r}")
    try:
        low, high = (_number(value) for value in given)
    except (TypeError, ValueError):
        raise ValueError(f"grid_range must be two numbers such as (-1.0, 1.0); got {given!r}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"grid_range must be two finite numbers, the first below the second; got {given!r}")
    return low, high


def _multiplier(name: str, value: Any) -> float:
    try:
        number = _number(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}")
    return number
