"""Suggestions: exact functions are found with their constants, the ranking is the formula, domains are respected."""

import math

import numpy as np
import pytest
import torch
from helpers import generator, perturb, random_layer

from qkan import HQKAN, QKAN
from qkan.elementary import LIBRARY
from qkan.symbolic import suggest, suggest_symbolic
from qkan.symbolic.fitting import Samples, fit
from qkan.symbolic.suggest import score

optimize = pytest.importorskip("scipy.optimize")

CURVED = [name for name, function in LIBRARY.items() if function.form not in ("constant", "linear")]

# Exact functions d + c f(a x + b) on [-1, 2] in the normal form of f.
KNOWN = {
    "x": (1.0, 0.0, -3.0, 0.5),
    "x^2": (1.0, -0.3, 2.0, 1.0),
    "x^3": (1.0, 0.7, -0.4, 0.0),
    "1/x": (1.0, 1.5, 2.0, -1.0),
    "sqrt": (-1.0, 2.5, 3.0, 0.2),
    "abs": (1.0, -0.21, 1.5, 0.0),
    "exp": (-1.3, 0.0, 0.7, 2.0),
    "log": (1.0, 1.1, 2.0, 1.0),
    "sin": (3.1, 0.4, 2.0, -1.0),
    "cos": (1.7, -0.5, 0.3, 0.0),
    "tanh": (2.5, -0.8, 1.0, 3.0),
    "arctan": (4.0, 1.0, -2.0, 0.0),
    "gaussian": (1.4, 0.6, 2.0, 0.1),
    "cosh": (1.5, -0.2, 0.5, 0.0),
    "arcsin": (0.45, 0.05, 1.0, 0.0),
}


def uniform(source, low, high, *shape):
    return low + (high - low) * torch.rand(*shape, generator=source, dtype=torch.float64)


def number(source, low, high):
    return float(uniform(source, low, high, 1))


def random_parameters(function, source):
    """Half-width α and centre β of a x + b over the data, in the range of a search, f finite in between."""
    while True:
        sign = 1 if function.reflects or number(source, 0, 1) < 0.5 else -1
        if function.form == "shift":
            outside = 1 + 10 ** number(source, -2, 0.7)
            alpha, beta = 1.0, number(source, -0.9, 0.9) if function.domain == "all" else outside
        else:
            alpha = number(source, 0.3, 0.95 * min(10, function.half_width or 10))
            beta = {"scale": 0.0}.get(function.form, number(source, -1, 1) * min(function.centre, alpha + 1))
        if function.finite_on(*torch.tensor([[beta - alpha], [beta + alpha]], dtype=torch.float64)):
            return sign * alpha, beta


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", CURVED)
def test_exact_functions_are_found_whatever_the_units(name, seed):
    function, source = LIBRARY[name], generator(seed)
    alpha, beta = random_parameters(function, source)
    half = 10 ** number(source, -2, 2)
    middle = number(source, -2, 2) * half
    x = middle + half * uniform(source, -1, 1, 500)
    c, d = number(source, 0.5, 2) * (-1) ** seed, number(source, -2, 2)
    y = d + c * function(alpha * (x - middle) / half + beta)
    found = fit(function, Samples.of(x, y))
    assert found.r2 > 1 - 1e-10
    a, b, c, d = found.affine
    assert (d + c * function(a * x + b) - y).abs().max() < 1e-4 * (y - y.mean()).abs().max()


