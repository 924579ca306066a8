"""`simplified`: fitted constants in many places become the formula that was meant."""

import pytest
import torch

from qkan.symbolic import Formulas, evaluate, simplified

sympy = pytest.importorskip("sympy")
from sympy import Abs, cos, exp, log, pi, sin, sqrt, tanh  # noqa: E402  after the check that it is there

x, y = sympy.symbols("x y")
TARGET = exp(sin(pi * x) + y**2)

# All of them exp(sin(πx) + y²), as snapped and trained models write it.
SAME = {
    "trained": 0.9998 * exp(1.0001 * (0.9999 * sin(3.1417 * x - 0.0003) + 0.002 + 1.00002 * (0.9999 * y + 1e-4) ** 2)
                            - 0.003) + 0.0002,
    "everything negative": exp(-0.9999 * (sin(-3.1416 * x + 1e-4) - 1.0 * (-y) ** 2)),
    "half a turn": exp(-sin(3.1416 * x + 3.1416) + y**2),
    "minus half a turn": exp(-sin(3.1416 * x - 3.14155) + y**2),
    "a turn": exp(sin(3.1416 * x + 6.2831) + (y + 0.0) ** 2),
    "three half turns back": exp(-sin(3.1416 * x - 9.4248) + y**2),
    "cosine": exp(cos(3.1416 * x - 1.5707) + y**2),
    "cosine of a negative": exp(cos(-3.1416 * x + 1.5707) + y**2),
    "minus cosine": exp(-cos(3.1416 * x + 1.5707) + y**2),
    "cosine turned": exp(cos(3.1416 * x + 4.7124) + y**2),
    "factor and shift": 0.740818 * exp(sin(3.1416 * x) + y**2 + 0.3),
    "shifts in three places": 0.7408 * exp(1.0 * (sin(3.1416 * x) + 0.1) + y**2 + 0.2),
    "minus minus": exp(-sin(-3.1416 * x) + (-0.9999 * y) ** 2),
    "scales undone": exp(0.5 * (2.0 * sin(3.1416 * x) + 0.1) + (0.5 * y + 1e-5) ** 2 * 4.0 - 0.05),
    "parabola from afar": exp(sin(3.1416 * x) + (y - 0.5) ** 2 + 1.0 * y - 0.25),
    "power of a negative sum": exp(sin(3.1416 * x) + 1.0001 * (-1.0 * y + 0.0002) ** 2),
    "a square root back": sqrt(0.9999 * exp(2.0 * sin(3.1416 * x) + 1.9999 * y**2)),
    "frequency from below": exp(sin(3.1361 * x) + y**2),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_was_meant(name):
    found = simplified(SAME[name])
    assert sympy.simplify(found - TARGET) == 0
    assert not found.atoms(sympy.Float)


OTHERS = {
    "near, but another": (exp(sin(3.1 * x) + y**2), exp(sin(sympy.Float(3.1) * x) + y**2)),
    "exponent": (exp(1.02 * sin(3.1416 * x) + y**2), exp(sympy.Float(1.02) * sin(pi * x) + y**2)),
    "a whole phase": (sin(1.0 * x + 2.0003), sin(x + 2)),
    "a whole phase of minus x": (sin(-1.0 * x + 2.0003), -sin(x - 2)),
    "a phase of pi": (2.001 * sin(0.25 * x**2 + 0.785), 2 * sin(x**2 / 4 + pi / 4)),
    "the nearest phase": (sin(x + 3.0), sin(x + 3)),
    "a phase that is no number": (cos(x + 3.2), -cos(x + sympy.Float(0.06))),
    "fractions": (0.3333 * x + 0.2501 * y - 1.4999, x / 3 + y / 4 - sympy.Rational(3, 2)),
    "no fraction": (0.37 * x, sympy.Float(0.37) * x),
    "zero": (0.004 * sin(x) + 0.001, sympy.Integer(0)),
    "pi outside": (3.14159 * x + 6.2832, pi * x + 2 * pi),
    "no third of pi outside": (1.0472 * x, sympy.Float(1.05) * x),
    "a third of pi inside": (sin(1.0472 * x), sin(pi * x / 3)),
    "no pi below a wave": (sin(exp(1.0472 * y)), sin(exp(sympy.Float(1.05) * y))),
    "logarithm": (log(2.0 * x + 1.0001), log(2 * x + 1)),
    "logarithm pulled": (log(2.0 * x) - 0.6931, log(x)),
    "inverse": (2.0 / (2.0 * x + 4.0001), 1 / (x + 2)),
    "sine turned": (sin(3.1416 * x + 1.5708), cos(pi * x)),
    "sine turned back": (sin(3.1416 * x - 1.5708), -cos(pi * x)),
    "two variables": (sin(1.0 * y - 2.0 * x + 0.3001), -sin(2 * x - y - sympy.Float(0.3))),
    "cosine of two variables": (cos(1.0 * y - 2.0 * x + 0.3001), cos(2 * x - y - sympy.Float(0.3))),
    "root pulled": (0.7071 * sqrt(8.0 - 2.0 * x), sqrt(4 - x)),
    "absolute of two variables": (Abs(2.0 * y - 4.0 * x + 3.0) / 2.0, Abs(2 * x - y - sympy.Rational(3, 2))),
    "absolute": (0.5 * Abs(-2.0 * x + 3.0), Abs(x - sympy.Rational(3, 2))),
    "gaussian": (exp(-((1.0 * x - 1.5) ** 2)), exp(-((x - sympy.Rational(3, 2)) ** 2))),
    "odd": (tanh(-1.0001 * x + 0.4999), -tanh(x - sympy.Rational(1, 2))),
    "product": (1.0 * x * (sin(x) + 1.001), x * (sin(x) + 1)),
    "piece": (sympy.Piecewise((1.0 * x, x > 0.0001), (exp(1.0 * x) - 1.0, True)),
              sympy.Piecewise((x, x > 0), (exp(x) - 1, True))),
    "exact": (sympy.Rational(1, 7) * x + sqrt(2) * y, x / 7 + sqrt(2) * y),
    "large": (1234.5678 * x + 1e6, sympy.Float(1234.57) * x + 1000000),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_numbers(name):
    given, want = OTHERS[name]
    found = simplified(given)
    assert sympy.simplify(found - want) == 0, found


def test_digits_and_constants_choose():
    assert simplified(3.1416 * x, digits=4) == pi * x
    assert simplified(3.1416 * x, digits=5) == sympy.Float(3.1416) * x
    assert simplified(3.1416 * x, constants=()) == sympy.Float(3.14) * x
    assert simplified(2.7183 * x, constants=("E", "pi")) == sympy.E * x
    assert simplified(0.98 * x, digits=1) == x
    for constants in (("tau",), "pi"):
        with pytest.raises(ValueError, match=r"constants must be a sequence out of pi, E; got"):
            simplified(x, constants=constants)
    with pytest.raises(ValueError, match=r"digits must be an integer of at least 1; got 0"):
        simplified(x, digits=0)


@pytest.mark.parametrize("name", [*SAME, *OTHERS])
def test_tidying_alone_changes_no_value(name):
    """With many digits nothing is rounded away, and every rule has to be an identity."""
    given = SAME[name] if name in SAME else OTHERS[name][0]
    points = torch.rand(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    before, after = (evaluate([e], [x, y], points) for e in (given, simplified(given, digits=13)))
    assert (before - after).abs().max() <= 1e-9 * before.abs().max()


def test_formulas_are_simplified_with_their_error():
    given = SAME["trained"]
    found = Formulas((x, y), (given, 2.0 * given), (given, 2.0 * given)).simplified()
    assert str(found) == "exp(y**2 + sin(pi*x))\n2*exp(y**2 + sin(pi*x))"
    points = torch.rand(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    off = (torch.sin(torch.pi * points[:, 0]) + points[:, 1] ** 2).exp() - evaluate([given], [x, y], points)[:, 0]
    first, second = found.error(points)
    assert first.largest == pytest.approx(float(off.abs().max()), rel=1e-9)
    assert first.rms == pytest.approx(float(off.square().mean().sqrt()), rel=1e-9)
    assert second.rms == pytest.approx(2 * first.rms, rel=1e-9)
    assert 1e-5 < first.largest < 1e-2
