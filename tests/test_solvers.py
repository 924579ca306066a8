"""Solvers against each other and against truth that shares no code with them: values and first derivatives."""

import math

import numpy as np
import pytest
import torch
import truth
from helpers import (
    ANSATZE,
    ENCODINGS,
    READOUTS,
    SOLVERS,
    TOLERANCES,
    error,
    inputs,
    random_layer,
    reps_for,
    supported,
)

from qkan import QKANLinear
from qkan.solvers import choose

ROWS = [
    pytest.param(a, e, s, id=f"{a}-{e}-{s}") for a in ANSATZE for e in ENCODINGS for s in SOLVERS if supported(s, e)
]
FAST = [row for row in ROWS if row.values[2] != "statevector"]
EDGES = ["encoding_weight", "encoding_bias", "theta"]


def parameters_of(layer):
    """theta, weight and bias as arrays that broadcast to [out, in, ...]."""
    weight, bias = layer.encoding_weight, layer.encoding_bias
    weight = np.array(layer.options.start_weights, float) if weight is None else weight.detach().numpy()
    bias = np.zeros(weight.shape[-1]) if bias is None else bias.detach().numpy()
    return layer.theta.detach().numpy(), weight, bias


def true_state(name, layer, x):
    return truth.state(name, layer.options.reps, truth.argument(name, x.numpy()), *parameters_of(layer))


def compared(layer, x, cotangent):
    """Edges where the cotangent is not 0, and the gradient of Σ cotangent edges by x and every edge parameter."""
    x = x.clone().requires_grad_()
    edges = layer.edges(x)
    wanted = {"x": x} | {name: p for name, p in layer.named_parameters() if name in EDGES}
    grads = torch.autograd.grad((edges * cotangent).sum(), list(wanted.values()))
    return {"edges": edges.detach() * (cotangent != 0)} | dict(zip(wanted, grads, strict=True))


