"""What the experiments share: runs with names, each a process of its own, and one file of all results.

An experiment is a table of runs: a name and plain settings each. A finished run is kept in `runs/EXPERIMENT/` and not
repeated while its settings stay; stopped runs go on from their last checkpoint if the experiment writes one. On a fresh
checkout everything is run again; `--missing` runs what the committed file lacks.
"""

import argparse
import fnmatch
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "Experiment", "Settings", "main", "parameters", "read", "versions"]

RESULTS = Path(__file__).parents[1] / "docs" / "results"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """An experiment, and how its command runs it.

    Args:
        name: of its script and of docs/results/NAME.json.
        runs: what is run, by name, as plain JSON values.
        run: (settings, folder for its checkpoints) -> what came out, as plain JSON values. It runs in a process of its
            own with one thread.
        packages: distributions whose versions are written down.
        inputs: paths outside the repository that the command asks for, by the name of their option, with its help;
            a run finds them under that name in its settings, and they are not written down.
    """

    name: str
    runs: Mapping[str, Settings]
    run: Callable[[Settings, Path], Settings]
    packages: Sequence[str] = ("torch", "numpy", "qkan-torch")
    inputs: Mapping[str, str] | None = None
    results: Path = RESULTS

    @property
    def path(self) -> Path:
        return self.results / f"{self.name}.json"


def main(experiment: Experiment, script: str) -> None:
    """Run the command of an experiment: `python experiments/NAME.py`."""
    options = _arguments(experiment).parse_args()
    work = Path("runs") / experiment.name
    inputs = {name: getattr(options, name) for name in experiment.inputs or ()}
    if options.one:
        _run_one(experiment, options.one, work, inputs)
        return
    chosen = [name for name in experiment.runs if any(fnmatch.fnmatch(name, pattern) for pattern in options.only)]
    if options.list:
        print("\n".join(f"{'done' if _finished(experiment, name, work) else 'open':5} {name}" for name in chosen))
        return
    kept = _stored(experiment) if options.missing else {}
    open_runs = [name for name in chosen if name not in kept and not _finished(experiment, name, work)]
    forwarded = [part for name, path in inputs.items() if path for part in (f"--{name}", path)]
    with ThreadPoolExecutor(options.workers) as pool:
        codes = list(pool.map(lambda name: _spawn(script, name, forwarded, work), open_runs))
    collect(experiment, work)
    if any(codes):
        sys.exit(f"{sum(map(bool, codes))} of {len(codes)} runs failed: see the .log files in {work}")


def collect(experiment: Experiment, work: Path) -> None:
    """Write docs/results/NAME.json from all finished runs, those that it already holds included."""
    stored, found = _stored(experiment), {}
    for name in experiment.runs:
        if _finished(experiment, name, work):
            found[name] = _read_run(work, name)
        elif name in stored:
            found[name] = stored[name]
    text = {"experiment": experiment.name, "runs": found}
    experiment.path.parent.mkdir(parents=True, exist_ok=True)
    partial = experiment.path.with_suffix(".partial")
    partial.write_text(_compact(text) + "\n")
    partial.replace(experiment.path)


def _stored(experiment: Experiment) -> dict[str, Any]:
    """The runs of the results file that still have the settings of the table."""
    runs = json.loads(experiment.path.read_text())["runs"] if experiment.path.exists() else {}
    table = {name: _plain(settings) for name, settings in experiment.runs.items()}
    return {name: run for name, run in runs.items() if name in table and run["settings"] == table[name]}


def read(name: str) -> dict[str, Any]:
    """Return the committed results of an experiment."""
    stored: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return stored


def versions(packages: Iterable[str]) -> dict[str, str]:
    found = {name: version(name) for name in packages}
    return found | {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}


def parameters(model: Any) -> int:
    """Number of trainable parameters of a torch module."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _arguments(experiment: Experiment) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=f"Run the experiment {experiment.name!r}.")
    add = parser.add_argument
    add("--only", nargs="+", default=["*"], metavar="PATTERN", help="runs whose names match (default: all)")
    add("--workers", type=int, default=2, help="runs at a time, one thread each (default: %(default)s)")
    add("--missing", action="store_true", help="only runs that the results file lacks")
    add("--list", action="store_true", help="list the runs and stop")
    add("--one", help=argparse.SUPPRESS)
    for name, text in (experiment.inputs or {}).items():
        add(f"--{name}", metavar="PATH", help=text)
    return parser


def _run_one(experiment: Experiment, name: str, work: Path, inputs: Settings) -> None:
    import torch

    torch.set_num_threads(1)
    folder = work / _file(name)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    result = experiment.run(dict(experiment.runs[name]) | inputs, folder)
    run = {
        "settings": experiment.runs[name],
        "versions": versions(experiment.packages),
        "seconds": round(time.perf_counter() - start, 3),
        "result": result,
    }
    partial = folder.with_suffix(".partial")
    partial.write_text(json.dumps(run, allow_nan=False))
    partial.replace(work / f"{_file(name)}.json")


def _spawn(script: str, name: str, forwarded: Sequence[str], work: Path) -> int:
    work.mkdir(parents=True, exist_ok=True)
    # One thread each: several runs at a time neither disturb nor depend on one another.
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (work / f"{_file(name)}.log").open("w") as log:
        command = [sys.executable, script, "--one", name, *forwarded]
        code = subprocess.run(command, stdout=log, stderr=log, env=os.environ | one_thread, check=False).returncode
    print(f"{'FAILED' if code else 'done':6} {name}", flush=True)
    return code


def _finished(experiment: Experiment, name: str, work: Path) -> bool:
    run = _read_run(work, name)
    return run is not None and run["settings"] == _plain(experiment.runs[name])


def _read_run(work: Path, name: str) -> dict[str, Any] | None:
    path = work / f"{_file(name)}.json"
    return json.loads(path.read_text()) if path.exists() else None


def _file(name: str) -> str:
    return name.replace("/", "--")


def _plain(settings: Mapping[str, Any]) -> Any:
    """The settings as JSON gives them back: lists for tuples."""
    return json.loads(json.dumps(settings))


def _compact(results: Mapping[str, Any]) -> str:
    """JSON with one line per run and numbers of six digits: small, and its changes can be read."""
    runs = ",\n".join(f"{json.dumps(name)}: {json.dumps(_short(run))}" for name, run in results["runs"].items())
    return f'{{"experiment": {json.dumps(results["experiment"])}, "runs": {{\n{runs}\n}}}}'


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _short(part) for key, part in value.items()}
    return [_short(part) for part in value] if isinstance(value, list | tuple) else value
