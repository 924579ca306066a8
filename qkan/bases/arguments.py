"""The variable u of the trigonometric polynomial: x itself, or arccos of a map of x to [-1, 1]."""

import math

import torch
from torch import Tensor

from qkan.ansatz import ArccosMap

__all__ = ["argument"]


def argument(x: Tensor, arccos_map: ArccosMap | None) -> Tensor:
    """Return u = x, or u = arccos m(x) with m named by ``arccos_map``; the shape is kept.

    * ``"tanh"``: u = π/2 - 2 atan(tanh(x/2)), du/dx = -sech x. The plain acos(tanh x) has the gradient inf · 0 as soon
      as tanh rounds to 1.
    * ``"clamp"``: gradient 0 at and beyond -1 and 1.
    * ``"none"``: arccos x; NaN outside [-1, 1], and an infinite gradient at the ends.
    """
    if arccos_map is None:
        return x
    if arccos_map == "tanh":
        # acos(0) is π/2: with dynamic shapes the compiler takes math.pi, a float among globals, for a variable.
        return math.acos(0) - 2 * torch.atan(torch.tanh(x / 2))
    if arccos_map == "none":
        return torch.acos(x)
    inside = x.abs() < 1
    moving = torch.acos(torch.where(inside, x, torch.zeros_like(x)))
    return torch.where(inside, moving, torch.acos(x.detach().clamp(-1, 1)))
