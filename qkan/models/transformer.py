"""`TransformerBlock`: attention, and an HQKAN where transformers have an MLP."""

from collections.abc import Iterable
from typing import Unpack, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan._checks import check_input, positive_integer
from qkan.layers.options import OptionArguments
from qkan.models.hybrid import HQKAN

__all__ = ["TransformerBlock"]


@final
class TransformerBlock(nn.Module):
    """x + attention(norm x), then x + HQKAN(norm x): a pre-norm block (Xiong et al. 2020) without an MLP.

    Args:
        width: of the embeddings.
        heads: of the attention.
        causal: whether a place sees itself and what is before it alone.
        latent: widths of the core of the HQKAN, or ``"log2"``.
        multiplier: of ``"log2"``, see `HQKAN`.
        dropout: probability in training of an attention weight, and of a number that is added to x, to be 0.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles; linear layers draw from the global one, as in torch.
        **options: of the core, see `QKANOptions`.

    Attributes:
        attention_norm, feed_forward_norm: `nn.LayerNorm`. inputs: to query, key and value. output: of the attention.
        feed_forward: `HQKAN`; any module from [*batch, width] to the same may take its place.

    Raises:
        TypeError: for an unknown option, or a size that is no integer.
        ValueError: for heads that do not divide the width, or an option out of range.

    Shape:
        x [batch, length, width] -> the same.

    Example:
        >>> TransformerBlock(16, 4, causal=True, latent=(6, 6))(torch.zeros(2, 5, 16)).shape
        torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        causal: bool = False,
        latent: Iterable[int] | str = "log2",
        multiplier: int = 4,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        super().__init__()
        self.width, self.heads = positive_integer("width", width), positive_integer("heads", heads)
        if self.width % self.heads:
            raise ValueError(f"heads must divide width={width}; got {heads}")
        self.causal = causal
        self.attention_norm = nn.LayerNorm(self.width, device=device, dtype=dtype)
        self.inputs = nn.Linear(self.width, 3 * self.width, device=device, dtype=dtype)
        self.output = nn.Linear(self.width, self.width, device=device, dtype=dtype)
        self.feed_forward_norm = nn.LayerNorm(self.width, device=device, dtype=dtype)
        self.feed_forward: nn.Module = HQKAN(
            self.width, self.width, latent=latent, multiplier=multiplier,
            device=device, dtype=dtype, generator=generator, **options,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return y [batch, length, width] for x.

        Args:
            x: [batch, length, width].
            mask: where attention is allowed, boolean, that broadcasts to [batch, heads, length, length]; for blocks
                that are not causal.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last size is another; for a mask beside causal=True.
        """
        check_input(x, self.width)
        if mask is not None and self.causal:
            raise ValueError("mask is for blocks with causal=False; put what is before a place into the mask itself")
        parts = torch.unflatten(self.inputs(self.attention_norm(x)), -1, (3, self.heads, -1))
        query, key, value = parts.movedim(-3, 0).transpose(-3, -2)  # each [batch, heads, length, width/heads]
        share = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=share, is_causal=self.causal)
        x = x + self.dropout(self.output(mixed.transpose(-3, -2).flatten(-2)))
        y: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return y
