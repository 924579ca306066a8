"""Every tool on every kind of layer: quantum, splines, snapped, and lowered where nothing is edited."""

import pytest
import torch
from helpers import error, generator, inputs, perturb

from qkan import KAN, QKAN, load, lower, save
from qkan.attribution import Sparsity, attribute, edge_scores
from qkan.bases import names
from qkan.layers.edges import edge_layers
from qkan.plot import edge, network, scores
from qkan.surgery import prune, prune_inputs, remove_edge, remove_node, subset, to_kan, to_qkan
from qkan.symbolic import auto_symbolic, fix_symbolic, suggest_symbolic

EXACT = 1e-12


def _snapped():
    model = perturb(QKAN([4, 5, 3], scale=True, bias=True, dtype=torch.float64))
    model, _ = fix_symbolic(model, 0, 2, 1, "sin", affine=(2.0, 0.3, 0.7, -0.1))
    return fix_symbolic(model, 1, 0, 4, "x^2", affine=(1.0, 0.2, 0.5, 0.1))[0]


EDITABLE = {
    "QKAN": lambda: perturb(QKAN([4, 5, 3], dtype=torch.float64)),
    "QKAN-amplitude": lambda: perturb(QKAN([4, 5, 3], readout="amplitude", bias=True, dtype=torch.float64)),
    "KAN": lambda: perturb(KAN([4, 5, 3], grid_range=(-3.0, 3.0), dtype=torch.float64)),
    "KAN-bias": lambda: perturb(KAN([4, 5, 3], grid_range=(-3.0, 3.0), bias=True, dtype=torch.float64)),
    **{
        f"KAN-{basis}": lambda basis=basis: perturb(KAN([4, 5, 3], basis, dtype=torch.float64, generator=generator()))
        for basis in names()
        if basis != "bspline"
    },
    "snapped": _snapped,
}
MODELS = EDITABLE | {"lowered": lambda: lower(EDITABLE["QKAN"]())}
X = inputs("pz", 60, 4)


@pytest.mark.parametrize("name", MODELS)
def test_scores(name):
    model = MODELS[name]()
    first, second = edge_layers(model).values()
    want = first.contributions(X).std(0, correction=0), second.contributions(first(X)).std(0, correction=0)
    for got, expected in zip(edge_scores(model, X).values(), want, strict=True):
        assert error(got, expected) < 1e-9
    assert [tuple(nodes.shape) for nodes in attribute(model.layers, X).nodes] == [(4,), (5,), (3,)]


@pytest.mark.parametrize("name", EDITABLE)
def test_the_penalty_trains(name):
    model = EDITABLE[name]()
    optimizer, values = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(40):
        optimizer.zero_grad()
        with Sparsity(weight=1.0).recording(model) as penalty:
            model(X)
        values.append(penalty())
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("name", EDITABLE)
def test_identities(name):
    model = EDITABLE[name]()
    want = model(X)
    smaller, kept = prune_inputs(model, X, 0.0)
    for new in (prune(model, X, 0, 0), subset(model, {0: range(4), 1: range(5)}), smaller):
        assert error(new(X), want) < EXACT
    assert kept == [0, 1, 2, 3]


@pytest.mark.parametrize("name", EDITABLE)
def test_a_removed_edge_stays_removed(name, tmp_path):
    model = remove_edge(EDITABLE[name](), 0, 2, 1)  # a snapped one of the model that has some
    path = tmp_path / "model.safetensors"
    save(model, path)
    later = [load(path), prune(model, X, 0, 0), remove_node(model, 1, 4), subset(model, {1: [2, 0]})]
    later += [auto_symbolic(model, X, library=["x", "sin"]).model, to_kan(model, X).model]
    later += [to_qkan(model, X, reps=2).model] if name == "KAN" else []
    for new in later:
        row = 0 if new.width[1] == 2 else 2
        assert new.layers[0].mask[row, 1] == 0
        assert new.layers[0].contributions(X)[:, row, 1].abs().max() == 0


@pytest.mark.parametrize("name", EDITABLE)
def test_a_removed_node_takes_what_it_adds(name):
    model = EDITABLE[name]()
    first, second = model.layers
    h = first(X)
    gone = torch.stack([second.edge_function(o, 4)(h[:, 4]) for o in range(3)], -1)
    assert error(remove_node(model, 1, 4)(X), model(X) - gone) < EXACT


@pytest.mark.parametrize("name", MODELS)
def test_plots(name):
    model = MODELS[name]()
    for figure in (network(model, X), edge(model, 1, 2, X), scores(model, X)):
        assert figure.axes


@pytest.mark.parametrize("name", MODELS)
def test_suggestions(name):
    found = suggest_symbolic(MODELS[name](), 1, 2, 0, X, library=["x", "x^2", "sin"], top=2)
    assert len(found) == 2
    assert found[0].r2 <= 1


def test_methods_of_a_model_are_the_functions():
    model = EDITABLE["QKAN"]()
    assert error(model.extend(5)(X), model(X)) < EXACT
    assert error(model.prune(X, node_threshold=0, edge_threshold=0)(X), model(X)) < EXACT
    assert model.plot(X).axes
    assert len(model.auto_symbolic(X, library=["x"]).report) == 35
    history = model.fit((X, X[:, :3]), epochs=2, loss=torch.nn.functional.mse_loss, generator=generator())
    assert len(history) == 2
    assert not hasattr(EDITABLE["KAN"](), "extend")
