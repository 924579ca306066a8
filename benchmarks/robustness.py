"""Claim: nothing is lost when a job is killed, and no damaged checkpoint or broken configuration gets through.

    python benchmarks/robustness.py --json docs/results/robustness.json

Jobs killed at random moments end with the weights and the history of one left alone, bit for bit. Every damaged
checkpoint and every broken configuration is a `ValueError` that names the file and the key, and changes nothing.
"""

import argparse
import copy
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from qkan.jobs.config import read
from qkan.jobs.run import run

Row = dict[str, Any]

JOB = """
out = "{out}"

[data]
source = "generated"
image_size = 8
samples = {samples}
classes = 4

[augment]
crop = "pad"
padding = 1
flip = true
policy = "randaugment"
mixup = 0.4
cutmix = 1.0
label_smoothing = 0.1

[model]
name = "SimpleQKANConv"
options = {{channels = [4, 6], halving = [1], groups = 1, dropout = 0.2}}

[optimizer]
name = "AdamW"
lr = 0.01
options = {{weight_decay = 0.05}}

[schedule]
kind = "cosine"
warmup = 0.5

[penalty]
l1 = 1e-4

[train]
epochs = {epochs}
batch_size = 16
accumulate = 2
clip_norm = 1.0
average_decay = 0.9
checkpoint_steps = 1
device = "cpu"
threads = 1
"""


def job(folder: Path, name: str, samples: int = 64, epochs: int = 2) -> Path:
    """Write a configuration that uses what there is."""
    path = folder / f"{name}.toml"
    path.write_text(JOB.format(out=folder / name, samples=samples, epochs=epochs))
    return path


def kills(count: int, folder: Path, draw: random.Random) -> Row:
    """Kill a job at random moments, again and again, and compare it with one left alone."""
    run(read(job(folder, "first", samples=16, epochs=1)))  # imports all that is needed
    whole, killed = (job(folder, name, samples=128, epochs=max(3, count)) for name in ("whole", "killed"))
    start = time.perf_counter()
    if os.waitpid(_forked(whole), 0)[1] != 0:
        raise SystemExit("the job that was left alone failed")
    seconds, moments = time.perf_counter() - start, []
    while len(moments) < count:
        child, delay = _forked(killed), draw.uniform(0, seconds / count)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] == 0:
            raise SystemExit(f"the job ended after {len(moments)} kills: give it more epochs")
        moments.append(_progress(folder / "killed"))
    if os.waitpid(_forked(killed), 0)[1] != 0:
        raise SystemExit("the job that was killed did not go on")
    one, other = (_outcome(folder / name) for name in ("whole", "killed"))
    return {"kills": count, "steps at the kills": moments, "seconds": seconds, "identical": one == other}


def _forked(config: Path) -> int:
    """Start a job in a process of its own, which has imported all already."""
    child = os.fork()
    if child:
        return child
    try:
        with redirect_stderr(io.StringIO()):
            run(read(config), resume=True)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)


def _progress(out: Path) -> str:
    """Return how many checkpoints there had been."""
    found = sorted(path.name for path in (out / "checkpoints").glob("[0-9]*"))
    return str(int(found[-1])) if found else "0"


def _outcome(out: Path) -> tuple[str, str]:
    columns = json.loads((out / "history.json").read_text())["epochs"]
    measured = {name: column for name, column in columns.items() if not name.endswith("seconds")}
    return json.dumps(measured), hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def checkpoints(count: int, folder: Path, draw: random.Random) -> Row:
    """Damage a checkpoint in many ways, and try to go on from it."""
    config = job(folder, "base")
    run(read(config))
    out, kinds, bad = folder / "base", dict.fromkeys(DAMAGE, 0), []
    shutil.rmtree(sorted((out / "checkpoints").iterdir())[-1])  # leaves the one within the last epoch
    (out / "results.json").unlink()
    (checkpoint,) = (out / "checkpoints").iterdir()
    sound = folder / "sound"
    shutil.copytree(checkpoint, sound)
    for number in range(count):
        kind = list(DAMAGE)[number % len(DAMAGE)]
        shutil.rmtree(checkpoint)
        shutil.copytree(sound, checkpoint)
        wanted = DAMAGE[kind](checkpoint, draw)
        before = _listing(out)
        told = _refusal(config)
        if told is None or str(checkpoint) not in told or not any(name in told for name in wanted):
            bad.append(f"{kind} of {' or '.join(wanted)}: {told}")
        if _listing(out) != before:
            bad.append(f"{kind}: the folder of the job has changed")
        kinds[kind] += 1
    shutil.rmtree(checkpoint)
    shutil.copytree(sound, checkpoint)
    if _refusal(config) is not None:
        bad.append("the sound checkpoint is refused")
    return {"damaged checkpoints": count, "by kind": kinds, "not told": bad}


