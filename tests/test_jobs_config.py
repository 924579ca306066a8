"""Configurations of jobs: read from TOML, and refused with the file and the key wherever they are wrong."""

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkan.jobs.config import Config, Model, read
from qkan.jobs.sweep import Sweep
from qkan.jobs.train import add_command
from qkan.jobs.typed import from_toml, plain

WHOLE = """
out = "runs/a"
[data]
source = "npz"
path = "a.npz"
mean = [0.5, 0.4, 0.3]
[augment]
crop = "pad"
flip = true
mixup = 1
[model]
name = "KAN"
options = {hidden = [4, 5], basis = "fourier"}
[train]
epochs = 3
metrics = ["top1"]
"""


def write(folder, text):
    path = folder / "job.toml"
    path.write_text(text)
    return path


def test_a_file_gives_typed_values(tmp_path):
    config = read(write(tmp_path, WHOLE))
    assert config.out == "runs/a"
    assert config.data.mean == (0.5, 0.4, 0.3)
    assert config.augment.mixup == 1.0
    assert type(config.augment.mixup) is float
    assert config.model == Model("KAN", {"hidden": [4, 5], "basis": "fourier"})
    assert config.train.metrics == ("top1",)
    assert config.optimizer == Config().optimizer
    json.dumps(plain(config))


def test_keys_can_be_overridden(tmp_path):
    changes = ["train.epochs=9", "model.name=mlp", "optimizer.options.weight_decay=0.1", "data.mean=[0.1]"]
    config = read(write(tmp_path, WHOLE), changes)
    assert config.train.epochs == 9
    assert config.model.name == "mlp"
    assert config.optimizer.options == {"weight_decay": 0.1}
    assert config.data.mean == (0.1,)


WRONG = {
    "train = 3": "train must be a table; got 3",
    "[train]\nepoch = 3": r"unknown key train\.epoch; did you mean 'epochs'\?",
    "[trains]": r"unknown key trains; did you mean 'train'\?",
    "[train]\nepochs = '3'": r"train\.epochs must be an integer; got '3'",
    "[train]\nepochs = true": r"train\.epochs must be an integer; got True",
    "[train]\nepochs = 3.0": r"train\.epochs must be an integer; got 3\.0",
    "[train]\nepochs = 0": r"train\.epochs must be between 1 and",
    "[optimizer]\nlr = nan": r"optimizer\.lr must be a finite number",
    "[optimizer]\nlr = -1": r"optimizer\.lr must be larger than 0; got -1",
    "[optimizer]\noptions = {a = inf}": r"optimizer\.options\.a must be a finite number",
    "[optimizer]\noptions = {a = 1979-05-27}": r"optimizer\.options\.a must be a finite number, a text",
    "[optimizer]\noptions = 3": r"optimizer\.options must be a table",
    "[schedule]\nkind = 'cosin'": r"schedule\.kind must be one of constant, cosine, polynomial; got 'cosin'",
    "[schedule]\nwarmup = 11": r"schedule\.warmup must be at most train\.epochs, 10; got 11",
    "[augment]\nerase = 1.5": r"augment\.erase must be between 0 and 1; got 1\.5",
    "[augment]\nflip = 'yes'": r"augment\.flip must be true or false; got 'yes'",
    "[data]\nmean = 0.5": r"data\.mean must be a list; got 0\.5",
    "[data]\nstd = [1.0, 0]": r"data\.std\[1\] must be larger than 0; got 0",
    "[data]\nstd = ['1']": r"data\.std\[0\] must be a number; got '1'",
    "[data]\nsource = 'npz'": r"data\.path is missing",
    "[data]\nsource = 'torchvision'": r"data\.name is missing",
    "[data]\nsource = 'folder'\npath = 'x'": r"data\.image_size is missing",
    "[data]\nsource = 'datasets'": r"data\.name is missing",
    "[data]\npath = \"a\\u0000b\"": r"data\.path must be a text without zero bytes",
    "out = ''": "out must be the name of a folder",
    "[train]\naverage_decay = 1": r"train\.average_decay must be larger than 0 and smaller than 1; got 1",
    "out = ": "is no TOML file",
    "\udcff": "is no TOML file",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_with_the_file_and_the_key(tmp_path, text):
    path = tmp_path / "job.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=rf"job\.toml.*{WRONG[text]}"):
        read(path)


def test_a_missing_file_and_bad_changes_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"none\.toml cannot be read \(No such file"):
        read(tmp_path / "none.toml")
    path = write(tmp_path, WHOLE)
    for change, match in [
        ("train.epochs", "must be KEY=VALUE"), ("=3", "must be KEY=VALUE"), ("out.a=3", "out is no table"),
        ("train..epochs=3", "must be KEY=VALUE"), ("train.epochs=", r"toml: train\.epochs must be an integer; got ''"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            read(path, [change])


SWEEP = "config = 'a.toml'\n[[parameters]]\nkey = 'optimizer.lr'\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("config = 'a.toml'", "parameters is missing"),
        ("config = 'a.toml'\nparameters = []", "parameters must be keys, at least one"),
        (SWEEP, r"parameters\[0\]\.key 'optimizer\.lr' must have low and high, or choices"),
        (SWEEP + "low = 1\nhigh = 2\nchoices = ['a']", "must have low and high, or choices"),
        (SWEEP + "low = 2\nhigh = 1", "low must be smaller than high"),
        (SWEEP + "low = 0\nhigh = 1\nlog = true", "larger than 0 with log"),
        (SWEEP + "low = 0.5\nhigh = 2\ninteger = true", "must be integers; got 0.5"),
    ],
)
def test_sweeps_are_refused_with_the_key(tmp_path, text, match):
    with pytest.raises(ValueError, match=rf"job\.toml: .*{match}"):
        from_toml(Sweep, write(tmp_path, text))


