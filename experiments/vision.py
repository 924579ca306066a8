"""Small networks of every architecture of the zoo learn: splines and circuits against plain ones of equal parameters.

    python experiments/vision.py --data ROOT

Splines of 8 functions and circuits of 8 angles, each beside a base branch, have 9 numbers per edge: as many parameters
as a plain network three times as wide. Digits are MNIST's; what U-nets segment is generated here.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import Experiment, Settings, main, parameters
from mnist_common import INPUTS, SEEDS, build, by_row, load, versions_text
from tables import mean_and_range, table
from torch import Tensor, nn

from qkan import fit
from qkan.models.vision import VGGKAN, DenseKANet, ResKANet, U2KANet, UKANet
from qkan.models.vision.u2net import Stage
from qkan.training import evaluate, top_k

KINDS: dict[str, Settings] = {
    "plain": {"basis": "plain", "width_scale": 3},
    "splines": {"basis": "bspline"},
    "circuits": {"ansatz": "pz"},
}
CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "ResKANet": lambda **kind: ResKANet((1, 1, 1), 1, 10, stem_kernel=3, pool=False, **kind),
    "DenseKANet": lambda **kind: DenseKANet(
        (2, 2), 1, 10, growth=4, stem_channels=8, stem_kernel=3, pool=False, **kind
    ),
    "VGGKAN": lambda **kind: VGGKAN((1, 1, 1), 1, 10, **kind),
}
STAGES = (Stage(3, 4, 8), Stage(3, 4, 8), Stage(2, 4, 8, True), Stage(3, 4, 8), Stage(3, 4, 8))
SEGMENTERS: dict[str, Callable[..., nn.Module]] = {
    "UKANet": lambda **kind: UKANet(1, 1, blocks=(1, 1, 1), **kind),
    "U2KANet": lambda **kind: U2KANet(1, 1, stages=STAGES, **kind),
}
CLASSIFY: Settings = {"samples": 4_000, "test_samples": 2_000, "range": [-1, 1], "epochs": 3, "batch": 50, "lr": 3e-3}
SEGMENT: Settings = {"samples": 300, "test_samples": 100, "pixels": 32, "epochs": 8, "batch": 20, "lr": 3e-3}
RUNS = {
    f"{name} {kind}/{seed}": common | {"network": name, "kind": kind, "seed": seed}
    for seed in SEEDS
    for networks, common in ((CLASSIFIERS, CLASSIFY), (SEGMENTERS, SEGMENT))
    for name in networks
    for kind in KINDS
}


def shapes(samples: int, pixels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images [samples, 1, pixels, pixels] of one disc and one square of the same brightness, and the discs.

    Positions, sizes, brightness and a gradient of the background are random, and noise of standard deviation 0.3 is
    added: brightness alone does not tell a disc from a square.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(samples, 1, 1, generator=generator)

    y, x = torch.meshgrid(torch.arange(pixels) / pixels, torch.arange(pixels) / pixels, indexing="ij")
    disc = (x - uniform(0.2, 0.8)) ** 2 + (y - uniform(0.2, 0.8)) ** 2 < uniform(0.1, 0.25) ** 2
    half = uniform(0.09, 0.22)
    square = ((x - uniform(0.2, 0.8)).abs() < half) & ((y - uniform(0.2, 0.8)).abs() < half)
    images = uniform(0.5, 1.5) * (disc | square) + uniform(-0.5, 0.5) * x + uniform(-0.5, 0.5) * y
    images = images + 0.3 * torch.randn(samples, pixels, pixels, generator=generator)
    return images.unsqueeze(1), disc.float().unsqueeze(1)


def dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean over images of 2 |A ∩ B| / (|A| + |B|), A where the logit is positive."""
    return _overlap((logits > 0).to(masks.dtype), masks).mean()


