"""Noise: density matrices with Kraus operators by hand, PennyLane's channels, closed forms, and harmonics."""

import functools
import itertools
from dataclasses import replace

import density
import numpy as np
import pytest
import torch
import truth
from density import NOISES
from helpers import ANSATZE, ENCODINGS, error, generator, inputs, random_layer, reps_for, supported
from hypothesis import given, settings
from hypothesis import strategies as st
from test_random_circuits import circuits, gate

from qkan import QKANLinear, functional
from qkan.ansatz import PZ, REAL, RX, RY, Ansatz
from qkan.noise import Noise
from qkan.solvers import Bloch, Fourier

SOLVERS = ("bloch", "fourier")
ROWS = [
    pytest.param(*row, solver, id="-".join((*row, solver)))
    for row in dict.fromkeys(
        [*itertools.product(ANSATZE, ENCODINGS, ["all"]), *itertools.product(ANSATZE, ["unit"], NOISES)]
    )
    for solver in SOLVERS
    if supported(solver, row[1])
]


def parts_of(layer):
    """theta, weight and bias as arrays [out, in, ...]."""
    edges, weight, bias = layer.theta.shape[:-1], layer.encoding_weight, layer.encoding_bias
    weight = np.array(layer.options.start_weights, float) if weight is None else weight.detach().numpy()
    bias = np.zeros(weight.shape[-1]) if bias is None else bias.detach().numpy()
    return layer.theta.detach().numpy(), *(np.broadcast_to(p, (*edges, p.shape[-1])) for p in (weight, bias))


@functools.cache
def expected(ansatz, encoding, noise):
    """Values of the edges, and gradients of Σ cotangent <Z>, by the shift rule: exact, since <Z> stays sinusoidal."""
    x, cotangent = inputs(ansatz, 4, 5).numpy(), COTANGENT.numpy()
    theta, weight, bias = parts_of(random_layer(ansatz, encoding))
    gates, u = truth.words(ansatz, reps_for(ansatz)), truth.argument(ansatz, x)
    angles, uploads = theta.shape[-1], weight.shape[-1]
    moves = np.pi / 2 * np.eye(angles + uploads)[:, None, None, None]  # [moves, batch, out, in, angles + uploads]
    turned = [(theta + sign * moves[..., :angles], bias + sign * moves[..., angles:]) for sign in (1, -1)]
    up, down = (density.run(gates, NOISES[noise], u, t, weight, b) for t, b in turned)
    slopes = (up - down) / 2 * cotangent
    by_upload = slopes[angles:]  # [uploads, batch, out, in]
    by_weight, by_bias = (np.moveaxis(part.sum(1), 0, -1) for part in (by_upload * u[:, None, :], by_upload))
    return density.run(gates, NOISES[noise], u, theta, weight, bias), {
        "x": np.einsum("rboi,oir->bi", by_upload, weight) * truth.slope(ansatz, x),
        "theta": np.moveaxis(slopes[:angles].sum(1), 0, -1),
        "encoding_weight": by_weight.sum(0) if encoding == "trainable-shared" else by_weight,
        "encoding_bias": by_bias.sum(0) if encoding == "trainable-shared" else by_bias,
    }


COTANGENT = torch.randn(4, 3, 5, generator=generator(3), dtype=torch.float64)


def near(got, want, tolerance=1e-12):
    return np.abs(got.detach().numpy() - want).max() <= tolerance * max(1, np.abs(want).max())


@pytest.mark.parametrize(("ansatz", "encoding", "noise", "solver"), ROWS)
def test_values_and_gradients_are_those_of_density_matrices(ansatz, encoding, noise, solver):
    layer = random_layer(ansatz, encoding, solver, noise=Noise(**NOISES[noise]))
    x = inputs(ansatz, 4, 5).requires_grad_()
    edges = layer.edges(x)
    values, slopes = expected(ansatz, encoding, noise)
    assert near(edges, values)
    assert near(layer(x), values.sum(-1))
    wanted = {"x": x, **dict(layer.named_parameters())}
    # Where noise resets everything, nothing depends on the angles any more.
    found = torch.autograd.grad((edges * COTANGENT).sum(), list(wanted.values()), materialize_grads=True)
    for name, gradient in zip(wanted, found, strict=True):
        assert near(gradient, slopes[name]), name


