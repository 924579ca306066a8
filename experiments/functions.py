"""One edge, [1, 1], fits sin(20x)/(20x) and J0(20x) on [0, 1] to a test MSE of 1e-4 within 100 steps of L-BFGS.

    python experiments/functions.py --peer peer/bin/python   # some minutes; an interpreter with qkan 0.2.3

A step is one call of `step` of torch's L-BFGS with max_iter=20, as in the peer's quick start: at most 20 iterations and
25 evaluations of the loss. The first row of `SIDES` is the recipe; it was chosen with the seeds 100 to 108.
"""

import json
import math
import statistics
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from harness import Experiment, Settings, main, parameters
from tables import table, verdict

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor

__all__ = ["EXPERIMENT", "RUNS", "figure", "run", "section"]

BAR, STEPS, SEEDS = 1e-4, 100, (0, 1, 2)  # fixed before the first run
TARGETS = {"sinc": "sin(20x)/(20x)", "bessel": "J0(20x)"}
RECIPE = "trainable, 5"
FREE = {"scale": True, "bias": True, "base_activation": "silu"}  # as the peer's quick start has it
UNIT, TERNARY = {"encoding": "trainable"}, {"encoding": "trainable", "encoding_init": "ternary"}

# What is fitted: the options of the model, and the optimiser.
SIDES: dict[str, Settings] = {
    RECIPE: {"options": {"reps": 5, **UNIT, **FREE}},
    "trainable, 3": {"options": {"reps": 3, **UNIT, **FREE}},
    "trainable from ternary, 3": {"options": {"reps": 3, **TERNARY, **FREE}},
    "unit, 5": {"options": {"reps": 5, "encoding": "unit", **FREE}},
    "ternary, 4": {"options": {"reps": 4, "encoding": "ternary", **FREE}},
    "peer, 3": {"by": "peer", "reps": 3},
}
TITLES = {
    RECIPE: "trainable from 1, 5 repetitions (**the recipe**)",
    "trainable, 3": "trainable from 1, 3 repetitions",
    "trainable from ternary, 3": "trainable from 1, 3, 9",
    "unit, 5": "fixed at 1, 5 repetitions",
    "ternary, 4": "fixed at 1, 3, 9, 27",
    "peer, 3": "the peer, its quick start",
}
DATA: Settings = {"steps": STEPS, "samples": 1000, "test_samples": 1000}
RUNS: dict[str, Settings] = {
    f"{side}/{target}/{seed}": {**told, **DATA, "target": target, "seed": seed}
    for seed in SEEDS
    for side, told in SIDES.items()
    for target in TARGETS
}


def run(settings: Settings, folder: Path) -> Settings:
    """Fit one target by one side with one seed, which draws the samples and the start."""
    data = samples(settings)
    return run_peer(settings, data, folder) if settings.get("by") == "peer" else run_ours(settings, data)


def samples(settings: Settings) -> "list[Tensor]":
    """Return x, y, and those of the test, each [samples, 1] in double precision; equal for all sides of a seed."""
    import torch
    from scipy.special import j0  # type: ignore[import-untyped]

    def pair(count: int) -> "list[Tensor]":
        x = torch.rand(count, 1, dtype=torch.float64, generator=generator)
        values = np.sinc(20 / np.pi * x.numpy()) if settings["target"] == "sinc" else j0(20 * x.numpy())
        return [x, torch.from_numpy(values)]

    generator = torch.Generator().manual_seed(settings["seed"])
    return pair(settings["samples"]) + pair(settings["test_samples"])


def run_ours(settings: Settings, data: "list[Tensor]") -> Settings:
    import torch

    from qkan import QKAN, fit

    x, y, x_test, y_test = data
    generator = torch.Generator().manual_seed(settings["seed"])
    model = QKAN([1, 1], dtype=torch.float64, generator=generator, **settings["options"])
    loss = Counted()
    history = fit(
        model, (x, y), epochs=settings["steps"], validation=(x_test, y_test), optimizer=optimizer(), loss=loss
    ).to_dict()
    with torch.no_grad():
        largest = float((model(x_test) - y_test).abs().max())
    return {
        "train_loss": history["train_loss"],
        "test_mse": history["test_loss"],
        "max_error": largest,
        "evaluations": loss.calls,
        "parameters": parameters(model),
    }


def optimizer() -> "Callable[..., torch.optim.Optimizer]":
    """Return L-BFGS with strong Wolfe, and with tolerances that do not end it early."""
    from torch.optim import LBFGS

    exact: dict[str, Any] = {"tolerance_grad": 1e-14, "tolerance_change": 1e-16}
    return partial(LBFGS, max_iter=20, history_size=50, line_search_fn="strong_wolfe", **exact)


