"""Pictures of edges and networks: curves, scores and shapes are those of the model; what was removed is not drawn."""

import io
import math
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import MODULES, domain, generator, inputs, masked, module, perturb
from torch import nn

from qkan import HQKAN, QKAN, QKANLinear, lower, plot
from qkan.attribution import attribute, edge_scores
from qkan.layers.edges import edge_layers
from qkan.layers.kan import KANLinear
from qkan.layers.recording import layer_inputs
from qkan.layers.snapped import SnappedLinear
from qkan.plot import selection, sources

pytest.importorskip("matplotlib")


def kan():
    layer = perturb(KANLinear(3, 2, dtype=torch.float64, generator=generator()))
    layer.remove_edges(torch.tensor([[False, True, False], [False, False, False]]))
    return layer


# Models with edge 1 -> 0 of their first layer removed: whatever has edges.
MODELS = {name: lambda name=name: masked(module(name)) for name in MODULES} | {
    "lowered": lambda: lower(masked(module("QKAN"))),
    "KANLinear": kan,
    "snapped": lambda: SnappedLinear(masked(module("pz-unit-fourier")), [(1, 2, "sin"), (0, 2, "x^2")]),
    "float32": lambda: masked(module("QKAN", dtype=torch.float32)),
}


def samples(name, count=30):
    x = domain(name, count, 3)
    return 0.9 * x.clamp(-1, 1) if "none" in name else x


def boxes(figure):
    """The small axes of a diagram by (layer, input, output), for models whose layers have the names of a stack."""
    return {box.get_label(): box for box in figure.axes[0].child_axes}


def label(name, output, input):
    return f"{name}: {input} → {output}"


def living(layer):
    """Edges left, by what they add: (output, input)."""
    x = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64).unsqueeze(-1).expand(-1, layer.in_features)
    return [tuple(edge) for edge in (layer.contributions(x) != 0).any(0).nonzero().tolist()]


@pytest.mark.parametrize("name", MODELS)
def test_every_living_edge_is_drawn_as_its_function_over_the_range_of_its_input(name):
    model, x = MODELS[name](), samples(name)
    seen, found = layer_inputs(model, x), boxes(plot.network(model, x))
    layers = edge_layers(model)
    wanted = {label(at, *edge): (at, *edge) for at, layer in layers.items() for edge in living(layer)}
    assert set(found) == set(wanted)
    assert label(next(iter(layers)), 0, 1) not in found
    for key, (at, output, input) in wanted.items():
        (line,) = found[key].get_lines()
        column, drawn = seen[at][:, input].detach(), torch.as_tensor(line.get_xdata())
        assert math.isclose(drawn[0], column.min(), rel_tol=1e-6)
        assert math.isclose(drawn[-1], column.max(), rel_tol=1e-6)
        truth = layers[at].edge_function(output, input)(drawn.to(column.dtype)).detach().numpy()
        assert np.abs(line.get_ydata() - truth).max() < 1e-12


def test_opacity_is_relevance_relative_to_the_largest_or_as_told():
    model, x = masked(module("QKAN")), samples("QKAN")
    relevance = [table.detach() for table in attribute(model.layers, x).edges]

    def check(figure, tables, law):
        for level, table in enumerate(tables):
            for key, box in boxes(figure).items():
                at, edge = key.split(": ")
                input, output = map(int, edge.split(" → "))
                if at == f"layers.{level}":
                    strength = law(float(table[output, input]), float(table.max()))
                    assert math.isclose(box.get_lines()[0].get_alpha(), 0.12 + 0.88 * strength, rel_tol=1e-9)

    check(plot.network(model, x), relevance, lambda score, largest: score / largest)
    check(plot.network(model, x, beta=3), relevance, lambda score, _: math.tanh(3 * score))
    scores = edge_scores(model, x)
    by_name, in_order = plot.network(model, x, scores=scores), plot.network(model, (x, None), scores=[*scores.values()])
    for figure in (by_name, in_order):
        check(figure, [table.detach() for table in scores.values()], lambda score, largest: score / largest)


