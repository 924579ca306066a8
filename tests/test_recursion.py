"""The recursion of amplitudes: against Bloch vectors at the nodes, in blocks, and what the plan leaves out."""

from unittest import mock

import pytest
import torch
from helpers import ANSATZE, ENCODINGS, error, generator, reps_for

from qkan.ansatz import PX, PZ, RPZ
from qkan.solvers.fourier import coefficients
from qkan.solvers.lowering import recursion, rotations
from qkan.solvers.lowering.nodes import Nodes
from qkan.solvers.lowering.plan import plan
from qkan.solvers.lowering.unrolled import unrolled_table

ROWS = [(name, encoding) for name in ANSATZE for encoding in ("unit", "ternary", "signs", "trainable-shared")]


def problem(name, encoding, widths=(3, 5)):
    """Circuit, nodes, angles [out, in, angles], and what takes the place of integers as weights."""
    ansatz, reps = ANSATZE[name], reps_for(name)
    weights = ENCODINGS[encoding](ansatz.uploads(reps))
    weights = {"unit": (1,), "ternary": (1, 3, 9, 27)}.get(encoding, weights)
    uploads = ansatz.uploads(reps)
    if encoding == "unit":
        weights *= uploads
    weight = torch.ones(widths[1], uploads) if encoding == "trainable-shared" else tuple(weights[:uploads])
    shape = (*widths, ansatz.angles(reps))
    theta = 3 * torch.randn(shape, generator=generator(), dtype=torch.float64)
    return ansatz.circuit(reps), Nodes.of(ansatz, weight), theta.requires_grad_(), weight


def with_gradient(table, theta, seed=2):
    upstream = torch.randn(table.shape, generator=generator(seed), dtype=torch.float64)
    return table, torch.autograd.grad(table, theta, upstream)[0]


def series_table(ansatz, theta, weight):
    series = coefficients(ansatz, theta, weight)
    return torch.cat([series.constant[None], series.coefficients.permute(2, 0, 1)])


@pytest.mark.parametrize("edges_in_a_block", [1, 7, 1000])
@pytest.mark.parametrize(("name", "encoding"), ROWS)
def test_amplitudes_give_the_coefficients_of_bloch_vectors(name, encoding, edges_in_a_block):
    circuit, where, theta, weight = problem(name, encoding)
    rows = len(plan(circuit, where.weights, theta.shape[-1]).powers)
    with mock.patch.object(recursion, "_FLOATS", 4 * rows * edges_in_a_block):
        got = with_gradient(series_table(ANSATZE[name], theta, weight), theta)
    want = with_gradient(rotations.plain_table(circuit, where, theta), theta)
    assert error(got[0], want[0]) < 1e-13
    assert error(got[1], want[1]) < 1e-13


@pytest.mark.parametrize(("name", "encoding"), ROWS)
def test_what_the_compiler_unrolls_is_the_same(name, encoding):
    circuit, where, theta, _ = problem(name, encoding)
    recursive = plan(circuit, where.weights, theta.shape[-1])
    got = with_gradient(unrolled_table(recursive, where, theta), theta)
    want = with_gradient(rotations.plain_table(circuit, where, theta), theta)
    assert error(got[0], want[0]) < 1e-13
    assert error(got[1], want[1]) < 1e-13


def test_uploads_of_weight_one_have_one_row_more_than_uploads():
    assert [len(plan(PZ.circuit(r), (1,) * r, PZ.angles(r)).powers) for r in (1, 3, 6)] == [2, 4, 7]


def test_ternary_weights_and_products_have_two_to_the_uploads():
    for weights in ((1, 3, 9), None):
        assert len(plan(PZ.circuit(3), weights, 8).powers) == 8


def test_angles_that_the_observable_does_not_feel_have_no_gradient():
    theta = torch.randn(2, 3, PX.angles(3), generator=generator(), dtype=torch.float64).requires_grad_()
    _, gradient = with_gradient(series_table(PX, theta, (1, 1, 1)), theta)
    assert (gradient[..., -1] == 0).all()
    assert (gradient[..., :-1] != 0).all()


def test_uploads_about_one_axis_need_no_gates_of_the_frame():
    assert [plan(a.circuit(3), (1, 1, 1), a.angles(3)).quarters for a in (PZ, RPZ, PX)] == [0, 0, 1]


def test_layers_without_edges_have_coefficients():
    theta = torch.zeros(0, 3, PZ.angles(3), requires_grad=True)
    table, gradient = coefficients(PZ, theta, (1, 1, 1)).coefficients, theta
    assert table.shape == (0, 3, 6)
    assert torch.autograd.grad(table.sum(), gradient)[0].shape == theta.shape
