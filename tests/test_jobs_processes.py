"""Jobs in two processes against one, the commands, and studies."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qkan.cli import main
from qkan.history import History
from qkan.jobs.sweep import Parameter, Sweep, sweep

for library in ("accelerate", "torchmetrics", "torchvision", "safetensors"):
    pytest.importorskip(library)

REPOSITORY = Path(__file__).parent.parent
JOB = """
out = "{out}"
[data]
source = "generated"
image_size = 32
samples = 45
classes = 3
[model]
name = "hqkan-44"
[schedule]
kind = "cosine"
warmup = 0.5
[penalty]
l1 = 1e-3
[train]
epochs = 2
batch_size = 11
clip_norm = 1.0
precision = "double"
checkpoint_steps = 2
device = "cpu"
"""


def job(folder, name="a", text=JOB):
    path = folder / f"{name}.toml"
    path.write_text(text.format(out=folder / name))
    return str(path)


def qkan(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "qkan", *map(str, words)], capture_output=True, text=True, cwd=REPOSITORY, **more
    )


def same_job(one, other):
    """The largest differences of two jobs: of their weights, and of what they measured."""
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    weights = max((first[name] - second[name]).abs().max().item() for name in first)
    histories = [History.load(folder / "history.json") for folder in (one, other)]
    names = [name for name in histories[0].names if not name.endswith("seconds")]
    measured = max(abs(a - b) for name in names for a, b in zip(*(h[name] for h in histories), strict=True))
    return weights, measured


# ---- one process


def test_the_command_trains_and_goes_on(tmp_path, capsys):
    path = job(tmp_path)
    assert main(["train", path, "--set", "model.name=mlp"]) == 0
    assert "mlp: 130" in capsys.readouterr().out
    assert main(["train", path, "--set", "model.name=mlp"]) == 2
    assert "already holds a job: go on with --resume" in capsys.readouterr().err
    assert main(["train", path, "--set", "model.name=mlp", "--set", "train.epochs=2", "--resume"]) == 0
    assert "written: " in capsys.readouterr().out


def test_the_command_tells_errors_in_one_line(tmp_path, capsys):
    assert main(["train", job(tmp_path), "--set", "train.epoch=1"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "a.toml: unknown key train.epoch; did you mean 'epochs'?" in told
    assert not (tmp_path / "a").exists()


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    assert main(["train", job(tmp_path), "--dry-run", "--set", "model.name=linear"]) == 0
    assert "a dry run on images [3, 32, 32] took" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a.toml"]


# ---- two processes


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert main(["train", job(folder)]) == 0
    return folder / "a"


WAYS = {"ddp": [], "fsdp, in parts": ["train.strategy=fsdp", "train.accumulate=2"]}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_are_one(tmp_path, alone, way):
    """45 samples in batches of 11: the last batch is a single sample, which one of the processes reads in vain."""
    done = qkan("train", job(tmp_path), "--processes", 2, *(word for key in WAYS[way] for word in ("--set", key)))
    assert done.returncode == 0, done.stderr
    weights, measured = same_job(alone, tmp_path / "a")
    assert weights < 1e-12
    assert measured < 1e-7  # torchmetrics counts in single precision
    # and one process goes on from the middle of the last epoch of two
    newest = max((tmp_path / "a" / "checkpoints").iterdir())
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    assert main(["train", str(tmp_path / "a.toml"), "--resume"]) == 0
    assert same_job(alone, tmp_path / "a")[0] < 1e-12


@pytest.mark.slow
def test_the_launcher_of_torch_starts_the_processes_of_a_job(tmp_path, alone):
    """It is also what `accelerate launch --multi_gpu` runs."""
    words = ["--standalone", "--nproc_per_node", "2", "-m", "qkan", "train", job(tmp_path)]
    launched = [sys.executable, "-m", "torch.distributed.run", *words]
    done = subprocess.run(launched, capture_output=True, text=True, cwd=REPOSITORY, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a" / "results.json").read_text())["processes"] == 2
    assert same_job(alone, tmp_path / "a")[0] < 1e-12


BUILDER = """
import os, signal, torch
from torch import nn

class Dying(nn.Linear):
    calls = 0
    def forward(self, x):
        Dying.calls += 1
        if Dying.calls == 7 and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            {how}
        return super().forward(x)

