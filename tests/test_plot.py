"""Figures: what is drawn is what was measured; they belong to nobody and write nothing."""

import io
import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import ANSATZE, generator, options_for, perturb, random_layer, reps_for

from qkan import QKAN, QKANLinear, lower, plot
from qkan.ansatz import PX, PZ
from qkan.history import History
from qkan.layers.kan import KANLinear
from qkan.noise import Noise
from qkan.plot import style, training_curves

matplotlib = pytest.importorskip("matplotlib")


def history(factor=1.0, **more):
    rows = [
        {"epoch": n, "train_loss": factor / n, "seconds": 1.0, "test_loss": 2 / n, "top1": n / 4} for n in (1, 2, 3)
    ]
    found = History()
    for row in rows:
        found = found.append(row | {name: value(row["epoch"]) for name, value in more.items()})
    return found


def small():
    return perturb(QKAN([3, 4, 2], dtype=torch.float64, generator=generator()))


# One figure of every kind.
FIGURES = {
    "training_curves": lambda: training_curves(history()),
    "network": lambda: plot.network(small()),
    "network-large": lambda: plot.network(small(), torch.rand(20, 3), max_edges=5, count=3),
    "edge": lambda: plot.edge(small(), 1, 2, torch.rand(20, 3)),
    "edges": lambda: plot.edges(small(), torch.rand(20, 3)),
    "scores": lambda: plot.scores(small()),
    "spectrum": lambda: plot.spectrum(small(), layer=1),
    "spectrum-edges": lambda: plot.spectrum(small(), [(0, 1), (3, 2)]),
    "circuit": lambda: plot.circuit("px", 3),
    "circuit-noise": lambda: plot.circuit(PZ.with_noise(Noise(bit_flip=0.1, readout_error=0.02)), 5),
}


def lines(axes):
    return [list(line.get_ydata()) for line in axes.get_lines()]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_saved_in_every_format_and_write_nothing_unasked(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, state = dict(matplotlib.rcParams), torch.get_rng_state()
    figure = FIGURES[name]()
    if name in ("network", "scores", "spectrum"):  # the others draw random data here
        assert torch.equal(torch.get_rng_state(), state)
    files = {form: io.BytesIO() for form in ("svg", "pdf", "png")}
    for form, file in files.items():
        figure.savefig(file, format=form)
    assert [file.getvalue()[:4] for file in files.values()] == [b"<?xm", b"%PDF", b"\x89PNG"]
    maps = {"scores": 2, "spectrum": 1, "network-large": 2}.get(name, 0)
    assert files["svg"].getvalue().count(b"<image") == 2 * maps  # each with its colour bar; all else is vectors
    assert dict(matplotlib.rcParams) == before
    assert list(tmp_path.iterdir()) == []


def test_pyplot_is_never_loaded():
    script = (
        "import sys; from qkan import QKAN, plot; model = QKAN([3, 4, 2]); "
        "plot.network(model), plot.network(model, max_edges=5).draw_without_rendering(), plot.edges(model, count=2), "
        "plot.edge(model, 0, 0), plot.scores(model), plot.spectrum(model), plot.circuit('px'); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


@pytest.mark.parametrize("name", FIGURES)
def test_missing_matplotlib_is_told_with_the_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'figures need matplotlib: pip install "qkan-torch\[plot\]"'):
        FIGURES[name]()


def test_ticks_are_round_and_panels_in_balance():
    for size in (1, 2, 9, 10, 11, 12, 50, 56, 64, 784, 5000, 12345):
        found = style.step(size)
        assert len(range(0, size, found)) <= 11
        assert str(found).rstrip("0") in ("1", "2", "5")
    for count in range(1, 30):
        rows, columns = style.grid(count)
        assert columns <= 4
        assert (rows - 1) * columns < count <= rows * columns


# Training curves


def test_losses_share_a_panel_and_metrics_have_their_own():
    losses, top1 = training_curves(history()).axes
    assert lines(losses) == [[1, 1 / 2, 1 / 3], [2, 1, 2 / 3]]
    assert lines(top1) == [[0.25, 0.5, 0.75]]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training loss", "test loss"]
    assert (losses.get_xlabel(), top1.get_ylabel()) == ("epoch", "top-1 accuracy")
    assert losses.get_lines()[0].get_color() != losses.get_lines()[1].get_color()


def test_several_runs_in_one_figure():
    figure = training_curves({"one": history(), "two": history(3.0)}, names=["train_loss"])
    (axes,), (legend,) = figure.axes, figure.legends
    assert lines(axes) == [[1, 1 / 2, 1 / 3], [3, 3 / 2, 1]]
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_learning_rate_and_penalty_have_panels_and_decades_a_logarithm():
    figure = training_curves(history(lr=lambda n: 10.0**-n, penalty=lambda n: 1 / n, gap=lambda n: 1000.0**n))
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "top-1 accuracy", "learning rate", "penalty", "gap"]
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "linear", "linear", "linear"]
    steep = training_curves(history(lr=lambda n: 100.0**-n, penalty=lambda n: 100.0 ** (1 - n)))
    assert [axes.get_yscale() for axes in steep.axes] == ["linear", "linear", "log", "log"]
    assert steep.axes[2].get_lines()[0].get_ydata().tolist() == [1e-2, 1e-4, 1e-6]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_no_logarithm_of_what_has_none(value):
    figure = training_curves(history(lr=lambda n: 100.0**-n if n < 3 else value), names=["lr"])
    assert figure.axes[0].get_yscale() == "linear"


