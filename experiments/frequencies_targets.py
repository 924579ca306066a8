"""The targets of the experiment `frequencies`: functions of one variable on [-π, π] with at most 13 harmonics."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Target", "grid", "ternary_edges", "three_lines"]

Target = Callable[["Tensor"], "Tensor"]
"""x [samples] -> values [samples, targets]."""


def ternary_edges(count: int, reps: int, generator: "torch.Generator") -> Target:
    """Return what edges with weights 1, 3, 9 and angles uniform in ± π compute."""
    import torch

    from qkan import QKANLinear

    layer = QKANLinear(1, count, reps=reps, encoding="ternary", dtype=torch.float64)
    torch.nn.init.uniform_(layer.theta, -math.pi, math.pi, generator=generator)
    return lambda x: layer.edges(x.unsqueeze(-1)).squeeze(-1).detach()


def three_lines(count: int, reps: int, generator: "torch.Generator") -> Target:
    """Return sums of three different harmonics, amplitudes in 0.2..1 and any phases, scaled to a largest value of 1."""
    import torch

    def draw(low: float, high: float) -> "Tensor":
        return low + (high - low) * torch.rand(count, 3, generator=generator, dtype=torch.float64)

    largest = sum(3**r for r in range(reps))
    harmonics = torch.stack([torch.randperm(largest, generator=generator)[:3] + 1 for _ in range(count)])
    amplitudes, phases = draw(0.2, 1), draw(0, 2 * math.pi)

    def lines(x: "Tensor") -> "Tensor":
        return (amplitudes * torch.cos(harmonics * x[:, None, None] + phases)).sum(-1)

    height = lines(grid(4096)).abs().amax(0)
    return lambda x: lines(x) / height


def grid(samples: int) -> "Tensor":
    """Return the middles of equal parts of [-π, π]."""
    import torch

    return ((torch.arange(samples, dtype=torch.float64) + 0.5) * (2 / samples) - 1) * math.pi
