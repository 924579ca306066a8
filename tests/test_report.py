"""What a report holds: the numbers of its edges against matrices written down independently, and what it refuses."""

import itertools
import json
import sys

import numpy as np
import pytest
import torch
from helpers import ANSATZE, ENCODINGS, generator, inputs, masked, perturb, random_layer
from reports import curve, read
from torch import nn
from truth import CIRCUITS, argument, state

from qkan import HQKAN, KAN, QKAN, KANLinear, QKANActivation, QKANLinear, lower, save
from qkan import report as reports
from qkan.cli import main
from qkan.history import History
from qkan.models.study import StudyNetwork
from qkan.noise import Noise
from qkan.report import Written, details, write
from qkan.solvers import PennyLane
from qkan.symbolic import fix_symbolic

pytest.importorskip("plotly")
SINGLE = 2e-6  # what single precision leaves of a curve


def written(model, folder, **keywords):
    """The data of the report of a model."""
    found = write(model, folder / "page.html", **{"check": False} | keywords)
    assert found.size == (folder / "page.html").stat().st_size
    return read(folder / "page.html")


def encoding_of(layer):
    """Weights and biases [out, in, uploads] of a layer, as NumPy arrays."""
    weight, bias = layer.encoding(torch.float64)
    shape = (layer.out_features, layer.in_features, layer.options.circuit.uploads(layer.options.reps))
    weight = torch.tensor(weight, dtype=torch.float64) if isinstance(weight, tuple) else weight.detach()
    bias = torch.zeros(shape) if bias is None else bias.detach()
    return np.broadcast_to(weight.numpy(), shape), np.broadcast_to(bias.numpy(), shape)


CASES = [
    *((ansatz, "unit", "expectation") for ansatz in ANSATZE),
    *(("rpz", encoding, "expectation") for encoding in ENCODINGS if encoding != "unit"),
    *itertools.product(["px"], ["ternary", "trainable-shared"], ["expectation"]),
    ("two", "trainable", "expectation"),
    *itertools.product(["pz"], ["signs", "trainable", "trainable-shared"], ["amplitude"]),
]  # fmt: skip


@pytest.mark.parametrize(("ansatz", "encoding", "readout"), CASES)
def test_curves_are_those_of_the_circuits(ansatz, encoding, readout, tmp_path):
    layer = random_layer(ansatz, encoding, readout=readout, scale=True)
    x = inputs(ansatz, 40, 5)
    (page,) = written(layer, tmp_path, data=x)["layers"]
    assert page["details"]["curve"] == ("waves" if encoding in ("unit", "ternary", "signs") else "products")
    run = state(ansatz, layer.options.reps, argument(ansatz, x.numpy()), layer.theta.detach().numpy(),
                *encoding_of(layer))  # fmt: skip
    values = run.z if readout == "expectation" else run.amplitude
    want = values * layer.scale.detach().numpy()
    got = np.stack([[curve(page, o, i, x[:, i].numpy()) for i in range(5)] for o in range(3)])  # [out, in, samples]
    far = 1 - np.abs(run.z) > 1e-2 if readout == "amplitude" else np.ones_like(want, bool)  # digits are lost at poles
    assert np.abs(got.transpose(2, 0, 1) - want)[far].max() < 30 * SINGLE
    assert np.allclose(page["score"].reshape(3, 5), want.std(0), atol=1e-6)


def test_all_cases_have_circuits_written_down_independently():
    assert {ansatz for ansatz, _, _ in CASES} <= set(CIRCUITS)


def test_noise_and_a_base_branch_are_in_the_curves(tmp_path):
    layer = random_layer(noise=Noise(depolarizing=0.05, readout_error=0.02), base_activation="silu", solver="bloch")
    x = inputs("pz", 50, 5)
    (page,) = written(layer, tmp_path, data=x)["layers"]
    want = layer.contributions(x).detach().numpy()
    got = np.stack([[curve(page, o, i, x[:, i].numpy()) for i in range(5)] for o in range(3)]).transpose(2, 0, 1)
    assert np.abs(got - want).max() < 1e-4  # silu is tabulated
    assert page["details"]["activation"]["name"] == "silu"
    noise = [gate["noise"] for gate in page["circuit"]["operations"] if gate["source"] == "channel"]
    assert noise[0] == ["depolarizing 0.05"]
    assert noise[-1] == ["readout 0.02, 0.02"]


