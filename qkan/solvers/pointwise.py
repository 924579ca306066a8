"""Layers whose readout is the amplitude: no finite series, but z of every edge from its coefficients, no circuits.

[batch, out, in] never exists at once: blocks of samples and outputs share their memory, and the backward, derived by
hand, keeps nothing but the arguments. With r = sqrt(1 - z²) the amplitude z / sqrt(1 + r) has the slope
sqrt(1 + r) / (2 r); at and beyond |z| = 1, where 0 is taken for the derivative of r, it is 1.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from qkan._derived import Rule, apply
from qkan.precision import full_precision
from qkan.readout import amplitude
from qkan.solvers import moments

__all__ = ["amplitude_layer", "amplitude_moments"]

# Elements [in, out, samples] of a block: few calls, and still in the last cache. Elsewhere than on a CPU a call costs
# more.
ELEMENTS = {"cpu": 2**18}
ELSEWHERE = 2**25

# Up to so many functions the compiler adds them up where it needs z; more are a product of their own.
_ADDED = 32

# Shorter sums the compiler writes out term by term, of ever longer terms: it would not come to an end.
_UNROLLED = 8

# So many rows the compiler writes to memory; fewer it would compute anew for every sample.
_WRITTEN = 9


def amplitude_layer(columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor) -> Tensor:
    """Return y_o = Σ_i gain_oi amplitude(z_oi) with z_oi = constant_oi + Σ_f columns_if coefficients_oif.

    Args:
        columns: [*batch, in, functions].
        coefficients: [out, in, functions].
        constant: [out, in].
        gain: [out, in].

    Returns:
        [*batch, out].
    """
    flat = columns.reshape(columns.shape[:-2].numel(), *columns.shape[-2:])
    y = apply(Rule(_plain, _run, _pull, compiled=_compiled), flat, coefficients, constant, gain)
    return y.view(*columns.shape[:-2], y.shape[-1])


def amplitude_moments(columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `amplitude_layer` returns, and from the same blocks the variance of every amplitude over the batch.

    Args:
        columns: [*batch, in, functions].
        coefficients: [out, in, functions].
        constant: [out, in].
        gain: [out, in].

    Returns:
        [*batch, out] and [out, in]; the variance is without the gain.
    """
    flat = columns.reshape(columns.shape[:-2].numel(), *columns.shape[-2:])
    with torch.no_grad():  # about the first sample, so that squares of edges that hardly move do not cancel
        start = amplitude((coefficients * flat[0]).sum(-1) + constant)
    found = apply(Rule(_plain_moments, _run_moments, _pull_moments), flat, coefficients, constant, gain, start)
    y, first, second = moments.split(found, len(flat), gain)
    return y.view(*columns.shape[:-2], y.shape[-1]), moments.variance(first, second, len(flat))


def _plain_moments(columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor, start: Tensor) -> Tensor:
    values = amplitude(torch.einsum("bif,oif->boi", columns, coefficients) + constant)
    return moments.joined(values, gain, start)


def _run_moments(
    columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor, start: Tensor
) -> tuple[Tensor, tuple[()]]:
    found = moments.room(len(columns), gain)
    y, first, second = moments.split(found, len(columns), gain)
    with full_precision(found):
        call = _Call(columns, coefficients, constant, gain)
        for samples, outs, features, (z, r) in call.blocks(2):
            call.expectations(outs, features, z)
            values = _root(z, r).add_(1).rsqrt_().mul_(z).transpose(0, 1)
            y[samples, outs] = torch.bmm(gain[outs].unsqueeze(1), values).squeeze(1).mT
            moved = values.sub_(start[outs].unsqueeze(-1))
            first[outs] += moved.sum(-1)
            second[outs] += moved.square_().sum(-1)
    return found, ()


