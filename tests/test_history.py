"""The record of a run: reading, joining, and the JSON file."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkan.history import History


def record(*losses, start=1, **more):
    history = History()
    for number, loss in enumerate(losses, start=start):
        history = history.append({"epoch": number, "train_loss": loss, **more})
    return history


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=6))
def test_history_round_trip_and_best(rows):
    history = History()
    for number, (loss, top1) in enumerate(rows, start=1):
        history = history.append({"epoch": number, "test_loss": loss, "top1": top1})
    assert History.from_dict(history.to_dict()) == history
    assert history.best("test_loss")["test_loss"] == min(loss for loss, _ in rows)
    assert history.best("top1")["epoch"] == 1 + [top1 for _, top1 in rows].index(max(top1 for _, top1 in rows))
    assert history.best("top1", largest=False)["top1"] == min(top1 for _, top1 in rows)
    assert history.last["epoch"] == len(history) == len(rows)


@pytest.mark.parametrize(("name", "best"), [("penalty", 1), ("seconds", 1), ("test_loss", 1), ("top1", 2)])
def test_what_is_best_by_its_name(name, best):
    history = History().append({"epoch": 1, name: 0.1}).append({"epoch": 2, name: 0.2})
    assert history.best(name)["epoch"] == best


def test_history_is_read_only_and_tells_what_it_holds():
    history = History().append({"epoch": 1, "top1": 0.5})
    for one in (history, History.from_dict(history.to_dict()), history + history, history.without("epoch")):
        with pytest.raises(TypeError):
            one.last["top1"] = 1.0
    with pytest.raises(ValueError, match="this history holds epoch, top1; got 'top5'"):
        history.best("top5")
    with pytest.raises(ValueError, match=r"holds \['epoch', 'top1'\]; got \['epoch'\]"):
        history.append({"epoch": 2})
    with pytest.raises(ValueError, match="this history is empty: no epoch has been run"):
        _ = History().last
    assert History().to_dict() == {}


def test_arrays():
    found = record(0.5, 0.25).array("epoch")
    assert found.dtype == np.float64
    assert found.tolist() == [1.0, 2.0]


def test_curves_are_those_of_plot():
    pytest.importorskip("matplotlib")
    history = record(0.5, 0.25, top1=0.5)
    assert len(history.plot().axes) == 2
    figure = history.plot(names=["train_loss"])
    (axes,) = figure.axes
    (line,) = axes.get_lines()
    assert np.asarray(line.get_xydata()).tolist() == [[1.0, 0.5], [2.0, 0.25]]


def test_two_runs_are_counted_through():
    first, second = record(0.5, 0.4), record(0.3, 0.2, 0.1)
    joined = first + second
    assert joined.to_dict() == {"epoch": [1, 2, 3, 4, 5], "train_loss": [0.5, 0.4, 0.3, 0.2, 0.1]}
    assert second["epoch"] == [1, 2, 3]
    assert (History() + first, first + History()) == (first, first)
    with pytest.raises(TypeError):
        first + 1


def test_runs_that_measured_other_things_are_joined_by_what_both_hold():
    first, second = record(0.5, lr=0.1), record(0.4, penalty=0.2)
    with pytest.raises(ValueError, match=r"first history alone holds \['lr'\], the second alone \['penalty'\]: leave"):
        first + second
    joined = first.without("lr") + second.without("penalty")
    assert joined.to_dict() == {"epoch": [1, 2], "train_loss": [0.5, 0.4]}
    with pytest.raises(ValueError, match="this history holds epoch, train_loss, lr; got 'penalty'"):
        first.without("penalty")


def test_the_file_is_json_whatever_was_measured(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    path = tmp_path / "history.json"
    values = [0.1, math.inf, -math.inf, 1e-300]
    history = History.from_dict({"epoch": [1, 2, 3, 4], "r2": values})
    history.save(path)
    assert History.load(path) == history
    assert [type(value) for value in History.load(path)["epoch"]] == [int] * 4
    history = History.from_dict({"epoch": [1], "r2": [math.nan]})
    history.save(path)
    json.loads(path.read_text(), parse_constant=refuse)
    assert math.isnan(History.load(path).last["r2"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.json"]
    History().save(path)
    assert History.load(path) == History()


GOOD = {"format": "qkan history 1", "epochs": {"epoch": [1, 2], "train_loss": [0.2, 0.1]}}

DAMAGED = {
    "cut off": (json.dumps(GOOD)[:-9], "is no whole JSON file"),
    "bytes": (b"\xff\xfe\x00", "is no whole JSON file"),
    "nan": ('{"format": NaN}', r"is no whole JSON file \(NaN is not JSON\)"),
    "list": ([1, 2], r"is not a history \('qkan history 1'\): name a file that History.save wrote"),
    "format": (GOOD | {"format": "other"}, "is not a history"),
    "no epochs": ({"format": GOOD["format"]}, "must hold a list of numbers per quantity under 'epochs'"),
    "no lists": (GOOD | {"epochs": {"epoch": 1}}, "must hold a list of numbers per quantity under 'epochs'"),
    "lengths": (GOOD | {"epochs": {"a": [1, 2], "b": [1]}}, "must hold as many epochs of every quantity; got a 2, b 1"),
    "text": (GOOD | {"epochs": {"a": [1, "x"]}}, "must hold numbers; got 'x' among a"),
    "bool": (GOOD | {"epochs": {"a": [True]}}, "must hold numbers; got True among a"),
    "null": (GOOD | {"epochs": {"a": [None]}}, "must hold numbers; got None among a"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_other_files_are_refused(tmp_path, case):
    content, message = DAMAGED[case]
    path = tmp_path / "history.json"
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValueError, match=rf"history\.json {message}"):
        History.load(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no history at .*none\.json: name a file that History.save wrote"):
        History.load(tmp_path / "none.json")
