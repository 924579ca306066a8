"""What a report looks at: a copy of the model in double precision, and what enters it."""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.attribution import inputs_of
from qkan.crosscheck import inputs
from qkan.layers.edges import EdgeLayer, edge_layers
from qkan.layers.kan import KANLinear
from qkan.layers.linear import QKANLinear
from qkan.lowering import replace_layers
from qkan.models.hybrid import HQKAN
from qkan.models.stack import Stack
from qkan.models.study import StudyNetwork
from qkan.plot.sources import Data, Shown, shown
from qkan.solvers import PennyLane

__all__ = ["Seen", "drawn_text", "evenly", "prepared", "seen"]

_DRAWN = 1000
_IMAGES = 200  # that are drawn: each runs through convolutions
_SIDE = 32  # of the images of the study


class Seen(NamedTuple):
    """The edge layers with what enters them, a sentence on where that comes from, and whether it is data."""

    layers: list[Shown]
    text: str
    given: bool


@torch.no_grad()
def prepared(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU, in float64 and evaluation mode, that samples nothing.

    Raises:
        ValueError: if the model has no edge layer.
    """
    whole = copy.deepcopy(model)
    edge_layers(whole)
    exact = {
        name: layer.with_options(solver="auto", shots=None)
        for name, layer in whole.named_modules()
        if isinstance(layer, QKANLinear) and (layer.options.shots is not None or isinstance(layer.solver, PennyLane))
    }
    return replace_layers(whole, exact).to("cpu", torch.float64).eval()


def seen(model: nn.Module, data: Data | None, samples: int = _DRAWN) -> Seen:
    """Run a prepared model once, over at most so many samples of the data, or over inputs drawn for it.

    Raises:
        TypeError: if data is neither inputs nor a pair, or samples no integer.
        ValueError: if data does not fit the model, or is missing where inputs cannot be drawn; if numbers are not
            finite.
    """
    samples = positive_integer("samples", samples)
    if data is None:
        x, text = _drawn(model)
    else:
        x, text = _chosen(model, inputs_of(data), samples)
    try:
        return Seen(shown(model, x), text, data is not None)
    except RuntimeError as error:  # torch's own layers say so
        got = "none" if x is None else tuple(x.shape)
        raise ValueError(f"data does not fit the model ({error}); got inputs of shape {got}") from error


def _chosen(model: nn.Module, x: Tensor, samples: int) -> tuple[Tensor, str]:
    """Return at most so many samples, evenly over the data, and what they are."""
    if not x.is_floating_point():
        raise ValueError(f"data must be floating-point inputs, scaled as in training; got {x.dtype}")
    if x.dim() == 0 or not x.numel():
        raise ValueError(f"data must hold at least one sample, [samples, ...]; got {tuple(x.shape)}")
    total = len(x)
    if total > samples:
        x = x[evenly(total, samples)]
    if isinstance(model, Stack | EdgeLayer | HQKAN):
        width = model.width[0] if isinstance(model, Stack) else model.in_features
        if x.shape[-1] != width and math.prod(x.shape[1:]) == width:
            x = x.flatten(1)  # images
    text = f"{total} samples of the data" if total == len(x) else f"{len(x)} of {total} samples, evenly over the data"
    return x.to("cpu", torch.float64), text


def evenly(total: int, count: int) -> Tensor:
    """Return the numbers of at most so many samples, evenly over all.

    >>> evenly(5, 3), evenly(2, 3)
    (tensor([0, 2, 4]), tensor([0, 1]))
    """
    return torch.linspace(0, total - 1, min(total, count)).round().long()


def _drawn(model: nn.Module) -> tuple[Tensor | None, str]:
    """Return inputs, the same every time, or None for those of `qkan.plot`, and what they are."""
    generator = torch.Generator()  # as torch creates it
    if isinstance(model, StudyNetwork):
        shape = _IMAGES, model.channels, _SIDE, _SIDE
        return 2 * torch.rand(shape, generator=generator).double() - 1, drawn_text(
            "uniform", _IMAGES, "images, [-1, 1]"
        )
    first = next(iter(edge_layers(model).values()))
    if isinstance(model, Stack | EdgeLayer):
        if isinstance(first, KANLinear):
            return None, drawn_text("uniform", _DRAWN, "the domain of the first basis (of splines: their grid)")
        if isinstance(first, QKANLinear) and first.options.circuit.arccos_map == "none":
            return inputs(first, _DRAWN, generator).double(), drawn_text("uniform", _DRAWN, "[-0.95, 0.95]")
        return None, drawn_text("uniform", _DRAWN, "one period, [-π, π]")
    start = model.encoder if isinstance(model, HQKAN) else next(iter(model.children()), None)
    if isinstance(start, nn.Linear):
        x = torch.randn(_DRAWN, start.in_features, generator=generator).double()
        return x, drawn_text("standard normal", _DRAWN, "every input of the model")
    raise ValueError(
        f"data must be given for a {type(model).__name__}: inputs are drawn only for a QKAN, a KAN, one edge layer, an "
        "HQKAN, a network of the study, or a model that starts with nn.Linear"
    )


def drawn_text(law: str, samples: int, over: str) -> str:
    """Return the sentence that says what was drawn."""
    return f"no data given: {samples} inputs drawn, {law} over {over}"
