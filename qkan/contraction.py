"""The one engine of every layer: features times coefficients."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["contract_conv", "contract_linear", "kernel_weight"]

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


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


def contract_conv(
    features: Tensor,
    coefficients: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Sequence[int] = (1,),
    padding: Sequence[tuple[int, int]] = (),
    dilation: Sequence[int] = (1,),
) -> Tensor:
    """Return the sum of all functions of all pixels under a kernel, times its coefficients, as one convolution.

    y_o(p) = bias_o + Σ_i Σ_k Σ_f features_if(stride p + dilation k) coefficients_oikf, i the inputs of the group of o.

    Args:
        features: [batch, groups, functions, in/groups, *space], space of 1, 2 or 3 dimensions. Without a copy if
            groups, functions and inputs are one dimension in memory.
        coefficients: [out, in/groups, *kernel, functions].
        bias: [out] or None.
        stride: of one size, or one per dimension.
        padding: zeros before and after the features, per dimension; not those of the inputs: there every function is 0.
        dilation: of one size, or one per dimension.

    Returns:
        [batch, out, *space].

    >>> import torch
    >>> contract_conv(torch.ones(5, 2, 4, 3, 8, 8), torch.ones(6, 3, 3, 2, 4)).shape
    torch.Size([5, 6, 6, 7])
    """
    convolution, weight = _CONVOLUTIONS[features.dim() - 4], kernel_weight(coefficients)
    around = [before for before, _ in padding] or [0]
    if any(before != after for before, after in padding):  # torch would copy, too
        features = F.pad(features, [size for margin in reversed(padding) for size in margin])
        around = [0]
    y: Tensor = convolution(features.flatten(1, 3), weight, bias, stride, around, dilation, features.shape[1])
    return y


def kernel_weight(coefficients: Tensor) -> Tensor:
    """Return coefficients [out, in/groups, *kernel, functions] as a kernel [out, functions · in/groups, *kernel]."""
    return coefficients.movedim(-1, 1).flatten(1, 2)
