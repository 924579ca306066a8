"""Projection of the edges of a layer onto other functions, at points of the interval that its inputs cover."""

import torch
from torch import Tensor

from qkan.bases.projection import least_squares
from qkan.surgery.reports import Error
from qkan.surgery.sources import Base, Source, curves

__all__ = ["covered", "difference", "project", "spread"]


def covered(source: Source, margin: float = 0.0) -> Tensor:
    """Return the interval of what enters a layer, [in, 2], widened on both sides by this part of its length.

    An input that is always the same gets an interval of length 1 around its value.
    """
    low, high = source.inputs.amin(0), source.inputs.amax(0)
    more = torch.where(high > low, margin * (high - low), 0.5)
    return torch.stack([low - more, high + more], -1)


def spread(interval: Tensor, count: int) -> Tensor:
    """Return equidistant points of the intervals [in, 2], ends included, [count, in]."""
    steps = torch.linspace(0, 1, count, device=interval.device, dtype=interval.dtype).unsqueeze(-1)
    return torch.lerp(interval[:, 0], interval[:, 1], steps)


def project(source: Source, points: Tensor, design: Tensor, base: Base | None, cutoff: float) -> tuple[Tensor, Error]:
    """Return the coefficients [out, in, functions] of all edges without this base branch, and the errors there.

    Args:
        source: the layer.
        points: [points, in].
        design: the new functions at the points, [points, in, functions].
        base: what is not to be projected.
        cutoff: see `qkan.bases.projection.least_squares`.

    Raises:
        ValueError: if an edge is not finite at a point.
    """
    tables, errors = [], []
    for i, values in enumerate(curves(source.layer, points, base)):
        if not values.isfinite().all():
            raise ValueError(
                f"edges of layer {source.name} must be finite on the interval of input {i}; got NaN or infinity"
            )
        table = least_squares(design[:, i], values, cutoff)
        tables.append(table.mT)
        errors.append(_error(design[:, i] @ table - values))
    return torch.stack(tables, 1), Error(*(torch.stack(part, -1) for part in zip(*errors, strict=True)))


def difference(design: Tensor, table: Tensor) -> Error:
    """Return the errors of functions with these coefficients [out, in, functions] at the points of the design."""
    errors = [_error(design[:, i] @ table[:, i].mT) for i in range(table.shape[1])]
    return Error(*(torch.stack(part, -1) for part in zip(*errors, strict=True)))


def _error(apart: Tensor) -> tuple[Tensor, Tensor]:
    return apart.square().mean(0).sqrt(), apart.abs().amax(0)