def test_the_rows_are_no_repetitions_and_each_differs_from_no_noise():
    values = [random_layer("own", noise=noise).edges(inputs("own", 4, 5)) for noise in (None, *NOISES.values())]
    assert all((a - b).abs().max() > 1e-3 for a, b in itertools.combinations(values, 2))


@pytest.mark.parametrize("solver", SOLVERS)
def test_channels_act_in_the_order_of_their_names(solver):
    p, g, q = 0.3, 0.4, 0.2
    one = Ansatz("one", block=(RY("encoding"),), noise=Noise(p, g, 0.7, q))
    layer = QKANLinear(1, 1, dtype=torch.float64, ansatz=one, reps=1, solver=solver)
    z = layer(torch.zeros(1, 1, dtype=torch.float64)).item()
    # |0> has z = 1: depolarizing shrinks it, damping pulls it back, phase damping leaves it, the flip turns it.
    assert z == pytest.approx((1 - 2 * q) * ((1 - g) * (1 - 4 * p / 3) + g), abs=1e-15)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weight", [(3,), (-2,), (0,), "shared"])
def test_an_upload_is_one_gate_and_its_noise_comes_once_behind_the_bias(weight, solver):
    one = Ansatz("one", block=(RY("encoding"), RX()), noise=Noise(amplitude_damping=0.3, after="encoding"))
    x, bias = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None], torch.full((1, 1), 0.4, dtype=torch.float64)
    w = torch.full((1, 1), 0.7, dtype=torch.float64) if weight == "shared" else weight
    given_bias = bias if weight == "shared" else bias[None]
    z = functional.edges(x, torch.zeros(1, 1, 1, dtype=torch.float64), w, given_bias, ansatz=one, solver=solver)
    turned = torch.cos(float(w[0]) * x + 0.4)
    assert error(z[..., 0], 0.7 * turned + 0.3) < 1e-14


PLACES = {
    ("trainable", "encoding"): "|0>-H-RZ(θ0)-~-RY(θ1)-~-RZ(w0x+b0)-~-RZ(θ2)-~-RY(θ3)-~-<Z>",
    ("trainable",): "|0>-H-RZ(θ0)-~-RY(θ1)-~-RZ(w0x+b0)-RZ(θ2)-~-RY(θ3)-~-<Z>",
    ("encoding",): "|0>-H-RZ(θ0)-RY(θ1)-RZ(w0x+b0)-~-RZ(θ2)-RY(θ3)-<Z>",
    ("fixed",): "|0>-H-~-RZ(θ0)-RY(θ1)-RZ(w0x+b0)-RZ(θ2)-RY(θ3)-<Z>",
    ("H", "RY"): "|0>-H-~-RZ(θ0)-RY(θ1)-~-RZ(w0x+b0)-RZ(θ2)-RY(θ3)-~-<Z>",
    ("RZ",): "|0>-H-RZ(θ0)-~-RY(θ1)-RZ(w0x+b0)-~-RZ(θ2)-~-RY(θ3)-<Z>",
    ("RX", "X"): "|0>-H-RZ(θ0)-RY(θ1)-RZ(w0x+b0)-RZ(θ2)-RY(θ3)-<Z>",
}


@pytest.mark.parametrize("after", PLACES)
def test_drawings_show_where_channels_are(after):
    assert PZ.with_noise(Noise(bit_flip=0.1, after=after)).draw(1) == PLACES[after]
    assert PZ.with_noise(Noise(bit_flip=0.1, readout_error=0.1, after=after)).draw(1) == PLACES[after][:-3] + "~-<Z>"