def test_angles_are_those_of_the_parameters_the_strongest_edge_first(tmp_path):
    layer = random_layer("rpz", "trainable")
    (page,) = written(layer, tmp_path)["layers"]
    details, places = page["details"], page["details"]["places"]
    assert sorted(places) == list(range(15))
    assert np.all(np.diff(page["score"][places]) <= 0)
    for name in ("theta", "encoding_weight", "encoding_bias"):
        want = getattr(layer, name).detach().flatten(0, 1).numpy()[places]
        assert np.allclose(details[name]["values"].reshape(want.shape), want, atol=1e-6)


@pytest.mark.parametrize("basis", ["bspline", "chebyshev", "mexican_hat"])
def test_classical_edges_have_curves_and_coefficients_but_no_circuit(basis, tmp_path):
    layer = KANLinear(4, 3, basis=basis, dtype=torch.float64, generator=generator())
    x = torch.rand(60, 4, generator=generator(), dtype=torch.float64) * 1.6 - 0.8
    (page,) = written(layer, tmp_path, data=x)["layers"]
    want = layer.contributions(x).detach().numpy()
    got = np.stack([[curve(page, o, i, x[:, i].numpy()) for i in range(4)] for o in range(3)]).transpose(2, 0, 1)
    assert np.abs(got - want).max() < 2e-2 * np.abs(want).max()  # straight lines between 129 points
    assert page["circuit"] is None
    assert page["details"]["basis"]["name"] == layer.basis.name


def test_an_edge_that_is_no_function_of_one_input_says_so(tmp_path):
    layer = KANLinear(4, 3, basis="chebyshev", map="layer norm", dtype=torch.float64)
    (page,) = written(layer, tmp_path, data=torch.randn(50, 4, dtype=torch.float64))["layers"]
    assert page["details"]["curve"] == "none"
    assert "layer norm" in page["details"]["reason"]
    assert (page["score"] > 0).all()


def test_the_density_is_that_of_what_enters_the_edges(tmp_path):
    model = perturb(HQKAN(6, 3, latent=(4, 3), dtype=torch.float64))
    x = torch.randn(200, 6, generator=generator(), dtype=torch.float64)
    (page,) = written(model, tmp_path, data=(x, None))["layers"]
    entering = (x @ model.encoder.weight.T + model.encoder.bias).detach().numpy()
    counts = page["density"]["counts"].reshape(4, page["density"]["bins"])
    for i in range(4):
        low, high = entering[:, i].min(), entering[:, i].max()
        margin = 0.05 * (high - low)
        want, _ = np.histogram(entering[:, i], page["density"]["bins"], (low - margin, high + margin))
        assert np.abs(counts[i] - want).sum() <= 2  # a sample on a border
        assert counts[i].sum() == 200


def test_removed_edges_are_told_and_have_no_details(tmp_path):
    model = masked(perturb(QKAN([3, 4, 2], dtype=torch.float64)))
    page = written(model, tmp_path)
    for layer in page["layers"]:
        assert layer["summary"]["removed"] == 1
        assert layer["living"].reshape(layer["outputs"], -1)[0, 1] == 0
        assert layer["score"][1] == 0
        assert 1 not in layer["details"]["places"]
    assert [0, 1] not in page["drawing"][0]["edges"][0]


def test_a_layer_without_edges_is_drawn_without_lines(tmp_path):
    model = QKAN([14, 15, 2], dtype=torch.float64)
    with torch.no_grad():
        model.layers[1].mask.zero_()
    page = written(model, tmp_path)
    assert page["layers"][1]["details"]["count"] == 0
    assert page["drawing"][0]["edges"][1] == []


