"""`lower`: from quantum layers to a plain classical network that computes the same function."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qkan import ansatz as ansatze
from qkan import bases
from qkan._checks import check_floating, check_input
from qkan.ansatz import Ansatz
from qkan.contraction import contract_linear
from qkan.layers import activations
from qkan.layers.conv import QKANConv1d, QKANConv2d, QKANConv3d
from qkan.layers.edges import Expansion, check_edge
from qkan.layers.linear import QKANLinear
from qkan.precision import compute_dtype, in_autocast, widest_dtype
from qkan.solvers.base import Encoding
from qkan.solvers.fourier import Fourier, coefficients, features
from qkan.solvers.lowering.nodes import Series

__all__ = ["LoweredLinear", "lower", "lowered_layer", "replace_layers"]


def lower(model: nn.Module) -> nn.Module:
    """Return a copy of the model in which every `QKANLinear` is a `LoweredLinear`; the model itself is not changed.

    Scale, mask, noise and biases of the encoding are folded into coefficients, the base branch is one more feature
    column. It is exact: an edge with integer encoding weights is a finite Fourier series, and with trainable-shared
    weights a linear function of 3^R products. What the copy computes does not follow later changes of the model. A
    layer with shots, or of a PennyLane device, becomes the exact expectation of its circuits.

    Args:
        model: any module; modules used in several places stay shared.

    Raises:
        ValueError: for a layer without an exact lowering (trainable weights per edge, amplitude readout), by name;
            for a convolution, whose lowered form does not exist yet.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([4, 3, 2], dtype=torch.float64)
        >>> x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
        >>> torch.allclose(lower(model)(x), model(x), rtol=0, atol=1e-14)
        True
    """
    for name, module in model.named_modules():
        if isinstance(module, QKANConv1d | QKANConv2d | QKANConv3d):
            raise ValueError(
                f"layer {name or type(module).__name__} is a {type(module).__name__}, which has no lowered form yet; "
                "lower the other parts of the model, or keep it as it is: it runs without a simulator as well"
            )
    found = {name: module for name, module in model.named_modules() if isinstance(module, QKANLinear)}
    for name, layer in found.items():
        _require_exact(name or type(layer).__name__, layer)
    return replace_layers(model, {name: lowered_layer(layer) for name, layer in found.items()})


def replace_layers(model: nn.Module, layers: Mapping[str, nn.Module]) -> nn.Module:
    """Return a deep copy of the model with other layers in these places (names as in ``named_modules``)."""
    # deepcopy takes what the memo holds for an object as its copy.
    return copy.deepcopy(model, {id(model.get_submodule(name)): layer for name, layer in layers.items()})


class LoweredLinear(nn.Module):
    """The classical layer y_o = bias_o + Σ_i (constant_oi + Σ_f coefficients_oif features_f(x_i)), as `lower` makes it.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        ansatz: the circuit of the edges, which says what the features are; a name or an `Ansatz`.
        reps: its repetitions.
        encoding: integers, one per upload; ``"trainable-shared"`` or ``"trainable"``, whose features are the 3^R
            products, shared by the outputs or per edge (then [batch, out, in, 3^R] exists in memory).
        base_activation: σ of the last feature, or None.
        device: where the tensors live.
        dtype: their dtype.

    Attributes:
        constant: [out, in]; coefficients: [out, in, functions], with one more function for the base branch; bias:
            [out]; encoding_weight and encoding_bias: [in, uploads], [out, in, uploads], or None. Parameters without
            gradient.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].
    """

    constant: Tensor
    coefficients: Tensor
    bias: Tensor
    encoding_weight: Tensor | None
    encoding_bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        ansatz: str | Ansatz,
        reps: int,
        encoding: Encoding | list[int],
        base_activation: str | nn.Module | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.reps = in_features, out_features, reps
        self.ansatz = ansatze.named(ansatz)
        self.encoding: Encoding = encoding if isinstance(encoding, str) else tuple(encoding)
        self.base_activation = activations.build(base_activation)
        edges, uploads = (out_features, in_features), self.ansatz.uploads(reps)

        def tensor(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, device=device, dtype=dtype), requires_grad=False)

        functions = self._functions(uploads) + (self.base_activation is not None)
        self.constant, self.coefficients, self.bias = tensor(*edges), tensor(*edges, functions), tensor(out_features)
        where = {"trainable": edges, "trainable-shared": edges[1:]}.get(str(self.encoding))
        for name in ("encoding_weight", "encoding_bias"):
            self.register_parameter(name, None if where is None else tensor(*where, uploads))

    def _functions(self, uploads: int) -> int:
        if isinstance(self.encoding, str):
            return int(3**uploads) - 1
        return 2 * len(self.ansatz.harmonics(self.encoding))

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features]; nothing is sampled: no generator is used."""
        columns = self.features(x)
        dtype = torch.promote_types(x.dtype, self.coefficients.dtype)
        table = self.coefficients.to(columns.dtype)
        bias = (self.bias + self.constant.sum(-1)).to(columns.dtype)
        if columns.dim() == x.dim() + 1:
            y = contract_linear(columns, table, bias)
        else:
            y = torch.einsum("...oif,oif->...o", columns, table) + bias
        return y if in_autocast(y) else y.to(dtype)

    def contributions(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return what every edge adds to its output, [*batch, out, in]; nothing is sampled: no generator is used."""
        columns = self.features(x)
        if columns.dim() == x.dim() + 1:
            columns = columns.unsqueeze(-3)  # [*batch, 1, in, functions]
        return (columns * self.coefficients.to(columns.dtype)).sum(-1) + self.constant

    def edge_function(self, output: int, input: int) -> Callable[[Tensor], Tensor]:
        """Return what one edge adds to its output, as a function of tensors of any shape.

        Raises:
            TypeError: if a number is no integer.
            ValueError: if one is out of range.
        """
        o, i = check_edge(self, output, input)

        def edge(x: Tensor) -> Tensor:
            check_floating(x)
            exact = compute_dtype(torch.promote_types(x.dtype, self.coefficients.dtype))
            own = (self._of_edge(tensor, o, i) for tensor in (self.encoding_weight, self.encoding_bias))
            columns = self._columns(x.unsqueeze(-1).to(exact), *own)
            row = columns.reshape(*x.shape, columns.shape[-1])
            y = row @ self.coefficients[o, i].to(exact) + self.constant[o, i]
            return y.to(torch.promote_types(x.dtype, self.coefficients.dtype))

        return edge

    def expansion(self, x: Tensor) -> Expansion | None:
        """Return all edges at x [*batch, in] as linear functions of features; None with weights per edge."""
        if self.encoding == "trainable":
            return None
        columns = self.features(x)
        return Expansion(columns, self.coefficients.to(columns.dtype), self.constant.to(columns.dtype))

    def features(self, x: Tensor) -> Tensor:
        """Return the features [*batch, in, functions], or with weights per edge [*batch, out, in, functions]."""
        check_input(x, self.in_features)
        x = x.to(compute_dtype(torch.promote_types(x.dtype, self.coefficients.dtype)))
        return self._columns(x, self.encoding_weight, self.encoding_bias)

    def _columns(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if weight is None or bias is None:
            columns = features(self.ansatz, x, tuple(map(int, self.encoding)))
        else:
            columns = features(self.ansatz, x, weight.to(x.dtype), bias.to(x.dtype))
        if self.base_activation is None:
            return columns
        base = self.base_activation(x)
        if columns.dim() == x.dim() + 1:
            return bases.append(columns, base)
        return bases.append(columns, base.unsqueeze(-2).expand(columns.shape[:-1]))

    def _of_edge(self, tensor: Tensor | None, output: int, input: int) -> Tensor | None:
        """Return what an encoding holds of one edge, with sizes of 1."""
        if tensor is None:
            return None
        return tensor[[input]] if tensor.dim() == 2 else tensor[[output]][:, [input]]

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values.

        Raises:
            ValueError: if the base activation has no name.
        """
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "ansatz": self.ansatz.to_json(),
            "reps": self.reps,
            "encoding": list(self.encoding) if isinstance(self.encoding, tuple) else self.encoding,
            "base_activation": activations.name_of(self.base_activation),
        }

    def extra_repr(self) -> str:
        """Return the widths and the number of functions per input."""
        functions = self.coefficients.shape[-1]
        return f"in_features={self.in_features}, out_features={self.out_features}, functions={functions}"


