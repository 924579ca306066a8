"""`SnappedLinear`: edges that are elementary functions, a layer like every other in all that torch and surgery do."""

import copy
import json
import pickle

import pytest
import torch
from helpers import error, generator, inputs, perturb, random_layer
from torch import nn
from torch.func import functional_call, jacrev, stack_module_state, vmap

from qkan import HQKAN, QKAN, QKANLinear, load, lower, save
from qkan.attribution import layer_scores
from qkan.elementary import LIBRARY
from qkan.layers.edges import EdgeLayer, EditableLayer, edge_layers
from qkan.layers.snapped import SnappedEdge, SnappedLinear, snapped
from qkan.surgery import extend, prune, remove_edge, remove_node, subset

safetensors = pytest.importorskip("safetensors.torch")

# Functions that are smooth on all of R; places on a rectangular grid, several functions and inputs twice.
EDGES = {
    (0, 1): ("sin", (1.3, 0.4, 2.0, -0.5)),
    (2, 0): ("x^2", (1.0, -0.3, 0.7, 0.2)),
    (2, 1): ("gaussian", (0.8, 0.3, -1.1, 0.0)),
    (1, 3): ("sin", (-2.0, 0.1, 0.5, 1.0)),
    (0, 0): ("0", (1.0, 0.0, 1.0, 0.6)),
}
INNER = {
    "pz": {},
    "px": {"ansatz": "px"},
    "base": {"scale": True, "bias": True, "base_activation": "silu"},
    "amplitude": {"readout": "amplitude", "solver": "bloch"},
    "trainable": {"encoding": "trainable", "ansatz": "rpz"},
    "shared": {"encoding": "trainable-shared"},
}


def layer_of(inner="pz", seed=0, edges=EDGES, dtype=torch.float64):
    return snapped(random_layer(widths=(4, 3), seed=seed, dtype=dtype, **INNER[inner]), edges)


@pytest.fixture
def x():
    return inputs("pz", 2, 7, 4) / 3


def by_hand(inner, x):
    """The output of the layer that was snapped, its chosen edges replaced."""
    parts = inner.contributions(x)
    for (o, i), (name, (a, b, c, d)) in EDGES.items():
        parts[..., o, i] = d + c * LIBRARY[name](a * x[..., i] + b)
    return parts.sum(-1) + (0 if inner.bias is None else inner.bias)


@pytest.mark.parametrize("inner", INNER)
def test_values_are_those_of_the_functions(inner, x):
    old = random_layer(widths=(4, 3), **INNER[inner])
    before = old(x)
    layer = snapped(old, EDGES)
    assert isinstance(layer, EdgeLayer)
    assert isinstance(layer, EditableLayer)
    assert error(layer(x), by_hand(old, x)) < 1e-13
    assert torch.equal(old(x), before)
    assert old.mask.all()


@pytest.mark.parametrize("inner", INNER)
def test_edges_one_by_one_and_all_at_once(inner, x):
    layer = layer_of(inner)
    parts = layer.contributions(x)
    assert parts.shape == (2, 7, 3, 4)
    assert layer.expansion(x) is None
    for o in range(3):
        for i in range(4):
            assert error(layer.edge_function(o, i)(x[..., i]), parts[..., o, i]) < 1e-13
    bias = 0 if layer.bias is None else layer.bias
    assert error(parts.sum(-1) + bias, layer(x)) < 1e-13
    scores = layer_scores(layer, x)
    assert error(scores, parts.flatten(0, 1).std(0, correction=0)) < 1e-10
    assert scores[0, 0] == 0


def test_the_inner_edges_are_gone_and_the_others_stay(x):
    layer = layer_of()
    removed = torch.zeros(3, 4, dtype=torch.bool)
    removed[tuple(zip(*EDGES, strict=True))] = True
    assert torch.equal(layer.inner.mask == 0, removed)
    assert layer.mask.all()
    assert layer.edges[1] == SnappedEdge(2, 0, "x^2")
    assert layer.number_of(1, 3) == 3
    assert layer.number_of(1, 2) is None


