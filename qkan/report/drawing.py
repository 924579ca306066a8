"""Which edges the drawing of the network shows: all of a small one, the connected part that matters of a large one."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from qkan.plot.selection import Edges, connected, nodes_of
from qkan.plot.sources import Shown

__all__ = ["drawing"]

_MOST = 160  # edges of a layer up to which all are drawn
_COUNT = 60  # of each layer of a larger network


def drawing(found: Sequence[Shown], tables: Sequence[Tensor], living: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Return the runs of layers that follow one another, each with its rows of nodes and its drawn edges.

    Args:
        found: the layers.
        tables: scores [out, in] of each.
        living: which edges are left, booleans [out, in].
    """
    return [_run(run, found, tables, living) for run in _runs(found)]


def _runs(found: Sequence[Shown]) -> list[list[int]]:
    """Return the numbers of the layers, cut where one has not as many inputs as the one before has outputs."""
    runs: list[list[int]] = [[0]]
    for number in range(1, len(found)):
        if found[number].layer.in_features == found[number - 1].layer.out_features:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _run(
    run: Sequence[int], found: Sequence[Shown], tables: Sequence[Tensor], living: Sequence[Tensor]
) -> dict[str, Any]:
    own = [living[number] for number in run]
    if max(int(left.sum()) for left in own) > _MOST:
        edges = connected([tables[number] for number in run], own, _COUNT)
        return {"layers": run, "whole": False, "rows": nodes_of(edges), "edges": edges}
    layers = [found[number].layer for number in run]
    rows = [list(range(width)) for width in (layers[0].in_features, *(layer.out_features for layer in layers))]
    every: list[Edges] = [[(int(o), int(i)) for o, i in left.nonzero().tolist()] for left in own]
    return {"layers": run, "whole": True, "rows": rows, "edges": every}
