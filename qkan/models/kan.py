"""`KAN`: layers of splines one after the other."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Unpack

import torch
from torch import nn

from qkan.layers.edges import EditableLayer
from qkan.layers.kan import KANLinear
from qkan.layers.kan_options import KANArguments, KANOptions
from qkan.models.stack import Stack, widths

__all__ = ["KAN"]


class KAN(Stack):
    """A stack of `KANLinear` layers of the given widths (Liu et al. 2024, arXiv 2404.19756).

    Args:
        layers_hidden: at least two widths, the first the number of inputs; any integer type, NumPy's included.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights, on the same device; the global one when None.
        **options: of every layer, see `KANOptions`.

    Attributes:
        layers: the `KANLinear` layers. width: the widths.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for fewer than two widths, a width below 1, or an option out of range.

    Shape:
        x [*batch, layers_hidden[0]] -> [*batch, layers_hidden[-1]].

    Example:
        >>> model = KAN([2, 5, 1])
        >>> model.param_size, model(torch.zeros(4, 2)).shape
        (150, torch.Size([4, 1]))
    """

    def __init__(
        self,
        layers_hidden: Iterable[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[KANArguments],
    ) -> None:
        parsed, sizes = KANOptions.parse("KAN", options), widths(layers_hidden, "layers_hidden")
        super().__init__(
            KANLinear(n_in, n_out, device=device, dtype=dtype, generator=generator, **options)
            for n_in, n_out in pairwise(sizes)
        )
        self.options = parsed

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
