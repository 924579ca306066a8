"""Elementary functions: torch and SymPy agree, and what a fit is told of each function is true of it."""

import math
import sys

import pytest
import torch

from qkan.elementary import DOMAINS, LIBRARY, import_sympy, named

sympy = pytest.importorskip("sympy")

# Points inside of every domain, by its name, and the ends of intervals: (low, high, whether all of it is inside).
POINTS = {
    "all": [-2.3, -0.7, 0.1, 1.9],
    "positive": [0.2, 1.0, 3.7],
    "not negative": [0.0, 0.3, 2.9],
    "not 0": [-2.1, -0.4, 0.3, 1.8],
    "one branch": [-1.3, 0.4, 1.2],
    "-1 to 1": [-1.0, -0.3, 0.8, 1.0],
}
INTERVALS = {
    "all": [(-9.0, 9.0, True)],
    "positive": [(0.1, 9.0, True), (0.0, 1.0, False), (-1.0, 1.0, False)],
    "not negative": [(0.0, 9.0, True), (-1e-9, 1.0, False)],
    "not 0": [(0.1, 2.0, True), (-2.0, -0.1, True), (-1.0, 1.0, False), (0.0, 1.0, False)],
    "one branch": [(-1.5, 1.5, True), (1.6, 4.7, True), (-1.6, 0.0, False), (1.5, 1.6, False), (-1.0, 2.2, False)],
    "-1 to 1": [(-1.0, 1.0, True), (-1.1, 0.0, False), (0.0, 1.1, False)],
}
CURVED = [name for name, function in LIBRARY.items() if function.form not in ("constant", "linear")]


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("name", LIBRARY)
def test_torch_and_sympy_are_the_same_function(name):
    function, t = LIBRARY[name], sympy.Symbol("t")
    points = POINTS[function.domain]
    want = [float(function.build(t).subs(t, sympy.Float(point, 30)).evalf(20)) for point in points]
    assert torch.allclose(function(tensor(*points)), tensor(*want), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_know_their_intervals(domain):
    low, high, want = zip(*INTERVALS[domain], strict=True)
    assert DOMAINS[domain](tensor(*low), tensor(*high)).tolist() == list(want)


@pytest.mark.parametrize("name", LIBRARY)
def test_functions_are_finite_where_they_say_so(name):
    function = LIBRARY[name]
    ends = tensor(*torch.linspace(-7, 7, 57, dtype=torch.float64))
    pairs = torch.cartesian_prod(ends, ends)
    low, high = pairs.amin(-1), pairs.amax(-1)
    inside = torch.linspace(0, 1, 301, dtype=torch.float64)
    values = function(low.unsqueeze(-1) + (high - low).unsqueeze(-1) * inside)  # [intervals, 301]
    # A pole between two points shows as a jump; all of these functions are monotonic near their poles.
    jumps = (values.diff() * values.diff().sign().mode(-1, keepdim=True).values).amin(-1)
    finite = function.finite_on(low, high)
    assert torch.isfinite(values[finite]).all()
    assert finite.any()
    if function.domain == "not 0":
        assert (~finite == (low * high <= 0)).all()
    elif function.domain != "one branch":
        assert not torch.isfinite(values[~finite]).all(-1).any()
    else:
        assert (jumps[~finite & (high - low < 3)] < -1).all()
        assert (jumps[finite] > -1e-9).all()


@pytest.mark.parametrize("name", CURVED)
def test_forms_take_up_what_they_say(name):
    """shift: f(s t) = A f(t) + B for s > 0; scale: f(t + s) = A f(t) + B; free: neither."""
    function = LIBRARY[name]
    t = torch.linspace(-0.4 if function.domain == "all" else 0.1, 0.4, 50, dtype=torch.float64)
    basis = torch.stack([function(t), torch.ones_like(t)], -1)

    def rest(values):
        return float(
            (values - basis @ torch.linalg.lstsq(basis, values.unsqueeze(-1)).solution.squeeze(-1)).abs().max()
        )

    assert (rest(function(1.7 * t)) < 1e-12) == (function.form == "shift")
    assert (rest(function(t + 0.3)) < 1e-12) == (function.form == "scale")


@pytest.mark.parametrize("name", LIBRARY)
def test_reflections_are_what_they_say(name):
    function = LIBRARY[name]
    t = torch.linspace(0.1, 0.9, 50, dtype=torch.float64)
    even, odd = (function(-t) - sign * function(t) for sign in (1, -1))
    constant = any(bool((difference - difference[0]).abs().max() < 1e-13) for difference in (even, odd))
    assert constant == function.reflects


@pytest.mark.parametrize("name", LIBRARY)
def test_one_half_is_in_every_domain(name):
    """A removed snapped edge is evaluated there."""
    half = tensor(0.5).requires_grad_()
    assert LIBRARY[name].finite_on(half, half).all()
    (slope,) = torch.autograd.grad(LIBRARY[name](half).sum(), half)
    assert torch.isfinite(slope).all()


def test_more_constants_are_more_complex():
    constants = {"constant": 0, "linear": 1, "shift": 2, "scale": 2, "free": 2.5}
    assert all(function.complexity >= constants[function.form] for function in LIBRARY.values())
    assert math.isclose(LIBRARY["x"].complexity, 1)


def test_names_become_functions():
    assert named(None) == tuple(LIBRARY.values())
    assert [function.name for function in named(iter(["tan", "x"]))] == ["tan", "x"]
    with pytest.raises(ValueError, match=r"a function must be one of 0, x, .*gaussian; got \['sinus'\]"):
        named(["sin", "sinus"])
    with pytest.raises(ValueError, match=r"a function must be one of .*; got \[\]"):
        named([])
    with pytest.raises(TypeError, match=r"library must be a sequence of names such as \['sin', 'x\^2'\]; got 'sin'"):
        named("sin")


def test_without_sympy_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(ImportError, match=r"pip install .*qkan-torch\[symbolic\]"):
        import_sympy()
    assert LIBRARY["sin"](tensor(0.0)) == 0  # training does without
