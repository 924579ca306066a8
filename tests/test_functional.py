"""The functions of (x, θ, w, b): the same mathematics as the layers, and angles and weights that differ per sample."""

import numpy as np
import pytest
import torch
import truth
from helpers import ANSATZE, ENCODINGS, READOUTS, SOLVERS, error, generator, inputs, random_layer, reps_for, supported
from torch.func import jacrev, vmap

from qkan import functional

ROWS = [
    pytest.param(a, e, s, id=f"{a}-{e}-{s}") for a in ANSATZE for e in ENCODINGS for s in SOLVERS if supported(s, e)
]
BATCH, OUT, IN = 4, 3, 5


def arguments(layer):
    """θ, w and b of a layer, and its circuit."""
    weight = layer.options.start_weights if layer.encoding_weight is None else layer.encoding_weight
    return (layer.theta, weight, layer.encoding_bias), {"ansatz": layer.options.ansatz, "solver": layer.solver.name}


def uniform(*shape, seed=0):
    return 3 * (2 * torch.rand(shape, generator=generator(seed), dtype=torch.float64) - 1)


def per_sample(ansatz="pz"):
    """Everything per sample: x [batch, in], θ [batch, out, in, angles], w and b [batch, out, in, uploads]."""
    reps = reps_for(ansatz)
    angles, uploads = ANSATZE[ansatz].angles(reps), ANSATZE[ansatz].uploads(reps)
    shapes = [(angles, 1), (uploads, 2), (uploads, 3)]
    return inputs(ansatz, BATCH, IN), *(uniform(BATCH, OUT, IN, size, seed=seed) for size, seed in shapes)


@pytest.mark.parametrize(("ansatz", "encoding", "solver"), ROWS)
def test_the_functions_are_the_layer(ansatz, encoding, solver):
    layer, x = random_layer(ansatz, encoding, solver, scale=True), inputs(ansatz, 2, 4, IN)
    given, circuit = arguments(layer)
    assert torch.equal(functional.edges(x, *given, **circuit), layer.edges(x))
    assert error(functional.linear(x, *given, gain=layer.scale, **circuit), layer(x)) < 1e-14
    assert error(functional.linear(x, *given, **circuit), layer.edges(x).sum(-1)) < 1e-13


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("solver", ["auto", "bloch", "statevector"])
@pytest.mark.parametrize("ansatz", [a for a in ANSATZE if a != "px-none"])
def test_angles_and_weights_per_sample_are_those_of_matrices(ansatz, solver, readout):
    x, theta, weight, bias = per_sample(ansatz)
    got = functional.edges(x, theta, weight, bias, ansatz=ANSATZE[ansatz], solver=solver, readout=readout)
    u = truth.argument(ansatz, x.numpy())
    for n in range(BATCH):
        state = truth.state(ansatz, reps_for(ansatz), u[n], *(part[n].numpy() for part in (theta, weight, bias)))
        want = state.z if readout == "expectation" else state.amplitude
        away = 1 - np.abs(state.z) > 1e-4
        np.testing.assert_allclose(got[n].numpy()[away], want[away], rtol=0, atol=1e-12)


@pytest.mark.parametrize("own", [(True, False, False), (False, True, False), (False, False, True), (True, False, True)])
def test_some_parts_may_be_per_sample_and_others_shared(own):
    x, *parts = per_sample()
    mixed = [part if apart else part[0] for part, apart in zip(parts, own, strict=True)]
    whole = [part if apart else part[:1].expand_as(part) for part, apart in zip(parts, own, strict=True)]
    assert error(functional.edges(x, *mixed), functional.edges(x, *whole)) < 1e-14


@pytest.mark.parametrize("solver", ["auto", *SOLVERS])
@pytest.mark.parametrize("shared_bias", [False, True])
@pytest.mark.parametrize("weight", [None, (1, 3, 9), [2, -1, 0], "shared"])
def test_biases_go_with_every_weight_or_are_refused(weight, shared_bias, solver):
    x, theta, _, bias = (part[0] for part in per_sample())
    bias = bias[0] if shared_bias else bias
    tensor = weight == "shared"
    array = uniform(IN, 3).numpy() if tensor else np.array(weight or (1, 1, 1), float)
    given = (x, theta, torch.from_numpy(array) if tensor else weight, bias)
    if solver == "fourier" and tensor and not shared_bias:
        with pytest.raises(ValueError, match="solver='fourier' needs bias"):
            functional.linear(*given, solver=solver)
        return
    want = truth.state("pz", 3, x.numpy(), theta.numpy(), array, bias.numpy()).z
    for rows in (1, OUT, 4):  # as many rows as outputs: a wrong broadcast would pass unseen otherwise
        given = (x.expand(rows, IN), *given[1:])
        got = functional.edges(*given, solver=solver)
        np.testing.assert_allclose(got, np.broadcast_to(want, (rows, OUT, IN)), rtol=0, atol=1e-12)
        got = functional.linear(*given, solver=solver)
        np.testing.assert_allclose(got, np.broadcast_to(want.sum(-1), (rows, OUT)), rtol=0, atol=1e-12)


def test_linear_with_angles_per_sample():
    x, theta, weight, bias = per_sample()
    gain = uniform(OUT, IN)
    want = (functional.edges(x, theta, weight, bias) * gain).sum(-1)
    assert error(functional.linear(x, theta, weight, bias, gain=gain), want) < 1e-14


