"""The networks of the published HQKAN study on CIFAR-100, and ablations of their quantum core.

All share one small convolutional network (`features`) and differ in the head from its 256 features to the classes.
Published: https://arxiv.org/abs/2509.14026.
"""

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from qkan.models.hybrid import HQKAN

__all__ = ["MODELS", "QUANTUM", "StudyNetwork", "features"]

MODELS = ("hqkan", "hqkan-44", "mlp", "linear", "silu", "silu-matched")
QUANTUM = {"hqkan": 1, "hqkan-44": 4}
"""The models with a quantum core, and the multiplier of their latent widths."""

_WIDTH = 256


def features(channels: int) -> nn.Sequential:
    """Return the convolutional part: images [batch, channels, 32, 32] -> [batch, 256].

    Three times a 3x3 convolution without padding, max-pooling by 2, ReLU. Pooling goes first because max and ReLU
    commute: the same function and gradient from a quarter of the ReLU's work. The kernels are stored with channels
    last, which makes torch run the whole stack in that order: 1.6 times as fast on a CPU, with 3 channels as with 1.

    Example:
        >>> sum(parameter.numel() for parameter in features(3).parameters())
        56320
    """
    layers: list[nn.Module] = []
    for width_in, width_out in ((channels, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(width_in, width_out, 3), nn.MaxPool2d(2), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten())
    return network.to(memory_format=torch.channels_last)


class StudyNetwork(nn.Module):
    """A whole network: `.features`, then `.head`, images [batch, channels, 32, 32] -> logits [batch, classes].

    With latents of m * ceil(log2 256) and m * ceil(log2 classes) units (32 and 28 for 100 classes and m = 4):

    - `hqkan`: HQKAN with m = 1.
    - `hqkan-44`: HQKAN with m = 4.
    - `mlp`: 256-192-128-classes with ReLU.
    - `linear`: hqkan-44 with a linear map as its core: what the encoder and decoder do alone.
    - `silu`: equal latents: Linear, SiLU, Linear, SiLU, Linear.
    - `silu-matched`: equal parameters: the core is Linear, SiLU, Linear with as many hidden units as fit into the 8
      angles per edge of the quantum core.

    Args:
        name: one of the above.
        channels: of the images.
        classes: number of logits.
        core_options: options of the quantum core (see `QKAN`).

    Raises:
        ValueError: an unknown name, or core options for a model without a quantum core.

    Example:
        >>> sum(parameter.numel() for parameter in StudyNetwork("mlp", 3, 100).parameters())
        143268
    """

    def __init__(self, name: str, channels: int, classes: int, **core_options: Any) -> None:
        super().__init__()
        if name not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}; got {name!r}")
        if core_options and name not in QUANTUM:
            given = ", ".join(core_options)
            raise ValueError(f"model {name!r} has no quantum core to take {given}: leave these options out")
        self.name, self.channels, self.classes = name, channels, classes
        # the convolutions are drawn first: one seed gives all models the same ones
        self.features = features(channels)
        self.head = _head(name, classes, core_options)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [batch, classes] for images [batch, channels, 32, 32]."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this network, as plain JSON values."""
        core = self.head.core.options.to_json() if isinstance(self.head, HQKAN) else {}
        return {"name": self.name, "channels": self.channels, "classes": self.classes, **core}


def _head(name: str, classes: int, core_options: dict[str, Any]) -> nn.Module:
    if name in QUANTUM:
        return HQKAN(_WIDTH, classes, latent="log2", multiplier=QUANTUM[name], **core_options)
    if name == "mlp":
        return nn.Sequential(nn.Linear(_WIDTH, 192), nn.ReLU(), nn.Linear(192, 128), nn.ReLU(), nn.Linear(128, classes))
    latent_in, latent_out = (4 * math.ceil(math.log2(size)) for size in (_WIDTH, classes))
    parts = OrderedDict[str, nn.Module](encoder=nn.Linear(_WIDTH, latent_in))
    parts["core"] = _classical_core(name, latent_in, latent_out)
    parts["decoder"] = nn.Linear(latent_out, classes)
    return nn.Sequential(parts)


def _classical_core(name: str, latent_in: int, latent_out: int) -> nn.Module:
    if name == "linear":
        return nn.Linear(latent_in, latent_out)
    if name == "silu":
        return nn.Sequential(nn.SiLU(), nn.Linear(latent_in, latent_out), nn.SiLU())
    budget = 8 * latent_in * latent_out
    hidden = (budget - latent_out) // (latent_in + latent_out + 1)  # weights in + out and one bias per hidden unit
    return nn.Sequential(nn.Linear(latent_in, hidden), nn.SiLU(), nn.Linear(hidden, latent_out))
