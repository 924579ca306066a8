"""MNIST: fully connected networks of splines, harmonics, Gaussians and circuits reach what was published for splines.

    python experiments/mnist_networks.py --data ROOT
    python experiments/mnist_networks.py --data ROOT --only "MLP*" "KAN*"   # the rows that have a bar

The widths, the recipe and the rows with a published figure are those of a study of efficient-kan's layer. Two of its
MLPs apply SiLU and dropout to the logits as well; plain ones stand beside them.
"""

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from harness import Experiment, Settings, main
from mnist_common import INPUTS, SEEDS, accuracies, bars, build, by_row, load, train, versions_text
from tables import mean_and_range, table
from torch import nn

from qkan import KAN, QKAN

WIDTHS = ([784, 64, 10], [784, 10], [784, 48, 10], [784, 100, 100, 100, 10])
# 9 trained numbers per edge everywhere; their small starts were chosen on 10,000 held-out training images.
BASES: dict[str, Settings] = {
    "Fourier": {"basis": "fourier", "options": {"grid_size": 4, "scale_spline": 0.1}},
    "RBF": {"basis": "rbf", "options": {"num_grids": 8, "scale_spline": 0.1}},
    "QKAN": {"basis": "circuit", "options": {"base_activation": "identity", "init": 0.004}},
}
HANDICAP = "SiLU and dropout on the logits too"
PUBLISHED_ROWS: dict[str, Settings] = {
    f"MLP [784, 10], {HANDICAP}": {"width": [784, 10], "dropout": 0.2, "logits": True},
    f"MLP [784, 500, 10], {HANDICAP}": {"width": [784, 500, 10], "dropout": 0.2, "logits": True},
    "MLP [784, 100, 100, 100, 10]": {"width": [784, 100, 100, 100, 10]},
    "MLP [784, 10]": {"width": [784, 10]},
    "MLP [784, 500, 10]": {"width": [784, 500, 10]},
    # Base weights as drawn: the published counts are 9 per edge. The first one has no published count.
    "KAN [784, 64, 10]": {"width": [784, 64, 10], "basis": "bspline", "frozen": False},
    "KAN [784, 10]": {"width": [784, 10], "basis": "bspline", "frozen": True},
    "KAN [784, 48, 10]": {"width": [784, 48, 10], "basis": "bspline", "frozen": True},
    "KAN [784, 100, 100, 100, 10]": {"width": [784, 100, 100, 100, 10], "basis": "bspline", "frozen": True},
}
OTHER_ROWS: dict[str, Settings] = {
    **{f"{name} {width}": {"width": width, **basis} for width in WIDTHS for name, basis in BASES.items()},
    "QKAN [784, 10], no branch": {"width": [784, 10], "basis": "circuit"},
    "QKAN [784, 64, 10], no branch": {"width": [784, 64, 10], "basis": "circuit"},
}
SETTINGS: Settings = {
    "epochs": 10, "batch": 64, "lr": 1e-3, "decay": 1e-4, "gamma": 0.8,
    "samples": 60_000, "test_samples": 10_000, "range": [-1, 1],
}  # fmt: skip
RUNS = {
    f"{name}/{seed}": SETTINGS | row | {"seed": seed}
    for rows in (PUBLISHED_ROWS, OTHER_ROWS)
    for seed in SEEDS
    for name, row in rows.items()
}
PUBLISHED = {
    "KAN [784, 64, 10]": 97.3, "KAN [784, 10]": 93.6, "KAN [784, 48, 10]": 96.2, "KAN [784, 100, 100, 100, 10]": 97.7,
    f"MLP [784, 10], {HANDICAP}": 86.2, f"MLP [784, 500, 10], {HANDICAP}": 96.5, "MLP [784, 100, 100, 100, 10]": 97.5,
}  # fmt: skip


def network(settings: Settings) -> nn.Sequential:
    """Return images [batch, 1, 28, 28] -> logits [batch, 10]."""
    return nn.Sequential(nn.Flatten(), _mlp(settings) if "basis" not in settings else _edges(settings))


