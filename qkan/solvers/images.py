"""Convolutions over Fourier features, a few images at a time.

The features of all images together take 2K times the memory of the images, and fresh memory costs more than what is
computed in it. So blocks of images share one buffer; the backward, derived by hand, keeps nothing but the arguments and
writes the features anew.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qkan._derived import Rule, Tensors, apply
from qkan.bases import fourier
from qkan.contraction import contract_conv, kernel_weight
from qkan.precision import in_autocast

__all__ = ["convolve"]

# Features of a block: few calls, and still in the last cache. Elsewhere than on a CPU a call costs more. Every block
# goes once through all coefficients, which must be few beside its features.
FLOATS = {"cpu": 2**20}
ELSEWHERE = 2**26
PER_COEFFICIENT = 4

# So many channels of a pixel as neighbours in memory are worth a vector instruction.
_NEIGHBOURS = 8


def convolve(
    u: Tensor,
    harmonics: tuple[int, ...],
    coefficients: Tensor,
    bias: Tensor,
    *,
    groups: int,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """Return the convolution of cos ku for every k, then sin ku for every k, with these coefficients.

    Args:
        u: [batch, in, *space], radians; already padded.
        harmonics: K >= 1 integers k >= 1.
        coefficients: [out, in/groups, *kernel, 2K].
        bias: [out].
        groups: of channels.
        stride: one per dimension.
        dilation: one per dimension.

    Returns:
        [batch, out, *space].
    """
    call = _Call(harmonics, groups, stride, dilation)
    if in_autocast(u):  # which casts the arguments of a convolution, also in the backward
        columns = torch.unflatten(fourier.features(u.movedim(1, -1), harmonics), -2, (groups, -1))
        return call.contract(columns.movedim((-3, -1, -2), (1, 2, 3)), coefficients, bias)
    return apply(Rule(call.plain, call.run, call.pull), u, coefficients, bias)


@dataclass(frozen=True)
class _Call:
    """What all blocks of one convolution share."""

    harmonics: tuple[int, ...]
    groups: int
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def plain(self, u: Tensor, coefficients: Tensor, bias: Tensor) -> Tensor:
        u = torch.unflatten(u, 1, (self.groups, -1))
        pairs = fourier.multiples(u.cos(), u.sin(), self.harmonics)
        columns = torch.stack([pairs[k][part] for part in (0, 1) for k in self.harmonics], 2)
        return self.contract(columns, coefficients, bias)

    def contract(self, columns: Tensor, coefficients: Tensor, bias: Tensor) -> Tensor:
        return contract_conv(columns, coefficients, bias, stride=self.stride, dilation=self.dilation)

    def run(self, u: Tensor, coefficients: Tensor, bias: Tensor) -> tuple[Tensor, tuple[()]]:
        weight, y = _channels_last(kernel_weight(coefficients)), self._result(u, coefficients)
        for images, memory in self._blocks(u, coefficients.numel()):
            fourier.write(self._columns(memory, u), self._inputs(u[images]), self.harmonics)
            y[images] = torch.convolution(memory, weight, bias, *self._geometry(u))
        return y, ()

    def pull(
        self, tensors: Tensors, _kept: Tensors, gradient: Tensor, needed: tuple[bool, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        u, coefficients, _ = tensors
        # d cos ku = -k sin ku, d sin ku = k cos ku: the factors are those of the kernel that the gradient of the
        # features is made with; that of the kernel itself does not need the kernel.
        factors = fourier.factors(self.harmonics, u.dtype, u.device)
        weight = _channels_last(kernel_weight(coefficients * torch.cat([-factors, factors])))
        by_u, by_weight, wanted = torch.empty_like(u), torch.zeros_like(weight), [needed[0], needed[1], False]
        for images, memory in self._blocks(u, coefficients.numel()):
            columns = self._columns(memory, u)
            fourier.write(columns, self._inputs(u[images]), self.harmonics)
            given = (gradient[images], memory, weight, None, *self._geometry(u), wanted)
            by_image, by_kernel, _ = torch.ops.aten.convolution_backward(*given)
            if needed[1]:
                by_weight += by_kernel
            if needed[0]:
                self._inputs(by_u[images]).copy_(_turned_sum(self._columns(by_image, u), columns))
        by_table = torch.unflatten(by_weight, 1, (-1, coefficients.shape[1])).movedim(1, -1)
        return by_u, by_table, gradient.transpose(0, 1).flatten(1).sum(1)

    def _result(self, u: Tensor, coefficients: Tensor) -> Tensor:
        """Return memory for the result, in the order of the channels of u."""
        sizes = zip(u.shape[2:], coefficients.shape[2:-1], self.stride, self.dilation, strict=True)
        space = [(size - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel, stride, dilation in sizes]
        y = u.new_empty(len(u), len(coefficients), *space)
        turned = u.dim() == 4 and u.is_contiguous(memory_format=torch.channels_last) and not u.is_contiguous()
        return _channels_last(y) if turned else y

    def _geometry(self, u: Tensor) -> tuple[Any, ...]:
        none = [0] * (u.dim() - 2)
        return self.stride, none, self.dilation, False, none, self.groups

    def _blocks(self, u: Tensor, coefficients: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield images, and memory for their features, [images, groups · 2K · in/groups, *space].

        The channels come last, as convolutions are fastest, unless they are few.
        """
        (count, channels, *space), turned = u.shape, self._turned(u)
        each = 2 * len(self.harmonics) * channels * math.prod(space)
        step = max(1, max(FLOATS.get(u.device.type, ELSEWHERE), PER_COEFFICIENT * coefficients) // max(1, each))
        memory = u.new_empty(min(step, count) * each)
        for first in range(0, count, step):
            images = slice(first, min(first + step, count))
            part = memory[: (images.stop - first) * each]
            shape = (images.stop - first, *space, each // math.prod(space))
            yield images, part.view(shape).movedim(-1, 1) if turned else part.view(shape[0], -1, *space)

    def _turned(self, u: Tensor) -> bool:
        return u.shape[1] // self.groups >= _NEIGHBOURS

    def _columns(self, image: Tensor, u: Tensor) -> Tensor:
        """Return features as `_blocks` gives memory for them as [2K, ...], the rest as `_inputs` has it."""
        parts = torch.unflatten(image.flatten(2), 1, (self.groups, 2 * len(self.harmonics), -1))
        parts = parts.movedim(2, 0)  # [2K, images, groups, in/groups, pixels]
        return parts.movedim(-1, 2) if self._turned(u) else parts

    def _inputs(self, u: Tensor) -> Tensor:
        """Return images as [images, groups, in/groups, pixels], or [images, pixels, groups, in/groups]."""
        parts = torch.unflatten(u.flatten(2), 1, (self.groups, -1))
        return parts.movedim(-1, 1) if self._turned(u) else parts


def _turned_sum(gradient: Tensor, columns: Tensor) -> Tensor:
    """Return Σ_k (gradient_cos k · sin ku + gradient_sin k · cos ku), both [2K, ...]; overwrites the gradient."""
    half = len(columns) // 2
    gradient[:half] *= columns[half:]
    gradient[half:] *= columns[:half]
    return gradient.sum(0)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
