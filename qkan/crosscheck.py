"""Cross-checks: every edge through PennyLane and through every solver that applies, or one model against another."""

import copy
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from qkan.layers.linear import QKANLinear
from qkan.lowering import LoweredLinear
from qkan.solvers import PennyLane, choose, names
from qkan.solvers.auto import evaluations
from qkan.solvers.base import Solver

__all__ = ["TOLERANCES", "Deviation", "Row", "compare", "cross_check", "exact", "inputs", "worst_edge"]

Layer = TypeVar("Layer", QKANLinear, LoweredLinear, QKANLinear | LoweredLinear)

TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-5}
"""Largest deviation from PennyLane in <Z>, and in gradients relative to the largest one of their tensor, at least 1."""

# Edgewise solvers keep their whole history for the backward pass: so many edges and samples at a time.
_PIECE = 2**17

# Circuit evaluations per edge above which the transform of the lowering would fill the memory.
_MOST_NODES = 1000


class Deviation(NamedTuple):
    """How far two sides are apart, and where most: a layer, an edge (out, in), or another tensor of the model."""

    layer: str
    edge: tuple[int, int] | None
    size: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether it is within the tolerance; NaN is not."""
        return self.size <= self.tolerance

    def __str__(self) -> str:
        place = f"layer {self.layer}" + (f", edge (out {self.edge[0]}, in {self.edge[1]})" if self.edge else "")
        return f"{place}: deviation {self.size:.2e}, tolerance {self.tolerance:.2g}"


@dataclass(frozen=True)
class Row:
    """One solver on one layer, against PennyLane.

    Attributes:
        value: the largest deviation of <Z>, and the edge that has it.
        gradient: name of the tensor with the largest deviation of gradients, relative to its largest one (at least 1).
        seconds: forward and backward of the solver, and of PennyLane on the same inputs.
    """

    layer: str
    ansatz: str
    dtype: str
    solver: str
    value: Deviation
    gradient: Deviation
    seconds: float
    pennylane_seconds: float

    @property
    def passed(self) -> bool:
        """Whether both deviations are within the tolerance."""
        return self.value.passed and self.gradient.passed

    def deviations(self) -> tuple[Deviation, Deviation]:
        """Return both deviations, told as of this layer and solver."""
        side = f"{self.layer} ({self.solver}, {self.dtype})"
        return self.value._replace(layer=side), self.gradient._replace(
            layer=f"{side}, gradient of {self.gradient.layer}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {
            "value": self.value.size,
            "edge": list(self.value.edge or ()),
            "gradient": self.gradient.size,
            "tolerance": self.value.tolerance,
            "passed": self.passed,
        }


class _Result(NamedTuple):
    z: Tensor  # [batch, out, in]
    gradients: dict[str, Tensor]
    seconds: float


def inputs(layer: QKANLinear | LoweredLinear, samples: int, generator: torch.Generator | None = None) -> Tensor:
    """Return inputs [samples, in] for a layer, uniform over a full turn, or inside the domain of arccos."""
    ansatz = layer.options.circuit if isinstance(layer, QKANLinear) else layer.ansatz
    width = 0.95 if ansatz.arccos_map == "none" else torch.pi
    uniform = torch.rand(samples, layer.in_features, generator=generator, dtype=torch.float32)
    return width * (2 * uniform - 1)


def cross_check(
    model: nn.Module,
    *,
    samples: int = 100,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
    reference: PennyLane | None = None,
) -> Iterator[Row]:
    """Yield a row for every layer, dtype and solver: values and gradients against PennyLane in double precision.

    Every layer gets random inputs of its own, in float64 and in its own dtype; <Z> is compared, whatever the readout.
    Solvers that refuse a layer (see `qkan.solvers.base.Solver.refusal`) are left out, and so is Fourier where it takes
    more than 1000 circuit evaluations per edge.

    Args:
        model: any module that holds `QKANLinear` layers.
        samples: inputs per layer.
        generator: draws them; the global one when None.
        tolerance: see `TOLERANCES`, its default.
        reference: another device than the exact simulator.

    Raises:
        ValueError: if there is no such layer.
        ImportError: without PennyLane.
    """
    reference = reference or PennyLane()
    for number, (name, layer) in enumerate(_layers(model)):
        layer = copy.deepcopy(layer).to("cpu").requires_grad_()
        x = inputs(layer, samples, generator).double()
        cotangent = 2 * torch.rand(samples, layer.out_features, layer.in_features, generator=generator).double() - 1
        own = torch.promote_types(layer.theta.dtype, torch.float32)
        choose(reference, layer.options.circuit, layer.options.reps, layer.options.weights)  # or it refuses
        if not number:  # what PennyLane imports at its first run is not part of its time
            _run(layer.double(), reference, x[:1], cotangent[:1])
        truth = _run(layer.double(), reference, x, cotangent)
        for dtype in dict.fromkeys((torch.float64, own)):
            for solver in _solvers(layer):
                found = _run(layer.to(dtype), solver, x.to(dtype), cotangent.to(dtype))
                yield _row(name, layer, solver, found, truth, TOLERANCES[dtype] if tolerance is None else tolerance)


def compare(
    model: nn.Module,
    other: nn.Module,
    *,
    samples: int = 100,
    generator: torch.Generator | None = None,
    tolerance: float | None = None,
) -> list[Deviation]:
    """Return how far two models of one structure are apart: for every layer of edges the worst edge, then the rest.

    Quantum layers and lowered (or measured) ones are compared edge by edge, by what an edge adds to its output, in
    double precision; all other tensors element by element.

    Args:
        model: one side.
        other: the other, with layers of the same names and widths.
        samples: random inputs per layer.
        generator: draws them; the global one when None.
        tolerance: relative to the largest contribution of a layer, at least 1; by default 1e-12, or 5e-6 if a side is
            in single precision.

    Raises:
        ValueError: if the structures differ.
    """
    sides = [copy.deepcopy(side).to("cpu").eval() for side in (model, other)]
    dtype = min((t.dtype for s in sides for t in s.parameters()), key=lambda t: t.itemsize, default=torch.float64)
    if tolerance is None:
        tolerance = 1e-12 if dtype == torch.float64 else 5e-6
    first, second = ({name: exact(layer) for name, layer in _edge_layers(side.double())} for side in sides)
    if not first or first.keys() != second.keys():
        raise ValueError(f"the models must have the same layers of edges; got {sorted(first)} and {sorted(second)}")
    found = []
    for name, layer in first.items():
        if (layer.in_features, layer.out_features) != (second[name].in_features, second[name].out_features):
            raise ValueError(f"layer {name} must have the same widths on both sides; got {layer} and {second[name]}")
        x = inputs(layer, samples, generator).double()
        found.append(_compared(name, layer, second[name], x, tolerance))
    return found + _other_tensors(sides[0], sides[1], tolerance)


@torch.no_grad()
def _compared(
    name: str, one: QKANLinear | LoweredLinear, two: QKANLinear | LoweredLinear, x: Tensor, tolerance: float
) -> Deviation:
    want = one.contributions(x)
    scale = want.abs().max().clamp(min=1)
    return worst_edge(name, (two.contributions(x) - want) / scale, tolerance)


def _other_tensors(model: nn.Module, other: nn.Module, tolerance: float) -> list[Deviation]:
    """Compare what belongs to no layer of edges, and the biases of those layers."""
    first, second = _rest(model), _rest(other)
    if first.keys() != second.keys():
        raise ValueError(f"the models must have the same tensors; these differ: {sorted(first.keys() ^ second.keys())}")
    for name, tensor in first.items():
        if tensor.shape != second[name].shape:
            shapes = f"{tuple(tensor.shape)} and {tuple(second[name].shape)}"
            raise ValueError(f"{name} must have the same shape on both sides; got {shapes}")
    sizes = {name: (first[name] - second[name]).abs().nan_to_num(nan=torch.inf) for name in first}
    return [Deviation(name, None, float(s.max()) if s.numel() else 0.0, tolerance) for name, s in sizes.items()]


def _rest(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors outside of the layers of edges, and the bias of those layers, 0 where there is none."""
    layers = {f"{name}." if name else "": layer for name, layer in _edge_layers(model)}
    rest = {k: t.double() for k, t in model.state_dict().items() if not k.startswith(tuple(layers))}
    for name, layer in layers.items():
        bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
        rest[f"{name}bias"] = bias.double()
    return rest


