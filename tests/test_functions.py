"""Functions to fit: every callable against its formula, at 30 digits; and the data sets drawn from them."""

import copy
import functools
import math
import subprocess
import sys

import mpmath
import pytest
import scipy.special
import sympy
import torch
from helpers import error, generator
from torch.nn.functional import mse_loss

from qkan import QKAN, fit
from qkan.data.catalogue import feynman, feynman_names, function_names, named
from qkan.data.feynman import BONUS, DIMENSIONLESS, FEYNMAN
from qkan.data.formulas import parse
from qkan.data.functions import Function, Variable, create_dataset, define
from qkan.data.special import SPECIAL
from qkan.data.toys import TOYS

TABLES = {"toy": TOYS, "special": SPECIAL, "feynman": FEYNMAN, "bonus": BONUS, "dimensionless": DIMENSIONLESS}
FUNCTIONS = {f"{table}: {f.name}": f for table, functions in TABLES.items() for f in functions}
TORCH = [name for name, f in FUNCTIONS.items() if f.differentiable]
NAMES = pytest.mark.parametrize("name", FUNCTIONS)

# What SymPy's printer does not know, under mpmath's names.
MPMATH = [{"assoc_legendre": mpmath.legenp, "sinc": lambda x: mpmath.sinc(x)}, "mpmath"]


@functools.cache
def expression(name):
    return FUNCTIONS[name].expression()


def points(f, samples, dtype=torch.float64, seed=0):
    return f.sample(samples, generator(seed), dtype=dtype)


@NAMES
def test_the_callable_is_the_formula(name):
    f = FUNCTIONS[name]
    x = points(f, 8)
    truth = sympy.lambdify(f.symbols(), expression(name), MPMATH)
    with mpmath.workdps(30):
        want = torch.tensor([float(mpmath.re(truth(*map(mpmath.mpf, row)))) for row in x.tolist()], dtype=x.dtype)
    off = (f(x) - want).abs() / (want.abs() + want.abs().mean())
    assert off.max() < (1e-12 if f.differentiable else 1e-10)


@NAMES
def test_the_formula_holds_the_declared_variables(name):
    f = FUNCTIONS[name]
    found = {symbol.name for symbol in expression(name).free_symbols}
    if f.name in ("sph_harm01", "sph_harm02"):  # of order 0: the same all around the axis
        found.add("phi")
    assert found == {variable.name for variable in f.variables}
    assert all(symbol.is_real for symbol in f.symbols())


@NAMES
def test_values_are_finite_in_the_whole_range(name):
    f = FUNCTIONS[name]
    ends = torch.tensor(f.ranges, dtype=torch.float64).T  # all variables at their lowest, all at their highest
    x = torch.cat([points(f, 1000), ends])
    assert f(x).isfinite().all()
    assert f(x).std() > 0
    assert f(x.float()).isfinite().all()


@pytest.mark.parametrize("name", TORCH)
def test_gradients_are_finite(name):
    f = FUNCTIONS[name]
    x = points(f, 1000).requires_grad_()
    f(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in TORCH])
def test_what_has_no_gradient_says_so(name):
    f = FUNCTIONS[name]
    x = points(f, 3).requires_grad_()
    with pytest.raises(ValueError, match=r"evaluated without a gradient: give x\.detach"):
        f(x)
    with torch.no_grad():
        assert torch.equal(f(x), f(x.detach()))


@NAMES
def test_batches_and_precision(name):
    f = FUNCTIONS[name]
    x = points(f, 6)
    assert torch.equal(f(x.reshape(2, 3, -1)), f(x).reshape(2, 3))
    assert f(x[:0]).shape == (0,)
    assert f(x).dtype is torch.float64
    single = f(x.float())
    assert single.dtype is torch.float32
    assert error(single, f(x.float().double())) < 1e-4


