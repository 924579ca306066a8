"""The B-spline basis against SciPy's, on uniform, uneven and clamped knots."""

import numpy as np
import pytest
import torch
from helpers import error, generator
from scipy.interpolate import BSpline
from torch.func import jacfwd, jacrev, vmap

from qkan.bases import bspline

GRIDS = {
    "uniform": lambda order: bspline.knots(5, order, -1.0, 1.0, dtype=torch.float64),
    "one interval": lambda order: bspline.knots(1, order, -3.0, 0.5, dtype=torch.float64),
    "uneven": lambda order: torch.rand(6 + 2 * order, generator=generator(3), dtype=torch.float64).sort()[0] * 3 - 1,
    "clamped": lambda order: torch.tensor([-1.0] * order + [-1, -0.4, 0.1, 0.1, 0.7, 1] + [1.0] * order).double(),
}
ORDERS = (1, 2, 3, 5)
CASES = [(name, order) for name in GRIDS for order in ORDERS]


def grid_of(name, order, inputs=3):
    """One row of knots per input, all different."""
    row = GRIDS[name](order)
    return torch.stack([(1 + 0.2 * i) * row + 0.1 * i for i in range(inputs)])


def points(grid, count=200, seed=0):
    """Points [count, in] over all knots and beyond both ends."""
    low, high = grid[:, 0], grid[:, -1]
    unit = torch.rand(count, len(grid), generator=generator(seed), dtype=torch.float64)
    return low + (1.4 * unit - 0.2) * (high - low)


def scipy_values(x, grid, order):
    """Every function by itself, 0 outside of its knots."""
    columns = []
    for j in range(len(grid) - 1 - order):
        values = BSpline.basis_element(grid[j : j + order + 2], extrapolate=False)(x)
        columns.append(np.where(np.isnan(values), 0, values))
    return np.stack(columns, -1)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # SciPy's, for functions of coinciding knots
@pytest.mark.parametrize(("name", "order"), CASES)
def test_values_are_those_of_scipy(name, order):
    grid = grid_of(name, order)
    x = points(grid)
    got = bspline.features(x, grid, order)
    want = np.stack([scipy_values(x[:, i].numpy(), grid[i].numpy(), order) for i in range(3)], 1)
    assert got.shape == (200, 3, grid.shape[1] - 1 - order)
    assert np.abs(got.numpy() - want).max() < 1e-12


@pytest.mark.parametrize(("name", "order"), CASES)
def test_they_sum_to_one_where_all_of_them_are_there_and_vanish_outside(name, order):
    grid = grid_of(name, order)
    low, high = grid[:, order], grid[:, -1 - order]
    x = low + torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(-1) * (high - low)  # both ends included
    x = torch.minimum(x, high)
    values = bspline.features(x, grid, order)
    assert error(values.sum(-1), torch.ones_like(x)) < 1e-12
    assert (values >= -1e-15).all()
    outside = torch.stack([grid[:, 0] - 1e-9, grid[:, -1] + 1e-9, grid[:, 0] - 1e6, torch.full_like(low, torch.inf)])
    assert not bspline.features(outside, grid, order).any()


def test_uniform_knots_are_those_of_the_definition():
    low, high = torch.tensor([-1.0, 0.0]).double(), torch.tensor([1.0, 3.0]).double()
    grid = bspline.knots(4, 2, low, high)
    assert grid.shape == (2, 9)
    assert error(grid[1], torch.tensor([-1.5, -0.75, 0, 0.75, 1.5, 2.25, 3, 3.75, 4.5]).double()) < 1e-15
    assert torch.equal(grid[0], bspline.knots(4, 2, -1.0, 1.0, dtype=torch.float64))


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_are_those_of_scipy_and_finite_everywhere(order):
    grid = grid_of("uneven", order)
    x = points(grid).requires_grad_()
    weights = torch.rand(3, grid.shape[1] - 1 - order, generator=generator(5), dtype=torch.float64)
    (slope,) = torch.autograd.grad((bspline.features(x, grid, order) * weights).sum(), x)
    for i in range(3):
        spline = BSpline(grid[i].numpy(), weights[i].numpy(), order, extrapolate=False)
        # Where all functions are there: outside SciPy has no spline.
        inside = ((x[:, i] > grid[i, order]) & (x[:, i] < grid[i, -1 - order])).detach().numpy()
        want = spline.derivative()(x[:, i].detach().numpy())[inside]
        assert np.abs(slope[:, i].numpy()[inside] - want).max() < 1e-10 * max(1, np.abs(want).max())
    far = torch.tensor([0.0, -1e30, 1e30, float(grid[0, 0]), float(grid[0, -1]), float(grid[0, 3])]).double()
    far = far.view(-1, 1).expand(-1, 3).clone().requires_grad_()
    bspline.features(far, grid, order).sum().backward()
    assert far.grad.isfinite().all()


def test_gradcheck_twice():
    grid = grid_of("uneven", 3)
    x = points(grid, 6).requires_grad_()
    knots = grid.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, t: bspline.features(x, t, 3), (x, knots))
    assert torch.autograd.gradgradcheck(lambda x: bspline.features(x, grid, 3), (x,))


def test_a_nan_stays_visible():
    values = bspline.features(torch.tensor([[float("nan")], [0.3]]), grid_of("uniform", 3, 1).float(), 3)
    assert values[0].isnan().any()
    assert values[1].isfinite().all()


@pytest.mark.parametrize("batch", [(), (1,), (2, 5), (0,), (2, 0, 3)])
def test_any_leading_dimensions(batch):
    grid = grid_of("uniform", 3)
    x = torch.rand(*batch, 3, generator=generator(1), dtype=torch.float64)
    values = bspline.features(x, grid, 3)
    assert values.shape == (*batch, 3, 8)
    assert torch.equal(values.reshape(-1, 3, 8), bspline.features(x.reshape(-1, 3), grid, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, from jacfwd
def test_vmap_and_both_modes_of_derivatives():
    grid = grid_of("uneven", 3)
    x = points(grid, 4)
    assert error(vmap(lambda row: bspline.features(row, grid, 3))(x), bspline.features(x, grid, 3)) < 1e-15
    grids = torch.stack([grid, grid + 0.1])
    both = vmap(lambda t: bspline.features(x, t, 3))(grids)
    assert error(both[1], bspline.features(x, grids[1], 3)) < 1e-15
    forward, reverse = (way(lambda row: bspline.features(row, grid, 3))(x[0]) for way in (jacfwd, jacrev))
    assert error(forward, reverse) < 1e-12
