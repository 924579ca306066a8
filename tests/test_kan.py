"""KANLinear and KAN: the formula against SciPy's splines, options, parts, what torch does with modules."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from helpers import error, generator, perturb
from scipy.interpolate import BSpline
from torch import nn
from torch.func import functional_call, jacrev, vmap

from qkan import KAN, KANLinear, QKANLinear, load, lower, save
from qkan.attribution import edge_scores
from qkan.layers import KANOptions
from qkan.layers.edges import EditableLayer, edge_layers
from qkan.models.stack import Stack
from qkan.surgery import prune, remove_edge, subset

ROWS = {
    "defaults": {},
    "plain": {"base_activation": None, "spline_order": 1},
    "all": {"grid_size": 4, "spline_order": 2, "grid_range": (-2, 1.5), "base_activation": nn.Tanh, "bias": True},
    "identity": {"grid_size": 1, "spline_order": 5, "base_activation": "identity"},
}
SIGMA = {
    "defaults": lambda x: x / (1 + np.exp(-x)), "plain": lambda x: 0 * x, "all": np.tanh, "identity": lambda x: x,
}  # fmt: skip


def layer_of(name="defaults", widths=(3, 2), seed=0, dtype=torch.float64, **more):
    """All parameters at random, one edge removed and one halved."""
    layer = perturb(KANLinear(*widths, dtype=dtype, generator=generator(seed), **ROWS[name] | more), seed)
    with torch.no_grad():
        layer.mask[0, 1], layer.mask[1, 0] = 0, 0.5
    return layer


def inputs(*shape, seed=1, dtype=torch.float64):
    """Inside of the grid, in its extension and beyond."""
    return (torch.rand(shape, generator=generator(seed), dtype=torch.float64) * 6 - 3).to(dtype)


def formula(layer, name, x):
    """The layer in NumPy, its splines from SciPy and its knots from the definition."""
    size, k, (low, high) = (layer.options.basis_options[key] for key in ("grid_size", "spline_order", "grid_range"))
    step = (high - low) / size
    knots = low + step * (np.arange(size + 2 * k + 1) - k)
    part = {key: tensor.detach().numpy() for key, tensor in layer.state_dict().items()}
    columns = []
    for j in range(size + k):
        values = BSpline.basis_element(knots[j : j + k + 2], extrapolate=False)(x)
        columns.append(np.where(np.isnan(values), 0, values))  # [*batch, in] each
    y = np.zeros((*x.shape[:-1], layer.out_features))
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            spline = sum(part["spline_weight"][o, i, j] * column[..., i] for j, column in enumerate(columns))
            base = part["base_weight"][o, i] * SIGMA[name](x[..., i]) if "base_weight" in part else 0
            y[..., o] += part["mask"][o, i] * (base + part["spline_scaler"][o, i] * spline)
        y[..., o] += part["bias"][o] if "bias" in part else 0
    return y


@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("name", ROWS)
def test_the_formula_for_any_leading_dimensions(name, batch):
    layer, x = layer_of(name), inputs(*batch, 3)
    y = layer(x)
    assert y.dtype == torch.float64
    assert error(y, torch.from_numpy(formula(layer, name, x.numpy()))) < 1e-12


@pytest.mark.parametrize("name", ROWS)
def test_empty_batches_have_zero_gradients(name):
    layer = layer_of(name)
    layer(inputs(0, 3)).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_gradients(name):
    layer, x = layer_of(name), inputs(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))
    given = {key: parameter.detach().clone().requires_grad_() for key, parameter in layer.named_parameters()}
    assert torch.autograd.gradcheck(
        lambda *values: functional_call(layer, dict(zip(given, values, strict=True)), (x.detach(),)), (*given.values(),)
    )


def test_gradients_are_finite_for_saturated_inputs():
    layer = layer_of()
    x = torch.tensor([[-1e30, 1e30, 0.0], [-2.2, 2.2, -1.0]]).double().requires_grad_()
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ROWS)
def test_edges(name):
    layer, x = layer_of(name), inputs(2, 5, 3)
    layer.grid[2] *= 1.5
    assert isinstance(layer, EditableLayer)
    whole, expansion = layer.contributions(x), layer.expansion(x)
    bias = 0 if layer.bias is None else layer.bias
    assert error(whole.sum(-1) + bias, layer(x)) < 1e-13
    got = torch.einsum("...if,oif->...oi", expansion.columns, expansion.coefficients) + expansion.constant
    assert error(got, whole) < 1e-13
    for o in range(2):
        for i in range(3):
            assert error(layer.edge_function(o, i)(x[..., i]), whole[..., o, i]) < 1e-13
    assert not layer.edge_function(0, 1)(x).any()
    assert layer.edge_function(1, 2)(torch.tensor(0.3)).shape == ()


def test_edge_functions_follow_the_parameters_and_have_their_gradient():
    layer, x = layer_of(), inputs(6)
    edge = layer.edge_function(1, 2)
    before = edge(x)
    with torch.no_grad():
        layer.spline_weight *= 2
    assert (edge(x) - before).abs().max() > 1e-3
    edge(x).sum().backward()
    used = layer.base_weight.grad != 0
    assert used.sum() == 1
    assert used[1, 2]


@pytest.mark.parametrize("name", ROWS)
def test_a_subset_holds_the_same_edges(name):
    layer, x = layer_of(name, widths=(4, 3)), inputs(5, 4)
    layer.grid[3] *= 1.5
    layer.spline_scaler.requires_grad_(False)
    part = layer.eval().subset([2, 0], [3, 1, 2])
    want = layer.contributions(x)[:, [2, 0]][..., [3, 1, 2]]
    assert error(part.contributions(x[:, [3, 1, 2]]), want) < 1e-14
    assert not part.spline_scaler.requires_grad
    assert not part.training
    with torch.no_grad():
        part.spline_weight.zero_()
        part.grid.zero_()
    assert error(layer.contributions(x)[:, [2, 0]][..., [3, 1, 2]], want) == 0
    with pytest.raises(ValueError, match="outputs must hold at least one integer"):
        layer.subset([], [0])


def test_removed_edges_add_nothing():
    layer, x = layer_of("all"), inputs(5, 3)
    removed = torch.tensor([[True, False, False], [False, False, True]])
    layer.remove_edges(removed)
    assert not layer.contributions(x)[:, removed].any()
    assert layer.contributions(x)[:, 0, 2].any()


@pytest.mark.parametrize("name", ROWS)
def test_parameter_counts(name):
    layer = KANLinear(7, 4, **ROWS[name])
    options = layer.options
    size, order = options.basis_options["grid_size"], options.basis_options["spline_order"]
    functions = size + order
    per_edge = functions + 1 + (options.base_activation is not None)
    assert layer.param_size == 28 * per_edge + (4 if options.bias else 0)
    assert layer.grid.shape == (7, size + 2 * order + 1)


def test_the_state_dict_of_efficient_kan_loads():
    """Its names and shapes, and no mask; the function is the one of its formula."""
    rng = np.random.default_rng(0)
    knots = np.tile(-1 + 0.4 * (np.arange(12) - 3), (3, 1))
    state = {
        "layers.0.base_weight": rng.normal(size=(2, 3)),
        "layers.0.spline_weight": rng.normal(size=(2, 3, 8)),
        "layers.0.spline_scaler": rng.normal(size=(2, 3)),
        "layers.0.grid": knots,
    }
    model = KAN([3, 2], dtype=torch.float64)
    with torch.no_grad():
        model.layers[0].mask.zero_()
    state = {key: torch.from_numpy(value) for key, value in state.items()}
    for assign in (False, True):
        model.load_state_dict(state, assign=assign)
        x = inputs(9, 3)
        assert error(model(x), torch.from_numpy(formula(model.layers[0], "defaults", x.numpy()))) < 1e-12
    assert "layers.0.mask" not in state
    with pytest.raises(RuntimeError, match="base_weight"):
        model.load_state_dict({key: value for key, value in state.items() if "base" not in key})


def test_the_multipliers_multiply():
    def drawn(**options):
        return KANLinear(50, 40, generator=generator(3), dtype=torch.float64, **options)

    plain, scaled = drawn(), drawn(scale_base=3, scale_spline=0.5, scale_noise=0.2)
    assert error(scaled.base_weight, 3 * plain.base_weight) < 1e-12
    assert error(scaled.spline_scaler, 0.5 * plain.spline_scaler) < 1e-12
    assert error(scaled.spline_weight, 2 * plain.spline_weight) < 1e-12
    for weights in (plain.base_weight, plain.spline_scaler):
        assert 0.99 * 50**-0.5 < weights.abs().max() < 50**-0.5
    # The splines are noise of ± scale_noise / (2 G) at the points of the grid.
    points = torch.linspace(-1, 1, 6, dtype=torch.float64).unsqueeze(-1).expand(-1, 50)
    with torch.no_grad():
        plain.base_weight.zero_()
        plain.spline_scaler.fill_(1)
    noise = plain.contributions(points)
    assert 0.0099 < noise.abs().max() < 0.01
    assert not drawn(scale_noise=0).spline_weight.any()


@pytest.mark.parametrize("widths", [(10, 10), (1000, 10), (10, 1000)])
def test_the_width_of_outputs_does_not_depend_on_that_of_the_layer(widths):
    layer = KANLinear(*widths, generator=generator(0), dtype=torch.float64, scale_noise=10.0)
    x = torch.rand(400, widths[0], generator=generator(1), dtype=torch.float64) * 2 - 1
    # Of both branches: E[w²] E[σ(x)²] in = 0.061 / 3, and the noise adds about as much; 10 outputs spread.
    assert 0.15 < layer(x).square().mean().sqrt() < 0.45


def test_the_start_is_drawn_from_the_generator_alone():
    state = torch.get_rng_state()
    first, second, other = (KAN([3, 4, 2], generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    x = inputs(5, 3, dtype=torch.float32)
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))
    layers = first.layers
    assert not torch.equal(layers[0].spline_scaler[:2, :2], layers[1].spline_scaler[:2, :2])


class TestCurves:
    def test_a_spline_gives_its_own_coefficients(self):
        layer, x = layer_of("all", widths=(3, 2)), torch.linspace(-2, 1.5, 60, dtype=torch.float64)
        wanted = torch.rand(2, 3, 6, generator=generator(4), dtype=torch.float64)
        x = torch.stack([x, x.flip(0), x], -1)
        columns = layer.expansion(x).columns[..., :-1]
        y = torch.einsum("nif,oif->nio", columns, wanted)
        assert error(layer.curve2coeff(x, y), wanted) < 1e-11

    @pytest.mark.parametrize("count", [1, 3, 40])
    def test_any_rank_gives_the_solution_of_smallest_norm(self, count):
        layer = KANLinear(3, 2, dtype=torch.float64)
        x = 0.3 * torch.rand(count, 3, generator=generator(1), dtype=torch.float64)  # within two intervals
        y = torch.rand(count, 3, 2, generator=generator(2), dtype=torch.float64)
        got = layer.curve2coeff(x, y)
        columns = layer.expansion(x).columns[..., :-1].detach().numpy()
        assert got.shape == (2, 3, 8)
        for i in range(3):
            want = np.linalg.lstsq(columns[:, i], y[:, i].numpy(), rcond=1e-12)[0]
            assert np.abs(got[:, i].numpy().T - want).max() < 1e-9 * max(1, np.abs(want).max())

    def test_float32_and_points_outside(self):
        layer = KANLinear(1, 1)
        far = layer.curve2coeff(torch.full((4, 1), 9.0), torch.ones(4, 1, 1))
        assert far.dtype == torch.float32
        assert not far.any()

    def test_refusals(self):
        layer = KANLinear(3, 2)
        with pytest.raises(
            ValueError, match=r"x and y must be \[points, 3\] and \[points, 3, 2\]; got \(4, 3\) and \(4, 3\)"
        ):
            layer.curve2coeff(torch.zeros(4, 3), torch.zeros(4, 3))
        with pytest.raises(ValueError, match="x and y must be finite for a fit"):
            layer.curve2coeff(torch.zeros(4, 3), torch.full((4, 3, 2), math.nan))


def cubic_layer(**options):
    """Splines that are one cubic polynomial per edge on the whole grid: any grid inside of it holds them."""
    layer = layer_of("defaults", bias=True, **options)
    x = torch.linspace(-1, 1, 50, dtype=torch.float64).unsqueeze(-1).expand(-1, 3)
    powers = torch.rand(4, 3, 2, generator=generator(6), dtype=torch.float64) - 0.5
    with torch.no_grad():
        layer.spline_weight.copy_(layer.curve2coeff(x, sum(c * x.unsqueeze(-1) ** n for n, c in enumerate(powers))))
    return layer


DATA = {
    "spread": lambda x: x,
    "constant": lambda x: 0 * x + 0.25,
    "repeated": lambda x: (2 * x).round() / 2,
    "single": lambda x: x[:1],
    "one far": lambda x: torch.cat([x, x[:1] + 1e4]),
    "large": lambda x: 0 * x + 1e6,
}


class TestGrid:
    def test_knots_blend_quantiles_and_uniform_ones(self):
        layer, x = layer_of("all"), inputs(3, 8, 3)
        layer.update_grid(x, margin=0.1, grid_eps=0.3)
        for i in range(3):
            data = np.sort(x[..., i].numpy().ravel())
            low, high = data[0] - 0.1, data[-1] + 0.1
            inner = 0.3 * np.linspace(low, high, 5) + 0.7 * data[[0, 5, 11, 17, 23]]
            step = (high - low) / 4
            want = [inner[0] - 2 * step, inner[0] - step, *inner, inner[-1] + step, inner[-1] + 2 * step]
            assert np.abs(layer.grid[i].numpy() - want).max() < 1e-13

    def test_what_new_grids_can_hold_stays(self):
        layer, x = cubic_layer(), inputs(40, 3) / 3.5
        before, parameters = layer(x), list(layer.parameters())
        old = layer.grid.clone()
        layer.update_grid(x)
        assert (layer.grid - old).abs().min(-1).values.max() > 1e-3
        assert error(layer(x), before) < 1e-11
        assert [id(p) for p in layer.parameters()] == [id(p) for p in parameters]

    def test_what_they_cannot_hold_is_projected(self):
        layer, x = layer_of(grid_size=30), inputs(4000, 3) / 3.1
        with torch.no_grad():
            y = (4 * x).sin().unsqueeze(-1).expand(-1, -1, 2)
            layer.spline_weight.copy_(layer.curve2coeff(x, y))
        before = layer(x)
        layer.update_grid(x)
        assert 1e-9 < error(layer(x), before) < 1e-3

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("kind", DATA)
    def test_any_data_give_finite_weights(self, kind, dtype):
        layer = layer_of(dtype=dtype)
        x = DATA[kind](inputs(20, 3, dtype=dtype))
        layer.update_grid(x)
        assert (layer.grid.diff(dim=-1) >= 0).all()
        assert (layer.grid[:, 3] < layer.grid[:, -4]).all()
        low, high = layer.domain().unbind(-1)
        assert ((low <= x) & (x <= high)).all()
        assert layer.spline_weight.isfinite().all()
        x.requires_grad_()
        y = layer(x)
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in layer.parameters())

    def test_constant_data_keep_the_value(self):
        layer, x = layer_of(), torch.full((7, 3), 0.25, dtype=torch.float64)
        before = layer(x)
        layer.update_grid(x)
        assert error(layer(x), before) < 1e-4

    def test_a_single_sample_needs_no_batch(self):
        layer, other, x = layer_of(), layer_of(), inputs(3)
        layer.update_grid(x)
        other.update_grid(x.view(1, 1, 3))
        assert torch.equal(layer.grid, other.grid)

    def test_a_map_comes_before_the_knots(self):
        layer, x = layer_of(map="tanh"), inputs(30, 3)
        layer.update_grid(x)
        assert layer.grid[:, 3:-3].abs().max() < 1.001
        assert error(layer.grid[:, 3], x.tanh().amin(0) - 0.02 * 0.01) < 1e-12

    def test_a_model_updates_layer_by_layer(self):
        model, x = KAN([3, 4, 2], dtype=torch.float64, generator=generator(0)), inputs(60, 3)
        other = copy.deepcopy(model)
        y = model(x, update_grid=True)
        other.update_grid(x)
        assert torch.equal(y, other(x))
        h = model.layers[0](x)
        for layer, data in zip(model.layers, (x, h), strict=True):
            low, high = layer.domain().unbind(-1)
            assert error(low, data.amin(0) - 0.0002) < 1e-12
            assert error(high, data.amax(0) + 0.0002) < 1e-12

    def test_a_model_hands_its_options_on(self):
        model, x = KAN([3, 4, 2], dtype=torch.float64, generator=generator(0)), inputs(60, 3)
        model.update_grid(x, margin=0.1, grid_eps=1.0)
        steps = model.layers[0].grid.diff(dim=-1)
        assert error(steps, steps.mean(-1, keepdim=True).expand_as(steps)) < 1e-12  # uniform

    def test_refusals(self):
        layer = layer_of()
        for x, options, match in [
            (inputs(0, 3), {}, "x must hold finite samples, at least one"),
            (inputs(4, 3) * math.nan, {}, "x must hold finite samples, at least one"),
            (inputs(4, 2), {}, r"x must be \[\*batch, 3\]"),
            (inputs(4, 3), {"margin": 0.0}, "margin must be a finite number above 0; got 0.0"),
            (inputs(4, 3), {"grid_eps": 0.0}, "grid_eps must be a finite number above 0; got 0.0"),
            (inputs(4, 3), {"grid_eps": 1.5}, "grid_eps must be above 0 and at most 1; got 1.5"),
        ]:
            with pytest.raises(ValueError, match=match):
                layer.update_grid(x, **options)
        with pytest.raises(ValueError, match="grid_size must be an integer of at least 1; got 0"):
            layer.refine(0)
        model = KAN([3, 2]).with_layers([QKANLinear(3, 2)])
        with pytest.raises(ValueError, match="refine needs a KANLinear in every layer; got QKANLinear"):
            model.refine(10)


class TestRefine:
    @pytest.mark.parametrize("moved", [False, True])
    @pytest.mark.parametrize("name", ROWS)
    def test_nested_grids_hold_the_function(self, name, moved):
        layer, x = layer_of(name), inputs(300, 3) / 3
        if moved:
            layer.update_grid(x)
        size = layer.options.basis_options["grid_size"]
        inside = x.clamp(*layer.domain().unbind(-1))
        for factor in (1, 2, 6):
            finer = layer.refine(factor * size)
            assert finer.grid.shape[1] == factor * size + 2 * layer.options.basis_options["spline_order"] + 1
            assert error(finer.domain(), layer.domain()) < 1e-14
            assert error(finer(inside), layer(inside)) < 1e-12
        assert torch.equal(finer.mask, layer.mask)

    def test_other_grids_hold_what_they_can(self):
        layer, x = cubic_layer(), inputs(300, 3) / 3.01
        for size in (1, 3, 7):
            assert error(layer.refine(size)(x), layer(x)) < 1e-11
        errors = [error(layer_of().refine(size)(x), layer_of()(x)) for size in (7, 32)]
        assert 1e-5 < errors[1] < errors[0] / 2

    def test_all_else_is_kept(self):
        layer = layer_of("all", base_activation=nn.PReLU()).eval()
        layer.base_weight.requires_grad_(False)
        finer = layer.refine(9)
        assert finer.options.basis_options == layer.options.basis_options | {"grid_size": 9}
        assert finer.options.bias
        assert (finer.training, finer.base_weight.requires_grad) == (False, False)
        assert torch.equal(finer.bias, layer.bias)
        assert finer.base_activation is not layer.base_activation
        with torch.no_grad():
            finer.base_weight.zero_()
        assert layer.base_weight.any()

    def test_a_layer_norm_goes_along(self):
        layer, x = layer_of(map="layer norm", grid_range=(-3.0, 3.0)), inputs(40, 3)
        finer = layer.refine(10)
        assert error(finer(x), layer(x)) < 1e-12
        with torch.no_grad():
            finer.basis.mapping.bias += 1
        assert error(layer.refine(10)(x), layer(x)) < 1e-12

    def test_models(self, tmp_path):
        model, x = KAN([3, 4, 2], dtype=torch.float64, generator=generator(0)), inputs(60, 3) / 3.1
        model.update_grid(x)
        finer = model.refine(10)
        assert finer.options.basis_options["grid_size"] == 10
        assert error(finer(x), model(x)) < 1e-12
        save(finer, tmp_path / "finer.safetensors")
        assert torch.equal(load(tmp_path / "finer.safetensors")(x), finer(x))

    def test_lbfgs_trains_what_was_refined(self):
        model, x = KAN([3, 4, 2], dtype=torch.float64, generator=generator(0)).refine(7), inputs(60, 3) / 3.1
        optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = (model(x) - x[:, :2].sin()).square().mean()
            loss.backward()
            return loss

        assert optimizer.step(closure) > 10 * closure()


class TestPenalty:
    def test_the_formula(self):
        layer = layer_of()
        size = (np.abs(layer.spline_weight.detach().numpy()).mean(-1) * layer.mask.numpy()).ravel()
        p = size[size > 0] / size.sum()
        got = layer.regularization_loss(2.0, 3.0)
        assert got.item() == pytest.approx(2 * size.sum() - 3 * (p * np.log(p)).sum(), rel=1e-13)
        model = KAN([3, 4, 2], dtype=torch.float64)
        assert model.regularization_loss() == sum(layer.regularization_loss() for layer in model.layers)

    @pytest.mark.parametrize("zero", [(), (0,), (0, 2)])
    def test_it_is_safe_at_zero(self, zero):
        layer = layer_of()
        with torch.no_grad():
            layer.spline_weight[zero] = 0
        loss = layer.regularization_loss()
        loss.backward()
        assert loss.isfinite()
        assert layer.spline_weight.grad.isfinite().all()
        assert torch.autograd.gradcheck(
            lambda w: functional_call(Penalty(layer), {"layer.spline_weight": w}, ()),
            (layer_of().spline_weight.detach().requires_grad_(),),
        )


class Penalty(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.regularization_loss()


REFUSED = {
    "misspelt": ({"grid_sise": 5}, TypeError, "unexpected keyword 'grid_sise'; did you mean 'grid_size'"),
    "unknown": ({"reps": 5}, TypeError, "unexpected keyword 'reps'; options are grid_size, spline_order"),
    "no grid": ({"grid_size": 0}, ValueError, "grid_size must be an integer of at least 1; got 0"),
    "real grid": ({"grid_size": 5.0}, TypeError, "grid_size must be an integer; got 5.0"),
    "order": ({"spline_order": 0}, ValueError, "spline_order must be an integer of at least 1; got 0"),
    "backwards": ({"grid_range": (1, -1)}, ValueError, "grid_range must be two numbers, the first below the"),
    "infinite": ({"grid_range": (0, math.inf)}, ValueError, "grid_range must be a finite number; got inf"),
    "three": ({"grid_range": (0, 1, 2)}, TypeError, "grid_range must be two numbers such as"),
    "number": ({"grid_range": 1.0}, TypeError, "grid_range must be two numbers such as"),
    "activation": ({"base_activation": "swish"}, ValueError, "base_activation must be one of identity, silu"),
    "noise": ({"scale_noise": -0.1}, ValueError, "scale_noise must be a finite number of at least 0; got -0.1"),
    "base": ({"scale_base": "one"}, ValueError, "scale_base must be a finite number of at least 0; got 'one'"),
    "spline": ({"scale_spline": None}, TypeError, "scale_spline must be a number; got None"),
    "bias": ({"bias": 1}, TypeError, "bias must be True or False; got 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_are_refused(name):
    options, exception, match = REFUSED[name]
    for build in (lambda: KANLinear(3, 2, **options), lambda: KAN([3, 2], **options)):
        with pytest.raises(exception, match=match):
            build()


def test_widths_and_inputs_that_are_refused():
    with pytest.raises(ValueError, match="in_features must be an integer of at least 1"):
        KANLinear(0, 2)
    with pytest.raises(TypeError, match="out_features must be an integer"):
        KANLinear(3, 2.0)
    with pytest.raises(ValueError, match="at least two integers"):
        KAN([3])
    with pytest.raises(ValueError, match=r"x must be \[\*batch, 3\]"):
        KANLinear(3, 2)(torch.zeros(5, 4))
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        KANLinear(3, 2)(torch.zeros(5, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"output must be in 0\.\.1; got 2"):
        KANLinear(3, 2).edge_function(2, 0)


def test_options_are_frozen_and_describe_the_layer():
    options = KANOptions(grid_range=[-1, 2], base_activation="gelu", bias=True)
    assert options.basis_options["grid_range"] == (-1.0, 2.0)
    assert KANOptions(**options.to_json()) == options
    assert KANOptions(**options.arguments()) == options
    with pytest.raises(AttributeError):
        options.bias = False
    module = nn.PReLU()
    assert KANOptions(base_activation=module).arguments()["base_activation"] is not module
    with pytest.raises(ValueError, match="has no name"):
        KANOptions(base_activation=module).to_json()


class TestModel:
    def test_it_is_a_stack_of_its_layers(self):
        model, x = KAN([3, 4, 2], grid_size=7, dtype=torch.float64), inputs(5, 3)
        assert isinstance(model, Stack)
        assert model.width == (3, 4, 2)
        assert torch.equal(model(x), model.layers[1](model.layers[0](x)))
        assert torch.equal(model(x, generator()), model(x))
        assert model.param_size == (12 + 8) * (7 + 3 + 2)
        assert model.config()["layers_hidden"] == [3, 4, 2]

    def test_new_layers_keep_options_and_mode(self):
        model = KAN([3, 4, 2], bias=True).eval()
        new = model.with_layers([model.layers[0]])
        assert new.width == (3, 4)
        assert new.options == model.options
        assert not new.training
        assert model.with_layers(model.layers, KANOptions(grid_size=9)).options.basis_options["grid_size"] == 9

    def test_surgery_and_scores_work_on_it(self):
        model, x = KAN([3, 5, 2], dtype=torch.float64, generator=generator(0), bias=True), inputs(60, 3) / 3
        assert list(edge_layers(model)) == ["layers.0", "layers.1"]
        want = model.layers[0].contributions(x).std(0, correction=0)
        assert error(edge_scores(model, x)["layers.0"], want) < 1e-12
        assert error(prune(model, x, 0, 0)(x), model(x)) < 1e-13
        smaller = prune(model, x, node_threshold=0, edge_threshold=0.3)
        assert not all(layer.mask.all() for layer in smaller.layers)
        assert smaller(x).std() < model(x).std()
        assert error(subset(model, {-1: [1]})(x), model(x)[:, [1]]) < 1e-13
        assert remove_edge(model, 1, 0, 2).layers[1].mask[0, 2] == 0

    @pytest.mark.parametrize("name", ROWS)
    def test_files_go_round(self, name, tmp_path):
        pytest.importorskip("safetensors")
        layer, x = layer_of(name), inputs(5, 3)
        layer.grid[0] *= 1.1
        model = KAN([3, 4, 2], dtype=torch.float64, **ROWS[name])
        for number, net in enumerate((layer, model)):
            save(net, tmp_path / f"{number}.safetensors")
            loaded = load(tmp_path / f"{number}.safetensors")
            assert repr(loaded) == repr(net)
            assert torch.equal(loaded(x), net(x))

    def test_lowering_leaves_it_alone(self):
        model, x = KAN([3, 2], dtype=torch.float64), inputs(5, 3)
        assert torch.equal(lower(model)(x), model(x))

    def test_it_learns(self):
        model, x = KAN([2, 5, 1], dtype=torch.float64, generator=generator(0)), inputs(200, 2) / 3
        y = torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)
        optimiser = torch.optim.Adam(model.parameters(), 2e-2)
        losses = []
        for _ in range(150):
            optimiser.zero_grad()
            loss = (model(x) - y).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.02 * losses[0]


class TestTorch:
    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
    def test_copies(self, duplicate):
        net, x = layer_of("all"), inputs(5, 3)
        clone = duplicate(net)
        assert torch.equal(clone(x), net(x))
        with torch.no_grad():
            clone.spline_weight += 1
        assert not torch.equal(clone(x), net(x))

    def test_vmap_and_jacobians(self):
        net, x = layer_of("all"), inputs(5, 3)
        assert error(vmap(net)(x), net(x)) < 1e-13
        rows = torch.stack([jacrev(net)(row) for row in x])
        x = x.requires_grad_()
        for o in range(2):
            assert error(rows[:, o], torch.autograd.grad(net(x)[:, o].sum(), x)[0]) < 1e-12

    def test_dtypes(self):
        net, x = layer_of("all", dtype=torch.float32), inputs(50, 3, dtype=torch.float32)
        want = copy.deepcopy(net).double()(x.double())
        assert net(x).dtype == torch.float32
        assert error(net(x), want) < 2e-5
        assert net(x.double()).dtype == torch.float64
        net, x = net.bfloat16(), x.bfloat16()
        assert torch.equal(net(x), copy.deepcopy(net).float()(x.float()).bfloat16())  # rounded at the end alone
        assert layer_of(dtype=torch.bfloat16).spline_weight.isfinite().all()

    def test_autocast_leaves_splines_in_full_precision(self):
        net, x = layer_of("all", dtype=torch.float32), inputs(50, 3, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = net(x)
        assert y.dtype == torch.bfloat16
        assert error(y, net(x)) < 0.02

    def test_meta_and_factory_arguments(self):
        net = KAN([3, 4, 2], device="meta", dtype=torch.float16)
        assert {(p.device.type, p.dtype) for p in [*net.parameters(), *net.buffers()]} == {("meta", torch.float16)}
        assert net(torch.empty(5, 3, device="meta")).shape == (5, 2)

    def test_compiles_as_one_graph(self):
        net, x = layer_of("all"), inputs(5, 3).requires_grad_()
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        assert error(compiled(x), net(x)) < 1e-14
        got, want = (torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, net))
        assert error(got, want) < 1e-13

    def test_exports_with_any_batch(self):
        net, x = layer_of("all"), inputs(5, 3)
        batch = torch.export.Dim("batch", min=2)
        program = torch.export.export(net.eval(), (x,), dynamic_shapes=({0: batch},))
        assert error(program.module()(inputs(8, 3)), net(inputs(8, 3))) < 1e-14

    def test_a_nan_stays_visible(self):
        x = inputs(4, 3)
        x[1, 2] = math.nan
        y = layer_of()(x)
        assert y[1].isnan().all()
        assert y[[0, 2, 3]].isfinite().all()

    def test_representation(self):
        text = repr(layer_of("all"))
        assert "KANLinear(\n  in_features=3, out_features=2, bias=True\n" in text
        assert "(basis): BSpline(\n    in_features=3, grid_size=4, spline_order=2, grid_range=[-2.0, 1.5]" in text
