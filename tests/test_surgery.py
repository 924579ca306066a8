"""Surgery returns new models, and what it promises to keep is kept: for every ansatz, encoding, readout and option."""

import copy
import itertools

import pytest
import torch
from helpers import ANSATZE, OPTIONS, READOUTS, TOLERANCES, error, inputs, layers_of, masked, options_for, perturb
from torch import nn

from qkan import HQKAN, KAN, QKAN, QKANLinear, load, lower, save
from qkan.attribution import attribute
from qkan.models.study import StudyNetwork
from qkan.noise import Noise
from qkan.surgery import extend, prune, prune_inputs, remove_edge, remove_node, subset
from qkan.symbolic import fix_symbolic

EXACT = {torch.float32: 1e-6, torch.float64: 1e-12}
ROWS = [
    *itertools.product(ANSATZE, ["unit"], READOUTS, ["plain", "all"]),
    *itertools.product(["pz", "rpz", "px", "mix"], ["ternary", "trainable", "trainable-shared"], READOUTS, ["scale"]),
]


def stack(ansatz="pz", encoding="unit", readout="expectation", options="plain", widths=(4, 5, 3), **more):
    """A model with all parameters at random, an edge removed and one halved in each of its layers."""
    keywords = options_for(ansatz, encoding, readout=readout, **OPTIONS[options])
    return masked(perturb(QKAN(widths, **{"dtype": torch.float64} | keywords | more)))


def hidden(ansatz):
    """Inputs, and hidden values, that an arccos without a map can take."""
    return ANSATZE[ansatz].arccos_map != "none"


def outputs(model, ansatz, x=None):
    x = inputs(ansatz, 9, 4, dtype=next(model.parameters()).dtype) if x is None else x
    return model(x) if hidden(ansatz) else model.layers[0](x)


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize(("ansatz", "encoding", "readout", "options"), ROWS)
def test_pruning_nothing_and_taking_all_are_identities(ansatz, encoding, readout, options, dtype):
    if not hidden(ansatz):
        model = masked(perturb(QKAN([4, 3], dtype=dtype, **options_for(ansatz, encoding, readout=readout))))
    else:
        model = stack(ansatz, encoding, readout, options, dtype=dtype)
    x = inputs(ansatz, 9, 4, dtype=dtype)
    want, config = model(x), model.config()
    for new in (prune(model, x, 0, 0), subset(model, {}), subset(model, {0: range(4), -1: range(3)})):
        assert error(new(x), want) <= EXACT[dtype]
        assert new.config() == config
        assert [layer.mask.tolist() for layer in new.layers] == [layer.mask.tolist() for layer in model.layers]


# What `extend` does: the number of uploads of the ansätze of the tables that it refuses is told with the reason.
EXTENDED = ["pz", "rpz", "px", "px-clamp", "px-none", "mix"]
REFUSED = {"real": "all of its rotations share one axis", "two": "no rule adds blocks", "own": "no rule adds blocks"}


def extensions(model, ansatz, most=3):
    """The model, extended by 0 to `most` repetitions, by every rule that its encoding allows."""
    old, reps = model.options.encoding, model.options.reps
    for more in range(most + 1):
        encoding = None
        if isinstance(old, tuple):
            new = (7, -1, 2)[:more]
            encoding = new + old if ansatz.startswith("px") else old + new
        yield extend(model, reps + more, encoding)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("encoding", ["unit", "ternary", "signs", "trainable", "trainable-shared"])