def _refusal(config: Path) -> str | None:
    """Return the error of a job that goes on, None if there is none; any other than a ValueError is one of ours."""
    try:
        run(read(config), resume=True)
    except ValueError as error:
        return str(error)
    except Exception as error:  # what must not happen, and is written down
        return f"!! {type(error).__name__}"
    return None


def _listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def _file(folder: Path, draw: random.Random) -> Path:
    return folder / draw.choice(["model.safetensors", "state.pt", "manifest.json"])


def _truncated(folder: Path, draw: random.Random) -> list[str]:
    path = _file(folder, draw)
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
    return [path.name]


def _flipped(folder: Path, draw: random.Random) -> list[str]:
    path = _file(folder, draw)
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    # a flipped digit of a digest shows at the file that it is of
    return ["manifest.json", "model.safetensors", "state.pt"] if path.suffix == ".json" else [path.name]


def _missing(folder: Path, draw: random.Random) -> list[str]:
    path = _file(folder, draw)
    path.unlink()
    return [path.name]


def _scrambled(folder: Path, draw: random.Random) -> list[str]:
    path = _file(folder, draw)
    path.write_bytes(draw.randbytes(draw.randrange(2000)))
    return [path.name]


def _weight(folder: Path, draw: random.Random) -> list[str]:
    """Change a weight's shape, type or name, in a file that is whole."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = draw.choice(sorted(weights))
    value = weights.pop(name)
    way = draw.randrange(4)
    if way == 0:
        weights[name] = torch.cat([value.reshape(-1), torch.zeros(1).to(value)])
    elif way == 1:
        weights[name] = value.to(torch.float16 if value.is_floating_point() else torch.float32)
    elif way == 2:
        weights[f"{name}x"] = value
    save_file(weights, path)
    _list_anew(folder)
    return [name]


_WRONG = ("text", {"a": 1}, [1, "two"], 3.5, True, torch.zeros(2, 3), torch.zeros(0, dtype=torch.int8), b"bytes")


def _value(folder: Path, draw: random.Random) -> list[str]:
    """Put a value of another type somewhere in the state, in a file that is whole."""
    path = folder / "state.pt"
    content = torch.load(path, weights_only=True)
    way = draw.choice(list(_ways(content)))
    *above, last = way
    place = content
    for key in above:
        place = place[key]
    place[last] = copy.deepcopy(draw.choice([other for other in _WRONG if _other_kind(other, place[last])]))
    torch.save(content, path)
    _list_anew(folder)
    return [str(way[0]), "settings"] if way[0] != "format" else ["is not a checkpoint"]


def _other_kind(one: Any, other: Any) -> bool:
    numbers = (int, float)
    return type(one) is not type(other) and not (isinstance(one, numbers) and isinstance(other, numbers))


def _ways(content: Any, above: tuple[Any, ...] = ()) -> Any:
    """Yield the way to every value that means something to this job."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        # what is None, and the function of the schedule, are for jobs of another kind
        if value is not None and value != {} and (*above, key) != ("scheduler", "lr_lambdas", 0):
            yield (*above, key)
            yield from _ways(value, (*above, key))


def _list_anew(folder: Path) -> None:
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.safetensors", "state.pt")
    }
    listed = {"format": "qkan checkpoint 1", "files": digests}
    (folder / "manifest.json").write_text(json.dumps(listed, separators=(",", ":")))


DAMAGE: dict[str, Callable[[Path, random.Random], list[str]]] = {
    "truncated": _truncated, "bit flipped": _flipped, "missing": _missing, "scrambled": _scrambled,
    "wrong weight": _weight, "wrong value": _value,
}  # fmt: skip


def configs(count: int, folder: Path, draw: random.Random) -> Row:
    """Break a configuration in many ways, and try to run it."""
    path = job(folder, "broken")
    sound, bad, kinds = path.read_text(), [], dict.fromkeys(BREAKS, 0)
    for number in range(count):
        kind = list(BREAKS)[number % len(BREAKS)]
        path.write_text(sound)
        key, change = BREAKS[kind](tomllib.loads(sound), draw)
        path.write_text(change(sound) if callable(change) else sound, encoding="utf-8")
        told = _told(path, [] if callable(change) else [change])
        if told is None or told.startswith("!!") or (str(path) not in told and kind != "no job") or key not in told:
            bad.append(f"{kind} of {key} ({change if isinstance(change, str) else 'text'}): {told}")
        if (folder / "broken").exists():
            bad.append(f"{kind} of {key}: the job has left a folder")
            shutil.rmtree(folder / "broken")
        kinds[kind] += 1
    return {"broken configurations": count, "by kind": kinds, "not told": bad}


def _told(path: Path, changes: list[str]) -> str | None:
    try:
        run(read(path, changes))
    except (ValueError, ImportError, OSError) as error:
        return str(error)
    except Exception as error:  # what must not happen, and is written down
        return f"!! {type(error).__name__}: {error}"
    return None