class Counted:
    """The mean squared error, and how often it was evaluated with a gradient."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        self.calls += outputs.requires_grad
        return (outputs - targets).square().mean()


def run_peer(settings: Settings, data: "list[Tensor]", folder: Path) -> Settings:
    """Fit by the peer's quick start, in an interpreter of its own."""
    if not settings["peer"]:
        raise ValueError("the peer needs --peer: an interpreter that has qkan 0.2.3 installed")
    path = folder / "data.npz"
    np.savez(path, *(part.numpy() for part in data))
    told = {name: settings[name] for name in ("reps", "steps", "seed")}
    script = Path(__file__).with_name("functions_peer.py")
    words = [settings["peer"], str(script.resolve()), str(path.resolve()), json.dumps(told)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    result: Settings = json.loads(done.stdout.splitlines()[-1])
    return result


def section(results: Mapping[str, Any]) -> str:
    """Return this experiment's part of the page."""
    runs, sides = results["runs"], _sides(results)
    versions = next(iter(runs.values()))["versions"]
    met = all(len(r := _of(runs, RECIPE, t)) == len(SEEDS) and max(map(_last, r)) <= BAR for t in TARGETS)
    blocks = []
    for target, title in TARGETS.items():
        rows = [_row(TITLES[side], _by_seed(runs, side, target)) for side in sides if _of(runs, side, target)]
        seeds = [f"seed {seed}" for seed in SEEDS]
        head = [f"{title}: encoding weights", "parameters", *seeds, "max error", "steps to 1e-4", "evaluations"]
        blocks.append(table(head, rows))
    joined = "\n\n".join(blocks)
    return f"""## One edge: sin(20x)/(20x) and J0(20x)

`python experiments/functions.py --peer PYTHON`. A network [1, 1], which is one circuit; 1000 training and 1000 test
samples uniform in [0, 1], the same for all sides of a seed; targets by NumPy and SciPy. {STEPS} steps of L-BFGS on all
samples, where a step is one call of torch's `step` with 20 iterations and up to 25 evaluations of the loss: the last
column counts them (median). Ours: double precision, strong Wolfe line search; scale, bias and SiLU branch as the peer
has them; the recipe was chosen with nine other seeds. The peer, qkan 0.2.3: its quick start, 3 repetitions, everything
trainable, single precision, learning rate 0.05 without a line search. torch {versions["torch"]}, SciPy
{versions["scipy"]}, one thread. Test MSE after the last step, by seed; the largest error on the test samples and the
first step with a test MSE of at most 1e-4 are those of the worst seed.

{joined}

![Test MSE over the steps, all seeds; a curve ends where training diverged](functions.png)

Bar: a test MSE of at most {BAR:.0e} within {STEPS} steps, {len(SEEDS)} of {len(SEEDS)} seeds, for both functions:
{verdict(met)} by the recipe. {_elsewhere(runs, sides)}
"""


def _elsewhere(runs: Mapping[str, Any], sides: list[str]) -> str:
    """Say how often each of the other sides is below the bar."""
    counts = []
    for side in sides[1:]:
        finals = [_last(result) for target in TARGETS for result in _of(runs, side, target)]
        counts.append(f"{TITLES[side]}: {sum(final <= BAR for final in finals)} of {len(finals)}")
    return f"The others, runs of both functions below the bar: {'; '.join(counts)}."


def _row(title: str, by_seed: list[Settings | None]) -> list[str]:
    results = [result for result in by_seed if result is not None]
    firsts = [_first(result["test_mse"]) for result in results]
    worst = "never" if None in firsts else str(max(first for first in firsts if first is not None))
    return [
        title,
        str(results[0]["parameters"]),
        *("-" if result is None else _text(_last(result)) for result in by_seed),
        _text(max(_number(result["max_error"]) for result in results)),
        worst,
        f"{statistics.median(result['evaluations'] for result in results):.0f}",
    ]


def _by_seed(runs: Mapping[str, Any], side: str, target: str) -> list[Settings | None]:
    names = [f"{side}/{target}/{seed}" for seed in SEEDS]
    return [runs[name]["result"] if name in runs else None for name in names]


def _of(runs: Mapping[str, Any], side: str, target: str) -> list[Settings]:
    return [result for result in _by_seed(runs, side, target) if result is not None]


def _sides(results: Mapping[str, Any]) -> list[str]:
    return [side for side in SIDES if any(_of(results["runs"], side, target) for target in TARGETS)]


def _last(result: Settings) -> float:
    return _number(result["test_mse"][-1])


def _first(errors: list[float | None]) -> int | None:
    """The first step after which the error is at most that of the bar."""
    return next((step for step, error in enumerate(errors, 1) if _number(error) <= BAR), None)


def _number(error: float | None) -> float:
    """An error; infinite where training has diverged, which is stored as null."""
    return math.inf if error is None else float(error)


def _text(error: float) -> str:
    return "diverged" if math.isinf(error) else f"{error:.1e}"


def figure(results: Mapping[str, Any]) -> "Figure":
    """Draw the test error over the steps, a panel per target, a line per side and seed."""
    from qkan.plot import style

    drawn, sides = style.empty(9.0, 4.4), _sides(results)
    for number, (target, title) in enumerate(TARGETS.items()):
        axes = drawn.add_subplot(1, 2, number + 1)
        for place, side in enumerate(sides):
            colour = style.COLOURS[place]
            for seed, result in enumerate(_of(results["runs"], side, target)):
                curve = [error for error in result["test_mse"] if error is not None]
                label = None if seed else TITLES[side].replace("*", "")
                axes.plot(range(1, len(curve) + 1), curve, color=colour, linewidth=1.2, label=label)
        axes.axhline(BAR, color=style.INK, linestyle=":", linewidth=1.0)
        axes.set_yscale("log")
        axes.set_ylim(1e-9, 1.0)  # what diverges leaves it
        style.tidy(axes, title=title, x="step of L-BFGS", y="test MSE")
    handles, labels = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, fontsize=style.SMALL, loc="outside lower center", ncols=2, frameon=False)
    return drawn


EXPERIMENT = Experiment(
    "functions",
    RUNS,
    run,
    packages=("torch", "numpy", "scipy", "qkan-torch"),
    inputs={"peer": "an interpreter that has the peer, qkan 0.2.3, installed"},
)

if __name__ == "__main__":
    main(EXPERIMENT, __file__)