def mask_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean cross-entropy per pixel and 1 - Dice of the probabilities."""
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - _overlap(logits.sigmoid(), masks).mean()


def _overlap(found: Tensor, masks: Tensor) -> Tensor:
    # One pixel more in both: no division by zero for empty ones.
    return (2 * (found * masks).flatten(1).sum(-1) + 1) / (found.flatten(1).sum(-1) + masks.flatten(1).sum(-1) + 1)


def run(settings: Settings, folder: Path) -> Settings:
    name, segments = settings["network"], settings["network"] in SEGMENTERS
    networks = SEGMENTERS if segments else CLASSIFIERS
    model = build(lambda: networks[name](**KINDS[settings["kind"]]), settings["seed"])
    if segments:
        source = torch.Generator().manual_seed(1000)  # the same images for every seed
        training, test = (shapes(settings[key], settings["pixels"], source) for key in ("samples", "test_samples"))
    else:
        training, test = load(settings["data"], settings)
    loss = mask_loss if segments else F.cross_entropy
    metrics = {"dice": dice} if segments else {"top1": top_k(1)}
    start = time.process_time()
    history = fit(
        model,
        training,
        epochs=settings["epochs"],
        batch_size=settings["batch"],
        optimizer=torch.optim.Adam(model.parameters(), lr=settings["lr"]),
        loss=loss,
        generator=torch.Generator().manual_seed(settings["seed"]),
    )
    seconds = time.process_time() - start
    measured = evaluate(model, test, loss=loss, metrics=metrics)
    found = history.to_dict() | {f"test_{key}": value for key, value in measured.items()}
    return {"parameters": parameters(model), "cpu_seconds": seconds, "history": found}


def section(results: dict[str, Any]) -> str:
    rows = by_row(results)
    titles = ["network", "parameters", "seeds", "training loss, first and last epoch", "test loss", "accuracy or Dice",
              "CPU s"]  # fmt: skip
    return "\n\n".join([
        "## Vision: every architecture, equal parameters",
        f"Adam {CLASSIFY['lr']:g}, not tuned for any of them; {versions_text(results)}. Three stages of a ResKANet and "
        f"a VGGKAN, two blocks of a DenseKANet, on the first {CLASSIFY['samples']:,} training and "
        f"{CLASSIFY['test_samples']:,} test images of MNIST, {CLASSIFY['epochs']} epochs in batches of "
        f"{CLASSIFY['batch']}: accuracy in percent. Three stages of a UKANet and five of a U2KANet on "
        f"{SEGMENT['samples']} generated images of {SEGMENT['pixels']} x {SEGMENT['pixels']} pixels, to tell discs "
        f"from squares in noise, {SEGMENT['epochs']} epochs in batches of {SEGMENT['batch']}: Dice on "
        f"{SEGMENT['test_samples']} others in percent. Batch norms everywhere. Splines have grid 5 and order 3, "
        "circuits 3 repetitions beside the identity: 9 numbers per edge, as many as a plain network has that is three "
        "times as wide; the difference is in norms, transitions and outputs. Mean (smallest to largest) of the seeds. "
        "These networks are small: they show that every architecture learns, not which one is best.",
        table(titles, [_row(name, rows[name]) for name in rows]),
        _reading(rows),
    ])  # fmt: skip


def _scores(runs: list[Settings]) -> list[float]:
    found = [run["result"]["history"] for run in runs]
    return [100 * history.get("test_top1", history.get("test_dice")) for history in found]


def _row(name: str, runs: list[Settings]) -> list[str]:
    found = [run["result"]["history"] for run in runs]
    first, last = (mean_and_range([history["train_loss"][at] for history in found]) for at in (0, -1))
    return [
        name,
        f"{runs[0]['result']['parameters']:,}",
        str(len(runs)),
        f"{first}, {last}",
        mean_and_range([history["test_loss"] for history in found]),
        mean_and_range(_scores(runs), 1),
        mean_and_range([run["result"]["cpu_seconds"] for run in runs], 0),
    ]


def _reading(rows: dict[str, list[Settings]]) -> str:
    """Return by how much each network is ahead of the plain one of its architecture, in the same seeds."""
    told = []
    for name in (*CLASSIFIERS, *SEGMENTERS):
        plain = _scores(rows.get(f"{name} plain", []))
        for kind in KINDS:
            ours = _scores(rows.get(f"{name} {kind}", []))
            gaps = [mine - theirs for mine, theirs in zip(ours, plain, strict=False)]
            if kind != "plain" and gaps:
                told.append(f"{name} {kind} {sum(gaps) / len(gaps):+.1f}")
    return f"Mean difference to the plain network, in points, over the seeds that both have: {', '.join(told)}."


EXPERIMENT = Experiment("vision", RUNS, run, inputs=INPUTS)

if __name__ == "__main__":
    main(EXPERIMENT, __file__)
