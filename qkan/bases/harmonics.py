"""The family of harmonics: what circuits with integer encoding weights span, free of what a qubit can produce."""

import math
from typing import Unpack, final

from torch import Tensor

from qkan._checks import positive_integer
from qkan.bases import fourier
from qkan.bases.base import Basis, Factory

__all__ = ["FourierBasis"]


@final
class FourierBasis(Basis):
    """cos kx for k = 1 .. K, then sin kx for k = 1 .. K: 2K functions of mean 0.

    The constant is not among them: the bias of a layer is one, for all inputs together.

    Args:
        in_features: number of inputs.
        grid_size: number of harmonics K.
        map: of the inputs to [-π, π], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> import torch
        >>> FourierBasis(4, grid_size=2).features(torch.zeros(5, 4)).shape
        torch.Size([5, 4, 4])
    """

    name = "fourier"
    keywords = ("grid_size",)

    def __init__(self, in_features: int, grid_size: int = 5, map: str = "none", **factory: Unpack[Factory]) -> None:
        count = positive_integer("grid_size", grid_size)
        super().__init__(in_features, 2 * count, (-math.pi, math.pi), map, **factory)
        self.grid_size = count

    def _columns(self, u: Tensor) -> Tensor:
        values: Tensor = fourier.features(u.mT, range(1, self.grid_size + 1))  # [*images, points, in, functions]
        return values.movedim(-1, -3).mT
