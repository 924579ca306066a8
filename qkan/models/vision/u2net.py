"""`U2KANet`: a U-net whose every stage is a U-net, for one class per pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions
from qkan.models.vision.unet import resized

__all__ = ["LARGE", "SMALL", "ResidualU", "Stage", "U2KANet"]


@dataclass(frozen=True)
class Stage:
    """One stage: its depth, channels inside and of its result, and whether it dilates kernels instead of pooling."""

    depth: int
    inside: int
    out: int
    dilated: bool = False


def _stages(inside: Sequence[int], out: Sequence[int]) -> tuple[Stage, ...]:
    depths = (7, 6, 5, 4, 4, 4, 4, 4, 5, 6, 7)
    sizes = zip(depths, inside, out, strict=True)
    return tuple(Stage(*size, dilated=4 <= number <= 6) for number, size in enumerate(sizes))


LARGE: Final = _stages((8, 8, 16, 32, 64, 64, 64, 32, 16, 8, 4), (16, 32, 64, 128, 128, 128, 128, 64, 32, 16, 16))
"""The stages of the network, down and back; a quarter as wide as U2-Net's (Qin et al. 2020, table 1)."""

SMALL: Final = _stages((4,) * 11, (16,) * 11)
"""Those of its small version."""


class ResidualU(nn.Module):
    """A U-net, added to its first convolution (Qin et al. 2020, figure 2).

    Args:
        make: its convolutions.
        in_channels: of the images.
        shape: depth, channels, dilation.
        first: whether it sees the images of the network.

    Raises:
        ValueError: for a depth below 2.

    Example:
        >>> ResidualU(Convolutions("rbf"), 3, Stage(3, 4, 6))(torch.zeros(2, 3, 9, 8)).shape
        torch.Size([2, 6, 9, 8])
    """

    def __init__(self, make: Convolutions, in_channels: int, shape: Stage, *, first: bool = False) -> None:
        super().__init__()
        if shape.depth < 2:
            raise ValueError(f"depth of a stage must be at least 2; got {shape.depth}")
        depth, inside, out = shape.depth, shape.inside, shape.out
        down = [2**at for at in range(depth)] if shape.dilated else [1] * (depth - 1) + [2]
        back = down[-2::-1] if shape.dilated else [1] * (depth - 1)
        self.entry = make(in_channels, out, first=first)
        self.down = nn.ModuleList(
            make(inside if at else out, inside, dilation=dilation) for at, dilation in enumerate(down)
        )
        self.back = nn.ModuleList(
            make(2 * inside, inside if at < depth - 2 else out, dilation=dilation) for at, dilation in enumerate(back)
        )
        self.dilated = shape.dilated
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return images [batch, out, height, width] for images [batch, in, height, width]."""
        entry = x = self.entry(x)
        left: list[Tensor] = []
        for at, part in enumerate(self.down):
            # The last one dilates its kernel at the size of the one before.
            x = self.pool(x) if 0 < at < len(self.down) - 1 and not self.dilated else x
            x = part(x)
            left.append(x)
        x = left.pop()
        for part in self.back:
            skip = left.pop()
            x = part(torch.cat([x if self.dilated else resized(x, skip), skip], 1))
        y: Tensor = x + entry
        return y


@final
class U2KANet(nn.Module):
    """Give every pixel logits: a U-net whose stages are U-nets, with logits from every scale and from all together.

    Channels are those of `LARGE` or `SMALL`, times `width_scale`: 4 gives the widths of the published U2-Net and its
    small version. The logits of the scales come from plain 3x3 convolutions, those of all from a plain 1x1 convolution.

    Args:
        in_channels: of the images.
        classes: number of logits per pixel.
        stages: of the way down and back, one more down than back; ``SMALL`` for the small version.
        width_scale: multiplies all channels but those of the images.
        sides: whether the result holds the logits of the scales as well.
        **convolutions: how the convolutions are made, see `Convolutions`.

    Attributes:
        down: stages of the way down. back: those of the way back. side: plain convolutions to logits, from the top to
            the bottom. output: the one for all.

    Raises:
        ValueError: for an even number of stages.
        TypeError: for a keyword that the layers do not have.

    Shape:
        x [batch, in_channels, height, width] -> [batch, classes, height, width]; with sides a tuple of such: of all
        scales together, then of each from the top to the bottom.

    Example:
        >>> net = U2KANet(3, 1, stages=SMALL, basis="plain", bias=True, width_scale=4, device="meta")
        >>> sum(parameter.numel() for parameter in net.parameters())
        1131181
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1,
        *,
        stages: Sequence[Stage] = LARGE,
        width_scale: int = 1,
        sides: bool = False,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        if len(stages) % 2 == 0:
            raise ValueError(f"stages must be one more on the way down than back, an odd number; got {len(stages)}")
        make, scale = Convolutions(**convolutions), positive_integer("width_scale", width_scale)
        classes = positive_integer("classes", classes)
        sized = [Stage(part.depth, part.inside * scale, part.out * scale, part.dilated) for part in stages]
        count = len(sized) // 2 + 1
        down, back = sized[:count], sized[count:]
        inputs = [positive_integer("in_channels", in_channels), *(part.out for part in down)]
        self.down = nn.ModuleList(ResidualU(make, inputs[at], part, first=at == 0) for at, part in enumerate(down))
        # What comes from below, beside what the stage of the same size left.
        below = [down[-1].out, *(part.out for part in back)]
        self.back = nn.ModuleList(ResidualU(make, below[at] + down[-2 - at].out, part) for at, part in enumerate(back))
        sources = [*reversed(back), down[-1]]
        self.side = nn.ModuleList(nn.Conv2d(part.out, classes, 3, padding=1, **make.factory) for part in sources)
        self.output = nn.Conv2d(count * classes, classes, 1, **make.factory)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return logits of images [batch, in_channels, height, width], see the class."""
        left: list[Tensor] = []
        for at, part in enumerate(self.down):
            left.append(part(self.pool(left[-1]) if at else x))
        results = [left.pop()]
        for part in self.back:
            skip = left.pop()
            results.append(part(torch.cat([resized(results[-1], skip), skip], 1)))
        logits = [resized(side(image), x) for side, image in zip(self.side, reversed(results), strict=True)]
        fused = self.output(torch.cat(logits, 1))
        return (fused, *logits) if self.sides else fused