def test_the_tables_are_complete():
    assert {table: len(functions) for table, functions in TABLES.items()} == {
        "toy": 15, "special": 14, "feynman": 100, "bonus": 20, "dimensionless": 27,
    }  # fmt: skip
    assert len(set(function_names())) == len(function_names()) == 15 + 14 + 120
    assert feynman_names() == tuple(f.name for f in (*FEYNMAN, *BONUS))
    assert set(feynman_names(dimensionless=True)) < {f.name for f in FEYNMAN}
    assert [sum(f.name.startswith(f"{volume}.") for f in FEYNMAN) for volume in ("I", "II", "III")] == [51, 34, 15]
    assert all(f.description and f.source for f in FUNCTIONS.values())


# Worked out by hand; where copies of the table are known to be wrong, what those give is in the comment.
BY_HAND = [
    ("I.16.6", {"u": 1, "v": 1, "c": 2}, 1.6),  # u v in place of u + v: 0.8
    ("I.16.6", {"u": 3, "v": 3, "c": 3}, 3.0),  # light is as fast for everyone
    ("Goldstein 12.80", {"m": 2, "omega": 1, "p": 2, "y": 4, "x": 2, "alpha": 3}, 11.0),  # alpha y/x: 29
    ("I.29.16", {"x1": 3, "x2": 4, "theta1": 2, "theta2": 2}, 7.0),  # a minus: 1
    ("III.9.52", {"p_d": 1, "Ef": 2, "t": 3, "h": 2 * math.pi, "omega": 4, "omega_0": 4}, 36.0),  # not squared: 6
    ("III.9.52", {"p_d": 2, "Ef": 1, "t": 1, "h": 2 * math.pi, "omega": 1 + math.pi, "omega_0": 1}, 16 / math.pi**2),
    ("I.34.14", {"c": 5, "v": 3, "omega_0": 1}, 2.0),
    ("II.35.21", {"n_rho": 2, "mom": 1, "B": math.log(3), "kb": 1, "T": 1}, 1.6),
    ("III.19.51", {"m": 1, "q": 2, "h": 1, "n": 1, "epsilon": 1}, -2.0),
    ("Compton scattering", {"E_n": 1, "m": 1, "c": 1, "theta": math.pi}, 1 / 3),
    ("Goldstein 3.74", {"d": 4, "G": 2, "m1": 1, "m2": 1}, 8 * math.pi),
]


@pytest.mark.parametrize(("name", "values", "want"), BY_HAND)
def test_equations_by_hand(name, values, want):
    f = feynman(name)
    x = torch.tensor([values[variable.name] for variable in f.variables], dtype=torch.float64)
    assert float(f(x)) == pytest.approx(want, rel=1e-13)


def test_bessel_and_sinc():
    x = torch.linspace(-1, 1, 401, dtype=torch.float64, requires_grad=True)
    y = named("bessel")(x.unsqueeze(-1))
    (slope,) = torch.autograd.grad(y.sum(), x)
    z = 20 * x.detach().numpy()
    assert error(y, torch.as_tensor(scipy.special.j0(z))) < 1e-14
    assert error(slope, torch.as_tensor(-20 * scipy.special.j1(z))) < 1e-13
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    value = named("sinc")(zero)
    value.backward()
    assert (value.item(), zero.grad.item()) == (1.0, 0.0)


@pytest.mark.parametrize(("order", "degree"), [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2)])
@pytest.mark.parametrize("old", [False, True])
def test_spherical_harmonics_of_both_interfaces_of_scipy(order, degree, old, monkeypatch):
    if old:  # before SciPy 1.15: order first, then the azimuth, then the polar angle
        new = scipy.special.sph_harm_y
        monkeypatch.setattr(scipy.special, "sph_harm", lambda m, n, phi, theta: new(n, m, theta, phi), raising=False)
        monkeypatch.delattr(scipy.special, "sph_harm_y")
    f = named(f"sph_harm{order}{degree}")
    x = points(f, 20)
    want = [float(mpmath.re(mpmath.spherharm(degree, order, theta, phi))) for theta, phi in x.tolist()]
    assert error(f(x), torch.tensor(want, dtype=torch.float64)) < 1e-13


