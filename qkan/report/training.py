"""Training curves for the page."""

import math
from typing import Any

from qkan.history import History
from qkan.plot.curves import falls_far, label, panels

__all__ = ["training"]


def training(history: History | None) -> dict[str, Any] | None:
    """Return epochs and panels of curves as plain JSON values, a number that is not finite as None.

    >>> history = History().append({"epoch": 1, "train_loss": math.nan, "top1": 0.5})
    >>> [panel["title"] for panel in training(history)["panels"]]
    ['loss', 'top-1 accuracy']
    """
    if history is None or not len(history):
        return None
    epochs = history["epoch"] if "epoch" in history.names else list(range(1, len(history) + 1))
    return {"epochs": epochs, "panels": [_panel(history, names) for names in panels(history)]}


def _panel(history: History, names: list[str]) -> dict[str, Any]:
    curves = [{"name": label(name), "values": [_finite(v) for v in history[name]]} for name in names]
    title = "loss" if len(names) > 1 or names[0].endswith("loss") else label(names[0])
    return {"title": title, "log": all(falls_far(name, history[name]) for name in names), "curves": curves}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
