"""Heads of the CIFAR-100 networks, built from plain descriptions: 256 features -> logits of 100 classes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkan import KAN, QKAN, QKANActivation, fit
from qkan.data.images import Images
from qkan.history import History
from qkan.models.study import StudyNetwork
from qkan.training import top_k

__all__ = ["CLASSES", "FEATURES", "network", "trained"]

FEATURES, CLASSES = 256, 100
ACTIVATION: dict[str, Any] = {"encoding": "ternary", "init": 0.5}  # unless the description says otherwise


def network(head: str | dict[str, Any]) -> nn.Module:
    """Return images [batch, 3, 32, 32] -> logits [batch, 100]: a network of the study by name, or with this head.

    A described head is norm -> Linear(256, latent[0]) -> norm -> core -> norm -> Linear(latent[-1], 100), with keys

    - latent: the widths of the core.
    - core: "quantum" (default), "activation" (every latent through a circuit of its own, as it would through SiLU),
      "linear", "silu" (two layers of these widths, or `hidden` units between the latents), "pointwise" (SiLU alone),
      "residual" (a linear map beside a SiLU layer with `hidden` units), "kan" (classical edges), or "none" (the
      encoder's output is the decoder's input).
    - options: of the quantum core, or of the classical edges.
    - before, between: "batch", "layer" or absent: norms of the 256 features and of the latents.
    - decoder: False for a core whose outputs are the logits.
    """
    if isinstance(head, str):
        return StudyNetwork(head, 3, CLASSES)
    model = StudyNetwork("linear", 3, CLASSES)  # for its convolutions, which come first: equal for equal seeds
    model.head = _head(**head)
    return model


def trained(settings: dict[str, Any], train: Images, held_out: Images, folder: Path) -> tuple[nn.Module, History]:
    """Train by the published protocol, as `qkan reproduce` does; go on where a stopped run left its checkpoint.

    Args:
        settings: head, epochs, lr (of Adam) and seed (of the initial weights and of the order of the images).
        train: what is trained on.
        held_out: what is measured after every epoch.
        folder: of the checkpoint.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        model = network(settings["head"])
    checkpoint = folder / "checkpoint.pt"
    history = fit(
        model,
        train,
        validation=held_out,
        epochs=settings["epochs"],
        batch_size=1000,
        optimizer=torch.optim.Adam(model.parameters(), lr=settings["lr"]),
        metrics={"top1": top_k(1), "top5": top_k(5)},
        generator=torch.Generator().manual_seed(settings["seed"]),
        checkpoint=checkpoint,
        resume=checkpoint.exists(),
    )
    return model, history


def _head(
    latent: list[int],
    core: str = "quantum",
    options: dict[str, Any] | None = None,
    before: str | None = None,
    between: str | None = None,
    hidden: int | None = None,
    decoder: bool = True,
) -> nn.Module:
    parts = [
        *_norm(before, FEATURES),
        nn.Linear(FEATURES, latent[0]),
        *_norm(between, latent[0]),
        *_core(core, latent, options or {}, hidden),
    ]
    return nn.Sequential(*parts, *([nn.Linear(latent[-1], CLASSES)] if decoder else []))


class Residual(nn.Module):
    """A linear map beside Linear, SiLU, Linear: [*batch, inputs] -> [*batch, outputs]."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.curved = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x) + self.curved(x)
        return y


def _norm(name: str | None, width: int) -> list[nn.Module]:
    return [] if name is None else [{"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[name](width)]


def _core(name: str, latent: list[int], options: dict[str, Any], hidden: int | None) -> list[nn.Module]:
    if name == "quantum":
        return [QKAN(latent, **options)]
    if name == "kan":
        return [KAN(latent, **options)]
    if name == "activation":
        return [QKANActivation(latent[0], **ACTIVATION | options)]
    if name == "none":
        return []
    if name == "pointwise":
        return [nn.SiLU()]
    if name == "residual":
        return [Residual(latent[0], hidden or 1, latent[-1])]
    if name == "linear":
        return [nn.Linear(latent[0], latent[-1])]
    if hidden is None:
        return [nn.SiLU(), nn.Linear(latent[0], latent[-1]), nn.SiLU()]
    return [nn.Linear(latent[0], hidden), nn.SiLU(), nn.Linear(hidden, latent[-1])]
