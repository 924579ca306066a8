"""`UKANet`: a U-net of residual blocks, for one class per pixel."""

from collections.abc import Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions
from qkan.models.vision.resnet import BasicBlock, stage

__all__ = ["UKANet", "resized"]

_WIDTH = 8


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Return images of the size of others, bilinear.

    >>> resized(torch.ones(1, 2, 3, 4), like=torch.ones(1, 5, 7, 8)).shape
    torch.Size([1, 2, 7, 8])
    """
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


@final
class UKANet(nn.Module):
    """Give every pixel logits: stages of residual blocks that halve the image, and the way back with skips.

    The stages have 8, 16, 32 and 64 channels, times `width_scale`. On the way back an image is brought to the size of
    the one that its stage left, the two are merged by a 3x3 convolution, and as many blocks follow as on the way down.

    Args:
        in_channels: of the images.
        classes: number of logits per pixel.
        blocks: of each stage.
        width_scale: multiplies all channels but those of the images.
        stem_kernel: of the first convolution, which has stride 1.
        **convolutions: how the convolutions are made, see `Convolutions`.

    Attributes:
        stem: the first convolution. down: the stages. bottom: the way back's first. merges, up: the others, from the
            bottom to the top. output: a plain 1x1 convolution.

    Raises:
        ValueError: for less than one stage.
        TypeError: for a keyword that the layers do not have.

    Shape:
        x [batch, in_channels, height, width] -> [batch, classes, height, width].

    Example:
        >>> UKANet(1, 2, blocks=(1, 1, 1), basis="rbf")(torch.zeros(2, 1, 13, 16)).shape
        torch.Size([2, 2, 13, 16])
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1,
        *,
        blocks: Sequence[int] = (2, 2, 2, 2),
        width_scale: int = 1,
        stem_kernel: int = 3,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        if not blocks:
            raise ValueError("blocks must hold at least one number, the blocks of a stage; got none")
        make, scale = Convolutions(**convolutions), positive_integer("width_scale", width_scale)
        widths = [_WIDTH * scale * 2**number for number in range(len(blocks))]
        self.stem = make(positive_integer("in_channels", in_channels), widths[0], stem_kernel, first=True)
        inputs = [widths[0], *widths]
        self.down = nn.ModuleList(
            stage(make, BasicBlock, inputs[number], width, blocks[number], stride=2 if number else 1)
            for number, width in enumerate(widths)
        )
        self.bottom = stage(make, BasicBlock, widths[-1], widths[-1], blocks[-1])
        back = range(len(blocks) - 2, -1, -1)
        self.merges = nn.ModuleList(make(widths[number] + widths[number + 1], widths[number]) for number in back)
        self.up = nn.ModuleList(
            stage(make, BasicBlock, widths[number], widths[number], blocks[number]) for number in back
        )
        self.output = nn.Conv2d(widths[0], positive_integer("classes", classes), 1, **make.factory)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, classes, height, width] of images [batch, in_channels, height, width]."""
        x, left = self.stem(x), []
        for part in self.down:
            x = part(x)
            left.append(x)
        x = self.bottom(left.pop())
        for merge, part in zip(self.merges, self.up, strict=True):
            skip = left.pop()
            x = part(merge(torch.cat([resized(x, skip), skip], 1)))
        logits: Tensor = self.output(x)
        return logits