def test_limits_keep_the_strongest_edges_and_all_scores(tmp_path):
    model = perturb(QKAN([5, 4, 3], dtype=torch.float64))
    found = write(model, tmp_path / "page.html", edges=6, check=False)
    assert found[1:] == (32, 12)
    for layer in read(tmp_path / "page.html")["layers"]:
        assert set(layer["details"]["places"]) == set(np.argsort(-layer["score"])[:6])
        assert len(layer["score"]) == layer["inputs"] * layer["outputs"]


def test_the_budget_is_shared_so_that_small_layers_are_whole(monkeypatch, tmp_path):
    model = perturb(QKAN([9, 8, 2], dtype=torch.float64))
    bytes_of_an_edge = 4 * (7 + 8 + 1)  # coefficients, angles, its number
    monkeypatch.setattr(details, "BUDGET", 40 * bytes_of_an_edge)
    first, last = written(model, tmp_path)["layers"]
    assert (first["details"]["count"], last["details"]["count"]) == (24, 16)


def test_lowered_and_snapped_layers_keep_their_curves(tmp_path):
    model, x = perturb(QKAN([3, 2], dtype=torch.float64)), inputs("pz", 60, 3)
    want = model.layers[0].contributions(x).detach().numpy()
    (page,) = written(lower(model), tmp_path, data=x)["layers"]
    assert np.abs(curve(page, 1, 2, x[:, 2].numpy()) - want[:, 1, 2]).max() < 30 * SINGLE
    assert page["circuit"] is None
    pytest.importorskip("sympy")
    snapped, _ = fix_symbolic(model, 0, 1, 2, "sin", x)
    (page,) = written(snapped, tmp_path, data=x)["layers"]
    (at,) = np.flatnonzero(page["details"]["places"] == 5)
    assert "sin(" in page["details"]["formulas"][at]


def test_elementary_functions_that_come_close_to_classical_edges(tmp_path):
    pytest.importorskip("sympy")
    layer = KANLinear(2, 5, basis="chebyshev", degree=2, map="none", base_activation=None, dtype=torch.float64)
    with torch.no_grad():
        layer.spline_weight.zero_()
        layer.spline_weight[3, 1] = torch.tensor([0.5, 0.0, 1.0])  # 0.5 + T2(x) = 2 x^2 - 0.5
    (page,) = written(layer, tmp_path)["layers"]
    found = page["details"]
    assert found["places"][0] == 3 * 2 + 1
    assert found["formulas"][0] == "φ(x) ≈ 2*x**2 - 0.5, R² = 1.0000"
    assert len(found["formulas"]) == 8 < found["count"]


def test_models_that_measure_are_shown_by_their_expectations(tmp_path):
    exact = perturb(QKAN([3, 4, 2], dtype=torch.float64))
    measured = QKAN([3, 4, 2], solver=PennyLane(shots=3), dtype=torch.float64)
    sampled = QKAN([3, 4, 2], shots=3, dtype=torch.float64)
    pages = []
    for model in (exact, measured, sampled):
        model.load_state_dict(exact.state_dict())
        pages.append(written(model, tmp_path)["layers"])
    for first, *others in zip(*pages, strict=True):
        for other in others:
            assert np.array_equal(first["score"], other["score"])
            assert np.array_equal(first["details"]["coefficients"], other["details"]["coefficients"])


def test_the_model_and_the_global_generator_are_left_alone(tmp_path):
    model = QKAN([3, 2]).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    written(model, tmp_path)
    assert torch.rand(1) == want
    assert model.training
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])


def test_equal_models_give_equal_pages(tmp_path):
    model = QKAN([3, 2])
    for name in ("a", "b"):
        write(model, tmp_path / name, check=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (QKAN([3, 2]), "1000 inputs drawn, uniform over one period"),
        (QKAN([3, 2], ansatz=ANSATZE["px-none"]), r"uniform over [-0.95, 0.95]"),
        (KAN([3, 2]), "the domain of the first basis"),
        (HQKAN(8, 3), "standard normal"),
        (nn.Sequential(nn.Linear(5, 3), QKANActivation(3), QKANLinear(3, 2)), "standard normal"),
        (QKANActivation(3), "uniform over one period"),
        (StudyNetwork("hqkan", 1, 10), "200 inputs drawn, uniform over images"),
    ],
)
def test_without_data_the_page_says_what_was_drawn(model, text, tmp_path):
    assert text in written(model, tmp_path)["inputs"]


