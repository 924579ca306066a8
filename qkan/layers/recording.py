"""What enters the edge layers of a model while it runs, and how their edges were computed from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan.contraction import contract_linear
from qkan.layers import parts
from qkan.layers.edges import EdgeLayer, EditableLayer, Expansion, edge_layers
from qkan.layers.linear import QKANLinear
from qkan.precision import in_autocast
from qkan.solvers.fourier import Fourier

__all__ = ["Call", "expanded", "layer_inputs", "recorded", "variance"]

# Elements of [samples, out, in] up to which all edges are kept for the backward.
_SMALL = 2**21


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
    layers = edge_layers(model)
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    handles = [_listen(layer, seen[name]) for name, layer in layers.items()]
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
    """One call of an edge layer: its input [*batch, in], and what came of it beside the output, where there is that."""

    x: Tensor
    expansion: Expansion | None = None
    variance: Tensor | None = None  # of what every edge adds, over the batch, [out, in]


@contextmanager
def expanded(model: nn.Module) -> Iterator[dict[str, list[Call]]]:
    """Yield what fills, while the block runs, with the calls of every edge layer.

    As long as the block runs, layers compute their output from what the scores of their edges need too: from their
    expansion; block by block with the variances; or, where that is small, from all edges. It is the same function by
    another order of sums. Solvers that sample, or were asked for by name, go on as they are. What was compiled
    runs without compilation inside the block.

    Raises:
        ValueError: if the model has no edge layer.
    """
    layers = edge_layers(model)
    calls: dict[str, list[Call]] = {name: [] for name in layers}
    changed = []
    try:
        for name, layer in layers.items():
            layer.forward = _through(layer, layer.forward, calls[name])  # type: ignore[attr-defined]
            changed.append(layer)
        with torch.compiler.set_stance("force_eager"):
            yield calls
    finally:
        for layer in changed:
            del layer.forward  # type: ignore[attr-defined]  # that of the class shows again


def _through(layer: EdgeLayer, forward: Callable[..., Tensor], calls: list[Call]) -> Callable[..., Tensor]:
    def run(x: Tensor, *more: Any, **options: Any) -> Tensor:
        joint = _joint(layer, x) if isinstance(layer, EditableLayer) and _exact(layer) else None
        y, call = (forward(x, *more, **options), Call(x)) if joint is None else joint
        calls.append(call)
        return y

    return run


def _exact(layer: EditableLayer) -> bool:
    """Return whether the layer may compute its output in another order."""
    if not isinstance(layer, QKANLinear):
        return True
    chosen = layer.options.solver == "auto" or isinstance(layer.solver, Fourier)
    return chosen and layer.options.shots is None


def _joint(layer: EditableLayer, x: Tensor) -> tuple[Tensor, Call] | None:
    """Return the output and what it was computed with, or None where that is not worth its memory."""
    expansion = layer.expansion(x)
    if expansion is not None:
        y = contract_linear(expansion.columns, expansion.coefficients, expansion.constant.sum(-1))
        return _finished(layer, x, y), Call(x, expansion=expansion)
    if isinstance(layer, QKANLinear) and x.numel():
        found = parts.output_and_variance(layer, x)
        if found is not None:
            return _finished(layer, x, found[0]), Call(x, variance=found[1])
    if not x.numel() or x.numel() * layer.out_features > _SMALL:
        return None
    edges = layer.contributions(x)
    return _finished(layer, x, edges.sum(-1)), Call(x, variance=variance(edges.flatten(0, -3)))


def variance(edges: Tensor) -> Tensor:
    """Return the variance [out, in] of edges [samples, out, in] over the samples, 0 for one that is constant."""
    moved = edges - edges[:1].detach()  # squares of edges that hardly move do not cancel
    return moved.square().mean(0) - moved.mean(0).square()


def _finished(layer: EditableLayer, x: Tensor, y: Tensor) -> Tensor:
    y = y if layer.bias is None else y + layer.bias
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
