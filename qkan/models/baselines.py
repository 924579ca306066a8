"""The networks of the two published studies of KAN convolutions: for every basis, for circuits, and plain.

Four or eight 3x3 convolutions, global average pooling, a linear output. The studies of torch-conv-kan, "preliminary"
and "updated", differ in channels, groups and dropout; the parameter counts of their tables follow.
"""

from typing import Any

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.layers import published
from qkan.layers.conv import QKANConv2d
from qkan.layers.skeleton import NormLayer
from qkan.models.vision.blocks import Normed

__all__ = ["MODELS", "Baseline", "baseline"]

_LAYERS: dict[str, type[nn.Module]] = {
    "SimpleKANConv": published.KANConv2DLayer,
    "SimpleFastKANConv": published.FastKANConv2DLayer,
    "SimpleKALNConv": published.KALNConv2DLayer,
    "SimpleKACNConv": published.KACNConv2DLayer,
    "SimpleKAGNConv": published.KAGNConv2DLayer,
    "SimpleKAJNConv": published.KAJNConv2DLayer,
    "SimpleKABNConv": published.KABNConv2DLayer,
    "SimpleReLUKANConv": published.ReLUKANConv2DLayer,
    "SimpleWavKANConv": published.WavKANConv2DLayer,
}

MODELS = ("SimpleConv", *_LAYERS, "SimpleQKANConv")
"""Names of the networks; the studies have those of plain, KAN, FastKAN, KALN, KACN, KAGN and WavKAN convolutions."""

_CHANNELS = {
    ("preliminary", 4): (32, 64, 128, 512),
    ("preliminary", 8): (32, 64, 128, 512, 1024, 1024, 1024, 1024),
    ("updated", 4): (32, 64, 128, 256),
    ("updated", 8): (16, 32, 64, 128, 256, 256, 512, 512),
}
# The convolutions of stride 2, the first one being 0.
_HALVING = {4: (1, 2), 8: (1, 2, 5)}
# In the convolutions, and before the output.
_DROPOUT = {"preliminary": (0.0, 0.0), "updated": (0.25, 0.5)}
# Their norms were affine in every row of the tables.
_ALWAYS_AFFINE = ("SimpleConv", "SimpleKACNConv", "SimpleWavKANConv")


class Baseline(nn.Module):
    """Classify images by 3x3 convolutions of one kind, global average pooling and a linear output.

    The first convolution has one group and no dropout, as that would drop whole images of one channel. Plain
    convolutions have a bias, and are followed by the norm and ReLU; circuits have none, and are followed by the norm.

    Args:
        model: one of `MODELS`.
        in_channels: of the images.
        classes: number of logits.
        channels: of the convolutions.
        halving: which of them have stride 2, the first one being 0.
        groups: of all convolutions but the first.
        norm_layer: ``"instance"``, ``"batch"``, a class, or None; ``"study"`` is ``"instance"``, and ``"batch"``
            for circuits and wavelets, whose layers end in the norm.
        affine: whether the norm has a trained factor and shift per channel.
        dropout: probability of a channel to be 0 in training; where, is up to the convolution.
        dropout_linear: probability of a feature to be 0 before the output.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights; plain and linear layers draw from the global one, as in torch.
        **keywords: of the layers, such as ``degree``; of circuits, see `QKANOptions`.

    Attributes:
        features: the convolutions. output: `nn.Linear`.

    Raises:
        ValueError: for an unknown model, or a size out of range; for circuits with instance norms, after which the
            pooled image does not depend on the image. (That is so for Chebyshev networks too, as published, and for
            wavelets.)
        TypeError: for a keyword that the layers do not have.

    Shape:
        x [batch, in_channels, height, width] -> [batch, classes].

    Example:
        >>> net = Baseline("SimpleKAGNConv", 3, 10, channels=(8, 16), halving=(1,), degree=2)
        >>> net(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        model: str,
        in_channels: int,
        classes: int,
        *,
        channels: tuple[int, ...],
        halving: tuple[int, ...] = (),
        groups: int = 1,
        norm_layer: NormLayer = "study",
        affine: bool = False,
        dropout: float = 0.0,
        dropout_linear: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__()
        if model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}; got {model!r}")
        self.model, norm_layer = model, _norm_layer(model, norm_layer)
        norm = {"norm_layer": norm_layer} | ({} if norm_layer is None else {"norm_options": {"affine": affine}})
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        layers, widths = [], (positive_integer("in_channels", in_channels), *channels)
        for at, sizes in enumerate(zip(widths, channels, strict=False)):
            place = {"padding": 1, "stride": 2 if at in halving else 1, "groups": groups if at else 1}
            around = norm | factory | {"dropout": dropout if at else 0.0}
            layers.append(_convolution(model, sizes, place, around, generator, keywords))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout_linear)
        self.output = nn.Linear(widths[-1], positive_integer("classes", classes), **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [batch, classes] of images [batch, in_channels, height, width]."""
        pooled = self.features(x).mean((-2, -1))
        logits: Tensor = self.output(self.dropout(pooled))
        return logits


