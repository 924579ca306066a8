"""Training curves."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qkan.history import History
from qkan.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["falls_far", "label", "panels", "training_curves"]

_LABELS = {
    "train_loss": "training loss", "test_loss": "test loss", "top1": "top-1 accuracy", "top5": "top-5 accuracy",
    "lr": "learning rate", "learning_rate": "learning rate",
}  # fmt: skip
_NOT_DRAWN = ("epoch", "seconds", "test_seconds")
_DECADES = 2.0  # what falls through more of them is drawn on a logarithmic scale


def training_curves(histories: History | Mapping[str, History], names: Sequence[str] | None = None) -> "Figure":
    """Draw what was measured over the epochs, one panel per quantity.

    Losses, penalties and learning rates that stay above 0 and fall through more than two decades have a logarithmic
    scale.

    Args:
        histories: one history, or several by label.
        names: what to draw; by default the losses in one panel and everything else in its own.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is nothing to draw, or `names` holds something that was not measured.

    Example:
        >>> rows = {"epoch": [1, 2], "train_loss": [1.0, 0.5], "test_loss": [1.2, 0.6], "top1": [0.3, 0.7]}
        >>> figure = training_curves(History.from_dict(rows))
        >>> len(figure.axes)
        2
    """
    runs = {"": histories} if isinstance(histories, History) else dict(histories)
    if not runs or not all(len(history) for history in runs.values()):
        raise ValueError("nothing to draw: give at least one history with at least one epoch")
    groups = panels(next(iter(runs.values())), names)
    if not groups:
        raise ValueError("nothing to draw: names must hold at least one quantity that was measured")
    rows, columns = style.grid(len(groups))
    figure = style.empty(4.0 * columns, 3.0 * rows)
    for position, panel in enumerate(groups):
        _draw(figure.add_subplot(rows, columns, position + 1), runs, panel)
    if len(runs) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize=style.SMALL, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _draw(axes: "Axes", runs: Mapping[str, History], panel: Sequence[str]) -> None:
    together = len(panel) > 1
    for number, (run, history) in enumerate(runs.items()):
        for name in panel:
            # Two losses of one run differ in colour, those of several runs only in the stroke.
            dashed = name == "train_loss" and together
            colour = style.COLOURS[(number + (dashed and len(runs) == 1)) % len(style.COLOURS)]
            text = ", ".join(part for part in (run, label(name) if together else "") if part)
            steps = history["epoch"], history[name]
            marker = "o" if len(history) == 1 else ""
            axes.plot(*steps, "--" if dashed else "-", marker=marker, color=colour, linewidth=1.6, label=text or None)
    style.tidy(axes, x="epoch", y="loss" if together else label(panel[0]))
    style.whole(axes)
    axes.grid(alpha=0.25)
    if all(falls_far(name, [value for history in runs.values() for value in history[name]]) for name in panel):
        axes.set_yscale("log")
    if together and len(runs) == 1:
        axes.legend(fontsize=style.SMALL, frameon=False)


def panels(history: History, names: Sequence[str] | None = None) -> list[list[str]]:
    """Return which quantities share a panel: by default all losses one, everything else its own."""
    if names is not None:
        return [[name] for name in names]
    losses = [name for name in history.names if name.endswith("loss")]
    metrics = [name for name in history.names if name not in {*losses, *_NOT_DRAWN}]
    return [*([losses] if losses else []), *([name] for name in metrics)]


def label(name: str) -> str:
    """Return what a quantity is called in a figure."""
    return _LABELS.get(name, name.replace("_", " "))


def falls_far(name: str, values: Sequence[float]) -> bool:
    """Return whether the values of a loss, penalty or learning rate fall through decades."""
    if not name.endswith(("loss", "penalty", "lr", "learning_rate")) or not all(0 < v < math.inf for v in values):
        return False
    return math.log10(max(values) / min(values)) > _DECADES
