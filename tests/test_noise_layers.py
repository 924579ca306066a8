"""Noisy layers: what torch does with them, how noise is given, saved, printed, lowered and refused."""

import copy
import functools
import itertools
import json
import math
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from density import NOISES
from helpers import ANSATZE, TOLERANCES, error, generator, inputs, perturb, random_layer
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jacfwd, jacrev, jvp, stack_module_state, vmap

from qkan import QKAN, QKANLinear, functional, load, lower, save
from qkan.ansatz import PZ, RX, RZ, Ansatz, H
from qkan.noise import Noise

SOLVERS = ("bloch", "fourier")
DERIVED = dict.fromkeys(
    [
        *itertools.product(ANSATZE, ["unit"], ["all"], SOLVERS),
        *itertools.product(["two", "own"], ["unit"], NOISES, SOLVERS),
        *itertools.product(["pz"], ["signs", "trainable-shared"], ["all"], SOLVERS),
        ("mix", "trainable", "all", "bloch"),
    ]
)


@pytest.mark.parametrize(("ansatz", "encoding", "noise", "solver"), DERIVED)
def test_second_derivatives_are_those_of_finite_differences(ansatz, encoding, noise, solver):
    layer = random_layer(ansatz, encoding, solver, widths=(2, 3), noise=Noise(**NOISES[noise]))
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    given = (inputs(ansatz, 2, 2).requires_grad_(), *(p.detach().requires_grad_() for p in layer.parameters()))
    with torch.random.fork_rng():  # fast_mode draws from the global generator
        torch.manual_seed(0)
        assert gradcheck(call, given, fast_mode=True)
        assert gradgradcheck(call, given, fast_mode=True)


MODULES = {
    f"{ansatz}-{encoding}-{solver}-{noise}": (ansatz, encoding, solver, noise)
    for ansatz, encoding, solver, noise in [
        ("pz", "unit", "fourier", "all"),
        ("pz", "unit", "bloch", "all"),
        ("own", "signs", "fourier", "reset in the middle"),
        ("px", "unit", "fourier", "trainable and fixed"),
        ("pz", "trainable-shared", "fourier", "all"),
        ("two", "trainable", "bloch", "all at some gates"),
    ]
}


def module(name, seed=0, dtype=torch.float64):
    ansatz, encoding, solver, noise = MODULES[name]
    return random_layer(ansatz, encoding, solver, (3, 2), seed, dtype, noise=Noise(**NOISES[noise]))


def domain(name, *shape, **more):
    return inputs(MODULES[name][0], *shape, **more)


def twice(net, x):
    """The gradient by everything of a function of the gradient of the angles: two backward passes."""
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(net(x).square().sum(), net.theta, create_graph=True)
    return torch.autograd.grad(first.pow(3).sum(), [x, *net.parameters()])


@pytest.mark.parametrize("name", [name for name in MODULES if "fourier" in name])
def test_two_backward_passes_agree_with_edgewise_simulation(name):
    net, x = module(name), domain(name, 4, 3)
    other = QKANLinear(3, 2, dtype=torch.float64, **net.options.__dict__ | {"solver": "bloch"})
    other.load_state_dict(net.state_dict())
    pairs = list(zip(twice(net, x), twice(other, x), strict=True))
    assert max(error(got, want) for got, want in pairs) < 1e-11
    assert all(want.abs().max() > 1e-6 for _, want in pairs)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, from forward mode