def _norm_layer(model: str, norm_layer: NormLayer) -> NormLayer:
    if norm_layer == "study":
        return "batch" if model in ("SimpleQKANConv", "SimpleWavKANConv") else "instance"
    if model == "SimpleQKANConv" and norm_layer == "instance":
        raise ValueError(
            "norm_layer must not be 'instance' for SimpleQKANConv: without an activation behind it the mean over an "
            "image is the same for every image; use norm_layer='batch'"
        )
    return norm_layer


def _convolution(
    model: str,
    sizes: tuple[int, int],
    place: dict[str, Any],
    around: dict[str, Any],
    generator: torch.Generator | None,
    keywords: dict[str, Any],
) -> nn.Module:
    """Return one convolution with its norm, activation and dropout."""
    inputs, outputs = sizes
    here = {**place, **keywords, "device": around["device"], "dtype": around["dtype"]}
    if model == "SimpleConv":
        return Normed(nn.Conv2d(inputs, outputs, 3, **here), sizes, activation="relu", **around)
    if model == "SimpleQKANConv":
        return Normed(QKANConv2d(inputs, outputs, 3, **here, generator=generator), sizes, **around)
    around = around | around.get("norm_options", {})
    around.pop("norm_options", None)
    return _LAYERS[model](inputs, outputs, 3, **place, **around, **keywords, generator=generator)


def baseline(
    model: str,
    *,
    study: str = "updated",
    layers: int = 4,
    classes: int = 10,
    in_channels: int = 1,
    norm_layer: NormLayer = "study",
    affine: bool = False,
    l1: float = 0.0,
    **keywords: Any,
) -> Baseline:
    """Return a network as one of the studies had it.

    The second, the third and, of eight, the sixth convolution have stride 2. All but the first have 4 groups in the
    first study; in the second, those of plain networks do, and of the Gram and Chebyshev networks with 4 layers that
    were trained without an L1 penalty. Chebyshev networks that were trained with one have degree 5. Norms of plain,
    Chebyshev and wavelet networks are always affine. The studies do not tell the activation of plain networks (here
    ReLU), nor the norms of the first one.

    Args:
        model: one of `MODELS`.
        study: ``"preliminary"`` or ``"updated"``.
        layers: number of convolutions, 4 or 8.
        classes: number of logits.
        in_channels: of the images.
        norm_layer: ``"instance"`` or ``"batch"``, a class, or None; ``"study"`` as in `Baseline`.
        affine: whether norms of other networks than those named are affine.
        l1: weight of the penalty that the network is to be trained with.
        **keywords: override what the study says, see `Baseline`: ``groups``, ``dropout``, ``degree``, ``device``...

    Raises:
        ValueError: for an unknown study, model or number of layers.
        TypeError: for a keyword that the layers do not have.

    Example:
        >>> net = baseline("SimpleKAGNConv", device="meta")
        >>> sum(parameter.numel() for parameter in net.parameters())
        487866
    """
    if (study, layers) not in _CHANNELS:
        raise ValueError(
            f"study must be 'preliminary' or 'updated', and layers 4 or 8; got study={study!r}, layers={layers!r}"
        )
    dropout, dropout_linear = _DROPOUT[study]
    sparse = model in ("SimpleKAGNConv", "SimpleKACNConv") and layers == 4 and not l1
    chosen: dict[str, Any] = {
        "groups": 4 if study == "preliminary" or model == "SimpleConv" or sparse else 1,
        "affine": affine or model in _ALWAYS_AFFINE,
        "dropout": dropout,
        "dropout_linear": dropout_linear,
        **({"degree": 5} if model == "SimpleKACNConv" and l1 else {}),
    }
    place: dict[str, Any] = {"channels": _CHANNELS[study, layers], "halving": _HALVING[layers]}
    return Baseline(model, in_channels, classes, norm_layer=norm_layer, **{**place, **chosen, **keywords})
