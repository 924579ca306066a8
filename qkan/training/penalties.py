"""Penalties of what the layers of a model put out."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qkan.layers.bottleneck import BaseBottleneck, BottleneckQKANConv1d, BottleneckQKANConv2d, BottleneckQKANConv3d
from qkan.layers.conv import QKANConv1d, QKANConv2d, QKANConv3d
from qkan.layers.kan import KANLinear
from qkan.layers.kan_conv import BaseKANConv
from qkan.layers.linear import QKANLinear

__all__ = ["ActivationPenalty"]

_LAYERS: tuple[type[nn.Module], ...] = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, KANLinear, QKANLinear),
    *(BaseKANConv, QKANConv1d, QKANConv2d, QKANConv3d),
    *(BaseBottleneck, BottleneckQKANConv1d, BottleneckQKANConv2d, BottleneckQKANConv3d),
)


@dataclass(frozen=True)
class ActivationPenalty:
    """l1 · mean |a| + l2 · mean a², summed over the layers whose outputs a are.

    Layers are linear ones and convolutions: plain, of functions, and of circuits; those inside of another do not count.

    Args:
        l1: weight of the absolute values.
        l2: weight of the squares.

    Raises:
        TypeError: a weight is no number.
        ValueError: a weight is negative or infinite, or both are 0.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(layer.weight, 3.0)
        >>> with ActivationPenalty(l1=1.0, l2=0.5).recording(layer) as penalty:
        ...     _ = layer(torch.tensor([[1.0], [-1.0]]))
        ...     penalty().item()
        7.5
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in (("l1", self.l1), ("l2", self.l2)):
            if not isinstance(weight, (int, float)) or isinstance(weight, bool):
                raise TypeError(f"{name} must be a number; got {weight!r}")
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name} must be a finite number of at least 0; got {weight}")
        if not self.l1 and not self.l2:
            raise ValueError("l1 or l2 must be larger than 0: without a weight there is no penalty")

    def recording(self, model: nn.Module) -> AbstractContextManager[Callable[[], Tensor]]:
        """Yield a function that returns the penalty of the forward passes within the context.

        Raises:
            ValueError: the model has no layer to look at.
        """
        return self._recording(model)

    @contextmanager
    def _recording(self, model: nn.Module) -> Iterator[Callable[[], Tensor]]:
        paid: list[Tensor] = []

        def pay(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            paid.append(self.l1 * output.abs().mean() + self.l2 * output.square().mean())

        handles = [layer.register_forward_hook(pay) for layer in _outermost(model)]
        if not handles:
            raise ValueError(
                f"{type(model).__name__} has no linear layer or convolution whose output could be penalised"
            )
        try:
            yield lambda: torch.stack(paid).sum()
        finally:
            for handle in handles:
                handle.remove()


def _outermost(model: nn.Module) -> list[nn.Module]:
    if isinstance(model, _LAYERS):
        return [model]
    return [layer for child in model.children() for layer in _outermost(child)]
