"""Edges of a layer in blocks over outputs and samples.

A block [out, in, samples] computes its vectors in memory that all blocks share. Samples come last: what is constant is
then a number to long rows.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from qkan.bases.fourier import Pair
from qkan.precision import full_precision
from qkan.readout import expectation
from qkan.solvers import moments
from qkan.solvers.edgewise.parts import Layer, Parts, signed
from qkan.solvers.edgewise.walk import Adjoint, Fresh, Pool, advance, combined

__all__ = ["Block", "Call", "run", "run_moments"]

# Elements of a block's memory: small enough for the last cache, large enough for few calls and two threads. Elsewhere
# than on a CPU a call costs more.
ELEMENTS = {"cpu": 2**22}
ELSEWHERE = 2**27
LEAST = 2**15


def run(layer: Layer, *tensors: Tensor) -> tuple[Tensor, tuple[()]]:
    """Return y [batch, out]; nothing is kept."""
    parts = layer.parts(tensors)
    y = parts.u.new_empty(len(parts.u), len(parts.gain))
    with full_precision(y):
        call = Call(layer, parts)
        for block in call.blocks(pulled=False):
            value, _, _ = block.read(block.forward())
            y[block.samples, block.outs] = torch.bmm(call.gain[block.outs].mT, value).squeeze(1).mT
    return y, ()


def run_moments(layer: Layer, *tensors: Tensor) -> tuple[Tensor, tuple[()]]:
    """Return y and the sums of `qkan.solvers.moments`; the last tensor is the first sample's readout, [out, in]."""
    *given, start = tensors
    parts, sign = layer.parts(tuple(given)), layer.plan.sign
    found = moments.room(len(parts.u), parts.gain)
    y, first, second = moments.split(found, len(parts.u), parts.gain)
    with full_precision(y):
        call = Call(layer, parts)
        for block in call.blocks(pulled=False):
            value, _, _ = block.read(block.forward())
            y[block.samples, block.outs] = torch.bmm(call.gain[block.outs].mT, value).squeeze(1).mT
            moved = value - sign * start[block.outs].unsqueeze(-1)
            first[block.outs] += sign * moved.sum(-1)
            second[block.outs] += moved.square_().sum(-1)
    return found, ()


