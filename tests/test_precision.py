"""Single precision at large inputs, rows that are not numbers, and Fourier coefficients against PennyLane."""

import pytest
import torch
import truth
from helpers import (
    ANSATZE,
    ENCODINGS,
    MODULES,
    SOLVERS,
    TRAINABLE,
    domain,
    error,
    inputs,
    module,
    options_for,
    random_layer,
)

from qkan.bases import fourier as basis
from qkan.solvers.fourier import coefficients, features

INTEGER = [e for e in ENCODINGS if e not in TRAINABLE]
NOT_NUMBERS = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("encoding", INTEGER)
@pytest.mark.parametrize("ansatz", [a for a in ANSATZE if a != "px-none"])
def test_single_precision_at_large_inputs(ansatz, encoding, solver):
    n_in = 5
    layer = random_layer(ansatz, encoding, solver, widths=(n_in, 3), dtype=torch.float32)
    double = random_layer(ansatz, encoding, solver, widths=(n_in, 3)).requires_grad_(False)
    double.load_state_dict(layer.state_dict())
    x = torch.cat([1e4 * inputs("pz", 200, n_in, dtype=torch.float32) / 3, torch.full((1, n_in), 1e4)])
    degree = ANSATZE[ansatz].degree(layer.options.start_weights)
    assert layer(x).dtype == torch.float32
    assert (layer(x).double() - double(x.double())).abs().max() <= 1e-5 * max(degree, 1) * n_in


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("name", MODULES)
def test_what_is_not_a_number_stays_in_its_own_row(name, value):
    net, x = module(name), domain(name, 2, 4, 3)
    clean = net(x)
    x[1, 2, 1] = value
    y = net(x)
    own = torch.zeros(2, 4, dtype=torch.bool)
    own[1, 2] = True
    torch.testing.assert_close(y[~own], clean[~own], rtol=1e-12, atol=1e-12)
    # tanh and clamp map infinities to the ends of [-1, 1]; nothing may turn a NaN into a number.
    if value != value:
        assert y[1, 2].isnan().all()


@pytest.mark.parametrize("name", MODULES)
def test_the_gradient_by_x_of_what_is_not_a_number_stays_in_its_row(name):
    net, x = module(name), domain(name, 4, 3)
    x[2, 1] = float("nan")
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[[0, 1, 3]].sum(), x)
    assert gradient[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("harmonics", [(1,), (1, 2, 3), (2, 5), tuple(range(1, 42)), (-3, 0, 7)])
def test_multiples_are_cosines_and_sines(harmonics):
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    pairs = basis.multiples(x.cos(), x.sin(), harmonics)
    assert set(pairs) == set(harmonics)
    for k, (cos, sin) in pairs.items():
        torch.testing.assert_close(cos, (k * x).cos(), rtol=0, atol=1e-13)
        torch.testing.assert_close(sin, (k * x).sin(), rtol=0, atol=1e-13)


def test_no_multiple_makes_a_number_of_a_nan():
    x = torch.tensor([float("nan"), float("inf"), 1.0])
    for cos, sin in basis.multiples(x.cos(), x.sin(), range(-3, 4)).values():
        assert cos.isnan().tolist() == sin.isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e != "trainable"])
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_series_is_the_edge(ansatz, encoding):
    layer, x = random_layer(ansatz, encoding), inputs(ansatz, 6, 5)
    weight, bias = layer.encoding_weight, layer.encoding_bias
    weight = layer.options.start_weights if weight is None else weight
    series = coefficients(ANSATZE[ansatz], layer.theta, weight, bias)
    columns = features(ANSATZE[ansatz], x, weight, bias)
    z = series.constant + torch.einsum("bif,oif->boi", columns, series.coefficients)
    assert error(z, random_layer(ansatz, encoding, "statevector").edges(x)) < 1e-12


def test_coefficients_refuse_weights_per_edge():
    layer = random_layer("pz", "trainable")
    with pytest.raises(ValueError, match=r"weight must be integers or \[in, uploads\] .*; got \(3, 5, 3\)"):
        coefficients(ANSATZE["pz"], layer.theta, layer.encoding_weight)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("encoding", ["unit", "signs"])
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_coefficients_are_those_that_pennylane_finds(ansatz, encoding):
    qml = pytest.importorskip("pennylane")
    options = options_for(ansatz, encoding)
    layer = random_layer(ansatz, encoding, widths=(1, 1))
    weights, angles = layer.options.start_weights, layer.theta.flatten().tolist()
    biases = [0.0] * len(weights) if layer.encoding_bias is None else layer.encoding_bias.flatten().tolist()

    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(u):
        theta, uploads = iter(angles), iter(zip(weights, biases, strict=True))
        fixed = {"H": qml.Hadamard, "X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
        rotation = {"x": qml.RX, "y": qml.RY, "z": qml.RZ}
        for word in truth.words(ansatz, options["reps"]):
            if word in fixed:
                fixed[word](wires=0)
            elif word[0] == "r":
                rotation[word[1]](next(theta), wires=0)
            else:
                w, b = next(uploads)
                rotation[word[1]](w * u[0] + b, wires=0)
        return qml.expval(qml.PauliZ(0))

    degree = sum(map(abs, weights))
    want = torch.as_tensor(qml.fourier.coefficients(circuit, 1, degree))  # c_0, c_1, .., c_D, c_-D, .., c_-1
    series = coefficients(ANSATZE[ansatz], layer.theta.detach(), weights, layer.encoding_bias)
    cos, sin = torch.zeros(2, degree + 1, dtype=torch.float64)
    harmonics = list(ANSATZE[ansatz].harmonics(weights))
    cos[harmonics], sin[harmonics] = series.coefficients.detach().flatten().chunk(2)
    cos[0] = series.constant.item()
    # a cos kx + b sin kx = c e^{ikx} + conj(c) e^{-ikx} with c = (a - ib) / 2.
    expected = torch.complex(cos, -sin) / 2
    expected[0] = cos[0]
    torch.testing.assert_close(want[: degree + 1], expected, rtol=0, atol=1e-12)