@pytest.mark.parametrize("name", MODULES)
def test_forward_mode_is_the_transpose_of_backward(name):
    net, x = module(name), domain(name, 4, 3)
    given = {key: parameter.detach() for key, parameter in net.named_parameters()}
    call = functools.partial(functional_call, net)
    by_rows, by_columns = (jacobian(lambda p: call(p, (x,)))(given) for jacobian in (jacrev, jacfwd))
    for key, rows in by_rows.items():
        assert error(by_columns[key], rows) < 1e-12, key
    tangent = {key: torch.randn(p.shape, generator=generator(5), dtype=p.dtype) for key, p in given.items()}
    _, along = jvp(lambda p: call(p, (x,)), (given,), (tangent,))
    want = sum((by_rows[key].flatten(2) @ tangent[key].flatten()) for key in given)
    assert error(along, want) < 1e-12


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("name", MODULES)
def test_hessians_forward_over_reverse_are_those_of_two_backward_passes(name):
    net, x = module(name), domain(name, 2, 3)

    def loss(theta):
        return functional_call(net, {"theta": theta}, (x,)).square().sum()

    theta = net.theta.detach()
    want = jacrev(jacrev(loss))(theta)
    assert want.abs().max() > 0.1
    assert error(jacfwd(jacrev(loss))(theta), want) < 1e-12


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("name", MODULES)
def test_vmap_over_stacked_parameters_is_a_loop_with_its_derivatives(name):
    nets, x = [module(name, seed=seed) for seed in range(3)], domain(name, 4, 3)
    parameters, buffers = stack_module_state(nets)
    tangent = {key: torch.randn_like(parameter) for key, parameter in parameters.items()}

    def ensemble(given):
        return vmap(lambda p, b: functional_call(nets[0], (p, b), (x,)))(given, buffers)

    y, along = jvp(ensemble, (parameters,), (tangent,))
    each = [net(x) for net in nets]
    assert error(y, torch.stack(each)) < 1e-13
    backward = torch.autograd.grad(ensemble(parameters).square().sum(), list(parameters.values()))
    found = [torch.autograd.grad(z.square().sum(), list(net.parameters())) for net, z in zip(nets, each, strict=True)]
    for got, want in zip(backward, zip(*found, strict=True), strict=True):
        assert error(got, torch.stack(want)) < 1e-12
    # Along y the change of Σ y²/2 is what the gradient says.
    slope = sum((g * tangent[key]).sum() for key, g in zip(parameters, backward, strict=True))
    assert error((2 * y * along).sum(), slope) < 1e-12


@pytest.mark.parametrize("name", MODULES)
def test_copies_pickles_and_state_dicts(name):
    net, other, x = module(name), module(name, seed=9), domain(name, 4, 3)
    for clone in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(clone(x), net(x))
        assert clone.options == net.options
    other.load_state_dict(net.state_dict(), assign=True)
    assert torch.equal(other(x), net(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_whole_graphs_compile(name):
    torch._dynamo.reset()
    net, x = module(name), domain(name, 4, 3).requires_grad_()
    results = []
    for call in (net, torch.compile(net, fullgraph=True, backend="aot_eager")):
        y = call(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *net.parameters()])])
    assert max(error(got, want) for want, got in zip(*results, strict=True)) < 1e-12


@pytest.mark.parametrize("name", MODULES)
def test_single_precision(name):
    net, x = module(name, dtype=torch.float32), domain(name, 20, 3, dtype=torch.float32)
    double = module(name).requires_grad_(True)
    double.load_state_dict(net.state_dict())
    results = []
    for layer, at in ((net, x), (double, x.double())):
        y = layer(at.requires_grad_())
        results.append([y, *torch.autograd.grad(y.square().sum(), [at, *layer.parameters()])])
    assert results[0][0].dtype == torch.float32
    assert max(error(got, want) for got, want in zip(*results, strict=True)) < TOLERANCES[torch.float32].close


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("ansatz", "encoding"), [("pz", "unit"), ("own", "signs"), ("px", "ternary"), ("mix", "trainable-shared")]
)
def test_lowered_models_are_as_noisy(ansatz, encoding, noise):
    options = {"scale": True, "bias": True, "base_activation": "silu", "noise": Noise(**NOISES[noise])}
    layer = random_layer(ansatz, encoding, "bloch", **options)
    layer.mask[1, 2] = 0
    x = inputs(ansatz, 6, 5)
    assert error(lower(layer)(x), layer(x)) < 1e-13


