"""The options of a classical KAN layer: one frozen, validated description that layers, models and checkpoints share."""

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from torch import nn

from qkan import bases
from qkan._cached import cached
from qkan._checks import check_keywords
from qkan.bases.base import Factory
from qkan.layers import activations

__all__ = ["KANArguments", "KANOptions"]

# Options of all bases.
_COMMON = ("base_activation", "scale_base", "scale_spline", "enable_standalone_scale_spline", "bias")


class KANArguments(TypedDict, total=False):
    """The keywords of `KANOptions`, those of all families included, for type checkers and editors."""

    map: str
    grid_size: int
    spline_order: int
    grid_range: tuple[float, float]
    num_grids: int
    denominator: float | None
    degree: int
    a: float
    b: float
    nodes: int | None
    g: int
    k: int
    train_ab: bool
    compat: str | None
    base_activation: str | Callable[..., Any] | nn.Module | None
    scale_noise: float
    scale_base: float
    scale_spline: float
    enable_standalone_scale_spline: bool
    bias: bool


@dataclass(frozen=True, init=False)
class KANOptions:
    """What a KAN layer is, apart from its widths; names and defaults are efficient-kan's.

    Args:
        basis: name of the family, one of `qkan.bases.names()`.
        base_activation: σ of the base branch: a module, module class, function or name, ``"identity"`` included; None
            for no base branch.
        scale_base: multiplies the start of the base weights.
        scale_spline: multiplies the start of the basis branch.
        enable_standalone_scale_spline: whether every edge has a trained multiplier of its basis branch; by default
            that of B-splines has.
        bias: whether outputs have a trainable bias (starts at 0).
        scale_noise: of B-splines alone: width of the noise that they start as, times G.
        basis_options: keywords of the family; they can be given one by one as well, as ``degree=5``.
        **keywords: of the family, such as ``grid_size``, ``spline_order``, ``grid_range`` of B-splines.

    Attributes:
        basis_options: all keywords of the family, its defaults included.

    Raises:
        ValueError: for a value out of range, or an unknown basis.
        TypeError: for a value of the wrong type, or a keyword that does not exist, with the nearest that does.

    Example:
        >>> KANOptions("chebyshev", degree=5).basis_options
        {'degree': 5, 'map': 'tanh'}
    """

    basis: str
    basis_options: Mapping[str, Any]
    base_activation: str | Callable[..., Any] | nn.Module | None
    scale_base: float
    scale_spline: float
    enable_standalone_scale_spline: bool
    bias: bool
    scale_noise: float

    def __init__(
        self,
        basis: str = "bspline",
        *,
        basis_options: Mapping[str, Any] | None = None,
        **keywords: Unpack[KANArguments],
    ) -> None:
        given = {**(basis_options or {}), **keywords}
        own = (*_COMMON, "scale_noise")
        check_keywords("KANOptions", given, (*_known(_name(basis)), "scale_noise"))
        family = {name: value for name, value in given.items() if name not in own}
        built = bases.build(basis, 2, 2, device="meta", **family)
        values = {
            "basis": basis,
            "basis_options": {name: _frozen(value) for name, value in built.config().items()},
            "base_activation": given.get("base_activation", "silu"),
            "scale_base": _multiplier("scale_base", given.get("scale_base", 1.0)),
            "scale_spline": _multiplier("scale_spline", given.get("scale_spline", 1.0)),
            "enable_standalone_scale_spline": given.get("enable_standalone_scale_spline", basis == "bspline"),
            "bias": given.get("bias", False),
            "scale_noise": _multiplier("scale_noise", given.get("scale_noise", 0.1)),
        }
        _check_switches(values)
        activations.check(values["base_activation"])
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, owner: str, basis: str, arguments: Mapping[str, Any]) -> "KANOptions":
        """Return the options given as keywords of ``owner``.

        Raises:
            TypeError: for a keyword that does not exist, with the nearest that does.
        """
        check_keywords(owner, arguments, _known(_name(basis)))
        return cls(basis, **arguments)

    def arguments(self) -> dict[str, Any]:
        """Return the keywords that build a layer like this one; a module as base activation is copied.

        >>> KANOptions(**KANOptions(grid_size=8).arguments()) == KANOptions(grid_size=8)
        True
        """
        names = [name for name in _known(self.basis) if name not in self.basis_options and name in self.__dict__]
        own = {name: getattr(self, name) for name in names}
        return {"basis": self.basis, **self.basis_options, **copy.deepcopy(own)}

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values.

        Raises:
            ValueError: if the base activation is a module or function that has no name.
        """
        values = self.arguments() | {"base_activation": activations.name_of(self.base_activation)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _name(basis: Any) -> str:
    if not isinstance(basis, str):
        raise TypeError(f"basis must be the name of one, of {', '.join(bases.names())}; got {basis!r}")
    return basis


@cached
def _known(basis: str) -> tuple[str, ...]:
    """Return the keywords of a layer with this basis: those of the family first."""
    family = type(bases.build(basis, 2, 2, device="meta"))
    own = ("in_features", "out_features", *Factory.__annotations__)
    parameters = [p for p in inspect.signature(family).parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = [p.name for p in parameters if p.name not in own]
    return (*names, *_COMMON, *(("scale_noise",) if basis == "bspline" else ()))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_switches(values: Mapping[str, Any]) -> None:
    for name in ("enable_standalone_scale_spline", "bias"):
        if not isinstance(values[name], bool):
            raise TypeError(f"{name} must be True or False; got {values[name]!r}")


def _multiplier(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}") from None
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0; got {value!r}")
    return number