@pytest.mark.parametrize("inner", INNER)
def test_gradients_are_right(inner):
    layer, x = layer_of(inner), inputs("pz", 3, 4) / 3
    given = {name: p.detach().clone().requires_grad_() for name, p in layer.named_parameters()}
    names = list(given)

    def call(x, *values):
        return functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    arguments = (x.requires_grad_(), *given.values())
    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradgradcheck(lambda x, a: functional_call(layer, {"affine": a}, (x,)), (x, given["affine"]))
    edge = layer.edge_function(0, 1)
    assert torch.autograd.gradcheck(edge, (x[:, 1].detach().requires_grad_(),))


def test_edge_functions_follow_the_constants():
    layer = layer_of()
    edge, t = layer.edge_function(2, 0), torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    with torch.no_grad():
        layer.affine[1] = torch.tensor([2.0, 1.0, 3.0, -1.0])
    assert error(edge(t), 3 * (2 * t + 1) ** 2 - 1) < 1e-14
    edge(t).sum().backward()
    assert layer.affine.grad[1].abs().min() > 0
    assert not layer.affine.grad[[0, 2, 3, 4]].any()


def test_what_torch_does_with_modules(x):
    layers = [layer_of(seed=seed) for seed in range(3)]
    for seed, layer in enumerate(layers):
        perturb(layer, seed)
    parameters, buffers = stack_module_state(layers)
    stacked = vmap(lambda p, b: functional_call(layers[0], (p, b), (x,)))(parameters, buffers)
    assert error(stacked, torch.stack([layer(x) for layer in layers])) < 1e-13
    assert error(vmap(vmap(layers[0]))(x), layers[0](x)) < 1e-13
    assert jacrev(layers[0])(x[0, 0]).shape == (3, 4)
    for duplicate in (copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))):
        clone = duplicate(layers[0])
        assert torch.equal(clone(x), layers[0](x))
        with torch.no_grad():
            clone.affine += 1
        assert not torch.equal(clone(x), layers[0](x))
    layers[1].load_state_dict(layers[0].state_dict())
    assert torch.equal(layers[1](x), layers[0](x))
    assert layers[0](x[:0]).shape == (0, 7, 3)
    assert layers[0].param_size == 3 * 4 * 8 + 5 * 4
    assert layers[0](x.float()).dtype == torch.float64
    assert layer_of(dtype=torch.float32)(x.float()).dtype == torch.float32


def test_compiled_in_one_graph(x):
    layer = layer_of("base")
    assert error(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x)) < 1e-13


def test_autocast_keeps_the_constants(x):
    layer = layer_of(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x.float())
    assert error(y.float(), layer(x.float())) < 2e-2


def test_snapping_again_replaces_one_edge_alone(x):
    first = layer_of()
    first.remove_edges(torch.tensor([[False] * 4, [False, False, False, True], [False] * 4]))
    second = snapped(first, {(0, 1): ("exp", (0.5, 0.0, 1.0, 0.0)), (1, 0): ("x", (1.0, 0.0, 2.0, 0.0))})
    assert isinstance(second.inner, QKANLinear)
    assert len(second.edges) == 6
    assert second.edges[second.number_of(0, 1)].function == "exp"
    assert first.edges[first.number_of(0, 1)].function == "sin"
    difference = (second.contributions(x) - first.contributions(x)).abs().flatten(0, 1).amax(0)
    changed = torch.zeros(3, 4, dtype=torch.bool)
    changed[0, 1] = changed[1, 0] = True
    assert torch.equal(difference > 0, changed)
    assert second.mask[1, 3] == 0
    again = snapped(second, {(1, 3): ("x", (1.0, 0.0, 2.0, 0.0))})
    assert again.mask[1, 3] == 1


def test_removed_edges_stay_removed(x, tmp_path):
    layer, removed = layer_of("base"), torch.zeros(3, 4, dtype=torch.bool)
    removed[2, 0] = removed[1, 1] = removed[0, 1] = True
    layer.remove_edges(removed)
    assert torch.equal(layer.mask == 0, removed)
    assert not layer.contributions(x)[..., removed].any()
    assert not layer.edge_function(2, 0)(x[..., 0]).any()
    save(layer, tmp_path / "layer")
    others = [
        copy.deepcopy(layer), snapped(layer, {}), layer.with_inner(copy.deepcopy(layer.inner)),
        layer.subset(range(3), range(4)), load(tmp_path / "layer"), extend(layer, 5),
    ]  # fmt: skip
    for other in others:
        assert torch.equal(other.mask == 0, removed)
        assert error(other(x), layer(x)) < 1e-12
    layer(x).sum().backward()
    assert not layer.affine.grad[layer.number_of(2, 0)].any()


