"""The families of bases: one table, and the properties that all of its rows have."""

import copy
import json
import math
import pickle
import weakref
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers import error, generator, perturb
from scipy import special
from scipy.interpolate import BSpline
from torch.func import functional_call, jacfwd, jacrev, vmap

from qkan import bases
from qkan.bases import Basis, EdgewiseBasis, build, names
from qkan.bases.maps import MAPS, Map


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def stacked(function, indices):
    """A formula of one index as a formula of all functions, [..., functions]."""
    return lambda x: np.stack([function(i, x) + 0 * x for i in indices], -1)


def spline(grid_size, order, low, high, map=lambda x: x):
    step = (high - low) / grid_size
    knots = low + step * (np.arange(grid_size + 2 * order + 1) - order)

    def one(j, x):
        values = BSpline.basis_element(knots[j : j + order + 2], extrapolate=False)(map(x))
        return np.where(np.isnan(values), 0, values)

    return stacked(one, range(grid_size + order))


def gram(degree, nodes):
    """Monic polynomials by Gram and Schmidt, over the middles of the cells: nothing of a recurrence."""
    points = (2 * np.arange(nodes) + 1) / nodes - 1
    rows = []
    for n in range(degree + 1):
        monic = np.polynomial.Polynomial([0] * n + [1])
        for q in rows:
            monic = monic - (monic(points) @ q(points)) / (q(points) @ q(points)) * q
        rows.append(monic)
    return stacked(lambda n, x: rows[n](np.tanh(x)), range(degree + 1))


def slipped_gram(x, beta_weights):
    """torch-conv-kan's, to degree 4, with the factors of its beta by hand: 9/4, 100/3, 2205/16."""
    u, w = np.tanh(x), beta_weights
    q = [np.ones_like(u), u]
    for n, factor in ((1, 9 / 4), (2, 100 / 3), (3, 2205 / 16)):
        q.append(u * q[n] - w[n] * factor * q[n - 1])
    return np.stack([value * sigmoid(value) for value in q], -1)


def bumps(g, k):
    def one(j, x):
        start, end = (j - k) / g, (j + 1) / g
        product = np.maximum(x - start, 0) * np.maximum(end - x, 0)
        return (product * 4 * g**2 / (k + 1) ** 2) ** 2

    return stacked(one, range(g + k))


def nu(t):
    return t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)


def meyer(z):
    r = np.abs(z)
    fall = np.where(r <= 0.5, 1, np.where(r >= 1, 0, np.cos(np.pi / 2 * nu(2 * r - 1))))
    return np.sin(np.pi * r) * fall


def shannon(z):
    window = 0.54 + 0.46 * np.cos(z / 3)
    return np.where(np.abs(z) < 3 * np.pi, np.sinc(z / np.pi) * window, 0)


def hat(z):
    return 2 / (math.sqrt(3) * math.pi**0.25) * (1 - z**2) * np.exp(-(z**2) / 2)


class Row(NamedTuple):
    """What builds a basis, and its formula in NumPy, with the map; of wavelets the formula of z."""

    family: str
    keywords: dict
    formula: object
    sums_to_one: tuple | None = None  # where


