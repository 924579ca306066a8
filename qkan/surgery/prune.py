"""Pruning: a smaller model from one whose unimportant edges and nodes are known from data."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from qkan.attribution import Attribution, attribute, inputs_of
from qkan.layers.edges import EditableLayer
from qkan.layers.recording import layer_inputs
from qkan.lowering import replace_layers
from qkan.models.stack import Stack
from qkan.surgery.parts import chains, editable, subset

__all__ = ["prune", "prune_inputs"]

S = TypeVar("S", bound=Stack)
M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def prune(
    model: M,
    data: Tensor | tuple[Tensor, Tensor],
    node_threshold: float = 1e-2,
    edge_threshold: float = 3e-2,
) -> M:
    """Return a model without the edges and hidden nodes whose relevance is below the thresholds.

    Relevance is that of `qkan.attribution.attribute`: an edge of the last layer has the standard deviation of what it
    adds relative to that of its output. A hidden node goes with all of its edges, and so does one that lost all
    incoming or all outgoing edges. Where a layer has a bias, the mean of what was removed is added to it. Inputs and
    outputs stay (see `prune_inputs`). Thresholds of 0 remove nothing but what adds nothing.

    Args:
        model: any module; each `QKAN` or `KAN` inside is pruned as a whole, each single layer by its edges.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets, which are not read.
        node_threshold: relevance, at least 0.
        edge_threshold: relevance, at least 0.

    Raises:
        TypeError: for layers that cannot be edited.
        ValueError: for a threshold out of range, a model without edge layers, or if a layer would lose every node.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([3, 5, 1], init=0.5)
        >>> x = torch.randn(50, 3)
        >>> torch.allclose(prune(model, x, 0, 0)(x), model(x))
        True
        >>> prune(model, x, node_threshold=0.1).width[1] <= 5
        True
    """
    for name, threshold in (("node_threshold", node_threshold), ("edge_threshold", edge_threshold)):
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not threshold >= 0:
            raise ValueError(f"{name} must be a number of at least 0; got {threshold!r}")
    seen = layer_inputs(model, inputs_of(data))
    pruned = {}
    for name, module, layers in chains(model):
        first = ".".join(filter(None, [name, "layers.0"])) if isinstance(module, Stack) else name
        if first in seen:
            pruned[name] = _pruned(module, layers, seen[first], node_threshold, edge_threshold)
    return replace_layers(model, pruned)  # type: ignore[return-value]


def _pruned(
    module: nn.Module, layers: list[EditableLayer], x: Tensor, node_threshold: float, edge_threshold: float
) -> nn.Module:
    living, kept = _choose(layers, attribute(layers, x), node_threshold, edge_threshold)
    new = [copy.deepcopy(layer) for layer in layers]
    for layer, edited, alive in zip(layers, new, living, strict=True):
        removed = ~alive
        if edited.bias is not None:
            edited.bias.add_((_means(layer, x) * removed).sum(-1))
        edited.remove_edges(removed)
        x = layer(x)  # type: ignore[operator]  # an edge layer is a module
    if not isinstance(module, Stack):
        return new[0]  # type: ignore[return-value]
    nodes = {place: nodes.nonzero().flatten().tolist() for place, nodes in enumerate(kept)}
    return subset(module.with_layers(new), nodes)


def _choose(
    layers: list[EditableLayer], found: Attribution, node_threshold: float, edge_threshold: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Return which edges [out, in] and which nodes stay, as booleans."""
    edges = [(score >= edge_threshold) & (layer.mask != 0) for layer, score in zip(layers, found.edges, strict=True)]
    nodes = [score >= node_threshold for score in found.nodes]
    nodes[0], nodes[-1] = torch.ones_like(nodes[0]), torch.ones_like(nodes[-1])
    fed = [(layer.mask != 0).any(-1) for layer in layers]
    while True:
        edges = [alive & nodes[n].unsqueeze(0) & nodes[n + 1].unsqueeze(1) for n, alive in enumerate(edges)]
        # A node that never had incoming edges is a constant; it goes when its relevance, 0, is below the threshold.
        linked = [nodes[n + 1] & edges[n + 1].any(0) & (edges[n].any(-1) | ~fed[n]) for n in range(len(edges) - 1)]
        empty = next((n for n, alive in enumerate(linked) if not alive.any()), None)
        if empty is not None:
            most = float(found.edges[empty].max())
            raise ValueError(
                f"pruning would leave no node in hidden layer {empty + 1}: lower node_threshold={node_threshold:g} or "
                f"edge_threshold={edge_threshold:g} (the largest relevance of an edge there is {most:.3g})"
            )
        if all(torch.equal(alive, old) for alive, old in zip(linked, nodes[1:-1], strict=True)):
            return edges, nodes
        nodes[1:-1] = linked


def _means(layer: EditableLayer, x: Tensor) -> Tensor:
    """Return the mean [out, in] over x [samples, in] of what every edge adds."""
    expansion = layer.expansion(x)
    if expansion is None:
        blocks = torch.split(x, max(1, 2**22 // (layer.out_features * layer.in_features)))
        return torch.stack([layer.contributions(block).sum(0) for block in blocks]).sum(0) / len(x)
    mean = expansion.columns.flatten(0, -3).mean(0)  # [in, functions]
    return (expansion.coefficients * mean).sum(-1) + expansion.constant


@torch.no_grad()
def prune_inputs(model: S, data: Tensor | tuple[Tensor, Tensor], threshold: float = 1e-2) -> tuple[S, list[int]]:
    """Return a model of the relevant inputs alone, and their numbers: it takes ``x[..., numbers]``.

    Args:
        model: a `QKAN` or `KAN`.
        data: inputs [samples, in], or a pair of inputs and targets, which are not read.
        threshold: relevance below which an input goes, see `prune`.

    Raises:
        TypeError: for another kind of model.
        ValueError: if no input would be left.

    Example:
        >>> from qkan import QKAN
        >>> model, x = QKAN([3, 1]), torch.randn(50, 3)
        >>> smaller, kept = prune_inputs(model, x, threshold=0.0)
        >>> kept, torch.allclose(smaller(x[:, kept]), model(x))
        ([0, 1, 2], True)
    """
    relevance = attribute(editable(model), data).nodes[0]
    kept = (relevance >= threshold).nonzero().flatten().tolist()
    if not kept:
        most = float(relevance.max())
        raise ValueError(f"threshold must leave an input; got {threshold!r}, and the largest relevance is {most:.3g}")
    return subset(model, {0: kept}), kept