@pytest.mark.parametrize("name", KNOWN)
def test_constants_are_recovered(name):
    a, b, c, d = KNOWN[name]
    x = torch.linspace(-1, 2, 301, dtype=torch.float64)
    best, *others = suggest(x, d + c * LIBRARY[name](a * x + b), weight_simple=0.1)
    found = next(one for one in (best, *others) if one.name == name)
    assert math.isclose(best.score, found.score)  # a sine is a cosine
    assert found.r2 > 1 - 1e-12
    assert torch.allclose(torch.tensor(found.affine), torch.tensor(KNOWN[name]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["sin", "tanh", "gaussian", "exp", "x^2", "log"])
def test_no_better_fit_is_known_to_scipy(name):
    """A function that is none of the library: the rest is not 0, and only its size tells a good fit from a bad one."""
    function = LIBRARY[name]
    x = torch.linspace(0.2, 2, 200, dtype=torch.float64)
    y = torch.sin(2 * x) + 0.3 * x.square()
    found = fit(function, Samples.of(x, y))

    def residual(p):
        inside = torch.as_tensor(p[0] * x.numpy() + p[1])
        return torch.nan_to_num(p[3] + p[2] * function(inside) - y, 1e3, 1e3, -1e3).numpy()

    starts = [(a, b, 1.0, 0.0) for a in (0.5, 2.0, 4.0) for b in (-1.0, 0.5)]
    with np.errstate(all="ignore"):  # some starts run away
        rests = [2 * optimize.least_squares(residual, start, max_nfev=300).cost for start in starts]
    best = 1 - min(rests) / float((y - y.mean()).square().sum())
    assert found.r2 > best - 1e-4


@pytest.mark.parametrize("name", CURVED)
def test_fits_are_finite_between_the_samples(name):
    """1/x fitted to a step would have its pole in the gap, where no sample forbids it."""
    function = LIBRARY[name]
    x = torch.cat([torch.linspace(-2, -0.5, 40), torch.linspace(0.5, 2, 40)]).double()
    a, b, c, d = fit(function, Samples.of(x, 1 / x)).affine
    values = d + c * function(a * torch.linspace(-2, 2, 4001, dtype=torch.float64) + b)
    assert torch.isfinite(values).all()
    assert values.diff().abs().max() < 2


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_units_of_the_input_change_a_alone(unit):
    x = torch.linspace(-1, 2, 200, dtype=torch.float64)
    y = x.sin() + x
    first, second = suggest(x, y, library=["tanh"])[0], suggest(unit * x, y, library=["tanh"])[0]
    assert math.isclose(first.r2, second.r2, rel_tol=1e-9)
    assert math.isclose(first.affine[0], unit * second.affine[0], rel_tol=1e-5)


def test_faster_waves_need_a_larger_reach():
    x = torch.linspace(-1, 1, 600, dtype=torch.float64)
    y = torch.sin(30 * x)
    assert suggest(x, y, library=["sin"])[0].r2 < 0.5
    found = suggest(x, y, library=["sin"], reach=40)[0]
    assert found.r2 > 1 - 1e-12
    assert math.isclose(found.affine[0], 30, rel_tol=1e-9)


def test_the_ranking_is_the_formula():
    x = torch.linspace(-1, 1, 100, dtype=torch.float64)
    y = x + 0.05 * torch.sin(25 * x)
    found = suggest(x, y, top=None)
    for one in found:
        assert math.isclose(one.score, 0.8 * one.complexity + 0.2 * math.log2(1 - one.r2 + 1e-5), abs_tol=1e-9)
    assert [one.score for one in found] == sorted(one.score for one in found)
    assert found[0].name == "x"  # the ripple is no reason for more
    by_fit = suggest(x, y, top=None, weight_simple=0.0)
    assert [one.r2 for one in by_fit] == sorted((one.r2 for one in by_fit), reverse=True)
    assert by_fit[0].name != "x"
    by_size = suggest(x, y, top=None, weight_simple=1.0)
    assert [one.complexity for one in by_size] == sorted(one.complexity for one in by_size)
    assert by_size[0].name == "x"


def test_what_moves_is_no_constant_unless_asked():
    x = torch.linspace(-1, 1, 100, dtype=torch.float64)
    y = torch.sin(5 * x) + 0.1 * torch.sin(40 * x)
    assert "0" not in {one.name for one in suggest(x, y, top=None)}
    assert suggest(x, y, library=["0", "sin"])[0].name == "0"
    assert suggest(x, y, library=["0", "sin"])[0].affine == (1, 0, 0, pytest.approx(0, abs=1e-12))
    assert suggest(x, y)[0].name == "sin"


def test_one_unit_of_complexity_costs_a_factor_of_sixteen():
    assert math.isclose(score(1 - 0.16, 1, 0.8), score(1 - 0.01, 2, 0.8), abs_tol=1e-3)


def test_a_parabola_is_no_cosine():
    x = torch.linspace(-1, 1, 200, dtype=torch.float64)
    noise = 1e-3 * torch.sin(20 * x)
    assert suggest(x, x.square() + noise)[0].name == "x^2"


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_constants_are_the_function_0(value):
    x = torch.linspace(-1, 1, 30)
    (found,) = suggest(x, torch.full_like(x, value))
    assert (found.name, found.r2, found.affine) == ("0", 1.0, (1.0, 0.0, 0.0, value))
    (found,) = suggest(torch.ones(9), torch.full((9,), value), library=["sin"])
    assert found.name == "0"


def test_samples_have_any_shape_order_and_dtype():
    x = uniform(generator(), -1, 1, 10, 20)
    y = (3 * x).sin()
    want = suggest(x.flatten(), y.flatten())[0]
    assert suggest(x, y)[0] == want
    turned = suggest(x.flip(0, 1), y.flip(0, 1))[0]
    assert turned.name == "sin"
    assert math.isclose(turned.affine[0], 3, rel_tol=1e-9)
    assert math.isclose(suggest(x.float(), y.float())[0].affine[0], 3, rel_tol=1e-5)


def test_top_and_library_choose():
    x = torch.linspace(0.5, 1, 50, dtype=torch.float64)
    assert len(suggest(x, x.log(), top=3)) == 3
    assert {one.name for one in suggest(x, x.log(), library=["tan", "log"], top=None)} == {"tan", "log"}


X = torch.linspace(-1, 1, 20)
REFUSED = {
    "one sample": (lambda: suggest(X[:1], X[:1]), ValueError, r"same number of samples, at least 2"),
    "shapes": (lambda: suggest(X, X[:5]), ValueError, r"same number of samples, at least 2"),
    "NaN": (lambda: suggest(X, X.log()), ValueError, r"x and y must be finite; leave samples out"),
    "name": (lambda: suggest(X, X, library=["sinus"]), ValueError, r"a function must be one of .*got \['sinus'\]"),
    "weight": (lambda: suggest(X, X, weight_simple=1.1), ValueError, r"weight_simple must be from 0 to 1; got 1\.1"),
    "reach": (lambda: suggest(X, X, reach=0.0), ValueError, r"reach must be a finite number of at least 0\.1"),
    "top": (lambda: suggest(X, X, top=1.5), TypeError, r"top must be an integer; got 1\.5"),
    "layer": (lambda: on_model(layer=2), ValueError, r"layer must be in 0\.\.1; got 2"),
    "no name": (lambda: on_model(layer="a"), ValueError, r"layer must be one of 'layers\.0', 'layers\.1', or a num"),
    "output": (lambda: on_model(output=3), ValueError, r"output must be in 0\.\.2; got 3"),
    "input": (lambda: on_model(input=-1), ValueError, r"input must be in 0\.\.1; got -1"),
    "data": (lambda: on_model(data="x"), TypeError, r"data must be inputs \[samples, \.\.\.\], or a pair"),
}  # fmt: skip


def on_model(layer=0, output=0, input=0, data=None):
    return suggest_symbolic(QKAN([2, 3, 1]), layer, output, input, torch.rand(30, 2) if data is None else data)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_argument(name):
    call, exception, match = REFUSED[name]
    with pytest.raises(exception, match=match):
        call()


def test_edges_are_fitted_where_their_layer_works():
    """The second layer sees the outputs of the first, not the data."""
    model = perturb(QKAN([2, 3, 1], dtype=torch.float64, ansatz="real", reps=1), 4)
    x = uniform(generator(), -1, 1, 300, 2)
    entered = model.layers[0](x)[:, 2]
    want = suggest(entered, model.layers[1].edge_function(0, 2)(entered))
    assert suggest_symbolic(model, 1, 0, 2, x) == want
    assert suggest_symbolic(model, "layers.1", 0, 2, (x, x)) == want
    assert want[0].name in ("sin", "cos")
    assert want[0].r2 > 1 - 1e-10


def test_any_model_and_single_layers_are_taken():
    layer = random_layer("rpz", widths=(3, 2))
    x = uniform(generator(), -1, 1, 100, 3)
    assert suggest_symbolic(layer, 0, 1, 2, x) == suggest(x[:, 2], layer.edge_function(1, 2)(x[:, 2]))
    assert suggest_symbolic(HQKAN(3, 2, latent=(2, 2)), "core.layers.0", 0, 0, x.float())
