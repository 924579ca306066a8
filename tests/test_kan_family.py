"""KANLinear and KAN with every basis: the formula, the start, edges, what torch does with modules, from one table."""

import copy
import io
import itertools
import math
import pickle

import numpy as np
import pytest
import torch
from helpers import error, generator, perturb
from scipy import special
from torch.func import functional_call, jacrev, vmap

from qkan import KAN, KANLinear, bases, load, lower, save
from qkan.interop import from_fastkan
from qkan.layers import KANOptions
from qkan.layers.edges import EditableLayer
from qkan.layers.kan_parts import mean_square

# Every family by its name, and variants: (basis, options).
ROWS = {name: (name, {}) for name in bases.names()} | {
    "chebyshev-5": ("chebyshev", {"degree": 5, "bias": True, "base_activation": None}),
    "jacobi-clamp": ("jacobi", {"a": 0.5, "b": 2.0, "map": "clamp", "base_activation": "tanh"}),
    "gram-compat": ("gram", {"compat": "torch-conv-kan", "degree": 4}),
    "rbf-normed": ("rbf", {"map": "layer norm", "num_grids": 5, "bias": True}),
    "rbf-scaler": ("rbf", {"enable_standalone_scale_spline": True, "grid_range": (-3, 3)}),
    "relu-fixed": ("relu", {"g": 3, "k": 1, "train_ab": False}),
    "bspline-plain": ("bspline", {"enable_standalone_scale_spline": False, "map": "tanh"}),
    "shannon-compat": ("shannon", {"compat": "torch-conv-kan", "bias": True}),
    "mexican_hat-scaler": ("mexican_hat", {"enable_standalone_scale_spline": True, "base_activation": None}),
}
POINTWISE = [name for name in ROWS if name != "rbf-normed"]


def layer_of(name, widths=(3, 2), seed=0, dtype=torch.float64, **more):
    """All parameters at random, one edge removed and one halved."""
    basis, options = ROWS[name]
    layer = perturb(KANLinear(*widths, basis, dtype=dtype, generator=generator(seed), **options | more), seed)
    with torch.no_grad():
        layer.mask[0, 1], layer.mask[1, 0] = 0, 0.5
    return layer


def model_of(name, dtype=torch.float64, **more):
    basis, options = ROWS[name]
    return KAN([3, 4, 2], basis, dtype=dtype, generator=generator(0), **options | more)


def inputs(*shape, seed=1, dtype=torch.float64):
    return (torch.rand(shape, generator=generator(seed), dtype=torch.float64) * 4 - 2).to(dtype)


def bumps(x, part):
    low, high = part["basis.phase_low"], part["basis.phase_high"]  # [in, functions]
    x = x[..., None]
    product = np.maximum(x - low, 0) * np.maximum(high - x, 0)
    return (product * 4 * 25 / 16) ** 2


def stacked(functions):
    return lambda x, part: np.stack(functions(x), -1)


def wave(function):
    """[*batch, out, in, 1] of one wave with a scale and a shift per edge."""
    return lambda x, part: function((x[..., None, :] - part["basis.translation"]) / part["basis.scale"])[..., None]


# What the functions are with the options of a row, in NumPy, [*batch, in, functions] or [*batch, out, in, 1].
FUNCTIONS = {
    "rbf": stacked(lambda x: [np.exp(-(((x - c) / (4 / 7)) ** 2)) for c in np.linspace(-2, 2, 8)]),
    "rbf-scaler": stacked(lambda x: [np.exp(-(((x - c) / (6 / 7)) ** 2)) for c in np.linspace(-3, 3, 8)]),
    "chebyshev-5": stacked(lambda x: [np.cos(n * np.arccos(np.tanh(x))) for n in range(6)]),
    "legendre": stacked(lambda x: [special.eval_legendre(n, np.tanh(x)) for n in range(4)]),
    "jacobi-clamp": stacked(lambda x: [special.eval_jacobi(n, 0.5, 2.0, np.clip(x, -1, 1)) for n in range(4)]),
    "bernstein": stacked(
        lambda x: [special.comb(3, n) * special.expit(x) ** n * special.expit(-x) ** (3 - n) for n in range(4)]
    ),
    "fourier": stacked(lambda x: [f(k * x) for f in (np.cos, np.sin) for k in range(1, 6)]),
    "relu": bumps,
    "mexican_hat": wave(lambda z: 2 / (np.sqrt(3) * np.pi**0.25) * (1 - z**2) * np.exp(-(z**2) / 2)),
    "morlet": wave(lambda z: np.cos(5 * z) * np.exp(-(z**2) / 2)),
    "dog": wave(lambda z: -z * np.exp(-(z**2) / 2)),
}
SIGMA = {"silu": lambda x: x * special.expit(x), "tanh": np.tanh, None: lambda x: 0 * x}


