"""The one engine of every layer: features times coefficients."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["contract_linear"]


def contract_linear(features: Tensor, coefficients: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y_o = bias_o + Σ_i Σ_f features_if coefficients_oif as one matrix product.

    Args:
        features: [*batch, in, functions].
        coefficients: [out, in, functions].
        bias: [out] or None.

    Returns:
        [*batch, out].
    """
    # Bases hand over transposed views: flattened functions first, and the batch as one dimension, they are not copied.
    rows = features.mT.flatten(-2)
    flat = rows.flatten(0, -2) if rows.dim() > 2 else rows
    y = F.linear(flat, coefficients.mT.flatten(-2), bias)
    return y.view(*rows.shape[:-1], y.shape[-1])
