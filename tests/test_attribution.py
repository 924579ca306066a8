"""Scores of edges and nodes against their definition, and penalties that fall when they are minimised."""

import math

import numpy as np
import pytest
import torch
from helpers import ANSATZE, MODULES, domain, error, generator, inputs, masked, module, perturb, random_layer
from torch import nn

from qkan import HQKAN, QKAN, QKANLinear
from qkan.attribution import Sparsity, attribute, edge_scores, layer_scores, uniform_scores
from qkan.layers.edges import edge_layers


@pytest.mark.parametrize("name", MODULES)
def test_scores_are_standard_deviations_with_their_gradient(name):
    for layer in edge_layers(masked(module(name))).values():
        x = domain(name, 4, 9, layer.in_features).requires_grad_()
        inside = [x, *(p for p in layer.parameters() if p.requires_grad)]
        want = layer.contributions(x).flatten(0, 1).std(0, correction=0)
        alive = layer.mask != 0
        got = layer_scores(layer, x)
        assert error(got, want) < 1e-9  # a root of a difference of means
        gradients = [torch.autograd.grad(s[alive].sum(), inside, allow_unused=True) for s in (got, want)]
        for mine, theirs in zip(*gradients, strict=True):
            assert (mine is None) == (theirs is None) or theirs is None or not theirs.any()
            if theirs is not None and mine is not None:
                assert error(mine, theirs) < 1e-8


def test_scores_block_by_block(monkeypatch):
    monkeypatch.setattr("qkan.attribution._BLOCK", 40)
    layer = random_layer(readout="amplitude")
    x = inputs("pz", 11, 5)
    got = layer_scores(layer, x)
    assert error(got, layer.contributions(x).std(0, correction=0)) < 1e-12
    got.sum().backward()
    assert layer.theta.grad.isfinite().all()


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "real", "mix", "own", "two"])
@pytest.mark.parametrize("encoding", ["unit", "ternary"])
def test_uniform_scores_are_those_of_a_grid_over_a_full_turn(ansatz, encoding):
    layer = random_layer(ansatz, encoding, scale=True)
    points = 2 * layer.options.circuit.degree(layer.options.weights) + 1
    x = (2 * math.pi / points * torch.arange(points, dtype=torch.float64)).unsqueeze(-1).expand(-1, 5)
    assert error(uniform_scores(layer), layer.contributions(x).std(0, correction=0)) < 1e-12


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"encoding": "trainable"}, "encoding='trainable'"),
        ({"encoding": "trainable-shared"}, "encoding='trainable-shared'"),
        ({"readout": "amplitude"}, "readout='amplitude'"),
        ({"base_activation": "silu"}, "a base branch"),
    ],
)
def test_uniform_scores_are_refused_without_a_closed_form(options, reason):
    with pytest.raises(ValueError, match=f"closed-form scores only .* got {reason}; use layer_scores"):
        uniform_scores(QKANLinear(3, 2, **options))


def test_scores_of_a_model_are_of_what_enters_its_layers():
    model = perturb(HQKAN(6, 3, latent=(4, 5, 2), dtype=torch.float64))
    x = inputs("pz", 20, 6)
    found = edge_scores(model, (x, torch.zeros(20)))
    assert list(found) == ["core.layers.0", "core.layers.1"]
    hidden = model.core.layers[0](model.encoder(x))
    assert error(found["core.layers.1"], model.core.layers[1].contributions(hidden).std(0, correction=0)) < 1e-9


def test_a_removed_edge_scores_exactly_nothing_and_has_a_finite_gradient():
    layer = masked(random_layer())
    score = layer_scores(layer, inputs("pz", 9, 5))
    assert score[0, 1] == 0
    score.sum().backward()
    assert layer.theta.grad.isfinite().all()


def test_relevance_against_loops():
    model = perturb(QKAN([3, 4, 2], dtype=torch.float64))
    x = inputs("pz", 30, 3)
    found = attribute(model.layers, x)
    nodes, h = [np.ones(2)], [x, model.layers[0](x), model(x)]
    for number in (1, 0):
        layer = model.layers[number]
        edges = np.zeros((layer.out_features, layer.in_features))
        for o in range(layer.out_features):
            for i in range(layer.in_features):
                phi = layer.edge_function(o, i)(h[number][:, i]).detach().numpy()
                edges[o, i] = nodes[0][o] * phi.std() / h[number + 1][:, o].detach().numpy().std()
        np.testing.assert_allclose(found.edges[number].detach().numpy(), edges, rtol=1e-9)
        nodes.insert(0, edges.sum(0))
    for got, want in zip(found.nodes, nodes, strict=True):
        np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-9)


