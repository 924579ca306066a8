"""The table of the cross-check: circuits of the model through PennyLane and through every solver that applies."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from qkan.crosscheck import Row, cross_check
from qkan.layers.linear import QKANLinear

__all__ = ["checked"]

_SAMPLES = 10
_EDGES = 900  # of a layer that are checked at most
_SIDE = 30  # outputs, and inputs, of the part of a larger layer


def checked(model: nn.Module, scores: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the rows of `qkan check`, and what was left out; or, without PennyLane, why there are none.

    Args:
        model: as it is.
        scores: [out, in] of its layers by name: of a layer of more than 900 edges the strongest nodes are checked.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, QKANLinear)}
    if not layers:
        return {
            "rows": [],
            "note": "The model holds no layer of circuits: there is nothing that PennyLane could check.",
        }
    try:
        found = [part for name, layer in layers.items() for part in _rows(name, layer, scores.get(name))]
    except ImportError as error:
        return {"rows": [], "note": f"Not checked: {error}."}
    passed = all(row["passed"] for row in found)
    note = f"PennyLane {version('pennylane')}, {_SAMPLES} random inputs per layer, values and gradients."
    return {"rows": found, "passed": passed, "note": note}


def _rows(name: str, layer: QKANLinear, scores: Tensor | None) -> Iterator[dict[str, Any]]:
    whole = copy.deepcopy(layer).to("cpu")
    part = _part(whole, scores)
    size = f"{part.out_features} × {part.in_features}"
    if part is not whole:
        size += f" of {layer.out_features} × {layer.in_features}"
    for row in cross_check(part, samples=_SAMPLES, generator=torch.Generator()):
        yield _named(row, name or type(layer).__name__).to_dict() | {"edges": size}


def _named(row: Row, name: str) -> Row:
    return replace(row, layer=name)


def _part(layer: QKANLinear, scores: Tensor | None) -> QKANLinear:
    """Return the layer, or of a large one the nodes with the largest sums of scores (without scores the first)."""
    if layer.out_features * layer.in_features <= _EDGES:
        return layer
    table = torch.zeros(layer.out_features, layer.in_features) if scores is None else scores
    outputs = table.sum(1).argsort(descending=True, stable=True)[:_SIDE].tolist()
    inputs = table.sum(0).argsort(descending=True, stable=True)[: _EDGES // len(outputs)].tolist()
    return layer.subset(sorted(outputs), sorted(inputs))
