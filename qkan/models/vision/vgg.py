"""`VGGKAN`: convolutions of one kind, one after the other, with max-pooling between."""

from collections.abc import Sequence
from typing import Any, final

from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.models.vision.blocks import Convolutions

__all__ = ["VGGKAN"]

# Convolutions of each stage, whose widths are 16, 32, 64, 128, 128.
_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (16, 32, 64, 128, 128)
# The widths of the convolutions behind the last pooling, by version.
_LAST = {"base": (), "v2": (128, 128), "v3": (128, 256), "v4": (256, 256)}


@final
class VGGKAN(nn.Module):
    """Classify images by stages of 3x3 convolutions of one kind, each followed by max-pooling, and a linear output.

    A quarter as wide as torchvision's VGG: the stages have 16, 32, 64, 128 and 128 channels, times `width_scale`.

    Args:
        depth: 11, 13, 16 or 19; or the number of convolutions of each stage, of at most five.
        in_channels: of the images.
        classes: number of logits.
        version: ``"base"``; ``"v2"``, ``"v3"`` and ``"v4"`` have two convolutions more, behind the last pooling, of 128
            and 128, 128 and 256, 256 and 256 channels.
        width_scale: multiplies all channels but those of the images.
        pooled: pixels in each direction that the last images are averaged to.
        dropout_linear: probability of a feature to be 0 in training before the logits.
        **convolutions: how the convolutions are made, see `Convolutions`.

    Attributes:
        features: convolutions and poolings. output: `nn.Linear`.

    Raises:
        ValueError: for an unknown depth or version.
        TypeError: for a keyword that the layers do not have.

    Shape:
        x [batch, in_channels, height, width], of at least 32 x 32 pixels -> [batch, classes].

    Example:
        >>> import torch
        >>> net = VGGKAN(11, 3, 10, basis="gram", degree=2)
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        depth: int | Sequence[int],
        in_channels: int = 3,
        classes: int = 1000,
        *,
        version: str = "base",
        width_scale: int = 1,
        pooled: int = 1,
        dropout_linear: float = 0.0,
        **convolutions: Any,
    ) -> None:
        super().__init__()
        stages, scale = _stages(depth, version), positive_integer("width_scale", width_scale)
        make, channels = Convolutions(**convolutions), positive_integer("in_channels", in_channels)
        layers: list[nn.Module] = []
        for number, widths in enumerate(stages):
            for width in widths:
                layers.append(make(channels, scale * width, first=not layers))
                channels = scale * width
            if version == "base" or number < len(stages) - 1:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(positive_integer("pooled", pooled))
        self.dropout = nn.Dropout(dropout_linear)
        self.output = nn.Linear(channels * pooled**2, positive_integer("classes", classes), **make.factory)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, classes] of images [batch, in_channels, height, width]."""
        features = self.pool(self.features(x)).flatten(1)
        logits: Tensor = self.output(self.dropout(features))
        return logits


def _stages(depth: int | Sequence[int], version: str) -> list[tuple[int, ...]]:
    """Return the widths of the convolutions of each stage."""
    if version not in _LAST:
        raise ValueError(f"version must be one of {', '.join(_LAST)}; got {version!r}")
    if isinstance(depth, int) and depth not in _DEPTHS:
        raise ValueError(f"depth must be one of {', '.join(map(str, _DEPTHS))}, or convolutions per stage; got {depth}")
    counts = _DEPTHS[depth] if isinstance(depth, int) else tuple(depth)
    if len(counts) > len(_WIDTHS):
        raise ValueError(f"depth must have at most {len(_WIDTHS)} stages; got {tuple(counts)}")
    stages = [(width,) * count for width, count in zip(_WIDTHS, counts, strict=False)]
    return [*stages, _LAST[version]] if _LAST[version] else stages
