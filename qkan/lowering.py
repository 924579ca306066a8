"""`lower`: from quantum layers to a plain classical network that computes the same function."""

import copy

import torch
from torch import Tensor, nn

from qkan import bases
from qkan.ansatz import Ansatz
from qkan.contraction import contract_linear
from qkan.layers.linear import QKANLinear
from qkan.precision import compute_dtype, in_autocast
from qkan.solvers.fourier import Fourier, coefficients, features

__all__ = ["LoweredLinear", "lower"]


def lower(model: nn.Module) -> nn.Module:
    """Return a copy of the model in which every `QKANLinear` is a `LoweredLinear`; the model itself is not changed.

    Scale, mask and biases of the encoding are folded into coefficients, the base branch is one more feature column. It
    is exact: an edge with integer encoding weights is a finite Fourier series, and with trainable-shared weights a
    linear function of 3^R products. What the copy computes does not follow later changes of the model.

    Args:
        model: any module; modules used in several places stay shared.

    Raises:
        ValueError: for a layer without an exact lowering (trainable weights per edge, amplitude readout), by name.

    Example:
        >>> from qkan import QKAN
        >>> model = QKAN([4, 3, 2], dtype=torch.float64)
        >>> x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
        >>> torch.allclose(lower(model)(x), model(x), rtol=0, atol=1e-14)
        True
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, QKANLinear)}
    for name, layer in found.items():
        _require_exact(name or type(layer).__name__, layer)
    # deepcopy takes what the memo holds for an object as its copy.
    return copy.deepcopy(model, {id(layer): LoweredLinear(layer) for layer in found.values()})


class LoweredLinear(nn.Module):
    """The classical layer y_o = bias_o + Σ_i Σ_f coefficients_oif features_f(x_i), as `lower` makes it.

    Attributes:
        coefficients: [out, in, functions], with one more function for the base branch. No gradient by default.
        bias: [out]. No gradient by default.
        encoding_weight: [in, uploads] of a trainable-shared layer, or None; encoding_bias likewise.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].
    """

    encoding_weight: Tensor | None
    encoding_bias: Tensor | None

    def __init__(self, layer: QKANLinear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.ansatz: Ansatz = layer.options.circuit
        self.start_weights = layer.options.start_weights
        self.base_activation = copy.deepcopy(layer.base_activation)
        shared = layer.options.encoding == "trainable-shared"
        for name in ("encoding_weight", "encoding_bias"):
            tensor = getattr(layer, name) if shared else None
            self.register_parameter(name, None if tensor is None else _constant(tensor, tensor.dtype))
        table, bias = _folded(layer)
        self.coefficients = _constant(table, layer.theta.dtype)
        self.bias = _constant(bias, layer.theta.dtype)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features]."""
        dtype = torch.promote_types(x.dtype, self.coefficients.dtype)
        x = x.to(compute_dtype(dtype))
        columns = features(self.ansatz, x, *self._encoding(x.dtype))
        if self.base_activation is not None:
            columns = bases.append(columns, self.base_activation(x))
        y = contract_linear(columns, self.coefficients.to(x.dtype), self.bias.to(x.dtype))
        return y if in_autocast(y) else y.to(dtype)

    def extra_repr(self) -> str:
        """Return the widths and the number of functions per input."""
        functions = self.coefficients.shape[-1]
        return f"in_features={self.in_features}, out_features={self.out_features}, functions={functions}"

    def _encoding(self, dtype: torch.dtype) -> tuple[tuple[int, ...] | Tensor, Tensor | None]:
        if self.encoding_weight is None:
            return self.start_weights, None
        return self.encoding_weight.to(dtype), None if self.encoding_bias is None else self.encoding_bias.to(dtype)


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


@torch.no_grad()
def _folded(layer: QKANLinear) -> tuple[Tensor, Tensor]:
    """Return coefficients [out, in, functions] and bias [out] of the layer, in float64 where the device has it."""
    dtype = torch.float32 if layer.theta.device.type == "mps" else torch.float64
    weight, bias = layer.encoding(dtype)
    series = coefficients(layer.options.circuit, layer.theta.to(dtype), weight, bias)
    gain = layer.gain(dtype)
    table = series.coefficients * gain.unsqueeze(-1)
    constant = (series.constant * gain).sum(-1)
    if layer.base_weight is not None:
        table = torch.cat([table, (layer.mask * layer.base_weight).to(dtype).unsqueeze(-1)], -1)
    return table, constant if layer.bias is None else constant + layer.bias


def _constant(tensor: Tensor, dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone().to(dtype), requires_grad=False)
