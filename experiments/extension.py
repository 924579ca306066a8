"""Layer extension fits exp(sin(πx) + y²) better than the peer's, in less time, and better than circuits long at once.

    python experiments/extension.py --peer peer/bin/python   # some minutes; writes docs/results/extension.json
    python experiments/extension.py --page-only              # prints this experiment's part of the page of results

Every run is a process of its own with one thread, one after the other, ours and the peer's in turn, on the same data.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness import RESULTS, read
from tables import table, verdict

__all__ = ["RUNS", "measure", "section"]

SEEDS = (0, 1, 2)  # fixed before the first run of this script
BAR = 1.24e-7  # the peer's notebook, one run

# Repetitions, and epochs of 20 L-BFGS iterations on all samples.
EXTENDED = ((1, 25), (5, 50), (10, 30), (15, 5), (20, 3))
DIRECT = ((20, 113),)  # as many epochs from the start at 20
OPTIONS = {"scale": True, "bias": True, "base_activation": "silu"}

# What is run, by name: the interpreter, and what the run is told.
RUNS: dict[str, dict[str, Any]] = {
    "ours": {"plan": EXTENDED, "encoding": "trainable"},
    "ours, integer weights": {"plan": EXTENDED, "encoding": "unit"},
    "ours, 20 from the start": {"plan": DIRECT, "encoding": "trainable"},
    "peer": {"double": False},
    "peer, double precision": {"double": True},
}
TITLES = {
    "ours": "extended, trainable encoding weights",
    "ours, integer weights": "extended, encoding weights fixed at 1",
    "ours, 20 from the start": "ablation: 20 repetitions from the start",
    "peer": "the peer, single precision (its default)",
    "peer, double precision": "the peer, double precision",
}


def run_ours(seed: int, told: dict[str, Any], data: Path) -> list[dict[str, float]]:
    """Train one model and return, per number of repetitions, the test error and the seconds so far."""
    import time
    from functools import partial

    import numpy as np
    import torch

    from qkan import QKAN, fit
    from qkan.surgery import extend

    torch.set_num_threads(1)
    x, y, x_test, y_test = (torch.from_numpy(part) for part in np.load(data).values())
    generator, mse = torch.Generator().manual_seed(seed), torch.nn.functional.mse_loss
    exact: dict[str, Any] = {"tolerance_grad": 1e-14, "tolerance_change": 1e-16}  # the usual ones stop at about 1e-7
    optimizer = partial(torch.optim.LBFGS, max_iter=20, history_size=50, line_search_fn="strong_wolfe", **exact)
    plan = told["plan"]
    options = {**OPTIONS, "encoding": told["encoding"]}
    start = time.perf_counter()
    model = QKAN([2, 5, 1], reps=plan[0][0], dtype=torch.float64, generator=generator, **options)
    stages = []
    for reps, epochs in plan:
        model = extend(model, reps)
        fit(model, (x, y), epochs=epochs, optimizer=optimizer, loss=mse)
        seconds = time.perf_counter() - start
        with torch.no_grad():
            stages.append({"reps": reps, "test_mse": float(mse(model(x_test), y_test)), "seconds": seconds})
    return stages


def run_peer(seed: int, told: dict[str, Any], data: Path) -> list[dict[str, float]]:
    """Train the peer's model by the recipe of its notebook on layer extension."""
    import contextlib
    import io
    import time

    import numpy as np
    import torch

    from qkan import QKAN  # the peer's: this runs in its interpreter

    torch.set_num_threads(1)
    kind = torch.float64 if told["double"] else torch.float32
    dtypes: dict[str, Any] = {"c_dtype": torch.complex128, "p_dtype": torch.float64} if told["double"] else {}
    parts = [torch.from_numpy(part).to(kind) for part in np.load(data).values()]
    dataset = dict(zip(("train_input", "train_label", "test_input", "test_label"), parts, strict=True))
    trainable = ("preact_trainable", "postact_bias_trainable", "postact_weight_trainable", "ba_trainable")
    options: dict[str, Any] = {**dict.fromkeys(trainable, True), **dtypes, "seed": seed, "device": "cpu"}
    model: Any = None
    start, stages = time.perf_counter(), []
    for reps in (1, 5, 10, 15, 20):
        new: Any = QKAN([2, 5, 1], reps=reps, **options)
        if model is None:
            optimizer: torch.optim.Optimizer = torch.optim.Adam(new.parameters(), lr=5e-3)
        else:
            new.initialize_from_another_model(model)
            optimizer = torch.optim.LBFGS(new.parameters(), lr=0.5)
        model = new
        with contextlib.redirect_stderr(io.StringIO()):
            model.train_(dataset, optimizer=optimizer, steps=100, verbose=False)
        seconds = time.perf_counter() - start
        with torch.no_grad():
            error = float((model(dataset["test_input"]) - dataset["test_label"]).square().mean())
        stages.append({"reps": reps, "test_mse": error, "seconds": seconds})
    return stages