def test_relevance_is_that_of_the_attribution_also_across_what_stands_between():
    model, x = module("QKAN"), samples("QKAN")
    for got, want in zip(sources.relevance(sources.shown(model, x)), attribute(model.layers, x).edges, strict=True):
        assert torch.allclose(got, want, rtol=1e-12)
    first, last = model.layers
    found = sources.relevance(sources.shown(nn.Sequential(first, nn.Tanh(), last), x))
    (upper,), nodes = attribute([last], first(x).tanh())
    assert torch.allclose(found[1], upper, rtol=1e-12)
    assert torch.allclose(found[0].sum(1) / attribute([first], x).edges[0].sum(1), nodes[0], rtol=1e-9)


def test_nodes_without_edges_are_hollow_and_names_are_written():
    model = module("QKAN")
    with torch.no_grad():
        model.layers[0].mask[2] = 0
        model.layers[1].mask[:, 2] = 0
    figure = plot.network(
        model, samples("QKAN"), input_names=["a", "b", "c"], output_names=["left", "right"], title="Mine"
    )
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["a", "b", "c", "0", "1", "2", "3", "left", "right"]
    nodes = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in nodes] == [text == "2" for text in texts]
    assert len(axes.get_lines()) - len(nodes) == 2 * len(axes.child_axes)
    assert figure.get_suptitle() == "Mine"
    assert [t.get_text() for t in plot.network(model).axes[0].texts][:2] == ["$x_{0}$", "$x_{1}$"]


@pytest.mark.parametrize("widths", [(2, 5, 1), (4, 6, 3), (5, 6, 1), (1, 1), (3, 30, 2, 2)], ids=str)
def test_boxes_and_labels_stand_apart(widths):
    figure = plot.network(QKAN(widths, generator=generator(), reps=1), title="title")
    figure.draw_without_rendering()
    diagram = figure.axes[0]
    extents = sorted((round(b.y0), b.x0, b.x1, b.y1) for b in (box.get_window_extent() for box in diagram.child_axes))
    for (row, _, right, _), (other, left, *_) in pairwise(extents):
        assert row != other or right < left
    marks = [text.get_window_extent() for text in diagram.texts]
    for number, mark in enumerate(marks):
        assert not any(mark.overlaps(other) for other in marks[:number])
        assert figure.bbox.x0 <= mark.x0
        assert figure.bbox.y0 <= mark.y0
        assert mark.y1 <= figure.bbox.y1


# Large networks


def tables(*shapes, seed=0):
    made = [torch.rand(*shape, generator=generator(seed + number)) for number, shape in enumerate(shapes)]
    return made, [torch.rand(table.shape, generator=generator(seed + 7)) < 0.7 for table in made]


@pytest.mark.parametrize("count", [1, 3, 8, 100])
@pytest.mark.parametrize("seed", range(3))
def test_the_part_shown_hangs_together_and_is_the_strongest(count, seed):
    scores, left = tables((5, 9), (4, 5), (3, 4), seed=seed)
    chosen = selection.connected(scores, left, count)
    targets = set(torch.where(left[-1], scores[-1], 0).sum(1).topk(min(count, 3)).indices.tolist())
    for level in (2, 1, 0):
        edges = chosen[level]
        candidates = sorted(
            (e for e in left[level].nonzero().tolist() if e[0] in targets), key=lambda e: -scores[level][*e]
        )
        assert len(edges) == len(set(edges)) == min(len(candidates), count)
        assert set(edges) <= {tuple(edge) for edge in candidates}
        first = {next(tuple(e) for e in candidates if e[0] == o) for o in targets if any(e[0] == o for e in candidates)}
        assert first <= set(edges)
        others = [tuple(edge) for edge in candidates if tuple(edge) not in first]
        assert set(edges) - first == set(others[: count - len(first)])
        targets = {input for _, input in edges}
    rows = selection.nodes_of(chosen)
    assert [set(row) for row in rows[:-1]] == [{input for _, input in edges} for edges in chosen]
    assert rows[-1] == sorted({output for output, _ in chosen[-1]})


def wide(dtype=torch.float64):
    model = QKAN([64, 9, 4], reps=1, dtype=dtype, generator=generator())
    with torch.no_grad():
        model.layers[0].mask[3] = 0
    return model, inputs("pz", 50, 64)