@pytest.mark.parametrize("given", ["option", "dict", "ansatz"])
@pytest.mark.parametrize("noise", NOISES)
def test_saved_noise_comes_back(noise, given, tmp_path):
    pytest.importorskip("safetensors")
    own, made = ANSATZE["own"], Noise(**NOISES[noise])
    options = {
        "option": {"ansatz": own, "noise": made},
        "dict": {"ansatz": own, "noise": NOISES[noise]},
        "ansatz": {"ansatz": own.with_noise(made)},
    }[given]
    net = perturb(QKAN([3, 4, 2], reps=2, dtype=torch.float64, **options))
    save(net, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors")
    assert loaded.options == net.options
    assert loaded.options.noise == made
    x = inputs("own", 5, 3)
    assert torch.equal(loaded(x), net(x))


def test_noise_may_be_given_in_three_ways_and_is_one_option():
    noise = Noise(bit_flip=0.1, readout_error=0.2)
    ways = [{"noise": noise}, {"noise": noise.to_dict()}, {"ansatz": PZ.with_noise(noise)}]
    ways.append(ways[0] | ways[2])
    options = [QKANLinear(2, 3, **way).options for way in ways]
    assert all(option == options[0] for option in options)
    assert options[0].ansatz == PZ
    assert options[0].circuit == PZ.with_noise(noise)
    assert len({*options}) == 1


def test_replacing_the_noise_by_none_removes_it():
    for way in ({"noise": Noise(bit_flip=0.1)}, {"ansatz": PZ.with_noise(Noise(bit_flip=0.1))}):
        options = replace(QKANLinear(2, 3, **way).options, noise=None)
        assert options == QKANLinear(2, 3).options
        assert options.circuit == PZ


@pytest.mark.parametrize(
    "noise",
    [Noise(), Noise(after=()), Noise(bit_flip=0.3, after=()), Noise(readout_error=(0, 0.0), after="RX"), Noise(0, 0)],
)
def test_noise_without_strength_or_place_is_none(noise):
    assert noise.trivial
    assert PZ.with_noise(noise) == PZ
    assert torch.equal(random_layer(noise=noise)(inputs("pz", 4, 5)), random_layer()(inputs("pz", 4, 5)))
    QKANLinear(2, 3, noise=noise, solver="statevector")
    assert not Noise(readout_error=(0.0, 0.1), after=()).trivial


def test_noise_at_gates_that_the_circuit_lacks_changes_nothing():
    layer = random_layer(noise=Noise(bit_flip=0.3, after="RX"))
    assert torch.equal(layer(inputs("pz", 4, 5)), random_layer()(inputs("pz", 4, 5)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_amplitude_readout_is_the_difference_of_roots_of_probabilities(solver):
    noise = Noise(**NOISES["all"])
    z = random_layer("own", noise=noise).edges(inputs("own", 6, 5))
    want = ((1 + z) / 2).sqrt() - ((1 - z) / 2).sqrt()
    layer = random_layer("own", solver=solver, noise=noise, readout="amplitude")
    assert error(layer.edges(inputs("own", 6, 5)), want) < 1e-13


def test_what_a_layer_prints():
    noise = Noise(0.1, bit_flip=0.25, readout_error=(0.1, 0.2), after=("RX", "H"))
    assert str(noise) == "Noise(depolarizing=0.1, bit_flip=0.25, after=RX+H, readout_error=(0.1, 0.2))"
    assert str(Noise()) == "Noise()"
    assert eval(repr(noise)) == noise
    assert f"noise={noise}" in repr(QKANLinear(2, 3, noise=noise))
    assert "noise" not in repr(QKANLinear(2, 3))
    assert str(PZ.with_noise(noise)) == f"{PZ}; {noise}"


def test_noise_is_frozen_hashable_and_plain_json():
    noise = Noise(depolarizing=1, readout_error=0.1, after=["RX"])
    with pytest.raises(FrozenInstanceError):
        noise.bit_flip = 0.2
    assert hash(noise) == hash(Noise(1.0, readout_error=(0.1, 0.1), after="RX"))
    assert Noise.from_dict(json.loads(json.dumps(noise.to_dict()))) == noise
    assert Noise(np.float32(0.5), np.float64(0.5), np.int64(1)) == Noise(0.5, 0.5, 1.0)


ERRORS = {
    "negative": (lambda: Noise(depolarizing=-0.1), ValueError, r"depolarizing must be in \[0, 1\]; got -0\.1"),
    "over 1": (lambda: Noise(amplitude_damping=1.1), ValueError, r"amplitude_damping must be in \[0, 1\]; got 1\.1"),
    "nan": (lambda: Noise(phase_damping=math.nan), ValueError, r"phase_damping must be in \[0, 1\]; got nan"),
    "infinite": (lambda: Noise(bit_flip=math.inf), ValueError, r"bit_flip must be in \[0, 1\]; got inf"),
    "bool": (lambda: Noise(bit_flip=True), TypeError, r"bit_flip must be a number in \[0, 1\]; got True"),
    "text": (lambda: Noise(depolarizing="0.1"), TypeError, r"depolarizing must be a number in \[0, 1\]; got '0\.1'"),
    "None": (lambda: Noise(depolarizing=None), TypeError, r"depolarizing must be a number in \[0, 1\]; got None"),
    "pair": (lambda: Noise(bit_flip=(0.1, 0.2)), TypeError, r"bit_flip must be a number in .*; got \(0\.1, 0\.2\)"),
    "over 0.5": (lambda: Noise(readout_error=0.6), ValueError, r"readout_error must be in \[0, 0\.5\]; got 0\.6"),
    "second": (lambda: Noise(readout_error=(0, -1)), ValueError, r"readout_error must be in \[0, 0\.5\]; got -1"),
    "three": (lambda: Noise(readout_error=(0, 0, 0)), ValueError, r"readout_error must be one .* or two, .*; got \(0"),
    "readout": (lambda: Noise(readout_error="a"), TypeError, r"readout_error must be a number in .*; got 'a'"),
    "place": (lambda: Noise(after="CNOT"), ValueError, r"after must hold some of fixed, .*, RX, RY, RZ; got 'CNOT'"),
    "places": (lambda: Noise(after=("RX", "T")), ValueError, r"after must hold some of .*; got 'T'"),
    "no place": (lambda: Noise(after=3), ValueError, r"after must hold some of .*; got 3"),
    "keyword": (lambda: Noise(depol=0.1), TypeError, r"unexpected keyword argument 'depol'"),
    "name": (lambda: Noise.from_dict({"flip": 0.1}), ValueError, r"noise holds depolarizing, .*, after; got 'flip'"),
    "option": (lambda: QKANLinear(2, 3, noise="strong"), TypeError, r"noise must be a qkan\.noise\.Noise .*'strong'"),
    "dict": (lambda: QKAN([2, 3], noise={"flip": 0.1}), ValueError, r"noise holds depolarizing, .*; got 'flip'"),
    "ansatz": (lambda: PZ.with_noise(0.1), TypeError, r"noise must be a Noise or None; got 0\.1"),
    "twice": (
        lambda: QKANLinear(2, 3, noise=Noise(0.1), ansatz=PZ.with_noise(Noise(0.2))),
        ValueError,
        r"noise is given twice: Noise\(depolarizing=0\.1, .*, and Noise\(depolarizing=0\.2, .* with the ansatz",
    ),
    "statevector": (
        lambda: QKANLinear(2, 3, noise=Noise(0.1), solver="statevector"),
        ValueError,
        r"solver='statevector' holds pure states .* no noise; use solver='fourier', 'bloch' or 'pennylane'",
    ),
    "statevector of a function": (
        lambda: functional.edges(
            torch.zeros(1, 2), torch.zeros(3, 2, 8), ansatz=PZ.with_noise(Noise(0.1)), solver="statevector"
        ),
        ValueError,
        r"solver='statevector' holds pure states",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_mistakes(name):
    call, exception, match = ERRORS[name]
    with pytest.raises(exception, match=match):
        call()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("noise", [None, "all"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_an_ansatz_without_angles_has_derivatives_too(solver, noise):
    bare = Ansatz("bare", (H,), (RZ("encoding"), RX("encoding")), (H,))
    layer = QKANLinear(
        3, 2, dtype=torch.float64, ansatz=bare, reps=1, scale=True, solver=solver, noise=NOISES.get(noise)
    )
    x = inputs("pz", 4, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x).sum(), layer.scale)
    assert error(gradient, layer.edges(x).sum(0)) < 1e-13
    layer(x).sum().backward()
    assert layer.theta.grad is None or layer.theta.grad.shape == (2, 3, 0)
    given = {"theta": layer.theta.detach(), "scale": layer.scale.detach()}
    assert jacfwd(lambda p: functional_call(layer, p, (x,)))(given)["theta"].shape == (4, 2, 2, 3, 0)


@pytest.mark.parametrize(("encoding", "name"), [("ternary", "fourier"), ("trainable", "bloch")])
def test_auto_chooses_as_without_noise(encoding, name):
    assert QKANLinear(2, 3, encoding=encoding, noise=Noise(**NOISES["all"])).solver.name == name


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_noisy_layer_learns_what_noise_leaves(solver):
    x = torch.linspace(-3, 3, 40, dtype=torch.float64)[:, None]
    y = 0.5 * torch.sin(x) + 0.1
    noise = Noise(depolarizing=0.01, amplitude_damping=0.03, phase_damping=0.01, bit_flip=0.01, readout_error=0.02)
    net = QKANLinear(1, 1, dtype=torch.float64, generator=generator(), solver=solver, noise=noise)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
