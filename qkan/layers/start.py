"""Parameters of layers of circuits: which there are, and how they start."""

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from qkan.ansatz import MIX

if TYPE_CHECKING:
    from qkan.layers.conv import _QKANConv
    from qkan.layers.linear import QKANLinear

__all__ = ["register", "reset"]


def register(
    layer: "QKANLinear | _QKANConv",
    edges: tuple[int, ...],
    inputs: int,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> None:
    """Register the parameters and the mask of a layer, uninitialised but for the mask.

    Args:
        layer: has options and a base activation.
        edges: the shape of its edges, the outputs first.
        inputs: number of inputs that a shared encoding has weights for.
        device: where the parameters live.
        dtype: their dtype.
    """

    def parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
        return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

    options, ansatz = layer.options, layer.options.circuit
    uploads = ansatz.uploads(options.reps)
    encoding = (inputs, uploads) if options.encoding == "trainable-shared" else (*edges, uploads)
    trainable = options.trainable_encoding
    layer.register_parameter("theta", parameter(True, *edges, ansatz.angles(options.reps)))
    layer.register_parameter("encoding_weight", parameter(trainable, *encoding))
    layer.register_parameter("encoding_bias", parameter(trainable or ansatz.trainable_bias, *encoding))
    layer.register_parameter("scale", parameter(options.scale, *edges))
    layer.register_parameter("base_weight", parameter(layer.base_activation is not None, *edges))
    layer.register_parameter("bias", parameter(options.bias, edges[0]))
    layer.register_buffer("mask", torch.ones(edges, device=device, dtype=dtype))


@torch.no_grad()
def reset(layer: "QKANLinear | _QKANConv", fans: tuple[int, int], generator: torch.Generator | None) -> None:
    """Draw θ anew; scale starts at 1, biases at 0, base weights uniform in ± 1/sqrt(fan_in), the mask stays.

    Args:
        layer: whose parameters start anew.
        fans: how many edges an output sums, and how many outputs an input has.
        generator: source of what is drawn; the global one when None.
    """
    layer.theta.normal_(0, _angle_std(layer, fans), generator=generator)
    if layer.options.init == "scaled" and layer.options.ansatz == MIX:
        # Otherwise an edge starts as ± sin(R x): the last RX turns y, which is small, onto z.
        layer.theta[..., -1] += math.pi / 2
    if layer.encoding_weight is not None:
        start = layer.theta.new_tensor(layer.options.start_weights)
        layer.encoding_weight.copy_(start.expand_as(layer.encoding_weight))
    for tensor, value in ((layer.encoding_bias, 0), (layer.scale, 1), (layer.bias, 0)):
        if tensor is not None:
            tensor.fill_(value)
    if layer.base_weight is not None:
        bound = fans[0] ** -0.5
        layer.base_weight.uniform_(-bound, bound, generator=generator)


def _angle_std(layer: "QKANLinear | _QKANConv", fans: tuple[int, int]) -> float:
    """Return the start of θ: Xavier's sqrt(2 / ((in + out) angles)), which keeps the output's width (heuristic)."""
    if not isinstance(layer.options.init, str):
        return float(layer.options.init)
    angles = layer.theta.shape[-1]
    return math.sqrt(2 / (sum(fans) * angles)) if angles else 0.0
