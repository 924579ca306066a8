"""What enters the edge layers of a model while it runs, and how their edges were computed from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan.contraction import contract_linear
from qkan.layers.edges import EdgeLayer, EditableLayer, Expansion, edge_layers
from qkan.layers.linear import QKANLinear
from qkan.precision import in_autocast
from qkan.solvers.fourier import Fourier

__all__ = ["Call", "expanded", "layer_inputs", "recorded"]


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Yield what fills, while the block runs, with the inputs [*batch, in] of every edge layer, call by call.

    The tensors are those of the model, with their graph: what is computed from them has a gradient. What was compiled
    runs without compilation inside the block.

    Raises:
        ValueError: if the model has no edge layer.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([3, 2, 1])
        >>> with recorded(model) as seen:
        ...     _ = model(torch.zeros(5, 3))
        >>> {name: calls[0].shape for name, calls in seen.items()}
        {'layers.0': torch.Size([5, 3]), 'layers.1': torch.Size([5, 2])}
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in edge_layers(model)}
    handles = [_listen(layer, seen[name]) for name, layer in edge_layers(model).items()]
    try:
        with torch.compiler.set_stance("force_eager"):  # compiled code does not pass by its layers
            yield seen
    finally:
        for handle in handles:
            handle.remove()


def _listen(layer: EdgeLayer, calls: list[Tensor]) -> torch.utils.hooks.RemovableHandle:
    if not isinstance(layer, nn.Module):
        raise TypeError(f"an edge layer must be a torch module; got {type(layer).__name__}")
    return layer.register_forward_pre_hook(lambda _, given: calls.append(given[0]))


class Call(NamedTuple):
    """One call of an edge layer: its input [*batch, in], and what its output was computed from, where that is known."""

    x: Tensor
    expansion: Expansion | None


@contextmanager
def expanded(model: nn.Module) -> Iterator[dict[str, list[Call]]]:
    """Yield what fills, while the block runs, with the calls of every edge layer.

    Layers whose output is a product of shared features compute it from their expansion as long as the block runs, the
    same function by another order of sums, so that features and coefficients are there for more than the output. What
    was compiled runs without compilation inside the block.

    Raises:
        ValueError: if the model has no edge layer.
    """
    calls: dict[str, list[Call]] = {name: [] for name in edge_layers(model)}
    changed = []
    try:
        for name, layer in edge_layers(model).items():
            layer.forward = _through(layer, layer.forward, calls[name])  # type: ignore[attr-defined]
            changed.append(layer)
        with torch.compiler.set_stance("force_eager"):
            yield calls
    finally:
        for layer in changed:
            del layer.forward  # type: ignore[attr-defined]  # that of the class shows again


def _through(layer: EdgeLayer, forward: Callable[..., Tensor], calls: list[Call]) -> Callable[..., Tensor]:
    def run(x: Tensor, *more: Any, **options: Any) -> Tensor:
        expansion = layer.expansion(x) if _computes_products(layer) else None
        calls.append(Call(x, expansion))
        if expansion is None or not isinstance(layer, EditableLayer):
            return forward(x, *more, **options)
        return _product(layer, x, expansion)

    return run


def _computes_products(layer: EdgeLayer) -> bool:
    """Return whether the layer itself computes its output as a product: other solvers, and shots, are asked for."""
    if isinstance(layer, QKANLinear):
        return isinstance(layer.solver, Fourier) and layer.options.shots is None
    return isinstance(layer, EditableLayer)


def _product(layer: EditableLayer, x: Tensor, expansion: Expansion) -> Tensor:
    constant = expansion.constant.sum(-1)
    bias = constant if layer.bias is None else constant + layer.bias
    y = contract_linear(expansion.columns, expansion.coefficients, bias)
    return y if in_autocast(y) else y.to(torch.promote_types(x.dtype, layer.mask.dtype))


def layer_inputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what enters every edge layer, [samples, in], when the model computes its output for x [samples, ...].

    Calls of one layer several times follow one another along the samples. The model runs in its own mode; a layer that
    is never called is not told.

    Raises:
        ValueError: if the model has no edge layer, or calls none of them.
    """
    with recorded(model) as seen:
        model(x)
    if not any(seen.values()):
        raise ValueError(f"model must call its edge layers ({', '.join(seen)}); none of them was called")
    return {name: torch.cat([call.flatten(0, -2) for call in calls]) for name, calls in seen.items() if calls}