def test_channels_are_after_trainable_and_encoding_gates_by_default():
    assert Noise(bit_flip=0.1) == Noise(bit_flip=0.1, after=("trainable", "encoding"))
    assert Noise().after == ("trainable", "encoding")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_depolarizing_shrinks_an_edge_by_one_factor_per_rotation_and_reading_by_another(ansatz, solver):
    x, clean = inputs(ansatz, 6, 5), random_layer(ansatz, solver=solver)
    rotations = sum(word[0] in "re" for word in truth.words(ansatz, reps_for(ansatz)))
    layer = random_layer(ansatz, solver=solver, noise=Noise(depolarizing=0.03, readout_error=(0.02, 0.1)))
    want = 0.88 * 0.96**rotations * clean.edges(x) + 0.08
    assert error(layer.edges(x), want) < 1e-13


def queue(qml, word, angle):
    fixed = {"H": qml.Hadamard, "X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
    if word in fixed:
        fixed[word](wires=0)
    else:
        {"x": qml.RX, "y": qml.RY, "z": qml.RZ}[word[1]](angle, wires=0)


def mixed(qml, noise):
    """<Z> of words with these angles, by `default.mixed`, whose channels hold an epsilon of 1e-14 of their own."""
    channels = {
        "depolarizing": qml.DepolarizingChannel,
        "amplitude_damping": qml.AmplitudeDamping,
        "phase_damping": qml.PhaseDamping,
        "bit_flip": qml.BitFlip,
    }

    @qml.qnode(qml.device("default.mixed", wires=1), interface="torch", diff_method="backprop")
    def circuit(words, angles):
        left = iter(angles)
        for word in words:
            queue(qml, word, None if word in truth.FIXED else next(left))
            if word[0] in "re":
                for name, strength in noise.items():
                    if name in channels:
                        channels[name](strength, wires=0)
        if "readout_error" in noise:  # equal for both outcomes, it is a flip in front of the measurement
            qml.BitFlip(noise["readout_error"], wires=0)
        return qml.expval(qml.PauliZ(0))

    return circuit


@pytest.mark.parametrize("noise", ["depolarizing", "amplitude damping", "phase damping", "bit flip", "readout"])
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_each_channel_is_that_of_pennylane(ansatz, noise):
    qml = pytest.importorskip("pennylane")
    layer = random_layer(ansatz, "ternary", widths=(2, 3), noise=Noise(**NOISES[noise]))
    u = torch.from_numpy(truth.argument(ansatz, inputs(ansatz, 4, 2).numpy())).requires_grad_()
    angles = uploads = 0
    weights, bias = layer.options.start_weights, layer.encoding_bias
    turns = []  # of every rotation, [batch, out, in]; PennyLane rounds the RZ of a scalar tensor to single precision
    for word in truth.words(ansatz, layer.options.reps):
        if word[0] == "r":
            turns.append(layer.theta[..., angles].expand(4, 3, 2))
            angles += 1
        elif word[0] == "e":
            turn = (weights[uploads] * u).unsqueeze(1).expand(4, 3, 2)
            turns.append(turn if bias is None else turn + bias[..., uploads])
            uploads += 1
    circuit = mixed(qml, NOISES[noise])
    want = circuit(truth.words(ansatz, layer.options.reps), [turn.flatten() for turn in turns]).view(4, 3, 2)
    plain = replace(layer.options.circuit, arccos_map=None)
    got = functional.edges(u, layer.theta, weights, bias, ansatz=plain)
    given = [u, *layer.parameters()]
    gradients = [torch.autograd.grad(z.square().sum(), given) for z in (got, want)]
    assert (got - want).abs().max() < 1e-12
    assert max(error(a, b) for a, b in zip(*gradients, strict=True)) < 2e-12


def found_harmonics(ansatz, reps, weights, noise, edges=6):
    """Which harmonics k >= 1 density matrices of random circuits hold."""
    rng = np.random.default_rng(0)
    nodes = 2 * sum(map(abs, weights)) + 3
    u = 2 * np.pi * np.arange(nodes)[:, None] / nodes
    angles = ANSATZE[ansatz].angles(reps)
    theta, bias = rng.uniform(-np.pi, np.pi, (edges, 1, angles)), rng.uniform(-3, 3, (edges, 1, len(weights)))
    z = density.run(truth.words(ansatz, reps), noise, u, theta, np.array(weights, float), bias)
    size = np.abs(np.fft.rfft(z[..., 0], axis=0)).max(-1) / nodes
    return tuple(k for k in range(1, len(size)) if size[k] > 1e-12)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 3, 9, 27), (-2, 0, 3, 3)])