def panels(figure):
    """Node and edge panels of each layer, the first layer first."""
    shown = [axes for axes in figure.axes[1:] if axes.get_title()]
    return [(shown[position], shown[position + 1]) for position in range(0, len(shown), 2)][::-1]


def test_beside_the_diagram_stand_the_scores_of_nodes_and_edges():
    model, x = wide()
    figure = plot.network(model, x, count=5)
    edges, nodes = ([table.detach().numpy() for table in part] for part in attribute(model.layers, x))
    (pixels, first), (hidden, second) = panels(figure)
    assert np.abs(pixels.images[0].get_array() - nodes[0].reshape(8, 8)).max() < 1e-12
    assert np.abs(first.images[0].get_array() - edges[0]).max() < 1e-12
    assert np.abs(second.images[0].get_array() - edges[1]).max() < 1e-12
    heights = [bar.get_height() for bar in hidden.patches]
    assert np.abs(np.array(heights) - np.sort(nodes[1])[::-1]).max() < 1e-12
    assert [int(text.get_text()) for text in hidden.get_xticklabels()] == np.argsort(-nodes[1], kind="stable").tolist()
    assert (first.get_title(), second.get_title()) == ("layer 0: 512 edges, 5 shown", "layer 1: 36 edges, 5 shown")
    keys = boxes(figure)
    assert len(keys) == 10
    rings = {
        label(f"layers.{n}", o, i)
        for n, axes in enumerate((first, second))
        for i, o in axes.get_lines()[0].get_xydata().astype(int)
    }
    assert rings == set(keys)
    marked = {(round(y), round(x)) for x, y in pixels.get_lines()[0].get_xydata()}
    assert marked == {divmod(int(key.split(": ")[1].split(" →")[0]), 8) for key in keys if key.startswith("layers.0")}
    assert any("(" in text.get_text() for text in figure.axes[0].texts)  # row and column below an input


def test_shapes_of_inputs():
    model, x = wide()
    (image, _), _ = panels(plot.network(model, x, input_shape=(4, 4, 4)))
    nodes = attribute(model.layers, x).nodes[0].detach().numpy().reshape(4, 4, 4)
    assert np.abs(image.images[0].get_array() - nodes.sum(0)).max() < 1e-12
    (bars, _), _ = panels(plot.network(model, x, input_shape=(1, 64)))
    assert (len(bars.images), len(bars.patches)) == (0, 20)
    assert "20 of 64 nodes" in bars.texts[0].get_text()
    names = [f"pixel {number}" for number in range(64)]
    figure = plot.network(model, x, input_names=names, scores=edge_scores(model, x))
    assert any(text.get_text() in names for text in figure.axes[0].texts)
    assert panels(figure)[1][0].get_ylabel() == "score"
    ((bars, _),) = panels(plot.network(QKAN([50, 2])))
    assert len(bars.patches) == 20


def test_a_large_network_becomes_a_small_one_when_its_edges_are_removed():
    model, x = wide()
    with torch.no_grad():
        model.layers[0].mask[:, 2:] = 0
        model.layers[1].mask[:, 5:] = 0
    assert len(plot.network(model, x).axes) == 1
    assert len(plot.network(model, x, max_edges=10).axes) > 1


@pytest.mark.slow
def test_784_inputs_are_drawn_in_five_seconds():
    model, x = QKAN([784, 64, 10], generator=generator()), torch.rand(1000, 784, generator=generator()) * 2 - 1
    times = []
    for _ in range(2):  # the first imports matplotlib
        start = time.perf_counter()
        figure = plot.network(model, x)
        figure.savefig(io.BytesIO(), format="png")
        times.append(time.perf_counter() - start)
    assert min(times) < 5
    assert panels(figure)[0][0].images[0].get_array().shape == (28, 28)


# Edges and scores