def build():
    return nn.Sequential(nn.Flatten(), Dying(3 * 32 * 32, 3))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "qkan: process 1 of 2 was ended by SIGKILL, and the job with it; "),
        ("raise KeyError('lost')", "qkan: KeyError: 'lost'"),
    ],
    ids=["killed", "failed"],
)
def test_a_process_that_dies_ends_the_job_with_one_error(tmp_path, how, told):
    import os

    (tmp_path / "dying.py").write_text(BUILDER.format(how=how))
    words = ["train", job(tmp_path), "--processes", 2, "--trust-code", "--set", "model.name=dying:build"]
    path = os.pathsep.join([str(REPOSITORY), str(tmp_path)])
    done = qkan(*words, env={**os.environ, "PYTHONPATH": path}, timeout=200)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line and "batch/s" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(told)
    if "SIGKILL" in told:
        assert lines[0].endswith("is kept: go on with --resume")
        assert (
            main(["train", words[1], "--resume", "--trust-code", "--set", "model.name=dying:build"]) == 2
        )  # no module


# ---- studies


BASE = """
[data]
source = "generated"
image_size = 4
samples = 12
channels = 1
classes = 2
[model]
name = "QKAN"
[train]
epochs = 2
batch_size = 6
device = "cpu"
"""


def study(folder, **more):
    (folder / "base.toml").write_text(BASE)
    parameters = (
        Parameter("optimizer.lr", 1e-4, 1e-1, log=True),
        Parameter("model.options.reps", 1, 3, integer=True),
        Parameter("model.options.hidden", choices=("[2]", "[-2]")),
    )
    return Sweep("base.toml", parameters, str(folder / "out"), **({"trials": 4} | more))


@pytest.fixture
def _quiet():
    pytest.importorskip("optuna")
    pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("_quiet")
@pytest.mark.filterwarnings("ignore")  # of Optuna, for its journal and its samplers
def test_a_study_is_a_table_and_a_plot_and_goes_on(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    rows = sweep(study(whole), whole)
    assert len(rows) == 4
    values = [row["value"] for row in rows if row["value"] is not None]
    assert values == sorted(values)
    failed = [row for row in rows if row["value"] is None]
    assert all(row["model.options.hidden"] == "[-2]" and "must be" in row["error"] for row in failed)
    assert len(failed) + len(values) == 4
    with open(whole / "out" / "trials.csv") as file:
        assert [row["trial"] for row in csv.DictReader(file)] == [row["trial"] for row in rows]
    assert json.loads((whole / "out" / "results.json").read_text())["trials"] == rows
    best = History.load(whole / "out" / rows[0]["trial"] / "history.json")
    assert rows[0]["value"] == min(best["test_loss"])
    assert (whole / "out" / "trials.png").read_bytes().startswith(b"\x89PNG")
    sweep(study(parts, trials=2), parts)
    again = sweep(study(parts), parts)
    assert [{**row} for row in again] == rows
    with pytest.raises(ValueError, match="holds a study of other parameters or another metric"):
        sweep(study(parts, metric="top1"), parts)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_trial_runs_again(tmp_path, monkeypatch):
    import qkan.jobs.sweep as module

    whole = sweep(study(tmp_path), tmp_path)
    cut, calls, run = tmp_path / "cut", iter(range(99)), module.run
    cut.mkdir()

    def interrupted(config, **more):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return run(config, **more)

    monkeypatch.setattr(module, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(study(cut), cut)
    rows = sweep(study(cut), cut)
    assert len(rows) == 4
    interrupted_trial = next(row for row in rows if row["trial"] == "trial-0001")
    wanted = next(row for row in whole if row["trial"] == "trial-0001")
    assert interrupted_trial == wanted


@pytest.mark.usefixtures("_quiet")
@pytest.mark.filterwarnings("ignore")
def test_the_command_runs_a_study(tmp_path, capsys):
    (tmp_path / "base.toml").write_text(BASE)
    text = f"config = 'base.toml'\nout = '{tmp_path / 'out'}'\ntrials = 1\n[[parameters]]\nkey = 'optimizer.lr'\n"
    (tmp_path / "sweep.toml").write_text(text + "low = 0.1\nhigh = 0.2\n")
    assert main(["sweep", str(tmp_path / "sweep.toml")]) == 0
    assert "trial-0000" in capsys.readouterr().out


def test_torchs_own_generator_is_left_as_it_was(tmp_path):
    before = torch.get_rng_state()
    assert main(["train", job(tmp_path), "--set", "model.name=linear"]) == 0
    assert torch.equal(torch.get_rng_state(), before)
