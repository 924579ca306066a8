"""Layers in blocks of edges and samples: equal to the sum over edges, and [batch, out, in] never exists."""

from dataclasses import replace

import pytest
import torch
from helpers import ANSATZE, ENCODINGS, READOUTS, error, generator, inputs, random_layer
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qkan import QKANLinear, readout
from qkan.noise import Noise
from qkan.solvers import choose, pointwise
from qkan.solvers.base import Solver
from qkan.solvers.edgewise import blocks

ROWS = [pytest.param(a, e, r, id=f"{a}-{e}-{r}") for a in ANSATZE for e in ENCODINGS for r in READOUTS]
# The two paths: every edge for itself, and from coefficients.
PATHS = {
    "edgewise": {"encoding": "trainable", "solver": "bloch"},
    "edgewise-amplitude": {"encoding": "trainable", "solver": "bloch", "readout": "amplitude"},
    "shared": {"solver": "bloch"},
    "pointwise": {"solver": "fourier", "readout": "amplitude"},
}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 samples and 2 outputs at most, where a layer has 5 inputs."""
    monkeypatch.setitem(blocks.ELEMENTS, "cpu", 1)
    monkeypatch.setattr(blocks, "LEAST", 2 * 5 * 64)
    monkeypatch.setitem(pointwise.ELEMENTS, "cpu", 2 * 5 * 64)


def away(ansatz, encoding, solver, count):
    """Inputs for which no amplitude of the random layer is near a pole, where z alone has lost its digits."""
    x = inputs(ansatz, 4 * count, 5)
    with torch.no_grad():
        z = random_layer(ansatz, encoding, solver).edges(x)
    x = x[(1 - z.abs() > 1e-3).flatten(1).all(-1)]
    return x[: min(count, len(x))]


def both(layer, x):
    """Value and all gradients of the layer, and of the plain sum over its edges."""
    x = x.clone().requires_grad_()
    wanted = [x, *layer.parameters()]
    cotangent = torch.randn(len(x), 3, generator=generator(5), dtype=x.dtype)
    results = []
    for call in (layer, lambda x: (layer.edges(x) * layer.gain(x.dtype)).sum(-1)):
        y = call(x)
        results.append([y, *torch.autograd.grad((y * cotangent).sum(), wanted)])
    return results


@pytest.mark.parametrize("solver", ["bloch", "fourier"])
@pytest.mark.parametrize(("ansatz", "encoding", "readout"), ROWS)
def test_blocks_equal_the_sum_over_edges(ansatz, encoding, readout, solver, small_blocks):
    if solver == "fourier" and (encoding == "trainable" or readout == "expectation"):
        pytest.skip("not in blocks")
    x = away(ansatz, encoding, solver, 150)
    assert len(x) > 64
    assert len(x) % 64
    layer = random_layer(ansatz, encoding, solver, readout=readout, scale=True)
    got, want = both(layer, x)
    assert max(error(a, b) for a, b in zip(got, want, strict=True)) < 1e-12


@pytest.mark.parametrize("path", PATHS)
def test_leading_dimensions_and_empty_batches(path):
    layer = QKANLinear(5, 3, dtype=torch.float64, **PATHS[path])
    x = inputs("pz", 2, 7, 5)
    assert error(layer(x), layer(x.flatten(0, 1)).unflatten(0, (2, 7))) < 1e-15
    assert error(layer(x[0, 0]), layer(x)[0, 0]) < 1e-15
    empty = torch.zeros(0, 5, dtype=torch.float64, requires_grad=True)
    y = layer(empty)
    y.sum().backward()
    assert y.shape == (0, 3)
    assert empty.grad.shape == (0, 5)
    assert all(p.grad.abs().max() == 0 for p in layer.parameters())


def saved(layer, x):
    """Storages that autograd keeps, by address."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("reps", [1, 3, 9])
def test_only_the_arguments_are_saved_whatever_the_reps(reps, readout):
    layer = QKANLinear(5, 4, encoding="trainable", reps=reps, readout=readout, scale=True)
    x = torch.randn(50, 5, requires_grad=True)
    kept = saved(layer, x)
    known = [x, *layer.parameters(), layer.mask]
    arguments = {t.untyped_storage().data_ptr() for t in known}
    rest = [size for address, size in kept.items() if address not in arguments]
    # The product of mask and scale alone.
    assert sum(rest) <= 4 * layer.mask.numel()


