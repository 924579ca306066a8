"""Conversion between KANs of splines and of circuits: every edge is projected by itself; nothing is trained."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.ansatz import Ansatz
from qkan.attribution import inputs_of
from qkan.bases import bspline
from qkan.layers.edges import EditableLayer
from qkan.layers.kan import KANLinear
from qkan.layers.kan_options import KANOptions
from qkan.layers.linear import QKANLinear
from qkan.layers.options import QKANOptions
from qkan.models.kan import KAN
from qkan.models.stack import QKAN, Stack
from qkan.precision import full_precision
from qkan.solvers.base import Solver
from qkan.surgery.circuits import Search, check_encoding, circuits
from qkan.surgery.fitting import covered, project, spread
from qkan.surgery.reports import Conversion, EdgeReport, compare, measure
from qkan.surgery.sources import Base, Source, common_activation, sources

__all__ = ["to_kan", "to_qkan"]

S = TypeVar("S", bound=Stack)

# Splines are well conditioned: left out are only directions that the points do not see at all.
_SPLINE_CUTOFF = 1e-12
# Beyond what the data cover, for the inputs of later layers, which move by the errors of earlier ones.
_MARGIN = 0.05


@torch.no_grad()
def to_kan(
    model: Stack,
    data: Tensor | tuple[Tensor, Tensor],
    *,
    grid_size: int = 5,
    spline_order: int = 3,
    grid_range: tuple[float, float] | None = None,
    points: int | None = 512,
) -> Conversion[KAN]:
    """Return a `KAN` of splines whose edges are those of the model, projected by least squares, with all errors.

    Base branch, bias and removed edges stay; scales and partial masks are folded into the splines. Base branches whose
    activations differ from layer to layer are projected with the edges.

    Args:
        model: a `QKAN`, or a `KAN` for other grids; layers that were lowered or snapped are taken too.
        data: inputs [samples, in], or a pair of inputs and targets, which are not read. They say which interval every
            input covers, and errors are measured on them.
        grid_size: number of intervals G of the new grids.
        spline_order: their degree k.
        grid_range: of all grids; None for a grid of its own for every input: what the data cover there, and 5 % on
            both sides.
        points: how many points an edge is fitted at, spread evenly over its grid, so that the density of the data does
            not matter. None fits at the data themselves, whose features must then fit into memory.

    Raises:
        TypeError: if the model is no `QKAN` or `KAN`.
        ValueError: for an option out of range, no data, or data or edges that are not finite.

    Example:
        >>> from qkan import QKAN
        >>> found = to_kan(QKAN([3, 4, 1]), torch.rand(200, 3), grid_size=8)
        >>> found.max < 1e-3, found.model.layers[0].grid.shape
        (True, torch.Size([3, 15]))
    """
    x = inputs_of(data)
    size, order = positive_integer("grid_size", grid_size), positive_integer("spline_order", spline_order)
    points = None if points is None else positive_integer("points", points)
    with full_precision(x):
        found = sources(model, x)
        intervals = [_interval(source, "grid_range", grid_range, _MARGIN) for source in found]
        every = torch.cat(intervals)
        options = KANOptions(
            grid_size=size,
            spline_order=order,
            grid_range=(float(every[:, 0].min()), float(every[:, 1].max())),
            base_activation=common_activation(found),
            bias=any(source.bias is not None for source in found),
        )
        pairs = [_splines(source, options, own, points) for source, own in zip(found, intervals, strict=True)]
        shell = KAN(model.width, device="meta", **options.arguments())
        return _converted(model, shell, found, pairs, x)


def _splines(source: Source, options: KANOptions, interval: Tensor, points: int | None) -> tuple[KANLinear, EdgeReport]:
    size, order = options.basis_options["grid_size"], options.basis_options["spline_order"]
    grid = bspline.knots(size, order, interval[:, 0], interval[:, 1])
    at = source.inputs if points is None else spread(interval, points)
    base = None if options.base_activation is None else source.base
    weights, error = project(source, at, bspline.features(at, grid, order), base, _SPLINE_CUTOFF)
    constant = torch.zeros_like(weights[..., 0])
    tensors = {
        "spline_weight": weights,
        "spline_scaler": torch.ones_like(constant),
        **_common(source, base, constant),
    }
    n_out, n_in = constant.shape
    layer = KANLinear(n_in, n_out, device="meta", **options.arguments())
    _fill(layer, tensors, source, base)
    layer.grid = grid.to(source.like.device, source.like.dtype, copy=True).contiguous()
    return layer, EdgeReport(interval, error, None, compare(source, layer, constant), constant)


@torch.no_grad()
def to_qkan(
    model: Stack,
    data: Tensor | tuple[Tensor, Tensor],
    *,
    reps: int,
    ansatz: str | Ansatz = "pz",
    encoding: str | tuple[int, ...] = "unit",
    solver: str | Solver = "auto",
    interval: tuple[float, float] | None = None,
    points: int | None = 512,
    cutoff: float | None = None,
    restarts: int = 8,
    generator: torch.Generator | None = None,
) -> Conversion[QKAN]:
    """Return a `QKAN` whose edges are those of the model, projected on what its circuits can be, with all errors.

    Every edge is projected onto the Fourier series of the circuits, on the interval that its input covers. That is a
    Fourier extension, which is ill-conditioned: singular values below the cut-off are left out. Edges that are such
    series already (other circuits, lowered ones) are taken as they are. Then come the angles: with pz or rpz and unit
    or trainable encoding exact ones (see `qkan.surgery.signal_processing`), otherwise the nearest at the points of the
    fit (see `qkan.surgery.nearest`). Where an edge is above 1, the middle of its range goes into the bias of its
    output, and what is still above 1 gets a scale. The base branch stays, and removed edges stay removed.

    Circuits with integer encoding have the period 2π (one of u = arccos m(x) for px): data that cover more are warned
    of. With ``"trainable"`` or ``"trainable-shared"`` the interval of every input is scaled to half of a period.

    Args:
        model: a `KAN`, or a `QKAN` for other circuits; layers that were lowered or snapped are taken too.
        data: inputs [samples, in], or a pair of inputs and targets, which are not read. They say which interval every
            input covers, and errors are measured on them.
        reps: repetitions of the new circuits.
        ansatz: of the new circuits.
        encoding: of the new circuits, as in `QKANOptions`.
        solver: of the new layers.
        interval: on which all edges are projected; None for what the data cover, input by input.
        points: how many points an edge is fitted at, spread evenly over its interval. None fits at the data themselves,
            whose features must then fit into memory.
        cutoff: of singular values, relative to the largest one; None for sqrt(eps) of the dtype of the model. A larger
            one gives larger errors, but smaller coefficients outside of the interval, and with them smaller scales.
        restarts: descents per edge where the nearest circuit is looked for.
        generator: source of the first angles of these; the global one when None.

    Returns:
        The model, with the options scale=True and bias=True, and the errors.

    Raises:
        TypeError: if the model is no `QKAN` or `KAN`.
        ValueError: for an option out of range, no data, or data or edges that are not finite.

    Example:
        >>> from qkan import KAN
        >>> source, x = KAN([3, 2, 1]), 2 * torch.rand(200, 3) - 1
        >>> found = to_qkan(source, x, reps=6)
        >>> found.max < 1e-2, found.model.layers[0].theta.shape
        (True, torch.Size([2, 3, 14]))
    """
    x = inputs_of(data)
    points = None if points is None else positive_integer("points", points)
    positive_integer("restarts", restarts)
    if cutoff is not None and not 0 < cutoff < 1:
        raise ValueError(f"cutoff must be above 0 and below 1; got {cutoff!r}")
    with full_precision(x):
        found = sources(model, x)
        options = QKANOptions(
            reps=reps,
            ansatz=ansatz,
            encoding=encoding,
            solver=solver,
            base_activation=common_activation(found),
            scale=True,
            bias=True,
        )
        check_encoding(options)
        pairs = []
        for source in found:
            search = Search(cutoff or torch.finfo(source.like.dtype).eps ** 0.5, restarts, generator)
            pairs.append(_circuits(source, options, _interval(source, "interval", interval), points, search))
        shell = QKAN(model.width, device="meta", **options.arguments())
        return _converted(model, shell, found, pairs, x)


def _interval(source: Source, name: str, given: tuple[float, float] | None, margin: float = 0.0) -> Tensor:
    """Return the intervals [in, 2] given for all inputs, or those that the data cover."""
    if given is None:
        return covered(source, margin)
    low, high = given
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{name} must be two finite numbers, the first below the second; got {given!r}")
    return source.inputs.new_tensor([low, high]).expand(source.layer.in_features, 2)


def _converted(
    model: Stack, shell: S, found: Sequence[Source], pairs: Sequence[tuple[EditableLayer, EdgeReport]], x: Tensor
) -> Conversion[S]:
    new = shell.with_layers(layer for layer, _ in pairs).train(model.training)
    return measure(model, new, x, {source.name: report for source, (_, report) in zip(found, pairs, strict=True)})


def _circuits(
    source: Source, options: QKANOptions, interval: Tensor, points: int | None, search: Search
) -> tuple[QKANLinear, EdgeReport]:
    at = source.inputs if points is None else spread(interval, points)
    base = None if options.base_activation is None else source.base
    found = circuits(source, options, interval, at, base, search)
    tensors = {name: getattr(found, name) for name in ("theta", "encoding_weight", "encoding_bias", "scale")}
    n_out, n_in = found.scale.shape
    layer = QKANLinear(n_in, n_out, device="meta", **options.arguments())
    _fill(layer, tensors | _common(source, base, found.constant), source, base)
    data = compare(source, layer, found.constant)
    return layer, EdgeReport(interval, found.projection, found.circuit, data, found.constant)


def _common(source: Source, base: Base | None, constant: Tensor) -> dict[str, Tensor]:
    """Return what both kinds of layers have: base weights, mask, and the bias with the constants of the edges."""
    bias = constant.sum(-1)
    return {
        "base_weight": torch.zeros_like(constant) if base is None else base.weight,
        "bias": bias if source.bias is None else source.bias + bias,
        "mask": source.kept,
    }


def _fill(layer: nn.Module, tensors: Mapping[str, Tensor | None], source: Source, base: Base | None) -> None:
    """Give a layer, built without memory, its tensors and the activation of its source."""
    like = source.like
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        given = tensors[name]
        if given is None:
            raise ValueError(f"{name} of layer {source.name} is not known")
        value = given.detach().to(like.device, like.dtype, copy=True).contiguous()
        setattr(layer, name, nn.Parameter(value) if isinstance(tensor, nn.Parameter) else value)
    if base is not None:
        layer.base_activation = copy.deepcopy(base.activation)
