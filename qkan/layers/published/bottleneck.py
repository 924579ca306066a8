"""The bottleneck of torch-conv-kan."""

from typing import Any, final

from qkan.bases.base import Factory
from qkan.layers.bottleneck import BaseBottleneck
from qkan.layers.published.base import Size
from qkan.layers.skeleton import NormLayer

__all__ = [
    "BottleNeckKAGNConv1DLayer", "BottleNeckKAGNConv2DLayer", "BottleNeckKAGNConv3DLayer",
]  # fmt: skip


class _BottleNeckKAGN(BaseBottleneck):
    """Documented with `BottleNeckKAGNConv2DLayer`; abstract."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        degree: int = 3,
        groups: int = 1,
        padding: Size = 0,
        stride: Size = 1,
        dilation: Size = 1,
        dropout: float = 0.0,
        norm_layer: NormLayer = "instance",
        dim_reduction: int = 4,
        **norm_kwargs: Any,
    ) -> None:
        factory = {name: norm_kwargs.pop(name) for name in Factory.__annotations__ if name in norm_kwargs}
        super().__init__(
            input_dim, output_dim, kernel_size, norm_layer=norm_layer, norm_options=norm_kwargs, dropout=dropout,
            groups=groups, padding=padding, stride=stride, dilation=dilation, dim_reduction=dim_reduction,
            degree=degree, basis="gram", compat="torch-conv-kan", activation="silu", dropout_of="input",
            padding_of="features", **factory,
        )  # fmt: skip


@final
class BottleNeckKAGNConv1DLayer(_BottleNeckKAGN):
    """Convolve sequences; all as in `BottleNeckKAGNConv2DLayer`."""

    dims = 1


@final
class BottleNeckKAGNConv2DLayer(_BottleNeckKAGN):
    """SiLU(norm(conv(SiLU x) + Out(conv(SiLU(Q(tanh(In(x)))))))), In and Out 1x1 convolutions.

    See `BottleneckKANConv2d`. Q are the polynomials of `KAGNConv2DLayer`. Dropout is of channels of x, where that
    package adds noise.
    """

    dims = 2


@final
class BottleNeckKAGNConv3DLayer(_BottleNeckKAGN):
    """Convolve volumes; all as in `BottleNeckKAGNConv2DLayer`."""

    dims = 3
