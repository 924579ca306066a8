"""Bases: one file per family; ``features(x)`` [*batch, in, functions] is all that the contraction needs."""

import torch
from torch import Tensor

__all__ = ["append"]


def append(features: Tensor, column: Tensor) -> Tensor:
    """Return features [*batch, in, functions + 1] with one more function, its values given as [*batch, in]."""
    # Kept as [*batch, functions, in] in memory, as the bases make it and the contraction reads it.
    return torch.cat([features.mT, column.unsqueeze(-2)], dim=-2).mT