def test_symbols_know_the_sign_of_the_range():
    k, x, m = define("f", "", "k*x*m", lambda k, x, m: k * x * m, ("k", 1, 2), ("x", -1, 1), ("m", 0, 1)).symbols()
    assert (k.is_positive, x.is_positive, m.is_positive) == (True, None, None)
    assert (m.is_nonnegative, x.is_real) == (True, True)


def test_variables_may_have_the_names_of_sympy():
    current, gamma = sympy.symbols("I gamma")
    assert parse("I*gamma/2", (current, gamma)) == current * gamma / 2
    assert parse("-1/3 + 2**-1", ()) == sympy.Rational(1, 6)
    assert parse("0.5*pi", ()) == 0.5 * sympy.pi


BAD_FORMULAS = [
    ("x +", "formula must be one expression in Python's notation"),
    ("x = 1", "formula must be one expression in Python's notation"),
    ("x + z", "got 'z'"),
    ("gamma(x)", r"got 'gamma\(x\)'"),
    ("x.__class__", "got 'x.__class__'"),
    ("__import__('os')", r"got \"__import__\('os'\)\""),
    ("exp(x, evaluate=False)", "got 'exp"),
    ("exp(*x)", r"got '\*x'"),
    ("True", "got 'True'"),
    ("'x'", "got \"'x'\""),
    ("x if x else x", "got 'x if x else x'"),
    ("+x", r"got '\+x'"),
    ("x % 2", "got 'x % 2'"),
    ("[x]", r"got '\[x\]'"),
]


@pytest.mark.parametrize(("formula", "message"), BAD_FORMULAS)
def test_formulas_are_arithmetic_only(formula, message):
    with pytest.raises(ValueError, match=message):
        parse(formula, (sympy.Symbol("x"),))


def test_importing_the_tables_loads_neither_sympy_nor_scipy():
    script = "import sys, qkan.data.catalogue; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert not {"sympy", "scipy", "mpmath", "sklearn"} & set(done.stdout.split())


def test_missing_libraries_name_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sympy", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r'pip install "qkan-torch\[symbolic\]"'):
        named("product").expression()
    with pytest.raises(ImportError, match=r'pip install "qkan-torch\[symbolic\]"'):
        named("product").symbols()
    with pytest.raises(ImportError, match=r'pip install "qkan-torch\[data\]"'):
        named("jv")(torch.ones(1, 2))


def test_functions_are_found_by_name():
    assert feynman("I.6.2b") is feynman("I.6.20b")
    assert feynman("test_17") is named("test_17") is named("Goldstein 12.80") is BONUS[16]
    assert feynman("I.6.2", dimensionless=True) is DIMENSIONLESS[0]
    assert all(named(name).name == name for name in function_names())
    assert named(TOYS[0]) is TOYS[0]
    with pytest.raises(ValueError, match=r"no function 'I\.16\.7' among these 120; close are .*I\.16\.6"):
        feynman("I.16.7")
    with pytest.raises(ValueError, match="among these 27"):
        feynman("I.8.14", dimensionless=True)
    with pytest.raises(ValueError, match="close are exp-sine-square"):
        named("exp-sin-square")
    with pytest.raises(ValueError, match="close are exp-sine-square"):
        named("?")
    with pytest.raises(TypeError, match="name must be text; got int"):
        feynman(1)


def test_functions_are_frozen_values():
    f = feynman("I.10.7")
    assert copy.deepcopy(f) == f
    assert len({f, copy.copy(f), feynman("I.16.6")}) == 2
    with pytest.raises(AttributeError):
        f.formula = "1"
    assert "lambda" not in repr(f)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_are_uniform_in_the_ranges(dtype):
    f = define("f", "", "a*b", lambda a, b: a * b, ("a", 0.1, 0.7), ("b", -30, 10))
    x = points(f, 20_000, dtype)
    low, high = torch.tensor(f.ranges, dtype=dtype).unbind(-1)
    assert x.dtype is dtype
    assert ((x >= low) & (x <= high)).all()
    unit = (x - low) / (high - low)
    assert (unit.mean(0) - 0.5).abs().max() < 0.01
    assert (unit.var(0) - 1 / 12).abs().max() < 0.002
    assert f.sample(0).shape == (0, 2)
    assert f.sample(1).dtype is torch.get_default_dtype()
    assert f.sample(2, device="meta").device.type == "meta"


