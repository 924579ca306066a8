"""`qkan reproduce` from the outside: files, table, errors in one line, and a run killed half-way."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from qkan.checkpoint import load
from qkan.cli import main

pytest.importorskip("safetensors")

SAMPLES = 60


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """A small data set in the shape of MNIST whose labels can be seen: the brightness of the image."""
    random, content = np.random.default_rng(0), {}
    for part in ("train", "test"):
        labels = random.integers(0, 10, SAMPLES)
        noise = random.integers(0, 20, (SAMPLES, 28, 28))
        content |= {f"x_{part}": (25 * labels[:, None, None] + noise).astype(np.uint8), f"y_{part}": labels}
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, **content)
    return path


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def words(npz, out, **more):
    options = {"data_set": "mnist", "data": npz, "out": out, "epochs": 3, "batch_size": 20, "threads": 1} | more
    return ["reproduce", *(str(w) for k, v in options.items() for w in (f"--{k.replace('_', '-')}", v))]


def results(out):
    return json.loads((out / "results.json").read_text())


def without_seconds(found):
    history = {name: values for name, values in found["history"].items() if not name.endswith("seconds")}
    return {"settings": found["settings"], "parameters": found["parameters"], "history": history}


def same_weights(one, other):
    first, second = (torch.load(out / "checkpoint.pt", weights_only=True)["model"] for out in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_writes_what_it_says(npz, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(words(npz, out, model="hqkan", reps=2, encoding="1,3", ansatz="rpz")) == 0
    found = results(out)
    assert found["settings"] | {
        "data_set": "mnist", "data": "small.npz", "model": "hqkan", "epochs": 3, "batch_size": 20, "seed": 0,
        "lr": 1e-3, "device": "cpu", "threads": 1,
        "core": {"ansatz": "rpz", "reps": 2, "encoding": [1, 3], "readout": "expectation", "solver": "auto"},
    } == found["settings"]  # fmt: skip
    assert found["versions"]["torch"] == torch.__version__
    head = (256 * 8 + 8) + 8 * 4 * (3 + 2) + (4 * 10 + 10)  # rpz: R + 1 angles and R biases per edge
    assert found["parameters"] == {"total": 55744 + head, "features": 55744, "head": head, "core": 160}
    names = {"epoch", "train_loss", "test_loss", "top1", "top5", "seconds", "test_seconds"}
    assert set(found["history"]) == set(found["best"]) == set(found["last"]) == names
    assert found["history"]["epoch"] == [1, 2, 3]
    assert found["best"]["top1"] == max(found["history"]["top1"])
    assert found["last"]["test_loss"] == found["history"]["test_loss"][-1]
    printed, progress = capsys.readouterr()
    assert "epoch 3/3: 100%" in progress
    assert "selects on the test set" in printed
    assert f"{100 * found['last']['top1']:.2f}" in printed
    assert str(tmp_path) not in (out / "results.json").read_text()

    # the network that was written is the one that was measured
    x = torch.from_numpy(np.load(npz)["x_test"]).float().div(127.5).sub(1)
    x = torch.nn.functional.pad(x, [2] * 4, value=-1.0).unsqueeze(1)
    right = load(out / "model.safetensors")(x).argmax(dim=1) == torch.from_numpy(np.load(npz)["y_test"])
    assert right.double().mean().item() == pytest.approx(found["last"]["top1"], abs=1e-12)


def test_the_trained_core_is_checked_against_pennylane(npz, tmp_path, capsys):
    pytest.importorskip("pennylane")
    assert main(words(npz, tmp_path, model="hqkan", epochs=1)) == 0
    check = results(tmp_path)["check"]
    assert check["passed"] is True
    assert {(row["solver"], row["dtype"]) for row in check["rows"]} == {
        (solver, dtype) for solver in ("statevector", "bloch", "fourier") for dtype in ("float32", "float64")
    }
    assert all(row["value"] <= row["tolerance"] for row in check["rows"])
    assert "every edge: passed" in capsys.readouterr().out


def test_a_core_that_fails_the_check_is_written_down_and_told(npz, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pennylane")
    from qkan.solvers import Bloch

    right = Bloch.edges
    monkeypatch.setattr(Bloch, "edges", lambda *a, **k: right(*a, **k) + 1e-3)
    assert main(words(npz, tmp_path, model="hqkan", epochs=1)) == 1
    assert results(tmp_path)["check"]["passed"] is False
    assert "every edge: FAILED" in capsys.readouterr().out


def test_without_pennylane_the_check_is_said_to_be_skipped(npz, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pennylane", None)
    assert main(words(npz, tmp_path, model="hqkan", epochs=1)) == 0
    assert 'pip install "qkan-torch[pennylane]"' in results(tmp_path)["check"]["skipped"]
    assert "not checked" in capsys.readouterr().out


def test_classical_models_have_nothing_to_check(npz, tmp_path):
    assert main(words(npz, tmp_path, model="mlp", epochs=1)) == 0
    assert "check" not in results(tmp_path)


def test_it_learns(npz, tmp_path):
    assert main(words(npz, tmp_path, model="mlp", epochs=25, lr=3e-3)) == 0
    assert results(tmp_path)["best"]["top1"] > 0.5


def test_curves_are_drawn_when_matplotlib_is_there(npz, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    assert main(words(npz, tmp_path / "with", model="mlp", epochs=1)) == 0
    assert (tmp_path / "with" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "curves.png" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(words(npz, tmp_path / "without", model="mlp", epochs=1)) == 0
    assert not (tmp_path / "without" / "curves.png").exists()
    assert 'no curves.png: figures need matplotlib: pip install "qkan-torch[plot]"' in capsys.readouterr().out


def test_a_killed_process_resumes_bit_for_bit(npz, tmp_path):
    """Kill -9 at whatever moment after the first checkpoint, then compare with a run that was left alone."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = {"model": "hqkan-44", "epochs": 25}
    assert main(words(npz, whole, **arguments)) == 0
    command = [sys.executable, "-m", "qkan", *words(npz, killed, **arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    epochs = len(torch.load(killed / "checkpoint.pt", weights_only=True)["history"]["epoch"])
    assert 1 <= epochs < 25
    assert not (killed / "results.json").exists()
    assert main([*words(npz, killed, **arguments), "--resume"]) == 0
    assert without_seconds(results(killed)) == without_seconds(results(whole))
    assert same_weights(killed, whole)


def test_more_epochs_continue_a_finished_run(npz, tmp_path):
    assert main(words(npz, tmp_path / "long", model="linear")) == 0
    assert main(words(npz, tmp_path / "short", model="linear", epochs=1)) == 0
    assert main([*words(npz, tmp_path / "short", model="linear"), "--resume"]) == 0
    assert without_seconds(results(tmp_path / "short")) == without_seconds(results(tmp_path / "long"))


def test_resume_starts_where_nothing_was_written_yet(npz, tmp_path):
    assert main([*words(npz, tmp_path, model="silu", epochs=1), "--resume"]) == 0
    assert len(results(tmp_path)["history"]["epoch"]) == 1


def test_the_seed_draws_weights_and_order_and_leaves_global_state(npz, tmp_path):
    before = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        assert main(words(npz, tmp_path / name, model="mlp", epochs=1, batch_size=SAMPLES, seed=seed)) == 0
    assert torch.equal(torch.get_rng_state(), before)
    a, b, c = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in "abc")
    assert torch.equal(a["generator"], c["generator"])
    assert not torch.equal(a["generator"], b["generator"])
    # one step of Adam moves a weight by at most 1e-3: a larger difference is one of the start
    assert (a["model"]["head.0.weight"] - b["model"]["head.0.weight"]).abs().max() > 0.01
    assert same_weights(tmp_path / "a", tmp_path / "c")


def test_a_run_is_not_overwritten(npz, tmp_path, capsys):
    assert main(words(npz, tmp_path, model="mlp", epochs=1)) == 0
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    capsys.readouterr()
    assert main(words(npz, tmp_path, model="mlp", epochs=1)) == 2
    message = capsys.readouterr().err
    assert re.fullmatch(r"qkan: .* already holds a run \(checkpoint.pt, results.json\): .*--resume, .*--out\n", message)
    assert main([*words(npz, tmp_path, model="mlp", epochs=2, lr=0.1), "--resume"]) == 2
    assert re.search(r"other settings .*lr: was 0\.001, now 0\.1.*: use the same, or start", capsys.readouterr().err)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


WRONG = {
    "no file": ({"data": "nowhere.npz"}, r"no file at nowhere\.npz"),
    "digits with a path": ({"data_set": "digits"}, "digits come with scikit-learn and take no path"),
    "wrong shape": (
        {"data_set": "cifar100"},
        r"x_train must be uint8 \[samples, 32, 32, 3\]; got uint8 \[60, 28, 28\]",
    ),
    "core option": ({"model": "mlp", "reps": 2}, "model 'mlp' has no quantum core to take reps: leave these"),
    "ansatz": ({"ansatz": "xyz"}, "ansatz must be .*xyz"),
    "encoding": ({"encoding": "1,2"}, "encoding must .*3"),
    "readout": ({"readout": "none"}, "readout must .*none"),
    "solver": ({"solver": "fast"}, "solver must .*fast"),
    "device": ({"device": "xpu:9"}, "--device xpu:9 cannot be used .*: use cpu"),
    "divergence": ({"lr": 1e30, "model": "mlp"}, "training diverged in epoch 1 .*: lower the learning rate"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_are_one_line_and_leave_no_results(npz, tmp_path, capsys, case):
    change, message = WRONG[case]
    assert main(words(npz, tmp_path / "run", **change)) == 2
    printed, error = capsys.readouterr()
    line = error.splitlines()[-1]
    assert printed == ""
    assert line.startswith("qkan: ")
    assert re.search(message, line)
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "kan"}, "argument --model: invalid choice: 'kan'"),
        ({"epochs": 0}, "argument --epochs: must be an integer of at least 1; got 0"),
        ({"batch_size": "x"}, "argument --batch-size: must be an integer of at least 1; got x"),
        ({"steps": 3}, "unrecognized arguments: --steps 3"),
    ],
)
def test_wrong_words_show_the_usage(npz, tmp_path, capsys, change, message):
    with pytest.raises(SystemExit) as stopped:
        main(words(npz, tmp_path, **change))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_interruption_is_told_without_a_traceback(npz, tmp_path, capsys, monkeypatch):
    def stop(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("qkan.reproduce.fit", stop)
    assert main(words(npz, tmp_path, model="mlp")) == 130
    assert capsys.readouterr().err == "qkan: stopped\n"


def test_the_help_says_the_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    text = capsys.readouterr().out
    assert "default: digits 15, mnist 20, cifar100 50" in text
    assert "default: hqkan-44" in text
    assert "None" not in text