def test_one_epoch_is_seen_as_a_point():
    (axes,) = training_curves(History(history().epochs[:1]), names=["top1"]).axes
    assert axes.get_lines()[0].get_marker() == "o"


def test_errors_of_training_curves():
    for nothing in ({}, History(), {"one": History()}):
        with pytest.raises(ValueError, match="nothing to draw: give at least one history"):
            training_curves(nothing)
    with pytest.raises(ValueError, match="nothing to draw: names must hold"):
        training_curves(history(), names=[])
    with pytest.raises(ValueError, match=r"this history holds epoch, .*; got 'top9'"):
        training_curves(history(), names=["top9"])


# Spectra


def series(ansatz, encoding):
    """A layer with integer weights, and its harmonics [k, out, in] by the FFT of its edges as functions of u."""
    layer = random_layer(ansatz, encoding, scale=True)
    with torch.no_grad():
        layer.mask[0, 1] = 0
    options = options_for(ansatz, encoding, scale=True) | {"ansatz": replace(ANSATZE[ansatz], arccos_map=None)}
    of_u = QKANLinear(5, 3, dtype=torch.float64, **options)
    of_u.load_state_dict(layer.state_dict())
    size = 2 * 60 + 1
    u = (2 * math.pi / size * torch.arange(size, dtype=torch.float64)).unsqueeze(-1).expand(-1, 5)
    values = of_u.contributions(u).detach().numpy()
    return layer, 2 / size * np.abs(np.fft.rfft(values, axis=0))


@pytest.mark.parametrize("encoding", ["unit", "ternary", "signs"])
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_spectra_are_those_of_the_fourier_transform(ansatz, encoding):
    layer, truth = series(ansatz, encoding)
    harmonics = ANSATZE[ansatz].harmonics(layer.options.weights)
    for shown in (layer, lower(layer)):
        figure = plot.spectrum(shown, [(2, 4), (0, 3), (0, 1)])
        for axes, (output, input) in zip(figure.axes, [(2, 4), (0, 3), (0, 1)], strict=True):
            heads = axes.get_lines()[0]
            assert tuple(heads.get_xdata()) == harmonics
            assert np.abs(heads.get_ydata() - truth[list(harmonics), output, input]).max() < 1e-12
    table = truth[list(harmonics)].reshape(len(harmonics), -1).T
    living = table[np.abs(table).max(1) > 1e-9]
    image = plot.spectrum(layer).axes[1].images[0].get_array()
    norms = np.linalg.norm(image, axis=1)
    assert image.shape == (14, len(harmonics))
    assert np.all(np.diff(norms) >= -1e-12)
    assert np.abs(np.sort(norms) - np.sort(np.linalg.norm(living, axis=1))).max() < 1e-12


