"""Does a quantum core do more on CIFAR-100 than the bottleneck around it? The study's models, the best head, ablations.

    python experiments/cifar100.py --data cifar100.npz

All of CIFAR-100 by the published protocol: inputs in [-1, 1], no augmentation, Adam 1e-3, batches of 1,000. The best
head was chosen on a validation split (`cifar100_search.py`). The study's own models are run by `qkan reproduce`.
"""

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Experiment, Settings, main, parameters
from heads import trained
from tables import mean_and_range, table, verdict

from qkan import cli
from qkan.data.images import load_images
from qkan.history import History
from qkan.plot import training_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS = (0, 1, 2)
LONG, SHORT = 50, 20  # epochs
RATE = 1e-3

# Heads by name: a model of the study, or a description (see heads.py).
HEADS: dict[str, str | Settings] = {
    "mlp": "mlp",
    "hqkan-44": "hqkan-44",
    "hqkan-44, amplitude": "hqkan-44",
    "hqkan": "hqkan",
    "linear": "linear",
    "silu": "silu",
    "silu-matched": "silu-matched",
    "best": {"latent": [52], "core": "activation", "options": {"encoding": "unit"}},
    "best, linear": {"latent": [53], "core": "none"},
    "best, SiLU": {"latent": [53], "core": "pointwise"},
}
TITLES = {
    "mlp": "MLP 256-192-128-100",
    "hqkan-44": "HQKAN-44 as published, ⟨Z⟩",
    "hqkan-44, amplitude": "HQKAN-44, amplitude readout (as published)",
    "hqkan": "HQKAN, latents 8 and 7, ⟨Z⟩",
    "linear": "HQKAN-44, its core replaced by one linear map",
    "silu": "HQKAN-44, its core replaced by SiLU, equal latents",
    "silu-matched": "HQKAN-44, its core replaced by SiLU, equal parameters",
    "best": "best: 52 latents, `QKANActivation`",
    "best, linear": "best, its circuits left out, 53 latents",
    "best, SiLU": "best, its circuits replaced by SiLU, 53 latents",
}
LONG_RUNS = ("mlp", "hqkan-44", "best", "best, linear")
ONE_LONG_RUN = ("linear", "silu", "silu-matched")  # seed 0; its first epochs are those of a short run
# A quantum head, and what is left of it without its circuits.
RIVALS = {
    "chosen": ("best", "best, linear", "best, SiLU"),
    "published": ("hqkan-44", "linear", "silu", "silu-matched"),
}
ONE_SEED = ("hqkan-44, amplitude", "hqkan")
IN_THE_FIGURE = ("mlp", "hqkan-44", "linear", "silu-matched", "best", "best, linear")  # as many as colours differ
DRAWN = ("test_loss", "top1")
# best of 50 epochs, single runs of the study's authors
PUBLISHED = {"mlp": (37.38, 67.87), "hqkan-44, amplitude": (36.21, 67.17), "hqkan": (21.32, 50.48)}


def _runs() -> dict[str, Settings]:
    runs: dict[str, Settings] = {}
    for seed in SEEDS:
        for name, head in HEADS.items():
            long = name in (*LONG_RUNS, *ONE_SEED) or (name in ONE_LONG_RUN and not seed)
            epochs = LONG if long else SHORT
            settings = {"head": head, "epochs": epochs, "lr": RATE, "seed": seed}
            if seed == 0 or name not in ONE_SEED:
                runs[f"{name}/{seed}"] = settings | ({"readout": "amplitude"} if "amplitude" in name else {})
    return runs


RUNS = _runs()


def run(settings: Settings, folder: Path) -> Settings:
    return _study(settings, folder) if isinstance(settings["head"], str) else _described(settings, folder)


def _study(settings: Settings, folder: Path) -> Settings:
    out = folder / "run"
    options = {"data-set": "cifar100", "model": settings["head"], "threads": 1, "out": out}
    options |= {name: settings[name] for name in ("data", "epochs", "lr", "seed", "readout") if name in settings}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    code = cli.main(["reproduce", *words, *(["--resume"] if out.exists() else [])])
    if code:
        raise RuntimeError(f"qkan reproduce {' '.join(words)} ended with {code}")
    results = json.loads((out / "results.json").read_text())
    return {"parameters": results["parameters"], "history": results["history"]}


def _described(settings: Settings, folder: Path) -> Settings:
    train, test, _ = load_images("cifar100", settings["data"])
    model, history = trained(settings, train, test, folder)
    parts = {"total": model, "features": model.get_submodule("features"), "head": model.get_submodule("head")}
    return {"parameters": {name: parameters(part) for name, part in parts.items()}, "history": history.to_dict()}


EXPERIMENT = Experiment("cifar100", RUNS, run, inputs={"data": "cifar100.npz, or a torchvision root"})


