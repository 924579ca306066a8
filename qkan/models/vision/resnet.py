"""`ResKANet`: residual networks of KAN convolutions, of circuits, or plain."""

from collections.abc import Sequence
from typing import Any, final

from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions

__all__ = ["BasicBlock", "BottleneckBlock", "ResKANet", "stage"]

_DEPTHS: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
_WIDTH = 8


class _Block(nn.Module):
    """Convolutions, added to the input or to a 1x1 convolution of it; abstract."""

    def __init__(self, make: Convolutions, branch: nn.Module, channels: tuple[int, int], stride: int) -> None:
        super().__init__()
        self.branch = branch
        same = channels[0] == channels[1] and stride == 1
        self.shortcut = nn.Identity() if same else make(*channels, 1, stride=stride, activated=False)
        self.joined = make.joined()

    def forward(self, x: Tensor) -> Tensor:
        """Return images [batch, out, *space / stride] for images [batch, in, *space]."""
        y: Tensor = self.joined(self.branch(x) + self.shortcut(x))
        return y


@final
class BasicBlock(_Block):
    """Two 3x3 convolutions, the first with the stride, added to the input (He et al. 2015, figure 5 left).

    Example:
        >>> import torch
        >>> BasicBlock(Convolutions("rbf"), 4, 6, stride=2)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 6, 4, 4])
    """

    expansion = 1

    def __init__(self, make: Convolutions, in_channels: int, width: int, *, stride: int = 1) -> None:
        branch = nn.Sequential(make(in_channels, width, stride=stride), make(width, width, activated=False))
        super().__init__(make, branch, (in_channels, width), stride)


@final
class BottleneckBlock(_Block):
    """Convolutions of 1x1, 3x3 (with the stride) and 1x1 pixels to four times the width, added to the input.

    With groups the width of the 3x3 convolution is multiplied by them, as in torchvision.

    Example:
        >>> import torch
        >>> BottleneckBlock(Convolutions("rbf"), 4, 6, stride=2)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 24, 4, 4])
    """

    expansion = 4

    def __init__(self, make: Convolutions, in_channels: int, width: int, *, stride: int = 1) -> None:
        inner, out = width * make.groups, width * self.expansion
        layers = make(in_channels, inner, 1), make(inner, inner, stride=stride), make(inner, out, 1, activated=False)
        super().__init__(make, nn.Sequential(*layers), (in_channels, out), stride)


_BLOCKS: dict[str, type[BasicBlock] | type[BottleneckBlock]] = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


def stage(
    make: Convolutions,
    block: type[BasicBlock] | type[BottleneckBlock],
    in_channels: int,
    width: int,
    count: int,
    stride: int = 1,
) -> nn.Sequential:
    """Return blocks one after the other, the first with the stride."""
    blocks: list[nn.Module] = []
    for number in range(count):
        blocks.append(block(make, in_channels, width, stride=1 if number else stride))
        in_channels = width * block.expansion
    return nn.Sequential(*blocks)


@final
class ResKANet(nn.Module):
    """Classify images by residual blocks of convolutions of one kind, in stages that halve the image.

    As torchvision's ResNet, an eighth as wide, and without ReLUs unless the convolutions are plain: the stem has 8
    channels, the stages 8, 16, 32 and 64, all times `width_scale` (and times 4 behind bottleneck blocks). A plain
    network with ``width_scale=8`` has the parameters of torchvision's.

    Args:
        depth: 18, 34, 50, 101 or 152; or the number of blocks of each stage.
        in_channels: of the images.
        classes: number of logits.
        block: ``"basic"`` or ``"bottleneck"``, for a depth that is a sequence.
        width_scale: multiplies all channels but those of the images.
        stem_kernel: of the first convolution: 7 with stride 2 for large images, 3 with stride 1 for small ones.
        stem_stride: its stride.
        pool: whether a 3x3 max-pooling of stride 2 follows it.
        dropout_linear: probability of a feature to be 0 in training before the logits.
        **convolutions: how the convolutions are made, such as ``basis``, ``ansatz``, ``bottleneck``, ``groups``,
            ``norm_layer``, ``device``; see `Convolutions`.

    Attributes:
        stem: the first convolution. stages: the blocks. output: `nn.Linear`.

    Raises:
        ValueError: for an unknown depth or block.
        TypeError: for a keyword that the layers do not have.

    Shape:
        x [batch, in_channels, height, width] -> [batch, classes].

    Example:
        >>> net = ResKANet(18, 3, 10, ansatz="pz", device="meta")
        >>> sum(parameter.numel() for parameter in net.parameters())
        1581458
    """

    def __init__(
        self,
        depth: int | Sequence[int],
        in_channels: int = 3,
        classes: int = 1000,
        *,
        block: str = "basic",
        width_scale: int = 1,
        stem_kernel: int = 7,
        stem_stride: int = 2,
        pool: bool = True,
        dropout_linear: float = 0.0,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        kind, counts = _stages(depth, block)
        make, width = Convolutions(**convolutions), _WIDTH * positive_integer("width_scale", width_scale)
        stem = make(positive_integer("in_channels", in_channels), width, stem_kernel, stride=stem_stride, first=True)
        self.stem = nn.Sequential(stem, nn.MaxPool2d(3, 2, 1)) if pool else nn.Sequential(stem)
        channels, stages = width, []
        for number, count in enumerate(counts):
            stages.append(stage(make, kind, channels, width * 2**number, count, stride=2 if number else 1))
            channels = width * 2**number * kind.expansion
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout_linear)
        self.output = nn.Linear(channels, positive_integer("classes", classes), **make.factory)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, classes] of images [batch, in_channels, height, width]."""
        pooled = self.stages(self.stem(x)).mean((-2, -1))
        logits: Tensor = self.output(self.dropout(pooled))
        return logits


def _stages(depth: int | Sequence[int], block: str) -> tuple[type[BasicBlock] | type[BottleneckBlock], Sequence[int]]:
    if block not in _BLOCKS:
        raise ValueError(f"block must be one of {', '.join(_BLOCKS)}; got {block!r}")
    if not isinstance(depth, int):
        return _BLOCKS[block], depth
    if depth not in _DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, _DEPTHS))}, or blocks per stage; got {depth!r}")
    name, counts = _DEPTHS[depth]
    return _BLOCKS[name], counts
