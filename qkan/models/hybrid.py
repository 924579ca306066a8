"""`HQKAN`: a QKAN between a linear encoder and a linear decoder."""

import math
from collections.abc import Iterable
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.layers.options import OptionArguments, QKANOptions
from qkan.models.stack import QKAN, widths

__all__ = ["HQKAN"]


class HQKAN(nn.Module):
    """Apply Linear(in, latent[0]), QKAN(latent), Linear(latent[-1], out) (arXiv 2509.14026).

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        latent: widths of the core; ``"log2"`` stands for (ceil(log2 in) m, ceil(log2 out) m), m the multiplier.
        multiplier: m of ``"log2"``, at least 1.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles; the linear layers draw from the global one, as `nn.Linear` does.
        **options: of the core, see `QKANOptions`.

    Attributes:
        encoder: `nn.Linear`. core: `QKAN`. decoder: `nn.Linear`.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for a width or a multiplier below 1, or an unknown name of latent widths.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].

    Example:
        >>> HQKAN(256, 100, latent="log2", multiplier=4).core.width
        (32, 28)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        latent: Iterable[int] | str = "log2",
        multiplier: int = 4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        super().__init__()
        QKANOptions.parse("HQKAN", options)
        self.in_features = positive_integer("in_features", in_features)
        self.out_features = positive_integer("out_features", out_features)
        width = widths(_latent(self.in_features, self.out_features, latent, multiplier))
        self.encoder = nn.Linear(self.in_features, width[0], device=device, dtype=dtype)
        self.core = QKAN(width, device=device, dtype=dtype, generator=generator, **options)
        self.decoder = nn.Linear(width[-1], self.out_features, device=device, dtype=dtype)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features]; generator as in `QKANLinear.forward`."""
        y: Tensor = self.decoder(self.core(self.encoder(x), generator))
        return y

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this model, as plain JSON values."""
        core = self.core.config()
        return {"in_features": self.in_features, "out_features": self.out_features, "latent": core.pop("width"), **core}


def _latent(n_in: int, n_out: int, latent: Iterable[int] | str, multiplier: int) -> Iterable[int]:
    if not isinstance(latent, str):
        return latent
    if latent != "log2":
        raise ValueError(f"latent must be a sequence of widths or 'log2'; got {latent!r}")
    m = positive_integer("multiplier", multiplier)
    # At least 1: log2 of a single input or output is 0.
    return [max(1, math.ceil(math.log2(n))) * m for n in (n_in, n_out)]
