"""`DenseKANet`: densely connected networks of KAN convolutions, of circuits, or plain."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions

__all__ = ["DenseKANet", "DenseLayer"]

# Layers per block, growth, channels of the stem.
_DEPTHS: dict[int | str, tuple[tuple[int, ...], int, int]] = {
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
    "tiny": ((5, 5, 5), 32, 64),
}


class DenseLayer(nn.Module):
    """Put the result of a 1x1 and a 3x3 convolution behind the channels of the input (Huang et al. 2016, section 3).

    Example:
        >>> DenseLayer(Convolutions("rbf"), 4, 3, 8)(torch.zeros(2, 4, 5, 5)).shape
        torch.Size([2, 7, 5, 5])
    """

    def __init__(self, make: Convolutions, in_channels: int, growth: int, between: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(make(in_channels, between, 1), make(between, growth))

    def forward(self, x: Tensor) -> Tensor:
        """Return images [batch, in + growth, *space] for images [batch, in, *space]."""
        return torch.cat([x, self.branch(x)], 1)


@final
class DenseKANet(nn.Module):
    """Classify images by densely connected blocks of convolutions of one kind, with plain transitions between.

    A transition is a batch norm, SELU, a plain 1x1 convolution to half of the channels, and average pooling by 2. No
    norm follows the last block: that is a matter of its convolutions. The tiny network has a stem of 5x5 pixels
    without pooling, and a transition behind every block.

    Args:
        depth: 121, 161, 169, 201 or ``"tiny"``; or the number of layers of each block.
        in_channels: of the images.
        classes: number of logits.
        growth: channels that a layer adds; by default 48 for depth 161, else 32.
        stem_channels: of the first convolution; by default 96 for depth 161, else 64.
        width_scale: multiplies growth and stem_channels.
        between: channels between the convolutions of a layer, as a multiple of growth.
        stem_kernel: of the first convolution; by default 7, of the tiny network 5.
        stem_stride: its stride.
        pool: whether a 3x3 max-pooling of stride 2 follows it; by default in all but the tiny network.
        dropout_linear: probability of a feature to be 0 in training before the logits.
        **convolutions: how the convolutions are made, see `Convolutions`.

    Attributes:
        stem: the first convolution. blocks: dense blocks and transitions. output: `nn.Linear`.

    Raises:
        ValueError: for an unknown depth.
        TypeError: for a keyword that the layers do not have.

    Shape:
        x [batch, in_channels, height, width] -> [batch, classes].

    Example:
        >>> net = DenseKANet("tiny", 3, 10, basis="chebyshev", growth=8, stem_channels=8)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int | str | Sequence[int],
        in_channels: int = 3,
        classes: int = 1000,
        *,
        growth: int | None = None,
        stem_channels: int | None = None,
        width_scale: int = 1,
        between: int = 4,
        stem_kernel: int | None = None,
        stem_stride: int = 2,
        pool: bool | None = None,
        dropout_linear: float = 0.0,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        counts, usual_growth, usual_stem = _blocks(depth)
        tiny, scale = depth == "tiny", positive_integer("width_scale", width_scale)
        growth, channels = scale * (growth or usual_growth), scale * (stem_channels or usual_stem)
        make = Convolutions(**convolutions)
        kernel = stem_kernel or (5 if tiny else 7)
        stem = make(positive_integer("in_channels", in_channels), channels, kernel, stride=stem_stride, first=True)
        pooled = not tiny if pool is None else pool
        self.stem = nn.Sequential(stem, nn.MaxPool2d(3, 2, 1)) if pooled else nn.Sequential(stem)
        blocks: list[nn.Module] = []
        for number, count in enumerate(counts):
            for _ in range(count):
                blocks.append(DenseLayer(make, channels, growth, between * growth))
                channels += growth
            if tiny or number < len(counts) - 1:
                blocks.append(_transition(channels, channels // 2, make.factory))
                channels //= 2
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout_linear)
        self.output = nn.Linear(channels, positive_integer("classes", classes), **make.factory)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, classes] of images [batch, in_channels, height, width]."""
        pooled = self.blocks(self.stem(x)).mean((-2, -1))
        logits: Tensor = self.output(self.dropout(pooled))
        return logits


def _blocks(depth: int | str | Sequence[int]) -> tuple[Sequence[int], int, int]:
    if not isinstance(depth, int | str):
        return depth, 32, 64
    if depth not in _DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, _DEPTHS))}, or layers per block; got {depth!r}")
    return _DEPTHS[depth]


def _transition(in_channels: int, out_channels: int, factory: dict[str, Any]) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 1, bias=False, **factory)
    return nn.Sequential(nn.BatchNorm2d(in_channels, **factory), nn.SELU(), convolution, nn.AvgPool2d(2))
