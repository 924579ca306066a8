"""The experiments: committed results belong to their commands, the page is made from them, and every one still runs."""

import json
import shutil
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import report
import torch
from harness import RESULTS, read

MODULES = {name: import_module(name) for name in report.EXPERIMENTS}
TABLED = {name: module for name, module in MODULES.items() if getattr(module, "EXPERIMENT", None) is not None}


@pytest.mark.parametrize("name", TABLED)
def test_committed_runs_are_those_of_the_table(name):
    stored, table = read(name)["runs"], TABLED[name].EXPERIMENT.runs
    assert stored, "no run is committed"
    assert set(stored) <= set(table)
    for key, run in stored.items():
        assert run["settings"] == json.loads(json.dumps(table[key])), key
        assert run["versions"]["torch"]


def test_the_page_is_made_from_the_committed_files():
    assert (RESULTS / "README.md").read_text(encoding="utf-8") == report.page()


@pytest.mark.parametrize("name", MODULES)
def test_figures_are_committed(name):
    assert hasattr(MODULES[name], "figure") == (RESULTS / f"{name}.png").exists()


def test_no_result_holds_a_path_of_this_machine():
    for name in MODULES:
        text = (RESULTS / f"{name}.json").read_text(encoding="utf-8")
        assert not [root for root in ("/home/", "/tmp/", "/work") if root in text], name


# Every experiment, for a moment: (a run of its table, what makes it small, the input it reads).

MNIST = {"epochs": 1, "samples": 64, "test_samples": 50}
TINY = {"context": 8, "width": 16, "heads": 2, "blocks": 1, "warmup": 2, "windows": 64, "epochs": 1}
SMOKE = {
    "functions": ("trainable, 5/sinc/0", {"steps": 2, "samples": 50, "test_samples": 50}, None),
    "frequencies": ("ternary edges/ternary", {"steps": 3, "targets": 2, "restarts": [0]}, None),
    "mnist_cnn": ("QKAN([10, 10])/0", MNIST, "mnist"),
    "mnist_networks": ("QKAN [784, 10]/0", MNIST, "mnist"),
    "mnist_conv_kan": ("KAN, penalty 0.005/0", MNIST, "mnist"),
    "mnist_families": ("SimpleQKANConv/0", MNIST, "mnist"),
    "vision": ("DenseKANet circuits/0", MNIST, "mnist"),
    "cifar100_search": ("12/activation", {"epochs": 1}, "cifar100"),
    "cifar100": ("best/0", {"epochs": 1}, "cifar100"),
    "language": ("final/hqkan/0", TINY, "text"),
}


@pytest.fixture
def small_input(tmp_path):
    """Return a function that writes a small data set and gives the settings that name it."""

    def write(kind):
        random = np.random.default_rng(0)
        if kind == "text":
            (tmp_path / "text.txt").write_text("".join(random.choice(list("to be or not"), 4000)))
            return {"text": str(tmp_path / "text.txt")}
        shape, classes = ((28, 28), 10) if kind == "mnist" else ((32, 32, 3), 100)
        arrays = {}
        for part, count in (("train", 200), ("test", 100)):
            arrays[f"x_{part}"] = random.integers(0, 256, (count, *shape), dtype=np.uint8)
            arrays[f"y_{part}"] = np.arange(count) % classes
        np.savez(tmp_path / "images.npz", **arrays)
        return {"data": str(tmp_path / "images.npz")}

    return lambda kind: {} if kind is None else write(kind)


@pytest.mark.parametrize("name", [name for name in SMOKE if name in TABLED])
def test_every_experiment_runs(name, tmp_path, small_input):
    experiment = TABLED[name].EXPERIMENT
    run, small, kind = SMOKE[name]
    settings = json.loads(json.dumps(experiment.runs[run])) | small | small_input(kind)
    folder = tmp_path / "run"
    folder.mkdir()
    state = torch.get_rng_state()
    result = experiment.run(settings, folder)
    torch.set_rng_state(state)
    assert result
    json.dumps(result, allow_nan=False)


def test_every_experiment_with_a_table_is_tried():
    assert set(TABLED) <= set(SMOKE) | {"equations"}  # which needs pykan's interpreter


# The harness itself, on an experiment that counts how often a run was started.

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {experiments!r})
from harness import Experiment, main

def run(settings, folder):
    starts = folder / "starts"
    starts.write_text(str(int(starts.read_text()) + 1 if starts.exists() else 1))
    if settings.get("broken"):
        raise RuntimeError("this run is broken")
    count = int(starts.read_text())
    return {{"double": 2 * settings["x"], "third": 1 / 3, "starts": count, "given": settings["given"]}}

table = json.loads(Path("table.json").read_text())
main(Experiment("counting", table, run, packages=("numpy",), inputs={{"given": "a path"}}, results=Path()), __file__)
"""


@pytest.fixture
def counting(tmp_path):
    """Return a function that runs an experiment with these runs: (finished process, its results by name)."""
    (tmp_path / "counting.py").write_text(SCRIPT.format(experiments=str(RESULTS.parents[1] / "experiments")))

    def command(runs, *words):
        (tmp_path / "table.json").write_text(json.dumps(runs))
        done = subprocess.run(
            [sys.executable, "counting.py", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        path = tmp_path / "counting.json"
        return done, json.loads(path.read_text())["runs"] if path.exists() else {}

    return command


def test_a_finished_run_is_kept_until_its_settings_change(counting):
    runs = {"a/0": {"x": 1}, "a/1": {"x": 2}}
    done, results = counting(runs, "--given", "here")
    assert done.returncode == 0, done.stderr
    assert [results[name]["result"]["double"] for name in runs] == [2, 4]
    assert results["a/0"]["result"] == {"double": 2, "third": 0.333333, "starts": 1, "given": "here"}
    assert results["a/0"]["settings"] == {"x": 1}  # without what was given by path
    assert set(results["a/0"]["versions"]) == {"numpy", "python", "platform"}
    _, results = counting(runs | {"a/1": {"x": 5}}, "--workers", "1")
    assert [results[name]["result"]["starts"] for name in runs] == [1, 2]
    assert results["a/1"]["result"]["double"] == 10


def test_only_some_runs_are_run_and_all_finished_ones_are_collected(counting):
    runs = {"a/0": {"x": 1}, "b/0": {"x": 2}}
    assert set(counting(runs, "--only", "a/*")[1]) == {"a/0"}
    assert set(counting(runs, "--only", "b/*")[1]) == {"a/0", "b/0"}
    assert set(counting({"b/0": {"x": 2}}, "--only", "none")[1]) == {"b/0"}
    done, _ = counting(runs | {"c/0": {"x": 3}}, "--list")
    assert done.stdout.split() == ["done", "a/0", "done", "b/0", "open", "c/0"]


def test_missing_runs_alone_are_run_where_the_others_are_committed(counting, tmp_path):
    runs = {"a/0": {"x": 1}, "a/1": {"x": 2}}
    counting(runs, "--only", "a/0")
    shutil.rmtree(tmp_path / "runs")  # as on a fresh checkout
    done, results = counting(runs, "--missing")
    assert done.stdout.split() == ["done", "a/1"]
    assert set(results) == {"a/0", "a/1"}
    done, _ = counting(runs)
    assert "a/0" in done.stdout


def test_a_broken_run_is_told_and_leaves_the_others(counting):
    done, results = counting({"a/0": {"x": 1}, "b/0": {"x": 2, "broken": True}})
    assert set(results) == {"a/0"}
    assert done.returncode == 1
    assert "1 of 2 runs failed: see the .log files in runs/counting" in done.stderr
    assert "FAILED b/0" in done.stdout