def test_the_sum_over_a_layer_is_its_quantiles():
    layer, truth = series("pz", "ternary")
    summary = plot.spectrum(layer).axes[0]
    living = truth[1:14].reshape(13, -1)[:, np.arange(15) != 1]
    (median,) = summary.get_lines()
    assert np.allclose(median.get_ydata(), np.median(living, axis=1), atol=1e-12)
    bars = [bar.get_y() for bar in summary.patches]
    assert np.allclose(bars, np.quantile(living, 0.25, axis=1), atol=1e-12)
    assert summary.get_title() == "layer 0: 14 edges"


def test_the_variable_of_the_spectrum_is_named():
    assert plot.spectrum(random_layer("pz")).axes[0].get_xlabel() == "harmonic $k$"
    assert "u = " in plot.spectrum(random_layer("px")).axes[0].get_xlabel()


def test_spectra_are_refused_where_there_are_none():
    for encoding in ("trainable", "trainable-shared"):
        for layer in (random_layer("pz", encoding), QKAN([3, 2], encoding=encoding)):
            with pytest.raises(ValueError, match=f"encoding='{encoding}' has real frequencies, not harmonics"):
                plot.spectrum(layer)
    with pytest.raises(ValueError, match="encoding='trainable-shared' has real frequencies"):
        plot.spectrum(lower(random_layer("pz", "trainable-shared")))
    with pytest.raises(ValueError, match="readout='amplitude' is no finite Fourier series"):
        plot.spectrum(random_layer("pz", readout="amplitude"))
    with pytest.raises(ValueError, match=r"KANLinear has no spectrum: only .*; draw the edges themselves"):
        plot.spectrum(KANLinear(3, 2))
    with pytest.raises(ValueError, match=r"encoding=\(0, 0, 0\) holds no harmonics: every edge is constant"):
        plot.spectrum(QKANLinear(3, 2, encoding=(0, 0, 0)))
    dead = QKANLinear(3, 2)
    dead.mask.zero_()
    with pytest.raises(ValueError, match="layer 0 has no edges left with a harmonic"):
        plot.spectrum(dead)
    assert plot.spectrum(dead, [(0, 0)]).axes[0].get_ylim() == (0, 1)
    with pytest.raises(ValueError, match="edges must hold at least one"):
        plot.spectrum(small(), [])
    with pytest.raises(ValueError, match=r"output must be in 0\.\.3; got 4"):
        plot.spectrum(small(), [(4, 0)])
    with pytest.raises(ValueError, match=r"layer must be one of 'layers.0', 'layers.1', or its number; got 'head'"):
        plot.spectrum(small(), layer="head")


# Circuits


def gates(figure):
    """Left end, bottom and colour of every box but that of the measurement, and what is written on it."""
    *boxes, _ = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "Rectangle"]
    texts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    centre = [(box.get_x() + box.get_width() / 2, round(box.get_y() + box.get_height() / 2, 9)) for box in boxes]
    return [
        (box, next(t for at, t in texts.items() if np.allclose(at, place)))
        for box, place in zip(boxes, centre, strict=True)
    ]


def written(figure):
    return [text.replace("\n", " ").replace("$", "") for _, text in gates(figure)]


