"""From a fitted formula to one that a person would write: constants pulled together, rounded, and π where they are it.

A snapped model gives 0.9998 exp(1.0001 (0.9999 sin(3.1417 x - 0.0003) + 0.002 + (y + 0.0001)²) - 0.003) + 0.0002, which
is exp(sin(πx) + y²). Factors and shifts that belong together stand in several places there: they are brought into one
before anything is rounded.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from qkan._checks import positive_integer
from qkan.elementary import import_sympy
from qkan.symbolic.rounding import Expr, decimal

__all__ = ["simplified"]

# Multiples of a constant that a number may be, in the argument of a sine and elsewhere, and fractions; heuristics.
_IN_WAVES = [(p, q) for q in (1, 2, 3, 4, 6) for p in range(1, 12 * q + 1)]
_ELSEWHERE = [(1, 1), (2, 1), (3, 1), (4, 1), (1, 2)]
_FRACTIONS = [(p, q) for q in (2, 3, 4) for p in range(1, 4 * q)]
# What is multiplied out: powers and sums of up to so many terms.
_LARGEST_POWER, _LARGEST_SUM = 4, 4


def simplified(expression: Expr, digits: int = 2, constants: Sequence[str] = ("pi",)) -> Expr:
    """Return the expression tidied and with its numbers rounded to so many decimals.

    Inputs are taken to be real.

    * Constants move out where that leaves fewer decimal numbers: exp(u + c) = e^c exp(u), log(a u) = log a + log u,
      (a u + b)^n = a^n (u + b/a)^n, |a u| = |a||u|. Likewise powers of sums up to the 4th are multiplied out.
    * sin and cos get the phase nearest to 0, or one that is a round number: sin(x + 3.1416) = -sin x.
    * Numbers are rounded. What is whole then is an exact integer; what rounds as a small multiple of a named constant,
      or as a half, third or quarter, is that.

    This is a guess that the data have to confirm: see `Formulas.error`.

    Args:
        expression: a SymPy expression.
        digits: decimals, digits behind the point, at least 1.
        constants: names of the constants to look for: pi, E.

    Raises:
        ValueError: for digits below 1, or an unknown constant.
        TypeError: if digits is no integer.
        ImportError: without SymPy.

    Example:
        >>> import sympy
        >>> x, y = sympy.symbols("x y")
        >>> found = 0.9998 * sympy.exp(1.0001 * (0.9999 * sympy.sin(3.1417 * x - 0.0003) + (y + 1e-4) ** 2) - 3e-3)
        >>> simplified(found + 2e-4)
        exp(y**2 + sin(pi*x))
    """
    sympy, digits = import_sympy(), positive_integer("digits", digits)
    known = {"pi": sympy.pi, "E": sympy.E}
    unknown = [name for name in constants if name not in known]
    if unknown or isinstance(constants, str):
        raise ValueError(f"constants must be a sequence out of {', '.join(known)}; got {unknown or constants!r}")
    numbers = _Numbers(digits, [known[name] for name in constants])
    ways = [_Way(numbers, pull, expand) for pull, expand in itertools.product((True, False), repeat=2)]
    return min((numbers.round(way.tidy(expression)) for way in ways), key=_cost)


def _cost(expression: Expr) -> tuple[int, int]:
    sympy = import_sympy()
    return sum(part.is_Float for part in sympy.preorder_traversal(expression)), sympy.count_ops(expression)


class _Numbers:
    """What decimal numbers round to."""

    def __init__(self, digits: int, constants: Sequence[Expr]) -> None:
        self.digits, self.constants = digits, constants

    def exact(self, value: float, in_wave: bool = False) -> Expr:
        """Return an exact number that rounds like this one; None if there is no simple one."""
        sympy, size = import_sympy(), round(abs(value), self.digits)
        sign = -1 if value < 0 else 1
        if size == int(size):
            return sign * sympy.Integer(int(size))
        multiples = [(c, p, q) for c in self.constants for p, q in (_IN_WAVES if in_wave else _ELSEWHERE)]
        for unit, p, q in [*multiples, *((sympy.Integer(1), p, q) for p, q in _FRACTIONS)]:
            if round(float(unit) * p / q, self.digits) == size:
                return sign * sympy.Rational(p, q) * unit
        return None

    def round(self, expression: Expr, in_wave: bool = False) -> Expr:
        """Return the expression with every decimal number rounded."""
        sympy = import_sympy()
        if expression.is_Float:
            found = self.exact(float(expression), in_wave)
            return decimal(float(expression), self.digits) if found is None else found
        if not expression.args:
            return expression
        below = isinstance(expression, sympy.sin | sympy.cos | sympy.tan)
        # Inside of a wave multiples of π are meant in its own argument, not in functions below it.
        passed = below or (in_wave and isinstance(expression, sympy.Add | sympy.Mul))
        return expression.func(*(self.round(part, passed) for part in expression.args))


@dataclass(frozen=True)
class _Way:
    """A way to tidy an expression.

    Args:
        numbers: what decimal numbers round to.
        pull: whether constants leave exponentials, logarithms, powers and absolute values.
        expand: whether powers of sums are multiplied out.
    """

    numbers: _Numbers
    pull: bool
    expand: bool

    def tidy(self, expression: Expr) -> Expr:
        """Return an equal expression, tidied from the inside out."""
        sympy = import_sympy()
        if not expression.args:
            return expression
        parts = [self.tidy(part) for part in expression.args]
        if isinstance(expression, sympy.Mul):
            return _distributed(expression.func(*parts))
        if isinstance(expression, sympy.Pow):
            return self._power(*parts)
        if isinstance(expression, sympy.sin | sympy.cos):
            return _wave(expression.func, parts[0], self.numbers)
        rule = {sympy.exp: _exponential, sympy.log: _logarithm, sympy.Abs: _absolute}.get(expression.func)
        return rule(parts[0]) if rule is not None and self.pull else expression.func(*parts)

    def _power(self, base: Expr, exponent: Expr) -> Expr:
        """Return (a u + b)^n as a^n (u + b/a)^n, or multiplied out."""
        sympy = import_sympy()
        if isinstance(base, sympy.exp):  # inputs are real
            return sympy.exp(_distributed(exponent * base.args[0]))
        if not isinstance(base, sympy.Add) or not exponent.is_number:
            return base**exponent
        small = exponent.is_Integer and 2 <= exponent <= _LARGEST_POWER and len(base.args) <= _LARGEST_SUM
        if self.expand and small:
            return sympy.expand(base**exponent, deep=False)
        if not self.pull:
            return base**exponent
        number, rest = _leading(base, negative=bool(exponent.is_integer))
        return _distributed(number**exponent * rest**exponent)


def _distributed(product: Expr) -> Expr:
    """Return a number times a sum as the sum of the products."""
    sympy = import_sympy()
    number, rest = product.as_coeff_Mul()
    if not isinstance(rest, sympy.Add) or number == 1:
        return product
    return sympy.Add(*(number * part for part in rest.args))


def _leading(argument: Expr, negative: bool) -> tuple[Expr, Expr]:
    """Return (a, u) with argument = a u, a the number in front of the first term that is no number.

    Args:
        argument: any expression.
        negative: whether a may be negative.
    """
    sympy = import_sympy()
    terms = [term for term in sympy.Add.make_args(argument) if not term.is_number]
    if not terms:
        return sympy.Integer(1), argument
    number = sorted(terms, key=sympy.default_sort_key)[0].as_coeff_Mul()[0]
    number = number if negative else abs(number)
    return number, _distributed((1 / number) * argument)


def _exponential(argument: Expr) -> Expr:
    sympy = import_sympy()
    number, rest = argument.as_coeff_Add()
    return sympy.exp(number) * sympy.exp(rest)


def _logarithm(argument: Expr) -> Expr:
    sympy = import_sympy()
    number, rest = _leading(argument, negative=False)
    return sympy.log(number) + sympy.log(rest)


def _absolute(argument: Expr) -> Expr:
    sympy = import_sympy()
    number, rest = _leading(argument, negative=False)
    return number * sympy.Abs(rest)


def _wave(function: Expr, argument: Expr, numbers: _Numbers) -> Expr:
    """Return a sine or cosine of u + phase, the term in front positive, with the simplest phase."""
    sympy = import_sympy()
    phase, rest = argument.as_coeff_Add()
    if rest == 0 or not phase.is_number:
        return function(argument)
    sign = -1 if _leading(rest, negative=True)[0] < 0 else 1
    # sign² = 1: cos(-t) = cos t and sin(-t) = -sin t.
    outside = sign if function is sympy.sin else 1
    return outside * _nearest(function, _distributed(sign * rest), sign * float(phase), numbers)


def _nearest(function: Expr, rest: Expr, phase: float, numbers: _Numbers) -> Expr:
    """Return ± sin or cos of rest + another phase, which is a round number or the nearest to 0."""
    sympy = import_sympy()
    other, quarter = (sympy.cos, -1) if function is sympy.sin else (sympy.sin, 1)
    half, pi = round(phase / float(sympy.pi)), float(sympy.pi)
    own = [((-1) ** turns, function, phase - turns * pi) for turns in (half, half - 1, half + 1, 0)]
    # sin t = cos(t - π/2), cos t = sin(t + π/2); taken only where no phase is left.
    turned = [(sign, other, shift + quarter * pi / 2) for sign, _, shift in own]
    for sign, wave, shift in [*own, *turned]:
        if round(shift, numbers.digits) == 0:
            return sign * wave(rest + sympy.Float(shift))
    round_ones = [one for one in own if numbers.exact(one[2], in_wave=True) is not None]
    sign, wave, shift = min(round_ones or own, key=lambda one: abs(one[2]))
    return sign * wave(rest + sympy.Float(shift))
