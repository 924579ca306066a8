"""Look-up of functions by name."""

import difflib
from collections.abc import Mapping
from typing import Any

from qkan.data.feynman import BONUS, DIMENSIONLESS, FEYNMAN
from qkan.data.functions import Function
from qkan.data.special import SPECIAL
from qkan.data.toys import TOYS

__all__ = ["feynman", "feynman_names", "function_names", "named"]

_EQUATIONS = {f.name: f for f in (*FEYNMAN, *BONUS)}
_DIMENSIONLESS = {f.name: f for f in DIMENSIONLESS}
_OTHERS = {f.name: f for f in (*TOYS, *SPECIAL)}

# The data files of AI Feynman lost the last zero of seven numbers, and the bonus equations are numbered there.
_FILES = {
    "I.6.2a": "I.6.20a",
    "I.6.2": "I.6.20",
    "I.6.2b": "I.6.20b",
    "I.15.1": "I.15.10",
    "I.34.1": "I.34.10",
    "I.39.1": "I.39.10",
    "I.48.2": "I.48.20",
} | {f"test_{number}": f.name for number, f in enumerate(BONUS, start=1)}


def feynman_names(dimensionless: bool = False) -> tuple[str, ...]:
    """Return the names of the 120 equations of AI Feynman, or of the 27 that also come without units.

    Example:
        >>> len(feynman_names()), len(feynman_names(dimensionless=True))
        (120, 27)
    """
    return tuple(_DIMENSIONLESS if dimensionless else _EQUATIONS)


def feynman(name: str, dimensionless: bool = False) -> Function:
    """Return an equation of the Feynman Lectures, or one of the twenty bonus equations of AI Feynman.

    Args:
        name: the number of the equation, such as "I.16.6", or a name such as "Goldstein 12.80"; the names of the data
            files of AI Feynman ("I.6.2a", "test_17") are understood too.
        dimensionless: the form without units of the KAN paper, which exists for 27 of them.

    Raises:
        TypeError: `name` is no text.
        ValueError: there is no such equation.

    Example:
        >>> feynman("I.16.6").expression()
        (u + v)/(1 + u*v/c**2)
        >>> feynman("I.16.6", dimensionless=True).formula
        '(a + b)/(1 + a*b)'
    """
    return _find(name, _DIMENSIONLESS if dimensionless else _EQUATIONS, _FILES)


def function_names() -> tuple[str, ...]:
    """Return the names that `named` takes: toy functions, special functions, equations of AI Feynman."""
    return (*_OTHERS, *_EQUATIONS)


def named(name: str | Function) -> Function:
    """Return the function of this name, or the `Function` given.

    Raises:
        TypeError: `name` is neither text nor a `Function`.
        ValueError: there is no such function.

    Example:
        >>> named("exp-sine-square").formula
        'exp(sin(pi*x) + y**2)'
    """
    return name if isinstance(name, Function) else _find(name, _OTHERS | _EQUATIONS, _FILES)


def _find(name: Any, table: Mapping[str, Function], aliases: Mapping[str, str]) -> Function:
    if not isinstance(name, str):
        raise TypeError(f"name must be text; got {type(name).__name__}")
    name = name if name in table else aliases.get(name, name)
    if name not in table:
        close = difflib.get_close_matches(name, table, n=3) or list(table)[:3]
        raise ValueError(f"there is no function {name!r} among these {len(table)}; close are {', '.join(close)}")
    return table[name]
