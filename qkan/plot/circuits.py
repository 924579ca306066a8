"""Drawings of the circuit of an edge."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from qkan import ansatz as ansatze
from qkan._checks import positive_integer
from qkan.ansatz import Ansatz, Operation
from qkan.noise import Channel
from qkan.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["circuit"]

Values = Tensor | Sequence[float]

_FILL = {"fixed": "#E4E4E4", "trainable": "#BFDDF0", "encoding": "#F7D9A8", "channel": "#F0CDE0"}
_MEANING = {"fixed": "fixed gate", "trainable": "trainable angle", "encoding": "upload", "channel": "noise"}
_WIDTH = {"fixed": 0.62, "trainable": 0.98, "encoding": 1.34, "channel": 1.36}
_LETTER = 0.0135  # units of a letter of one point
_SHORT = {"amplitude_damping": "damping", "phase_damping": "dephasing", "bit_flip": "bit flip"}
_GAP, _HEIGHT, _ROW = 0.2, 0.9, 1.25  # of units; a unit is _INCH
_INCH = 0.66
_LINE = 15.0  # units of gates in a row


class _Placed(NamedTuple):
    """A gate of the drawing: its row, its left end there, its width, and what is written on it."""

    row: int
    left: float
    width: float
    kind: str
    text: str


def circuit(
    ansatz: str | Ansatz,
    reps: int = 3,
    theta: Values | None = None,
    weight: Values | None = None,
    bias: Values | None = None,
) -> "Figure":
    r"""Draw the circuit of an edge on its wire: gates coloured by what turns them, then the measurement of Z.

    Long circuits go on in the next row. A circuit that encodes u = arccos m(x) says so below.

    Args:
        ansatz: a name or an `Ansatz`, with its noise.
        reps: repetitions of the block.
        theta: [angles], radians, to be written on the gates; None for their names θ₀, θ₁, ...
        weight: [uploads], the encoding weights; None for their names.
        bias: [uploads], radians, the encoding biases; None for their names, or for none where weights are given.

    Raises:
        ImportError: matplotlib is missing.
        TypeError: if ansatz is neither a name nor an `Ansatz`, or reps no integer.
        ValueError: for an unknown ansatz, reps below 1, or a wrong number of angles, weights or biases.

    Example:
        >>> figure = circuit("pz", reps=2, weight=(1, 3))
        >>> [text.get_text() for text in figure.axes[0].texts][1:5]
        ['H', 'RZ\n$\\theta_{0}$', 'RY\n$\\theta_{1}$', 'RZ\n$x$']
    """
    description, reps = ansatze.named(ansatz), positive_integer("reps", reps)
    uploads = description.uploads(reps)
    names = _Names(
        symbol="x" if description.arccos_map is None else "u",
        theta=_values("theta", theta, description.angles(reps), "angles"),
        weight=_values("weight", weight, uploads, "uploads"),
        bias=_values("bias", bias, uploads, "uploads"),
    )
    placed, ends = _placed(description.circuit(reps), names)
    figure, axes = _canvas(len(ends), max(ends), bool(description.arccos_map))
    for row, end in enumerate(ends):
        _wire(axes, row, end, first=row == 0, last=row == len(ends) - 1)
    for gate in placed:
        _box(axes, gate)
    _meter(axes, len(ends) - 1, ends[-1])
    _legend(axes, description, [gate.kind for gate in placed])
    return figure


class _Names(NamedTuple):
    """What angles and uploads are called: numbers, or names where there are none."""

    symbol: str
    theta: list[float] | None
    weight: list[float] | None
    bias: list[float] | None

    def label(self, operation: Operation) -> str:
        """Return what is written on a gate."""
        if operation.source == "channel":
            return "\n".join(map(_channel, operation.channels))
        angle = {"trainable": self._trained, "encoding": self._upload}.get(operation.source)
        return operation.name if angle is None else f"{operation.name}\n${angle(operation.position)}$"

    def _trained(self, position: int) -> str:
        return rf"\theta_{{{position}}}" if self.theta is None else f"{self.theta[position]:.2f}"

    def _upload(self, position: int) -> str:
        if self.weight is None:
            factor = f"w_{{{position}}}{self.symbol}"
        else:
            factor = _product(self.weight[position], self.symbol)
        if self.bias is not None:
            return f"{factor}{self.bias[position]:+.2f}" if self.bias[position] else factor
        return factor + (f"+b_{{{position}}}" if self.weight is None else "")


def _product(weight: float, symbol: str) -> str:
    if weight in (1, -1):
        return f"{'-' if weight < 0 else ''}{symbol}"
    return (f"{weight:.0f}" if weight.is_integer() else f"{weight:.2f}") + rf"\,{symbol}"


def _channel(channel: Channel) -> str:
    between = " " if len(channel.strengths) == 1 else "\n"
    strengths = " ".join(f"{strength:.3g}" for strength in channel.strengths)
    return _SHORT.get(channel.name, channel.name) + between + strengths


def _values(name: str, given: Values | None, size: int, what: str) -> list[float] | None:
    if given is None:
        return None
    found = [float(value) for value in (given.detach().flatten().tolist() if isinstance(given, Tensor) else given)]
    if len(found) != size:
        raise ValueError(f"{name} must hold {size} numbers, one for each of the {what}; got {len(found)}")
    return found


def _placed(operations: Sequence[Operation], names: _Names) -> tuple[list[_Placed], list[float]]:
    """Return the gates with their places, and where the wire of every row ends; rows are about equally long."""
    texts = [names.label(operation) for operation in operations]
    widths = [_width(operation.source, text) for operation, text in zip(operations, texts, strict=True)]
    total = sum(widths) + _GAP * len(widths)
    limit = total / math.ceil(total / _LINE)
    placed: list[_Placed] = []
    ends = [_GAP]
    for operation, text, width in zip(operations, texts, widths, strict=True):
        if ends[-1] + width / 2 > limit + _GAP and placed:
            ends.append(_GAP)
        placed.append(_Placed(len(ends) - 1, ends[-1], width, operation.source, text))
        ends[-1] += width + _GAP
    return placed, ends


def _width(kind: str, text: str) -> float:
    """Return the width of a gate: that of its kind, or more for long numbers."""
    if "_" in text:  # names with subscripts
        return _WIDTH[kind]
    letters = max(len(line.replace(r"\,", "").strip("$")) for line in text.split("\n"))
    size = style.TINY if kind == "channel" else style.TEXT
    return max(_WIDTH[kind], _LETTER * letters * size + 0.15)


def _canvas(rows: int, width: float, note: bool) -> tuple["Figure", "Axes"]:
    left, right, below = 0.75, 1.75, 0.32 + 0.35 * note
    across, up = left + width + right, rows * _ROW + below
    figure = style.empty(across * _INCH, up * _INCH, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-left, width + right), ylim=(-(rows - 0.5) * _ROW - below, _ROW / 2))
    axes.axis("off")
    return figure, axes


def _wire(axes: "Axes", row: int, end: float, *, first: bool, last: bool) -> None:
    y = -row * _ROW
    axes.plot([0, end], [y, y], color=style.INK, linewidth=1, zorder=0)
    start = r"$|0\rangle$" if first else "…"
    axes.text(-0.08, y, start, ha="right", va="center", fontsize=12, color=style.INK)
    if not last:
        axes.text(end + 0.08, y, "…", ha="left", va="center", fontsize=12, color=style.INK)


def _box(axes: "Axes", gate: _Placed) -> None:
    y = -gate.row * _ROW
    _rectangle(axes, gate.left, y, gate.width, _FILL[gate.kind])
    size = style.TINY if gate.kind == "channel" else style.TEXT
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "color": style.INK}
    axes.text(gate.left + gate.width / 2, y, gate.text, linespacing=1.3, **look)


def _rectangle(axes: "Axes", left: float, y: float, width: float, fill: str) -> None:
    from matplotlib.patches import Rectangle

    look: dict[str, Any] = {"facecolor": fill, "edgecolor": style.INK, "linewidth": 0.8}
    axes.add_patch(Rectangle((left, y - _HEIGHT / 2), width, _HEIGHT, **look))


def _meter(axes: "Axes", row: int, end: float) -> None:
    """Draw the measurement: a dial with its hand, and what is measured."""
    from matplotlib.patches import Arc

    width, y = 0.8, -row * _ROW
    _rectangle(axes, end, y, width, "white")
    centre = (end + width / 2, y - 0.18)
    axes.add_patch(Arc(centre, 0.56, 0.56, theta1=15, theta2=165, color=style.INK, linewidth=1))
    tip = (centre[0] + 0.24, centre[1] + 0.42)
    axes.annotate("", tip, centre, arrowprops={"arrowstyle": "-|>", "color": style.INK, "lw": 0.9, "shrinkA": 0})
    axes.text(end + width + 0.1, y, r"$\langle Z\rangle$", ha="left", va="center", fontsize=12, color=style.INK)


def _legend(axes: "Axes", description: Ansatz, kinds: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    used = [kind for kind in _FILL if kind in kinds]
    handles = [Patch(facecolor=_FILL[kind], edgecolor=style.INK, linewidth=0.6, label=_MEANING[kind]) for kind in used]
    axes.legend(
        handles=handles, loc="lower center", ncols=len(used), fontsize=style.SMALL, frameon=False, borderaxespad=0.1
    )
    if description.arccos_map is not None:
        place = (sum(axes.get_xlim()) / 2, axes.get_ylim()[0] + 0.42)
        note = f"$u = {style.ARGUMENTS[description.arccos_map]}$"
        axes.text(*place, note, ha="center", va="bottom", fontsize=style.TEXT, color=style.INK)
