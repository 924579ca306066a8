"""Shots: measured means have the mean, variance and values of ±1 outcomes, and the gradient of the expectation."""

import copy
import pickle

import numpy as np
import pytest
import torch
from helpers import OPTIONS, error, generator, inputs, perturb, random_layer
from torch import nn

from qkan import HQKAN, QKAN, QKANLinear, load, lower, save
from qkan.layers import QKANOptions
from qkan.noise import Noise
from qkan.readout import sample
from qkan.solvers import PennyLane

Z = torch.tensor([-1.0, -0.97, -0.3, 0.0, 0.4, 0.99, 1.0], dtype=torch.float64)
SOLVERS = ("statevector", "bloch", "fourier")
ROWS = [
    ("pz", "unit", "fourier"),
    ("own", "signs", "bloch"),
    ("px", "trainable", "auto"),
    ("mix", "ternary", "statevector"),
]
MODELS = {
    "layer": lambda **options: QKANLinear(3, 2, **options),
    "stack": lambda **options: QKAN([3, 4, 2], **options),
    "hybrid": lambda **options: HQKAN(3, 2, latent=(4, 3), **options),
}


def model(name, **options):
    return perturb(MODELS[name](dtype=torch.float64, **options))


def far(found, mean, variance):
    """How many standard deviations of its mean the mean over the first dimension is away; where there is no variance,
    whether it is there at all."""
    deviation = (variance / len(found)).sqrt()
    gap = (found.mean(0) - mean).abs()
    return torch.where(deviation > 0, gap / deviation.clamp(min=1e-300), gap * 1e12).max()


@pytest.mark.parametrize("shots", [1, 7, 1000])
def test_means_and_variances_are_those_of_measurements(shots):
    repeats = 20000
    found = sample(Z.expand(repeats, -1), shots, generator())
    variance = (1 - Z**2) / shots
    assert far(found, Z, variance) < 5
    # The variance of a variance is (fourth moment - variance²) / repeats, here from the samples themselves.
    squares = (found - Z) ** 2
    assert far(squares, variance, squares.var(0)) < 5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shots", [1, 3, 100])
def test_values_are_means_of_plus_and_minus_one(shots, dtype):
    found = sample(Z.to(dtype).expand(500, -1), shots, generator())
    zeros = (found.double() + 1) / 2 * shots
    assert found.dtype == dtype
    assert (zeros - zeros.round()).abs().max() < shots * torch.finfo(dtype).eps
    assert found[:, 0].eq(-1).all()
    assert found[:, -1].eq(1).all()
    assert zeros.min() >= 0
    assert len(found[:, 3].unique()) > 1


def test_samples_of_different_elements_are_independent():
    found = sample(torch.zeros(4000, 3, dtype=torch.float64), 10, generator())
    correlation = (found[:, [0, 0, 1]] * found[:, [1, 2, 2]] * 10).mean(0)
    assert correlation.abs().max() < 5 / 4000**0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_expectations_that_rounding_pushed_beyond_one_are_taken_as_one(dtype):
    beyond = torch.tensor([1 + 4 * torch.finfo(dtype).eps, -1 - 4 * torch.finfo(dtype).eps], dtype=dtype)
    assert (beyond.abs() > 1).all()
    assert (sample(beyond, 50, generator()) - beyond.sign()).abs().max() < 5 * torch.finfo(dtype).eps
    assert sample(torch.tensor([float("nan"), 0.5]), 50).isnan().tolist() == [True, False]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)])
def test_any_shape(shape):
    assert sample(torch.zeros(shape), 5).shape == shape


