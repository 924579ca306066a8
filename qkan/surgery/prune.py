"""Pruning: a smaller model from one whose unimportant edges and nodes are known from data."""

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from qkan.attribution import Attribution, attribute, inputs_of
from qkan.layers.edges import EditableLayer
from qkan.layers.kan import KANLinear
from qkan.layers.linear import QKANLinear
from qkan.layers.recording import layer_inputs
from qkan.layers.snapped import SnappedLinear
from qkan.lowering import replace_layers
from qkan.models.kan import KAN
from qkan.models.stack import QKAN, Stack
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
    keep_mean: bool = True,
) -> M:
    """Return a model without the edges and hidden nodes whose relevance is below the thresholds.

    Relevance is that of `qkan.attribution.attribute`: an edge of the last layer has the standard deviation of what it
    adds relative to that of its output. A hidden node goes with all of its edges, and so does one that lost all
    incoming or all outgoing edges. What was removed keeps its mean over the data, as a part of the bias of its layer:
    many edges of little relevance add up to large constants. Inputs and outputs stay (see `prune_inputs`). Thresholds
    of 0 remove nothing but what adds nothing.

    Defaults suit small networks. An edge among n of equal strength has a relevance of about 1/√n: with hundreds of
    inputs take thresholds of 1e-2 and less.

    Args:
        model: any module; each `QKAN` or `KAN` inside is pruned as a whole, each single layer by its edges.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets, which are not read.
        node_threshold: relevance, at least 0.
        edge_threshold: relevance, at least 0.
        keep_mean: whether the mean of what is removed stays; models without bias get one where there is something to
            keep. False leaves the options of the model as they are.

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
            living, kept = _choose(layers, attribute(layers, seen[first]), node_threshold, edge_threshold)
            edited = _edited(layers, living, _constants(layers, living, seen[first]) if keep_mean else None)
            pruned[name] = _assembled(module, edited, kept)
    return replace_layers(model, pruned)  # type: ignore[return-value]


def _constants(layers: list[EditableLayer], living: list[Tensor], x: Tensor) -> list[Tensor]:
    """Return what every layer would lose on average over its inputs, [out] each."""
    lost = []
    for layer, alive in zip(layers, living, strict=True):
        lost.append((_means(layer, x) * ~alive).sum(-1))
        x = layer(x)  # type: ignore[operator]  # an edge layer is a module
    return lost


def _edited(layers: list[EditableLayer], living: list[Tensor], lost: list[Tensor] | None) -> list[EditableLayer]:
    """Return copies of the layers without some edges; all of them have a bias if one needs it."""
    new = [copy.deepcopy(layer) for layer in layers]
    if lost is not None and any(constant.any() for constant in lost):
        for layer, constant in zip(new, lost, strict=True):
            _bias(layer).add_(constant)
    for layer, alive in zip(new, living, strict=True):
        layer.remove_edges(~alive)
    return new


def _bias(layer: EditableLayer) -> Tensor:
    """Return the bias of a layer, which is given one if it has none."""
    inner = layer.inner if isinstance(layer, SnappedLinear) else layer
    if inner.bias is None:
        if not isinstance(inner, QKANLinear | KANLinear):
            raise ValueError(f"a {type(inner).__name__} without bias cannot keep a mean; prune with keep_mean=False")
        inner.options = replace(inner.options, bias=True)
        inner.bias = nn.Parameter(inner.mask.new_zeros(inner.out_features))
    return inner.bias


def _assembled(module: nn.Module, layers: list[EditableLayer], kept: list[Tensor]) -> nn.Module:
    """Return the stack of the edited layers and the nodes that are kept, or the single layer."""
    if not isinstance(module, Stack):
        return layers[0]  # type: ignore[return-value]
    new = module.with_layers(layers)
    if isinstance(new, QKAN | KAN) and layers[0].bias is not None:
        new.options = replace(new.options, bias=True)
    return subset(new, {place: nodes.nonzero().flatten().tolist() for place, nodes in enumerate(kept)})


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