@pytest.mark.parametrize("name", ["QKAN", "HQKAN", "lowered", "KANLinear", "snapped", "px-none-unit-bloch", "float32"])
def test_one_edge_over_the_density_of_the_data(name):
    model, x = MODELS[name](), samples(name)
    layers = edge_layers(model)
    at = list(layers)[-1]
    figure = plot.edge(model, 1, 2, x, layer=at if at else 0)
    (axes,), (line,) = figure.axes, figure.axes[0].get_lines()
    column = layer_inputs(model, x)[at][:, 2].detach()
    truth = layers[at].edge_function(1, 2)(torch.as_tensor(line.get_xdata()).to(column.dtype)).detach().numpy()
    assert np.nanmax(np.abs(line.get_ydata() - truth)) < 1e-12
    assert line.get_xdata()[0] < column.min()
    assert line.get_xdata()[-1] > column.max()
    counts = np.histogram(column.numpy(), bins=40)[0]
    assert np.allclose(axes.patches[0].get_data().values, 0.95 * counts / counts.max())
    place = "" if at == "" else f"layer {len(layers) - 1}, "
    assert axes.get_title() == f"{place}input 2 → output 1"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["density of the data", r"edge $\varphi$"]


def test_an_edge_without_data_spans_a_period_and_a_removed_one_says_so():
    model = masked(module("QKAN"))
    (axes,) = plot.edge(model, 0, 1).axes
    assert axes.get_title() == "layer 0, input 1 → output 0 (removed)"
    assert not axes.patches
    assert np.allclose(axes.get_xlim(), (-math.pi, math.pi), rtol=1e-12)
    once, again = (plot.edge(model, 0, 1, layer=1).axes[0].get_xlim() for _ in range(2))
    assert once == again
    spline = KANLinear(3, 2, grid_range=(2.0, 5.0))
    assert np.allclose(plot.edge(spline, 0, 1).axes[0].get_xlim(), (2, 5), rtol=1e-6)


def test_an_input_that_never_changes_has_a_range_around_it():
    x = torch.full((20, 3), 2.0, dtype=torch.float64)
    (line,) = boxes(plot.network(module("pz-unit-fourier"), x))[": 0 → 1"].get_lines()
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (1, 3)


@pytest.mark.parametrize("name", ["QKAN", "lowered", "KANLinear", "snapped", "amplitude-bloch-bias"])
def test_the_strongest_edges_of_a_layer(name):
    model, x = MODELS[name](), samples(name)
    table = next(iter(edge_scores(model, x).values())).detach()
    figure = plot.edges(model, x, count=4)
    order = sorted(living(next(iter(edge_layers(model).values()))), key=lambda edge: -table[edge])[:4]
    assert [axes.get_title().split("   ")[0] for axes in figure.axes] == [f"{i} → {o}" for o, i in order]
    assert f"(score {float(table[order[0]]):.2g})" in figure.axes[0].get_title()
    for axes, (output, input) in zip(figure.axes, order, strict=True):
        (line,), function = axes.get_lines(), next(iter(edge_layers(model).values())).edge_function(output, input)
        assert np.abs(line.get_ydata() - function(torch.as_tensor(line.get_xdata())).detach().numpy()).max() < 1e-12
    assert len(plot.edges(model, x, count=100).axes) == len(living(next(iter(edge_layers(model).values()))))


@pytest.mark.parametrize("name", ["QKAN", "HQKAN", "lowered", "KANLinear", "snapped", "pz-trainable-auto"])
def test_heat_maps_are_the_scores(name):
    model, x = MODELS[name](), samples(name)
    figure = plot.scores(model, x)
    maps = [axes for axes in figure.axes if axes.get_title()]
    for axes, table in zip(maps, edge_scores(model, x).values(), strict=True):
        table = table.detach().numpy()
        assert np.abs(axes.images[0].get_array() - table).max() < 1e-12
        assert [text.get_text() for text in axes.texts] == [
            f"{value:.2g}" if value else "0" for value in table.flatten()
        ]
        assert [text.get_position() for text in axes.texts][1] == (1, 0)
    assert len(plot.scores(QKAN([20, 4])).axes[0].texts) == 0
    own = plot.scores(model, x, scores=[torch.ones_like(table) for table in edge_scores(model, x).values()])
    assert bool((own.axes[0].images[0].get_array() == 1).all())


def test_training_mode_and_gradients_are_left_alone():
    model = module("QKAN").train()
    for draw in (plot.network, plot.edges, plot.scores, lambda *given: plot.edge(given[0], 0, 0, given[1])):
        draw(model, samples("QKAN").requires_grad_())
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
        assert model.training


# Errors