def _pull_moments(
    tensors: tuple[Tensor, ...], _kept: tuple[Tensor, ...], gradient: Tensor, _needed: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    *given, start = tensors
    columns, _, _, gain = given
    return *_pull_blocks(given, *moments.split(gradient, len(columns), gain), start), torch.zeros_like(start)


def _plain(columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor) -> Tensor:
    z = torch.einsum("bif,oif->boi", columns, coefficients) + constant
    return (amplitude(z) * gain).sum(-1)


def _compiled(columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor) -> Tensor:
    if columns.shape[-1] > _ADDED or min(*columns.shape[:2], len(gain)) <= _UNROLLED:
        return _plain(columns, coefficients, constant, gain)
    rows = [constant, *coefficients.unbind(-1)]
    padded = (rows * _WRITTEN)[: max(len(rows), _WRITTEN)]
    z, *table = torch.stack(padded).unbind(0)[: len(rows)]
    for column, coefficient in zip(columns.unbind(-1), table, strict=True):
        z = torch.addcmul(z, column.unsqueeze(-2), coefficient)
    return (amplitude(z) * gain).sum(-1)


def _run(columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor) -> tuple[Tensor, tuple[()]]:
    y = columns.new_empty(len(columns), len(gain))
    with full_precision(y):
        call = _Call(columns, coefficients, constant, gain)
        for samples, outs, features, (z, r) in call.blocks(2):
            call.expectations(outs, features, z)
            # In the order [out, in, samples] the sum over inputs is a product with long rows.
            values = _root(z, r).add_(1).rsqrt_().mul_(z).transpose(0, 1)
            y[samples, outs] = torch.bmm(gain[outs].unsqueeze(1), values).squeeze(1).mT
    return y, ()


def _pull(
    tensors: tuple[Tensor, ...], _kept: tuple[Tensor, ...], gradient: Tensor, _needed: tuple[bool, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _pull_blocks(tensors, gradient)


def _pull_blocks(
    tensors: Sequence[Tensor],
    gradient: Tensor,
    by_first: Tensor | None = None,
    by_second: Tensor | None = None,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of the four tensors for that of the outputs, and for those of the sums if there are any."""
    columns, _, _, gain = tensors
    call = _Call(*tensors)
    by_columns, by_table, by_gain = torch.zeros_like(columns), torch.zeros_like(call.table), torch.zeros_like(gain)
    halves = (gain / 2).mT.unsqueeze(-1)  # [in, out, 1]
    with full_precision(gradient):
        for samples, outs, features, (z, r, root) in call.blocks(3):
            call.expectations(outs, features, z)
            torch.add(_root(z, r), 1, out=root).sqrt_()
            upstream = gradient[samples, outs].mT.contiguous()  # [out, samples]
            values = z.div_(root)
            by_gain[outs] += torch.bmm(upstream.unsqueeze(1), values.transpose(0, 1).mT).squeeze(1)
            slope = root.div_(r.masked_fill_(r == 0, 0.5))
            if by_first is None or by_second is None or start is None:
                slope.mul_(upstream).mul_(halves[:, outs])
            else:
                slope.mul_(_by_values(values, upstream, *(t[outs] for t in (gain, by_first, by_second, start))))
            by_table[:, outs] += torch.bmm(slope, features.mT)
            by_columns[samples] += torch.bmm(call.table[:, outs].mT, slope)[:, :-1].permute(2, 0, 1)
    return by_columns, by_table[..., :-1].transpose(0, 1), by_table[..., -1].mT, by_gain


def _by_values(
    values: Tensor, upstream: Tensor, gain: Tensor, by_first: Tensor, by_second: Tensor, start: Tensor
) -> Tensor:
    """Return half of the gradient of values [in, out, samples], in their place."""
    constant, slope = by_first / 2 - start * by_second, by_second  # (by_first + 2 (a - start) by_second) / 2
    values.mul_(slope.mT.unsqueeze(-1)).add_(constant.mT.unsqueeze(-1))
    return values.addcmul_((gain / 2).mT.unsqueeze(-1), upstream)


def _root(z: Tensor, out: Tensor) -> Tensor:
    """Return sqrt(1 - z²), 0 where |z| > 1; square roots of negative numbers would be slow."""
    return torch.addcmul(z.new_ones(()), z, z, value=-1, out=out).clamp_(min=0).sqrt_()


class _Call:
    """What the blocks of one call share."""

    def __init__(self, columns: Tensor, coefficients: Tensor, constant: Tensor, gain: Tensor) -> None:
        self.columns, self.gain = columns, gain
        self.table = torch.cat([coefficients, constant.unsqueeze(-1)], -1).transpose(0, 1)  # [in, out, functions + 1]

    def blocks(self, arrays: int) -> Iterator[tuple[slice, slice, Tensor, tuple[Tensor, ...]]]:
        """Yield samples, outputs, features [in, functions + 1, samples], and so many arrays [in, out, samples]."""
        (count, inputs, functions), outputs = self.columns.shape, len(self.gain)
        size = max(1, ELEMENTS.get(self.gain.device.type, ELSEWHERE) // max(inputs, 1))
        wide = max(1, min(count, max(64, size // max(outputs, 1))))
        tall = max(1, min(outputs, size // wide))
        memory = self.gain.new_empty(arrays * inputs * tall * wide)
        room = self.gain.new_ones(inputs * (functions + 1) * wide)
        for samples in _slices(count, wide):
            features = _part(room, inputs, functions + 1, samples.stop - samples.start)
            features[:, :-1] = self.columns[samples].permute(1, 2, 0)
            features[:, -1] = 1
            for outs in _slices(outputs, tall):
                shape = (inputs, outs.stop - outs.start, samples.stop - samples.start)
                yield samples, outs, features, _part(memory, arrays, *shape).unbind(0)

    def expectations(self, outs: slice, features: Tensor, out: Tensor) -> None:
        """Write z [in, out, samples]."""
        torch.bmm(self.table[:, outs], features, out=out)


def _part(memory: Tensor, *shape: int) -> Tensor:
    return memory[: torch.Size(shape).numel()].view(shape)


def _slices(count: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