COMPAT = {"compat": "torch-conv-kan"}
SHARED = {
    "bspline": Row("bspline", {}, spline(5, 3, -1, 1), (-1, 1)),
    "bspline-other": Row(
        "bspline",
        {"grid_size": 3, "spline_order": 1, "grid_range": (-2, 1.0), "map": "tanh"},
        spline(3, 1, -2, 1, lambda x: -0.5 + 1.5 * np.tanh(x)),
        (-50, 50),
    ),
    "rbf": Row("rbf", {}, stacked(lambda j, x: np.exp(-(((x + 2 - 4 * j / 7) / (4 / 7)) ** 2)), range(8))),
    "rbf-other": Row(
        "rbf",
        {"grid_size": 3, "grid_range": (0, 1), "denominator": 0.7, "map": "sigmoid"},
        stacked(lambda j, x: np.exp(-(((sigmoid(x) - j / 2) / 0.7) ** 2)), range(3)),
    ),
    "chebyshev": Row("chebyshev", {}, stacked(lambda n, x: special.eval_chebyt(n, np.tanh(x)), range(4))),
    "chebyshev-8": Row(
        "chebyshev",
        {"degree": 8, "map": "clamp"},
        stacked(lambda n, x: special.eval_chebyt(n, np.clip(x, -1, 1)), range(9)),
    ),
    "legendre": Row("legendre", {}, stacked(lambda n, x: special.eval_legendre(n, np.tanh(x)), range(4))),
    "legendre-8": Row(
        "legendre",
        {"degree": 8, "map": "sigmoid"},
        stacked(lambda n, x: special.eval_legendre(n, 2 * sigmoid(x) - 1), range(9)),
    ),
    "gram": Row("gram", {}, gram(3, 16)),
    "gram-nodes": Row("gram", {"degree": 5, "nodes": 7}, gram(5, 7)),
    "gram-compat": Row("gram", {"degree": 4, **COMPAT}, slipped_gram),
    "jacobi": Row("jacobi", {}, stacked(lambda n, x: special.eval_jacobi(n, 1, 1, np.tanh(x)), range(4))),
    "jacobi-other": Row(
        "jacobi",
        {"degree": 6, "a": -0.5, "b": 2.25},
        stacked(lambda n, x: special.eval_jacobi(n, -0.5, 2.25, np.tanh(x)), range(7)),
    ),
    "bernstein": Row(
        "bernstein",
        {},
        stacked(lambda k, x: special.comb(3, k) * sigmoid(x) ** k * (1 - sigmoid(x)) ** (3 - k), range(4)),
        (-50, 50),
    ),
    "bernstein-8": Row(
        "bernstein",
        {"degree": 8, "map": "tanh"},
        stacked(
            lambda k, x: special.comb(8, k) * ((1 + np.tanh(x)) / 2) ** k * ((1 - np.tanh(x)) / 2) ** (8 - k),
            range(9),
        ),
        (-50, 50),
    ),
    "fourier": Row(
        "fourier", {}, stacked(lambda j, x: (np.cos if j < 5 else np.sin)((j % 5 + 1) * x), range(10))
    ),
    "relu": Row("relu", {}, bumps(5, 3)),
    "relu-fixed": Row("relu", {"g": 2, "k": 0, "train_ab": False}, bumps(2, 0)),
    **{
        f"{name}-0": Row(name, {"degree": 0}, stacked(lambda n, x: 1, [0]), (-50, 50))
        for name in ("chebyshev", "legendre", "gram", "jacobi", "bernstein")
    },
    "gram-compat-0": Row("gram", {"degree": 0, **COMPAT}, lambda x, beta_weights: 0 * x[..., None] + sigmoid(1)),
}  # fmt: skip
WAVELETS = {
    "mexican_hat": Row("mexican_hat", {}, hat),
    "mexican_hat-compat": Row("mexican_hat", COMPAT, lambda z: -hat(z)),
    "morlet": Row("morlet", {}, lambda z: np.cos(5 * z) * np.exp(-(z**2) / 2)),
    "dog": Row("dog", {}, lambda z: -z * np.exp(-(z**2) / 2)),
    "meyer": Row("meyer", {}, meyer),
    "shannon": Row("shannon", {}, shannon),
    "shannon-compat": Row("shannon", COMPAT, lambda z: np.sinc(z / np.pi) * np.array([0.08, 1, 0.08])),
}
ROWS = SHARED | WAVELETS
WIDTHS = (3, 2)


def basis_of(name, dtype=torch.float64, moved=True, **more):
    """The basis of a row, three inputs (and two outputs), its parameters away from where they start."""
    row = ROWS[name]
    basis = build(row.family, *WIDTHS, dtype=dtype, generator=generator(), **row.keywords | more)
    return perturb(basis) if moved else basis


