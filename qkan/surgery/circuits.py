"""Circuits for the edges of a layer: by quantum signal processing where it is exact, otherwise the nearest ones."""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.layers.options import QKANOptions
from qkan.solvers.fourier import features
from qkan.surgery.factorisation import extremes, series
from qkan.surgery.fitting import difference, project
from qkan.surgery.nearest import Family, nearest
from qkan.surgery.reports import Error
from qkan.surgery.signal_processing import angles, realisable
from qkan.surgery.sources import Base, Source, fourier

__all__ = ["Circuits", "Search", "check_encoding", "circuits"]

# Part of a period that the interval of an input gets where the encoding can scale it: a Fourier series of a function
# that is known on half of a period can follow any smooth one.
_PART = 0.5
# How far rounding lifts an edge above 1.
_ROUNDING = 1e-12


class Search(NamedTuple):
    """How circuits are looked for: see `qkan.surgery.to_qkan`."""

    cutoff: float
    restarts: int
    generator: torch.Generator | None


class Circuits(NamedTuple):
    """Circuits of all edges of a layer; ``constant`` [out, in] is what they leave to its bias."""

    theta: Tensor
    encoding_weight: Tensor | None
    encoding_bias: Tensor | None
    scale: Tensor
    constant: Tensor
    projection: Error
    circuit: Error


class _Found(NamedTuple):
    """Parameters [out, in, parameters] of a family, scales and constants [out, in]."""

    p: Tensor
    scale: Tensor
    constant: Tensor


def check_encoding(options: QKANOptions) -> None:
    """Raise unless edges can be set one by one.

    Raises:
        ValueError: for an encoding whose biases all outputs share, with an ansatz that needs them for itself.
    """
    if options.encoding == "trainable-shared" and options.circuit.trainable_bias:
        raise ValueError(
            f"encoding='trainable-shared' shares the biases among all outputs, and ansatz {options.circuit.name!r} "
            "needs its own for every edge; use encoding='trainable' or 'unit'"
        )


def circuits(
    source: Source, options: QKANOptions, interval: Tensor, points: Tensor, base: Base | None, search: Search
) -> Circuits:
    """Return circuits that come close to the edges of a layer, without this base branch, on the interval [in, 2].

    Args:
        source: the layer.
        options: of the layer of circuits.
        interval: what the inputs cover, [in, 2].
        points: points of the fit, [points, in].
        base: what is not to be converted.
        search: how.
    """
    ansatz, trainable = options.circuit, options.trainable_encoding
    family = Family(ansatz, (1,) * ansatz.uploads(options.reps) if trainable else options.start_weights)
    factor = _factor(options, interval)
    columns = features(ansatz, factor * points, family.weights)
    design = torch.cat([torch.ones_like(columns[..., :1]), columns], -1)
    known = not trainable and base is source.base  # a base branch that is projected is no series
    table = _exact(source, family) if known else None
    if table is None:
        table, projection = project(source, points, design, base, search.cutoff)
        _warn_of_period(source, interval, factor, table, projection, options)
    else:
        projection = Error(torch.zeros_like(table[..., 0]), torch.zeros_like(table[..., 0]))
    exact = realisable(ansatz) and set(family.weights) == {1}
    found = _signal(family, table) if exact else _nearest(family, table, design, search)
    own = family.tables(found.p.flatten(0, 1)).view(table.shape) * found.scale.unsqueeze(-1)
    own[..., 0] += found.constant
    theta, bias = family.parts(found.p)
    weight, bias = _encoding(options, factor, bias, found.scale)
    return Circuits(theta, weight, bias, found.scale, found.constant, projection, difference(design, own - table))


def _factor(options: QKANOptions, interval: Tensor) -> Tensor:
    """Return what every input [in] is multiplied with before circuits see it; series need no shift."""
    length = interval[:, 1] - interval[:, 0]
    if not options.trainable_encoding or options.circuit.arccos_map is not None:
        return torch.ones_like(length)
    return 2 * math.pi * _PART / length


def _encoding(
    options: QKANOptions, factor: Tensor, bias: Tensor | None, like: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return the encoding weights and biases of a layer, from the factors of the inputs and the biases of its edges."""
    if not options.trainable_encoding:
        return None, bias
    uploads = options.circuit.uploads(options.reps)
    weight = factor.unsqueeze(-1).expand(-1, uploads)
    if options.encoding == "trainable":
        weight = weight.expand(len(like), -1, -1)
    return weight, torch.zeros_like(weight) if bias is None else bias


def _exact(source: Source, family: Family) -> Tensor | None:
    """Return the coefficients of edges that are series of harmonics that the circuits have too; None for others."""
    known, harmonics = fourier(source), family.ansatz.harmonics(family.weights)
    if known is None or known.arccos_map != family.ansatz.arccos_map or not set(known.harmonics) <= set(harmonics):
        return None
    places = torch.tensor([harmonics.index(k) for k in known.harmonics], dtype=torch.long, device=known.table.device)
    table = known.table.new_zeros(*known.table.shape[:2], 1 + 2 * len(harmonics))
    cos, sin = known.table[..., 1:].chunk(2, -1)
    table[..., 0] = known.table[..., 0]
    table[..., 1 + places], table[..., 1 + len(harmonics) + places] = cos, sin
    return table


def _signal(family: Family, table: Tensor) -> _Found:
    """Return exact circuits. An edge above 1 loses the middle of its range to the bias, and gets a scale if need be."""
    cos, sin = table[..., 1:].chunk(2, -1)
    low, high = extremes(series(table[..., 0], cos, sin).flatten(0, 1))
    above = torch.maximum(high, -low) > 1 + _ROUNDING
    constant = torch.where(above, (low + high) / 2, 0).view(table.shape[:2])
    found = angles(table[..., 0] - constant, cos, sin, ansatz=family.ansatz)
    p = found.theta if found.bias is None else torch.cat([found.theta, found.bias], -1)
    return _Found(p, found.scale, constant)


def _nearest(family: Family, table: Tensor, design: Tensor, search: Search) -> _Found:
    """Return the circuits that are nearest at the points, up to constants, which the bias can hold."""
    mean = design.mean(0)  # [in, functions]
    centred = (design - mean).transpose(0, 1) / len(design) ** 0.5
    metric = torch.linalg.qr(centred, mode="r").R
    found = nearest(
        family, table, metric, largest=1 / search.cutoff, restarts=search.restarts, generator=search.generator
    )
    constant = ((table - found.table) * mean).sum(-1)
    p = found.theta if found.bias is None else torch.cat([found.theta, found.bias], -1)
    return _Found(p, found.scale, constant)


def _warn_of_period(
    source: Source, interval: Tensor, factor: Tensor, table: Tensor, projection: Error, options: QKANOptions
) -> None:
    """Warn if an input covers more than a period, and its edges are not periodic."""
    if options.circuit.arccos_map is not None:
        return
    length = (interval[:, 1] - interval[:, 0]) * factor
    off = projection.max.amax(0)
    wrong = (length > 2 * math.pi * (1 + 1e-6)) & (off > 1e-2 * table.abs().amax((0, 2)))
    if wrong.any():
        worst = int((off * wrong).argmax())
        warnings.warn(
            f"{int(wrong.sum())} of {len(wrong)} inputs of layer {source.name} cover more than the period 2π of the "
            f"circuits, and their edges are not periodic: input {worst} covers {float(length[worst]):.3g}, and edges "
            f"are off by up to {float(off[worst]):.2g}; rescale the data, or use encoding='trainable-shared' or "
            "'trainable', which scale the inputs",
            UserWarning,
            stacklevel=6,
        )