class Idle(nn.Module):
    """Has an edge layer and never calls it."""

    def __init__(self):
        super().__init__()
        self.layer = QKANLinear(3, 2)

    def forward(self, x):
        return x


def dead():
    model = QKAN([3, 2])
    model.layers[0].mask.zero_()
    return model


NAN = torch.full((5, 3), math.nan)
ERRORS = {
    "no layer": (lambda: plot.network(nn.Linear(2, 3)), "model must hold a layer with edges"),
    "no data": (lambda: plot.network(HQKAN(3, 2, latent=(4, 3))), "data must be given for HQKAN: only of a QKAN"),
    "idle": (lambda: plot.network(Idle(), torch.rand(4, 3)), "none of them was called"),
    "empty": (lambda: plot.scores(QKAN([3, 2]), torch.rand(0, 3)), "data must hold at least one sample; nothing"),
    "nan": (lambda: plot.edges(QKAN([3, 2]), NAN), "what enters layers.0 is not finite; give data in the domain"),
    "nan in a layer": (lambda: plot.edges(QKANLinear(3, 2), NAN), "what enters the layer is not finite"),
    "domain": (
        lambda: plot.scores(module("px-none-unit-bloch"), torch.full((5, 3), 2.0)),
        "scores must be finite and at least 0; if they are computed, give data in the edges' domain",
    ),
    "chain": (
        lambda: plot.network(nn.Sequential(QKANLinear(3, 2), nn.Linear(2, 4), QKANLinear(4, 1)), torch.rand(9, 3)),
        "edge layers must follow one another; 0 has 2 outputs and 2 4 inputs; draw the edges of one",
    ),
    "dead": (lambda: plot.network(dead()), "layer layers.0 has no edges left; nothing to draw"),
    "dead edges": (lambda: plot.edges(dead()), "layer 0 has no edges left; nothing to draw"),
    "input names": (lambda: plot.network(QKAN([3, 2]), input_names=["a"]), "input_names must hold 3 names; got 1"),
    "output names": (lambda: plot.network(QKAN([3, 2]), output_names="abc"), "output_names must hold 2 names; got 3"),
    "shape": (
        lambda: plot.network(QKAN([6, 2]), input_shape=(2, 2)),
        r"input_shape must be \[height, width\] or \[channels, height, width\] of 6 inputs; got \(2, 2\)",
    ),
    "shape of one": (lambda: plot.network(QKAN([6, 2]), input_shape=(6,)), r"of 6 inputs; got \(6,\)"),
    "max_edges": (lambda: plot.network(QKAN([3, 2]), max_edges=0), "max_edges must be an integer of at least 1"),
    "count": (lambda: plot.network(QKAN([3, 2]), count=0), "count must be an integer of at least 1"),
    "count of edges": (lambda: plot.edges(QKAN([3, 2]), count=0), "count must be an integer of at least 1"),
    "beta": (lambda: plot.network(QKAN([3, 2]), beta=0.0), "beta must be a finite number above 0, or None; got 0.0"),
    "layer": (lambda: plot.edge(QKAN([3, 2]), 0, 0, layer=1), r"layer must be in 0\.\.0; got 1"),
    "name": (lambda: plot.edges(QKAN([3, 2]), layer="head"), "layer must be one of 'layers.0', or its number; got"),
    "edge": (lambda: plot.edge(QKAN([3, 2]), 2, 0), r"output must be in 0\.\.1; got 2"),
    "missing": (lambda: plot.scores(QKAN([3, 2]), scores={}), "there is none for 'layers.0'"),
    "scores": (
        lambda: plot.network(QKAN([3, 2]), scores=[torch.ones(3, 2)]),
        r"scores must be \[\(2, 3\)\], \[out, in\] of every layer; got \[\(3, 2\)\]",
    ),
    "negative": (lambda: plot.scores(QKAN([3, 2]), scores=[-torch.ones(2, 3)]), "scores must be finite and at least 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_expected(name):
    wrong, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        wrong()


def test_types_are_checked():
    with pytest.raises(TypeError, match=r"data must be inputs \[samples, ...\], or a pair"):
        plot.network(QKAN([3, 2]), [[1.0, 2.0, 3.0]])
    with pytest.raises(TypeError, match="layer must be an integer"):
        plot.edges(QKAN([3, 2]), layer=1.5)