@pytest.mark.parametrize("batch", [(), (2, 3), (0,), (2, 0)])
def test_any_leading_dimensions(batch):
    x, theta = uniform(*batch, IN), uniform(*batch, OUT, IN, 8)
    got = functional.edges(x, theta)
    assert got.shape == (*batch, OUT, IN)
    want = [functional.edges(a, b) for a, b in zip(x.reshape(-1, IN), theta.reshape(-1, OUT, IN, 8), strict=True)]
    assert error(got.reshape(-1, OUT, IN), torch.stack(want) if want else got.reshape(0, OUT, IN)) < 1e-14


def test_gradients_flow_into_angles_per_sample():
    x, *parts = (part.requires_grad_() for part in per_sample())
    assert torch.autograd.gradcheck(functional.edges, (x, *parts), fast_mode=True)


def test_vmap_is_per_sample():
    x, *parts = per_sample()
    assert error(vmap(functional.edges)(x, *parts), functional.edges(x, *parts)) < 1e-14
    assert jacrev(functional.edges, argnums=1)(x, *parts).shape == (BATCH, OUT, IN, BATCH, OUT, IN, 8)


@pytest.mark.parametrize("weight", [None, (1, 3, 9), (2, 0, -1)])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix"])
def test_coefficients_are_the_series_of_the_edge(ansatz, weight):
    layer = random_layer(ansatz)
    series = functional.coefficients(layer.theta, weight, layer.encoding_bias, ansatz=ansatz)
    x = inputs(ansatz, 7, IN)
    turns = torch.from_numpy(truth.argument(ansatz, x.numpy()))[:, None, :, None] * series["harmonics"]
    z = series["constant"] + (series["cos"] * turns.cos() + series["sin"] * turns.sin()).sum(-1)
    bias = np.zeros(3) if layer.encoding_bias is None else layer.encoding_bias.detach().numpy()
    array = np.ones(3) if weight is None else np.array(weight, float)
    want = truth.state(ansatz, 3, truth.argument(ansatz, x.numpy()), layer.theta.detach().numpy(), array, bias).z
    np.testing.assert_allclose(z.detach().numpy(), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_numpy_integers_are_weights(solver):
    x, theta, _, _ = (part[0] for part in per_sample())
    weights = [np.int64(1), np.int32(3), 9]
    assert torch.equal(
        functional.edges(x, theta, weights, solver=solver), functional.edges(x, theta, (1, 3, 9), solver=solver)
    )


X, THETA = torch.zeros(4, 5), torch.zeros(3, 5, 8)
EDGES = {
    "theta has too few dimensions": ((THETA[0],), {}, r"theta must be .*\[out, in, angles\]; got \(5, 8\)"),
    "theta has other inputs": ((THETA[:, :4],), {}, r"theta must be .* in = 5.*; got \(3, 4, 8\)"),
    "no such number of angles": ((THETA[..., :7],), {}, r"theta must have 2 \+ 2 reps angles .*; got 7"),
    "too few angles": ((THETA[..., :2],), {}, r"theta must have 2 \+ 2 reps angles .*; got 2"),
    "too few weights": ((THETA, (1, 3)), {}, r"weight must hold 3 integers.*; got \(1, 3\)"),
    "weights no integers": ((THETA, (1, 0.5, 2)), {}, r"weight must hold 3 integers.*or .*tensor"),
    "weight of another shape": ((THETA, torch.ones(5, 2)), {}, r"weight must be .*5, 3\]; got \(5, 2\)"),
    "weight of other outputs": ((THETA, torch.ones(7, 5, 3)), {}, r"weight must be .*; got \(7, 5, 3\)"),
    "bias of another shape": ((THETA, None, torch.ones(3, 4, 3)), {}, r"bias must be .*; got \(3, 4, 3\)"),
    "bias of other outputs": ((THETA, None, torch.ones(7, 5, 3)), {}, r"bias must be .*; got \(7, 5, 3\)"),
    "ansatz": ((THETA,), {"ansatz": "pzz"}, r"ansatz must be one of .*; got 'pzz'"),
    "readout": ((THETA,), {"readout": "z"}, r"readout must be one of .*; got 'z'"),
    "solver": ((THETA,), {"solver": "exact"}, r"solver must be one of .*; got 'exact'"),
    "fourier, weights per edge": ((THETA, torch.ones(3, 5, 3)), {"solver": "fourier"}, r"needs .*solver='bloch'"),
    "fourier, angles per sample": ((THETA[None],), {"solver": "fourier"}, r"needs theta \[out, in, angles\]"),
}
SERIES = {
    "weights in a tensor": ((THETA, torch.ones(5, 3)), r"weight must be .* integers"),
    "angles per sample": ((THETA[None],), r"theta must be \[out, in, angles\]"),
    "bias of another shape": ((THETA, None, torch.ones(3, 5, 2)), r"bias must be .*; got \(3, 5, 2\)"),
    "too few weights": ((THETA, (1, 3)), r"weight must hold 3 integers.*; got \(1, 3\)"),
}


@pytest.mark.parametrize("call", [functional.edges, functional.linear])
@pytest.mark.parametrize("name", EDGES)
def test_user_errors(name, call):
    arguments, options, match = EDGES[name]
    with pytest.raises(ValueError, match=match):
        call(X, *arguments, **options)


@pytest.mark.parametrize("name", SERIES)
def test_user_errors_of_series(name):
    arguments, match = SERIES[name]
    with pytest.raises(ValueError, match=match):
        functional.coefficients(*arguments)