def measure(peer: str) -> dict[str, Any]:
    """Run every side with every seed, in turn, and return all that came out."""
    import numpy as np
    import torch

    from qkan.data import create_dataset, named

    results: dict[str, Any] = {name: {} for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            (x, y), (x_test, y_test) = create_dataset(
                named("exp-sine-square"), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
            )
            data = Path(folder) / f"{seed}.npz"
            np.savez(data, *(part.numpy() for part in (x, y, x_test, y_test)))
            for name, told in RUNS.items():
                python = peer if name.startswith("peer") else sys.executable
                words = [python, str(Path(__file__).resolve()), "--one", json.dumps([name, seed, told, str(data)])]
                done = subprocess.run(words, capture_output=True, text=True, cwd=folder)
                if done.returncode:
                    raise RuntimeError(f"{name}, seed {seed}:\n{done.stderr[-3000:]}")
                results[name][str(seed)] = json.loads(done.stdout.splitlines()[-1])
                print(name, seed, results[name][str(seed)][-1], flush=True)
    versions = {name: version(name) for name in ("torch", "numpy", "qkan-torch")} | {"peer": "qkan 0.2.3"}
    settings = {"seeds": SEEDS, "runs": RUNS, "options": OPTIONS, "threads": 1, "samples": [1000, 1000]}
    return {"settings": settings, "versions": versions | {"python": platform.python_version()}, "results": results}


def section(results: dict[str, Any]) -> str:
    """Return this experiment's part of the page."""
    runs = results["results"]
    median = statistics.median(stages[-1]["test_mse"] for stages in runs["ours"].values())
    direct = statistics.median(stages[-1]["test_mse"] for stages in runs["ours, 20 from the start"].values())
    ratios = [runs["peer"][seed][-1]["seconds"] / runs["ours"][seed][-1]["seconds"] for seed in runs["ours"]]
    ratio, each = statistics.median(ratios), ", ".join(f"{r:.1f}" for r in ratios)
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    told = results["settings"]["runs"]
    plan = ", ".join(f"{epochs} epochs at {reps}" for reps, epochs in told["ours"]["plan"])
    longest = told["ours, 20 from the start"]["plan"][0][0]
    return f"""## Layer extension

`python experiments/extension.py --peer PYTHON`, where PYTHON is an interpreter with the peer, qkan 0.2.3.
exp(sin(πx) + y²), width [2, 5, 1], 1000 training and 1000 test samples uniform in [-1, 1]², the same for all sides of a
seed; one thread, one run at a time, the sides in turn ({versions}).
Ours: double precision, scale, bias and SiLU branch, trainable encoding weights; L-BFGS with strong Wolfe line search,
20 iterations an epoch, {plan} repetitions, between which `extend` adds
blocks that change nothing. The peer: the recipe of its notebook, all weights and biases trainable, 100 steps of Adam
(5e-3) with 1 repetition, then 100 steps of L-BFGS (0.5, 20 iterations each) with 5, 10, 15 and 20.

{_sides(runs)}

Ours, stage by stage: test MSE (seconds from the start).

{_stages(runs["ours"])}

Bars: median of ours at most {BAR:.3g} (the peer's notebook, one run): {median:.2g}, {verdict(median <= BAR)}. Less time
than the peer: it takes {ratio:.1f} times as long (median; {each}), {verdict(ratio > 1)}. Extension against
{longest} repetitions from the start, medians: {median:.2g} against {direct:.2g}, {verdict(median < direct)}.
"""


def _sides(runs: dict[str, Any]) -> str:
    rows = []
    for name, title in TITLES.items():
        last = [stages[-1] for stages in runs[name].values()]
        errors = [stage["test_mse"] for stage in last]
        seconds = statistics.median(stage["seconds"] for stage in last)
        rows.append(
            [title, *(f"{error:.2g}" for error in errors), f"**{statistics.median(errors):.2g}**", f"{seconds:.0f}"]
        )
    return table(["test MSE", *_seeds(runs["ours"]), "median", "seconds (median)"], rows)


def _stages(runs: dict[str, Any]) -> str:
    rows = [
        [row[0]["reps"], *(f"{stage['test_mse']:.1e} ({stage['seconds']:.0f} s)" for stage in row)]
        for row in zip(*runs.values(), strict=True)
    ]
    return table(["repetitions", *_seeds(runs)], rows)


def _seeds(runs: dict[str, Any]) -> list[str]:
    return [f"seed {seed}" for seed in runs]


def main() -> None:
    """Measure, or only print the part of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--peer", help="an interpreter that has qkan 0.2.3 installed")
    what.add_argument("--page-only", action="store_true", help="print the part of the page made from extension.json")
    what.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, seed, told, data = json.loads(options.one)
        run = run_peer if name.startswith("peer") else run_ours
        print(json.dumps(run(seed, told, Path(data))))
        return
    if options.peer:
        (RESULTS / "extension.json").write_text(json.dumps(measure(options.peer), indent=1) + "\n")
    print(section(read("extension")))


if __name__ == "__main__":
    main()
