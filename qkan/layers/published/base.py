"""What the published layers share: their place between arguments and `BaseKANConv`."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import nn

from qkan.bases.base import Factory
from qkan.layers.kan_conv import BaseKANConv
from qkan.layers.skeleton import NormLayer

__all__ = ["Activation", "Published", "Size"]

Size = int | tuple[int, ...]
Activation = str | Callable[..., Any] | nn.Module | None


class Published(BaseKANConv):
    """What the published layers share; abstract."""

    # What a family fixes, as keywords of `BaseKANConv`, and what its basis takes from the keywords at the end.
    family: ClassVar[Mapping[str, Any]]
    more: ClassVar[tuple[str, ...]] = ()

    def _build(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        *,
        norm_layer: NormLayer,
        norm_kwargs: dict[str, Any],
        **keywords: Any,
    ) -> None:
        own = [name for name in (*Factory.__annotations__, *self.more) if name in norm_kwargs]
        keywords |= {name: norm_kwargs.pop(name) for name in own}
        keywords |= {"norm_layer": norm_layer, "norm_options": norm_kwargs, "padding_of": "features", **self.family}
        super().__init__(input_dim, output_dim, kernel_size, **keywords)