def _edges(settings: Settings) -> nn.Module:
    width, basis, options = settings["width"], settings["basis"], settings.get("options", {})
    if basis == "circuit":
        return QKAN(width, **options)
    model = KAN(width, basis, **options)
    if settings.get("frozen"):
        for name, weight in model.named_parameters():
            weight.requires_grad_(not name.endswith("base_weight"))
    return model


def _mlp(settings: Settings) -> nn.Sequential:
    parts: list[nn.Module] = []
    for sizes in pairwise(settings["width"]):
        parts += [nn.Linear(*sizes), nn.SiLU(), nn.Dropout(settings.get("dropout", 0.0))]
    return nn.Sequential(*(parts if settings.get("logits") else parts[:-2]))


def run(settings: Settings, folder: Path) -> Settings:
    model = build(lambda: network(settings), settings["seed"])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adamw = torch.optim.AdamW(trained, lr=settings["lr"], weight_decay=settings["decay"], fused=True)
    scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=settings["gamma"])
    return train(model, load(settings["data"], settings), settings, optimizer=adamw, scheduler=scheduler)


def section(results: dict[str, Any]) -> str:
    rows = by_row(results)
    titles = ["network", "parameters", "seeds", "last epoch", "best epoch", "published", "CPU s"]
    return "\n\n".join([
        "## MNIST: fully connected networks",
        f"Batches of {SETTINGS['batch']}, {SETTINGS['epochs']} epochs of "
        f"{math.ceil(SETTINGS['samples'] / SETTINGS['batch'])} steps, AdamW 1e-3 with weight decay 1e-4, learning rate "
        "x 0.8 after each epoch, images in [-1, 1], no "
        f"augmentation; {versions_text(results)}. KAN: B-splines, grid 5, order 3, base weights as drawn where the "
        "published count is 9 per edge. Fourier: 4 harmonics; RBF: 8 Gaussians; QKAN: circuits of 3 repetitions; each "
        "with a base branch (SiLU, of circuits the identity), so 9 per edge as well, or 8 without one. Test accuracy "
        "in percent: mean (smallest to largest). The best epoch selects on the test set; published figures are single "
        "runs. The published KAN [784, 500, 10] and [784, 5000, 10] were not repeated: too long for two cores.",
        table(titles, [_row(name, rows[name]) for name in _order(rows)]),
        bars(rows, PUBLISHED),
        _reading(rows),
    ])  # fmt: skip


def _order(rows: dict[str, list[Settings]]) -> list[str]:
    """By depth, then by number of parameters."""
    size = {name: (len(runs[0]["settings"]["width"]), runs[0]["result"]["parameters"]) for name, runs in rows.items()}
    return sorted(rows, key=lambda name: size[name])


def _row(name: str, runs: list[Settings]) -> list[str]:
    return [
        name,
        f"{runs[0]['result']['parameters']:,}",
        str(len(runs)),
        mean_and_range(accuracies(runs)),
        mean_and_range(accuracies(runs, best=True)),
        f"{PUBLISHED[name]:.1f}" if name in PUBLISHED else "-",
        mean_and_range([run["result"]["cpu_seconds"] for run in runs], 0),
    ]


def _reading(rows: dict[str, list[Settings]]) -> str:
    """Return the order of the networks of equal widths, by seed 0, which all of them have."""
    told = []
    for width in WIDTHS:
        same = {name: runs for name, runs in rows.items() if runs[0]["settings"]["width"] == width}
        seed0 = {name: accuracies(runs[:1])[0] for name, runs in same.items() if runs[0]["settings"]["seed"] == 0}
        order = sorted(seed0, key=lambda name: -seed0[name])
        if not order:
            continue
        told.append(f"- {width}: {', '.join(f'{_short(name, width)} {seed0[name]:.2f}' for name in order)}")
    return "Seed 0 after the last epoch, best first (one seed does not settle small differences):\n\n" + "\n".join(told)


def _short(name: str, width: list[int]) -> str:
    return name.replace(f" {width}", "")


EXPERIMENT = Experiment("mnist_networks", RUNS, run, inputs=INPUTS)

if __name__ == "__main__":
    main(EXPERIMENT, __file__)
