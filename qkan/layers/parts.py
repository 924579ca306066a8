"""Parts of a `QKANLinear`: one edge as a function, all of them as linear functions of features, some of them anew."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from qkan import bases
from qkan import readout as readouts
from qkan._checks import check_floating, check_input
from qkan.bases.arguments import argument
from qkan.layers.edges import Expansion
from qkan.layers.options import QKANOptions
from qkan.precision import compute_dtype, full_precision
from qkan.solvers.bloch import Bloch
from qkan.solvers.edgewise.layer import edgewise_moments
from qkan.solvers.fourier import Fourier, coefficients, features
from qkan.solvers.pointwise import amplitude_moments

if TYPE_CHECKING:
    from qkan.layers.linear import QKANLinear

__all__ = ["edge_function", "expansion", "output_and_variance", "rebuild", "tensors"]


def edge_function(layer: "QKANLinear", output: int, input: int) -> Callable[[Tensor], Tensor]:
    """Return what `QKANLinear.edge_function` promises; the two numbers are in range."""
    options: dict[str, Any] = {**layer.options.arguments(), "bias": False, "shots": None}
    shell = type(layer)(1, 1, device="meta", **options)
    shell.base_activation = layer.base_activation

    def edge(x: Tensor) -> Tensor:
        check_floating(x)
        part = {name: at for name, at in tensors(layer, [output], [input]).items() if name != "bias"}
        y: Tensor = functional_call(shell, part, (x.unsqueeze(-1),))
        return y.squeeze(-1)

    return edge


def expansion(layer: "QKANLinear", x: Tensor) -> Expansion | None:
    """Return what `QKANLinear.expansion` promises."""
    options = layer.options
    if options.readout != "expectation" or Fourier().refusal(options.circuit, options.reps, options.weights):
        return None
    check_input(x, layer.in_features)
    exact = compute_dtype(torch.promote_types(x.dtype, layer.theta.dtype))
    x, (weight, bias), gain = x.to(exact), layer.encoding(exact), layer.gain(exact)
    with full_precision(x):
        series = coefficients(options.circuit, layer.theta.to(exact), weight, bias)
        columns = features(options.circuit, x, weight, bias)
        table = series.coefficients * gain.unsqueeze(-1)
        if layer.base_activation is not None and layer.base_weight is not None:
            columns = bases.append(columns, layer.base_activation(x))
            table = torch.cat([table, (layer.mask * layer.base_weight).to(exact).unsqueeze(-1)], -1)
        return Expansion(columns, table, series.constant * gain)


def tensors(layer: "QKANLinear", outputs: Sequence[int], inputs: Sequence[int]) -> dict[str, Tensor]:
    """Return the parameters and the mask of a layer for these outputs and inputs alone, by name, with gradients."""
    return {name: _part(name, tensor, list(outputs), list(inputs)) for name, tensor in _own(layer)}


def output_and_variance(layer: "QKANLinear", x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the output without bias [*batch, out] and the variance of what every edge adds [out, in], in one pass.

    None for layers that have no such pass: this is for amplitudes of expanded circuits, and for circuits that are
    computed edge by edge, without a base branch and without noise.
    """
    if layer.base_weight is not None:
        return None
    check_input(x, layer.in_features)
    exact = compute_dtype(torch.promote_types(x.dtype, layer.theta.dtype))
    with full_precision(x):
        found = _moments(layer, x.to(exact), layer.theta.to(exact), layer.gain(exact))
    return None if found is None else (found[0], found[1] * layer.gain(exact).square())


def _moments(layer: "QKANLinear", x: Tensor, theta: Tensor, gain: Tensor) -> tuple[Tensor, Tensor] | None:
    circuit, readout = layer.options.circuit, layer.options.readout
    weight, bias = layer.encoding(x.dtype)
    if isinstance(layer.solver, Fourier) and readout == "amplitude":
        series = coefficients(circuit, theta, weight, bias)
        columns = features(circuit, x, weight, bias)
        return amplitude_moments(columns, series.coefficients, series.constant, gain)
    if not isinstance(layer.solver, Bloch):
        return None
    with torch.no_grad():
        start = layer.edges(x.reshape(-1, x.shape[-1])[:1])[0].to(x.dtype)
    u = argument(x, circuit.arccos_map)
    return edgewise_moments(circuit, u, theta, weight, bias, gain, start, readouts.named(readout))


def rebuild(layer: "QKANLinear", parts: Mapping[str, Tensor], options: QKANOptions | None = None) -> "QKANLinear":
    """Return a new layer with these tensors, which takes all else from an old one.

    Args:
        layer: gives options, base activation, training mode, and which parameters are trained.
        parts: by name, as `tensors` returns; their shapes give the widths. They are copied.
        options: those of the new layer; None for those of the old one.
    """
    n_out, n_in = parts["mask"].shape
    new = type(layer)(n_in, n_out, device="meta", **(options or layer.options).arguments())
    new.base_activation = copy.deepcopy(layer.base_activation)
    trained = {name: tensor.requires_grad for name, tensor in _own(layer)}
    for name, _ in _own(new):
        value = parts[name].detach().clone()
        setattr(new, name, value if name == "mask" else nn.Parameter(value, trained[name]))
    return new.train(layer.training)


def _own(layer: "QKANLinear") -> list[tuple[str, Tensor]]:
    return [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]


def _part(name: str, tensor: Tensor, outputs: list[int], inputs: list[int]) -> Tensor:
    if name == "bias":
        return tensor[outputs]
    if name.startswith("encoding") and tensor.dim() == 2:  # shared by the outputs
        return tensor[inputs]
    return tensor[outputs][:, inputs]