def test_relevance_of_a_node_that_is_constant():
    model = perturb(QKAN([3, 4, 1], dtype=torch.float64))
    model.layers[0].remove_edges(torch.tensor([[False] * 3, [True] * 3, [False] * 3, [False] * 3]))
    found = attribute(model.layers, inputs("pz", 30, 3))
    assert found.nodes[1][1] == 0
    assert found.edges[0][1].tolist() == [0, 0, 0]
    assert all(part.isfinite().all() for part in (*found.edges, *found.nodes))


def test_the_penalty_is_the_formula():
    scores = {"a": torch.tensor([[1.0, 2.0], [0.0, 1.0]]), "b": torch.tensor([[3.0]])}
    p = np.array([1, 2, 1]) / 4
    want = 0.1 * (0.5 * (4 + 3) + 3 * (-(p * np.log(p)).sum()))
    assert float(Sparsity(weight=0.1, l1=0.5, entropy=3.0)(scores)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("width", [[4, 3], [4, 5, 3]])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "mix"])
@pytest.mark.parametrize("part", ["l1", "entropy"])
def test_minimising_the_penalty_alone_lowers_it(width, ansatz, part):
    model = perturb(QKAN(width, ansatz=ANSATZE[ansatz], dtype=torch.float64))
    sparsity = Sparsity(weight=1.0, **({"l1": 0.0, "entropy": 0.0} | {part: 1.0}))
    x = inputs(ansatz, 50, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        with sparsity.recording(model) as penalty:
            model(x)
        values.append(penalty())
        values[-1].backward()
        assert all(p.grad is not None for p in model.parameters())  # one-layer models included
        optimizer.step()
    assert values[-1] < 0.8 * values[0]


def test_the_recorded_penalty_is_that_of_the_scores():
    model = perturb(QKAN([4, 5, 3], dtype=torch.float64))
    x, sparsity = inputs("pz", 50, 4), Sparsity(weight=0.3)
    with sparsity.recording(model) as penalty:
        model(x)
    assert error(penalty(), sparsity(edge_scores(model, x))) < 1e-12


@pytest.mark.parametrize("name", MODULES)
def test_recording_changes_no_output_and_no_gradient(name):
    model = masked(module(name))
    x = domain(name, 9, 3)  # all models of the table have three inputs
    forwards = {layer: layer.forward for layer in edge_layers(model).values()}
    want = model(x)
    gradients = torch.autograd.grad(want.square().sum(), list(model.parameters()), allow_unused=True)
    with Sparsity().recording(model):
        got = model(x)
    assert error(got, want) < 1e-12
    for mine, theirs in zip(
        torch.autograd.grad(got.square().sum(), list(model.parameters()), allow_unused=True), gradients, strict=True
    ):
        assert (mine is None) == (theirs is None)
        assert mine is None or error(mine, theirs) < 1e-9
    assert forwards == {layer: layer.forward for layer in edge_layers(model).values()}
    assert not any("forward" in vars(layer) for layer in edge_layers(model).values())


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_the_penalty_of_the_forward_pass_is_that_of_the_scores(name, small, monkeypatch):
    if small:  # several blocks of samples and of outputs, and no room for all edges
        monkeypatch.setattr("qkan.solvers.edgewise.blocks.LEAST", 64)
        monkeypatch.setattr("qkan.solvers.edgewise.blocks.ELEMENTS", {"cpu": 64})
        monkeypatch.setattr("qkan.solvers.pointwise.ELEMENTS", {"cpu": 64})
        monkeypatch.setattr("qkan.layers.recording._SMALL", 64)
    model, sparsity = masked(module(name)), Sparsity(weight=1.0)
    x = domain(name, 150, 3).requires_grad_()
    with sparsity.recording(model) as penalty:
        y = model(x)
    inside = [x, *(p for p in model.parameters() if p.requires_grad)]
    got, want = y.square().mean() + penalty(), model(x).square().mean() + sparsity(edge_scores(model, x))
    assert error(got, want) < 1e-9
    gradients = [torch.autograd.grad(total, inside, allow_unused=True) for total in (got, want)]
    for mine, theirs in zip(*gradients, strict=True):
        assert error(torch.zeros(1) if mine is None else mine, torch.zeros(1) if theirs is None else theirs) < 1e-7


@pytest.mark.parametrize("options", [{"readout": "amplitude"}, {"encoding": "trainable"}])
def test_the_penalty_keeps_no_edges_of_layers_without_shared_features(options):
    model, kept = QKAN([24, 20], **options), []
    x = inputs("pz", 3000, 24, dtype=torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        with Sparsity().recording(model) as penalty:
            model(x)
        penalty()
    assert max(t.numel() for t in kept) < 3000 * 24 * 20 / 2


def test_recording_ends_with_an_error_too():
    model = QKAN([3, 2])
    with pytest.raises(ValueError, match="x must be"), Sparsity().recording(model):
        model(torch.zeros(2, 4))
    assert "forward" not in vars(model.layers[0])


def test_the_penalty_of_a_layer_that_runs_twice_is_over_both_calls():
    layer = random_layer(widths=(3, 3))
    twice, x, sparsity = nn.Sequential(layer, layer), inputs("pz", 50, 3), Sparsity(weight=0.3)
    with sparsity.recording(twice) as penalty:
        twice(x)
    assert error(penalty(), sparsity({"": layer_scores(layer, torch.cat([x, layer(x)]))})) < 1e-12


def test_layers_with_shots_go_on_sampling():
    model = QKAN([3, 2], shots=5, dtype=torch.float64)
    x = inputs("pz", 50, 3)
    with Sparsity().recording(model) as penalty:
        sampled = model(x, generator())
    assert torch.equal(sampled, model(x, generator()))
    assert error(penalty(), Sparsity()(edge_scores(model, x))) < 1e-12  # the scores are of exact expectations


def test_compiled_models_are_scored():
    model, sparsity = QKAN([3, 4, 2]), Sparsity(weight=1.0)
    x = inputs("pz", 50, 3, dtype=torch.float32)
    compiled = torch.compile(model, backend="aot_eager")
    compiled(x)
    with sparsity.recording(compiled) as penalty:
        compiled(x)
    assert error(penalty(), sparsity(edge_scores(model, x))) < 1e-6
    assert len(edge_scores(compiled, x)) == 2


def test_the_penalty_of_dead_layers_is_nothing_and_harmless():
    model = QKAN([2, 2], dtype=torch.float64)
    model.layers[0].remove_edges(torch.ones(2, 2, dtype=torch.bool))
    with Sparsity().recording(model) as penalty:
        model(inputs("pz", 5, 2))
    penalty().backward()
    assert penalty() == 0
    assert model.layers[0].theta.grad.isfinite().all()


def test_scores_in_single_precision():
    layer = random_layer(dtype=torch.float32)
    x = inputs("pz", 500, 5, dtype=torch.float32)
    want = layer.contributions(x).double().std(0, correction=0)
    assert error(layer_scores(layer, x), want.float()) < 1e-5


class _Aside(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = QKANLinear(2, 2)

    def forward(self, x):
        return x


def _penalty_alone():
    with Sparsity().recording(QKAN([2, 2])) as penalty:
        pass
    return penalty()


ERRORS = {
    "no samples": (lambda: layer_scores(random_layer(), torch.zeros(0, 5)), ValueError, r"x must hold at least one"),
    "no forward": (lambda: _penalty_alone(), RuntimeError, r"none of them was called inside the block: run the model"),
    "never called": (lambda: edge_scores(_Aside(), torch.ones(1, 2)), ValueError, r"model must call its edge layers"),
    "data": (lambda: edge_scores(QKAN([2, 2]), [[1.0]]), TypeError, r"data must be inputs .*; got list"),
    "no edges": (lambda: edge_scores(nn.Linear(2, 2), torch.zeros(1, 2)), ValueError, r"model must hold a layer with"),
    "weight": (lambda: Sparsity(weight=-1), ValueError, r"weight must be a finite number of at least 0; got -1"),
    "entropy": (lambda: Sparsity(entropy=math.nan), ValueError, r"entropy must be a finite number .* got nan"),
    "l1": (lambda: Sparsity(l1=True), ValueError, r"l1 must be a finite number of at least 0; got True"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_told(case):
    call, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        call()


def test_nothing_is_drawn_from_the_global_generator():
    before = torch.get_rng_state()
    edge_scores(QKAN([3, 2], generator=generator()), torch.zeros(4, 3))
    assert torch.equal(torch.get_rng_state(), before)
