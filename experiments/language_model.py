"""A small character transformer whose feed-forward blocks are built from plain descriptions, and its text."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan import HQKAN

__all__ = ["Transformer", "character_loss", "symbols", "windows"]

Pair = tuple[Tensor, Tensor]


class Transformer(nn.Module):
    """Characters [batch, context] -> logits of the next ones [batch, context, symbols].

    Embeddings of characters and positions, then pre-norm blocks of causal attention and feed-forward, each added to
    its input, then a norm and a linear map.

    Args:
        symbols: number of different characters.
        context: of the longest input.
        width: of the embeddings.
        heads: of the attention.
        blocks: how many.
        feed_forward: what `feed_forward` below takes.

    Attributes:
        mixers: the attention parts. feed_forwards: the others, each after its norm.

    Example:
        >>> model = Transformer(65, 16, width=8, heads=2, blocks=1, feed_forward={"kind": "mlp", "hidden": 8})
        >>> model(torch.zeros(3, 16, dtype=torch.long)).shape
        torch.Size([3, 16, 65])
    """

    def __init__(
        self, symbols: int, context: int, *, width: int, heads: int, blocks: int, feed_forward: dict[str, Any]
    ) -> None:
        super().__init__()
        self.characters = nn.Embedding(symbols, width)
        self.positions = nn.Embedding(context, width)
        for embedding in (self.characters, self.positions):
            nn.init.normal_(embedding.weight, std=0.02)
        self.mixers = nn.ModuleList(_Attention(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, symbols)
        # drawn last: one seed gives every side the same embeddings and attention
        self.feed_forwards = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), _feed_forward(width, **feed_forward)) for _ in range(blocks)
        )

    def forward(self, text: Tensor) -> Tensor:
        """Return logits [batch, context, symbols] for numbers of characters [batch, context]."""
        x = self.characters(text) + self.positions.weight[: text.shape[1]]
        for mixer, feed_forward in zip(self.mixers, self.feed_forwards, strict=True):
            x = x + mixer(x)
            x = x + feed_forward(x)
        logits: Tensor = self.logits(self.norm(x))
        return logits

    def blocks(self) -> list[nn.Module]:
        """Return the feed-forward parts without their norms."""
        return [part for parts in self.feed_forwards for part in parts.children() if not isinstance(part, nn.LayerNorm)]


class _Attention(nn.Module):
    """Norm, then causal attention with several heads: x [batch, context, width] -> the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.inputs(self.norm(x)).unflatten(-1, (3, self.heads, -1))  # [batch, context, 3, heads, width/heads]
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [batch, heads, context, width/heads]
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        y: Tensor = self.output(mixed.transpose(1, 2).flatten(-2))
        return y


def _feed_forward(
    width: int,
    kind: str,
    hidden: int = 0,
    latent: list[int] | None = None,
    norm: bool = False,
    options: dict[str, Any] | None = None,
) -> nn.Module:
    """Return x [*batch, width] -> [*batch, width].

    Args:
        width: of its input and output.
        kind: "mlp" (Linear, GELU, Linear), "hqkan", or an HQKAN whose core is "linear" or "silu" (Linear, SiLU,
            Linear).
        hidden: units of the MLP, or of the SiLU core.
        latent: widths of the core.
        norm: whether a `LayerNorm` comes before the core, or before the GELU.
        options: of the circuits.
    """
    if kind == "mlp":
        middle = [nn.LayerNorm(hidden)] if norm else []
        return nn.Sequential(nn.Linear(width, hidden), *middle, nn.GELU(), nn.Linear(hidden, width))
    if latent is None or kind not in ("hqkan", "linear", "silu"):
        raise ValueError(f"kind must be mlp, or hqkan, linear or silu with latent=; got {kind!r}, latent={latent}")
    model = HQKAN(width, width, latent=latent, **(options or {}))
    core: nn.Module = model.core
    if kind == "linear":
        core = nn.Linear(latent[0], latent[1])
    elif kind == "silu":
        core = nn.Sequential(nn.Linear(latent[0], hidden), nn.SiLU(), nn.Linear(hidden, latent[1]))
    before = [nn.LayerNorm(latent[0])] if norm else []
    return nn.Sequential(model.encoder, *before, core, model.decoder)


def symbols(path: str | Path) -> tuple[Tensor, int]:
    """Return a text as numbers of its characters, int64 [characters], and how many different ones there are."""
    text = Path(path).read_text(encoding="utf-8")
    order = {character: number for number, character in enumerate(sorted(set(text)))}
    return torch.tensor([order[character] for character in text]), len(order)


def windows(text: Tensor, context: int) -> Pair:
    """Return inputs and targets [windows, context]: contiguous windows without overlap, and what follows each symbol.

    Example:
        >>> windows(torch.arange(8), 3)[1].tolist()
        [[1, 2, 3], [4, 5, 6]]
    """
    count = (len(text) - 1) // context
    inputs, targets = text[: count * context], text[1 : count * context + 1]
    return inputs.reshape(count, context), targets.reshape(count, context)


def character_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats: logits [batch, context, symbols], targets [batch, context]."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