Break = tuple[str, str | Callable[[str], str]]


def _any_key(table: dict[str, Any], draw: random.Random) -> str:
    return draw.choice([f"{name}.{key}" for name, part in table.items() if isinstance(part, dict) for key in part])


def _unknown(table: dict[str, Any], draw: random.Random) -> Break:
    key = _any_key(table, draw) + draw.choice("abcxyz_") * draw.randint(1, 3)
    return key, f"{key}={draw.randint(0, 9)}"


def _wrong_type(table: dict[str, Any], draw: random.Random) -> Break:
    key = _any_key(table, draw)
    name, part = key.split(".")
    value = table[name][part]
    wrong = [text for text, kind in (("'x'", str), ("1.5", float), ("true", bool), ("[1]", list), ("{a=1}", dict))
             if kind is not type(value) and not (kind is float and isinstance(value, float))]  # fmt: skip
    wrong = [text for text in wrong if not (text == "1.5" and key in ("augment.mixup", "augment.cutmix"))]
    return key, f"{key}={draw.choice(wrong)}"


def _out_of_range(table: dict[str, Any], draw: random.Random) -> Break:
    low = ["train.epochs", "train.batch_size", "train.clip_norm", "optimizer.lr", "data.samples", "data.image_size"]
    low += ["augment.mixup", "augment.label_smoothing", "penalty.l1", "train.seed", "train.threads", "schedule.warmup"]
    key = draw.choice([*low, "train.average_decay"])
    return key, f"{key}={-draw.randint(1, 1000)}"


def _no_toml(table: dict[str, Any], draw: random.Random) -> Break:
    broken = draw.choice(["[", "=", '"', "a = ", "a b", "[train]\n[train]", "a = 1\na = 2", "x = {", "\x01"])
    return "is no TOML file", lambda text: f"{broken}\n{text}"


def _no_job(table: dict[str, Any], draw: random.Random) -> Break:
    """Return values of the right type that make no job together."""
    changes = [
        ("model.name", "model.name=NoModel"),
        ("model.name", "model.name=os:system"),
        ("model.name", "model.name=qkan.models:x"),
        ("model.name", "model.name=qkan.files:write_json"),
        ("model.name", "model.name=a:"),
        ("model.options", "model.options.depth=3"),
        ("model.options", f"model.options.channels=[{-draw.randint(0, 9)}]"),
        ("model.options", "model.options.groups=5"),
        ("optimizer.name", "optimizer.name=Adamw"),
        ("optimizer.name", "optimizer.name=lr_scheduler"),
        ("optimizer.options", "optimizer.options.momentum=0.9"),
        ("optimizer.options", "optimizer.options.betas=[2.0, 0.9]"),
        ("optimizer.options", "optimizer.options.weight_decay=-1"),
        ("optimizer.options.lr", "optimizer.options.lr=1"),
        ("schedule", "optimizer={name='LBFGS'}"),
        ("train.metrics", "train.metrics=['dice']"),
        ("train.loss", "train.loss=mse"),
        ("train.metrics", "train.metrics=['top3']"),
        ("train.precision", "train.precision=fp16"),
        ("train.device", "train.device=cuda"),
        ("data.path", "data={source='npz', path='none.npz'}"),
        ("data.path", "data={source='folder', path='no', image_size=8}"),
        ("data.name", "data={source='torchvision', name='Nothing'}"),
        ("data.mean", "data.mean=[0.1, 0.2]"),
        ("data.validation", "data.validation=0.5"),
        ("train.average_decay", "train.strategy=fsdp"),
        ("data.image_size", "data={source='folder', path='x'}"),
        ("augment", "data.channels=5"),
    ]
    return draw.choice([one for one in changes if one[0] != "train.device" or not torch.cuda.is_available()])


BREAKS: dict[str, Callable[[dict[str, Any], random.Random], Break]] = {
    "unknown key": _unknown,
    "wrong type": _wrong_type,
    "out of range": _out_of_range,
    "no TOML": _no_toml,
    "no job": _no_job,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--kills", type=int, default=10)
    add("--checkpoints", type=int, default=1000)
    add("--configs", type=int, default=1000)
    add("--seed", type=int, default=0)
    add("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw, rows = random.Random(options.seed), {}
    with tempfile.TemporaryDirectory() as folder:
        parts = (("kills", kills), ("checkpoints", checkpoints), ("configs", configs))
        for name, part in parts:
            if getattr(options, name):
                rows[name] = part(getattr(options, name), Path(folder), draw)
                print(json.dumps(rows[name], indent=1), flush=True)
    if options.json is not None:
        versions = {"python": sys.version.split()[0], "torch": torch.__version__}
        options.json.write_text(json.dumps({"seed": options.seed, "versions": versions, **rows}, indent=1) + "\n")
    failed = [row for row in rows.values() if row.get("not told") or row.get("identical") is False]
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
