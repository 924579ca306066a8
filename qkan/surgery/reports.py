"""What a conversion returns: the new model, and the errors it has, edge by edge and as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from qkan.models.stack import Stack
from qkan.surgery.sources import Source, curves

__all__ = ["Conversion", "EdgeReport", "Error", "compare", "measure"]

M = TypeVar("M", bound=Stack)

# Elements of [samples, in, functions] at once.
_BLOCK = 2**23
_FUNCTIONS = 32


class Error(NamedTuple):
    """Root of the mean square and largest absolute difference, [out, in] each."""

    rms: Tensor
    max: Tensor


@dataclass(frozen=True)
class EdgeReport:
    """Errors of the edges of one layer, [out, in] each.

    Args:
        interval: where the curves were fitted, [in, 2].
        projection: of the projection onto the basis, at the points of the fit.
        circuit: of the circuits against the projection, there as well: what is lost where angles are but the nearest.
            None where there are no circuits.
        data: of the new edges against the old ones, at what enters the layer for the data: all errors together, those
            of the dtype of the new model included.
        constant: what the edges lost, [out, in], and the bias of the layer got: not among the errors.
    """

    interval: Tensor
    projection: Error
    circuit: Error | None
    data: Error
    constant: Tensor


@dataclass(frozen=True)
class Conversion(Generic[M]):
    """A converted model with its errors; `print` shows them.

    Args:
        model: the new model.
        reports: errors of the edges of every layer, by the name of the layer.
        rms: root of the mean square difference of the outputs of both models, over the data.
        max: largest absolute difference of the outputs.
    """

    model: M
    reports: Mapping[str, EdgeReport]
    rms: float
    max: float

    def __str__(self) -> str:
        lines = [f"{type(self.model).__name__} {list(self.model.width)}: largest error of every part"]
        for name, report in self.reports.items():
            parts = {"projection": report.projection, "circuits": report.circuit, "on the data": report.data}
            shown = [f"{part} {float(found.max.max()):.2g}" for part, found in parts.items() if found is not None]
            lines.append(f"  {name}: {', '.join(shown)}")
        return "\n".join([*lines, f"  outputs on the data: {self.max:.2g}, root mean square {self.rms:.2g}"])


def compare(source: Source, layer: torch.nn.Module, constant: Tensor) -> Error:
    """Return how far the edges of a new layer, with their constants [out, in], are off at the inputs of the old one."""
    rows = max(1, _BLOCK // (_FUNCTIONS * source.layer.in_features))
    squares, largest = torch.zeros_like(constant), torch.zeros_like(constant)
    for x in torch.split(source.inputs, rows):
        both = zip(curves(source.layer, x), curves(layer, x), strict=True)  # type: ignore[arg-type]
        apart = [new + constant[:, i] - old for i, (old, new) in enumerate(both)]
        squares += torch.stack([part.square().sum(0) for part in apart], -1)
        largest = torch.maximum(largest, torch.stack([part.abs().amax(0) for part in apart], -1))
    return Error((squares / len(source.inputs)).sqrt(), largest)


def measure(model: Stack, new: M, x: Tensor, reports: Mapping[str, EdgeReport]) -> Conversion[M]:
    """Return the conversion, with the errors of the outputs over x."""
    apart = (new(x) - model(x)).to(torch.float64 if x.device.type != "mps" else torch.float32)
    return Conversion(new, reports, float(apart.square().mean().sqrt()), float(apart.abs().max()))
