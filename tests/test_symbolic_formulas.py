"""Exact formulas: numbers from SymPy's text are those of the layers, for every circuit, option and model."""

import sys

import pytest
import torch
from helpers import (
    ANSATZE,
    ENCODINGS,
    MODULES,
    OPTIONS,
    domain,
    error,
    generator,
    inputs,
    masked,
    module,
    perturb,
    random_layer,
)
from torch import nn

from qkan import HQKAN, QKAN, QKANLinear, lower
from qkan.elementary import LIBRARY
from qkan.layers.snapped import snapped
from qkan.lowering import LoweredLinear
from qkan.noise import Noise
from qkan.symbolic import edge_formula, evaluate, formula, rounded
from qkan.symbolic.edges import activation_formula, edge_size

sympy = pytest.importorskip("sympy")
X = sympy.Symbol("x")


def values(expression, x):
    return evaluate([expression], [X], x.unsqueeze(-1)).squeeze(-1)


def check_edges(layer, x, pole=None):
    """Every edge against the layer's own, by a solver that knows nothing of coefficients; where amplitudes allow."""
    want = layer.contributions(x).detach()
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            got = values(edge_formula(layer, o, i), x[:, i])
            clear = torch.ones_like(got, dtype=torch.bool) if pole is None else pole[:, o, i]
            assert error(got[clear], want[clear, o, i]) < 1e-12, (o, i)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_circuit_and_encoding(ansatz, encoding):
    layer = random_layer(ansatz, encoding, "statevector", widths=(2, 1))
    check_edges(layer, inputs(ansatz, 40, 2))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "own"])
def test_every_option(ansatz, options):
    layer = masked(nn.Sequential(random_layer(ansatz, solver="statevector", widths=(2, 2), **OPTIONS[options])))[0]
    check_edges(layer, inputs(ansatz, 40, 2))
    assert edge_formula(layer, 0, 1) == 0


@pytest.mark.parametrize("encoding", ["unit", "trainable"])
@pytest.mark.parametrize("ansatz", ["pz", "px", "mix"])
def test_amplitudes_are_written_out(ansatz, encoding):
    options = {"readout": "amplitude", "scale": True, "base_activation": "silu"}
    layer = random_layer(ansatz, encoding, "statevector", widths=(2, 2), **options)
    x = inputs(ansatz, 40, 2)
    pole = layer.with_options(readout="expectation").edges(x).abs() < 1 - 1e-3
    assert pole.float().mean() > 0.9
    check_edges(layer, x, pole)


def test_amplitudes_at_the_poles_are_real():
    """z reaches ± 1, and its square, rounded, goes beyond."""
    layer = random_layer("real", widths=(1, 1), readout="amplitude")
    x = torch.linspace(-3, 3, 4001, dtype=torch.float64)
    got = values(edge_formula(layer, 0, 0), x)
    assert (got - layer.edge_function(0, 0)(x)).abs().max() < 1e-7
    assert torch.isfinite(values(edge_formula(layer, 0, 0, digits=1), x)).all()


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px"])
def test_noise_is_in_the_numbers(ansatz):
    noise = Noise(depolarizing=0.03, amplitude_damping=0.05, readout_error=(0.01, 0.03))
    layer = random_layer(ansatz, solver="bloch", widths=(2, 1), noise=noise)
    check_edges(layer, inputs(ansatz, 40, 2))


def test_shots_have_the_formula_of_the_expectation():
    layer = random_layer(widths=(2, 1))
    assert edge_formula(layer.with_options(shots=10), 0, 1) == edge_formula(layer, 0, 1)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name != "trainable"])
@pytest.mark.parametrize("ansatz", ["pz", "px-clamp", "own"])
def test_lowered_layers(ansatz, encoding):
    layer = random_layer(ansatz, encoding, widths=(2, 1), scale=True, base_activation="tanh")
    check_edges(lower(layer), inputs(ansatz, 40, 2))
    assert error(values(edge_formula(lower(layer), 0, 1), inputs(ansatz, 40)),
                 values(edge_formula(layer, 0, 1), inputs(ansatz, 40))) < 1e-12  # fmt: skip


