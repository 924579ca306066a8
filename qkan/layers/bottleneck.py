"""Bottleneck convolutions: a 1x1 convolution to few channels, a convolution of edges, a 1x1 convolution back."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.contraction import contract_conv
from qkan.layers import activations
from qkan.layers.conv import QKANConv1d, QKANConv2d, QKANConv3d
from qkan.layers.geometry import Geometry
from qkan.layers.kan_conv import BaseKANConv, KANConv1d, KANConv2d, KANConv3d
from qkan.layers.skeleton import Skeleton, SkeletonArguments
from qkan.precision import compute_dtype, in_autocast

__all__ = [
    "BaseBottleneck",
    "BottleneckKANConv1d", "BottleneckKANConv2d", "BottleneckKANConv3d",
    "BottleneckQKANConv1d", "BottleneckQKANConv2d", "BottleneckQKANConv3d",
]  # fmt: skip

_INNER: dict[int, type[BaseKANConv]] = {1: KANConv1d, 2: KANConv2d, 3: KANConv3d}
_QUANTUM = {1: QKANConv1d, 2: QKANConv2d, 3: QKANConv3d}


class _Bottleneck(nn.Module, abc.ABC):
    """What the six classes share; documented with `BottleneckKANConv2d`."""

    dims: ClassVar[int]

    squeeze_weight: Tensor
    expand_weight: Tensor
    base_weight: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        padding_of: str = "input",
        base_activation: str | Callable[..., Any] | nn.Module | None = "silu",
        dim_reduction: int = 4,
        min_internal: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__()
        around = {name: keywords.pop(name) for name in SkeletonArguments.__annotations__ if name in keywords}
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, padding_of)
        self.geometry = geometry = Geometry(self.dims, *sizes)
        self.in_channels, self.out_channels = geometry.in_channels, geometry.out_channels
        self.dim_reduction = positive_integer("dim_reduction", dim_reduction)
        self.min_internal = positive_integer("min_internal", min_internal)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self._base_activation = base_activation
        self.base_activation = activations.build(base_activation)
        if self.base_activation is not None:
            self.base_activation.to(**factory)
        self.skeleton = Skeleton(
            self.dims, self.in_channels, self.out_channels, geometry.groups, **_checked(around), **factory
        )
        inner = geometry.arguments() | dict.fromkeys(("in_channels", "out_channels"), self.internal * geometry.groups)
        self.inner = self._inner(inner | keywords | factory | {"generator": generator})
        self._register(device, dtype)
        self._start(generator)

    @abc.abstractmethod
    def _inner(self, keywords: dict[str, Any]) -> nn.Module:
        """Return the convolution between the 1x1 convolutions."""

    def _register(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        point, groups = (1,) * self.dims, self.geometry.groups
        self.squeeze_weight = parameter(self.internal * groups, self.in_channels // groups, *point)
        self.expand_weight = parameter(self.out_channels, self.internal, *point)
        base = None if self.base_activation is None else parameter(*self.geometry.edges)
        self.register_parameter("base_weight", base)

    @property
    def internal(self) -> int:
        """Channels per group between the 1x1 convolutions."""
        shares = [channels // self.geometry.groups for channels in (self.in_channels, self.out_channels)]
        reduced = max(shares) // self.dim_reduction
        return reduced if reduced >= self.min_internal else min(self.min_internal, *shares)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew; those of the 1x1 convolutions and the base branch are normal and keep the variance."""
        if isinstance(self.inner, BaseKANConv | QKANConv1d | QKANConv2d | QKANConv3d):
            self.inner.reset_parameters(generator)
        self.skeleton.reset_parameters()
        self._start(generator)

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        branches = 1 if self.base_weight is None else 2
        self.squeeze_weight.normal_(0, self.squeeze_weight.shape[1] ** -0.5, generator=generator)
        self.expand_weight.normal_(0, (branches * self.internal) ** -0.5, generator=generator)
        if self.base_weight is not None:
            self.base_weight.normal_(0, (branches * self.geometry.fans[0]) ** -0.5, generator=generator)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [batch, out, *space] for x [batch, in, *space], or both without batch.

        Args:
            x: images.
            generator: draws the samples of circuits with shots; the global one when None.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: for another shape, or images that are smaller than the kernel.
        """
        images = self.geometry.images(x)
        dtype = torch.promote_types(x.dtype, self.squeeze_weight.dtype)
        images = self.skeleton.input(images.to(compute_dtype(dtype)))
        narrow = self._point(self.skeleton.basis_input(images), self.squeeze_weight)
        y = self._point(self.inner(narrow, generator), self.expand_weight)
        if self.base_activation is not None and self.base_weight is not None:
            y = y + self._base(images, self.base_activation, self.base_weight)
        y = self.skeleton.output(y if in_autocast(y) else y.to(dtype))
        return y.squeeze(0) if x.dim() == self.dims + 1 else y

    def _point(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the 1x1 convolution of images, in groups."""
        return contract_conv(torch.unflatten(x, 1, (self.geometry.groups, 1, -1)), weight.to(x.dtype).unsqueeze(-1))

    def _base(self, x: Tensor, activation: nn.Module, weight: Tensor) -> Tensor:
        geometry = self.geometry
        columns = activation(x if geometry.pads_features else geometry.pad(x))
        return contract_conv(
            torch.unflatten(columns, 1, (geometry.groups, 1, -1)),
            weight.to(x.dtype).unsqueeze(-1),
            padding=geometry.margins if geometry.pads_features else (),
            stride=geometry.stride,
            dilation=geometry.dilation,
        )

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values.

        Raises:
            ValueError: for a norm or an activation without a name.
        """
        return {
            **self._inner_config(),
            **self.geometry.arguments(),
            "base_activation": activations.name_of(self._base_activation),
            "dim_reduction": self.dim_reduction,
            "min_internal": self.min_internal,
            **self.skeleton.arguments(),
        }

    @abc.abstractmethod
    def _inner_config(self) -> dict[str, Any]:
        """Return the keywords of the convolution between."""

    def extra_repr(self) -> str:
        """Return what `print` shows: the geometry, and the channels between."""
        return f"{self.geometry}, internal={self.internal}"


class BaseBottleneck(_Bottleneck):
    """What bottlenecks around curves share; abstract. Documented with `BottleneckKANConv2d`."""

    def _inner(self, keywords: dict[str, Any]) -> nn.Module:
        return _INNER[self.dims](base_activation=None, **{"basis": "gram"} | keywords)

    def _inner_config(self) -> dict[str, Any]:
        if not isinstance(self.inner, BaseKANConv):
            raise TypeError(f"inner must be a BaseKANConv; got {type(self.inner).__name__}")
        return self.inner.config()


class _Quantum(_Bottleneck):
    """A bottleneck around circuits; abstract."""

    def _inner(self, keywords: dict[str, Any]) -> nn.Module:
        return _QUANTUM[self.dims](base_activation=None, **keywords)

    def _inner_config(self) -> dict[str, Any]:
        if not isinstance(self.inner, QKANConv1d | QKANConv2d | QKANConv3d):
            raise TypeError(f"inner must be a QKANConv; got {type(self.inner).__name__}")
        return self.inner.config()


@final
class BottleneckKANConv1d(BaseBottleneck):
    """Convolve sequences through a bottleneck; all as in `BottleneckKANConv2d`.

    Example:
        >>> BottleneckKANConv1d(4, 6, 3, basis="rbf")(torch.zeros(2, 4, 9)).shape
        torch.Size([2, 6, 7])
    """

    dims = 1


@final
class BottleneckKANConv2d(BaseBottleneck):
    """Apply activation(norm(expand(inner(squeeze(x))) + base branch)): most edges are between few channels.

    squeeze and expand are 1x1 convolutions without bias, from in_channels to ``internal`` channels and from those to
    out_channels; inner is a `KANConv2d` without base branch. The base branch, a convolution of σ(x), has the full
    width. ``internal`` is, per group, the larger width divided by ``dim_reduction``; where that is below
    ``min_internal``, the smallest of that and both widths.

    Args:
        in_channels: number of input channels; any integer type.
        out_channels: number of output channels; any integer type.
        kernel_size: of inner and of the base branch; these and the next ones as in `KANConv2d`.
        stride: between positions of the kernel.
        padding: pixels on both sides, ``"valid"`` or ``"same"``.
        dilation: distance of pixels under the kernel.
        groups: parts of the channels that do not mix.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        padding_of: ``"input"`` or ``"features"``.
        base_activation: σ, or None for no base branch.
        dim_reduction: how many times fewer channels there are inside.
        min_internal: where to stop.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights, on the same device; the global one when None.
        **keywords: those of `qkan.layers.skeleton.Skeleton` for the whole layer; all others are for inner: ``basis``,
            ``"gram"`` by default, and its keywords.

    Attributes:
        squeeze_weight: [groups · internal, in/groups, 1, 1]. expand_weight: [out, internal, 1, 1]. base_weight: [out,
            in/groups, *kernel] or None. inner: the convolution between.

    Raises:
        TypeError: for a keyword that neither the layer nor the basis has, or a size that is no integer.
        ValueError: for a keyword or size out of range; for a dropout inside of the basis.

    Shape:
        x [batch, in_channels, height, width] or [in_channels, height, width] -> likewise with out_channels.

    Example:
        >>> layer = BottleneckKANConv2d(256, 512, 3, basis="chebyshev", degree=3)
        >>> layer.internal, layer.param_size
        (128, 1867776)
    """

    dims = 2


@final
class BottleneckKANConv3d(BaseBottleneck):
    """Convolve volumes through a bottleneck; all as in `BottleneckKANConv2d`.

    Example:
        >>> BottleneckKANConv3d(4, 6, 3, padding=1)(torch.zeros(2, 4, 3, 5, 6)).shape
        torch.Size([2, 6, 3, 5, 6])
    """

    dims = 3


@final
class BottleneckQKANConv1d(_Quantum):
    """Convolve sequences through a bottleneck of circuits; all as in `BottleneckQKANConv2d`.

    Example:
        >>> BottleneckQKANConv1d(4, 6, 3, reps=2)(torch.zeros(2, 4, 9)).shape
        torch.Size([2, 6, 7])
    """

    dims = 1


@final
class BottleneckQKANConv2d(_Quantum):
    """Apply a `QKANConv2d` between 1x1 convolutions: as `BottleneckKANConv2d`, the other keywords being `QKANOptions`.

    Example:
        >>> layer = BottleneckQKANConv2d(64, 128, 3, padding=1, norm_layer="batch")
        >>> layer.internal, layer(torch.zeros(2, 64, 5, 6)).shape
        (32, torch.Size([2, 128, 5, 6]))
    """

    dims = 2


@final
class BottleneckQKANConv3d(_Quantum):
    """Convolve volumes through a bottleneck of circuits; all as in `BottleneckQKANConv2d`.

    Example:
        >>> BottleneckQKANConv3d(4, 6, 2, reps=2)(torch.zeros(2, 4, 3, 5, 6)).shape
        torch.Size([2, 6, 2, 4, 5])
    """

    dims = 3


def _checked(around: dict[str, Any]) -> dict[str, Any]:
    if around.get("dropout_of") in ("mapped", "features"):
        raise ValueError(f"dropout_of must be 'output', 'input' or 'basis' here; got {around['dropout_of']!r}")
    return around
