"""An HQKAN as the feed-forward block of a character transformer does better than an MLP of as many parameters.

    python experiments/language.py --text tinyshakespeare.txt

Four blocks of width 64 on tinyshakespeare, judged by exp(cross-entropy) per character of the last tenth of the text,
beside an MLP of four times the feed-forward parameters and beside the same HQKAN with its circuits replaced by a
linear map and by SiLU. Cores and learning rates are chosen by short runs inside the first nine tenths.
"""

import math
import time
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import torch
from harness import Experiment, Settings, main, parameters
from language_model import Transformer, character_loss, symbols, windows
from tables import mean_and_range, table
from torch.optim.lr_scheduler import LambdaLR

from qkan import fit
from qkan.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL = {"context": 64, "width": 64, "heads": 4, "blocks": 4}
TRAINING = {"warmup": 100, "clip_norm": 1.0}
FINAL = {"train": [0.0, 0.9], "held_out": [0.9, 1.0], "windows": None, "batch_size": 16, "epochs": 1}
PILOT = {"train": [0.0, 0.8], "held_out": [0.8, 0.9], "windows": 9600, "batch_size": 32, "epochs": 1, "seed": 3}
RATES = (3e-3, 1e-2)
RATE = 1e-2  # the better one for every side
SEEDS = (0, 1, 2)

BASE: Settings = {"base_activation": "identity", "init": 0.5}


def circuits(latent: list[int], norm: bool = False, **options: Any) -> Settings:
    return {"kind": "hqkan", "latent": latent, "norm": norm, "options": options}


CORES = {
    "unit": circuits([26, 22], **BASE),
    "ternary": circuits([26, 22], **BASE, encoding="ternary"),
    "unit-silu": circuits([26, 22], base_activation="silu", init=0.5),
    "unit-no-base": circuits([25, 25], init=0.5),
    "unit-norm": circuits([27, 21], norm=True, **BASE),
    "ternary-norm": circuits([27, 21], norm=True, **BASE, encoding="ternary"),
    "reps-1": circuits([32, 32], reps=1),
    "small-base": circuits([26, 22], base_activation="identity"),
    "reps-2": circuits([28, 27], reps=2),
    "small-ternary": circuits([25, 25], encoding="ternary"),
}
SIDES = {
    "mlp": {"kind": "mlp", "hidden": 64},
    "mlp-4x": {"kind": "mlp", "hidden": 257},
    "hqkan": circuits([25, 25]),
    "hqkan-norm": circuits([27, 23], norm=True),
    "linear": {"kind": "linear", "latent": [27, 23], "norm": True},
    "silu": {"kind": "silu", "latent": [27, 23], "norm": True, "hidden": 96},
    "mlp-norm": {"kind": "mlp", "hidden": 63, "norm": True},
}

LABELS = {
    "mlp": "MLP",
    "mlp-4x": "MLP of 4 times the parameters",
    "hqkan": "HQKAN as published",
    "hqkan-norm": "HQKAN, norm before the core",
    "linear": "the same, a linear map for the circuits",
    "silu": "the same, SiLU for the circuits",
    "mlp-norm": "MLP, norm before the GELU",
}


def pilot(feed_forward: Settings, lr: float) -> Settings:
    return MODEL | TRAINING | PILOT | {"feed_forward": feed_forward, "lr": lr}


def final(feed_forward: Settings, lr: float, seed: int) -> Settings:
    return MODEL | TRAINING | FINAL | {"feed_forward": feed_forward, "lr": lr, "seed": seed}


RUNS: dict[str, Settings] = {
    **{f"pilot/core/{name}": pilot(core, RATE) for name, core in CORES.items()},
    **{f"pilot/rate/{name}/{lr:g}": pilot(side, lr) for name, side in SIDES.items() for lr in RATES},
    **{f"pilot/rate/mlp/{lr:g}": pilot(SIDES["mlp"], lr) for lr in (1e-3, 3e-2)},
    **{f"final/{name}/{seed}": final(side, RATE, seed) for seed in SEEDS for name, side in SIDES.items()},
}


