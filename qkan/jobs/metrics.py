"""Losses and metrics of a job, by name; the metrics are those of torchmetrics."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from qkan.jobs.config import Train
from qkan.jobs.data import Task
from qkan.training.steps import Measure

__all__ = ["METRICS", "loss_of", "metrics_of"]


def loss_of(train: Train, task: Task) -> Measure:
    """Return the loss of a task.

    Raises:
        ValueError: one that does not suit the task.
    """
    suited = "mse" if task.kind == "numbers" else "cross_entropy"
    if train.loss not in ("auto", suited):
        raise ValueError(f"train.loss must be {suited} (or auto) for this data; got {train.loss}")
    return mse_loss if suited == "mse" else cross_entropy


def metrics_of(train: Train, task: Task) -> dict[str, Measure]:
    """Return the metrics of a task, means over the samples of a batch.

    Raises:
        ValueError: an unknown metric, or one of another task.
        ImportError: without torchmetrics.
    """
    auto = {"classes": ("top1", "top5"), "map": ("accuracy", "dice"), "numbers": ()}[task.kind]
    chosen = [part for name in train.metrics for part in (auto if name == "auto" else (name,))]
    for name in chosen:
        kinds = METRICS.get(name, (None, ()))[1]
        if task.kind not in kinds:
            suited = [known for known, (_, kinds) in METRICS.items() if task.kind in kinds]
            raise ValueError(f"train.metrics must be among {', '.join(suited) or 'none'} for this data; got {name!r}")
    return {name: METRICS[name][0](task.outputs) for name in dict.fromkeys(chosen)}


def _functional() -> Any:
    try:
        import torchmetrics.functional
    except ImportError as error:
        raise ImportError('metrics need torchmetrics: pip install "qkan-torch[train]"') from error
    return torchmetrics.functional


def _top(k: int, classes: int) -> Measure:
    options = {"num_classes": classes, "top_k": min(k, classes), "average": "micro"}
    measure: Measure = partial(_functional().classification.multiclass_accuracy, **options)
    return measure


def _accuracy(classes: int) -> Measure:
    return _top(1, classes)


def _dice(classes: int) -> Measure:
    """Return 2 |A ∩ B| / (|A| + |B|), the mean over the classes of an image, then over the images."""
    from torchmetrics.functional import segmentation

    def dice(output: Tensor, target: Tensor) -> Tensor:
        found = output.argmax(1)
        score: Tensor = segmentation.dice_score(found, target, classes, input_format="index", average="macro")
        return score.mean()

    return dice


def _absolute(outputs: int) -> Measure:
    measure: Measure = _functional().regression.mean_absolute_error
    return measure


METRICS: Mapping[str, tuple[Callable[[int], Measure], tuple[str, ...]]] = {
    "top1": (partial(_top, 1), ("classes",)),
    "top5": (partial(_top, 5), ("classes",)),
    "accuracy": (_accuracy, ("map",)),
    "dice": (_dice, ("map",)),
    "mae": (_absolute, ("numbers",)),
}
"""What makes a metric, and the kinds of task that it is for."""
