"""`KANFocalModulation`: pixels modulated by what is around them at several ranges, with KAN convolutions."""

from typing import Any, final

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions

__all__ = ["KANFocalModulation"]


@final
class KANFocalModulation(nn.Module):
    """Modulate every pixel by depthwise contexts of growing range (Yang et al. 2022, section 3.2).

    [q, c_0, g] = f(x) with 2C + L + 1 channels; c_l = depthwise_l(c_{l-1}) with kernels of ``factor`` (l - 1) +
    ``window`` pixels; the context is Σ_l g_l c_l + g_{L+1} mean(c_L), and y = out(norm(q h(context))). f, h and out
    are 1x1 convolutions; all convolutions are of the given kind, but for f, h and out with ``full=False``; the
    depthwise ones have no bottleneck, as there is nothing to narrow in one channel.

    Args:
        channels: C, of the images and of the result.
        window: pixels of the smallest kernel, odd.
        levels: L.
        factor: by which kernels grow, even.
        post_norm: whether the modulated pixels have a norm.
        mean: whether the context is divided by L + 1.
        full: whether f, h and out are KAN convolutions too.
        dims: number of dimensions of space.
        **convolutions: how they are made, see `Convolutions`.

    Attributes:
        enter: f. contexts: the depthwise convolutions. context: h. leave: out.

    Raises:
        ValueError: for an even window or an odd factor, whose kernels have no middle.

    Shape:
        x [batch, channels, *space] -> the same.

    Example:
        >>> KANFocalModulation(4, basis="rbf")(torch.zeros(2, 4, 9, 8)).shape
        torch.Size([2, 4, 9, 8])
    """

    def __init__(
        self,
        channels: int,
        *,
        window: int = 3,
        levels: int = 2,
        factor: int = 2,
        post_norm: bool = True,
        mean: bool = True,
        full: bool = True,
        dims: int = 2,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        if window % 2 == 0 or factor % 2:
            raise ValueError(
                f"window must be odd and factor even, so that kernels have a middle; got {window}, {factor}"
            )
        self.channels, self.levels = positive_integer("channels", channels), positive_integer("levels", levels)
        make = Convolutions(dims=dims, **convolutions)
        point = make if full else Convolutions("plain", dims=dims, norm_layer=None, activation=None, **make.factory)
        depthwise = Convolutions(dims=dims, **{**convolutions, "bottleneck": False})
        self.enter = point(channels, 2 * channels + levels + 1, 1)
        self.contexts = nn.ModuleList(
            depthwise(channels, channels, window + factor * level, groups=channels) for level in range(levels)
        )
        self.context, self.leave = point(channels, channels, 1), point(channels, channels, 1)
        self.norm = make.norm(channels) if post_norm else nn.Identity()
        self.share = 1 / (levels + 1) if mean else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the shape of x [batch, channels, *space]."""
        query, context, gates = self.enter(x).split([self.channels, self.channels, self.levels + 1], 1)
        total = torch.zeros_like(context)
        for part, gate in zip(self.contexts, gates.split(1, 1), strict=False):
            context = part(context)
            total = total + gate * context
        everywhere = context.flatten(2).mean(-1).view(*context.shape[:2], *(1,) * (context.dim() - 2))
        total = (total + gates[:, -1:] * everywhere) * self.share
        y: Tensor = self.leave(self.norm(query * self.context(total)))
        return y