def exact(layer: Layer) -> Layer:
    """Return a view of a layer that measures nothing: the exact expectations where it has shots."""
    if isinstance(layer, LoweredLinear):
        return layer
    solver = layer.solver
    if layer.options.shots is None and not (isinstance(solver, PennyLane) and solver.shots is not None):
        return layer
    return layer.with_options(solver="auto", shots=None)


def _layers(model: nn.Module) -> Iterator[tuple[str, QKANLinear]]:
    found = {name: module for name, module in model.named_modules() if isinstance(module, QKANLinear)}
    if not found:
        raise ValueError(f"model must hold at least one QKANLinear to be checked; got {type(model).__name__}")
    yield from found.items()


def _edge_layers(model: nn.Module) -> Iterator[tuple[str, QKANLinear | LoweredLinear]]:
    for name, module in model.named_modules():
        if isinstance(module, QKANLinear | LoweredLinear):
            yield name, module


def _solvers(layer: QKANLinear) -> Iterator[Solver]:
    options = layer.options
    for name in names():
        if name in ("auto", PennyLane.name):
            continue
        if name == "fourier" and evaluations(options.circuit, options.reps, options.weights) > _MOST_NODES:
            continue
        try:
            yield choose(name, options.circuit, options.reps, options.weights)
        except ValueError:  # refused, as its message would say
            continue


