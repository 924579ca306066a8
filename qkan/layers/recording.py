"""What enters the edge layers of a model while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qkan.layers.edges import EdgeLayer, edge_layers

__all__ = ["layer_inputs", "recorded"]


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Yield what fills, while the block runs, with the inputs [*batch, in] of every edge layer, call by call.

    The tensors are those of the model, with their graph: what is computed from them has a gradient.

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
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _listen(layer: EdgeLayer, calls: list[Tensor]) -> torch.utils.hooks.RemovableHandle:
    if not isinstance(layer, nn.Module):
        raise TypeError(f"an edge layer must be a torch module; got {type(layer).__name__}")
    return layer.register_forward_pre_hook(lambda _, given: calls.append(given[0]))


def layer_inputs(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return what enters every edge layer, [samples, in], when the model computes its output for x [samples, ...].

    Calls of one layer several times follow one another along the samples. The model runs in its own mode; a layer that
    is never called is not told.

    Raises:
        ValueError: if the model has no edge layer.
    """
    with recorded(model) as seen:
        model(x)
    return {name: torch.cat([call.flatten(0, -2) for call in calls]) for name, calls in seen.items() if calls}
