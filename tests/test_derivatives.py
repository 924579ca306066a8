"""Derivatives by finite differences, second ones included, and gradients that stay finite where formulas do not."""

import pytest
import torch
from helpers import ANSATZE, OPTIONS, READOUTS, SOLVERS, inputs, module, random_layer, supported
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call

from qkan import QKANLinear, readout
from qkan.bases.arguments import argument

ROWS = [
    pytest.param(a, e, s, r, id=f"{a}-{e}-{s}-{r}")
    for a in ANSATZE
    for e in ("unit", "signs", "trainable", "trainable-shared")
    for s in SOLVERS
    for r in READOUTS
    if supported(s, e) and (e in ("unit", "trainable") or a in ("pz", "own"))
]


def as_function(layer):
    """The layer as a function of x and of all of its parameters."""
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    return call, [p.detach().clone().requires_grad_() for p in layer.parameters()]


def small(ansatz, encoding, solver, readout, **more):
    """A layer with few edges, at a point where no amplitude is near a pole."""
    x = inputs(ansatz, 2, 2)
    for seed in range(100):
        layer = random_layer(ansatz, encoding, solver, widths=(2, 3), readout=readout, seed=seed, **more)
        plain = random_layer(ansatz, encoding, solver, widths=(2, 3), seed=seed, **more)
        if plain.edges(x).abs().max() < 0.97:
            return layer, x.requires_grad_()
    raise AssertionError("no seed keeps the edges away from the poles")


@pytest.mark.parametrize(("ansatz", "encoding", "solver", "readout"), ROWS)
def test_first_and_second_derivatives_are_those_of_finite_differences(ansatz, encoding, solver, readout):
    layer, x = small(ansatz, encoding, solver, readout)
    call, parameters = as_function(layer)
    # fast_mode projects on random vectors; it draws them from the global generator.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert gradcheck(call, (x, *parameters), fast_mode=True)
        assert gradgradcheck(call, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("name", OPTIONS)
def test_derivatives_of_scale_base_and_bias(name):
    layer, x = small("pz", "unit", "auto", "expectation", **OPTIONS[name])
    call, parameters = as_function(layer)
    assert gradcheck(call, (x, *parameters))
    assert gradgradcheck(call, (x, *parameters))


def test_second_derivatives_are_not_silently_zero():
    layer, x = random_layer(widths=(2, 3)), inputs("pz", 4, 2).requires_grad_()
    (first,) = torch.autograd.grad(layer(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert second.abs().max() > 0.1


def gradients(layer, x):
    """Gradients of Σ y² by x and every parameter, zeros where there is none."""
    x = x.clone().requires_grad_()
    wanted = [x, *layer.parameters()]
    found = torch.autograd.grad(layer(x).square().sum(), wanted, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_gradients_are_finite_at_the_poles(ansatz, solver, dtype):
    # Angles and inputs at multiples of π/2: z is exactly or nearly -1, 0 and 1 on many edges.
    layer = random_layer(ansatz, solver=solver, readout="amplitude", dtype=dtype)
    x = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], dtype=dtype).repeat(3, 1)
    if ANSATZE[ansatz].arccos_map is None:
        x = x * torch.pi
    elif ANSATZE[ansatz].arccos_map == "none":
        x = 0.5 * x
    with torch.no_grad():
        quarter = torch.randint(-2, 3, layer.theta.shape, generator=torch.Generator().manual_seed(0))
        layer.theta.copy_(quarter * (torch.pi / 2))
        if layer.encoding_bias is not None:
            layer.encoding_bias.zero_()
    z = random_layer(ansatz, solver=solver, dtype=dtype)
    z.load_state_dict(layer.state_dict())
    assert (1 - z.edges(x).abs()).min() < 1e-6
    assert all(g.isfinite().all() for g in gradients(layer, x))


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("ansatz", "points"),
    [("px-clamp", [-3.0, -1.0, 0.0, 1.0, 2.0]), ("px", [-50.0, -9.5, 0.0, 9.5, 50.0])],
)
def test_gradients_of_px_are_finite_at_and_beyond_the_ends(ansatz, points, solver, readout, dtype):
    layer = random_layer(ansatz, solver=solver, readout=readout, dtype=dtype)
    x = torch.tensor([points], dtype=dtype)
    assert all(g.isfinite().all() for g in gradients(layer, x))
    if ansatz == "px-clamp":
        assert gradients(layer, x)[0][0, [0, 1, 3, 4]].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_tanh_argument_has_the_slope_minus_sech(dtype):
    x = torch.linspace(-30, 30, 101, dtype=dtype, requires_grad=True)
    u = argument(x, "tanh")
    (slope,) = torch.autograd.grad(u.sum(), x)
    exact = x.detach().double()
    near = exact.abs() < 5
    eps = torch.finfo(dtype).eps
    assert (slope.double() + 1 / exact.cosh()).abs().max() < 4 * eps
    assert (u.detach().double() - exact.tanh().acos())[near].abs().max() < max(8 * eps, 1e-10)
    assert u.min() + 4 * eps >= 0
    assert u.max() <= torch.pi + 4 * eps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_amplitude_of_a_known_state(dtype):
    z = torch.tensor([-1.0, -0.6, 0.0, 0.6, 1.0], dtype=dtype, requires_grad=True)
    y = readout.amplitude(z)
    want = [-1.0, 0.2**0.5 - 0.8**0.5, 0.0, 0.8**0.5 - 0.2**0.5, 1.0]  # sqrt(p0) - sqrt(p1)
    torch.testing.assert_close(y, torch.tensor(want, dtype=dtype))
    (gradient,) = torch.autograd.grad(y.sum(), z)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient[2].item(), 2**-0.5)


@pytest.mark.parametrize("solver", ["statevector", "bloch"])
def test_gradient_of_the_amplitude_by_an_angle_is_at_most_one_over_root_two(solver):
    layer = QKANLinear(1, 1, dtype=torch.float64, solver=solver, readout="amplitude", ansatz="real", reps=1)
    for angle in torch.linspace(-torch.pi, torch.pi, 401, dtype=torch.float64):
        with torch.no_grad():
            layer.theta.fill_(angle)
        (gradient,) = torch.autograd.grad(layer(torch.zeros(1, 1, dtype=torch.float64)).sum(), layer.theta)
        assert gradient.abs().max() <= 2**-0.5 + 1e-9


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_visible_angle_gets_a_gradient(ansatz):
    layer = random_layer(ansatz)
    (gradient,) = torch.autograd.grad(layer(inputs(ansatz, 4, 5)).square().sum(), layer.theta)
    moving = gradient.abs().amax((0, 1)) > 1e-9
    # The last RZ of px commutes with Z.
    hidden = [False] * (moving.numel() - 1) + [ansatz.startswith("px")]
    assert moving.tolist() == [not h for h in hidden]


def test_parameters_get_gradients_in_eval_mode_too():
    layer = module("expectation-bloch-all").eval()
    layer(inputs("pz", 4, 3)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
