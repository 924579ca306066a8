"""What a study of many trials has found."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qkan.plot import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["trial_panels"]


def trial_panels(
    rows: Sequence[Mapping[str, Any]], parameters: Sequence[str], metric: str, logarithmic: Sequence[str] = ()
) -> "Figure":
    """Draw the value of every trial over each parameter, one panel per parameter.

    Args:
        rows: of every trial `value` and its parameters, the best trial first; that one is drawn in another colour.
        parameters: what to draw.
        metric: what the values are.
        logarithmic: parameters on a logarithmic scale.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: there is nothing to draw.

    Example:
        >>> rows = [{"value": 0.1, "lr": 0.01}, {"value": 0.3, "lr": 0.1}]
        >>> len(trial_panels(rows, ["lr"], "test_loss", ["lr"]).axes)
        1
    """
    if not rows or not parameters:
        raise ValueError("nothing to draw: give at least one trial with a value, and one parameter")
    lines, columns = style.grid(len(parameters))
    figure = style.empty(3.2 * columns, 2.8 * lines)
    values = [row["value"] for row in rows]
    for position, name in enumerate(parameters):
        axes = figure.add_subplot(lines, columns, position + 1)
        places = [row[name] for row in rows]
        axes.plot(places[1:], values[1:], "o", color=style.COLOURS[0], markersize=4)
        axes.plot(places[:1], values[:1], "o", color=style.COLOURS[1], markersize=6)
        style.tidy(axes, x=name, y=metric if position % columns == 0 else "")
        axes.grid(alpha=0.25)
        if name in logarithmic:
            axes.set_xscale("log")
    return figure