class Largest(TorchDispatchMode):
    """Records the largest storage that any operation makes."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return result


def largest(call):
    with Largest() as mode:
        call().sum().backward()
    return mode.bytes


@pytest.mark.parametrize("path", PATHS)
def test_batch_out_in_never_exists(path, monkeypatch):
    for module in (blocks, pointwise):
        monkeypatch.setitem(module.ELEMENTS, "cpu", 2**14)
    monkeypatch.setattr(blocks, "LEAST", 1)
    layer = QKANLinear(8, 64, **PATHS[path])
    x = torch.randn(3000, 8, requires_grad=True)
    whole = 4 * 3000 * 8 * 64
    assert largest(lambda: layer(x)) < whole / 4
    assert largest(lambda: layer.edges(x)) >= whole


def as_function(layer):
    names = [name for name, _ in layer.named_parameters()]

    def call(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    return call, [p.detach().clone().requires_grad_() for p in layer.parameters()]


@pytest.mark.parametrize("path", PATHS)
def test_derivatives_by_finite_differences(path):
    layer = QKANLinear(2, 3, dtype=torch.float64, generator=generator(), scale=True, **PATHS[path])
    call, parameters = as_function(layer)
    x = inputs("pz", 3, 2).requires_grad_()
    assert gradcheck(call, (x, *parameters))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert gradgradcheck(call, (x, *parameters), fast_mode=True)


# Torch warns of the script that it makes of its own rules for forward mode.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("path", PATHS)
def test_vmap_and_forward_mode(path):
    layer = QKANLinear(5, 3, dtype=torch.float64, generator=generator(), **PATHS[path])
    x = inputs("pz", 4, 6, 5)
    assert error(vmap(layer)(x), layer(x)) < 1e-14
    tangent = torch.randn(x.shape, generator=generator(2), dtype=x.dtype)
    y, moved = jvp(layer, (x,), (tangent,))
    step = 1e-6
    slope = (layer(x + step * tangent) - layer(x - step * tangent)) / (2 * step)
    assert error(y, layer(x)) < 1e-14
    assert error(moved, slope) < 1e-7


@pytest.mark.parametrize("path", PATHS)
def test_a_nan_stays_visible_in_its_sample(path):
    layer = QKANLinear(5, 3, **PATHS[path])
    x = torch.randn(9, 5)
    x[4, 2] = torch.nan
    x.requires_grad_()
    y = layer(x)
    assert y.isnan().any(-1).tolist() == [number == 4 for number in range(9)]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient[4, 2].isnan()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_amplitude_of_coefficients_at_and_beyond_the_poles(dtype):
    z = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.999, 1.0, 1.5], dtype=dtype)
    columns = torch.ones(2, 1, 0, dtype=dtype, requires_grad=True)
    constant = z.unsqueeze(-1).clone().requires_grad_()
    gain = torch.full((7, 1), 2.0, dtype=dtype)
    y = pointwise.amplitude_layer(columns, torch.zeros(7, 1, 0, dtype=dtype), constant, gain)
    plain = z.clone().requires_grad_()
    want = 2 * readout.amplitude(plain)
    torch.testing.assert_close(y, want.expand(2, 7))
    (got,) = torch.autograd.grad(y[0].sum(), constant)
    (slope,) = torch.autograd.grad(want.sum(), plain)
    torch.testing.assert_close(got[:, 0], slope)
    assert got[[0, 1, 5, 6], 0].tolist() == [2.0] * 4


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(5, 3), (12, 10)])
@pytest.mark.parametrize("path", PATHS)
def test_compiled_layers_equal_and_serve_any_batch(path, widths):
    torch.compiler.reset()
    layer = QKANLinear(*widths, generator=generator(), **PATHS[path])
    compiled = torch.compile(layer, fullgraph=True)
    torch._dynamo.utils.counters.clear()
    for count in (11, 12, 33):
        x = inputs("pz", count, widths[0], dtype=torch.float32).requires_grad_()
        results = []
        for call in (compiled, layer):
            y = call(x)
            results.append([y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])])
        assert max(error(got, want) for got, want in zip(*results, strict=True)) < 2e-5
    # One for the first size, one for all others.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


@pytest.mark.parametrize("given", ["angles per sample", "noise", "own readout", "two dtypes"])
def test_what_has_no_blocks_takes_the_sum_over_edges(given):
    ansatz, x, theta, of = ANSATZE["pz"], inputs("pz", 4, 5), torch.randn(3, 5, 4).double(), readout.expectation
    if given == "angles per sample":
        theta = torch.randn(4, 3, 5, 4).double()
    elif given == "noise":
        ansatz = replace(ansatz, noise=Noise(amplitude_damping=0.1))
    elif given == "own readout":
        of = lambda z, _: z**3  # noqa: E731
    else:
        theta = theta.float()
    weight, gain = torch.randn(3, 5, 1).double(), torch.randn(3, 5).double()
    solver = choose("bloch", ansatz, 1, "trainable")
    got = solver.layer(ansatz, x, theta, weight, None, gain, of)
    assert error(got, Solver.layer(solver, ansatz, x, theta, weight, None, gain, of)) < 1e-15