class Call:
    """What the blocks of one call share."""

    def __init__(self, layer: Layer, parts: Parts) -> None:
        plan = layer.plan
        self.layer, self.parts = layer, parts
        self.before, self.turns = plan.turns[: plan.first], plan.turns[plan.first :]
        self.joined = [number for number, turn in enumerate(self.turns) if turn.uploads and layer.joined]
        self.gain = (parts.gain if plan.sign > 0 else -parts.gain).unsqueeze(-1)  # [out, in, 1]
        self.start_pairs = [_pair(layer.constant(turn, parts).unsqueeze(-1)) for turn in self.before]
        self.kept: list[Pair] = []
        zero = torch.zeros_like(self.gain)
        self.start = advance(Fresh(), self.before, self.start_pairs, [zero, zero, zero + 1], self.kept)
        constants = [layer.constant(turn, parts).unsqueeze(-1) for turn in self.turns]
        # Of a turn that uploads, the constant part of its angle.
        self.constants = [_pair(c) if turn.constant else (c, c) for turn, c in zip(self.turns, constants, strict=True)]
        self.slopes = parts.gain.new_empty(0, *parts.gain.shape)  # [uploads, out, in]
        if layer.joined and parts.weight is not None:
            self.slopes = torch.stack([signed(parts.weight, terms) for terms in plan.uploads])

    def blocks(self, pulled: bool) -> Iterator["Block"]:
        """Yield blocks with memory for the forward, or for the backward, which keeps all vectors of the block."""
        arrays = 3 * len(self.joined) + 2 * len(self.turns) + 10 if pulled else 2 * len(self.joined) + 8
        (outputs, inputs), count = self.parts.gain.shape, len(self.parts.u)
        total = ELEMENTS.get(self.gain.device.type, ELSEWHERE)
        size = max(LEAST, total // arrays)
        wide = min(count, max(64, size // max(inputs, 1)))
        tall = min(outputs, max(1, size // max(inputs * wide, 1)))
        memory = self.gain.new_empty(arrays * wide * tall * inputs)
        for samples in _slices(count, wide):
            u = self.parts.u[samples].mT.contiguous()  # [in, samples]
            shared = [] if self.layer.joined else self._shared(u)
            for outs in _slices(outputs, tall):
                shape = (arrays, outs.stop - outs.start, inputs, samples.stop - samples.start)
                part = memory[: torch.Size(shape).numel()].view(shape)
                yield Block(self, samples, outs, u, shared, _split(part, len(self.joined), pulled))

    def _shared(self, u: Tensor) -> list[Pair]:
        return [(cos.mT.contiguous(), sin.mT.contiguous()) for cos, sin in self.layer.shared(u.mT, self.parts)]


class Block:
    """Some outputs and some samples; tensors are [out, in, samples], constants [out, in, 1]."""

    def __init__(
        self, call: Call, samples: slice, outs: slice, u: Tensor, shared: list[Pair], memory: list[Tensor]
    ) -> None:
        self.call, self.samples, self.outs, self.u = call, samples, outs, u
        self.sin, self.cos, self.angles, free = memory
        self.pool = Pool(free)
        self.pairs = self._pairs(iter(shared))

    def _pairs(self, shared: Iterator[Pair]) -> list[Pair]:
        call = self.call
        for sin, slope, number in zip(self.sin, call.slopes, call.joined, strict=True):
            torch.mul(self.u, slope[self.outs].unsqueeze(-1), out=sin).add_(call.constants[number][0][self.outs])
        torch.cos(self.sin, out=self.cos)
        self.sin.sin_()
        joined = iter(zip(self.cos, self.sin, strict=True))
        return [
            (constant[0][self.outs], constant[1][self.outs])
            if turn.constant
            else next(joined if call.layer.joined else shared)
            for turn, constant in zip(call.turns, call.constants, strict=True)
        ]

    def forward(self, kept: list[Pair] | None = None) -> list[Tensor]:
        """Return the final components; kept takes those that each turn reads."""
        start = [component[self.outs] for component in self.call.start]
        return advance(self.pool, self.call.turns, self.pairs, start, kept)

    def read(self, vector: list[Tensor]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the readout, but for the sign of z; and of an amplitude z / sqrt(1 + r) this root inverted, and r."""
        z = vector[self.call.layer.plan.z]
        if self.call.layer.readout is expectation:
            return z, None, None
        x, y = self._transverse(vector)
        r = combined(self.pool, x, x, y, y, 1).sqrt_()
        inverse = torch.add(r, 1, out=self.pool.take()).rsqrt_()
        return torch.mul(inverse, z, out=self.pool.take()), inverse, r

    def _transverse(self, vector: list[Tensor]) -> list[Tensor]:
        return [component for slot, component in enumerate(vector) if slot != self.call.layer.plan.z]

    def adjoint(
        self,
        gradient: Tensor,
        more: Tensor | None,
        vector: list[Tensor],
        value: Tensor,
        inverse: Tensor | None,
        r: Tensor | None,
    ) -> Adjoint:
        """Return the adjoint of the vector, from gradients [out, 1, samples] and what `read` returned.

        More gradients of the readout itself, [out, in, samples], may come on top.
        """
        z_bar = torch.mul(gradient, self.call.gain[self.outs], out=self.pool.take())
        if more is not None:
            z_bar += more
        plan = self.call.layer.plan
        if inverse is None or r is None:
            return [z_bar if slot == plan.z else None for slot in range(3)]
        z_bar *= inverse
        # r̄ / r, and 0 for it at the poles; as r̄ = -1/2 z̄ z / (1 + r)
        scale = value.mul_(inverse).mul_(z_bar).mul_(-0.5).div_(r).masked_fill_(r == 0, 0)
        found = iter([torch.mul(scale, part, out=self.pool.take()) for part in self._transverse(vector)])
        return [z_bar if slot == plan.z else next(found) for slot in range(3)]


def _split(memory: Tensor, joined: int, pulled: bool) -> list[Tensor]:
    """Return the memory for sines, cosines, gradients of joined angles, and all else."""
    ends = [joined, 2 * joined, (2 + pulled) * joined, len(memory)]
    return [memory[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def _slices(count: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, count)) for first in range(0, count, max(step, 1))]


def _pair(angle: Tensor) -> Pair:
    return angle.cos(), angle.sin()