@pytest.mark.parametrize("ansatz", EXTENDED)
def test_extension_keeps_the_function(ansatz, encoding, options, readout):
    if encoding == "ternary" and ansatz.startswith("px"):
        return  # refused, see below
    model = stack(ansatz, encoding, readout, options)
    want = outputs(model, ansatz)
    for new in extensions(model, ansatz, 1 if encoding == "trainable-shared" else 3):
        assert error(outputs(new, ansatz), want) < EXACT[torch.float64]
        assert {layer.theta.shape[-1] for layer in new.layers} == {new.options.circuit.angles(new.options.reps)}
        assert [layer.mask.tolist() for layer in new.layers] == [layer.mask.tolist() for layer in model.layers]


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("encoding", ["unit", "trainable"])
@pytest.mark.parametrize("ansatz", EXTENDED)
def test_extension_keeps_the_function_in_single_precision(ansatz, encoding, readout):
    model = stack(ansatz, encoding, readout, widths=(4, 3), dtype=torch.float32)
    x = inputs(ansatz, 30, 4, dtype=torch.float32)
    (layer,) = model.layers
    z = layer.with_options(readout="expectation").edges(x)
    for new in extensions(model, ansatz):
        got, want = new.layers[0].edges(x), layer.edges(x)
        if readout == "amplitude":  # single precision loses digits near the poles
            away = 1 - z.abs() > TOLERANCES[torch.float32].pole
            got, want = got[away], want[away]
        assert error(got, want) < (3e-6 if readout == "amplitude" else 1e-6)


@pytest.mark.parametrize("ansatz", EXTENDED)
def test_an_extended_model_learns_what_the_old_one_cannot_hold(ansatz):
    layer = extend(QKANLinear(2, 1, ansatz=ANSATZE[ansatz], reps=1, dtype=torch.float64, init=0.5), 3)
    layer(inputs(ansatz, 20, 2)).square().sum().backward()
    new = layer.theta.grad[..., :2] if ansatz.startswith("px") else layer.theta.grad[..., -2:]
    assert new.abs().max() > 1e-3


@pytest.mark.parametrize("ansatz", REFUSED)
def test_extension_is_refused_where_no_rule_keeps_the_function(ansatz):
    with pytest.raises(ValueError, match=f"ansatz '{ansatz}' cannot be extended: {REFUSED[ansatz]}"):
        extend(QKAN([3, 2], **options_for(ansatz)), 5)


def test_a_renamed_circuit_keeps_its_rule():
    from dataclasses import replace

    model = perturb(QKAN([3, 2], ansatz=replace(ANSATZE["pz"], name="mine"), dtype=torch.float64))
    x = inputs("pz", 9, 3)
    assert error(extend(model, 5)(x), model(x)) < 1e-12


