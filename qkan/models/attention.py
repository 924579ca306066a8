"""`KANAttention`: self-attention of the pixels of an image, with projections of KAN convolutions or circuits."""

import math
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions

__all__ = ["KANAttention"]


@final
class KANAttention(nn.Module):
    """Let the pixels of an image attend to one another: q, k and v are KAN convolutions.

    y = norm(x + γ attention(q, k, v)), attention = softmax(qᵀk / √d) v over all pixels, d the channels of a head, and γ
    a trained number that starts at 0 (Zhang et al. 2018, section 3). ``compat="torch-conv-kan"`` is the published form
    norm(γ x + attention) without 1/√d, whose skip is closed at the start.

    Args:
        channels: of the images and of the result.
        kernel_size: of the convolutions, odd.
        heads: parts of the channels that attend each for itself.
        inner: channels of q, k and v between plain 1x1 convolutions; None for those of the image, without them.
        norm_layer: behind the sum; ``"batch"``, ``"instance"`` or a class.
        compat: None, or ``"torch-conv-kan"``.
        dims: number of dimensions of space.
        **convolutions: how q, k and v are made, see `Convolutions`.

    Attributes:
        query, key, value: the convolutions. skip: γ.

    Raises:
        ValueError: for heads that do not divide the channels, or an unknown compat.

    Shape:
        x [batch, channels, *space] -> the same.

    Example:
        >>> KANAttention(6, heads=2, basis="gram", bottleneck=True)(torch.zeros(2, 6, 5, 4)).shape
        torch.Size([2, 6, 5, 4])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        *,
        heads: int = 1,
        inner: int | None = None,
        norm_layer: Any = "batch",
        compat: str | None = None,
        dims: int = 2,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        if compat not in (None, "torch-conv-kan"):
            raise ValueError(f"compat must be None or 'torch-conv-kan'; got {compat!r}")
        make = Convolutions(dims=dims, norm_layer=norm_layer, **convolutions)
        width = positive_integer("channels" if inner is None else "inner", inner or channels)
        if width % positive_integer("heads", heads):
            raise ValueError(f"heads must divide the {width} channels of q, k and v; got {heads}")
        self.heads, self.compat = heads, compat
        self.query, self.key, self.value = (make(width, width, kernel_size) for _ in range(3))
        around = Convolutions("plain", dims=dims, norm_layer=None, activation=None, **make.factory)
        self.enter = nn.Identity() if inner is None else around(channels, width, 1)
        self.leave = nn.Identity() if inner is None else around(width, channels, 1)
        self.skip = nn.Parameter(torch.zeros((), **make.factory))
        self.norm = make.norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the shape of x [batch, channels, *space]."""
        inside = self.enter(x)
        parts = [part(inside) for part in (self.query, self.key, self.value)]
        query, key, value = (torch.unflatten(part.flatten(2), 1, (self.heads, -1)).mT for part in parts)
        scale = 1.0 if self.compat else 1 / math.sqrt(query.shape[-1])
        mixed = F.scaled_dot_product_attention(query, key, value, scale=scale)  # [batch, heads, pixels, width/heads]
        attended = self.leave(mixed.mT.reshape(inside.shape))
        y: Tensor = self.norm(self.skip * x + attended if self.compat else x + self.skip * attended)
        return y