def test_lowered_layers_with_weights_per_edge():
    layer = LoweredLinear(2, 3, ansatz="rpz", reps=2, encoding="trainable", base_activation="elu", dtype=torch.float64)
    check_edges(perturb(layer), inputs("rpz", 40, 2))


@pytest.mark.parametrize("name", LIBRARY)
def test_snapped_edges(name):
    layer = snapped(random_layer(widths=(2, 2), base_activation="silu"), {(1, 0): (name, (0.3, 0.6, -2.0, 0.7))})
    check_edges(layer, inputs("pz", 40, 2) / 3)


def test_masks_of_snapped_edges_are_in_the_numbers():
    layer = snapped(random_layer(widths=(2, 1)), {(0, 0): ("sin", (1.0, 0.0, 2.0, 0.6))})
    layer.snapped_mask.fill_(0.5)
    assert edge_formula(layer, 0, 0, digits=2) == sympy.sin(X) + sympy.Float(0.3)
    layer.remove_edges(torch.tensor([[True, False]]))
    assert edge_formula(layer, 0, 0) == 0
    assert edge_size(layer, 0, 0) == 0


def test_edges_by_hand():
    """Rotations of (1, 0, 0), the state behind H, worked out on paper."""
    x, (a, b, c, d) = sympy.Symbol("x"), (0.7, -0.4, 1.3, 2.1)
    sin, cos = (lambda t: float(sympy.sin(t))), (lambda t: float(sympy.cos(t)))
    layer = QKANLinear(1, 1, reps=1, dtype=torch.float64)
    with torch.no_grad():
        layer.theta.copy_(torch.tensor([a, b, c, d], dtype=torch.float64))
    turned = cos(a) * cos(b) * sympy.cos(x + c) - sin(a) * sympy.sin(x + c)
    assert same(edge_formula(layer, 0, 0), -sin(d) * turned - cos(d) * cos(a) * sin(b))
    layer = QKANLinear(1, 1, reps=1, ansatz="rpz", dtype=torch.float64)
    with torch.no_grad():
        layer.theta.copy_(torch.tensor([a, b], dtype=torch.float64))
        layer.encoding_bias.fill_(c)
    assert same(edge_formula(layer, 0, 0), -cos(a) * sin(b) * sympy.cos(x + c) - sin(a) * cos(b))


def same(first, second):
    """Whether two expressions of x are equal in value; both exact to 30 digits but for their float64 constants."""
    points = [sympy.Rational(n, 7) for n in range(-20, 21, 3)]
    return all(abs((first - second).subs(X, point).evalf(30)) < 1e-14 for point in points)


def test_the_text_is_a_trigonometric_polynomial():
    layer = random_layer(widths=(1, 1))
    expression = edge_formula(layer, 0, 0)
    waves = {sympy.cos(k * X) for k in (1, 2, 3)} | {sympy.sin(k * X) for k in (1, 2, 3)}
    assert expression.atoms(sympy.cos, sympy.sin) == waves
    assert expression.as_coefficients_dict(*waves).keys() == waves | {1}


def test_variables_are_names_or_expressions():
    layer = random_layer(widths=(2, 1), ansatz="px")
    x, y = X, sympy.Symbol("y")
    assert edge_formula(layer, 0, 1, "y") == edge_formula(layer, 0, 1).subs(x, y)
    assert edge_formula(layer, 0, 1, y**2) == edge_formula(layer, 0, 1, y).subs(y, y**2)
    assert edge_formula(layer, 0, 1, digits=3) == rounded(edge_formula(layer, 0, 1), 3)