EXTENSION_ERRORS = {
    "fewer": (lambda: extend(QKAN([3, 2]), 2), r"reps must be at least 3, what the model has; got 2"),
    "nothing": (lambda: extend(nn.Linear(3, 2), 5), r"model must hold a QKANLinear; got Linear"),
    "ternary px": (
        lambda: extend(QKAN([3, 2], ansatz="px", encoding="ternary"), 4),
        r"blocks of px are prepended, and the old encoding weights \(1, 3, 9\) would change places",
    ),
    "integers": (
        lambda: extend(QKAN([3, 2], encoding=(2, 1, 5)), 4),
        r"encoding=\(2, 1, 5\) says nothing of the new uploads; give encoding= with 4 integers that start with these",
    ),
    "other integers": (
        lambda: extend(QKAN([3, 2], encoding=(2, 1, 5)), 4, (1, 2, 5, 7)),
        r"blocks of pz are appended, and the old encoding weights \(2, 1, 5\) would change places among \(1, 2, 5, 7\)",
    ),
    "other kind": (
        lambda: extend(QKAN([3, 2], encoding="trainable"), 4, "unit"),
        r"encoding must stay 'trainable' when a layer is extended; got \(1, 1, 1, 1\)",
    ),
    "noise": (
        lambda: extend(QKAN([3, 2], noise=Noise(depolarizing=0.1)), 4),
        r"noise=Noise\(depolarizing=0.1, .*\) acts behind gates, so that new ones change the function",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXTENSION_ERRORS)
def test_extensions_that_are_refused(case):
    call, message = EXTENSION_ERRORS[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_extension_with_a_readout_error_is_exact():
    model = perturb(QKAN([3, 2], noise=Noise(readout_error=(0.1, 0.02)), dtype=torch.float64))
    x = inputs("pz", 9, 3)
    assert error(extend(model, 5)(x), model(x)) < 1e-12


def test_extension_reaches_into_larger_models():
    model = StudyNetwork("hqkan", 1, 10)
    new = extend(model, 5)
    images = torch.rand(2, 1, 32, 32)
    assert error(new(images), model(images)) < 1e-5
    assert new.config() == model.config() | {"reps": 5}
    assert new.head.core.layers[0].options.reps == 5
    layer = perturb(QKANLinear(3, 2, dtype=torch.float64))
    x = inputs("pz", 9, 3)
    assert error(extend(nn.Sequential(layer), 6)(x), layer(x)) < 1e-12


def test_a_removed_edge_stays_removed(tmp_path):
    model = remove_edge(perturb(QKAN([4, 5, 3], dtype=torch.float64)), 0, 2, 1)
    x = inputs("pz", 40, 4)
    path = tmp_path / "model.safetensors"
    save(model, path)
    trained = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=0.1)
    trained(x).square().sum().backward()
    optimizer.step()
    later = {
        "extended": extend(model, 6),
        "pruned": prune(model, x, 0, 0),
        "pruned twice": prune(prune(model, x, 0, 1e-9), x, 0, 1e-9),
        "other edge": remove_edge(model, 0, 0, 0),
        "saved": load(path),
        "trained": trained,
        "extended, saved": _saved(extend(model, 5), path),
        "of another node": remove_node(model, 1, 4),
    }
    for name, new in later.items():
        assert new.layers[0].mask[2, 1] == 0, name
        assert new.layers[0].contributions(x)[:, 2, 1].abs().max() == 0, name
    assert lower(model).layers[0].contributions(x)[:, 2, 1].abs().max() == 0
    moved = subset(model, {0: [1, 3], 1: [4, 2]})
    assert moved.layers[0].mask.tolist() == [[1, 1], [0, 1]]


def _saved(model, path):
    save(model, path)
    return load(path)


def test_removing_an_edge_takes_what_it_adds():
    model = perturb(QKAN([4, 3], dtype=torch.float64))
    x = inputs("pz", 9, 4)
    got = remove_edge(model, 0, 1, 2)(x)
    want = model(x)
    want[:, 1] -= model.layers[0].edge_function(1, 2)(x[:, 2])
    assert error(got, want) < 1e-12
    assert model.layers[0].mask.min() == 1  # the model given is as it was


def test_removing_a_node_takes_what_it_adds():
    model = perturb(QKAN([4, 5, 3], dtype=torch.float64))
    x = inputs("pz", 9, 4)
    new = remove_node(model, 1, 2)
    h = model.layers[0](x)
    want = model(x) - torch.stack([model.layers[1].edge_function(o, 2)(h[:, 2]) for o in range(3)], -1)
    assert new.width == (4, 4, 3)
    assert error(new(x), want) < 1e-12


def test_a_subset_of_inputs_and_outputs():
    model = stack(options="bias")
    x = inputs("pz", 9, 4)
    new = subset(model, {0: [2, 0, 3], 1: [1, 4, 0, 2, 3], -1: [2, 1]})
    gone = model.layers[0].contributions(x)[..., 1]
    want = model.layers[1](model.layers[0](x) - gone)[:, [2, 1]]
    assert error(new(x[:, [2, 0, 3]]), want) < 1e-12
    assert new.config() == model.config() | {"width": [3, 5, 2]}


def planted():
    """A model in which input 3 and hidden nodes 0 and 3 do nearly nothing, and edge (2, 1) of layer 0 little."""
    model = perturb(QKAN([4, 5, 2], scale=True, bias=True, dtype=torch.float64))
    with torch.no_grad():
        model.layers[0].scale[:, 3] = 1e-6
        model.layers[0].scale[2, 1] = 1e-5
        model.layers[1].scale[:, [0, 3]] = 1e-6
    return model


def test_pruning_finds_what_does_nothing():
    model, x = planted(), inputs("pz", 200, 4)
    new = prune(model, x, node_threshold=1e-3, edge_threshold=1e-3)
    assert new.width == (4, 3, 2)
    assert new.layers[0].mask.tolist() == [[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]]
    assert error(new(x), model(x)) < 1e-4
    smaller, kept = prune_inputs(new, x)
    assert kept == [0, 1, 2]
    assert error(smaller(x[:, kept]), new(x)) < 1e-12


def test_pruning_follows_the_relevance():
    model, x = perturb(QKAN([4, 6, 3], dtype=torch.float64)), inputs("pz", 200, 4)
    found = attribute(model.layers, x)
    threshold = float(found.edges[1].detach().flatten().sort().values[5])
    new = prune(model, x, 0, threshold)
    alive = [found.edges[0] >= threshold, found.edges[1] >= threshold]
    nodes = alive[0].any(1) & alive[1].any(0)
    assert new.width[1] == int(nodes.sum())
    assert torch.equal(new.layers[1].mask != 0, alive[1][:, nodes])


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("bias", [False, True])
def test_what_is_pruned_keeps_its_mean(bias, readout):
    model = perturb(QKAN([4, 3], bias=bias, readout=readout, dtype=torch.float64))
    x = inputs("pz", 200, 4)
    new = prune(model, x, 0, 0.5)
    assert (new.layers[0].mask == 0).any()
    assert error(new(x).mean(0), model(x).mean(0)) < 1e-12
    assert new.config() == model.config() | {"bias": True}
    bare = prune(model, x, 0, 0.5, keep_mean=False)
    assert bare.config() == model.config()
    gone = new.layers[0].mask == 0
    assert error(bare(x), model(x) - (model.layers[0].contributions(x) * gone).sum(-1)) < 1e-12


@pytest.mark.parametrize("build", [QKAN, KAN])
def test_all_layers_have_a_bias_where_one_needs_it(build, tmp_path):
    model = perturb(build([4, 6, 3], dtype=torch.float64))
    x = inputs("pz", 200, 4) / 3
    new = prune(model, x, 0, 0.1)
    assert all(layer.bias is not None and layer.options.bias for layer in new.layers)
    assert new.layers[0].bias.requires_grad
    save(new, tmp_path / "model.safetensors")
    assert error(load(tmp_path / "model.safetensors")(x), new(x)) < 1e-12
    assert model.layers[0].bias is None
    assert not model.options.bias


def test_the_means_of_snapped_layers_stay_too():
    model, _ = fix_symbolic(perturb(QKAN([4, 3], dtype=torch.float64)), 0, 0, 1, "cos", affine=(1.0, 0.0, 0.01, 5.0))
    x = inputs("pz", 200, 4)
    new = prune(model, x, 0, 0.1)
    assert new.layers[0].mask[0, 1] == 0
    assert error(new(x).mean(0), model(x).mean(0)) < 1e-12


def test_many_weak_edges_are_pruned_without_loss_of_their_constants():
    model, x = perturb(QKAN([300, 2], dtype=torch.float64)), inputs("pz", 500, 300)
    new = prune(model, x, 0, 0.06)
    removed = int((new.layers[0].mask == 0).sum())
    off = (new(x) - model(x)).pow(2).mean().sqrt()
    constants = (model.layers[0].contributions(x).mean(0) * (new.layers[0].mask == 0)).sum(-1)
    assert removed > 250
    assert off < 0.8 * model(x).std()
    assert constants.abs().max() > off  # what would be lost


def test_a_node_that_loses_all_incoming_edges_goes():
    model, x = planted(), inputs("pz", 200, 4)
    with torch.no_grad():
        model.layers[0].scale[1] *= 1e-9  # the node is a constant: its edges have no relevance
    assert prune(model, x, 0, 1e-3).width[1] == 2


def test_pruning_reaches_into_larger_models():
    model = nn.Sequential(HQKAN(6, 3, latent=(4, 5, 2)), perturb(QKANLinear(3, 2)))
    with torch.no_grad():
        model[0].core.layers[1].theta[:, 2] = 0  # <Z> of pz is 0 then
    x = torch.randn(50, 6)
    new = prune(model, x, node_threshold=1e-3, edge_threshold=0.05)
    assert new[0].core.width[1] <= 4
    assert new[0].core.width[0] == 4
    assert new(x).shape == (50, 2)
    relevance = attribute([model[1]], model[0](x)).edges[0]
    assert torch.equal(new[1].mask == 0, relevance < 0.05)
    assert model[0].core.width == (4, 5, 2)


def test_models_of_surgery_keep_mode_dtype_and_what_is_trained():
    model = stack("rpz", options="all").eval()
    model.layers[0].theta.requires_grad_(False)
    x = inputs("rpz", 30, 4)
    for new in (extend(model, 5), prune(model, x, 0, 0), subset(model, {0: [1, 2]}), remove_edge(model, 1, 0, 0)):
        assert not new.training
        assert [p.requires_grad for p in new.parameters()] == [p.requires_grad for p in model.parameters()]
        assert {p.dtype for p in new.parameters()} == {torch.float64}
        before = model.state_dict()
        with torch.no_grad():
            for parameter in new.parameters():
                parameter += 1
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values(), strict=True))