@torch.no_grad()
def lowered_layer(layer: QKANLinear, series: Series | None = None) -> LoweredLinear:
    """Return the classical layer that computes what this layer computes.

    Args:
        layer: the layer; its gain, mask, bias and base branch are folded in.
        series: of its edges; None for the exact one, computed from θ in float64 where the device has it.
    """
    options, theta = layer.options, layer.theta
    lowered = LoweredLinear(
        layer.in_features,
        layer.out_features,
        ansatz=options.circuit,
        reps=options.reps,
        encoding=options.weights,
        base_activation=copy.deepcopy(layer.base_activation),
        device=theta.device,
        dtype=theta.dtype,
    )
    dtype = widest_dtype(theta.device)
    weight, bias = layer.encoding(dtype)
    if series is None:
        series = coefficients(options.circuit, theta.to(dtype), weight, bias)
    gain = layer.gain(dtype)
    table = series.coefficients * gain.unsqueeze(-1)
    if layer.base_weight is not None:
        table = torch.cat([table, (layer.mask * layer.base_weight).to(dtype).unsqueeze(-1)], -1)
    lowered.constant.copy_(series.constant * gain)
    lowered.coefficients.copy_(table)
    for name in ("bias", "encoding_weight", "encoding_bias"):
        target, source = getattr(lowered, name), getattr(layer, name)
        if target is not None and source is not None:
            target.copy_(source)
    return lowered.train(layer.training)


def _require_exact(name: str, layer: QKANLinear) -> None:
    options = layer.options
    if options.readout != "expectation":
        raise ValueError(
            f"layer {name} has readout={options.readout!r}, which is no finite Fourier series; "
            "only layers with readout='expectation' have an exact lowering"
        )
    reason = Fourier().refusal(options.circuit, options.reps, options.weights)
    if reason:
        raise ValueError(f"layer {name} has no exact lowering: {reason}")
