"""KAN convolutions on a grid: B-splines and Gaussians."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

from torch import nn

from qkan.layers.published.base import Activation, Published, Size
from qkan.layers.skeleton import NormLayer

__all__ = [
    "KANConv1DLayer", "KANConv2DLayer", "KANConv3DLayer",
    "FastKANConv1DLayer", "FastKANConv2DLayer", "FastKANConv3DLayer",
]  # fmt: skip


class _KAN(Published):
    """Documented with `KANConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {"basis": "bspline", "activation": "prelu"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        spline_order: int = 3,
        groups: int = 1,
        padding: Size = 0,
        stride: Size = 1,
        dilation: Size = 1,
        grid_size: int = 5,
        base_activation: Activation = nn.GELU,
        grid_range: Sequence[float] = (-1.0, 1.0),
        dropout: float = 0.0,
        norm_layer: NormLayer = "instance",
        **norm_kwargs: Any,
    ) -> None:
        self._build(
            *(input_dim, output_dim, kernel_size), norm_layer=norm_layer, norm_kwargs=norm_kwargs, dropout=dropout,
            groups=groups, padding=padding, stride=stride, dilation=dilation, base_activation=base_activation,
            spline_order=spline_order, grid_size=grid_size, grid_range=grid_range,
        )  # fmt: skip


class _FastKAN(Published):
    """Documented with `FastKANConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {"basis": "rbf", "norm_of": "input", "dropout_of": "basis"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        groups: int = 1,
        padding: Size = 0,
        stride: Size = 1,
        dilation: Size = 1,
        grid_size: int = 8,
        base_activation: Activation = nn.SiLU,
        grid_range: Sequence[float] = (-2.0, 2.0),
        dropout: float = 0.0,
        norm_layer: NormLayer = "instance",
        **norm_kwargs: Any,
    ) -> None:
        self._build(
            *(input_dim, output_dim, kernel_size), norm_layer=norm_layer, norm_kwargs=norm_kwargs, dropout=dropout,
            groups=groups, padding=padding, stride=stride, dilation=dilation, base_activation=base_activation,
            num_grids=grid_size, grid_range=grid_range,
        )  # fmt: skip


@final
class KANConv1DLayer(_KAN):
    """Convolve sequences; all as in `KANConv2DLayer`."""

    dims = 1


@final
class KANConv2DLayer(_KAN):
    """PReLU(norm(conv(GELU x) + conv(B(x)))), B the B-splines; one slope per group; dropout is of the result."""

    dims = 2


@final
class KANConv3DLayer(_KAN):
    """Convolve volumes; all as in `KANConv2DLayer`."""

    dims = 3


@final
class FastKANConv1DLayer(_FastKAN):
    """Convolve sequences; all as in `FastKANConv2DLayer`."""

    dims = 1


@final
class FastKANConv2DLayer(_FastKAN):
    """conv(SiLU x) + conv(R(norm x)), R Gaussians; dropout is of x before the norm, not in the base branch."""

    dims = 2


@final
class FastKANConv3DLayer(_FastKAN):
    """Convolve volumes; all as in `FastKANConv2DLayer`."""

    dims = 3
