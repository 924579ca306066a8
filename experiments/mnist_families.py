"""MNIST: at equal parameters, convolutions of every basis and of circuits classify better than plain ones.

    python experiments/mnist_families.py --data ROOT

The four-layer networks of torch-conv-kan's studies, as narrow as two cores can train: the channels of each family are
the widest in about the studies' ratio 1 : 2 : 4 : 8 that stay within one number of parameters.
"""

import statistics
from pathlib import Path
from typing import Any

import torch
from harness import Experiment, Settings, main, parameters
from mnist_common import INPUTS, SEEDS, accuracies, build, by_row, load, train, versions_text
from tables import mean_and_range, table

from qkan.models.baselines import MODELS, Baseline

PLAIN = "SimpleConv"
ROWS: dict[str, Settings] = {
    **{model: {"model": model, "options": {}} for model in MODELS},
    "SimpleQKANConv, identity branch": {"model": "SimpleQKANConv", "options": {"base_activation": "identity"}},
}
SETTINGS: Settings = {
    "parameters": 20_000, "epochs": 4, "batch": 32, "lr": 3e-3,
    "samples": 10_000, "test_samples": 10_000, "range": [-1, 1],
}  # fmt: skip
RUNS = {f"{name}/{seed}": SETTINGS | row | {"seed": seed} for seed in SEEDS for name, row in ROWS.items()}
RATIO = (1, 2, 4, 8)


def network(settings: Settings, channels: tuple[int, ...], device: str | None = None) -> Baseline:
    """Return images [batch, 1, 28, 28] -> logits [batch, 10]; the second and third convolution have stride 2.

    Batch norms, as instance norms give images of mean 0: where no activation follows, pooling then leaves nothing.
    """
    around: Settings = {"halving": (1, 2), "norm_layer": "batch", "affine": True, "device": device}
    return Baseline(settings["model"], 1, 10, channels=channels, **around, **settings["options"])


def widest(settings: Settings) -> tuple[int, ...]:
    """Return the widest channels that stay within the number of parameters: in the ratio, then more in the last."""
    tenths = 10
    while _fit(settings, _in_ratio(tenths + 1)):
        tenths += 1
    *first, last = _in_ratio(tenths)
    while _fit(settings, (*first, last + 1)):
        last += 1
    return (*first, last)


def _in_ratio(tenths: int) -> tuple[int, ...]:
    return tuple(round(tenths * factor / 10) for factor in RATIO)


def _fit(settings: Settings, channels: tuple[int, ...]) -> bool:
    limit: int = settings["parameters"]
    return parameters(network(settings, channels, "meta")) <= limit


def run(settings: Settings, folder: Path) -> Settings:
    channels = widest(settings)
    model = build(lambda: network(settings, channels), settings["seed"])
    adam = torch.optim.Adam(model.parameters(), lr=settings["lr"])
    found = train(model, load(settings["data"], settings), settings, test_once=True, optimizer=adam)
    return {"channels": channels, **found}


def section(results: dict[str, Any]) -> str:
    rows = by_row(results)
    titles = ["network", "channels", "parameters", "seeds", "accuracy", "CPU s"]
    order = sorted(rows, key=lambda name: -statistics.mean(accuracies(rows[name])))
    return "\n\n".join([
        "## MNIST: convolutions of every basis, equal parameters",
        f"The first {SETTINGS['samples']:,} training images, all test images, in [-1, 1], no augmentation; Adam "
        f"{SETTINGS['lr']:g}, not tuned for any of them, batches of {SETTINGS['batch']}, {SETTINGS['epochs']} epochs; "
        f"{versions_text(results)}. Four 3x3 convolutions with batch norm, the second and third of stride 2, global "
        f"average pooling, a linear output. Equal parameters, not equal time: each family has the widest channels in "
        f"the ratio 1 : 2 : 4 : 8 that stay within {SETTINGS['parameters']:,} parameters, and what is left goes to the "
        "last convolution. Test accuracy after the last epoch in percent: mean (smallest to largest). "
        "There is no published figure at this scale, and no bar.",
        table(titles, [_row(name, rows[name]) for name in order]),
        _reading(rows),
    ])  # fmt: skip


def _row(name: str, runs: list[Settings]) -> list[str]:
    first = runs[0]["result"]
    seconds = [run["result"]["cpu_seconds"] for run in runs]
    count = [", ".join(map(str, first["channels"])), f"{first['parameters']:,}", str(len(runs))]
    return [name, *count, mean_and_range(accuracies(runs)), mean_and_range(seconds, 0)]


def _reading(rows: dict[str, list[Settings]]) -> str:
    """Return which families are ahead of plain convolutions, and which behind, in the same seeds."""
    ahead: list[tuple[float, str]] = []
    behind: list[tuple[float, str]] = []
    for name in [name for name in rows if name != PLAIN]:
        gaps = [ours - plain for ours, plain in zip(accuracies(rows[name]), accuracies(rows[PLAIN]), strict=False)]
        gap = statistics.mean(gaps)
        won = sum(each > 0 for each in gaps)
        (ahead if gap > 0 else behind).append((-gap, f"{name} ({gap:+.2f}, ahead in {won} of {len(gaps)})"))
    told = [f"{place} {PLAIN}: {', '.join(text for _, text in sorted(found))}."
            for place, found in (("Ahead of", ahead), ("Behind", behind)) if found]  # fmt: skip
    plain = accuracies(rows[PLAIN])
    doubt = f" Seeds of {PLAIN} alone are {max(plain) - min(plain):.1f} points apart: smaller differences are none."
    return "Mean difference over the seeds that both have. " + " ".join(told) + doubt


EXPERIMENT = Experiment("mnist_families", RUNS, run, inputs=INPUTS)

if __name__ == "__main__":
    main(EXPERIMENT, __file__)