def test_the_gradient_of_a_sample_is_that_of_the_expectation():
    z = Z.clone().requires_grad_()
    weight = torch.arange(7.0, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((sample(z, 5, generator()) * weight).sum(), z)
    assert torch.equal(gradient, weight)


def test_generators_make_samples_reproducible_and_leave_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (sample(Z, 9, generator(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, sample(Z, 9, generator(4)))
    assert torch.equal(torch.get_rng_state(), state)
    source = generator(3)
    assert torch.equal(sample(Z, 9, source), first)
    assert not torch.equal(sample(Z, 9, source), first)
    torch.manual_seed(3)
    assert torch.equal(sample(Z, 9), first)


# --- layers


@pytest.mark.parametrize(("ansatz", "encoding", "solver"), ROWS)
def test_edges_of_a_layer_are_measured_means_of_its_expectations(ansatz, encoding, solver):
    layer = random_layer(ansatz, encoding, solver, shots=20)
    exact = random_layer(ansatz, encoding, solver)
    x, source = inputs(ansatz, 2, 5), generator()
    z = exact.edges(x).detach()
    found = torch.stack([layer.edges(x, source).detach() for _ in range(400)])
    assert found.shape == (400, 2, 3, 5)
    assert ((found + 1) * 10 - ((found + 1) * 10).round()).abs().max() < 1e-13
    assert far(found, z, (1 - z**2) / 20) < 5
    squares = (found - z) ** 2
    assert far(squares, (1 - z**2) / 20, squares.var(0)) < 5


@pytest.mark.parametrize("name", OPTIONS)
def test_scale_mask_base_and_bias_act_on_the_samples(name):
    layer = random_layer("pz", shots=8, **OPTIONS[name])
    layer.mask.copy_(torch.rand(3, 5, generator=generator(2)))
    layer.mask[1, 2] = 0
    x = inputs("pz", 4, 5)
    edges = layer.edges(x, generator(7))
    scale = 1 if layer.scale is None else layer.scale
    want = (edges * layer.mask * scale).sum(-1)
    if layer.base_weight is not None:
        sigma = {"base": nn.functional.silu, "all": lambda t: t}[name]
        want = want + sigma(x) @ (layer.mask * layer.base_weight).T
    if layer.bias is not None:
        want = want + layer.bias
    assert error(layer(x, generator(7)), want) < 1e-14


@pytest.mark.parametrize("solver", SOLVERS)
def test_samples_do_not_depend_on_how_expectations_are_computed(solver):
    x = inputs("pz", 4, 5)
    one, other = (random_layer(solver=s, shots=16)(x, generator()) for s in (solver, "bloch"))
    assert error(one, other) < 1e-14


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_training_and_evaluation_sample_alike(name, mode):
    net, x = model(name, shots=5).train(mode), inputs("pz", 6, 3)
    first, again, other = net(x, generator(1)), net(x, generator(1)), net(x, generator(2))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-3
    with torch.no_grad():
        assert torch.equal(net(x, generator(1)), first)


@pytest.mark.parametrize("name", MODELS)
def test_models_hand_the_generator_to_every_layer(name):
    net, x = model(name, shots=5), inputs("pz", 6, 3)
    state = torch.get_rng_state()
    net(x, generator(1))
    net(x, generator=generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    net(x)
    assert not torch.equal(torch.get_rng_state(), state)


def test_layers_of_a_stack_draw_one_after_the_other_from_one_generator():
    net, x, source = model("stack", shots=5), inputs("pz", 6, 3), generator(1)
    want = net.layers[1](net.layers[0](x, source), source)
    assert torch.equal(net(x, generator(1)), want)


@pytest.mark.parametrize("name", MODELS)
def test_without_shots_a_generator_changes_nothing(name):
    net, x, source = model(name), inputs("pz", 6, 3), generator(1)
    state = source.get_state()
    assert torch.equal(net(x, source), net(x))
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize(("ansatz", "encoding", "solver"), ROWS)
def test_gradients_are_those_of_the_expectations(ansatz, encoding, solver):
    cotangent = torch.randn(4, 3, generator=generator(3), dtype=torch.float64)
    results = []
    for shots in (6, None):
        layer = random_layer(ansatz, encoding, solver, scale=True, shots=shots)
        x = inputs(ansatz, 4, 5).requires_grad_()
        wanted = [x, *(p for name, p in layer.named_parameters() if name != "scale")]
        results.append(torch.autograd.grad((layer(x, generator()) * cotangent).sum(), wanted))
    assert max(error(got, want) for got, want in zip(*results, strict=True)) < 1e-13


def test_the_gradient_of_the_scale_is_measured():
    layer, x = random_layer(shots=6, scale=True), inputs("pz", 4, 5)
    (gradient,) = torch.autograd.grad(layer(x, generator()).sum(), layer.scale)
    assert error(gradient, layer.edges(x, generator()).sum(0)) < 1e-14


def test_many_shots_are_the_expectation():
    x = inputs("pz", 4, 5)
    assert (random_layer(shots=10**10)(x) - random_layer()(x)).abs().max() < 1e-3


@pytest.mark.parametrize("solver", ["bloch", "fourier"])
def test_noise_is_measured_too(solver):
    noise = Noise(amplitude_damping=0.2, readout_error=(0.1, 0.3))
    layer, x, source = random_layer(solver=solver, noise=noise, shots=20), inputs("pz", 2, 5), generator()
    z = random_layer(solver=solver, noise=noise).edges(x).detach()
    found = torch.stack([layer.edges(x, source).detach() for _ in range(400)])
    assert far(found, z, (1 - z**2) / 20) < 5
    squares = (found - z) ** 2
    assert far(squares, (1 - z**2) / 20, squares.var(0)) < 5


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("name", MODELS)
def test_any_leading_dimensions(name, batch):
    net = model(name, shots=5)
    y = net(inputs("pz", *batch, 3))
    assert y.shape == (*batch, 2)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    layer = random_layer(shots=4, dtype=dtype)
    x = inputs("pz", 6, 5, dtype=dtype)
    assert layer(x).dtype == dtype
    assert layer.edges(x).dtype == torch.promote_types(dtype, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_lowering_takes_the_exact_expectations(name):
    net, exact, x = model(name, shots=5), model(name), inputs("pz", 6, 3)
    exact.load_state_dict(net.state_dict())
    assert error(lower(net)(x), exact(x)) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_shots_survive_copies_pickles_and_files(name, tmp_path):
    pytest.importorskip("safetensors")
    net, x = model(name, shots=5), inputs("pz", 6, 3)
    save(net, tmp_path / "net.safetensors")
    for clone in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), load(tmp_path / "net.safetensors")):
        assert torch.equal(clone(x, generator(1)), net(x, generator(1)))
        assert repr(clone) == repr(net)
    assert "shots=5" in repr(net)
    assert "shots" not in repr(model(name))


def test_training_with_shots_lowers_the_loss_of_expectations():
    x = torch.linspace(-3, 3, 40, dtype=torch.float64)[:, None]
    y = 0.6 * torch.sin(x)
    net, source = QKANLinear(1, 1, dtype=torch.float64, shots=200, generator=generator()), generator(5)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)

    def loss(model):
        return (model(x) - y).square().mean().item()

    before = loss(lower(net))
    for _ in range(50):
        optimizer.zero_grad()
        (net(x, source) - y).square().mean().backward()
        optimizer.step()
    assert loss(lower(net)) < 0.05 * before


AMPLITUDE = r"shots need readout='expectation': readout='amplitude' .* biased; .*, or shots=None"
ERRORS = {
    "0": ({"shots": 0}, ValueError, r"shots must be an integer of at least 1; got 0"),
    "negative": ({"shots": -3}, ValueError, r"shots must be an integer of at least 1; got -3"),
    "float": ({"shots": 1.5}, TypeError, r"shots must be an integer; got 1\.5 of type float"),
    "whole float": ({"shots": 100.0}, TypeError, r"shots must be an integer; got 100\.0"),
    "bool": ({"shots": True}, ValueError, r"shots must be an integer of at least 1; got True"),
    "text": ({"shots": "many"}, TypeError, r"shots must be an integer; got 'many' of type str"),
    "amplitude": ({"shots": 5, "readout": "amplitude"}, ValueError, AMPLITUDE),
    "amplitude, solver": ({"solver": PennyLane(shots=5), "readout": "amplitude"}, ValueError, AMPLITUDE),
    "twice": (
        {"shots": 5, "solver": PennyLane(shots=6)},
        ValueError,
        r"shots is given twice: 5, and 6 with the solver; give one",
    ),
    "solver": ({"solver": lambda: PennyLane(shots=0)}, ValueError, r"shots must be an integer of at least 1; got 0"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mistake", ERRORS)
def test_mistakes(mistake, name):
    options, exception, match = ERRORS[mistake]
    with pytest.raises(exception, match=match):
        MODELS[name](**{key: value() if callable(value) else value for key, value in options.items()})


def test_shots_may_be_given_to_the_solver_or_to_the_layer():
    twice, solver, layer = (
        QKANOptions(**given).choose_solver()
        for given in (
            {"shots": 5, "solver": PennyLane(shots=5)},
            {"solver": PennyLane(shots=5)},
            {"shots": 5, "solver": "pennylane"},
        )
    )
    assert twice == solver == layer == PennyLane(shots=5)


@pytest.mark.parametrize("solver", [{"name": "pennylane", "shots": 10}, PennyLane(shots=10)])
def test_a_solver_with_shots_is_checked_however_it_is_given(solver):
    with pytest.raises(ValueError, match="shots need readout='expectation'"):
        QKANLinear(2, 2, solver=solver, readout="amplitude")
    with pytest.raises(ValueError, match="shots is given twice: 5, and 10 with the solver"):
        QKANLinear(2, 2, solver=solver, shots=5)
    assert "solver=pennylane(shots=10)" in repr(QKANLinear(2, 2, solver=solver))


def test_a_lowered_model_takes_a_generator_and_samples_nothing():
    model = QKAN([3, 4, 2], shots=10)
    lowered, x = lower(model), torch.randn(5, 3)
    assert torch.equal(lowered(x, torch.Generator()), lowered(x))


def test_any_integer_is_a_number_of_shots_and_is_saved(tmp_path):
    pytest.importorskip("safetensors")
    model = QKAN([2, 2], shots=np.int64(5))
    assert type(model.options.shots) is int
    save(model, tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").options.shots == 5
