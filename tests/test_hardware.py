"""`qkan.hardware`: a model measured once is the model, with errors that are as large as they say."""

import functools
import re
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ANSATZE, ENCODINGS, error, generator, inputs, layers_of, masked, perturb, random_layer
from torch import nn
from torch.autograd.functional import jacobian
from torch.func import functional_call

import qkan
from qkan import HQKAN, QKAN, QKANLinear, lower
from qkan.ansatz import RY, Ansatz
from qkan.hardware import Measured, Surrogate, measure, plan
from qkan.noise import Noise

qml = pytest.importorskip("pennylane", reason='needs pip install "qkan-torch[pennylane]"')

NOISE = Noise(depolarizing=0.02, amplitude_damping=0.05, readout_error=(0.01, 0.03))
# <Z> = cos θ, whatever x: all outcomes are equal at θ = 0 and at θ = π.
POLE = {"ansatz": Ansatz("pole", (), (RY("encoding"), RY())), "reps": 1, "encoding": (0,)}


class Device(qml.devices.DefaultQubit):
    """default.qubit that counts: circuits of every job; it breaks down before the job of number `breaks`."""

    def __init__(self, breaks=None, **keywords):
        super().__init__(**keywords)
        self.breaks, self.jobs = breaks, []

    def execute(self, circuits, execution_config=None):
        if len(self.jobs) == self.breaks:
            self.breaks = None
            raise ConnectionError("the device broke down")
        self.jobs.append(sum(circuit.batch_size or 1 for circuit in circuits))
        return super().execute(circuits, execution_config)


class Twice(nn.Module):
    """One layer in two places, and parts that are not ours."""

    def __init__(self):
        super().__init__()
        self.inner = random_layer(widths=(3, 3), scale=True)
        self.blocks = nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 3, dtype=torch.float64), self.inner)})
        self.more = nn.ModuleList([perturb(QKAN([3, 2], dtype=torch.float64, ansatz="mix"))])

    def forward(self, x):
        return self.more[0](self.blocks["a"](self.inner(x)))


def stack(*width, seed=0, **options):
    return perturb(QKAN(list(width), dtype=torch.float64, generator=generator(), **options), seed)


def with_noise(layer, noise):
    """The same layer, exact, with this noise and no other."""
    options = {"ansatz": layer.options.ansatz, "encoding": layer.options.encoding, "reps": layer.options.reps}
    other = QKANLinear(layer.in_features, layer.out_features, dtype=layer.theta.dtype, noise=noise, **options)
    other.load_state_dict(layer.state_dict())
    return other


def tensors(surrogate):
    """Everything that was measured, and what became of it."""
    return [part.z for part in surrogate.measured.values()] + list(surrogate.model.state_dict().values())


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


MODELS = {
    "QKANLinear": lambda: random_layer(widths=(3, 2), scale=True, bias=True),
    "QKAN": lambda: stack(3, 4, 2, scale=True, base_activation="silu"),
    "QKAN-trainable": lambda: stack(3, 4, 2, encoding="trainable", reps=2, solver="bloch"),
    "HQKAN": lambda: perturb(HQKAN(3, 2, latent=(4, 3), dtype=torch.float64)),
    "Sequential": lambda: nn.Sequential(
        random_layer("px", widths=(3, 4)), nn.Tanh(), stack(4, 2, 2, ansatz=ANSATZE["own"], reps=1)
    ),
    "Twice": Twice,
}


# Without shots: the model itself.


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_ansatz_and_encoding(ansatz, encoding):
    layer = masked(
        random_layer(ansatz, encoding, "bloch", widths=(3, 2), scale=True, bias=True, base_activation="silu")
    )
    x = inputs(ansatz, 4, 3)
    surrogate = measure(layer, shots=None)
    assert error(surrogate.model(x), layer(x)) < 1e-12
    if encoding != "trainable":
        assert error(surrogate.model(x), lower(layer)(x)) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    net, x = masked(MODELS[name]()), inputs("pz", 2, 5, 3)
    surrogate = measure(net, shots=None)
    assert not layers_of(surrogate.model)
    assert error(surrogate.model(x), net(x)) < 1e-12


def test_a_layer_in_two_places_is_measured_once_and_stays_one():
    net, device = Twice(), Device(wires=1)
    model = measure(net, device, None).model
    assert model.inner is model.blocks["a"][1]
    assert device.jobs == [9 * 7, 6 * 7]