def test_circuits_by_hand():
    names = [r"\theta_{0}", r"\theta_{1}", "w_{0}x+b_{0}", r"\theta_{2}", r"\theta_{3}"]
    turned = [f"{gate} {name}" for gate, name in zip(["RZ", "RY", "RZ", "RZ", "RY"], names, strict=True)]
    assert written(plot.circuit("pz", 1)) == ["H", *turned]
    numbers = plot.circuit("rpz", 2, theta=torch.tensor([0.5, -1, 2]), weight=(1, -3), bias=(0, 0.25))
    assert written(numbers) == ["H", "RY 0.50", "RZ x", "RY -1.00", r"RZ -3\,x+0.25", "RY 2.00"]
    assert written(plot.circuit("real", 1, weight=[-1.0])) == ["H", "X", r"RY \theta_{0}", "Z", "RY -x"]
    assert written(plot.circuit("real", 1, weight=[2.5]))[-1] == r"RY 2.50\,x"
    noisy = plot.circuit(PX.with_noise(Noise(amplitude_damping=0.5, bit_flip=0.1, after="RX", readout_error=0.02)), 1)
    assert written(noisy)[2:] == [
        "RX w_{0}u+b_{0}", "damping 0.5 bit flip 0.1", r"RZ \theta_{1}", "readout 0.02 0.02"
    ]  # fmt: skip
    assert r"$u = \arccos\,\tanh x$" in [text.get_text() for text in noisy.axes[0].texts]


CIRCUITS = {
    **{f"{name}-1": lambda name=name: plot.circuit(ANSATZE[name], 1) for name in ANSATZE},
    **{f"{name}-4": lambda name=name: plot.circuit(ANSATZE[name], 4) for name in ANSATZE},
    "long": lambda: plot.circuit("pz", 20),
    "numbers": lambda: plot.circuit(
        "rpz", 4, theta=[-12.345] * 5, weight=[-10.25, -117, 1, 0.004], bias=[-10.25, 3, 0, 12345.678]
    ),
    "names": lambda: plot.circuit("rpz", 102),
    "noise": lambda: plot.circuit(PZ.with_noise(Noise(0.0333, 0.01, 0.0255, 0.125, (0.011, 0.0222))), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CIRCUITS)
def test_gates_stand_apart_and_what_is_written_fits_in_them(name):
    figure = CIRCUITS[name]()
    figure.draw_without_rendering()
    area = figure.bbox
    rows = {}
    labels = {text.get_text(): text for text in figure.axes[0].texts}
    for box, text in gates(figure):
        outer, inner = box.get_window_extent(), labels[text].get_window_extent()
        assert inner.width < outer.width
        assert inner.height < outer.height
        assert area.x0 < outer.x0 < outer.x1 < area.x1
        assert area.y0 < outer.y0 < outer.y1 < area.y1
        rows.setdefault(round(outer.y0), []).append((outer.x0, outer.x1))
    for row in rows.values():
        assert all(left[1] < right[0] for left, right in pairwise(row))
    assert max(row[-1][1] for row in rows.values()) / figure.dpi < 13
    legend = figure.axes[0].get_legend().get_window_extent()
    assert legend.y1 < min(rows)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_circuits_show_every_gate_in_order_in_the_colour_of_its_kind(ansatz):
    circuit, reps = ANSATZE[ansatz], reps_for(ansatz)
    drawn, operations = gates(plot.circuit(circuit, reps)), circuit.circuit(reps)
    assert [text.split("\n")[0] for _, text in drawn] == [op.name for op in operations]
    kinds = {op.source: box.get_facecolor() for (box, _), op in zip(drawn, operations, strict=True)}
    assert len(set(kinds.values())) == len(kinds)
    assert all(box.get_facecolor() == kinds[op.source] for (box, _), op in zip(drawn, operations, strict=True))


def test_errors_of_circuits():
    with pytest.raises(ValueError, match="ansatz must be one of pz, rpz, px, real, mix"):
        plot.circuit("py")
    with pytest.raises(ValueError, match="reps must be an integer of at least 1; got 0"):
        plot.circuit("pz", 0)
    with pytest.raises(ValueError, match="theta must hold 8 numbers, one for each of the angles; got 7"):
        plot.circuit("pz", 3, theta=torch.zeros(7))
    for name in ("weight", "bias"):
        with pytest.raises(ValueError, match=f"{name} must hold 3 numbers, one for each of the uploads; got 2"):
            plot.circuit("pz", 3, **{name: (1, 3)})
