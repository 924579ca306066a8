"""What the experiments on MNIST share: the images in memory, one call of `fit`, and the cells of their tables."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from harness import Settings, parameters
from torch import Tensor, nn

from qkan import fit
from qkan.data.images import Images, load_images
from qkan.training import evaluate, top_k

__all__ = [
    "INPUTS", "SEEDS", "SLACK", "Data", "accuracies", "bars", "build", "by_row", "load", "train", "versions_text",
]  # fmt: skip

Data = tuple[Tensor, Tensor]
SEEDS = (0, 1, 2)
SLACK = 0.2
"""By how many points the mean over the seeds may be under a published single run."""
METRICS = {"top1": top_k(1)}
INPUTS = {"data": "a torchvision root, or mnist.npz"}


def load(path: str | None, settings: Settings) -> tuple[Data, Data]:
    """Return the first images for training and for tests, float [samples, 1, 28, 28] in `range`, and their labels."""
    training, test, _ = load_images("mnist", path)
    low, high = settings["range"]
    return _floats(training, settings["samples"], low, high), _floats(test, settings["test_samples"], low, high)


def _floats(images: Images, samples: int, low: float, high: float) -> Data:
    pixels = images.images[:samples, :, 2:-2, 2:-2].float()  # without the frame that makes them 32 x 32
    return pixels.mul_((high - low) / 255).add_(low).contiguous(), images.labels[:samples]


def build(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return a module whose start depends on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def train(
    model: nn.Module, data: tuple[Data, Data], settings: Settings, test_once: bool = False, **keywords: Any
) -> Settings:
    """Train on the first, test on the second after every epoch or once, at the end; return what was measured."""
    torch.manual_seed(settings["seed"])  # of dropout: the process holds this run alone
    if not test_once:
        keywords |= {"validation": data[1], "metrics": METRICS}
    start = time.process_time()
    history = fit(
        model,
        data[0],
        epochs=settings["epochs"],
        batch_size=settings["batch"],
        generator=torch.Generator().manual_seed(settings["seed"]),
        **keywords,
    )
    seconds = time.process_time() - start
    found = history.to_dict()
    if test_once:
        measured = evaluate(model, data[1], metrics=METRICS)
        found |= {"test_loss": [measured["loss"]], "top1": [measured["top1"]]}
    return {"parameters": parameters(model), "cpu_seconds": seconds, "history": found}


def by_row(results: Mapping[str, Any]) -> dict[str, list[Settings]]:
    """Return the runs of every row, seed by seed: runs are named ROW/SEED."""
    rows: dict[str, list[Settings]] = {}
    for name, run in results["runs"].items():
        rows.setdefault(name.rpartition("/")[0], []).append(run)
    return {row: sorted(runs, key=lambda run: run["settings"]["seed"]) for row, runs in rows.items()}


def accuracies(runs: Iterable[Settings], best: bool = False) -> list[float]:
    """Return the test accuracy of each run in percent, after its last epoch or its best one."""
    found = [run["result"]["history"]["top1"] for run in runs]
    return [100 * (max(top1) if best else top1[-1]) for top1 in found]


def bars(rows: Mapping[str, list[Settings]], published: Mapping[str, float]) -> str:
    """Return, in sentences, which rows meet the bar: a mean over all seeds of at least the published run less 0.2."""
    met: list[str] = []
    missed: list[str] = []
    short: list[str] = []
    for row, bar in published.items():
        values = accuracies(rows.get(row, ()))
        if len(values) < len(SEEDS):
            short.append(f"{row} ({len(values)} of {len(SEEDS)} seeds)")
            continue
        mean = statistics.mean(values)
        (met if mean >= bar - SLACK else missed).append(f"{row} {mean:.2f} against {bar:.2f} ({mean - bar:+.2f})")
    parts = (("Met", met), ("Missed", missed), ("Not decided", short))
    told = ". ".join(f"{title}: {'; '.join(found)}" for title, found in parts if found)
    return f"Bar: the mean of {len(SEEDS)} seeds is at least the published single run less {SLACK} points. {told}."


def versions_text(results: Mapping[str, Any]) -> str:
    """Return the versions that the runs were made with."""
    found: dict[str, set[str]] = {}
    for run in results["runs"].values():
        for name, version in run["versions"].items():
            found.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(values))}" for name, values in found.items())
