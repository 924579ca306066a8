"""The family of B-splines: a grid of knots per input."""

from typing import Unpack, final

import torch
from torch import Tensor

from qkan._checks import positive_integer
from qkan.bases import bspline
from qkan.bases.base import Basis, Factory
from qkan.bases.settings import interval

__all__ = ["BSpline"]


@final
class BSpline(Basis):
    """B-splines of order k on G intervals, extended by k intervals on both sides: G + k functions.

    They sum to 1 on the grid and are 0 outside of the extended knots (Liu et al. 2024, KAN, arXiv 2404.19756).

    Args:
        in_features: number of inputs.
        grid_size: number of intervals G.
        spline_order: degree k >= 1 of the pieces.
        grid_range: where the grid starts and ends; the domain.
        map: of the inputs to the domain, see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Attributes:
        grid: knots, ascending, [in, G + 2k + 1], a buffer.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> BSpline(2, grid_size=1, spline_order=1).features(torch.tensor([[0.5, -1.0]]))
        tensor([[[0.2500, 0.7500],
                 [1.0000, 0.0000]]])
    """

    name = "bspline"
    keywords = ("grid_size", "spline_order", "grid_range")
    per_input = ("grid",)
    grid: Tensor

    def __init__(
        self,
        in_features: int,
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-1.0, 1.0),
        map: str = "none",
        **factory: Unpack[Factory],
    ) -> None:
        ends = interval("grid_range", grid_range)
        size, order = positive_integer("grid_size", grid_size), positive_integer("spline_order", spline_order)
        super().__init__(in_features, size + order, ends, map, **factory)
        self.grid_size, self.spline_order, self.grid_range = size, order, ends
        row = bspline.knots(size, order, *ends, device=factory.get("device"), dtype=factory.get("dtype"))
        self.register_buffer("grid", row.repeat(self.in_features, 1))

    def _columns(self, u: Tensor) -> Tensor:
        dtype = torch.promote_types(u.dtype, self.grid.dtype)
        values = bspline.features(u.mT.to(dtype), self.grid.to(dtype), self.spline_order)  # [*images, points, in, f]
        return values.movedim(-1, -3).mT
