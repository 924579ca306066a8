"""Checkpoints of jobs: whole or not there, and refused with the file and the key when they are damaged."""

import json
import random
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_jobs import QUICK, config

from qkan.ansatz import H
from qkan.jobs.folder import Folder
from qkan.jobs.run import run

CONTENT = {"model": {"w": torch.ones(3)}, "history": {}, "list": [torch.zeros(2), 1], "nested": {"a": {1: "x"}}}
REPOSITORY = Path(__file__).parent.parent


def written(folder, times=1):
    store = Folder(folder / "c")
    for _ in range(times):
        store.write(CONTENT)
    return store


def test_what_is_written_is_read(tmp_path):
    content = written(tmp_path).read()
    assert torch.equal(content["model"]["w"], torch.ones(3))
    assert content["nested"] == {"a": {1: "x"}}
    assert torch.equal(content["list"][0], torch.zeros(2))


def test_the_last_two_checkpoints_are_kept(tmp_path):
    store = written(tmp_path, 4)
    assert sorted(path.name for path in store.path.iterdir()) == ["00000003", "00000004"]
    assert str(store) == str(store.path / "00000004")
    assert str(Folder(tmp_path / "none")) == str(tmp_path / "none")


def test_no_checkpoint_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint in .*none: start the run without resume"):
        Folder(tmp_path / "none").read()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    store = written(tmp_path)

    def full(content, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        OSError, match=r"no checkpoint could be written to .*No space left.*00000001 is kept: make room"
    ):
        store.write(CONTENT)
    monkeypatch.undo()
    assert [path.name for path in store.path.iterdir()] == ["00000001"]
    assert store.read()["history"] == {}


LIMIT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from test_jobs_folder import CONTENT
import torch
from qkan.jobs.folder import Folder
store = Folder(sys.argv[2])
store.write(CONTENT)
for size in (200, 1500):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        store.write({**CONTENT, "model": {"w": torch.ones(30)}, "more": torch.zeros(10000)})
    except OSError as error:
        print(error)
print(len(list(store.path.iterdir())), torch.equal(store.read()["model"]["w"], torch.ones(3)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of the size of files")
def test_a_disk_that_takes_no_more_leaves_the_checkpoint_before(tmp_path):
    words = [sys.executable, "-c", LIMIT, str(Path(__file__).parent), str(tmp_path / "c")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    first, second, last = done.stdout.splitlines()
    for told in (first, second):
        assert "no checkpoint could be written to" in told
        assert "00000001 is kept: make room" in told
    assert last == "1 True"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    (checkpoint,) = written(folder).path.iterdir()
    return {path.name: path.read_bytes() for path in checkpoint.iterdir()}


FILES = ("model.safetensors", "state.pt", "manifest.json")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FILES), st.sampled_from(["cut", "flip", "drop"]), st.integers(0, 10**6))
def test_any_damage_is_told_with_the_file(tmp_path_factory, sound, name, way, place):
    folder = tmp_path_factory.mktemp("damaged") / "00000001"
    folder.mkdir()
    for other, content in sound.items():
        (folder / other).write_bytes(content)
    content = bytearray(sound[name])
    if way == "cut":
        (folder / name).write_bytes(content[: place % len(content)])
    elif way == "flip":
        content[place % len(content)] ^= 1 << (place % 8)
        (folder / name).write_bytes(content)
    else:
        (folder / name).unlink()
    with pytest.raises(ValueError, match=r"00000001.(model\.safetensors|state\.pt|manifest\.json) .*remove .*00000001"):
        Folder(folder.parent).read()


def test_a_checkpoint_executes_nothing(tmp_path):
    import hashlib
    import pickle

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    store = written(tmp_path)
    folder = store.newest()
    (folder / "state.pt").write_bytes(pickle.dumps({"history": Evil()}))
    listed = json.loads((folder / "manifest.json").read_text())
    listed["files"]["state.pt"] = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match=r"state\.pt is damaged or no checkpoint"):
        store.read()
    assert not (tmp_path / "executed").exists()


def test_a_job_goes_on_from_a_checkpoint_within_an_epoch(tmp_path):
    train = replace(QUICK, checkpoint_steps=1, average_decay=0.5)
    whole = run(config(tmp_path / "a", train=train))
    run(config(tmp_path / "b", train=train))
    newest = Folder(tmp_path / "b" / "checkpoints").newest()
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    again = run(config(tmp_path / "b", train=train), resume=True)
    assert again.history["train_loss"] == whole.history["train_loss"]
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_killed_jobs_damaged_checkpoints_and_broken_configurations(tmp_path):
    words = ["benchmarks/robustness.py", "--kills", "3", "--checkpoints", "90", "--configs", "150", "--seed", "7"]
    done = subprocess.run(
        [sys.executable, *words, "--json", str(tmp_path / "r.json")], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["kills"]["identical"] is True
    assert not found["checkpoints"]["not told"]
    assert not found["configs"]["not told"]


# ---- ansätze and inputs


circuits = st.lists(st.sampled_from(["RX()", "RY()", "RZ()", "X", "Z", "H", "E"]), min_size=0, max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(circuits, st.integers(1, 3), st.sampled_from([0, 1, 3]), st.sampled_from([0.0, 1.0, 1e30, float("nan")]))
def test_any_circuit_gives_a_finite_result_or_a_clear_error(gates, reps, rows, size):
    from qkan import Ansatz, QKANLinear
    from qkan.ansatz import RX, RY, RZ, X, Z

    known = {"RX()": RX(), "RY()": RY(), "RZ()": RZ(), "X": X, "Z": Z, "H": H, "E": RZ("encoding")}
    draw = random.Random(0)
    try:
        ansatz = Ansatz("fuzz", (H,), tuple(known[gate] for gate in gates), (RY(),))
        layer = QKANLinear(3, 2, reps=reps, ansatz=ansatz, dtype=torch.float64)
    except ValueError as error:
        told = str(error)
        assert "block" in told or "encoding" in told or "upload" in told, told
        return
    x = torch.tensor([[draw.uniform(-size, size) if size == size else size for _ in range(3)] for _ in range(rows)])
    y = layer(x.double().reshape(rows, 3))
    assert y.shape == (rows, 2)
    assert size != size or (y.isfinite() & (y.abs() <= 3 + 1e-9)).all()