def run(settings: Settings, folder: Path) -> Settings:
    text, count = symbols(settings["text"])
    context = settings["context"]
    train = tuple(part[: settings["windows"]] for part in windows(_part(text, settings["train"]), context))
    held_out = windows(_part(text, settings["held_out"]), context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        sizes = {name: settings[name] for name in ("width", "heads", "blocks")}
        model = Transformer(count, context, **sizes, feed_forward=settings["feed_forward"])
    steps = settings["epochs"] * math.ceil(len(train[0]) / settings["batch_size"])
    start = time.process_time()
    history = fit(
        model,
        (train[0], train[1]),
        validation=held_out,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        optimizer=torch.optim.AdamW(model.parameters(), lr=settings["lr"]),
        scheduler=partial(LambdaLR, lr_lambda=partial(_rate, warmup=settings["warmup"], steps=steps)),
        schedule_on="step",
        loss=character_loss,
        clip_norm=settings["clip_norm"],
        generator=torch.Generator().manual_seed(settings["seed"]),
    )
    return {
        "parameters": parameters(model),
        "feed_forward_parameters": sum(map(parameters, model.blocks())),
        "steps": steps,
        "cpu_seconds": time.process_time() - start,
        "perplexity": math.exp(history.last["test_loss"]),
        "history": history.to_dict(),
    }


def _part(text: torch.Tensor, span: list[float]) -> torch.Tensor:
    low, high = (int(fraction * len(text)) for fraction in span)
    return text[low:high]


def _rate(step: int, warmup: int, steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def section(results: dict[str, Any]) -> str:
    runs = results["runs"]
    finals = {name: found for name in SIDES if (found := _of(runs, f"final/{name}/"))}
    columns = ["feed-forward", "parameters of it", "of the model", "perplexity", "training loss", "CPU ms a step"]
    texts = [_setting(runs), table(columns, [_row(name, found) for name, found in finals.items()])]
    texts += [_readings(finals), "![Perplexity of every seed](language.png)", _chosen(runs)]
    return "\n\n".join(["## Language: characters of tinyshakespeare", *texts])


def figure(results: dict[str, Any]) -> "Figure":
    drawing = style.empty(6.0, 3.0)
    axes = drawing.add_subplot()
    for row, name in enumerate(SIDES):
        values = _perplexities(_of(results["runs"], f"final/{name}/"))
        axes.plot(values, [row] * len(values), "o", color=style.COLOURS[row % len(style.COLOURS)])
    axes.set_yticks(range(len(SIDES)), list(LABELS.values()))
    axes.invert_yaxis()
    axes.grid(alpha=0.25)
    style.tidy(axes, x="perplexity per character, one point a seed")
    return drawing


def _of(runs: Settings, start: str) -> list[Settings]:
    return [run for name, run in runs.items() if name.startswith(start)]


def _perplexities(runs: list[Settings]) -> list[float]:
    return [run["result"]["perplexity"] for run in runs]


def _setting(runs: Settings) -> str:
    first = _of(runs, "final/")[0]
    settings, steps = first["settings"], first["result"]["steps"]
    versions = ", ".join(f"{name} {value}" for name, value in first["versions"].items())
    return (
        f"{settings['blocks']} pre-norm blocks of width {settings['width']}, {settings['heads']} heads, context "
        f"{settings['context']}; every character of a window predicts the next one. Trained on the first 90 % of the "
        f"text, judged by exp(cross-entropy in nats) on the last 10 %, cut into windows without overlap. The same for "
        f"every side: {steps} steps of {settings['batch_size']} windows, epochs: {settings['epochs']}, AdamW, warm-up "
        f"over {settings['warmup']} steps and half a cosine, gradients clipped to {settings['clip_norm']:g}, no limit "
        f"of time; one seed gives all sides the same attention at the start. Perplexity: mean (smallest to largest) "
        f"over seeds {', '.join(map(str, SEEDS))} (as many as each row says). CPU ms: of one thread, evaluation "
        f"included, on a machine with other work ({versions})."
    )


def _row(name: str, runs: list[Settings]) -> list[str]:
    results = [run["result"] for run in runs]
    label = LABELS[name] + ("" if len(runs) == len(SEEDS) else f" ({len(runs)} of {len(SEEDS)} seeds)")
    losses = [result["history"]["train_loss"][-1] for result in results]
    times = [1e3 * result["cpu_seconds"] / result["steps"] for result in results]
    counts = [f"{results[0][key]:,}" for key in ("feed_forward_parameters", "parameters")]
    return [label, *counts, mean_and_range(_perplexities(runs), 3), mean_and_range(losses, 3), f"{median(times):.0f}"]


def _readings(finals: dict[str, list[Settings]]) -> str:
    """Say who is ahead: by the mean, and in how many seeds."""
    pairs = [(ours, other) for ours in ("hqkan-norm", "hqkan") for other in SIDES if not other.startswith("hqkan")]
    known = [pair for pair in [*pairs, ("hqkan-norm", "hqkan")] if all(name in finals for name in pair)]
    return "\n".join(f"- {_reading(*pair, finals)}" for pair in known)


def _reading(ours: str, other: str, finals: dict[str, list[Settings]]) -> str:
    """Compare two sides over the seeds that both have: apart if by more than either spreads."""
    pairs = list(zip(*(_perplexities(finals[name]) for name in (ours, other)), strict=False))
    left, right = zip(*pairs, strict=True)
    gap, spread = fmean(left) - fmean(right), max(max(values) - min(values) for values in (left, right))
    text = f"{LABELS[ours]} - {LABELS[other]}: mean difference {gap:+.3f}"
    if len(pairs) < 2:
        return f"{text} with one seed, which says nothing about the spread."
    word = "not told apart" if abs(gap) <= spread else "better" if gap < 0 else "**worse**"
    wins = sum(a < b for a, b in pairs)
    return f"{text}, lower in {wins} of {len(pairs)} seeds, seeds of one side spread by up to {spread:.3f}: {word}."


def _chosen(runs: Settings) -> str:
    """Return what the short runs gave, from which the core and the learning rates were taken."""
    pilots = _of(runs, "pilot/")
    rows = [_pilot_row(run) for run in sorted(pilots, key=_pilot_loss) if run["settings"]["lr"] == RATE]
    rates = [f"{LABELS[name]} {_rates(found)}" for name in SIDES if (found := _of(runs, f"pilot/rate/{name}/"))]
    first = pilots[0]
    return "\n\n".join([
        f"Core and learning rate were chosen by single runs of {first['result']['steps']} steps of "
        f"{first['settings']['batch_size']} windows (seed {first['settings']['seed']}) on the first 80 % of the text, "
        "judged by the loss on the next 10 %; the validation split was not read. By learning rate: "
        f"{'; '.join(rates)}. With {RATE:g}:",
        table(["feed-forward", "parameters of it", "loss"], rows),
    ])  # fmt: skip


def _pilot_loss(run: Settings) -> float:
    loss: float = run["result"]["history"]["test_loss"][-1]
    return loss


def _pilot_row(run: Settings) -> list[str]:
    core = run["settings"]["feed_forward"]
    options = [f"{name} {value}" for name, value in core.get("options", {}).items()]
    kinds = {"hqkan": "HQKAN", "linear": "HQKAN with a linear map", "silu": "HQKAN with SiLU"}
    shape = f"MLP, {core['hidden']} hidden" if core["kind"] == "mlp" else f"{kinds[core['kind']]}, {core['latent']}"
    name = ", ".join([shape, *(["norm"] if core.get("norm") else []), *options])
    return [name, f"{run['result']['feed_forward_parameters']:,}", f"{_pilot_loss(run):.3f}"]


def _rates(runs: list[Settings]) -> str:
    found = sorted((run["settings"]["lr"], _pilot_loss(run)) for run in runs)
    return ", ".join(f"{lr:g}: {loss:.3f}" for lr, loss in found)


EXPERIMENT = Experiment("language", RUNS, run, inputs={"text": "tinyshakespeare.txt"})

if __name__ == "__main__":
    main(EXPERIMENT, __file__)
