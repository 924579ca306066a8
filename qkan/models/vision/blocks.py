"""How the networks of this folder make their convolutions: of any basis, of circuits, or plain, by one description."""

from typing import Any, final

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.ansatz import Ansatz
from qkan.layers.bottleneck import (
    BottleneckKANConv1d,
    BottleneckKANConv2d,
    BottleneckKANConv3d,
    BottleneckQKANConv1d,
    BottleneckQKANConv2d,
    BottleneckQKANConv3d,
)
from qkan.layers.conv import QKANConv1d, QKANConv2d, QKANConv3d
from qkan.layers.kan_conv import KANConv1d, KANConv2d, KANConv3d
from qkan.layers.skeleton import Skeleton, SkeletonArguments
from qkan.models.experts import MixtureOfExperts

__all__ = ["Convolutions", "Normed"]

_PLAIN: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_CURVES: tuple[type[nn.Module], ...] = (KANConv1d, KANConv2d, KANConv3d)
_CIRCUITS: tuple[type[nn.Module], ...] = (QKANConv1d, QKANConv2d, QKANConv3d)
_NARROW_CURVES: tuple[type[nn.Module], ...] = (BottleneckKANConv1d, BottleneckKANConv2d, BottleneckKANConv3d)
_NARROW_CIRCUITS: tuple[type[nn.Module], ...] = (BottleneckQKANConv1d, BottleneckQKANConv2d, BottleneckQKANConv3d)


class Normed(nn.Module):
    """A convolution, then the norm, activation and dropout of a `Skeleton`.

    Example:
        >>> Normed(nn.Conv2d(3, 4, 1), (3, 4), norm_layer="batch", activation="relu")(torch.ones(2, 3, 5, 5)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(self, convolution: nn.Module, channels: tuple[int, int], dims: int = 2, **keywords: Any) -> None:
        super().__init__()
        self.convolution = convolution
        self.skeleton = Skeleton(dims, *channels, **keywords)

    def forward(self, x: Tensor) -> Tensor:
        """Return images [batch, out, *space] for images [batch, in, *space]."""
        return self.skeleton.output(self.convolution(x))


@final
class Convolutions:
    """Make the convolutions of one network; what it is called with is what differs between them.

    Args:
        basis: name or class of a family, see `qkan.bases.build`; ``"plain"`` for torch's convolutions, then a norm and
            ReLU. By default B-splines, unless there is an ansatz.
        ansatz: of circuits, a name or an `Ansatz`, instead of a basis. They have the identity as their base branch,
            unless told: without a branch such networks learn slowly.
        dims: number of dimensions of space.
        bottleneck: whether the edges are between 1x1 convolutions to fewer channels and back, where a kernel has more
            than one pixel or not; see `BottleneckKANConv2d`.
        groups: of kernels of more than one pixel, but for the first convolution of a network.
        experts: make a mixture of so many of each of these convolutions, of which `chosen` count; 0 for none.
        chosen: experts per image.
        norm_layer: ``"batch"``, ``"instance"``, a class, or None. Behind circuits, instance norms leave
            nothing to pool.
        dropout: probability of a channel to be 0 in training, but in the first convolution of a network.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights; plain layers draw from the global one, as in torch.
        **keywords: of the layers and of their `Skeleton`, such as ``degree``, ``reps``, ``activation``,
            ``base_activation``, ``norm_options``, ``bias``, ``dim_reduction``.

    Raises:
        ValueError: for a basis and an ansatz, or a bottleneck of plain convolutions. What the layers refuse, they do
            when one is made.

    Example:
        >>> make = Convolutions("chebyshev", degree=2, groups=2)
        >>> make(4, 6, stride=2)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 6, 4, 4])
    """

    def __init__(
        self,
        basis: Any = None,
        *,
        ansatz: str | Ansatz | None = None,
        dims: int = 2,
        bottleneck: bool = False,
        groups: int = 1,
        experts: int = 0,
        chosen: int = 2,
        norm_layer: Any = "batch",
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **keywords: Any,
    ) -> None:
        if basis is not None and ansatz is not None:
            raise ValueError(f"basis or ansatz, not both; got basis={basis!r} and ansatz={ansatz!r}")
        if basis == "plain" and bottleneck:
            raise ValueError("bottleneck=True narrows edges, of which basis='plain' has none; leave it out")
        self.basis = "bspline" if basis is None and ansatz is None else basis
        self.ansatz, self.dims, self.bottleneck = ansatz, dims, bottleneck
        self.groups, self.experts, self.chosen = positive_integer("groups", groups), experts, chosen
        self.factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.generator = generator
        around = {name: keywords.pop(name) for name in SkeletonArguments.__annotations__ if name in keywords}
        self.around: dict[str, Any] = {"norm_layer": norm_layer, "dropout": dropout} | around
        self.keywords = keywords

    @property
    def plain(self) -> bool:
        """Whether they are torch's."""
        return bool(self.basis == "plain")

    def __call__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int | None = None,
        first: bool = False,
        activated: bool = True,
    ) -> nn.Module:
        """Return a convolution with its norm that keeps the size of images, but for the stride.

        Args:
            in_channels: of the images.
            out_channels: of the result.
            kernel_size: odd, for all dimensions.
            stride: between positions of the kernel.
            dilation: distance of pixels under the kernel.
            groups: other than those of the description; `in_channels` for a depthwise convolution.
            first: whether it sees the images: in one group, without dropout and experts.
            activated: whether a plain one ends in ReLU.
        """
        spread = kernel_size > 1 and not first
        place = {"stride": stride, "dilation": dilation, "padding": dilation * (kernel_size // 2)}
        place["groups"] = groups or (self.groups if spread else 1)
        sizes = in_channels, out_channels
        if not (self.experts and spread):
            return self._one(sizes, kernel_size, place, first, activated)
        made = [self._one(sizes, kernel_size, place, first, activated) for _ in range(self.experts)]
        return MixtureOfExperts(made, in_channels, chosen=self.chosen, **self.factory)

    def _one(
        self, sizes: tuple[int, int], kernel_size: int, place: dict[str, Any], first: bool, activated: bool
    ) -> nn.Module:
        around, keywords = self.around | ({"dropout": 0.0} if first else {}), place | self.keywords | self.factory
        at = self.dims - 1
        if self.plain:
            if activated:
                around = {"activation": "relu"} | around
            layer = _PLAIN[at](*sizes, kernel_size, **{"bias": False} | keywords)
            return Normed(layer, sizes, self.dims, **around, **self.factory)
        keywords["generator"] = self.generator
        if self.ansatz is None:
            layers = _NARROW_CURVES if self.bottleneck else _CURVES
            return layers[at](*sizes, kernel_size, basis=self.basis, **around, **keywords)
        keywords = {"base_activation": "identity"} | keywords
        if self.bottleneck:
            return _NARROW_CIRCUITS[at](*sizes, kernel_size, ansatz=self.ansatz, **around, **keywords)
        layer = _CIRCUITS[at](*sizes, kernel_size, ansatz=self.ansatz, **keywords)
        return Normed(layer, sizes, self.dims, **around, **self.factory)

    def norm(self, channels: int) -> nn.Module:
        """Return a norm of the kind that the convolutions have, for images on their own."""
        around = {name: self.around[name] for name in ("norm_layer", "norm_options") if name in self.around}
        norm = Skeleton(self.dims, channels, channels, **around, **self.factory).norm
        return nn.Identity() if norm is None else norm

    def joined(self) -> nn.Module:
        """Return what follows a sum of branches: ReLU if they are plain, and nothing otherwise."""
        return nn.ReLU() if self.plain else nn.Identity()
