"""What the page knows of single edges: which ones, and their curves, angles and formulas."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qkan.layers.edges import EdgeLayer
from qkan.layers.kan import KANLinear
from qkan.layers.linear import QKANLinear
from qkan.plot.sources import Shown, strongest
from qkan.report.blob import Blob
from qkan.report.formulas import formulas
from qkan.report.ranges import Range
from qkan.report.series import Edges, Series, activation_name, indices, per_edge, series

__all__ = ["BUDGET", "chosen", "details"]

BUDGET = 3_500_000
"""Bytes for the details of all edges, before compression: the page stays below 8 MB."""

_POINTS = 129  # of a sampled curve
_TABLE = 513  # points at which a base activation is tabulated


def chosen(
    layers: Sequence[EdgeLayer], tables: Sequence[Tensor], living: Sequence[Tensor], limit: int | None
) -> list[Edges]:
    """Return the edges of every layer whose details the page holds, the strongest first.

    Args:
        layers: the layers, in double precision.
        tables: scores [out, in] of each.
        living: which edges are left, booleans [out, in].
        limit: edges per layer at most; None for all that fit into `BUDGET`, shared so that small layers are whole.
    """
    totals = [int(left.sum()) for left in living]
    counts = _shares(totals, [_size(layer) for layer in layers]) if limit is None else [limit] * len(layers)
    return [strongest(table, left, count) for table, left, count in zip(tables, living, counts, strict=True)]


def _shares(totals: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Return how many edges of every layer fit: the smallest layers first, what they leave goes to the others."""
    counts, rest = [0] * len(totals), BUDGET
    order = sorted(range(len(totals)), key=lambda number: totals[number] * sizes[number])
    for done, number in enumerate(order):
        counts[number] = min(totals[number], rest // (len(order) - done) // sizes[number])
        rest -= counts[number] * sizes[number]
    return counts


def _size(layer: EdgeLayer) -> int:
    """Return the bytes of the details of one edge, measured on the first one."""
    blob = Blob()
    span = Range(np.zeros(layer.in_features), np.ones(layer.in_features))
    _packed(layer, [(0, 0)], span, blob)
    return blob.size + 4  # and its number


def details(one: Shown, edges: Edges, span: Range, blob: Blob) -> dict[str, Any]:
    """Return what the page needs to show these edges; numbers go to the blob.

    Args:
        one: the layer, in double precision.
        edges: (output, input) of each.
        span: over which x curves are drawn.
        blob: takes the numbers.
    """
    width = one.layer.in_features
    places = blob.add(np.array([output * width + input for output, input in edges], dtype=np.uint32), "u4")
    found = _packed(one.layer, edges, span, blob)
    return {"count": len(edges), "places": places, **found, **formulas(one.layer, edges, span)}


def _packed(layer: EdgeLayer, edges: Edges, span: Range, blob: Blob) -> dict[str, Any]:
    exact = series(layer, edges)
    curve = _sampled(layer, edges, span, blob) if exact is None else _exact(exact, layer, span, blob)
    return curve | _angles(layer, edges, blob) | _basis(layer, edges, blob)


def _exact(found: Series, layer: EdgeLayer, span: Range, blob: Blob) -> dict[str, Any]:
    curve: dict[str, Any] = {
        "curve": "products" if found.harmonics is None else "waves",
        "argument": found.argument,
        "harmonics": found.harmonics,
        "functions": found.coefficients.shape[-1],
    }
    for name in ("constant", "coefficients", "weight", "bias", "gain", "base"):
        tensor = getattr(found, name)
        curve[name] = None if tensor is None else blob.add(tensor.numpy())
    if found.base is not None:
        curve["activation"] = _tabulated(getattr(layer, "base_activation", None), span, blob)
    return curve


@torch.no_grad()
def _tabulated(activation: nn.Module | None, span: Range, blob: Blob) -> dict[str, Any] | None:
    """Return σ on equispaced points over all that any edge is drawn over."""
    if activation is None:
        return None
    low, high = float(span.low.min()), float(span.high.max())
    values = activation(torch.linspace(low, high, _TABLE, dtype=torch.float64))
    return {"name": activation_name(activation), "low": low, "high": high, "values": blob.add(values.numpy())}


@torch.no_grad()
def _sampled(layer: EdgeLayer, edges: Edges, span: Range, blob: Blob) -> dict[str, Any]:
    try:
        curves = [layer.edge_function(*edge)(span.points(edge[1], _POINTS)) for edge in edges]
    except ValueError as error:  # a layer norm over the inputs: there is no function of one input
        return {"curve": "none", "reason": str(error)}
    return {"curve": "samples", "points": _POINTS, "samples": blob.add(torch.stack(curves).numpy())} if curves else {
        "curve": "none", "reason": "no edge is left",
    }  # fmt: skip


def _angles(layer: EdgeLayer, edges: Edges, blob: Blob) -> dict[str, Any]:
    if not isinstance(layer, QKANLinear):
        return {}
    found: dict[str, Any] = {}
    for name in ("theta", "encoding_weight", "encoding_bias"):
        own = per_edge(getattr(layer, name), *indices(edges))
        if own is not None:
            found[name] = {"count": own.shape[-1], "values": blob.add(own.detach().numpy())}
    return found


@torch.no_grad()
def _basis(layer: EdgeLayer, edges: Edges, blob: Blob) -> dict[str, Any]:
    """Return what a classical edge multiplies the functions of its basis with."""
    if not isinstance(layer, KANLinear):
        return {}
    table = layer.table(torch.float64)[indices(edges)]
    name = activation_name(layer.base_activation)
    return {"basis": {"name": layer.basis.name, "count": table.shape[-1], "values": blob.add(table.numpy()), "σ": name}}