@pytest.mark.parametrize("device", ["lightning.qubit", "default.mixed", "reference.qubit"])
def test_other_devices_by_name(device):
    layer, x = random_layer(widths=(2, 2)), inputs("pz", 4, 2)
    assert error(measure(layer, device, None).model(x), layer(x)) < 1e-12


@pytest.mark.parametrize("wires", [2, 3, 5, 64])
def test_settings_side_by_side_on_wires(wires):
    net, x = masked(stack(3, 2, 2)), inputs("pz", 4, 3)
    device = Device()  # without wires of its own: memory grows with those in use
    surrogate = measure(net, device, None, max_wires=min(wires, 10), circuits_per_job=4)
    assert error(surrogate.model(x), net(x)) < 1e-12
    assert sum(device.jobs) == -(-5 * 7 // min(wires, 10)) + -(-3 * 7 // min(wires, 10))


def test_wires_of_a_device_may_have_any_names():
    layer, x = random_layer(widths=(2, 3)), inputs("pz", 4, 2)
    device = qml.device("default.qubit", wires=["left", "b", 7])
    assert error(measure(layer, device, None, max_wires=2).model(x), layer(x)) < 1e-12


def test_edges_that_are_masked_are_not_run():
    layer, device = random_layer(widths=(3, 2)), Device(wires=1)
    with torch.no_grad():
        layer.mask.copy_(torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.0, -1.0]]))
    surrogate = measure(layer, device, 100)
    part = surrogate.measured["QKANLinear"]
    assert device.jobs == [3 * 7]
    assert torch.equal(part.z.abs().sum(0) > 0, layer.mask != 0)
    assert torch.equal(surrogate.covariance().abs().sum((-1, -2)) > 0, layer.mask != 0)


def test_a_layer_without_edges_runs_nothing():
    net, device = stack(2, 3, 2), Device(wires=1)
    net.layers[1].mask.zero_()
    surrogate = measure(net, device, 100)
    assert device.jobs == [6 * 7]
    assert not surrogate.model(torch.ones(2, dtype=torch.float64)).any()
    assert plan(net).layers[1].once == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("ansatz", "encoding"), [("pz", "unit"), ("px", "ternary"), ("own", "signs"), ("mix", "trainable")]
)
def test_noise_in_the_circuits(ansatz, encoding):
    layer, x = random_layer(ansatz, encoding, "bloch", widths=(3, 2)), inputs(ansatz, 4, 3)
    want = with_noise(layer, NOISE)(x)
    assert error(want, layer(x)) > 0.01
    assert error(measure(layer, shots=None, noise=NOISE).model(x), want) < 1e-12
    assert error(measure(layer, "default.mixed", None, noise=NOISE).model(x), want) < 1e-12


@pytest.mark.parametrize("ansatz", ["pz", "px"])
def test_noise_of_the_model_is_left_to_the_device(ansatz):
    layer, x = random_layer(ansatz, "ternary", widths=(3, 2)), inputs(ansatz, 4, 3)
    noisy = with_noise(layer, NOISE)
    assert error(measure(noisy, shots=None).model(x), layer(x)) < 1e-12
    assert error(measure(noisy, shots=None, noise=noisy.options.noise).model(x), lower(noisy)(x)) < 1e-12
    assert noisy.options.noise == NOISE


@pytest.mark.parametrize("solver", ["statevector", "pennylane"])
def test_solvers_and_shots_of_the_model_play_no_role(solver):
    layer, x = random_layer("pz", "unit", solver, widths=(2, 2), shots=5), inputs("pz", 4, 2)
    exact = random_layer("pz", "unit", "bloch", widths=(2, 2))
    assert error(measure(layer, shots=None).model(x), exact(x)) < 1e-12
    assert error(measure(layer, shots=None, noise=NOISE).model(x), with_noise(exact, NOISE)(x)) < 1e-12


@pytest.mark.parametrize("scale", [True, False])
def test_the_model_is_left_alone_and_later_changes_are_not_followed(scale):
    net, x = masked(stack(3, 2, encoding="trainable", scale=scale)), inputs("pz", 4, 3)
    state = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    surrogate = measure(net, shots=100)
    before = surrogate.model(x), surrogate.standard_error(x), *tensors(surrogate)
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.zero_()
    after = surrogate.model(x), surrogate.standard_error(x), *tensors(surrogate)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