def test_data_is_thinned_evenly_and_images_are_flattened(tmp_path):
    x = torch.arange(600.0).view(100, 2, 3) / 600
    page = written(QKAN([6, 2]), tmp_path, data=x, samples=3)
    assert page["inputs"] == "3 of 100 samples, evenly over the data"
    low, high = page["layers"][0]["low"][0], page["layers"][0]["high"][0]
    assert (high - low) / 1.1 == pytest.approx(594 / 600)  # the first and the last are among them


def test_texts_of_users_end_no_script(tmp_path):
    bad = "</script><script>alert(1)</script><!-- data --> /* scripts */ & <b>"
    names = {"input_names": [bad, "y", "z"], "output_names": ["1", bad]}
    page = written(QKAN([3, 2]), tmp_path, title=bad, notes=[bad], **names)
    assert page["title"] == page["notes"][0] == page["names"]["inputs"][0] == page["names"]["outputs"][1] == bad
    text = (tmp_path / "page.html").read_text()
    assert "alert(1)</script>" not in text
    assert "<title>&lt;/script&gt;" in text
    assert "http" not in text.split('id="report-plotly"')[0].replace("http-equiv", "")


def test_training_curves_keep_what_is_not_finite_as_gaps(tmp_path):
    history = History.from_dict({"epoch": [1, 2], "train_loss": [1.0, float("nan")], "top1": [0.1, 0.2]})
    found = written(QKAN([3, 2]), tmp_path, history=history)["training"]
    assert [panel["title"] for panel in found["panels"]] == ["loss", "top-1 accuracy"]
    assert found["panels"][0]["curves"][0]["values"] == [1.0, None]
    assert written(QKAN([3, 2]), tmp_path)["training"] is None


def test_circuits_are_checked_of_large_layers_the_strongest_nodes(tmp_path):
    pytest.importorskip("pennylane")
    model = perturb(QKAN([40, 32, 2], dtype=torch.float64))
    found = written(model, tmp_path, check=True)["check"]
    assert found["passed"]
    assert {row["edges"] for row in found["rows"]} == {"30 × 30 of 32 × 40", "2 × 32"}
    assert {row["solver"] for row in found["rows"]} == {"statevector", "bloch", "fourier"}
    assert all(row["value"] < 1e-13 for row in found["rows"])


def test_without_pennylane_or_circuits_the_page_says_why_nothing_was_checked(monkeypatch, tmp_path):
    assert "no layer of circuits" in written(KAN([3, 2]), tmp_path, check=True)["check"]["note"]
    monkeypatch.setitem(sys.modules, "pennylane", None)
    found = written(QKAN([3, 2]), tmp_path, check=True)["check"]
    assert found["rows"] == []
    assert 'pip install "qkan-torch[pennylane]"' in found["note"]


