"""Single precision at large inputs, autocast, rows that are not numbers, and coefficients against PennyLane."""

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
    generator,
    inputs,
    module,
    options_for,
    random_layer,
)

from qkan.bases import fourier as basis
from qkan.contraction import contract_linear
from qkan.solvers import fourier
from qkan.solvers.fourier import coefficients, features

INTEGER = [e for e in ENCODINGS if e not in TRAINABLE]
NOT_NUMBERS = [float("nan"), float("inf"), float("-inf")]

# The unit roundoff u, half of the spacing behind 1: a rounded number is off by u of itself at most.
HALVES = {dtype: torch.finfo(dtype).eps / 2 for dtype in (torch.bfloat16, torch.float16)}
SHARED = [e for e in ENCODINGS if e != "trainable"]
AUTOCAST = [("pz", e) for e in SHARED] + [(a, e) for a in ("rpz", "px", "mix", "own") for e in ("unit", "ternary")]


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


def single_and_double(ansatz, encoding, widths=(32, 7)):
    """The same layer in both precisions, with scale."""
    layer = random_layer(ansatz, encoding, widths=widths, dtype=torch.float32, scale=True)
    double = random_layer(ansatz, encoding, widths=widths, scale=True)
    double.load_state_dict(layer.state_dict())
    return layer, double


def terms(layer, x):
    """Features [batch, in, functions], coefficients [out, in, functions] and constants [out, in] of a layer."""
    weight, bias = layer.encoding(x.dtype)
    circuit, gain = layer.options.circuit, layer.gain(x.dtype)
    series = coefficients(circuit, layer.theta, weight, bias)
    return features(circuit, x, weight, bias), series.coefficients * gain.unsqueeze(-1), series.constant * gain


@torch.no_grad()
def excess(layer, double, x, dtype):
    """By how much the error under autocast is larger than docs/performance.md allows; negative where it is not."""
    with torch.autocast("cpu", dtype=dtype):
        y = layer(x)
    assert y.dtype == dtype
    u, (columns, table, constant) = HALVES[dtype], terms(double, x.double())
    want = double(x.double())
    products = torch.einsum("bif,oif->bo", columns.abs(), table.abs())
    moved = (2 * u + u * u) * products + u * constant.sum(-1).abs()
    single = 1e-5 * x.shape[-1] * columns.shape[-1]
    # float16 has no fewer than 2^-25 between a number and the next; features and coefficients are at most 1 and scale.
    least = 2**-24 * table.abs().max() * columns[0].numel() if dtype == torch.float16 else 0
    bound = moved + u * (want.abs() + moved) + single + least
    return float(((y.double() - want).abs() - bound).max())


@pytest.mark.parametrize("far", [1, 1e4])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("ansatz", "encoding"), AUTOCAST)
def test_autocast_rounds_features_coefficients_and_the_output_and_nothing_else(ansatz, encoding, dtype, far):
    if far > 1 and encoding in TRAINABLE:
        pytest.skip("single precision rounds the product of a trainable weight and a large x")
    layer, double = single_and_double(ansatz, encoding)
    assert excess(layer, double, far * inputs(ansatz, 50, 32, dtype=torch.float32), dtype) <= 0


def test_a_rounded_phase_would_not_pass(monkeypatch):
    layer, double = single_and_double("pz", "ternary")
    x = 1e4 * inputs("pz", 50, 32, dtype=torch.float32)
    exact = fourier.argument

    def rounded(x, kind):
        return exact(x.bfloat16().to(x.dtype) if x.dtype == torch.float32 else x, kind)

    monkeypatch.setattr(fourier, "argument", rounded)
    assert excess(layer, double, x, torch.bfloat16) > 1


@pytest.mark.parametrize("dtype", HALVES)
def test_products_of_half_precision_add_up_in_single(dtype):
    columns, table = (torch.rand(n, 2048, 4, generator=generator(n)).to(dtype) for n in (16, 7))
    exact = contract_linear(columns.double(), table.double())
    # Terms of one sign: added up in half precision, each of the last would be lost altogether.
    off = (contract_linear(columns, table).double() - exact).abs()
    assert (off <= (HALVES[dtype] + 1e-5) * exact).all()


@pytest.mark.parametrize("far", [1, 1e4])
@pytest.mark.parametrize("encoding", INTEGER)
@pytest.mark.parametrize("ansatz", ["pz", "real", "mix"])
def test_gradients_under_autocast_are_rounded_as_often(ansatz, encoding, far):
    layer, double = single_and_double(ansatz, encoding)
    x = (far * inputs(ansatz, 50, 32, dtype=torch.float32)).requires_grad_()
    upstream = inputs(ansatz, 50, 7, dtype=torch.float32).sign()  # exact in bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    by_x, by_theta = torch.autograd.grad(y, [x, layer.theta], upstream.to(y.dtype))
    exact = x.detach().double().requires_grad_()
    want_x, want_theta = torch.autograd.grad(double(exact), [exact, double.theta], upstream.double())
    assert by_x.dtype == by_theta.dtype == torch.float32
    # The gradient of a feature or a coefficient: one rounded factor, then rounded itself; then single precision.
    u, (columns, table, constant) = HALVES[torch.bfloat16], terms(double, exact)
    slopes = torch.stack([torch.autograd.grad(one.sum(), exact, retain_graph=True)[0] for one in columns.unbind(-1)])
    bends = torch.stack(
        [torch.autograd.grad(one.sum(), double.theta, retain_graph=True)[0] for one in (constant, *table.unbind(-1))]
    )
    by_features = torch.einsum("bo,oif->fbi", upstream.abs().double(), table.abs())
    by_table = torch.einsum("bo,bif->foi", upstream.abs().double(), columns.abs())
    by_constant = upstream.double().sum(0).abs()[:, None].expand(7, 32)  # a sum of integers: only its end is rounded
    off_x = ((2 * u + u * u) * slopes.abs() * by_features).sum(0)
    off_theta = (torch.cat([u * by_constant[None], (2 * u + u * u) * by_table]).unsqueeze(-1) * bends.abs()).sum(0)
    single = 1e-5 * columns.shape[-1] ** 2
    assert ((by_x - want_x).abs() <= off_x + single * 7).all()
    assert ((by_theta - want_theta).abs() <= off_theta + single * 50).all()


@pytest.mark.parametrize("encoding", ["unit", "ternary"])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "mix"])
def test_half_precision_layers_round_their_output_alone(ansatz, encoding):
    layer, double = single_and_double(ansatz, encoding)
    layer.bfloat16()
    double.load_state_dict(layer.state_dict())  # the rounded angles
    x = (1e4 * inputs(ansatz, 50, 32, dtype=torch.float32)).bfloat16()
    y, want = layer(x), double(x.double())
    degree = ANSATZE[ansatz].degree(layer.options.start_weights)
    assert y.dtype == torch.bfloat16
    assert ((y.double() - want).abs() <= HALVES[torch.bfloat16] * want.abs() + 1e-5 * degree * 32).all()


def test_autocast_to_other_types_is_off():
    layer, _ = single_and_double("pz", "unit")
    x = inputs("pz", 5, 32, dtype=torch.float32)
    with pytest.warns(UserWarning, match="target dtype is not supported. Disabling autocast"):
        context = torch.autocast("cpu", dtype=torch.float64)
    want = layer(x)
    with context:
        assert torch.equal(layer(x), want)


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
