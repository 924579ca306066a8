"""Any circuit that a user may build, with any integer weights: every solver against matrices."""

import numpy as np
import torch
import truth
from hypothesis import given, settings
from hypothesis import strategies as st

from qkan.ansatz import Ansatz, Gate
from qkan.solvers import Bloch, Fourier, StateVector

FIXED = st.sampled_from(["H", "X", "Y", "Z"])
TURNS = st.sampled_from(["rx", "ry", "rz"])
UPLOADS = st.sampled_from(["ex", "ey", "ez"])
OUTSIDE = st.lists(FIXED | TURNS, max_size=3)


def gate(word):
    return (
        Gate(word) if word in truth.FIXED else Gate("R" + word[1].upper(), {"r": "trainable", "e": "encoding"}[word[0]])
    )


@st.composite
def circuits(draw):
    """Words of prepare, block, final; the number of repetitions; integer weights; whether there are biases."""
    block = draw(st.lists(FIXED | TURNS | UPLOADS, max_size=4))
    block.insert(draw(st.integers(0, len(block))), draw(UPLOADS))
    reps = draw(st.integers(1, 3))
    uploads = reps * sum(word[0] == "e" for word in block)
    weights = draw(st.lists(st.integers(-4, 4), min_size=uploads, max_size=uploads))
    return draw(OUTSIDE), block, draw(OUTSIDE), reps, tuple(weights), draw(st.booleans())


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(circuits())
def test_every_solver_runs_every_circuit(circuit):
    prepare, block, final, reps, weights, biased = circuit
    ansatz = Ansatz("any", *(tuple(map(gate, part)) for part in (prepare, block, final)))
    rng = np.random.default_rng(0)
    u = rng.uniform(-4, 4, (5, 2))
    theta = rng.uniform(-np.pi, np.pi, (3, 2, ansatz.angles(reps)))
    bias = rng.uniform(-np.pi, np.pi, (3, 2, len(weights))) * biased
    want = truth.run(prepare + block * reps + final, u, theta, np.array(weights, float), bias).z
    given_bias = torch.from_numpy(bias) if biased else None
    for solver in (StateVector(), Bloch(), Fourier()):
        z = solver.edges(ansatz, torch.from_numpy(u), torch.from_numpy(theta), weights, given_bias)
        np.testing.assert_allclose(z, want, rtol=0, atol=1e-12, err_msg=f"{solver.name}: {ansatz}, {weights}")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(circuits())
def test_no_circuit_has_a_harmonic_that_is_not_listed(circuit):
    prepare, block, final, reps, weights, _ = circuit
    ansatz = Ansatz("any", *(tuple(map(gate, part)) for part in (prepare, block, final)))
    rng = np.random.default_rng(0)
    nodes = 2 * sum(map(abs, weights)) + 1
    u = 2 * np.pi * np.arange(nodes)[:, None] / nodes
    theta, bias = rng.uniform(-np.pi, np.pi, (4, 1, ansatz.angles(reps))), rng.uniform(-3, 3, (4, 1, len(weights)))
    z = truth.run(prepare + block * reps + final, u, theta, np.array(weights, float), bias).z
    found = np.abs(np.fft.rfft(z[..., 0], axis=0)).max(-1) / nodes
    assert {k for k in range(1, len(found)) if found[k] > 1e-12} <= set(ansatz.harmonics(weights))