@pytest.mark.parametrize("noise", [None, *NOISES])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px-none", "real", "mix", "two", "own"])
def test_no_noise_brings_a_harmonic_that_is_not_listed(ansatz, noise, weights):
    reps = reps_for(ansatz)
    weights = weights[: ANSATZE[ansatz].uploads(reps)]
    given = NOISES.get(noise, {})
    listed = ANSATZE[ansatz].with_noise(Noise(**given)).harmonics(weights)
    assert set(found_harmonics(ansatz, reps, weights, given)) <= set(listed)


STRENGTHS = st.sampled_from([0.0, 0.2, 0.75, 1.0])
ERRORS_OF_READING = st.sampled_from([0.0, 0.1, 0.5])
PLACES_OF_NOISE = st.lists(st.sampled_from(["fixed", "trainable", "encoding", "H", "X", "Y", "Z", "RX", "RY", "RZ"]))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    circuits(),
    st.fixed_dictionaries(
        dict.fromkeys(density.KRAUS, STRENGTHS)
        | {"readout_error": st.tuples(ERRORS_OF_READING, ERRORS_OF_READING), "after": PLACES_OF_NOISE}
    ),
)
def test_every_solver_runs_every_circuit_under_every_noise(circuit, noise):
    prepare, block, final, reps, weights, biased = circuit
    parts = (tuple(map(gate, part)) for part in (prepare, block, final))
    ansatz = Ansatz("any", *parts, noise=Noise(**noise))
    rng = np.random.default_rng(0)
    u = rng.uniform(-4, 4, (5, 2))
    theta = rng.uniform(-np.pi, np.pi, (3, 2, ansatz.angles(reps)))
    bias = rng.uniform(-np.pi, np.pi, (3, 2, len(weights))) * biased
    want = density.run(prepare + block * reps + final, noise, u, theta, np.array(weights, float), bias)
    gradients = []
    for solver in (Bloch(), Fourier()):
        parts = [torch.from_numpy(part).requires_grad_() for part in (u, theta, bias)]
        z = solver.edges(ansatz, *parts[:2], weights, parts[2] if biased else None)
        where = f"{solver.name}: {ansatz}, {weights}"
        np.testing.assert_allclose(z.detach(), want, rtol=0, atol=1e-12, err_msg=where)
        # Where noise or the circuit hides everything, nothing is left to differentiate.
        total = z.square().sum() + 0 * sum(part.sum() for part in parts)
        gradients.append(torch.autograd.grad(total, parts))
    for by_bloch, by_fourier in zip(*gradients, strict=True):
        np.testing.assert_allclose(by_fourier, by_bloch, rtol=0, atol=1e-11, err_msg=where)


RETURNING = {
    # On `real`, whose rotations share one axis: noise, then harmonics with weights (1, 1, 1) and (1, 3, 9).
    "none": ({}, (3,), (13,)),
    "depolarizing": ({"depolarizing": 0.2, "readout_error": (0.1, 0.0)}, (3,), (13,)),
    "amplitude damping": ({"amplitude_damping": 0.2}, (1, 2, 3), (5, 6, 7, 9, 11, 12, 13)),
    "phase damping": ({"phase_damping": 0.2}, (1, 3), (5, 7, 11, 13)),
    "bit flip": ({"bit_flip": 0.2}, (1, 3), (5, 7, 11, 13)),
    "bit flip, fixed": ({"bit_flip": 0.2, "after": "H"}, (3,), (13,)),
}


@pytest.mark.parametrize("name", RETURNING)
def test_noise_that_does_not_commute_with_rotations_brings_harmonics_back(name):
    noise, *wanted = RETURNING[name]
    for weights, want in zip([(1, 1, 1), (1, 3, 9)], wanted, strict=True):
        assert found_harmonics("real", 3, weights, noise) == want
        assert REAL.with_noise(Noise(**noise)).harmonics(weights) == want