@pytest.mark.parametrize("batch", [(), (7,), (2, 5), (2, 0, 3)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_formula_for_any_leading_dimensions(name, batch):
    layer, x = layer_of(name), inputs(*batch, 3)
    part = {key: tensor.detach().numpy() for key, tensor in layer.state_dict().items()}
    values = FUNCTIONS[name](x.numpy(), part)
    if values.ndim == x.dim() + 1:  # shared by the outputs
        values = np.stack([values] * 2, -3)
    edges = (part["spline_weight"] * values).sum(-1) * part.get("spline_scaler", 1)
    edges = edges + part.get("base_weight", 0) * SIGMA[layer.options.base_activation](x.numpy())[..., None, :]
    want = (part["mask"] * edges).sum(-1) + part.get("bias", 0)
    assert error(layer(x), torch.from_numpy(want)) < 1e-12


@pytest.mark.parametrize("name", ROWS)
def test_edges(name):
    layer, x = layer_of(name), inputs(2, 5, 3)
    assert isinstance(layer, EditableLayer)
    whole, bias = layer.contributions(x), 0 if layer.bias is None else layer.bias
    assert error(whole.sum(-1) + bias, layer(x)) < 1e-13
    expansion = layer.expansion(x)
    assert (expansion is None) == isinstance(layer.basis, bases.EdgewiseBasis)
    if expansion is not None:
        got = torch.einsum("...if,oif->...oi", expansion.columns, expansion.coefficients) + expansion.constant
        assert error(got, whole) < 1e-13
    if name in POINTWISE:
        for o in range(2):
            for i in range(3):
                assert error(layer.edge_function(o, i)(x[..., i]), whole[..., o, i]) < 1e-13
        assert layer.edge_function(1, 2)(torch.tensor(0.3)).shape == ()
    layer.remove_edges(torch.tensor([[False, False, True], [False, False, False]]))
    assert not layer.contributions(x)[..., 0, 2].any()


@pytest.mark.parametrize("name", POINTWISE)
def test_edge_functions_follow_all_parameters_and_have_their_gradient(name):
    layer, x = layer_of(name), inputs(6)
    edge = layer.edge_function(1, 2)
    perturb(layer, seed=5)
    assert error(edge(x), layer.contributions(x.unsqueeze(-1).expand(6, 3))[:, 1, 2]) < 1e-13
    got = torch.autograd.grad(edge(x).sum(), list(layer.parameters()), allow_unused=True, materialize_grads=True)
    whole = layer.contributions(x.unsqueeze(-1).expand(6, 3))[:, 1, 2].sum()
    want = torch.autograd.grad(whole, list(layer.parameters()), allow_unused=True, materialize_grads=True)
    assert all(error(a, b) < 1e-12 for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("name", POINTWISE)
def test_a_subset_holds_the_same_edges(name):
    layer, x = layer_of(name, widths=(4, 3)), inputs(5, 4)
    layer.spline_weight.requires_grad_(False)
    part = layer.eval().subset([2, 0], [3, 1, 2])
    want = layer.contributions(x)[:, [2, 0]][..., [3, 1, 2]]
    assert error(part.contributions(x[:, [3, 1, 2]]), want) < 1e-14
    assert (part.in_features, part.out_features, part.training) == (3, 2, False)
    assert not part.spline_weight.requires_grad
    perturb(part, seed=3)
    assert error(layer.contributions(x)[:, [2, 0]][..., [3, 1, 2]], want) == 0


def test_a_layer_norm_has_no_edges_of_one_input():
    layer = layer_of("rbf-normed")
    with pytest.raises(ValueError, match="an edge is a function of one input, which map='layer norm' does not give"):
        layer.edge_function(0, 0)
    with pytest.raises(ValueError, match="inputs must hold all 3 inputs in any order"):
        layer.subset([0], [0, 1])
    x = inputs(5, 3)
    assert error(layer.subset([1], [0, 1, 2])(x), layer(x)[:, [1]]) < 1e-14


def spread(layer, count=1000):
    """Inputs over the domain of a layer; normal where its map takes all numbers."""
    normal = torch.randn(count, layer.in_features, generator=generator(3), dtype=torch.float64)
    if layer.basis.map in ("tanh", "sigmoid", "layer norm"):
        return normal
    low, high = layer.domain().double().unbind(-1)
    return low + (high - low) * torch.rand(normal.shape, generator=generator(3), dtype=torch.float64)


@pytest.mark.parametrize("name", ROWS)
def test_the_size_of_outputs_does_not_depend_on_the_width(name):
    basis, options = ROWS[name]
    sizes = []
    for width in (10, 1000):
        layer = KANLinear(width, 40, basis, dtype=torch.float64, generator=generator(width), **options)
        sizes.append(layer(spread(layer, 200)).square().mean().sqrt().item())
    assert 0.5 < sizes[0] / sizes[1] < 2
    with torch.no_grad():
        layer.spline_weight *= 0
        base = layer(spread(layer, 200)).square().mean().sqrt().item()
    if basis != "bspline":  # that of the basis branch alone is 1
        assert 0.85 < math.sqrt(sizes[1] ** 2 - base**2) < 1.15


@pytest.mark.parametrize("name", ["chebyshev", "morlet", "rbf-scaler", "bspline-plain"])
def test_the_multipliers_multiply(name):
    basis, options = ROWS[name]
    plain, scaled = (
        KANLinear(5, 4, basis, dtype=torch.float64, generator=generator(1), **options, **more)
        for more in ({}, {"scale_base": 3, "scale_spline": 0.5})
    )
    assert error(scaled.base_weight, 3 * plain.base_weight) < 1e-12
    assert error(scaled.table(torch.float64)[..., :-1], 0.5 * plain.table(torch.float64)[..., :-1]) < 1e-12
    zero = KANLinear(5, 4, basis, **options, scale_spline=0, scale_base=0)
    assert not zero(torch.rand(3, 5)).any()


@pytest.mark.parametrize(
    ("basis", "keywords", "want"),
    [
        ("chebyshev", {"degree": 1, "map": "none"}, (1 + 1 / 3) / 2),
        ("fourier", {"grid_size": 3, "map": "none"}, 0.5),
        ("dog", {}, math.sqrt(math.pi) / 2 / 8),
        ("bernstein", {"degree": 0, "map": "sigmoid"}, 1.0),
        # E exp(-a (x - 1)²) = (1 + 2a)^(-1/2) exp(-a/(1 + 2a)) for a normal x, here with a = 1/2
        ("rbf", {"num_grids": 2, "grid_range": (-1, 1), "map": "layer norm"}, 2**-0.5 * math.exp(-0.25)),
        ("legendre", {"degree": 1, "map": "tanh"}, (1 + 0.394294) / 2),  # E[tanh²] of a normal number
    ],
)
def test_mean_squares_are_those_of_closed_forms(basis, keywords, want):
    built = bases.build(basis, 3, 2, **keywords)
    assert mean_square(built, torch.device("cpu")) == pytest.approx(want, rel=1e-3)


def test_functions_that_no_point_meets_start_finite():
    layer = KANLinear(3, 2, "rbf", denominator=1e-9)
    assert mean_square(layer.basis, torch.device("cpu")) == 1
    assert layer.spline_weight.isfinite().all()


PARAMETERS = {
    "bspline": 6 * (5 + 3 + 2),
    "rbf": 6 * (8 + 1),
    "rbf-normed": 6 * (5 + 1) + 2 + 2 * 3,
    "chebyshev-5": 6 * 6 + 2,
    "legendre": 6 * (4 + 1),
    "gram-compat": 6 * (5 + 1) + 5,
    "relu": 6 * (8 + 1) + 2 * 3 * 8,
    "relu-fixed": 6 * (4 + 1),
    "mexican_hat": 4 * 6,
    "fourier": 6 * (10 + 1),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    assert layer_of(name).param_size == PARAMETERS[name]


@pytest.mark.parametrize("name", ROWS)
def test_files_and_options_go_round(name, tmp_path):
    pytest.importorskip("safetensors")
    layer, model, x = layer_of(name), model_of(name), inputs(5, 3)
    assert KANOptions(**layer.options.to_json()) == layer.options == KANOptions(**layer.options.arguments())
    for net in (layer, model):
        save(net, tmp_path / "net.safetensors")
        loaded = load(tmp_path / "net.safetensors")
        assert repr(loaded) == repr(net)
        assert torch.equal(loaded(x), net(x))
    assert ("grid" in layer.state_dict()) == (layer.options.basis == "bspline")
    assert torch.equal(lower(model)(x), model(x))


REFUSED = {
    "misspelt": ("chebyshev", {"degre": 5}, TypeError, "unexpected keyword 'degre'; did you mean 'degree'"),
    "of another": ("chebyshev", {"grid_size": 5}, TypeError, "unexpected keyword 'grid_size'; options are degree, map"),
    "noise": ("rbf", {"scale_noise": 0.1}, TypeError, "unexpected keyword 'scale_noise'"),
    "value": ("legendre", {"degree": -1}, ValueError, "degree must be an integer of at least 0; got -1"),
    "unknown": ("chebishev", {}, ValueError, "there is no basis 'chebishev'; did you mean 'chebyshev'"),
    "no name": (bases.Chebyshev, {}, TypeError, "basis must be the name of one, of bspline, rbf"),
    "scaler": ("rbf", {"enable_standalone_scale_spline": 1}, TypeError, "enable_standalone_scale_spline must be True"),
    "map": ("rbf", {"map": "square"}, ValueError, "map must be one of tanh, sigmoid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_are_refused(name):
    basis, options, exception, match = REFUSED[name]
    for build in (lambda: KANLinear(3, 2, basis, **options), lambda: KAN([3, 2], basis, **options)):
        with pytest.raises(exception, match=match):
            build()


def test_what_other_bases_do_not_have():
    for name in ("chebyshev", "morlet"):
        layer = layer_of(name)
        with pytest.raises(ValueError, match=f"update_grid needs a grid of knots, that is, .*; got '{name}'"):
            layer.update_grid(inputs(5, 3))
        with pytest.raises(ValueError, match=f"refine needs a grid of knots, that is, basis='bspline'; got '{name}'"):
            layer.refine(10)
        with pytest.raises(AttributeError, match="grid"):
            _ = layer.grid
    with pytest.raises(ValueError, match="basis 'morlet' has a function of its own on every edge"):
        layer.curve2coeff(inputs(4, 3), torch.zeros(4, 3, 2).double())


@pytest.mark.parametrize("name", ["chebyshev", "rbf", "fourier"])
def test_curves_give_back_their_coefficients(name):
    layer, x = layer_of(name), inputs(60, 3)
    wanted = torch.rand(layer.spline_weight.shape, generator=generator(4), dtype=torch.float64)
    y = torch.einsum("nif,oif->nio", layer.basis.features(x), wanted)
    assert error(layer.curve2coeff(x, y), wanted) < 1e-9


class TestTorch:
    @pytest.mark.parametrize("optimiser", [lambda p: torch.optim.SGD(p, 1e-3), lambda p: torch.optim.AdamW(p, 1e-3)])
    @pytest.mark.parametrize("name", ROWS)
    def test_a_step_lowers_the_loss(self, name, optimiser):
        net, x = model_of(name), inputs(40, 3)
        steps, losses = optimiser(net.parameters()), []
        before = [p.detach().clone() for p in net.parameters()]
        for _ in range(2):
            steps.zero_grad()
            losses.append((net(x) - x[:, :2].sin()).square().mean())
            losses[-1].backward()
            steps.step()
        assert losses[1] < losses[0]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        assert sum(not torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True)) > 2

    @pytest.mark.parametrize("name", ROWS)
    def test_gradients(self, name):
        layer, x = layer_of(name), inputs(3, 3).requires_grad_()
        given = {key: parameter.detach().clone().requires_grad_() for key, parameter in layer.named_parameters()}

        def call(x, *values):
            return functional_call(layer, dict(zip(given, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(call, (x, *given.values()))
        far = torch.tensor([[1e30, -1e30, 0.0], [2.0, -2.0, 0.0]]).double().requires_grad_()
        layer(far.clamp(-1e15, 1e15) if layer.basis.map == "layer norm" else far).sum().backward()
        assert far.grad.isfinite().all()

    @pytest.mark.parametrize("name", ROWS)
    def test_copies_and_state_dicts(self, name):
        net, x = layer_of(name), inputs(5, 3)
        want, file = net(x), io.BytesIO()
        basis, options = ROWS[name]
        torch.save(net.state_dict(), file)
        loaded = KANLinear(3, 2, basis, dtype=torch.float64, **options)
        assert loaded.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True)) == ([], [])
        for clone in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded):
            assert torch.equal(clone(x), want)
            perturb(clone, seed=7)
            assert not torch.equal(clone(x), want)
        assert torch.equal(net(x), want)
        assigned = KANLinear(3, 2, basis, device="meta", **options)
        assigned.load_state_dict(net.state_dict(), assign=True)
        assert torch.equal(assigned(x), want)

    @pytest.mark.parametrize("name", ROWS)
    def test_dtypes(self, name):
        net, x = layer_of(name, dtype=torch.float32), inputs(50, 3, dtype=torch.float32)
        want = copy.deepcopy(net).double()(x.double())
        assert net(x).dtype == torch.float32
        assert error(net(x), want) < 5e-5
        assert net(x.double()).dtype == torch.float64
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert error(net(x), want) < 0.02
        net, x = net.bfloat16(), x.bfloat16()
        assert torch.equal(net(x), copy.deepcopy(net).float()(x.float()).bfloat16())
        assert {p.dtype for p in [*net.parameters(), *net.buffers()]} == {torch.bfloat16}
        assert net.to("meta")(x.to("meta")).shape == (50, 2)

    @pytest.mark.parametrize("name", ROWS)
    def test_samples_do_not_see_each_other(self, name):
        net, x = layer_of(name).eval(), inputs(5, 3)
        assert error(torch.cat([net(row[None]) for row in x]), net(x)) < 1e-13
        assert error(vmap(net)(x), net(x)) < 1e-13
        assert jacrev(net)(x[0]).shape == (2, 3)
        x[1, 2] = math.nan
        assert net(x)[[0, 2, 3, 4]].isfinite().all()
        assert net(x)[1].isnan().any()
        net.zero_grad()
        net(inputs(0, 3)).sum().backward()
        assert all(p.grad is None or not p.grad.any() for p in net.parameters())

    @pytest.mark.parametrize("name", ROWS)
    def test_compiles_as_one_graph(self, name):
        net, x = layer_of(name), inputs(5, 3).requires_grad_()
        torch.compiler.reset()  # every row compiles the same forward anew
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        assert error(compiled(x), net(x)) < 1e-13
        got, want = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, net))
        assert error(got, want) < 1e-12

    @pytest.mark.parametrize("name", ROWS)
    def test_exports_with_any_batch(self, name):
        net = layer_of(name).eval()
        batch = torch.export.Dim("batch", min=2)
        program = torch.export.export(net, (inputs(5, 3),), dynamic_shapes=({0: batch},))
        assert error(program.module()(inputs(8, 3)), net(inputs(8, 3))) < 1e-13

    def test_the_start_is_drawn_from_the_generator_alone(self):
        state = torch.get_rng_state()
        for name in ROWS:
            first, second = model_of(name), model_of(name)
            assert torch.equal(first(inputs(5, 3)), second(inputs(5, 3)))
            assert not torch.equal(model_of(name, scale_spline=2)(inputs(5, 3)), first(inputs(5, 3)))
        assert torch.equal(torch.get_rng_state(), state)


def fastkan(width, count=8, base=True, norm=True, dtype=np.float64):
    """A random state dict with the names of fast-kan."""
    rng, state = np.random.default_rng(0), {}
    for i, (n_in, n_out) in enumerate(itertools.pairwise(width)):
        state[f"layers.{i}.rbf.grid"] = np.linspace(-2, 2, count)
        state[f"layers.{i}.spline_linear.weight"] = rng.normal(size=(n_out, n_in * count))
        if base:
            state[f"layers.{i}.base_linear.weight"] = rng.normal(size=(n_out, n_in))
            state[f"layers.{i}.base_linear.bias"] = rng.normal(size=n_out)
        if norm:
            state[f"layers.{i}.layernorm.weight"] = rng.normal(size=n_in)
            state[f"layers.{i}.layernorm.bias"] = rng.normal(size=n_in)
    return {name: torch.from_numpy(value.astype(dtype)) for name, value in state.items()}


def fastkan_formula(state, x, width, count, denominator):
    for i, n_in in enumerate(width[:-1]):
        part = {
            name.split(".", 2)[2]: at.double().numpy() for name, at in state.items() if name.startswith(f"layers.{i}")
        }
        u = x
        if "layernorm.weight" in part:
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
            u = (x - mean) / np.sqrt(variance + 1e-5) * part["layernorm.weight"] + part["layernorm.bias"]
        y = 0
        for j in range(n_in):
            values = np.exp(-(((u[:, j, None] - np.linspace(-2, 2, count)) / denominator) ** 2))
            y = y + values @ part["spline_linear.weight"][:, j * count : (j + 1) * count].T
        if "base_linear.weight" in part:
            y = y + SIGMA["silu"](x) @ part["base_linear.weight"].T + part["base_linear.bias"]
        x = y
    return x


class TestFastKAN:
    @pytest.mark.parametrize("width", [(3, 2), (3, 5, 2)])
    @pytest.mark.parametrize("options", [{}, {"base": False}, {"norm": False}, {"count": 5}, {"dtype": np.float32}])
    def test_a_state_dict_gives_the_same_function(self, width, options, tmp_path):
        state, count = fastkan(width, **options), options.get("count", 8)
        torch.save(state, tmp_path / "fastkan.pt")
        x = inputs(9, 3, dtype=state["layers.0.rbf.grid"].dtype)
        want = fastkan_formula(state, x.double().numpy(), width, count, 4 / (count - 1))
        for checkpoint in (state, tmp_path / "fastkan.pt"):
            model = from_fastkan(checkpoint)
            assert model.width == width
            assert error(model(x), torch.from_numpy(want)) < (2e-5 if x.dtype == torch.float32 else 1e-12)

    def test_another_width_of_the_functions(self):
        state, x = fastkan((3, 2)), inputs(9, 3)
        want = fastkan_formula(state, x.numpy(), (3, 2), 8, 0.7)
        assert error(from_fastkan(state, denominator=0.7)(x), torch.from_numpy(want)) < 1e-12

    def test_it_draws_nothing(self):
        state = torch.get_rng_state()
        from_fastkan(fastkan((3, 2)))
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda s: s | {"head": torch.ones(2)}, "names such as layers.0.spline_linear.weight alone; got head"),
            (lambda s: {}, "names such as layers.0.spline_linear.weight alone; got nothing"),
            (lambda s: {k: v for k, v in s.items() if k != "layers.1.layernorm.bias"}, "lacks layers.1.layernorm.bias"),
            (lambda s: {k: v for k, v in s.items() if "layers.0" not in k}, "lacks layers.0"),
            (lambda s: s | {"layers.1.rbf.grid": torch.linspace(-1, 1, 8).double()}, "the same equidistant centres"),
            (lambda s: s | {"layers.0.base_linear.weight": torch.ones(5, 4).double()}, r"shape \(5, 4\), not \(5, 3\)"),
            (lambda s: s | {"layers.1.spline_linear.weight": torch.ones(2, 48).double()}, r"not \(2, 40\)"),
        ],
    )  # fmt: skip
    def test_refusals(self, change, match):
        with pytest.raises(ValueError, match=match):
            from_fastkan(change(fastkan((3, 5, 2))))
