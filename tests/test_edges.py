"""Edges one by one, as linear functions of features, and in parts: the same numbers as all of them at once."""

import pytest
import torch
from helpers import ANSATZE, MODULES, OPTIONS, domain, error, inputs, masked, module, random_layer
from torch import nn

from qkan import HQKAN, QKAN, lower
from qkan.layers.edges import EdgeLayer, EditableLayer, edge_layers
from qkan.layers.recording import layer_inputs, recorded

EXACT = 1e-12


def shared(layer):
    """Whether the edges of a layer have features in common."""
    return layer.options.readout == "expectation" and layer.options.encoding != "trainable"


@pytest.mark.parametrize("name", MODULES)
def test_edges_one_by_one(name):
    for layer in edge_layers(masked(module(name))).values():
        x = domain(name, 2, 3, layer.in_features)
        want = layer.contributions(x)  # [2, 3, out, in]
        for o in range(layer.out_features):
            for i in range(layer.in_features):
                assert error(layer.edge_function(o, i)(x[..., i]), want[..., o, i]) < EXACT


@pytest.mark.parametrize("name", MODULES)
def test_the_expansion_holds_every_edge(name):
    for layer in edge_layers(masked(module(name))).values():
        x = domain(name, 7, layer.in_features)
        expansion = layer.expansion(x)
        assert (expansion is not None) == shared(layer)
        if expansion is not None:
            got = torch.einsum("bif,oif->boi", expansion.columns, expansion.coefficients) + expansion.constant
            assert error(got, layer.contributions(x)) < EXACT


@pytest.mark.parametrize("name", [name for name in MODULES if "amplitude" not in name])
def test_edges_of_lowered_layers(name):
    model = masked(module(name))
    if not all(shared(layer) for layer in edge_layers(model).values()):
        return
    pairs = zip(edge_layers(model).values(), edge_layers(lower(model)).values(), strict=True)
    for layer, lowered in pairs:
        x = domain(name, 7, layer.in_features)
        want, expansion = layer.contributions(x), lowered.expansion(x)
        got = torch.einsum("bif,oif->boi", expansion.columns, expansion.coefficients) + expansion.constant
        assert error(got, want) < EXACT
        o, i = layer.out_features - 1, 1
        assert error(lowered.edge_function(o, i)(x[:, i]), want[:, o, i]) < EXACT


@pytest.mark.parametrize("name", MODULES)
def test_a_subset_holds_the_same_edges(name):
    for layer in edge_layers(masked(module(name))).values():
        x = domain(name, 7, layer.in_features)
        part = layer.subset([1, 0], [2, 1])
        assert error(part.contributions(x[:, [2, 1]]), layer.contributions(x)[:, [1, 0]][..., [2, 1]]) < EXACT
        assert part.config() == layer.config() | {"in_features": 2, "out_features": 2}


def test_a_subset_of_all_is_the_layer_and_shares_nothing():
    layer = random_layer(scale=True, bias=True, base_activation=nn.PReLU(dtype=torch.float64))
    layer.scale.requires_grad_(False)
    part = layer.eval().subset(range(3), range(5))
    for (name, want), (other, got) in zip(layer.state_dict().items(), part.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(got, want)
        assert got.data_ptr() != want.data_ptr()
    assert not part.training
    assert [p.requires_grad for p in part.parameters()] == [p.requires_grad for p in layer.parameters()]


def test_an_edge_function_follows_the_parameters_and_has_their_gradient():
    layer = random_layer(scale=True)
    edge, x = layer.edge_function(2, 4), torch.linspace(-1, 1, 7, dtype=torch.float64)
    before = edge(x)
    with torch.no_grad():
        layer.scale *= 2
    assert error(edge(x), 2 * before) < EXACT
    edge(x).sum().backward()
    moved = layer.theta.grad.abs().sum(-1) > 0
    assert moved.nonzero().tolist() == [[2, 4]]


def test_an_edge_function_is_exact_with_shots():
    layer = random_layer(shots=10)
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)
    assert error(layer.edge_function(1, 2)(x), layer.with_options(shots=None).edge_function(1, 2)(x)) < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (4,), (0,), (2, 3)])