@pytest.mark.parametrize(("ansatz", "encoding", "solver"), ROWS)
def test_values_are_those_of_matrices(ansatz, encoding, solver):
    x = inputs(ansatz, 2, 7, 5)
    layer = random_layer(ansatz, encoding, solver)
    want = true_state(ansatz, layer, x)
    np.testing.assert_allclose(layer.edges(x).detach(), want.z, rtol=0, atol=1e-12)
    np.testing.assert_allclose(layer(x).detach(), want.z.sum(-1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ansatz", "encoding", "solver"), ROWS)
def test_amplitude_is_the_difference_of_the_moduli(ansatz, encoding, solver):
    x = inputs(ansatz, 40, 5)
    layer = random_layer(ansatz, encoding, solver, readout="amplitude")
    want = true_state(ansatz, layer, x)
    away = 1 - np.abs(want.z) > TOLERANCES[torch.float64].pole
    assert away.mean() > 0.9
    np.testing.assert_allclose(layer.edges(x).detach().numpy()[away], want.amplitude[away], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ansatz", "encoding", "solver"), ROWS)
def test_first_derivatives_are_those_of_the_shift_rule(ansatz, encoding, solver):
    x = inputs(ansatz, 4, 5)
    layer = random_layer(ansatz, encoding, solver)
    cotangent = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got = compared(layer, x, cotangent)
    want = truth.gradients(ansatz, reps_for(ansatz), x.numpy(), *parameters_of(layer), cotangent.numpy())
    shared = encoding == "trainable-shared"
    for name, key in {"x": "x", "theta": "theta", "encoding_weight": "weight", "encoding_bias": "bias"}.items():
        if name in got:
            expected = torch.from_numpy(want[key])
            expected = expected.sum(0) if shared and name.startswith("encoding") else expected
            assert error(got[name], expected) < 1e-11, name


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize(("ansatz", "encoding", "solver"), FAST)
def test_solvers_agree_with_the_statevector(ansatz, encoding, solver, readout, dtype):
    close, pole = TOLERANCES[dtype]
    x = inputs(ansatz, 6, 5, dtype=dtype)
    oracle = random_layer(ansatz, encoding, "statevector", dtype=dtype, readout=readout)
    layer = random_layer(ansatz, encoding, solver, dtype=dtype, readout=readout)
    cotangent = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(3)).to(dtype)
    if readout == "amplitude":
        cotangent[torch.from_numpy(1 - np.abs(true_state(ansatz, layer, x).z)) <= pole] = 0
    want, got = compared(oracle, x, cotangent), compared(layer, x, cotangent)
    errors = {name: error(got[name], want[name]) for name in want}
    assert max(errors.values()) < close, errors


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("ansatz", "encoding", "solver"), FAST)
def test_layers_of_any_two_solvers_agree(ansatz, encoding, solver, dtype):
    x = inputs(ansatz, 6, 5, dtype=dtype)
    cotangent = torch.randn(6, 3, generator=torch.Generator().manual_seed(3)).to(dtype)
    results = []
    for name in ("statevector", solver):
        layer = random_layer(ansatz, encoding, name, dtype=dtype, scale=True)
        at = x.clone().requires_grad_()
        y = layer(at)
        results.append([y, *torch.autograd.grad((y * cotangent).sum(), [at, *layer.parameters()])])
    assert max(error(got, want) for want, got in zip(*results, strict=True)) < TOLERANCES[dtype].close


def rpz_once(t, b, u):
    return -math.sin(t[0]) * math.cos(t[1]) - math.cos(t[0]) * math.sin(t[1]) * torch.cos(u + b)


CLOSED = {
    # name: (reps, u of x, <Z> from angles t, the bias b and u), the trigonometry done by hand.
    "rpz": (1, lambda x: x, rpz_once),
    "px": (1, lambda x: torch.acos(torch.tanh(x)), lambda t, b, u: math.sin(t[0]) * torch.sin(u)),
    "real": (3, lambda x: x, lambda t, b, u: torch.sin(3 * u - sum(t))),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name, solver):
    reps, argument, formula = CLOSED[name]
    layer = random_layer(name, solver=solver, widths=(1, 1), reps=reps)
    x = torch.linspace(-3, 3, 31, dtype=torch.float64)
    bias = 0.0 if layer.encoding_bias is None else layer.encoding_bias.item()
    want = formula(layer.theta.flatten().tolist(), bias, argument(x))
    assert error(layer(x[:, None])[:, 0], want) < 1e-14


@pytest.mark.parametrize("solver", SOLVERS)
def test_zero_angles_of_pz_give_zero(solver):
    layer = QKANLinear(4, 3, dtype=torch.float64, solver=solver, init=0.0)
    assert layer(torch.randn(5, 4, dtype=torch.float64)).abs().max() < 1e-14


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_ansatz_without_angles_works(solver):
    from qkan.ansatz import RX, RZ, Ansatz, H

    bare = Ansatz("bare", (H,), (RZ("encoding"), RX("encoding")), (H,))
    layer = QKANLinear(3, 2, dtype=torch.float64, solver=solver, ansatz=bare, reps=1)
    x = torch.randn(5, 3, dtype=torch.float64)
    # |+> turns to (cos x, sin x, 0), by RX to (cos x, ., .), and H puts that on z.
    assert layer.theta.shape == (2, 3, 0)
    assert error(layer(x), x.cos().sum(-1, keepdim=True).expand(5, 2)) < 1e-14


CHOICES = [
    ("pz", 3, (1, 1, 1), "fourier"),
    ("pz", 3, (1, 3, 9), "fourier"),
    ("pz", 4, (1, 3, 9, 27), "fourier"),
    ("pz", 5, (1, 3, 9, 27, 81), "bloch"),
    ("real", 40, (1,) * 40, "fourier"),
    ("pz", 41, (1,) * 41, "bloch"),
    ("mix", 3, "trainable", "bloch"),
    ("mix", 4, "trainable-shared", "fourier"),
    ("mix", 5, "trainable-shared", "bloch"),
]


@pytest.mark.parametrize(("ansatz", "reps", "encoding", "solver"), CHOICES)
def test_auto_takes_fourier_where_it_is_exact_and_sane(ansatz, reps, encoding, solver):
    assert choose("auto", ANSATZE[ansatz], reps, encoding).name == solver


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_asked_for_by_name_is_taken(solver):
    assert choose(solver, ANSATZE["pz"], 50, (1,) * 50).name == solver
    assert f"solver={solver}" in repr(QKANLinear(2, 2, solver=solver)).replace(",", "").split()
    assert "solver=fourier (auto)" in repr(QKANLinear(2, 2))


def test_fourier_refuses_weights_per_edge_with_the_remedy():
    with pytest.raises(ValueError, match=r"encoding='trainable' has a weight for every edge; use solver='bloch'"):
        choose("fourier", ANSATZE["pz"], 3, "trainable")