ACTIVATIONS = {
    "identity": nn.Identity(), "silu": nn.SiLU(), "relu": nn.ReLU(), "gelu": nn.GELU(), "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(), "softplus": nn.Softplus(), "elu": nn.ELU(),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    assert error(values(activation_formula(ACTIVATIONS[name], X), x), ACTIVATIONS[name](x)) < 1e-14


@pytest.mark.parametrize("name", ["QKAN", "HQKAN", "QKAN-own", "expectation-bloch-all", "px-unit-fourier"])
def test_models(name):
    net, x = masked(module(name)), domain(name, 2, 9, 3)
    found = formula(net)
    assert len(found) == 2
    assert [str(variable) for variable in found.variables] == ["x1", "x2", "x3"]
    assert error(found(x), net(x)) < 1e-12
    assert max(one.largest for one in found.error(x, net)) < 1e-12
    assert error(formula(lower(net))(x), net(x)) < 1e-12


def test_sequences_with_linear_layers_and_activations():
    shared, act = snapped(random_layer(widths=(2, 2), bias=True), {(0, 0): ("sin", (1.0, 0.2, 2.0, 0.0))}), nn.Tanh()
    shared.remove_edges(torch.tensor([[False, True], [True, False]]))
    parts = (nn.SiLU(), shared, nn.Sequential(act, shared, act), nn.Identity())
    first, last = nn.Linear(3, 2, dtype=torch.float64), nn.Linear(2, 1, bias=False, dtype=torch.float64)
    net = nn.Sequential(first, *parts, last)
    x = inputs("pz", 9, 3)
    assert error(formula(net)(x), net(x)) < 1e-12


def test_snapped_models_are_short():
    model = QKAN([2, 1, 1], bias=True, dtype=torch.float64)
    first = snapped(model.layers[0], {(0, 0): ("sin", (3.0, 0.0, 1.0, 0.0)), (0, 1): ("x^2", (1.0, 0.0, 1.0, 0.0))})
    model = model.with_layers([first, snapped(model.layers[1], {(0, 0): ("exp", (1.0, 0.0, 1.0, 0.0))})])
    found = formula(model, ["x", sympy.Symbol("y")])
    assert str(found.rounded(3)) == "exp(y**2 + sin(3*x))"
    x = inputs("pz", 5, 2)
    assert error(found(x), model(x)) < 1e-14


def test_long_formulas_are_refused_before_they_are_built():
    model = QKAN([4, 6, 5, 2], reps=3)  # 6 waves an edge: 4 · 6, then 6 · 6 · 24, then 5 · 6 · 864 places
    with pytest.raises(
        ValueError, match=r"hold a variable in 25920 places after layer layers\.2, more than limit=10000"
    ):
        formula(model)
    with pytest.raises(ValueError, match=r"864 places after layer layers\.1, more than limit=500: prune the model or "):
        formula(model, limit=500)
    assert len(formula(QKAN([4, 6, 5], reps=3))) == 5


@pytest.mark.parametrize("name", MODULES)
def test_sizes_are_counted_without_building(name):
    layer = next(part for part in masked(module(name)).modules() if isinstance(part, QKANLinear))
    for o in range(layer.out_features):
        expression = edge_formula(layer, o, 1)
        count = sum(part == X for part in sympy.preorder_traversal(expression))
        size = edge_size(layer, o, 1)
        # The products hold several of them at once, px writes sqrt(1 - tanh²) for sin, real has one wave of two.
        assert size <= count <= 6 * size


def test_rounding_tells_its_error():
    net, x = module("QKAN"), inputs("pz", 200, 3)
    exact = formula(net)
    assert [tuple(one) for one in exact.error(x)] == [(0, 0)] * 2
    short = exact.rounded(2)
    off = (evaluate(short.expressions, short.variables, x) - net(x)).detach()
    for number, one in enumerate(short.error(x)):
        assert one.largest == pytest.approx(float(off[:, number].abs().max()), abs=1e-12)
        assert one.rms == pytest.approx(float(off[:, number].square().mean() ** 0.5), abs=1e-12)
    assert all(a.rms > 10 * b.rms > 0 for a, b in zip(short.error(x), exact.rounded(4).error(x), strict=True))
    assert short.rounded(1).exact == exact.expressions
    assert list(formula(net, digits=2)) == list(short)


def test_rounded_numbers_are_short_and_whole_ones_exact():
    y = sympy.Symbol("y")
    given = 0.9996 * X + 0.0004 * sympy.sin(X) + 2.71828 * y ** sympy.Rational(1, 2) - 1.00001 + sympy.pi * y
    found = rounded(given, 2)
    assert found == X + sympy.Float(2.72) * sympy.sqrt(y) + sympy.pi * y - 1
    assert str(found) == "x + 2.72*sqrt(y) + pi*y - 1"


def test_latex_names_its_variables():
    found = formula(module("QKAN"), ["x1", "alpha", "y"], digits=1)
    first, second = found.latex()
    assert first != second
    assert all(text in first for text in ("x_{1}", r"\alpha", r"\cos"))
    assert r"\theta_0" in found.latex({"y": r"\theta_0"})[0]
    with pytest.raises(ValueError, match=r"names must be of variables, x1, alpha, y; got beta, z"):
        found.latex({"z": "a", "beta": "b"})


def test_text_has_a_line_for_every_output():
    found = formula(module("QKAN"), digits=1)
    lines = str(found).splitlines()
    assert [sympy.sympify(line) for line in lines] == [found[0], found[1]] == list(found)


def test_values_of_expressions():
    x, y = sympy.symbols("x y")
    at = torch.tensor([[[4.0, -1.0], [9.0, 0.0]]])
    found = evaluate([sympy.sqrt(x), sympy.log(y), sympy.Integer(3), sympy.Max(x, y)], [x, y], at)
    assert found.shape == (1, 2, 4)
    assert found.dtype == torch.float64
    assert found[..., 0].tolist() == [[2, 3]]
    assert found[0, 0, 1].isnan()
    assert found[0, 1, 1] == -torch.inf
    assert found[..., 2].tolist() == [[3, 3]]
    assert found[..., 3].tolist() == [[4, 9]]
    assert evaluate([sympy.I * x], [x], torch.ones(3, 1)).isnan().all()
    assert evaluate([x, sympy.erf(x), x * 0], [x], torch.empty(0, 1)).shape == (0, 3)
    with pytest.raises(ValueError, match=r"expressions must hold the variables \(x,\) alone; got \{y\} as well"):
        evaluate([x * y], [x], at[..., :1])
    with pytest.raises(ValueError, match=r"x must be \[\*batch, 1\]"):
        evaluate([x], [x], at)


class Alone(nn.Module):
    """A layer with edges of no known kind."""

    in_features, out_features = 2, 1

    def edge_function(self, output, input):
        return torch.sin

    def contributions(self, x):
        return x.sin().unsqueeze(-2)

    def expansion(self, x):
        return None

    def forward(self, x):
        return x.sin().sum(-1, keepdim=True)


REFUSED = {
    "names": (lambda: formula(QKAN([3, 2]), ["x", "y"]), ValueError, r"names must be 3, one for every input; got 2"),
    "limit": (lambda: formula(QKAN([3, 2]), limit=0), ValueError, r"limit must be an integer of at least 1; got 0"),
    "digits": (lambda: formula(QKAN([3, 2]), digits=0), ValueError, r"digits must be an integer of at least 1; got 0"),
    "model": (lambda: formula(nn.Sequential(nn.Linear(2, 2), nn.Dropout())), TypeError,
              r"1 must be made of edge layers, nn\.Linear, .*; got Dropout; take the formula of a part"),
    "no layer": (lambda: formula(nn.SiLU()), ValueError, r"model must hold a layer with widths.*; got SiLU"),
    "kind": (lambda: edge_formula(Alone(), 0, 1), ValueError,
             r"edge 1 -> 0 of a Alone has no formula; snap it .*fix_symbolic or auto_symbolic"),
    "activation": (lambda: edge_formula(QKANLinear(1, 1, base_activation=torch.sin), 0, 0), ValueError, "has no name"),
    "output": (lambda: edge_formula(QKANLinear(3, 2), 2, 0), ValueError, r"output must be in 0\.\.1; got 2"),
    "input": (lambda: edge_formula(QKANLinear(3, 2), 0, 1.5), TypeError, r"input must be an integer; got 1\.5"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_argument(name):
    call, exception, match = REFUSED[name]
    with pytest.raises(exception, match=match):
        call()


def test_without_sympy_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sympy", None)
    for call in (lambda: formula(QKAN([2, 1])), lambda: edge_formula(QKANLinear(2, 1), 0, 0), lambda: rounded(X, 2)):
        with pytest.raises(ImportError, match=r"pip install .*qkan-torch\[symbolic\]"):
            call()


def test_the_model_is_not_changed():
    net = perturb(HQKAN(3, 2, latent=(2, 2), dtype=torch.float32, generator=generator()))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    formula(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float32}