def test_an_edge_function_takes_any_shape(shape, dtype):
    layer = random_layer(dtype=dtype)
    for lowered in (layer, lower(layer)):
        y = lowered.edge_function(0, 0)(torch.zeros(shape, dtype=dtype))
        assert y.shape == shape
        assert y.dtype == dtype


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_removed_edges_add_nothing(ansatz):
    layer = random_layer(ansatz, **OPTIONS["all"])
    removed = torch.zeros(3, 5, dtype=torch.bool)
    removed[1, 2] = removed[0, 4] = True
    layer.remove_edges(removed)
    assert layer.contributions(inputs(ansatz, 7, 5))[:, removed].abs().max() == 0
    assert ((layer.mask == 0) == removed).all()


def test_edge_layers_are_found_by_name_once():
    layer = random_layer()
    model = nn.Sequential(nn.Linear(4, 5), layer, nn.Linear(3, 5), layer, HQKAN(5, 2, latent=(3, 3)))
    assert list(edge_layers(model)) == ["1", "4.core.layers.0"]
    assert edge_layers(layer) == {"": layer}
    assert isinstance(layer, EditableLayer)
    assert isinstance(lower(layer), EdgeLayer)
    assert not isinstance(lower(layer), EditableLayer)
    with pytest.raises(ValueError, match="model must hold a layer with edges, such as QKANLinear; got Linear"):
        edge_layers(nn.Linear(2, 2))


def test_what_enters_the_layers_is_recorded():
    model = QKAN([3, 4, 2], dtype=torch.float64)
    x = inputs("pz", 2, 5, 3)
    seen = layer_inputs(model, x)
    assert torch.equal(seen["layers.0"], x.flatten(0, 1))
    assert torch.equal(seen["layers.1"], model.layers[0](x).flatten(0, 1))
    layer = random_layer(widths=(3, 3))
    twice = nn.Sequential(layer, layer)
    assert torch.equal(layer_inputs(twice, x)["0"], torch.cat([x.flatten(0, 1), layer(x).flatten(0, 1)]))


def test_recording_ends_with_the_block():
    model = QKAN([3, 2])
    with pytest.raises(ValueError, match="x must be"), recorded(model) as seen:
        model(torch.zeros(2, 4))
    model(torch.zeros(2, 3))
    assert len(seen["layers.0"]) == 1
    assert not model.layers[0]._forward_pre_hooks


LAYER = random_layer()
ERRORS = {
    "output": (lambda: LAYER.edge_function(3, 0), ValueError, r"output must be in 0\.\.2; got 3"),
    "negative": (lambda: LAYER.edge_function(0, -1), ValueError, r"input must be in 0\.\.4; got -1"),
    "no integer": (
        lambda: LAYER.edge_function(0.0, 0),
        TypeError,
        r"output must be an integer; got 0\.0",
    ),
    "bool": (lambda: LAYER.edge_function(True, 0), ValueError, r"output must be in 0\.\.2; got True"),
    "lowered": (lambda: lower(LAYER).edge_function(0, 5), ValueError, r"input must be in 0\.\.4; got 5"),
    "integers as x": (lambda: LAYER.edge_function(0, 0)(torch.arange(3)), TypeError, "x must be a floating-point"),
    "twice": (lambda: LAYER.subset([0, 0], [1]), ValueError, r"outputs must hold at least one .* got \[0, 0\]"),
    "none": (lambda: LAYER.subset([0], []), ValueError, r"inputs must hold at least one integer and none twice"),
    "out of range": (lambda: LAYER.subset([0], [5]), ValueError, r"inputs\[0\] must be in 0\.\.4; got 5"),
    "no sequence": (lambda: LAYER.subset(1, [0]), TypeError, r"outputs must be a sequence of integers; got 1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_told(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()
