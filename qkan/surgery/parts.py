"""Edges, nodes and parts of models, by their place: every function returns a new model and leaves the old one alone."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import nn

from qkan._checks import index_below, indices_below
from qkan.layers.edges import EditableLayer, check_edge
from qkan.models.stack import Stack

__all__ = ["chains", "editable", "remove_edge", "remove_node", "subset"]

S = TypeVar("S", bound=Stack)


def remove_edge(model: S, layer: int, output: int, input: int) -> S:
    """Return a model without one edge: it adds 0 from now on, through every later operation, saving included.

    Args:
        model: a `QKAN` or `KAN`.
        layer: its number, from 0.
        output: o in 0..out_features - 1 of the layer.
        input: i in 0..in_features - 1 of the layer.

    Raises:
        TypeError: for a number that is no integer, or another kind of model.
        ValueError: for one out of range.

    Example:
        >>> from qkan import QKAN
        >>> remove_edge(QKAN([3, 2, 1]), 0, 1, 2).layers[0].mask.tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    layers = editable(model)
    number = index_below("layer", layer, len(layers))
    o, i = check_edge(layers[number], output, input)
    removed = torch.zeros_like(layers[number].mask, dtype=torch.bool)
    removed[o, i] = True
    new = copy.deepcopy(model)
    editable(new)[number].remove_edges(removed)
    return new


def remove_node(model: S, layer: int, node: int) -> S:
    """Return a model without one hidden node, its incoming and its outgoing edges.

    Args:
        model: a `QKAN` or `KAN` with at least two layers.
        layer: whose outputs are meant: ``width[layer]``, 1 for the outputs of the first layer.
        node: its number in 0..width[layer] - 1.

    Raises:
        TypeError: for a number that is no integer, or another kind of model.
        ValueError: for one out of range, or the only node of its layer.

    Example:
        >>> from qkan import QKAN
        >>> remove_node(QKAN([3, 4, 2]), 1, 2).width
        (3, 3, 2)
    """
    editable(model)
    place = index_below("layer", layer, len(model.width))
    if not 0 < place < len(model.width) - 1:
        raise ValueError(
            f"layer must be a hidden one of widths {model.width}; got {place}; take inputs and outputs with subset()"
        )
    number = index_below("node", node, model.width[place])
    if model.width[place] == 1:
        raise ValueError(f"node must not be the only one of its layer; widths are {model.width}")
    return subset(model, {place: [n for n in range(model.width[place]) if n != number]})


def subset(model: S, keep: Mapping[int, Sequence[int]]) -> S:
    """Return a model of some of the nodes: inputs, hidden nodes, outputs, in the order given.

    What removed inputs and hidden nodes add to later ones is gone; the remaining parameters are copied.

    Args:
        model: a `QKAN` or `KAN`.
        keep: by place in ``model.width`` (0: inputs, -1: outputs): the numbers of the nodes to keep; all of them where
            nothing is said.

    Raises:
        TypeError: for numbers that are no integers, or another kind of model.
        ValueError: for a number out of range, one twice, or no node left.

    Example:
        >>> from qkan import QKAN
        >>> subset(QKAN([4, 3, 2]), {0: [3, 1], -1: [0]}).width
        (2, 3, 1)
    """
    layers, kept = editable(model), [list(range(width)) for width in model.width]
    for place, nodes in keep.items():
        number = index_below("place in keep", place + len(kept) if place < 0 else place, len(kept))
        kept[number] = indices_below(f"keep[{place}]", nodes, model.width[number])
    return model.with_layers(
        layer.subset(outputs, inputs) for layer, inputs, outputs in zip(layers, kept[:-1], kept[1:], strict=True)
    )


def editable(model: nn.Module) -> list[EditableLayer]:
    """Return the layers of a `Stack`.

    Raises:
        TypeError: for another kind of model, or layers that cannot be edited.
    """
    if not isinstance(model, Stack):
        raise TypeError(
            f"model must be a QKAN or KAN; got {type(model).__name__}; of a larger model, work on the part that is one"
        )
    return [_editable(layer) for layer in model.layers]


def _editable(layer: nn.Module) -> EditableLayer:
    if not isinstance(layer, EditableLayer):
        raise TypeError(f"layers must have a mask that can be edited; got {type(layer).__name__}; edit before lower()")
    return layer


def chains(model: nn.Module) -> Iterator[tuple[str, nn.Module, list[EditableLayer]]]:
    """Yield, by name, the stacks of a model and its single layers outside of stacks, each with its layers.

    Raises:
        TypeError: for layers that cannot be edited.
    """
    yield from _chains("", model, set())


def _chains(name: str, module: nn.Module, seen: set[nn.Module]) -> Iterable[tuple[str, nn.Module, list[EditableLayer]]]:
    if module in seen:
        return
    seen.add(module)
    if isinstance(module, Stack):
        yield name, module, editable(module)
    elif isinstance(module, EditableLayer):
        yield name, module, [module]
    else:
        for child, part in module.named_children():
            yield from _chains(f"{name}.{child}" if name else child, part, seen)