def test_removed_edges_are_0_outside_their_domain():
    layer = snapped(QKANLinear(2, 1), {(0, 0): ("log", (1.0, 0.0, 1.0, 0.0))})
    x = torch.tensor([[-1.0, 0.5]])
    assert layer(x).isnan().all()  # not hidden
    layer.remove_edges(torch.tensor([[True, False]]))
    assert torch.isfinite(layer(x)).all()
    layer(x).sum().backward()
    assert torch.isfinite(layer.affine.grad).all()


def test_subsets_renumber(x):
    layer = layer_of("base")
    part = layer.subset([2, 0], [1, 3, 0])
    assert part.edges == ((1, 0, "sin"), (0, 2, "x^2"), (0, 0, "gaussian"), (1, 2, "0"))
    want = layer.contributions(x)[..., [2, 0], :][..., [1, 3, 0]].sum(-1) + layer.bias[[2, 0]]
    assert error(part(x[..., [1, 3, 0]]), want) < 1e-13
    with torch.no_grad():
        part.affine.zero_()
    assert layer.affine.any()
    assert layer.subset([1], [2]).edges == ()
    assert (
        error(layer.subset([1], [2])(x[..., [2]]), layer.contributions(x)[..., [1], :][..., 2] + layer.bias[1]) < 1e-13
    )
    with pytest.raises(ValueError, match=r"outputs\[0\] must be in 0\.\.2; got 3"):
        layer.subset([3], [0])


def test_what_is_trained_stays_so(x):
    layer = layer_of().eval()
    layer.affine.requires_grad_(False)
    for other in (layer.subset([0, 1], [0, 1]), layer.with_inner(copy.deepcopy(layer.inner)), copy.deepcopy(layer)):
        assert not other.affine.requires_grad
        assert not other.training


def model_of():
    """A model whose first layer is snapped."""
    model = perturb(QKAN([4, 3, 2], bias=True, dtype=torch.float64))
    return model.with_layers([snapped(model.layers[0], EDGES), model.layers[1]])


def test_surgery_on_models(x):
    model = model_of()
    assert list(edge_layers(model)) == ["layers.0", "layers.1"]
    flat = x.flatten(0, 1)
    assert error(subset(model, {})(x), model(x)) < 1e-13
    assert error(prune(model, flat, 0, 0)(x), model(x)) < 1e-13
    assert error(extend(model, 5)(x), model(x)) < 1e-12
    assert remove_edge(model, 0, 2, 0).layers[0].mask[2, 0] == 0
    assert model.layers[0].mask[2, 0] == 1
    smaller = remove_node(model, 1, 1)
    assert [edge[:2] for edge in smaller.layers[0].edges] == [(0, 1), (1, 0), (1, 1), (0, 0)]


def test_lowered_inside(x):
    model = model_of()
    lowered = lower(model)
    assert not [part for part in lowered.modules() if isinstance(part, QKANLinear)]
    assert error(lowered(x), model(x)) < 1e-12
    assert not isinstance(lowered.layers[0], EditableLayer)


SAVED = {
    "QKAN": model_of,
    "lowered": lambda: lower(model_of()),
    "layer": layer_of,
    "base": lambda: layer_of("base"),
    "layer of lowered": lambda: lower(layer_of()),
    "no edges": lambda: layer_of(edges={}),
    "twice": lambda: SnappedLinear(layer_of(), [(1, 1, "x")]),
    "HQKAN": lambda: hybrid_of(),
}


def hybrid_of():
    model = HQKAN(4, 2, latent=(4, 3), dtype=torch.float64)
    model.core.layers[0] = snapped(model.core.layers[0], EDGES)
    return model


@pytest.mark.parametrize("name", SAVED)
def test_saved_and_loaded(name, x, tmp_path):
    net, path = SAVED[name](), tmp_path / "model.safetensors"
    save(net, path)
    loaded = load(path)
    assert repr(loaded) == repr(net)
    assert torch.equal(loaded(x), net(x))
    assert loaded.state_dict().keys() == net.state_dict().keys()
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in net.parameters()]


