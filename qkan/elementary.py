"""Elementary functions of one variable, which edges are snapped to: in torch for training, in SymPy for formulas."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["DOMAINS", "LIBRARY", "Domain", "Elementary", "Form", "import_sympy", "named"]

Form = Literal["constant", "linear", "shift", "scale", "free"]
"""What of d + c f(a x + b) is left to choose inside f: nothing at all (``constant``: only d; ``linear``: a = 1, b = 0),
b alone, since c and d take up every factor (``shift``: a = ±1), a alone (``scale``: b = 0), or both (``free``)."""

Domain = Literal["all", "positive", "not negative", "not 0", "one branch", "-1 to 1"]
"""Where a function is finite and continuous; "one branch" lies between two odd multiples of π/2."""


def _one_branch(low: Tensor, high: Tensor) -> Tensor:
    return torch.floor(low / math.pi + 0.5) == torch.floor(high / math.pi + 0.5)


DOMAINS: dict[Domain, Callable[[Tensor, Tensor], Tensor]] = {
    "all": lambda low, high: low <= high,
    "positive": lambda low, high: low > 0,
    "not negative": lambda low, high: low >= 0,
    "not 0": lambda low, high: (low > 0) | (high < 0),
    "one branch": _one_branch,
    "-1 to 1": lambda low, high: (low >= -1) & (high <= 1),
}
"""Whether a function is finite and continuous on all of [low, high], by the name of its domain."""


@dataclass(frozen=True)
class Elementary:
    """A function f(t) and what a fit of d + c f(a x + b) has to know of it.

    Args:
        name: what users and files call it.
        function: of a tensor of any shape; NaN or infinite outside its domain, nothing is hidden.
        complexity: what it counts in a ranking: about the number of constants in d + c f(a x + b), more for functions
            that are rarely meant.
        build: from a SymPy expression t to the SymPy expression f(t).
        form: which of a and b are free.
        domain: where it is finite and continuous.
        reflects: whether f(-t) is ± f(t) + a constant, so that a > 0 is enough.
        half_width: the largest half-width of a x + b over the data that a search tries; None for that of the search.
        centre: how far from 0 the centre of a x + b over the data may lie in a search.

    Example:
        >>> LIBRARY["x^2"](torch.tensor([-3.0, 2.0]))
        tensor([9., 4.])
    """

    name: str
    function: Callable[[Tensor], Tensor]
    complexity: float
    build: Callable[[Any], Any]
    form: Form = "free"
    domain: Domain = "all"
    reflects: bool = True
    half_width: float | None = None
    centre: float = math.pi

    def __call__(self, t: Tensor) -> Tensor:
        """Return f(t), with the shape of t."""
        return self.function(t)

    def finite_on(self, low: Tensor, high: Tensor) -> Tensor:
        """Return whether f is finite and continuous on all of [low, high], elementwise."""
        return DOMAINS[self.domain](low, high)


def _sympy(name: str) -> Callable[[Any], Any]:
    """Return the SymPy function of this name, which is imported at the first call."""
    return lambda t: getattr(import_sympy(), name)(t)


def _power(exponent: int, halves: bool = False) -> Callable[[Any], Any]:
    """Return the power of a SymPy expression; of exponent/2 with halves."""
    return lambda t: t ** (import_sympy().Rational(exponent, 2) if halves else exponent)


# The constants in d + c f(a x + b) are 1 for 0, 2 for x, 3 for shift and scale, 4 for free.
LIBRARY: dict[str, Elementary] = {
    function.name: function
    for function in (
        Elementary("0", lambda t: 0 * t, 0, lambda t: import_sympy().Integer(0), "constant"),
        Elementary("x", lambda t: t, 1, lambda t: t, "linear"),
        Elementary("x^2", torch.square, 2, _power(2), "shift"),
        Elementary("x^3", lambda t: t**3, 3, _power(3), "shift"),
        Elementary("x^4", lambda t: t**4, 3, _power(4), "shift"),
        Elementary("1/x", torch.reciprocal, 2, _power(-1), "shift", "not 0"),
        Elementary("1/x^2", lambda t: t.square().reciprocal(), 3, _power(-2), "shift", "not 0"),
        Elementary("sqrt", torch.sqrt, 2, _power(1, halves=True), "shift", "not negative", reflects=False),
        Elementary("1/sqrt", torch.rsqrt, 3, _power(-1, halves=True), "shift", "positive", reflects=False),
        Elementary("abs", torch.abs, 2.5, _sympy("Abs"), "shift"),
        Elementary("exp", torch.exp, 2, _sympy("exp"), "scale", reflects=False),
        Elementary("log", torch.log, 2, _sympy("log"), "shift", "positive", reflects=False),
        Elementary("sin", torch.sin, 2.5, _sympy("sin")),
        Elementary("cos", torch.cos, 2.5, _sympy("cos")),
        Elementary("tan", torch.tan, 3, _sympy("tan"), domain="one branch", half_width=math.pi / 2),
        Elementary("arcsin", torch.asin, 4, _sympy("asin"), domain="-1 to 1", half_width=1, centre=1),
        Elementary("arccos", torch.acos, 4, _sympy("acos"), domain="-1 to 1", half_width=1, centre=1),
        Elementary("arctan", torch.atan, 3, _sympy("atan"), centre=12),
        Elementary("tanh", torch.tanh, 3, _sympy("tanh"), centre=12),
        Elementary("sigmoid", torch.sigmoid, 3.5, lambda t: 1 / (1 + import_sympy().exp(-t)), centre=12),
        Elementary("cosh", torch.cosh, 3, _sympy("cosh"), centre=6),
        Elementary("gaussian", lambda t: (-t.square()).exp(), 3, lambda t: import_sympy().exp(-(t**2)), centre=12),
    )
}
"""The functions by name. A step is not among them: no training could move it."""


def named(functions: Iterable[str] | None) -> tuple[Elementary, ...]:
    """Return the functions of these names; all of `LIBRARY` for None.

    Raises:
        ValueError: for an unknown name, or none.
        TypeError: for a single text.

    Example:
        >>> [function.name for function in named(["sin", "x^2"])]
        ['sin', 'x^2']
    """
    if functions is None:
        return tuple(LIBRARY.values())
    if isinstance(functions, str):
        raise TypeError(f"library must be a sequence of names such as ['sin', 'x^2']; got {functions!r}")
    names = list(functions)
    unknown = [name for name in names if name not in LIBRARY]
    if unknown or not names:
        raise ValueError(f"a function must be one of {', '.join(LIBRARY)}; got {unknown or names}")
    return tuple(LIBRARY[name] for name in names)


def import_sympy() -> Any:
    """Return the module `sympy`.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import sympy  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('formulas need SymPy: pip install "qkan-torch[symbolic]"') from error
    return sympy
