"""Reports in a real browser: what they draw, compute, log, and ask the network for; what clicks do."""

import numpy as np
import pytest
import torch
from helpers import ANSATZE, generator, inputs, masked, perturb, random_layer
from reports import read

from qkan import HQKAN, KAN, QKAN, KANLinear, lower
from qkan.history import History
from qkan.noise import Noise
from qkan.report import write

pytest.importorskip("plotly")
pytestmark = pytest.mark.slow

# Pixels from the corner of a figure to a point of its axes.
PIXELS = """
const figure = document.getElementById(arguments[0]);
figure.scrollIntoView({block: "center"});
const {xaxis, yaxis} = figure._fullLayout;
return [xaxis._offset + xaxis.d2p(arguments[1]), yaxis._offset + yaxis.d2p(arguments[2])];
"""
CURVE = """
const layer = report.layers[arguments[0]];
const curve = curveOf(layer, edgeAt(layer, arguments[1], arguments[2]));
return [curve.x, curve.y];
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def model():
    return masked(perturb(QKAN([3, 4, 2], dtype=torch.float64)))


@pytest.fixture(scope="module")
def page(browser, model, folder):
    """A page that the tests of this file share, open in the browser."""
    history = History.from_dict({"epoch": [1, 2, 3], "train_loss": [9.0, 1.0, 0.01], "top1": [0.1, 0.5, 0.9]})
    names = {"input_names": ["<b>mass</b>", "</script>", "length"], "output_names": ["force", "<img src=x>"]}
    x = torch.randn(300, 3, generator=generator(), dtype=torch.float64)
    write(model, folder / "page.html", data=x, history=history, check=False, title="A </script> & B", **names)
    return folder / "page.html"


@pytest.fixture
def opened(browser, page):
    browser.open(page)
    return browser


def click(browser, figure, x, y):
    """Click on a point of a figure, given in the units of its axes."""
    from selenium.webdriver import ActionChains

    across, down = browser.run(PIXELS, figure, x, y)
    home = browser.find(f"#{figure}")
    box = home.size
    ActionChains(browser.driver).move_to_element_with_offset(
        home, across - box["width"] / 2, down - box["height"] / 2
    ).pause(0.3).click().pause(0.3).perform()


def rows(browser):
    """The cells of the table of edges."""
    script = "return [...document.querySelectorAll('#edges tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    return browser.run(script)


def give(browser, selector, value):
    """Set a filter as a user does."""
    script = """
        const field = document.querySelector(arguments[0]);
        field.value = arguments[1];
        field.dispatchEvent(new Event("input", {bubbles: true}));
    """
    browser.run(script, selector, value)


def test_it_opens_without_messages_and_without_a_network(opened):
    assert opened.text("#title") == "A </script> & B"
    assert opened.logs() == []
    (asked,) = opened.requests()
    assert asked.startswith("file:")
    assert opened.text("#problem") == ""


def test_names_of_users_are_text(opened):
    assert opened.run("return document.querySelectorAll('img, b').length") == 0
    drawn = opened.text("#network")
    assert "<b>mass</b>" in drawn
    assert "</script>" in drawn


def test_it_shows_the_strongest_edge_first(opened, page):
    layer = read(page)["layers"][0]
    output, input = divmod(int(layer["score"].argmax()), layer["inputs"])
    script = "return [current.layer.number, current.output, current.input]"
    assert opened.run(script) == [0, output, input]
    assert "layer 0" in opened.text("#panel-title")


def test_a_click_on_a_line_shows_its_edge(opened, model):
    # the middle of the line from input 2 to node 3: both ends at the bottom
    click(opened, "network", 0.5, 0.0)
    assert opened.text("#panel-title") == "layer 0: input length → output 3"
    theta = model.layers[0].theta[3, 2].tolist()
    cells = opened.run("return [...document.querySelectorAll('#angles tbody tr')].map(r => r.cells[1].innerText)")
    assert np.allclose([float(cell.replace("−", "-")) for cell in cells], theta, rtol=1e-3)
    names = "return [...document.querySelectorAll('#circuit .wire .gate')].map(g => g.firstChild.textContent)"
    gates = opened.run(names)
    assert gates[:4] == ["H", "RZ", "RY", "RZ"]
    assert "cos 3x" in opened.text("#formula")
    bars = opened.run("return document.getElementById('spectrum').data[0].x")
    assert bars == [1, 2, 3]


def test_a_click_on_the_map_of_scores_shows_the_edge(opened):
    click(opened, "heatmap", 1, 2)
    assert opened.text("#panel-title") == "layer 0: input </script> → output 2"
    opened.find("#layer-tabs button:nth-child(2)").click()
    click(opened, "heatmap", 3, 1)
    assert opened.text("#panel-title") == "layer 1: input 3 → output <img src=x>"


def test_a_removed_edge_says_so(opened):
    click(opened, "heatmap", 1, 0)
    assert "was removed" in opened.text("#panel-about")
    assert not opened.find("#panel-body").is_displayed()


def test_a_click_on_an_input_lists_its_edges(opened):
    click(opened, "nodes", 0.01, 0)
    found = {row[1] for row in rows(opened)}
    assert len(found) == 1
    assert {row[0] for row in rows(opened)} == {"layer 0"}


def test_sorting_by_every_column_in_both_directions(opened):
    for column, key in ((3, float), (2, str), (1, str), (0, str)):
        opened.find(f"#edges th:nth-child({column + 1}) button").click()
        first = opened.run("return document.querySelectorAll('#edges th')[arguments[0]].ariaSort", column)
        values = opened.run("return table.order.map(keyOf(table.column))")
        assert values == sorted(values, reverse=first == "descending")
        opened.find(f"#edges th:nth-child({column + 1}) button").click()
        turned = opened.run("return table.order.map(keyOf(table.column))")
        assert turned == sorted(values, reverse=first != "descending")
        assert turned != values
        assert [key(row[column]) for row in rows(opened)]


def test_filters_keep_what_they_say(opened, page):
    first, last = read(page)["layers"]
    total = first["summary"]["edges"] + last["summary"]["edges"]
    assert opened.text("#range").endswith(f"of {total} edges")
    give(opened, "#filter-layer", "1")
    assert {row[0] for row in rows(opened)} == {"layer 1"}
    give(opened, "#filter-output", "force")
    assert {row[2] for row in rows(opened)} == {"force"}
    opened.find("#filters button").click()
    give(opened, "#filter-input", "2")
    assert {row[1] for row in rows(opened)} == {"length", "2"}
    opened.find("#filters button").click()
    give(opened, "#filter-share", "60")
    kept = sum(int((layer["score"] >= 0.6 * layer["score"].max()).sum()) for layer in (first, last))
    assert opened.text("#range").endswith(f"of {kept} edges")
    opened.find("#filters button").click()
    opened.find("#filter-removed").click()
    assert opened.text("#range").endswith("of 20 edges")
    give(opened, "#filter-input", "none of them")
    assert opened.text("#range") == "no edge passes the filters"


def test_a_row_of_the_table_shows_its_edge_and_pages_turn(opened):
    opened.find("#later").click()
    opened.find("#edges tbody tr:last-child").click()
    layer, input, output = rows(opened)[-1][:3]
    assert opened.text("#panel-title") == f"{layer}: input {input} → output {output}"
    assert opened.find("#edges tbody tr:last-child").get_attribute("class") == "chosen"
    opened.find("#earlier").click()
    assert opened.text("#range").startswith("1 to 15")


def test_training_is_drawn_when_it_comes_into_sight(opened):
    opened.find("#training").location_once_scrolled_into_view  # noqa: B018  it scrolls
    opened.run("return new Promise((done) => setTimeout(done, 500))")
    curves = opened.run("return [...document.querySelectorAll('#training .figure')].map(f => f.data.map(t => t.name))")
    assert curves == [["training loss"], ["top-1 accuracy"]]
    assert opened.run("return document.querySelector('#training .figure').layout.yaxis.type") == "log"
    assert opened.logs() == []


LAYERS = {
    **{name: lambda name=name: (random_layer(name, scale=True), inputs(name, 60, 5)) for name in ANSATZE},
    **{
        f"rpz {encoding} {readout}": lambda keys=(encoding, readout): (
            random_layer("rpz", keys[0], readout=keys[1], solver="bloch", base_activation="silu"),
            inputs("pz", 60, 5),
        )
        for encoding in ("ternary", "trainable", "trainable-shared")
        for readout in ("expectation", "amplitude")
    },
    "noise": lambda: (random_layer(noise=Noise(phase_damping=0.1)), inputs("pz", 60, 5)),
    "lowered": lambda: (lower(random_layer("px", base_activation="tanh")), inputs("px", 60, 5)),
    **{
        basis: lambda basis=basis: (KANLinear(5, 3, basis=basis, dtype=torch.float64), 0.8 * inputs("px-none", 60, 5))
        for basis in ("bspline", "chebyshev", "morlet")
    },
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_curves_that_the_browser_computes(browser, folder, name):
    layer, x = LAYERS[name]()
    write(layer, folder / "one.html", data=x, check=False)
    browser.open(folder / "one.html")
    for output, input in ((0, 0), (2, 4), (1, 3)):
        grid, got = map(np.array, browser.run(CURVE, 0, output, input))
        at = torch.zeros(len(grid), 5, dtype=torch.float64)
        at[:, input] = torch.tensor(grid)
        want = layer.contributions(at)[:, output, input].detach().numpy()
        assert np.abs(got - want).max() < 2e-4 * max(1, np.abs(want).max()), name
    assert browser.logs() == []


@pytest.mark.parametrize("kind", ["HQKAN", "KAN", "images"])
def test_other_models_open_too(browser, folder, kind):
    models = {"HQKAN": lambda: HQKAN(256, 100), "KAN": lambda: KAN([3, 4, 2]), "images": lambda: QKAN([784, 5, 2])}
    write(models[kind](), folder / "other.html", check=False)
    browser.open(folder / "other.html")
    assert browser.logs() == []
    notes = browser.text("#network-note")
    if kind == "HQKAN":
        assert "encoder: Linear(in_features=256, out_features=32" in notes
        assert "60 of 896 in layer 0" in notes
    if kind == "KAN":
        assert "has no circuit" in browser.text("#circuit")
    if kind == "images":
        assert "inputs as an image" in browser.text("#nodes")
        click(browser, "nodes", 10, 20)
        assert {row[1] for row in rows(browser)} == {f"{20 * 28 + 10} (20, 10)"}


def test_what_was_left_out_is_said(browser, folder):
    write(QKAN([6, 5]), folder / "few.html", edges=7, check=False)
    browser.open(folder / "few.html")
    assert "7 strongest of 30 edges of layer 0" in browser.text("#notes")
    weakest = browser.run("return [...report.layers[0].score.keys()].find(p => report.layers[0].at[p] < 0)")
    browser.run(
        "select({layer: report.layers[0], output: Math.floor(arguments[0] / 6), input: arguments[0] % 6})", weakest
    )
    assert "Write the report with --edges" in browser.text("#panel-about")


def test_a_check_is_a_table(browser, folder):
    pytest.importorskip("pennylane")
    write(QKAN([3, 2]), folder / "checked.html")
    browser.open(folder / "checked.html")
    assert "Passed." in browser.text("#check-note")
    assert "statevector" in browser.text("#check")