# Standard errors.


@functools.cache
def repeated(shots=256, repeats=200, deep=False, **options):
    """Measurements of one tiny model, through PennyLane, with the model itself."""
    net = stack(2, 3, *([2] if deep else []), scale=True, seed=3, **options).requires_grad_(False)
    device = qml.device("default.qubit", wires=1, seed=1)
    return [measure(net, device, shots) for _ in range(repeats)], net


def table(series):
    """Constant and coefficients in one tensor, [out, in, 1 + functions]."""
    return torch.cat([series.constant.unsqueeze(-1), series.coefficients], -1)


def pooled(a, b):
    """Ratio of two sets of standard errors, pooled as root mean squares."""
    return float((a.square().mean() / b.square().mean()).sqrt())


SINGLE = [
    {},
    {"encoding": "trainable", "reps": 2},
    pytest.param({"ansatz": "px", "encoding": "trainable-shared", "reps": 2}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", SINGLE, ids=str)
def test_coefficients_are_as_uncertain_as_they_say(options):
    surrogates, net = repeated(**options)
    exact = table(measure(net, shots=None).series())
    off = torch.stack([table(s.series()) for s in surrogates]) - exact  # [repeats, out, in, functions]
    said = torch.stack([s.covariance() for s in surrogates]).mean(0)
    assert 0.85 < pooled(off, said.diagonal(dim1=-2, dim2=-1).sqrt()) < 1.15
    # In units of the whole covariance all directions are alike; by the diagonal alone they are not.
    size = off.shape[-1]
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(said), off.unsqueeze(-1), upper=False)[..., 0]
    scaled = off / said.diagonal(dim1=-2, dim2=-1).sqrt()
    seen, diagonal = (torch.einsum("roif,roig->oifg", w, w) / len(off) for w in (white, scaled))
    unit = torch.eye(size, dtype=torch.float64)
    spread = 200**-0.5  # of an entry, by chance
    assert (seen - unit).square().mean().sqrt() < 1.3 * spread
    assert (seen.mean((0, 1)) - unit).abs().max() < 0.15
    assert (diagonal - unit).square().mean().sqrt() > 1.8 * spread


@pytest.mark.parametrize("options", SINGLE, ids=str)
def test_outputs_of_a_layer_are_as_uncertain_as_they_say(options):
    surrogates, net = repeated(**options)
    x = inputs("pz", 10, 2)
    off = torch.stack([s.model(x) for s in surrogates]) - net(x)
    said = torch.stack([s.standard_error(x) for s in surrogates])
    assert 0.85 < pooled(off, said) < 1.15
    each = (off.square().mean(0) / said.square().mean(0)).sqrt()  # [samples, out]
    assert 0.75 < each.min() < each.max() < 1.25
    assert said.mean(0).std() / said.mean() > 0.05  # they do depend on x


def test_outputs_of_a_deep_model_are_as_uncertain_as_they_say():
    surrogates, net = repeated(deep=True)
    x = inputs("pz", 6, 2)
    off = torch.stack([s.model(x) for s in surrogates]) - net(x)
    said = torch.stack([s.standard_error(x, repeats=80, generator=generator(i)) for i, s in enumerate(surrogates[:10])])
    assert 0.85 < pooled(off, said) < 1.15
    each = (off.square().mean(0) / said.square().mean(0)).sqrt()
    assert 0.7 < each.min() < each.max() < 1.3


@pytest.mark.slow
@pytest.mark.parametrize(("ansatz", "shots"), [("pz", 32), ("px", 32), ("rpz", 1024), ("mix", 1024)])
def test_outputs_of_deep_hybrid_models_are_as_uncertain_as_they_say(ansatz, shots):
    net = perturb(HQKAN(4, 3, latent=(3, 3, 2), ansatz=ansatz, base_activation="silu", dtype=torch.float64))
    net.requires_grad_(False)
    x, device = inputs("pz", 8, 4), qml.device("default.qubit", wires=1, seed=2)
    surrogates = [measure(net, device, shots) for _ in range(200)]
    y = torch.stack([s.model(x) for s in surrogates])
    said = torch.stack([s.standard_error(x, generator=generator(i)) for i, s in enumerate(surrogates[:20])])
    # about their own mean: with few shots a deep model is biased too, which no standard error holds
    assert 0.85 < pooled(y - y.mean(0), said) < 1.15


def test_bootstrap_and_formula_agree_on_a_single_layer():
    surrogates, _ = repeated()
    x = inputs("pz", 10, 2)
    formula = surrogates[0].standard_error(x, method="analytic")
    drawn = surrogates[0].standard_error(x, method="bootstrap", repeats=1000, generator=generator())
    assert torch.equal(surrogates[0].standard_error(x), formula)
    assert not torch.equal(drawn, formula)
    assert ((drawn / formula) - 1).abs().max() < 0.1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ansatz", ["pz", "px", "own"])
def test_errors_of_outputs_follow_from_the_covariance(ansatz, encoding):
    layer, x = masked(random_layer(ansatz, encoding, widths=(3, 2), scale=True, bias=True)), inputs(ansatz, 4, 3)
    surrogate = measure(layer, shots=50, keywords={"seed": 0})
    phi = surrogate.model.features(x)
    phi = phi if encoding == "trainable" else phi.unsqueeze(-3).expand(4, 2, 3, -1)
    phi = torch.cat([torch.ones_like(phi[..., :1]), phi], -1)  # [batch, out, in, functions]
    gain = layer.mask * layer.scale
    want = torch.einsum("boif,oifg,boig,oi->bo", phi, surrogate.covariance(), phi, gain.square()).sqrt()
    assert want.min() > 0.01
    assert error(surrogate.standard_error(x), want) < 1e-12


@pytest.mark.parametrize("name", ["QKAN", "QKAN-trainable", "HQKAN", "Twice"])
def test_bootstrap_of_a_deep_model_agrees_with_its_linearisation(name):
    net, x = masked(MODELS[name]()).requires_grad_(False), inputs("pz", 4, 3)
    exact = measure(net, shots=None)
    surrogate = Surrogate(exact.model, {key: replace(part, shots=10**6) for key, part in exact.measured.items()})
    variance = 0
    for layer in surrogate.layers:
        series, gain, slopes = surrogate.series(layer), surrogate.measured[layer].gain, []
        for key, tensor in series._asdict().items():
            start = exact.model.get_parameter(f"{layer}.{key}")
            # a copy each: functional_call does not put back the tensors of a module that is used twice
            call = lambda t, key=key: functional_call(deepcopy(exact.model), {f"{layer}.{key}": t}, (x,))  # noqa: B023, E731
            slope = jacobian(call, start).view(8, *gain.shape, -1)[..., : tensor[0, 0].numel()]  # no base branch
            slopes.append(slope * gain.unsqueeze(-1))
        slope = torch.cat(slopes, -1)  # [y, out, in, 1 + functions]
        variance = variance + torch.einsum("yoif,oifg,yoig->y", slope, surrogate.covariance(layer), slope)
    said = surrogate.standard_error(x, repeats=1000, generator=generator())
    assert (said.flatten() / variance.sqrt() - 1).abs().max() < 0.1


@pytest.mark.parametrize("shots", [1, 2, 10, 1000])
def test_the_variance_is_right_on_average_and_never_zero(shots):
    counts = torch.arange(shots + 1, dtype=torch.float64)  # for expectations anywhere in [-1, 1] all are as likely
    z = (2 * counts / shots - 1).view(-1, 1, 1)
    one = torch.ones(1, 1)
    measured = Measured(z, shots, one.bool(), one, torch.ones(len(z), 1))
    assert measured.variance.min() > 1 / (shots + 1) ** 2
    right = (2 / 3) / shots  # of (1 - ζ²)/shots over ζ in [-1, 1]
    assert float(measured.variance.mean()) == pytest.approx(right * (1 + 0.5 / (shots + 1) ** 2), rel=1e-12)


@pytest.mark.parametrize("angle", [0.0, torch.pi])
def test_equal_outcomes_do_not_make_certainty(angle):
    layer = QKANLinear(2, 3, dtype=torch.float64, **POLE)
    nn.init.constant_(layer.theta, angle)
    surrogate, x = measure(layer, shots=20), torch.zeros(4, 2, dtype=torch.float64)
    assert torch.equal(surrogate.series().constant, torch.full((3, 2), np.cos(angle), dtype=torch.float64))
    assert surrogate.covariance().min() > 20**-2
    assert surrogate.standard_error(x).min() > 1 / 20
    drawn = surrogate.standard_error(x, method="bootstrap", repeats=2000, generator=generator())
    assert ((drawn / surrogate.standard_error(x)) - 1).abs().max() < 0.1


@pytest.mark.parametrize("method", ["analytic", "bootstrap"])
def test_exact_expectations_have_no_errors(method):
    surrogate, x = measure(random_layer(widths=(3, 2)), shots=None), inputs("pz", 4, 3)
    assert torch.equal(surrogate.standard_error(x, method=method), torch.zeros(4, 2, dtype=torch.float64))
    assert not surrogate.covariance().any()


def test_draws_come_from_the_generator_given():
    surrogate, x = measure(stack(2, 2, 2), shots=50), inputs("pz", 3, 2)
    state = torch.get_rng_state()
    first, again = (surrogate.standard_error(x, repeats=5, generator=generator(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(surrogate.standard_error(x, repeats=5, generator=generator(4)), first)
    assert not torch.equal(surrogate.standard_error(x, repeats=5), first)


@pytest.mark.parametrize("name", ["QKANLinear", "QKAN", "QKAN-trainable"])
@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
def test_shapes_and_single_precision(name, batch):
    surrogate = measure(MODELS[name]().float(), shots=50, keywords={"seed": 0})
    x = inputs("pz", *batch, 3, dtype=torch.float32)
    said = surrogate.standard_error(x, repeats=20, generator=generator())
    assert said.shape == (*batch, 2)
    assert said.dtype == surrogate.model(x).dtype == torch.float32
    double = measure(MODELS[name](), shots=50, keywords={"seed": 0})
    assert error(said, double.standard_error(x.double(), repeats=20, generator=generator())) < 1e-3
    for layer in surrogate.layers:
        n_out, n_in, functions = surrogate.series(layer).coefficients.shape
        assert surrogate.covariance(layer).shape == (n_out, n_in, functions + 1, functions + 1)


def test_random_parts_of_a_model_do_not_count_as_errors():
    net = nn.Sequential(random_layer(widths=(3, 2)), nn.Dropout(0.5), nn.BatchNorm1d(2, dtype=torch.float64))
    surrogate, x = measure(net, shots=None), inputs("pz", 4, 3)
    assert not surrogate.standard_error(x, repeats=3).any()
    assert surrogate.model.training
    assert surrogate.model[2].num_batches_tracked == 0


def test_a_model_that_is_lowered_in_part():
    net = nn.Sequential(lower(random_layer(widths=(3, 2))), stack(2, 2))
    surrogate, x = measure(net, shots=50), inputs("pz", 4, 3)
    assert surrogate.layers == ("1.layers.0",)
    assert surrogate.standard_error(x, repeats=5).min() > 0


# Records.


@pytest.mark.parametrize("breaks", range(1, 6))
def test_an_interrupted_measurement_resumes(tmp_path, breaks):
    net, path = masked(stack(2, 3, 2)), tmp_path / "record.npz"
    arguments = {"shots": 20, "max_wires": 2, "circuits_per_job": 7}
    whole = measure(net, Device(wires=2, seed=5), **arguments)
    device = Device(breaks, wires=2, seed=5)
    with pytest.raises(ConnectionError):
        measure(net, device, **arguments, record=path)
    assert len(device.jobs) == breaks
    resumed = measure(net, device, **arguments, record=path)
    expected = plan(net, **arguments).once
    assert (sum(device.jobs), len(device.jobs)) == (expected.circuits, expected.jobs) == (36, 6)
    assert same(resumed, whole)
    again = measure(net, device, **arguments, record=path)
    assert len(device.jobs) == 6  # nothing left to run
    assert same(again, whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.npz"]


def test_packing_may_change_in_between(tmp_path):
    net, path, device = stack(2, 3, 2), tmp_path / "record.npz", Device(breaks=2)
    with pytest.raises(ConnectionError):
        measure(net, device, None, circuits_per_job=5, record=path)
    resumed = measure(net, device, None, max_wires=3, circuits_per_job=4, record=path)
    assert device.jobs == [5, 5, 4, 4, 3, 4, 4, 4, 2]  # 32 settings are left of the first layer: 11 circuits
    assert error(resumed.model(inputs("pz", 4, 2)), net(inputs("pz", 4, 2))) < 1e-12


CHANGES = {
    "angles": lambda net, call: net.layers[0].theta.data.add_(1e-9),
    "layers": lambda net, call: net.layers[1].mask.data[0, 0].zero_(),
    "circuits": lambda net, call: setattr(net.layers[0], "options", stack(2, 3, ansatz="mix").options),
    "shots": lambda net, call: call.update(shots=21),
    "device": lambda net, call: call.update(device="default.mixed"),
    "noise": lambda net, call: call.update(device="default.mixed", noise=NOISE),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_record_of_another_measurement_is_refused(tmp_path, name):
    net, call = stack(2, 3, 2), {"shots": 20, "record": tmp_path / "record.npz"}
    measure(net, **call)
    before = call["record"].read_bytes()
    CHANGES[name](net, call)
    with pytest.raises(ValueError, match=rf"record\.npz is the record of another measurement .*{name} was .*, is "):
        measure(net, **call)
    assert call["record"].read_bytes() == before


def test_edges_that_change_places_are_another_measurement(tmp_path):
    net, path = stack(2, 2), tmp_path / "record.npz"
    net.layers[0].theta.data.zero_()
    net.layers[0].mask.data.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    measure(net, record=path)
    net.layers[0].mask.data.copy_(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"angles was \w+, is \w+\): measure the same, or name another record"):
        measure(net, record=path)


def test_damaged_records_are_refused(tmp_path):
    net, path = stack(2, 2), tmp_path / "record.npz"
    measure(net, shots=20, record=path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole) - 1, 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=r"record\.npz is truncated, damaged, or no record of a measurement: delete"
        ):
            measure(net, shots=20, record=path)


@pytest.mark.parametrize(
    "content", [{"z": np.zeros(3)}, {"format": "other"}, {"format": "qkan measurement 1", "facts": "[]"}]
)
def test_other_files_are_no_records(tmp_path, content):
    path = tmp_path / "record.npz"
    np.savez(path, **content)
    with pytest.raises(ValueError, match=r"no record of a measurement"):
        measure(stack(2, 2), record=path)


def test_a_record_with_too_many_values_is_refused(tmp_path):
    net, path = stack(2, 2), tmp_path / "record.npz"
    measure(net, record=path)
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **{**content, "z": np.zeros(29)})
    with pytest.raises(ValueError, match=r"no record of a measurement"):
        measure(net, record=path)


def test_a_folder_that_does_not_exist_is_found_before_anything_runs(tmp_path):
    device = Device(wires=1)
    with pytest.raises(FileNotFoundError):
        measure(stack(2, 2), device, record=tmp_path / "nowhere" / "record.npz")
    assert not device.jobs


# Plans.


@pytest.mark.parametrize(
    "packing", [{}, {"max_wires": 4}, {"circuits_per_job": 5}, {"max_wires": 3, "circuits_per_job": 2}]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_plan_is_what_runs(name, packing):
    net, device = masked(MODELS[name]()), Device()
    once = plan(net, 10, **packing).once
    measure(net, device, 10, **packing)
    assert (once.circuits, once.jobs, once.shots) == (sum(device.jobs), len(device.jobs), 10 * sum(device.jobs))
    assert max(device.jobs) <= packing.get("circuits_per_job", 1024)


def test_a_plan_counts_nodes_that_noise_brings():
    # all gates of `real` turn about one axis, so that its harmonic is ±2 ± 3; damping tells these axes apart
    net, damped = QKAN([2, 3], ansatz="real", encoding=(-2, 0, 3)), Noise(phase_damping=0.1)
    assert (plan(net).layers[0].nodes, plan(net, noise=damped).layers[0].nodes) == (3, 11)
    assert measure(net, shots=10, noise=damped).measured["layers.0"].z.shape[0] == 11


def test_numbers_of_a_plan():
    net = masked(QKAN([4, 3, 2]))
    result = plan(net, 100, max_wires=4, circuits_per_job=10, samples=50)
    first, second = result.layers
    assert (first.name, first.edges, first.nodes) == ("layers.0", 11, 7)
    assert first.once == (77, 20, 2, 2000)
    assert first.each == (550, 138, 14, 13800)
    assert second.once == (35, 9, 1, 900)
    assert result.once == (112, 29, 3, 2900)
    assert result.each == tuple(a + b for a, b in zip(first.each, second.each, strict=True))
    assert result.break_even == 8
    assert plan(net).each is None
    assert plan(net, None).once.shots == 0


def test_a_plan_reads_as_a_table():
    text = str(plan(QKANLinear(20, 10, encoding="ternary"), 2000, max_wires=2, circuits_per_job=100, samples=1))
    lines = text.splitlines()
    assert (
        lines[0] == "2,000 shots per circuit; up to 2 settings in a circuit, one per wire; up to 100 circuits in a job"
    )
    assert re.split(r"\s{2,}", lines[1]) == [
        "measured once",
        "edges",
        "per edge",
        "settings",
        "circuits",
        "jobs",
        "shots",
    ]
    assert lines[2].split() == ["QKANLinear", "200", "27", "5,400", "2,700", "27", "5,400,000"]
    assert lines[3].split() == ["total", "200", "5,400", "2,700", "27", "5,400,000"]
    assert lines[4].startswith("1 sample one by one ")
    assert lines[5].split() == ["QKANLinear", "200", "1", "200", "100", "1", "200,000"]
    assert lines[-1] == "Measuring once takes fewer settings from 28 samples on."
    assert len({len(line) for line in lines[1:-1]}) == 1
    assert str(plan(QKANLinear(2, 2), None)).startswith("exact expectations; up to 1 setting in a circuit,")
    assert "one by one" not in str(plan(QKANLinear(2, 2)))


def test_a_plan_needs_no_pennylane():
    root = str(Path(qkan.__file__).parent.parent)
    script = (
        f"import sys; sys.path.insert(0, {root!r}); sys.modules['pennylane'] = None; "
        "from qkan import QKAN; from qkan.hardware import measure, plan; "
        "print(plan(QKAN([2, 2])).once.settings)\ntry: measure(QKAN([2, 2]))\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == '28\nmeasuring needs PennyLane: pip install "qkan-torch[pennylane]"\n'


# Progress and mistakes.


def test_progress_is_shown_when_asked_for(capsys):
    measure(QKAN([2, 2]), shots=10)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""
    measure(QKAN([2, 2]), shots=10, circuits_per_job=7, progress=True)
    assert "4/4" in capsys.readouterr().err


NET = QKAN([2, 2])
REFUSED = {
    "no layers": (lambda: measure(nn.Linear(2, 2)), ValueError, r"model has no QKANLinear layer .*; got Linear"),
    "lowered": (lambda: measure(lower(NET)), ValueError, r"A lowered model is classical already: give the model"),
    "no module": (lambda: measure("net"), TypeError, r"model must be a torch module with QKAN layers; got str"),
    "amplitude": (
        lambda: measure(nn.Sequential(QKAN([2, 2]), QKAN([2, 2], readout="amplitude"))),
        ValueError,
        r"layer 1\.layers\.0 has readout='amplitude', whose square root of a measured mean is biased; train and .*"
        r"readout='expectation'",
    ),
    "amplitude, one layer": (
        lambda: plan(QKANLinear(2, 2, readout="amplitude")), ValueError, r"layer QKANLinear has readout='amplitude'"
    ),
    "shots 0": (lambda: measure(NET, shots=0), ValueError, r"shots must be an integer of at least 1; got 0"),
    "shots float": (lambda: plan(NET, 10.0), TypeError, r"shots must be an integer; got 10\.0"),
    "wires 0": (lambda: measure(NET, max_wires=0), ValueError, r"max_wires must be an integer of at least 1; got 0"),
    "job 0": (lambda: plan(NET, circuits_per_job=0), ValueError, r"circuits_per_job must be an integer of at least 1"),
    "samples 0": (lambda: plan(NET, samples=0), ValueError, r"samples must be an integer of at least 1; got 0"),
    "noise": (lambda: measure(NET, noise=0.1), TypeError, r"noise must be a qkan\.noise\.Noise or None; got 0\.1"),
    "noise on a pure state": (
        lambda: measure(NET, "lightning.qubit", noise=NOISE),
        ValueError,
        r"noise cannot be simulated: device='lightning\.qubit' holds pure states .*use device='default\.mixed'",
    ),
    "noise on a live device": (
        lambda: measure(NET, Device(wires=1), noise=NOISE), ValueError, r"device='default\.qubit' holds pure states"
    ),
    "no device": (lambda: measure(NET, 3), TypeError, r"device must be the name of a PennyLane device, .*; got 3"),
    "keywords of a live device": (
        lambda: measure(NET, Device(wires=1), keywords={"seed": 0}), TypeError, r"keywords are for a device given by"
    ),
    "keywords with wires": (
        lambda: measure(NET, keywords={"wires": 2}), ValueError, r"keywords must not hold 'wires', .*; got 2: give max"
    ),
    "keywords with shots": (
        lambda: measure(NET, keywords={"shots": 2}), ValueError, r"keywords must not hold 'shots', .*; got 2: give sho"
    ),
    "too few wires": (
        lambda: measure(NET, Device(wires=2), max_wires=3), ValueError, r"max_wires must be at most the 2 wires.*got 3"
    ),
    "unknown layer": (
        lambda: measure(NET, shots=10).covariance("layers.1"),
        ValueError,
        r"name must be one of the layers measured, layers\.0; got 'layers\.1'",
    ),
    "which layer": (
        lambda: measure(QKAN([2, 2, 2]), shots=10).series(),
        ValueError,
        r"name must be one of the layers measured, layers\.0, layers\.1; got None",
    ),
    "method": (
        lambda: measure(NET, shots=10).standard_error(torch.zeros(2), method="exact"),
        ValueError,
        r"method must be 'auto', 'analytic' or 'bootstrap'; got 'exact'",
    ),
    "analytic, deep": (
        lambda: measure(QKAN([2, 2, 2]), shots=10).standard_error(torch.zeros(2), method="analytic"),
        ValueError,
        r"method='analytic' takes a single layer; got a QKAN of more, .* use method='bootstrap'",
    ),
    "one repeat": (
        lambda: measure(QKAN([2, 2, 2]), shots=10).standard_error(torch.zeros(2), repeats=1),
        ValueError,
        r"repeats must be at least 2 for a standard deviation; got 1",
    ),
    "x": (
        lambda: measure(NET, shots=10).standard_error(torch.zeros(2, dtype=torch.int64)),
        TypeError,
        r"x must be a floating-point tensor; got torch\.int64; convert it with x\.float\(\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes(name):
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call()


def test_a_device_with_shots_of_its_own():
    with pytest.warns(qml.exceptions.PennyLaneDeprecationWarning):
        device = qml.device("default.qubit", wires=1, shots=30)
    with pytest.raises(ValueError, match=r"shots must be those of the device, 30, .*; got None"):
        measure(NET, device, None)
    z = measure(NET, device, 30).measured["layers.0"].z
    counts = (z + 1) * 15
    assert (counts - counts.round()).abs().max() < 1e-12


def test_values_that_are_no_numbers_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "record.npz"
    broken = lambda *_: lambda angles: torch.full(angles.shape[1:], torch.nan, dtype=torch.float64)  # noqa: E731
    monkeypatch.setattr("qkan.hardware.measurement.executor", broken)
    with pytest.raises(ValueError, match=r"the device returned nan for an expectation: it must be a finite number"):
        measure(NET, record=path)
    monkeypatch.undo()
    assert measure(NET, shots=10, record=tmp_path / "other.npz").layers == ("layers.0",)


def test_a_record_of_other_keywords_is_refused_but_for_the_seed(tmp_path):
    net, record = QKAN([2, 2]), tmp_path / "record.npz"
    measure(net, "default.qubit", 10, keywords={"seed": 1}, record=record)
    measure(net, "default.qubit", 10, keywords={"seed": 2}, record=record)
    with pytest.raises(ValueError, match="keywords"):
        measure(net, "default.qubit", 10, keywords={"seed": 2, "max_workers": None}, record=record)


def test_unknown_devices_and_keywords_that_are_none_are_told():
    with pytest.raises(ValueError, match=r"device='no\.such' cannot be opened"):
        measure(QKAN([2, 2]), "no.such")
    with pytest.raises(TypeError, match="keywords must be a mapping"):
        measure(QKAN([2, 2]), "default.qubit", keywords=5)


@pytest.mark.parametrize("options", [{"encoding": "ternary", "reps": 9}, {"encoding": "trainable-shared", "reps": 10}])
def test_plans_need_no_memory_for_what_they_plan(options):
    assert plan(QKAN([2, 2], **options)).once.settings == 4 * {9: 19683, 10: 59049}[options["reps"]]