def header_of(path):
    with safetensors.safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["qkan"])


def rewrite(path, header):
    safetensors.save_file(safetensors.load_file(path), path, metadata={"qkan": json.dumps(header)})


def test_files_say_which_version_reads_them(tmp_path):
    path = tmp_path / "model"
    for net, version in ((QKAN([4, 3]), 1), (lower(QKAN([4, 3])), 1), (model_of(), 2), (layer_of(), 2)):
        save(net, path)
        assert header_of(path)["version"] == version


def test_files_of_version_1_are_read(tmp_path, x):
    net, path = lower(perturb(QKAN([4, 3], dtype=torch.float64))), tmp_path / "model"
    save(net, path)
    old = {key: value for key, value in header_of(path).items() if key != "snapped"}
    rewrite(path, old)
    assert torch.equal(load(path)(x), net(x))


DAMAGED = {
    "class": ({"inner": {"class": "os.system", "config": {}}, "edges": []}, r"builds no QKAN: 'os\.system'"),
    "no class": ({"inner": {"config": {}}, "edges": []}, r"builds no QKAN: 'class'"),
    "no edges": ({"inner": {"class": "QKANLinear", "config": {"in_features": 4, "out_features": 3}}}, r"'edges'"),
    "function": ({"inner": {"class": "QKANLinear", "config": {"in_features": 4, "out_features": 3}},
                  "edges": [[0, 0, "eval"]]}, r"builds no QKAN: a function must be one of"),
    "no layer": ({"inner": 3, "edges": []}, r"builds no QKAN: inner must be a layer with edges.*; got int"),
    "more edges": ({"inner": {"class": "QKANLinear", "config": {"in_features": 4, "out_features": 3, "bias": True}},
                    "edges": [[0, 0, "x"]]}, r"affine has shape \(5, 4\), not \(1, 4\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(name, tmp_path):
    path, (config, match) = tmp_path / "model", DAMAGED[name]
    save(model_of(), path)
    rewrite(path, header_of(path) | {"snapped": {"layers.0": config}})
    with pytest.raises(ValueError, match=match):
        load(path)


REFUSED = {
    "output": ([(3, 0, "x")], ValueError, r"output must be in 0\.\.2; got 3"),
    "input": ([(0, 1.5, "x")], TypeError, r"input must be an integer; got 1\.5"),
    "twice": ([(0, 0, "x"), (0, 0, "sin")], ValueError, r"edges must hold every place \(output, input\) once"),
    "function": ([(0, 0, "sinus")], ValueError, r"a function must be one of 0, x, .*; got \['sinus'\]"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_argument(name):
    edges, exception, match = REFUSED[name]
    with pytest.raises(exception, match=match):
        SnappedLinear(QKANLinear(4, 3), edges)


def test_what_has_no_edges_is_refused(x):
    with pytest.raises(TypeError, match=r"inner must be a layer with edges, such as QKANLinear; got Linear"):
        SnappedLinear(nn.Linear(4, 3), [(0, 0, "x")])
    with pytest.raises(ValueError, match=r"x must be \[\*batch, 4\]"):
        layer_of()(x[..., :3])
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        layer_of().edge_function(0, 1)(torch.zeros(3, dtype=torch.int64))


def test_new_edges_start_as_the_function():
    layer = SnappedLinear(QKANLinear(2, 1), [(0, 1, "cos")])
    assert layer.affine.tolist() == [[1, 0, 1, 0]]
    assert torch.equal(layer.edge_function(0, 1)(torch.tensor([0.3])), torch.tensor([0.3]).cos())


def test_samples_are_drawn_from_the_inner_layer(x):
    layer = snapped(QKANLinear(4, 3, shots=20, dtype=torch.float64), EDGES)
    first, second = (layer(x, generator(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, layer(x, generator(2)))


def test_repr_names_the_edges():
    assert "sin: 1 -> 0, x^2: 0 -> 2" in repr(layer_of())
    many = SnappedLinear(QKANLinear(4, 3), [(o, i, "x") for o in range(3) for i in range(4)])
    assert "x: 1 -> 1 and 6 more" in repr(many)