@pytest.mark.parametrize(
    ("model", "keywords", "error", "match"),
    [
        (nn.Linear(3, 2), {}, ValueError, "model must hold a layer with edges"),
        (nn.Sequential(nn.ReLU(), QKANLinear(3, 2)), {}, ValueError, "data must be given for a Sequential"),
        (QKAN([3, 2]), {"data": torch.randn(5, 4)}, ValueError, r"x must be \[\*batch, 3\]"),
        (HQKAN(4, 2), {"data": torch.randn(5, 3)}, ValueError, "data does not fit the model"),
        (QKAN([3, 2]), {"data": torch.ones(5, 3, dtype=torch.long)}, ValueError, "floating-point inputs"),
        (QKAN([3, 2]), {"data": torch.empty(0, 3)}, ValueError, "at least one sample"),
        (QKAN([3, 2]), {"data": torch.full((5, 3), torch.nan)}, ValueError, "is not finite"),
        (QKAN([3, 2]), {"data": "x"}, TypeError, "data must be inputs"),
        (QKAN([3, 2]), {"edges": 0}, ValueError, "edges must be an integer of at least 1"),
        (QKAN([3, 2]), {"samples": 2.5}, TypeError, "samples must be an integer"),
        (QKAN([3, 2]), {"input_names": ["x"]}, ValueError, "input_names must hold 3 names; got 1"),
        (QKAN([3, 2]), {"output_names": ["x"]}, ValueError, "output_names must hold 2 names; got 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_written(model, keywords, error, match, tmp_path):
    with pytest.raises(error, match=match):
        write(model, tmp_path / "page.html", **keywords)
    assert not list(tmp_path.iterdir())


def test_a_path_without_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none" / "page.html", tmp_path):
        with pytest.raises(FileNotFoundError, match="must be a file in a folder that exists"):
            write(QKAN([3, 2]), path)


def test_without_plotly_the_pip_line_is_told(monkeypatch, tmp_path):
    from qkan.report import page

    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    monkeypatch.setattr("qkan.report.writing.plotly", page.plotly.__wrapped__)
    with pytest.raises(ImportError, match=r'pip install "qkan-torch\[report\]"'):
        write(QKAN([3, 2]), tmp_path / "page.html")


@pytest.fixture
def saved(tmp_path):
    pytest.importorskip("safetensors")
    save(perturb(QKAN([3, 2])), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_the_command_writes_a_page_with_data_and_training(saved, tmp_path, capsys):
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(20, 3)), y=np.zeros(3))
    History().append({"epoch": 1, "train_loss": 0.1}).save(tmp_path / "model.history.json")
    out = tmp_path / "page.html"
    words = ["report", str(saved), "-o", str(out), "--data", str(tmp_path / "data.npz"), "--no-check"]
    assert main([*words, "--edges", "4"]) == 0
    assert "6 edges, details of the 4 strongest" in capsys.readouterr().out
    page = read(out)
    assert page["title"] == "model.safetensors"
    assert page["inputs"] == "20 samples of the data"
    assert page["training"]["panels"][0]["curves"][0]["values"] == [0.1]
    assert "found beside the checkpoint" in page["notes"][-1]


def test_the_command_reads_the_history_of_a_reproduction(saved, tmp_path):
    results = {"settings": {}, "history": {"epoch": [1, 2], "train_loss": [2.0, 1.0]}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert main(["report", str(saved), "-o", str(tmp_path / "page.html"), "--no-check"]) == 0
    page = read(tmp_path / "page.html")
    assert page["training"]["epochs"] == [1, 2]
    assert "no data given" in page["inputs"]


def test_the_command_takes_the_images_of_a_reproduction(tmp_path):
    pytest.importorskip("sklearn")
    save(StudyNetwork("hqkan", 1, 10), tmp_path / "model.safetensors")
    out = tmp_path / "page.html"
    words = ["report", str(tmp_path / "model.safetensors"), "-o", str(out), "--data-set", "digits", "--no-check"]
    assert main([*words, "--samples", "30"]) == 0
    assert any("30 of 355 test images of digits" in note for note in read(out)["notes"])


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["none.safetensors"], "no file at"),
        (["model.safetensors", "-o", "model.safetensors"], "is the checkpoint itself"),
        (["model.safetensors", "--data", "none.npz"], "no file at --data"),
        (["model.safetensors", "--data", "model.safetensors"], "is no .npz file"),
        (["model.safetensors", "--data", "cut.npz"], "is no .npz file"),
        (["model.safetensors", "--data", "whole.npz"], "must be floating-point"),
        (["model.safetensors", "--data", "other.npz"], "must hold inputs x"),
        (["model.safetensors", "--history", "none.json"], "no history at"),
        (["model.safetensors", "--history", "model.safetensors"], "is no whole JSON file"),
    ],
)
def test_the_command_refuses_in_one_line(saved, words, match, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("whole.npz", x=np.zeros((4, 3), dtype=np.uint8))
    np.savez("other.npz", z=np.zeros((4, 3)))
    content = (tmp_path / "other.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    assert main(["report", *words]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_public_names():
    assert reports.__all__ == ["Written", "write"]
    assert Written._fields == ("size", "edges", "detailed")
