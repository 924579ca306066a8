"""The network as nodes in rows, every edge with its curve in place (as in pykan, arXiv 2404.19756)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from qkan.plot import sources, style
from qkan.plot.selection import Edges
from qkan.plot.sources import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Diagram", "Part"]

_POINTS = 120
_BOX, _NODE, _ROW = 0.6, 0.55, 1.95  # inches that a box, a node and a row of boxes take
_HEIGHT = 0.3  # of a box, where a row of boxes is 1
_FAINT = 0.12  # opacity of the weakest edge: what is not drawn was removed
_BEHIND: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}


class Part(NamedTuple):
    """What is drawn of a layer: the layer, some of its edges, and how strong they are, [out, in] within 0..1."""

    one: Shown
    edges: Edges
    strength: Tensor


class Diagram(NamedTuple):
    """What is drawn of a network.

    ``parts`` are the layers, the first at the bottom; ``rows`` the nodes of every row from left to right, the inputs
    first, and ``names`` what they are called; ``numbered`` says whether boxes tell which nodes they connect.
    """

    parts: Sequence[Part]
    rows: Sequence[Sequence[int]]
    names: Sequence[Sequence[str]]
    numbered: bool

    @property
    def width(self) -> float:
        """Width in inches."""
        boxes = max(_BOX * len(part.edges) for part in self.parts)
        return max(boxes, _NODE * max(len(row) for row in self.rows), 3.5)

    @property
    def height(self) -> float:
        """Height in inches."""
        return max(_ROW, 0.13 * self.width) * len(self.parts) + 0.7

    def draw(self, axes: "Axes") -> None:
        """Draw it; the axes get a small axes inside for every edge."""
        axes.set(xlim=(0, 1), ylim=(-0.2, len(self.parts) + 0.16))
        axes.axis("off")
        for level in range(len(self.parts)):
            self._layer(axes, level)
        for level in range(len(self.rows)):
            self._nodes(axes, level)

    def _places(self, level: int) -> dict[int, float]:
        row = self.rows[level]
        return {node: (position + 0.5) / len(row) for position, node in enumerate(row)}

    def _layer(self, axes: "Axes", level: int) -> None:
        part, below, above = self.parts[level], self._places(level), self._places(level + 1)
        # Between its nodes, so that few lines cross.
        order = sorted(part.edges, key=lambda edge: (below[edge[1]] + above[edge[0]], below[edge[1]]))
        width = min(0.86 / len(order), 1.4 * _BOX / self.width)
        for position, (output, input) in enumerate(order):
            x, strength = (position + 0.5) / len(order), float(part.strength[output, input])
            _lines(axes, level, (below[input], x, above[output]), strength)
            _box(axes, part, (output, input), (x - width / 2, level + 0.5 - _HEIGHT / 2, width, _HEIGHT))
            if self.numbered:
                place = (x, level + 0.5 - _HEIGHT / 2)
                _write(axes, f"{input}→{output}", place, (0, -7.5), size=style.TINY, ha="center", va="baseline")

    def _nodes(self, axes: "Axes", level: int) -> None:
        last = len(self.parts)
        touched = {output for output, _ in self.parts[level - 1].edges} if level else set()
        touched |= {input for _, input in self.parts[level].edges} if level < last else set()
        for (node, x), name in zip(self._places(level).items(), self.names[level], strict=True):
            hidden, alive = 0 < level < last, node in touched
            look: dict[str, Any] = {"markerfacecolor": style.INK if alive else "white", "markeredgecolor": style.INK}
            axes.plot([x], [level], "o", markersize=13 if hidden else 6, zorder=4, **look)
            if hidden:
                colour = "white" if alive else style.INK
                axes.text(x, level, name, ha="center", va="center_baseline", fontsize=6, color=colour, zorder=5)
            else:
                offset, va = ((0, -6), "top") if level == 0 else ((0, 6), "bottom")
                _write(axes, name, (x, level), offset, size=style.SMALL, ha="center", va=va)


def _lines(axes: "Axes", level: int, x: tuple[float, float, float], strength: float) -> None:
    """Draw an edge below and above its box."""
    look: dict[str, Any] = {"color": style.INK, "alpha": _alpha(strength), "linewidth": 0.5 + 1.3 * strength}
    axes.plot(x[:2], [level, level + 0.5 - _HEIGHT / 2], zorder=1, **look)
    axes.plot(x[1:], [level + 0.5 + _HEIGHT / 2, level + 1], zorder=1, **look)


def _box(axes: "Axes", part: Part, edge: tuple[int, int], place: tuple[float, float, float, float]) -> None:
    """Draw the curve of an edge in a small axes, which is labelled with the layer and the edge."""
    output, input = edge
    alpha, strength = _alpha(float(part.strength[edge])), float(part.strength[edge])
    x, y = sources.curve(part.one, output, input, *sources.span(part.one.x[:, input]), _POINTS)
    box = axes.inset_axes(place, transform=axes.transData, zorder=3)
    box.set_in_layout(False)  # it is inside anyway; asking every box for its size takes as long as drawing them
    box.set(xticks=[], yticks=[], label=f"{part.one.name}: {input} → {output}")
    box.plot(x, y, color=style.CURVE, alpha=alpha, linewidth=1.0 + 0.9 * strength)
    box.margins(x=0.06, y=0.12)
    box.spines[:].set(color=style.INK, alpha=alpha, linewidth=0.7)


def _write(
    axes: "Axes", text: str, place: tuple[float, float], offset: tuple[float, float], *, size: float, **look: Any
) -> None:
    """Write beside a place, the offset in points, on white where lines pass."""
    axes.annotate(
        text, place, offset, textcoords="offset points", fontsize=size, color=style.INK, bbox=_BEHIND, zorder=4, **look
    )


def _alpha(strength: float) -> float:
    return _FAINT + (1 - _FAINT) * strength