def section(results: Settings) -> str:
    """The part of the page of results."""
    runs = results["runs"]
    short, long = (_all_measured(runs, epochs) for epochs in (SHORT, LONG))
    return f"""## CIFAR-100: is a quantum core worth having?

All 50,000 training and 10,000 test images by the published protocol: inputs in [-1, 1], no augmentation, Adam 1e-3,
batches of 1,000; the same three convolutions (56,320 parameters) under every head. The seed gives the initial weights
and the order of the images. The head "best" was chosen on a validation split (above), not on the test set. `best` is
the epoch with the best top-1 on the test set, as in the published table, which flatters every row alike; `last` is the
last epoch. Percent; mean over the seeds, in brackets the smallest and the largest.

After {SHORT} epochs:

{_table(short, {})}

After {LONG} epochs:

{_table(long, PUBLISHED)}

![Loss and top-1 on the test set by epoch, means over the seeds](cifar100.png)

{_bars(short, long)}"""


def _all_measured(runs: Settings, epochs: int) -> dict[str, list[Settings]]:
    """Best and last epoch within so many epochs, for every head, of the seeds that ran that long."""
    found = {}
    for name in HEADS:
        histories = _histories(runs, name, epochs)
        if histories:
            head = runs[f"{name}/0"]["result"]["parameters"]["head"]
            cut = [History(history.epochs[:epochs]) for history in histories]
            found[name] = [{"best": part.best("top1"), "last": part.last, "head": head} for part in cut]
    return found


def _histories(runs: Settings, name: str, epochs: int) -> list[History]:
    stored = (runs.get(f"{name}/{seed}") for seed in SEEDS)
    histories = [History.from_dict(run["result"]["history"]) for run in stored if run is not None]
    return [history for history in histories if len(history) >= epochs]


def _table(measured: dict[str, list[Settings]], published: dict[str, tuple[float, float]]) -> str:
    rows = []
    for name, seeds in measured.items():
        cells = [
            mean_and_range([100 * seed[when][metric] for seed in seeds])
            for when in ("best", "last")
            for metric in ("top1", "top5")
        ]
        known = published.get(name, ("", "")) if published else ()
        rows.append([TITLES[name], f"{seeds[0]['head']:,}", len(seeds), *cells, *known])
    columns = ["head", "parameters", "seeds", "best top-1", "top-5", "last top-1", "top-5"]
    return table(columns + (["published top-1", "top-5"] if published else []), rows)


def _bars(short: dict[str, list[Settings]], long: dict[str, list[Settings]]) -> str:
    """Whether the bars are met, computed; nothing is decided before all seeds have run."""
    worth = {kind: _worth(short, *names) for kind, names in RIVALS.items()}
    lines = [f'"{name}" is {gain:+.2f} points from "{rival}"' for name, gain, rival in worth.values()]
    gains = {metric: _mean(long["best"], metric) - _mean(long["mlp"], metric) for metric in ("top1", "top5")}
    cores = _decided([short[name] for name in RIVALS["chosen"] if name in short], worth["chosen"][1] >= 1.5)
    heads = _decided([long["best"], long["mlp"]], min(gains.values()) > 0)
    return f"""Bars, from the means of `best`:

- A quantum core is to be worth at least 1.5 points of top-1 over the best of its ablations with equal head parameters
  ({SHORT} epochs): {"; ".join(lines)}. For the core that was chosen: {cores}.
- The best head of at most 19,200 parameters is to be above the MLP's top-1 and top-5 after {LONG} epochs:
  {gains["top1"]:+.2f} and {gains["top5"]:+.2f}, {heads}."""


def _decided(rows: list[list[Settings]], met: bool) -> str:
    fewest = min(map(len, rows))
    return verdict(met) if fewest == len(SEEDS) else f"not decided ({fewest} of {len(SEEDS)} seeds)"


def _worth(measured: dict[str, list[Settings]], name: str, *ablations: str) -> tuple[str, float, str]:
    """How far a head is above the best of its ablations, in points of top-1."""
    rivals = {rival: _mean(measured[rival], "top1") for rival in ablations if rival in measured}
    best = max(rivals, key=lambda rival: rivals[rival])
    return TITLES[name], _mean(measured[name], "top1") - rivals[best], TITLES[best]


def _mean(seeds: list[Settings], metric: str) -> float:
    return 100 * statistics.fmean(seed["best"][metric] for seed in seeds)


def figure(results: Settings) -> "Figure":
    """Loss and top-1 on the test set by epoch, the mean over the seeds."""
    curves = {}
    for name in IN_THE_FIGURE:
        rows = list(zip(*(run.epochs for run in _histories(results["runs"], name, SHORT)), strict=False))
        if rows:  # to the end of the shortest run
            mean = {metric: [statistics.fmean(row[metric] for row in epoch) for epoch in rows] for metric in DRAWN}
            curves[TITLES[name].replace("`", "")] = History.from_dict({"epoch": list(range(1, len(rows) + 1)), **mean})
    return training_curves(curves, names=DRAWN)


if __name__ == "__main__":
    main(EXPERIMENT, __file__)
