"""The family of Bernstein polynomials."""

import math
from typing import Unpack, final

import torch
from torch import Tensor

from qkan.bases.base import Basis, Factory
from qkan.bases.settings import nonnegative_integer

__all__ = ["Bernstein"]


@final
class Bernstein(Basis):
    """Bernstein polynomials C(d, k) u^k (1 - u)^(d - k), for k = 0 .. d, on [0, 1]; they sum to 1.

    (torch-conv-kan's basis of this name is the constant 1; that is not offered.)

    Args:
        in_features: number of inputs.
        degree: d, from 0.
        map: of the inputs to [0, 1], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> Bernstein(1, degree=2).features(torch.tensor([[0.0]]))
        tensor([[[0.2500, 0.5000, 0.2500]]])
    """

    name = "bernstein"
    keywords = ("degree",)

    def __init__(self, in_features: int, degree: int = 3, map: str = "sigmoid", **factory: Unpack[Factory]) -> None:
        highest = nonnegative_integer("degree", degree)
        super().__init__(in_features, highest + 1, (0.0, 1.0), map, **factory)
        self.degree = highest

    def _columns(self, u: Tensor) -> Tensor:
        rising, falling = _powers(u, self.degree), _powers(1 - u, self.degree)
        terms = [math.comb(self.degree, k) * rising[k] * falling[self.degree - k] for k in range(self.functions)]
        return torch.stack(terms, -3)


def _powers(u: Tensor, highest: int) -> list[Tensor]:
    """Return u^0 .. u^highest by products: a power of 0 has no NaN in its derivatives then."""
    powers = [1 + 0 * u]
    for _ in range(highest):
        powers.append(powers[-1] * u)
    return powers
