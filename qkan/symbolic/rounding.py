"""Numbers of formulas, rounded to decimals."""

from typing import Any

from qkan._checks import positive_integer
from qkan.elementary import import_sympy

__all__ = ["Expr", "decimal", "rounded"]

Expr = Any
"""A SymPy expression."""


def rounded(expression: Expr, digits: int) -> Expr:
    """Return the expression with every decimal number rounded; terms with a factor that becomes 0 are gone.

    Whole numbers become exact integers, so that 1.0·x is x. Exact numbers (integers, fractions, π) stay. What this does
    to values is for `Formulas.error` to say.

    Args:
        expression: a SymPy expression.
        digits: decimals, digits behind the point, at least 1.

    Raises:
        ValueError: for digits below 1.
        TypeError: if digits is no integer.
        ImportError: without SymPy.

    Example:
        >>> import sympy
        >>> x = sympy.Symbol("x")
        >>> rounded(0.9996 * x + 0.0004 * sympy.sin(x) + 0.31831, digits=3)
        x + 0.318
    """
    digits, sympy = positive_integer("digits", digits), import_sympy()
    numbers = expression.atoms(sympy.Float)
    return expression.xreplace({number: decimal(float(number), digits) for number in numbers})


def decimal(value: float, digits: int) -> Expr:
    """Return a number rounded to so many decimals: an integer where it is whole."""
    sympy, value = import_sympy(), round(value, digits)
    return sympy.Integer(int(value)) if value == int(value) else sympy.Float(value)
