"""Over which inputs edges are drawn."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Range"]


@dataclass(frozen=True)
class Range:
    """The ends of what is drawn, [in] each.

    >>> Range(np.zeros(2), np.ones(2)).points(1, 3)
    tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def points(self, input: int, count: int) -> Tensor:
        """Return equispaced points [count] for an input, in float64."""
        return torch.linspace(float(self.low[input]), float(self.high[input]), count, dtype=torch.float64)