def values(basis, x):
    return basis.features(x) if isinstance(basis, Basis) else basis.edges(x)


def weighted(given):
    """A sum with weights, all different: a plain one is constant where functions sum to one."""
    return (given * torch.rand(given.shape, generator=generator(7), dtype=torch.float64)).sum()


def inputs(*shape, seed=1, dtype=torch.float64):
    return (torch.rand(shape, generator=generator(seed), dtype=torch.float64) * 4 - 2).to(dtype)


def parameters(basis):
    return {name: parameter.detach().numpy() for name, parameter in basis.named_parameters()}


def test_every_family_has_a_row():
    assert {row.family for row in ROWS.values()} == set(names())


@pytest.mark.parametrize("batch", [(), (7,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("name", SHARED)
def test_features_are_the_formula_for_any_leading_dimensions(name, batch):
    basis = basis_of(name, moved="compat" in name)
    x = 2 * inputs(*batch, 3)
    got, want = basis.features(x), SHARED[name].formula(x.numpy(), **parameters(basis) if "compat" in name else {})
    assert got.shape == (*batch, 3, basis.functions)
    assert got.dtype == torch.float64
    assert error(got, torch.from_numpy(want)) < 1e-12


@pytest.mark.parametrize("batch", [(), (7,), (2, 5), (0,), (2, 0, 3)])
@pytest.mark.parametrize("name", WAVELETS)
def test_edges_are_the_formula_for_any_leading_dimensions(name, batch):
    basis, x = basis_of(name), 6 * inputs(*batch, 3)
    part = parameters(basis)
    want = WAVELETS[name].formula((x.numpy()[..., None, :] - part["translation"]) / part["scale"])
    got = basis.edges(x)
    assert got.shape == (*batch, 2, 3)
    assert error(got, torch.from_numpy(want)) < 1e-12


def test_phases_of_every_input_count():
    basis, x = basis_of("relu"), inputs(7, 3)
    low, high = (basis.get_parameter(name).detach().numpy() for name in ("phase_low", "phase_high"))
    product = np.maximum(x.numpy()[..., None] - low, 0) * np.maximum(high - x.numpy()[..., None], 0)
    assert error(basis.features(x), torch.from_numpy((product * 100 / 16) ** 2)) < 1e-12


def test_the_middles_of_bumps_are_one():
    basis = basis_of("relu", moved=False)
    middles = torch.arange(-3, 5).double() / 5 + 0.4
    assert error(basis.features(middles.unsqueeze(-1).expand(-1, 3))[:, 0].diagonal(), torch.ones(8)) < 1e-12


@pytest.mark.parametrize("name", [name for name in SHARED if SHARED[name].sums_to_one])
def test_partition_of_unity(name):
    low, high = SHARED[name].sums_to_one
    x = torch.linspace(low, high, 303, dtype=torch.float64).view(-1, 3)
    assert error(basis_of(name).features(x).sum(-1), torch.ones_like(x)) < 1e-12


@pytest.mark.parametrize("name", SHARED)
def test_features_are_one_piece_of_memory_for_every_function(name):
    basis = basis_of(name)
    assert basis.features(inputs(5, 3)).movedim(-1, 0).mT.is_contiguous()
    assert basis.columns(inputs(3, 5)).is_contiguous()


@pytest.mark.parametrize("map", ["none", "layer norm"])
@pytest.mark.parametrize("name", SHARED)
def test_columns_are_the_features_of_channels_before_points(name, map):
    basis, x = basis_of(name, map=map), inputs(2, 4, 5, 3)
    got = basis.columns(x.mT)
    assert got.shape == (2, 4, basis.functions, 3, 5)
    assert error(got.movedim(-3, -1).transpose(-3, -2), basis.features(x)) < 1e-14


@pytest.mark.parametrize("map", ["tanh", "layer norm"])
@pytest.mark.parametrize("name", ROWS)
def test_gradients_are_those_of_finite_differences(name, map):
    basis, x = basis_of(name, map=map), inputs(2, 3).requires_grad_()
    given = {key: parameter.detach().clone().requires_grad_() for key, parameter in basis.named_parameters()}

    def call(x, *tensors):
        return functional_call(_Values(basis), {f"basis.{k}": t for k, t in zip(given, tensors, strict=True)}, (x,))

    assert torch.autograd.gradcheck(call, (x, *given.values()))


class _Values(torch.nn.Module):
    def __init__(self, basis):
        super().__init__()
        self.basis = basis

    def forward(self, x):
        return values(self.basis, x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("map", MAPS)
def test_saturated_constant_and_zero_inputs_have_finite_values_and_gradients(name, map, dtype):
    basis = basis_of(name, dtype, moved=False, map=map)
    x = torch.tensor([[50.0] * 3, [-50.0] * 3, [0.0] * 3, [0.7] * 3, [1.0, -1.0, 50.0]], dtype=dtype).requires_grad_()
    got = values(basis, x)
    got.sum().backward()
    assert got.isfinite().all()
    trained = [] if name == "gram-compat-0" else basis.parameters()  # of its weights none is used
    assert all(t.grad is not None and t.grad.isfinite().all() for t in (x, *trained))


@pytest.mark.parametrize("name", ["rbf", "bspline", "relu", "mexican_hat", "morlet", "dog", "meyer", "shannon"])
def test_local_functions_vanish_far_away(name):
    x = torch.full((1, 3), 3e38).requires_grad_()
    got = values(basis_of(name, torch.float32), x)
    got.sum().backward()
    assert got.abs().max() < 1e-8
    assert not x.grad.any()


@pytest.mark.parametrize("name", ROWS)
def test_a_nan_stays_visible_and_in_its_place(name):
    x = inputs(4, 3)
    x[1, 2] = math.nan
    got = values(basis_of(name), x).isnan()
    row = got.any(-1) if name in SHARED else got.any(-2)  # [batch, in]
    assert torch.equal(row, x.isnan())


@pytest.mark.parametrize("map", MAPS)
@pytest.mark.parametrize("name", ROWS)
def test_a_sample_does_not_depend_on_its_batch(name, map):
    basis, x = basis_of(name, map=map), inputs(6, 3)
    alone = torch.stack([values(basis, sample) for sample in x])
    assert error(alone, values(basis, x)) < 1e-14


@pytest.mark.parametrize("name", SHARED)
def test_an_input_does_not_depend_on_the_others_where_the_basis_is_pointwise(name):
    x = inputs(30, 3)
    other = torch.cat([x[:, :1], x[:, 1:] + 1], -1)
    for map in MAPS:
        basis = basis_of(name, map=map)
        same = torch.equal(basis.features(x)[:, 0], basis.features(other)[:, 0])
        assert same == basis.pointwise or basis.functions == 1


@pytest.mark.parametrize("name", SHARED)
def test_a_selection_has_the_features_of_its_inputs(name):
    basis, x = basis_of(name), inputs(5, 3)
    if name.startswith("bspline"):
        basis.grid[2] *= 1.5
    part = basis.select([2, 0])
    assert (part.in_features, type(part), part.config()) == (2, type(basis), basis.config())
    assert torch.equal(part.features(x[:, [2, 0]]), basis.features(x)[:, [2, 0]])
    own = {t.data_ptr() for t in basis.state_dict().values()}
    assert not own & {t.data_ptr() for t in part.state_dict().values()}
    assert [p.requires_grad for p in part.parameters()] == [p.requires_grad for p in basis.parameters()]


@pytest.mark.parametrize("name", WAVELETS)
def test_a_selection_has_the_edges_of_its_outputs_and_inputs(name):
    basis, x = basis_of(name), inputs(5, 3)
    part = basis.select([1], [2, 0])
    assert (part.in_features, part.out_features, part.config()) == (2, 1, basis.config())
    assert torch.equal(part.edges(x[:, [2, 0]]), basis.edges(x)[:, [1]][:, :, [2, 0]])


@pytest.mark.parametrize("name", ["chebyshev", "dog"])
def test_a_layer_norm_takes_all_inputs_in_any_order(name):
    basis, x = basis_of(name, map="layer norm"), inputs(5, 3)
    rows = () if name in SHARED else ([1, 0],)
    part, order = basis.select(*rows, [2, 0, 1]), [2, 0, 1]
    whole = values(basis, x)
    want = whole[:, order] if name in SHARED else whole[:, [1, 0]][:, :, order]
    assert error(values(part, x[:, order]), want) < 1e-14
    with pytest.raises(ValueError, match=r"inputs must hold all 3 inputs in any order, since map='layer norm'"):
        basis.select(*rows, [2, 0])


@pytest.mark.parametrize("name", ROWS)
def test_a_configuration_is_json_and_builds_the_same_again(name):
    basis, x = basis_of(name), inputs(5, 3)
    again = build(basis.name, *WIDTHS, dtype=torch.float64, **json.loads(json.dumps(basis.config())))
    again.load_state_dict(basis.state_dict())
    assert again.config() == basis.config()
    assert torch.equal(values(again, x), values(basis, x))
    assert f"map={basis.map!r}" in repr(basis)
    assert "in_features=3" in repr(basis)


@pytest.mark.parametrize("name", ROWS)
def test_copies_and_pickles(name):
    basis, x = basis_of(name), inputs(5, 3)
    for again in (copy.deepcopy(basis), pickle.loads(pickle.dumps(basis))):
        assert torch.equal(values(again, x), values(basis, x))
    assert all(t.dtype == torch.float32 for t in copy.deepcopy(basis).float().state_dict().values())
    assert build(ROWS[name].family, *WIDTHS, device="meta", **ROWS[name].keywords).state_dict().keys() == (
        basis.state_dict().keys()
    )


def test_buffers_are_in_the_state():
    rows = ("bspline", "rbf", "relu-fixed", "shannon-compat")
    assert {name: sorted(basis_of(name).state_dict()) for name in rows} == {
        "bspline": ["grid"],
        "rbf": ["grid"],
        "relu-fixed": ["phase_high", "phase_low"],
        "shannon-compat": ["scale", "translation", "window"],
    }  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_low_precision_computes_in_single(name):
    x = inputs(50, 3, dtype=torch.bfloat16)
    got = values(basis_of(name, torch.bfloat16, moved=False), x)
    assert got.dtype == torch.float32
    double = copy.deepcopy(basis_of(name, torch.bfloat16, moved=False)).double()
    assert error(got, values(double, x.double())) < 1e-5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        single = values(basis_of(name, torch.float32, moved=False), x.float())
    assert error(single, values(basis_of(name, torch.float32, moved=False), x.float())) == 0


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", ROWS)
def test_an_optimiser_changes_what_can_be_trained(name, optimiser):
    basis = basis_of(name, map="layer norm")
    before = {key: p.detach().clone() for key, p in basis.named_parameters()}
    weighted(values(basis, inputs(9, 3))).backward()
    optimiser(basis.parameters(), lr=0.01).step()
    assert {"mapping.weight", "mapping.bias"} <= before.keys()
    constant = ROWS[name].keywords.get("degree") == 0  # nothing is to be learnt
    assert constant or all(not torch.equal(before[key], p) for key, p in basis.named_parameters())


@pytest.mark.parametrize("name", ROWS)
def test_resetting_starts_anew(name):
    basis = basis_of(name, map="layer norm")
    fresh = build(ROWS[name].family, *WIDTHS, dtype=torch.float64, generator=generator(5), map="layer norm",
                  **{k: v for k, v in ROWS[name].keywords.items() if k != "map"})  # fmt: skip
    basis.reset_parameters(generator(5))
    state = basis.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in fresh.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, from jacfwd
@pytest.mark.parametrize("name", ROWS)
def test_vmap_functional_calls_and_both_modes_of_derivatives(name):
    basis, x = _Values(basis_of(name)), inputs(4, 3)
    assert error(vmap(basis)(x), basis(x)) < 1e-14
    assert error(jacfwd(basis)(x[0]), jacrev(basis)(x[0])) < 1e-12
    state = {key: torch.stack([t, t + 0.01]) for key, t in basis.named_parameters()}
    if state:
        both = vmap(lambda tensors: functional_call(basis, tensors, (x,)))(state)
        second = functional_call(basis, {key: t[1] for key, t in state.items()}, (x,))
        assert error(both[1], second) < 1e-14


@pytest.mark.parametrize("name", ROWS)
def test_compiling_in_one_graph(name):
    torch._dynamo.reset()
    basis, x = _Values(basis_of(name)), inputs(4, 3).requires_grad_()
    compiled = torch.compile(basis, fullgraph=True, backend="aot_eager")
    (want,), (got,) = (torch.autograd.grad(weighted(call(x)), x) for call in (basis, compiled))
    assert error(compiled(x), basis(x)) < 1e-14
    assert error(got, want) < 1e-12


@pytest.mark.parametrize("name", ROWS)
def test_nothing_of_the_inputs_is_kept(name):
    basis, x = basis_of(name), inputs(9, 3).requires_grad_()
    alive = weakref.ref(x)
    weighted(values(basis, x)).backward()
    del x
    assert alive() is None


@pytest.mark.parametrize("nodes", [4, 16])
def test_gram_polynomials_are_orthogonal_over_their_nodes(nodes):
    points = (2 * torch.arange(nodes).double() + 1) / nodes - 1
    q = build("gram", 1, degree=3, nodes=nodes, map="none").features(points.unsqueeze(-1)).squeeze(-2)
    products = q.T @ q
    assert error(products, products.diagonal().diag()) < 1e-14


def test_gram_polynomials_tend_to_those_of_legendre():
    x = inputs(9, 1)
    many = build("gram", 1, nodes=10**8).features(x)
    assert error(many * torch.tensor([1, 1, 3 / 2, 5 / 2]), build("legendre", 1).features(x)) < 1e-12


def test_the_slipped_gram_basis_starts_near_the_monomials():
    basis = build("gram", 1000, degree=2, generator=generator(), **COMPAT)
    assert basis.beta_weights.shape == (3,)
    assert 0 < basis.beta_weights.abs().max() < 4 / 3000
    again = build("gram", 1000, degree=2, generator=generator(), **COMPAT)
    assert torch.equal(basis.beta_weights, again.beta_weights)


@pytest.mark.parametrize("name", ["morlet", "dog", "meyer"])
def test_other_wavelets_are_the_same_with_compat(name):
    x = inputs(5, 3)
    assert torch.equal(build(name, 3, 2).edges(x), build(name, 3, 2, **COMPAT).edges(x))


@pytest.mark.parametrize(
    ("map", "formula"),
    [
        ("tanh", lambda x: 1 + 2 * np.tanh(x)),
        ("sigmoid", lambda x: -1 + 4 * sigmoid(x)),
        ("clamp", lambda x: np.clip(x, -1, 3)),
        ("none", lambda x: x),
        ("layer norm", lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)),
    ],
)
def test_maps(map, formula):
    x = 5 * inputs(20, 3)
    assert error(Map(map, 3, (-1.0, 3.0))(x), torch.from_numpy(formula(x.numpy()))) < 1e-12


def test_a_clamp_has_no_gradient_outside():
    x = torch.tensor([-1.1, 0.0, 3.1]).requires_grad_()
    Map("clamp", 3, (-1.0, 3.0))(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]


def test_a_layer_norm_has_a_weight_and_a_bias_for_every_input():
    basis = build("rbf", 3, map="layer norm", dtype=torch.float64)
    assert {key: tuple(p.shape) for key, p in basis.named_parameters()} == {
        "mapping.weight": (3,),
        "mapping.bias": (3,),
    }
    perturb(basis)
    norm, x = torch.nn.LayerNorm(3, dtype=torch.float64), inputs(5, 3)
    norm.load_state_dict(basis.mapping.state_dict())
    assert error(basis.mapping(x), norm(x)) < 1e-14


@pytest.mark.parametrize(
    ("family", "domain"),
    [
        ("bspline", (-1, 1)), ("rbf", (-2, 2)), ("chebyshev", (-1, 1)), ("bernstein", (0, 1)), ("relu", (0, 1)),
        ("fourier", (-math.pi, math.pi)), ("dog", (-4, 4)), ("meyer", (-1, 1)),
        ("shannon", (-3 * math.pi, 3 * math.pi)),
    ],
)  # fmt: skip
def test_domains(family, domain):
    assert build(family, 3, 2).domain == domain


def test_a_basis_and_a_class_are_taken_too():
    basis = build("dog", 3, 2)
    assert build(basis, 3, 2) is basis
    shared = build(bases.Chebyshev, 3, degree=1)
    assert build(shared, 3, 7) is shared
    assert isinstance(shared, Basis)
    assert isinstance(build(type(basis), 3, 2), EdgewiseBasis)
    assert build("chebyshev", np.int64(3), degree=np.int64(2)).config() == {"degree": 2, "map": "tanh"}


class _Own(Basis):
    """A family of a user: x alone, without factory keywords."""

    name = "own"
    keywords = ("power",)

    def __init__(self, in_features, power=1, map="none"):
        super().__init__(in_features, 1, (-1.0, 1.0), map)
        self.power = power

    def _columns(self, u):
        return u.unsqueeze(-3) ** self.power


def test_a_family_of_a_user():
    x = inputs(4, 3)
    assert error(build(_Own, 3, power=2).select([1]).features(x[:, [1]]), x[:, [1]].unsqueeze(-1) ** 2) < 1e-14
    with pytest.raises(TypeError, match=r"'own' got an unexpected keyword 'dtype'; it takes power, map"):
        build(_Own, 3, dtype=torch.float64)


BUILDS = [  # of three inputs and two outputs
    ("chebychev", {}, ValueError, r"no basis 'chebychev'; did you mean 'chebyshev'\? bases are bspline, rbf"),
    ("zzz", {}, ValueError, r"no basis 'zzz'; bases are"),
    (3, {}, TypeError, r"basis must be a name, a class of bases or a basis; got 3"),
    ("chebyshev", {"degre": 1}, TypeError, r"keyword 'degre'; did you mean 'degree'\? it takes degree, map, device"),
    ("legendre", COMPAT, TypeError, r"'legendre' got an unexpected keyword 'compat'; it takes degree, map"),
    ("rbf", {"map": "tan"}, ValueError, r"map must be one of tanh, sigmoid, clamp, layer norm, none; got 'tan'"),
    ("jacobi", {"degree": -1}, ValueError, r"degree must be an integer of at least 0; got -1"),
    ("bernstein", {"degree": True}, ValueError, r"degree must be an integer of at least 0; got True"),
    ("gram", {"degree": 2.5}, TypeError, r"degree must be an integer; got 2.5 of type float"),
    ("jacobi", {"a": -1}, ValueError, r"a must be a finite number above -1; got -1"),
    ("jacobi", {"b": None}, TypeError, r"b must be a number; got None"),
    ("jacobi", {"b": "1"}, ValueError, r"b must be a finite number above -1; got '1'"),
    ("gram", {"nodes": 3}, ValueError, r"nodes must be more than the degree, 3; got 3"),
    ("gram", {"nodes": 9, **COMPAT}, ValueError, r"nodes must not be given with compat; got 9"),
    ("gram", {"compat": "pykan"}, ValueError, r"compat must be None or 'torch-conv-kan'; got 'pykan'"),
    ("bspline", {"grid_range": (1, 1)}, ValueError, r"grid_range must be two numbers, the first below the second"),
    ("bspline", {"grid_range": (0, math.inf)}, ValueError, r"grid_range must be a finite number; got inf"),
    ("bspline", {"spline_order": 0}, ValueError, r"spline_order must be an integer of at least 1; got 0"),
    ("rbf", {"grid_range": 2}, TypeError, r"grid_range must be two numbers such as \(-1.0, 1.0\); got 2"),
    ("rbf", {"grid_size": 0}, ValueError, r"grid_size must be an integer of at least 1; got 0"),
    ("rbf", {"denominator": 0}, ValueError, r"denominator must be a finite number above 0; got 0"),
    ("rbf", {"num_grids": 1}, ValueError, r"denominator must be given for a single centre"),
    ("relu", {"train_ab": 1}, TypeError, r"train_ab must be True or False; got 1"),
    ("relu", {"k": -1}, ValueError, r"k must be an integer of at least 0; got -1"),
    ("fourier", {"grid_size": 0}, ValueError, r"grid_size must be an integer of at least 1; got 0"),
    (build("rbf", 3), {"map": "tanh"}, TypeError, r"a basis that is built takes no keywords; got map"),
    (build("rbf", 4), {}, ValueError, r"basis must have the widths \(3, 2\); got one of \(4, 2\)"),
    (build("dog", 3, 4), {}, ValueError, r"basis must have the widths \(3, 2\); got one of \(3, 4\)"),
]


@pytest.mark.parametrize(("basis", "keywords", "kind", "message"), BUILDS)
def test_what_cannot_be_built_is_told(basis, keywords, kind, message):
    with pytest.raises(kind, match=message):
        build(basis, *WIDTHS, **keywords)


def test_wrong_widths_are_told():
    with pytest.raises(ValueError, match=r"out_features must be given for the basis 'dog', a function per edge"):
        build("dog", 3)
    with pytest.raises(ValueError, match=r"map='layer norm' makes a constant of a single input; choose another map"):
        build("rbf", 1, map="layer norm")
    with pytest.raises(ValueError, match=r"in_features must be an integer of at least 1; got 0"):
        build("rbf", 0)
    with pytest.raises(ValueError, match=r"out_features must be an integer of at least 1; got 0"):
        build("dog", 3, 0)


CALLS = [
    (lambda shared, edgewise: shared.features(torch.zeros(2, 4)), ValueError, r"x must be \[\*batch, 3\]"),
    (lambda shared, edgewise: edgewise.edges(torch.zeros(2, 4)), ValueError, r"x must be \[\*batch, 3\]"),
    (lambda shared, edgewise: shared.features(torch.zeros(3).int()), TypeError, r"x must be a floating-point tensor"),
    (lambda shared, edgewise: shared.columns(torch.zeros(3)), ValueError, r"x must be \[\*images, 3, points\]; got"),
    (lambda shared, edgewise: shared.columns(torch.zeros(3, 1).int()), TypeError, r"x must be a floating-point"),
    (lambda shared, edgewise: shared.select([3]), ValueError, r"inputs\[0\] must be in 0..2; got 3"),
    (lambda shared, edgewise: edgewise.select([2], [0]), ValueError, r"outputs\[0\] must be in 0..1; got 2"),
    (
        lambda shared, edgewise: edgewise.select([0], [1, 1]),
        ValueError,
        r"inputs must hold .* none twice; got \[1, 1\]",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), CALLS)
def test_wrong_inputs_and_selections_are_told(call, kind, message):
    with pytest.raises(kind, match=message):
        call(build("rbf", 3), build("dog", 3, 2))
