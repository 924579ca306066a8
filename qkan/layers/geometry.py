"""The geometry of a convolution, without tensors: sizes, padding, and which pixels are under the kernel."""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qkan._checks import check_floating, positive_integer

__all__ = ["Geometry"]

_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


@dataclass(frozen=True)
class Geometry:
    """Channels, kernel and padding of a convolution of 1, 2 or 3 dimensions; sizes are tuples once it is built.

    Args:
        dims: number of dimensions of space.
        in_channels: of the images; any integer type.
        out_channels: of the result; any integer type.
        kernel_size: an integer, or one per dimension, as are stride, padding and dilation.
        stride: between positions of the kernel.
        padding: pixels on both sides; or ``"valid"``, none, or ``"same"``, as many as keep the size.
        dilation: distance of pixels under the kernel.
        groups: parts of the channels that do not mix.
        padding_mode: what is in the pixels around: ``"zeros"``, ``"reflect"``, ``"replicate"``, ``"circular"``.
        padding_of: ``"input"``: images are padded, then expanded: a pixel around adds φ(0) like any other pixel that
            is 0. ``"features"``: images are expanded, then features are padded with zeros: a pixel around adds
            nothing, as in torch-conv-kan. Without a difference for other modes than zeros.

    Raises:
        TypeError: for a size that is no integer.
        ValueError: for a size, mode or combination out of range.

    Example:
        >>> Geometry(2, 4, 6, 3, padding="same").margins
        ((1, 1), (1, 1))
    """

    dims: int
    in_channels: int
    out_channels: int
    kernel_size: Any
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    padding_mode: str = "zeros"
    padding_of: str = "input"

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "groups"):
            object.__setattr__(self, name, positive_integer(name, getattr(self, name)))
        for name in ("kernel_size", "stride", "dilation"):
            object.__setattr__(self, name, _sizes(name, getattr(self, name), self.dims, least=1))
        if not isinstance(self.padding, str):
            object.__setattr__(self, "padding", _sizes("padding", self.padding, self.dims, least=0))
        elif self.padding not in ("valid", "same"):
            raise ValueError(f"padding must be 'valid', 'same' or integers; got {self.padding!r}")
        self._check()

    def _check(self) -> None:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(f"groups must divide {name}={getattr(self, name)}; got {self.groups}")
        if self.padding == "same" and any(step > 1 for step in self.stride):
            raise ValueError(f"padding='same' needs stride=1, since the size is kept; got stride={self.stride}")
        if self.padding_mode not in _MODES:
            raise ValueError(f"padding_mode must be one of {', '.join(_MODES)}; got {self.padding_mode!r}")
        if self.padding_of not in ("input", "features"):
            raise ValueError(f"padding_of must be 'input' or 'features'; got {self.padding_of!r}")

    @property
    def margins(self) -> tuple[tuple[int, int], ...]:
        """Pixels before and after the image, per dimension."""
        if self.padding == "valid":
            return ((0, 0),) * self.dims
        if self.padding == "same":
            totals = [gap * (size - 1) for gap, size in zip(self.dilation, self.kernel_size, strict=True)]
            return tuple((total // 2, total - total // 2) for total in totals)
        return tuple((pixels, pixels) for pixels in self.padding)

    @property
    def pads_features(self) -> bool:
        """Whether there are pixels around that add nothing."""
        around = any(pixels for margin in self.margins for pixels in margin)
        return around and self.padding_of == "features" and self.padding_mode == "zeros"

    @property
    def edges(self) -> tuple[int, ...]:
        """The shape of what belongs to edges: [out, in/groups, *kernel]."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def fans(self) -> tuple[int, int]:
        """The widths (in, out) of the linear layer that a group applies to its patches."""
        return math.prod(self.edges[1:]), self.out_channels // self.groups

    def images(self, x: Tensor) -> Tensor:
        """Return x as a batch of images [batch, in, *space], a single image as a batch of one.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: for another shape, or images that are smaller than the kernel.
        """
        check_floating(x)
        if x.dim() not in (self.dims + 1, self.dims + 2) or x.shape[-self.dims - 1] != self.in_channels:
            space = ", ".join(("depth", "height", "width")[-self.dims :]) if self.dims > 1 else "length"
            raise ValueError(
                f"x must be [batch, {self.in_channels}, {space}] or [{self.in_channels}, {space}], with in_channels "
                f"as its first size of an image; got {tuple(x.shape)}"
            )
        sizes = zip(x.shape[-self.dims :], self.margins, self.kernel_size, self.dilation, strict=True)
        if any(size + sum(margin) < gap * (kernel - 1) + 1 for size, margin, kernel, gap in sizes):
            raise ValueError(
                f"x has images of {tuple(x.shape[-self.dims :])} pixels, which with padding={self.padding} are smaller "
                f"than the kernel of {self.kernel_size} with dilation={self.dilation}; give larger images or pad more"
            )
        return x if x.dim() == self.dims + 2 else x.unsqueeze(0)

    def pad(self, x: Tensor) -> Tensor:
        """Return images with their padding."""
        around = [pixels for margin in reversed(self.margins) for pixels in margin]
        return F.pad(x, around, mode=_MODES[self.padding_mode]) if any(around) else x

    def patches(self, x: Tensor) -> Tensor:
        """Return the pixels under the kernel, [batch, groups, *space, in/groups · prod(kernel)].

        Args:
            x: [batch, channels, *space], padded; one channel, which is that of all, or in_channels.
        """
        groups = min(self.groups, x.shape[1])
        x = torch.unflatten(x, 1, (groups, -1))
        for at, (kernel, stride, gap) in enumerate(zip(self.kernel_size, self.stride, self.dilation, strict=True)):
            x = x.unfold(3 + at, gap * (kernel - 1) + 1, stride)[..., ::gap]
        return x.movedim(2, 2 + self.dims).flatten(2 + self.dims)

    def arguments(self) -> dict[str, Any]:
        """Return the keywords that build a layer of this geometry, as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "dims"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def __str__(self) -> str:
        """Return what `print` shows of a layer: channels, kernel and stride, and what is not usual."""
        usual = {"padding": (0,) * self.dims, "dilation": (1,) * self.dims, "groups": 1}
        usual |= {"padding_mode": "zeros", "padding_of": "input"}
        shown = {name: getattr(self, name) for name in ("kernel_size", "stride")}
        shown |= {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}
        parts = [str(self.in_channels), str(self.out_channels), *(f"{name}={value}" for name, value in shown.items())]
        return ", ".join(parts)


def _sizes(name: str, given: Any, dims: int, least: int) -> tuple[int, ...]:
    """Return one integer per dimension, from one for all of them or from a sequence."""
    values = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,) * dims
    try:
        sizes = tuple(operator.index(value) for value in values)
    except TypeError:
        raise TypeError(f"{name} must be an integer, or {dims} of them; got {given!r}") from None
    if len(sizes) != dims or any(isinstance(v, bool) or v < least for v in values):
        raise ValueError(f"{name} must be an integer of at least {least}, or {dims} of them; got {given!r}")
    return sizes
