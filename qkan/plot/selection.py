"""Which edges of a large network a diagram shows: a connected part of it, from the outputs down to the inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from qkan.plot.sources import strongest

__all__ = ["Edges", "connected", "nodes_of"]

Edges = list[tuple[int, int]]
"""(output, input) of edges of one layer."""


def connected(tables: Sequence[Tensor], living: Sequence[Tensor], count: int) -> list[Edges]:
    """Return the edges of every layer to show: of each shown node the strongest that enters it, then the strongest.

    Args:
        tables: scores [out, in] of the layers, the first layer first.
        living: which edges are left, booleans [out, in].
        count: edges of a layer at most; the strongest outputs where there are more.

    Example:
        >>> first, last = torch.tensor([[3.0, 1.0], [0.0, 9.0]]), torch.tensor([[2.0, 1.0]])
        >>> connected([first, last], [first > 0, last > 0], count=1)  # the 9.0 leads to a weaker node
        [[(0, 0)], [(0, 0)]]
    """
    sums = torch.where(living[-1], tables[-1], 0).sum(1)
    targets = sorted(sums.argsort(descending=True, stable=True)[:count].tolist())
    found: list[Edges] = []
    for table, left in zip(reversed(tables), reversed(living), strict=True):
        found.insert(0, _into(targets, table, left, count))
        targets = sorted({input for _, input in found[0]})
    return found


def _into(targets: Sequence[int], table: Tensor, living: Tensor, count: int) -> Edges:
    inside = torch.zeros_like(living)
    inside[list(targets)] = living[list(targets)]
    order = strongest(table, inside, int(inside.sum()))
    first = list({output: (output, input) for output, input in reversed(order)}.values())[::-1]
    others = [edge for edge in order if edge not in set(first)]
    return [*sorted(first, key=order.index), *others][:count]


def nodes_of(chosen: Sequence[Edges]) -> list[list[int]]:
    """Return the nodes of every row that the edges touch, ordered so that few of them cross.

    The outputs are in their own order; every other node stands below the mean of the nodes that it leads to.
    """
    rows = [sorted({output for output, _ in chosen[-1]})]
    for edges in reversed(chosen):
        place = {node: (position + 0.5) / len(rows[0]) for position, node in enumerate(rows[0])}
        above: dict[int, list[float]] = {}
        for output, input in edges:
            above.setdefault(input, []).append(place[output])
        rows.insert(0, sorted(above, key=lambda node: (sum(above[node]) / len(above[node]), node)))
    return rows
