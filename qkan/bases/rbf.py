"""The family of Gaussian radial basis functions."""

from typing import Unpack, final

import torch
from torch import Tensor

from qkan._checks import positive_integer
from qkan.bases.base import Basis, Factory
from qkan.bases.settings import finite_number, interval

__all__ = ["RBF"]

# exp(-30²) is 0 in double precision: beyond it nothing changes, and no square overflows.
_FAR = 30.0


@final
class RBF(Basis):
    """Gaussians exp(-((x - c_j)/h)²) around n equidistant centres c_j.

    As in fast-kan (Li 2024, arXiv 2405.06721), whose layer norm of the inputs is ``map="layer norm"`` here, with its
    two trained parameters per input.

    Args:
        in_features: number of inputs.
        num_grids: number of centres n.
        grid_range: the first and the last centre; the domain.
        denominator: width h > 0; None for the distance of the centres, (last - first)/(n - 1).
        map: of the inputs to the domain, see `qkan.bases.maps.Map`.
        grid_size: another name of num_grids; it counts if both are given.
        **factory: ``device``, ``dtype``, ``generator``.

    Attributes:
        grid: centres, [n], a buffer.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range; for one centre without a denominator.

    Example:
        >>> RBF(1, num_grids=3).features(torch.tensor([[0.0]]))
        tensor([[[0.3679, 1.0000, 0.3679]]])
    """

    name = "rbf"
    keywords = ("num_grids", "grid_range", "denominator")
    grid: Tensor

    def __init__(
        self,
        in_features: int,
        num_grids: int = 8,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        denominator: float | None = None,
        map: str = "none",
        grid_size: int | None = None,
        **factory: Unpack[Factory],
    ) -> None:
        given = ("num_grids", num_grids) if grid_size is None else ("grid_size", grid_size)
        count, ends = positive_integer(*given), interval("grid_range", grid_range)
        super().__init__(in_features, count, ends, map, **factory)
        self.num_grids, self.grid_range = count, ends
        self.denominator = None if denominator is None else finite_number("denominator", denominator, above=0)
        if self.denominator is None and count == 1:
            raise ValueError("denominator must be given for a single centre, which has no neighbour; got None")
        centres = torch.linspace(*ends, count, device=factory.get("device"), dtype=factory.get("dtype"))
        self.register_buffer("grid", centres)

    @property
    def width(self) -> float:
        """The width h of every function."""
        low, high = self.grid_range
        return (high - low) / (self.num_grids - 1) if self.denominator is None else self.denominator

    def _columns(self, u: Tensor) -> Tensor:
        z = ((u.unsqueeze(-3) - self.grid.view(-1, 1, 1)) / self.width).clamp(-_FAR, _FAR)
        return torch.exp(-z * z)
