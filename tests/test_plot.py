"""Figures: what is drawn is what was measured."""

import sys

import pytest

from qkan.history import History
from qkan.plot import training_curves

pytest.importorskip("matplotlib")


def history(factor=1.0):
    rows = [
        {"epoch": n, "train_loss": factor / n, "seconds": 1.0, "test_loss": 2 / n, "top1": n / 4} for n in (1, 2, 3)
    ]
    found = History()
    for row in rows:
        found = found.append(row)
    return found


def lines(axes):
    return [list(line.get_ydata()) for line in axes.get_lines()]


def test_losses_share_a_panel_and_metrics_have_their_own():
    losses, top1 = training_curves(history()).axes
    assert lines(losses) == [[1, 1 / 2, 1 / 3], [2, 1, 2 / 3]]
    assert lines(top1) == [[0.25, 0.5, 0.75]]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training loss", "test loss"]
    assert (losses.get_xlabel(), top1.get_ylabel()) == ("epoch", "top-1 accuracy")


def test_several_runs_in_one_figure():
    figure = training_curves({"one": history(), "two": history(3.0)}, names=["train_loss"])
    (axes,), (legend,) = figure.axes, figure.legends
    assert lines(axes) == [[1, 1 / 2, 1 / 3], [3, 3 / 2, 1]]
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_nothing_is_written_and_pyplot_not_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = "matplotlib.pyplot" in sys.modules
    training_curves(history())
    assert list(tmp_path.iterdir()) == []
    assert ("matplotlib.pyplot" in sys.modules) is loaded


def test_errors(monkeypatch):
    for nothing in ({}, History(), {"one": History()}):
        with pytest.raises(ValueError, match="nothing to draw: give at least one history"):
            training_curves(nothing)
    with pytest.raises(ValueError, match=r"this history holds epoch, .*; got 'top9'"):
        training_curves(history(), names=["top9"])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'figures need matplotlib: pip install "qkan-torch\[plot\]"'):
        training_curves(history())