SMALL = QKAN([3, 2, 2])
ERRORS = {
    "layer": (lambda: remove_edge(SMALL, 2, 0, 0), ValueError, r"layer must be in 0\.\.1; got 2"),
    "output": (lambda: remove_edge(SMALL, 0, 2, 0), ValueError, r"output must be in 0\.\.1; got 2"),
    "model": (lambda: remove_edge(HQKAN(4, 2), 0, 0, 0), TypeError, r"model must be a QKAN or KAN; got HQKAN; of a "),
    "lowered": (lambda: remove_edge(lower(SMALL), 0, 0, 0), TypeError, r"layers must have a mask .* got LoweredLinear"),
    "inputs are no hidden nodes": (lambda: remove_node(SMALL, 0, 0), ValueError, r"layer must be a hidden one of wid"),
    "node": (lambda: remove_node(SMALL, 1, 2), ValueError, r"node must be in 0\.\.1; got 2"),
    "last node": (lambda: remove_node(QKAN([3, 1, 2]), 1, 0), ValueError, r"node must not be the only one"),
    "place": (lambda: subset(SMALL, {3: [0]}), ValueError, r"place in keep must be in 0\.\.2; got 3"),
    "empty": (lambda: subset(SMALL, {0: []}), ValueError, r"keep\[0\] must hold at least one integer"),
    "threshold": (lambda: prune(SMALL, torch.zeros(5, 3), -1.0), ValueError, r"node_threshold must be a number of at"),
    "edges": (lambda: prune(SMALL, torch.randn(5, 3), 0, "x"), ValueError, r"edge_threshold must be a number .* 'x'"),
    "too much": (lambda: prune(SMALL, torch.randn(5, 3), 99.0), ValueError, r"would leave no node in hidden layer 1"),
    "no inputs": (lambda: prune_inputs(SMALL, torch.randn(5, 3), 99.0), ValueError, r"threshold must leave an input"),
    "no edges": (lambda: prune(nn.Linear(2, 2), torch.zeros(1, 2)), ValueError, r"model must hold a layer with edges"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_told(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()


def test_layers_of_the_helpers_and_of_the_model_are_the_same():
    assert layers_of(SMALL) == list(SMALL.layers)
    assert TOLERANCES[torch.float64].close <= EXACT[torch.float64]
