"""`KAN`: layers of splines, or of another basis, one after the other."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from qkan.layers.edges import EditableLayer
from qkan.layers.kan import KANLinear
from qkan.layers.kan_options import KANArguments, KANOptions
from qkan.models.stack import Stack, widths

__all__ = ["KAN"]


class KAN(Stack):
    """A stack of `KANLinear` layers of the given widths (Liu et al. 2024, arXiv 2404.19756).

    Args:
        layers_hidden: at least two widths, the first the number of inputs; any integer type, NumPy's included.
        basis: name of a family, one of `qkan.bases.names()`.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights, on the same device; the global one when None.
        **options: of every layer, keywords of the family included, see `KANOptions`.

    Attributes:
        layers: the `KANLinear` layers. width: the widths.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for fewer than two widths, a width below 1, an option out of range, or an unknown basis.

    Shape:
        x [*batch, layers_hidden[0]] -> [*batch, layers_hidden[-1]].

    Example:
        >>> model = KAN([2, 5, 1])
        >>> model.param_size, model(torch.zeros(4, 2)).shape
        (150, torch.Size([4, 1]))
        >>> KAN([2, 5, 1], "chebyshev", degree=4).layers[0].spline_weight.shape
        torch.Size([5, 2, 5])
    """

    def __init__(
        self,
        layers_hidden: Iterable[int],
        basis: str = "bspline",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[KANArguments],
    ) -> None:
        parsed, sizes = KANOptions.parse("KAN", basis, options), widths(layers_hidden, "layers_hidden")
        super().__init__(
            KANLinear(n_in, n_out, basis, device=device, dtype=dtype, generator=generator, **options)
            for n_in, n_out in pairwise(sizes)
        )
        self.options = parsed

    def forward(self, x: Tensor, generator: torch.Generator | None = None, update_grid: bool = False) -> Tensor:
        """Return the output [*batch, width[-1]] for x [*batch, width[0]]; update_grid first calls the method of x."""
        if update_grid:
            self.update_grid(x)
        return super().forward(x, generator)

    @torch.no_grad()
    def update_grid(self, x: Tensor, margin: float = 0.01, grid_eps: float = 0.02) -> None:
        """Move the grids of all layers to where their inputs are, in place: see `KANLinear.update_grid`.

        The inputs of a layer are the outputs of the one before, with its new grid.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: for another basis than B-splines, or inputs that are none or not finite.
        """
        for layer in self._layers("update_grid"):
            layer.update_grid(x, margin, grid_eps)
            x = layer(x)

    def refine(self, grid_size: int) -> "KAN":
        """Return a new model of finer splines, and the same function on the grids: see `KANLinear.refine`.

        Raises:
            TypeError: if grid_size is no integer.
            ValueError: if it is below 1; for another basis than B-splines.
        """
        layers = [layer.refine(grid_size) for layer in self._layers("refine")]
        return self.with_layers(layers, KANOptions(**self.options.arguments() | {"grid_size": grid_size}))

    def regularization_loss(self, regularize_activation: float = 1.0, regularize_entropy: float = 1.0) -> Tensor:
        """Return the sum of the penalties of all layers: see `KANLinear.regularization_loss`."""
        layers = self._layers("regularization_loss")
        return torch.stack(
            [layer.regularization_loss(regularize_activation, regularize_entropy) for layer in layers]
        ).sum()

    def _layers(self, method: str) -> list[KANLinear]:
        found = [layer for layer in self.layers if isinstance(layer, KANLinear)]
        if len(found) < len(self.layers):
            others = {type(layer).__name__ for layer in self.layers if not isinstance(layer, KANLinear)}
            raise ValueError(f"{method} needs a KANLinear in every layer; got {', '.join(sorted(others))}")
        return found

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this model, as plain JSON values."""
        return {"layers_hidden": list(self.width), **self.options.to_json()}

    def with_layers(self, layers: Iterable[EditableLayer], options: KANOptions | None = None) -> "KAN":
        """Return a new model of other layers, with the mode of this one; options None means those of this one."""
        found = list(layers)
        sizes = [found[0].in_features, *(layer.out_features for layer in found)]
        new = KAN(sizes, device="meta", **(options or self.options).arguments())
        new.layers = nn.ModuleList(found)  # type: ignore[arg-type]  # an edge layer is a module
        return new.train(self.training)
