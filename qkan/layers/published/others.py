"""KAN convolutions of bumps and of wavelets."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

from qkan.layers.published.base import Published, Size
from qkan.layers.skeleton import NormLayer

__all__ = [
    "ReLUKANConv1DLayer", "ReLUKANConv2DLayer", "ReLUKANConv3DLayer",
    "WavKANConv1DLayer", "WavKANConv2DLayer", "WavKANConv3DLayer",
]  # fmt: skip


class _ReLUKAN(Published):
    """Documented with `ReLUKANConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {"basis": "relu", "activation": "silu", "dropout_of": "input"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        g: int = 5,
        k: int = 3,
        train_ab: bool = True,
        groups: int = 1,
        padding: Size = 0,
        stride: Size = 1,
        dilation: Size = 1,
        dropout: float = 0.0,
        norm_layer: NormLayer = "instance",
        **norm_kwargs: Any,
    ) -> None:
        self._build(
            *(input_dim, output_dim, kernel_size), norm_layer=norm_layer, norm_kwargs=norm_kwargs, dropout=dropout,
            groups=groups, padding=padding, stride=stride, dilation=dilation, g=g, k=k, train_ab=train_ab,
        )  # fmt: skip


class _WavKAN(Published):
    """Documented with `WavKANConv2DLayer`; abstract."""

    family: ClassVar[Mapping[str, Any]] = {"compat": "torch-conv-kan", "dropout_of": "basis"}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        kernel_size: Size,
        groups: int = 1,
        padding: Size = 0,
        stride: Size = 1,
        dilation: Size = 1,
        dropout: float = 0.0,
        wavelet_type: str = "mexican_hat",
        norm_layer: NormLayer = "batch",
        wav_version: str = "fast",
        **norm_kwargs: Any,
    ) -> None:
        if wav_version not in ("base", "fast", "fast_plus_one"):
            raise ValueError(f"wav_version must be one of base, fast, fast_plus_one; got {wav_version!r}")
        self._build(
            *(input_dim, output_dim, kernel_size), norm_layer=norm_layer, norm_kwargs=norm_kwargs, dropout=dropout,
            groups=groups, padding=padding, stride=stride, dilation=dilation, basis=wavelet_type,
        )  # fmt: skip


@final
class ReLUKANConv1DLayer(_ReLUKAN):
    """Convolve sequences; all as in `ReLUKANConv2DLayer`."""

    dims = 1


@final
class ReLUKANConv2DLayer(_ReLUKAN):
    """SiLU(norm(conv(SiLU x) + conv(R(x)))), R bumps of two ReLUs, shared by groups; dropout is of x."""

    dims = 2


@final
class ReLUKANConv3DLayer(_ReLUKAN):
    """Convolve volumes; all as in `ReLUKANConv2DLayer`."""

    dims = 3


@final
class WavKANConv1DLayer(_WavKAN):
    """Convolve sequences; all as in `WavKANConv2DLayer`."""

    dims = 1


@final
class WavKANConv2DLayer(_WavKAN):
    """norm(conv(SiLU x) + mix(conv_o(ψ((x - t_oc)/s_oc)))), mix a 1x1 convolution, conv_o to one channel.

    Dropout is of x before the waves. ``wav_version``, in that package three ways to one function, changes nothing here.
    """

    dims = 2


@final
class WavKANConv3DLayer(_WavKAN):
    """Convolve volumes; all as in `WavKANConv2DLayer`."""

    dims = 3