def _run(layer: QKANLinear, solver: Solver, x: Tensor, cotangent: Tensor) -> _Result:
    """Return <Z> of every edge and the gradients of Σ cotangent <Z>, timed."""
    options, n_edges = layer.options, layer.out_features * layer.in_features
    rows = len(x) if solver.name in ("fourier", PennyLane.name) else max(1, _PIECE // n_edges)
    start = time.perf_counter()
    tensors = {"theta": layer.theta, "encoding_weight": layer.encoding_weight, "encoding_bias": layer.encoding_bias}
    wanted = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    total = {name: torch.zeros_like(tensor) for name, tensor in wanted.items()}
    values, slopes = [], []
    for first in range(0, len(x), rows):
        at = x[first : first + rows].clone().requires_grad_()
        z = solver.edges(options.circuit, at, layer.theta, *layer.encoding(x.dtype))
        # Not all of them need to be visible: of a circuit without angles, or one whose last upload <Z> does not see.
        value = (z * cotangent[first : first + rows]).sum() + 0 * at.sum()
        slope, *gradients = torch.autograd.grad(value, [at, *wanted.values()], allow_unused=True)
        values.append(z.detach())
        slopes.append(slope)
        for name, gradient in zip(wanted, gradients, strict=True):
            total[name] += 0 if gradient is None else gradient
    seconds = time.perf_counter() - start
    return _Result(torch.cat(values), {"x": torch.cat(slopes), **total}, seconds)


def _row(name: str, layer: QKANLinear, solver: Solver, found: _Result, truth: _Result, tolerance: float) -> Row:
    errors = {key: _relative(gradient, truth.gradients[key]) for key, gradient in found.gradients.items()}
    key = max(errors, key=lambda key: errors[key])
    return Row(
        layer=name or type(layer).__name__,
        ansatz=layer.options.circuit.name,
        dtype=str(found.z.dtype).removeprefix("torch."),
        solver=solver.name,
        value=worst_edge(name or type(layer).__name__, found.z.double() - truth.z, tolerance),
        gradient=Deviation(key, None, errors[key], tolerance),
        seconds=found.seconds,
        pennylane_seconds=truth.seconds,
    )


def _relative(got: Tensor, want: Tensor) -> float:
    if not want.numel():
        return 0.0
    deviation = (got.double() - want).abs() / want.abs().max().clamp(min=1)
    return float(deviation.nan_to_num(nan=torch.inf).max())


def worst_edge(name: str, deviation: Tensor, tolerance: float) -> Deviation:
    """Return the largest of deviations [batch, out, in] or [batch, out, in, ...]; a NaN is larger than all."""
    if not deviation.numel():
        return Deviation(name, None, 0.0, tolerance)
    sizes = deviation.abs().nan_to_num(nan=torch.inf)
    per_edge = sizes.reshape(*sizes.shape[:3], -1).amax((0, 3))  # [out, in]
    out, edge_in = divmod(int(per_edge.argmax()), per_edge.shape[-1])
    return Deviation(name, (out, edge_in), float(per_edge[out, edge_in]), tolerance)
