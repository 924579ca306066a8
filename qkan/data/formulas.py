"""Formulas as text: read into SymPy without `eval`, so that a formula can only be arithmetic."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy  # type: ignore[import-untyped]

__all__ = ["FUNCTIONS", "parse", "symbol"]

FUNCTIONS = (
    "exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sinc", "Abs", "sign",
    "floor", "re", "besselj", "bessely", "besseli", "besselk", "elliptic_f", "elliptic_e", "assoc_legendre", "Ynm",
)  # fmt: skip
"""What a formula may call, under SymPy's names."""

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def symbol(name: str, low: float) -> "sympy.Symbol":
    """Return a real symbol, positive (or nonnegative) if its range from `low` on is.

    Raises:
        ImportError: SymPy is missing.
    """
    sympy = _sympy()
    assumption = {"positive": True} if low > 0 else {"nonnegative": True} if low == 0 else {"real": True}
    return sympy.Symbol(name, **assumption)


def parse(formula: str, symbols: "Sequence[sympy.Symbol]") -> "sympy.Expr":
    """Return the SymPy expression of a formula: numbers, `pi`, + - * / **, `FUNCTIONS` and the symbols.

    Whole numbers stay exact: 1/2 is a fraction. The symbols come first, so that `I` or `gamma` may name a variable.

    Args:
        formula: for example "exp(sin(pi*x) + y**2)".
        symbols: of all variables in it.

    Raises:
        ValueError: anything else is in the formula.
        ImportError: SymPy is missing.

    Example:
        >>> from sympy import symbols
        >>> parse("x/2 + sin(pi*x)", symbols("x,"))
        x/2 + sin(pi*x)
    """
    sympy = _sympy()
    names = {"pi": sympy.pi} | {symbol.name: symbol for symbol in symbols}
    calls = {name: getattr(sympy, name) for name in FUNCTIONS}
    try:
        tree = ast.parse(formula.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"formula must be one expression in Python's notation; got {formula!r}") from error
    return _value(tree.body, names, calls)


def _value(node: ast.AST, names: Mapping[str, Any], calls: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            return _sympy().sympify(value)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names, calls)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, names, calls), _value(right, names, calls))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in calls and name not in names:
            return calls[name](*(_value(argument, names, calls) for argument in arguments))
    raise ValueError(
        f"formula may hold numbers, {', '.join(names)}, + - * / **, and calls of {', '.join(calls)}; "
        f"got {ast.unparse(node)!r}"
    )


def _sympy() -> Any:
    try:
        import sympy
    except ImportError as error:
        raise ImportError('expressions need SymPy: pip install "qkan-torch[symbolic]"') from error
    return sympy