values = st.recursive(
    st.none().map(lambda _: "x") | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
known = sorted(f"{table}.{key}" for table, part in asdict(Config()).items() if isinstance(part, dict) for key in part)
keys = st.sampled_from(known) | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return (
        json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")
        if not isinstance(value, float)
        else repr(value)
    )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(keys, values, max_size=4))
def test_any_values_give_a_configuration_or_name_the_key(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "job.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in content.items()), encoding="utf-8")
    told = _told(path)
    if told is not None:
        named = [key.split(".")[-1] for key in [*content, "path", "name", "image_size", "warmup", "TOML"]]
        assert told.startswith(str(path))
        assert any(name in told for name in named), told


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_any_bytes_give_a_configuration_or_an_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "job.toml"
    path.write_bytes(content)
    told = _told(path)
    assert told is None or told.startswith(str(path))


def _told(path):
    """Return the error of a file, None for one that is read."""
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return None


def test_the_command_knows_its_options():
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers())
    options = parser.parse_args(["train", "a.toml", "--set", "a=1", "--set", "b=2", "--processes", "2"])
    assert options.config == Path("a.toml")
    assert options.changes == ["a=1", "b=2"]
    assert options.processes == 2


def _examples():
    """The configurations of the page, by what they are."""
    text = (Path(__file__).parent.parent / "docs" / "train.md").read_text()
    return dict(re.findall(r"<!-- a (\w+) -->\n```toml\n(.*?)```", text, re.DOTALL))


def test_the_page_shows_every_key_and_its_job_runs(tmp_path):
    for library in ("accelerate", "torchmetrics", "torchvision", "safetensors"):
        pytest.importorskip(library)
    from qkan.jobs.run import run

    text = _examples()["job"]
    shown = {key.strip() for key in re.findall(r"^#? ?(\w+) = ", text, re.MULTILINE)}
    assert shown == {"out"} | {key.split(".")[1] for key in known}
    changes = [f"out={tmp_path / 'out'}", "data.samples=32", "train.device=cpu", "train.threads=1"]
    history = run(read(write(tmp_path, text), changes)).history
    assert len(history) == 2
    assert {"train_loss", "penalty", "lr", "test_loss", "top1", "top5"} <= set(history.names)


def test_the_study_of_the_page_and_the_files_beside_it_are_read():
    folder = Path(__file__).parent.parent / "configs"
    for path in folder.glob("*.toml"):
        if path.name.startswith("sweep"):
            study = from_toml(Sweep, path)
            assert read(folder / study.config, [f"{part.key}={(part.choices or (1,))[0]}" for part in study.parameters])
        else:
            assert read(path).model.name
    assert {"digits.toml", "imagenet_vgg_kagn_bn_11v4.toml", "imagenet_vgg_qkan_bn_11v4.toml"} <= {
        path.name for path in folder.glob("*.toml")
    }


def test_the_study_of_the_page_is_read(tmp_path):
    study = from_toml(Sweep, write(tmp_path, _examples()["study"]))
    assert study.largest
    assert [part.key for part in study.parameters] == ["optimizer.lr", "optimizer.name"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagenet_vgg_kagn_bn_11v4", "imagenet_vgg_qkan_bn_11v4"])
def test_the_jobs_of_imagenet_pass_a_dry_run(name, capsys):
    for library in ("accelerate", "torchmetrics", "torchvision", "safetensors", "qkan.models.vision"):
        pytest.importorskip(library)
    from qkan.cli import main

    path = Path(__file__).parent.parent / "configs" / f"{name}.toml"
    words = ["--set", "train.device=cpu", "--set", "track.tensorboard=false"]
    assert main(["train", str(path), "--dry-run", *words]) == 0
    assert "a dry run on images [3, 224, 224] took" in capsys.readouterr().out