def test_randomness_comes_from_the_generator():
    f = feynman("I.6.20b")
    before = torch.get_rng_state()
    first, second, other = (f.sample(5, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    sets = [create_dataset(f, train_num=5, test_num=4, noise=0.1, generator=generator(seed)) for seed in (1, 1, 2)]
    flat = [torch.cat([part.flatten() for pair in data for part in pair]) for data in sets]
    assert torch.equal(flat[0], flat[1])
    assert not torch.isclose(flat[0], flat[2]).any()
    assert torch.equal(torch.get_rng_state(), before)
    f.sample(5)
    create_dataset(f, noise=0.1)
    assert not torch.equal(torch.get_rng_state(), before)


def test_data_sets_hold_the_function():
    f = feynman("I.16.6")
    train, test = create_dataset(f, train_num=7, test_num=5, generator=generator(), dtype=torch.float64)
    for (x, y), samples in ((train, 7), (test, 5)):
        assert (x.shape, y.shape) == ((samples, 3), (samples, 1))
        assert x.dtype is y.dtype is torch.float64
        assert torch.equal(y, f(x).unsqueeze(-1))
        assert ((x >= 1) & (x <= 5)).all()
    assert not torch.isin(test[0], train[0]).any()


@pytest.mark.parametrize("outputs", [(), (1,), (3,)])
@pytest.mark.parametrize(
    "ranges", [None, (2, 3), [[2, 3], [-5, -4]], torch.tensor([[2, 3], [-5, -4]]), torch.tensor([2, 3]).numpy()]
)
def test_any_callable_gives_a_data_set(outputs, ranges):
    def f(x):
        assert not torch.is_grad_enabled()
        return x.prod(-1).reshape(-1, *(1 for _ in outputs)).expand(-1, *outputs)

    (x, y), _ = create_dataset(f, 2, ranges, 50, 1, generator=generator())
    low, high = torch.as_tensor((-1, 1) if ranges is None else ranges).expand(2, 2).unbind(-1)
    assert ((x >= low) & (x <= high)).all()
    assert y.shape == (50, *(outputs or (1,)))
    assert torch.equal(y, x.prod(-1, keepdim=True).expand_as(y))


def test_ranges_of_a_function_may_be_changed():
    (x, _), _ = create_dataset(feynman("I.12.1"), ranges=(7, 8), train_num=20, generator=generator())
    assert ((x >= 7) & (x <= 8)).all()


def test_noise_is_on_training_targets_only():
    f = named("exp-sine-square")
    clean, noisy = (
        create_dataset(f, None, None, 20_000, 10, noise=noise, generator=generator(), dtype=torch.float64)
        for noise in (0.0, 0.25)
    )
    assert torch.equal(clean[0][0], noisy[0][0])
    assert all(torch.equal(a, b) for a, b in zip(clean[1], noisy[1], strict=True))
    added = noisy[0][1] - clean[0][1]
    assert float(added.std() / clean[0][1].std()) == pytest.approx(0.25, rel=0.03)
    assert added.mean().abs() < 0.02


@pytest.mark.parametrize("what", ["input", "label"])
def test_normalized_data(what):
    f = feynman("I.8.14")
    plain, scaled = (
        create_dataset(f, train_num=200, test_num=9, generator=generator(), dtype=torch.float64, **options)
        for options in ({}, {f"normalize_{what}": True})
    )
    part, other = (0, 1) if what == "input" else (1, 0)
    assert scaled[0][part].mean(0).abs().max() < 1e-12
    assert (scaled[0][part].std(0, correction=0) - 1).abs().max() < 1e-12
    assert all(torch.equal(a[other], b[other]) for a, b in zip(plain, scaled, strict=True))
    width = plain[0][part].std(0, correction=0)  # the test data are moved as the training data
    moved = (plain[1][part] - plain[0][part].mean(0)) / width
    assert error(scaled[1][part], moved) < 1e-12


def test_fit_takes_a_data_set():
    train, test = create_dataset(named("product"), train_num=64, test_num=16, generator=generator())
    model = QKAN([2, 1], generator=generator())
    history = fit(model, train, validation=test, epochs=1, batch_size=16, loss=mse_loss, generator=generator())
    assert history.last["test_loss"] < 1


def two(x):
    return x.sum(-1)


XY = named("product")
ERRORS = {
    "name of a variable must be a name of Python": lambda: Variable("x y", 0, 1),
    "name of a variable must be a name of Python.*'lambda'": lambda: Variable("lambda", 0, 1),
    "range of a variable must be finite with low < high.*'x'": lambda: Variable("x", 1, 1),
    "range of a variable must be finite": lambda: Variable("x", 0, math.inf),
    r"variables must be at least one, each with a name of its own; got \[\]": lambda: define("f", "", "1", two),
    "with a name of its own; got .'x', 'x'": lambda: define("f", "", "x", two, ("x", 0, 1), ("x", 0, 1)),
    r"x must be \[\*batch, 2\] with the columns x, y; got \(3,\)": lambda: XY(torch.zeros(3)),
    r"x must be .* got \(\)": lambda: XY(torch.tensor(1.0)),
    "samples must be an integer of at least 0; got -1": lambda: XY.sample(-1),
    "train_num must be an integer of at least 1; got 0": lambda: create_dataset(XY, train_num=0),
    "test_num must be an integer of at least 1; got True": lambda: create_dataset(XY, test_num=True),
    "noise must be a finite number of at least 0; got -1": lambda: create_dataset(XY, noise=-1),
    "n_var is the number of variables: give it": lambda: create_dataset(two),
    "n_var must be an integer of at least 1": lambda: create_dataset(two, 0),
    "n_var must be 2, the number of variables of product; got 3": lambda: create_dataset(XY, 3),
    r"ranges must be \(low, high\) with low < high, or 2 such pairs": lambda: create_dataset(two, 2, [(0, 1)] * 3),
    "ranges must be .* got .1, 0.": lambda: create_dataset(two, 2, (1, 0)),
    "ranges must be .*inf": lambda: create_dataset(two, 2, (0, math.inf)),
    r"f must return \[5\] or \[5, outputs\]; got \(\)": lambda: create_dataset(torch.sum, 2, train_num=5),
    "f is not finite at 5 of 5 values": lambda: create_dataset(lambda x: two(x) / 0, 2, train_num=5),
    "normalize_label divides by the standard deviation, which is 0": lambda: create_dataset(
        lambda x: 0 * two(x), 2, normalize_label=True
    ),
    "normalize_input divides": lambda: create_dataset(XY, train_num=1, normalize_input=True),
}
TYPE_ERRORS = {
    "x must be a floating-point tensor; got torch.int64": lambda: XY(torch.zeros(3, 2, dtype=torch.int64)),
    "x must be a floating-point tensor; got list": lambda: XY([[1.0, 2.0]]),
    "samples must be an integer; got 2.5 of type float": lambda: XY.sample(2.5),
    "train_num must be an integer": lambda: create_dataset(XY, train_num="9"),
    "f must return a tensor; got float": lambda: create_dataset(lambda x: 1.0, 2),
    "unexpected keyword argument 'seed'": lambda: create_dataset(XY, seed=0),
}


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [(kind, *row) for kind, table in ((ValueError, ERRORS), (TypeError, TYPE_ERRORS)) for row in table.items()],
)
def test_errors(kind, message, call):
    with pytest.raises(kind, match=message):
        call()


def test_a_function_of_ones_own():
    f = Function("own", (Variable("x", -2, 2),), "Abs(x) + x", lambda x: x.abs() + x)
    (x, y), _ = create_dataset(f, generator=generator())
    assert torch.equal(y, 2 * x.clamp(min=0))
    assert f.expression().subs(f.symbols()[0], -1) == 0
