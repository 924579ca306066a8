"""Figures. Every function returns a matplotlib figure and writes nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qkan.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["training_curves"]

_LABELS = {"train_loss": "training loss", "test_loss": "test loss", "top1": "top-1 accuracy", "top5": "top-5 accuracy"}


def training_curves(histories: History | Mapping[str, History], names: Sequence[str] | None = None) -> "Figure":
    """Draw what was measured over the epochs, one panel per quantity.

    Args:
        histories: one history, or several by label.
        names: what to draw; by default the losses in one panel and every metric in its own.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is nothing to draw, or `names` holds something that was not measured.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "qkan-torch[plot]"') from error
    runs = {"": histories} if isinstance(histories, History) else dict(histories)
    if not runs or not all(len(history) for history in runs.values()):
        raise ValueError("nothing to draw: give at least one history with at least one epoch")
    panels = _panels(next(iter(runs.values())), names)
    figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (label, history) in enumerate(runs.items()):
            for name in panel:
                style = ":" if name == "train_loss" and len(panel) > 1 else "-"
                text = ", ".join(part for part in (label, _LABELS.get(name, name) if len(panel) > 1 else "") if part)
                axes.plot(history["epoch"], history[name], style, color=f"C{number}", label=text or None)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss" if len(panel) > 1 else _LABELS.get(panel[0], panel[0]))
        axes.grid(alpha=0.3)
        if len(panel) > 1 and len(runs) == 1:
            axes.legend(fontsize="small")
    if len(runs) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, fontsize="small", loc="outside lower center", ncols=2)
    return figure


def _panels(history: History, names: Sequence[str] | None) -> list[list[str]]:
    if names is not None:
        return [[name] for name in names]
    losses = [name for name in history.names if name.endswith("loss")]
    metrics = [name for name in history.names if name not in {*losses, "epoch", "seconds", "test_seconds"}]
    return [losses, *([name] for name in metrics)]
