"""The backward of layers in blocks: each computes its vectors again, then takes the adjoint back through them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from qkan.bases.fourier import Pair
from qkan.precision import full_precision
from qkan.solvers import moments
from qkan.solvers.edgewise.blocks import Block, Call
from qkan.solvers.edgewise.parts import Layer, signed
from qkan.solvers.edgewise.turns import Terms
from qkan.solvers.edgewise.walk import Adjoint, Fresh, retreat

__all__ = ["pull", "pull_moments"]


def pull(
    layer: Layer, tensors: tuple[Tensor, ...], _kept: tuple[Tensor, ...], gradient: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """Return the gradients of all tensors."""
    parts = layer.parts(tensors)
    with full_precision(gradient):
        call = Call(layer, parts)
        found = _Found(call, needed[0])
        for block in call.blocks(pulled=True):
            found.add(block, gradient)
        return found.gradients()


def pull_moments(
    layer: Layer, tensors: tuple[Tensor, ...], _kept: tuple[Tensor, ...], gradient: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    """Return the gradients of all tensors of `run_moments`; none goes to the first sample's readout."""
    *given, start = tensors
    parts = layer.parts(tuple(given))
    y, by_first, by_second = moments.split(gradient, len(parts.u), parts.gain)
    with full_precision(gradient):
        call = Call(layer, parts)
        found = _Found(call, needed[0])
        slope = 2 * by_second
        # Readouts of a block lack the sign: sign by_first + 2 (value - sign start) by_second.
        constant = layer.plan.sign * (by_first - slope * start)
        for block in call.blocks(pulled=True):
            found.add(block, y, (slope[block.outs].unsqueeze(-1), constant[block.outs].unsqueeze(-1)))
        return *found.gradients(), torch.zeros_like(start)


class _Found:
    """Gradients, summed over blocks."""

    def __init__(self, call: Call, moving: bool) -> None:
        self.call, self.moving = call, moving
        gain = call.parts.gain
        self.u = torch.zeros_like(call.parts.u)
        self.gain = torch.zeros_like(call.gain)
        self.start = torch.zeros_like(call.gain).repeat(3, 1, 1, 1)  # [3, out, in, 1]
        self.constants = gain.new_zeros(len(call.turns), *gain.shape)  # of every angle
        weight = call.parts.weight
        shape = gain.shape if call.layer.joined else gain.shape[1:]
        self.slopes = None if weight is None else weight.new_zeros(len(call.layer.plan.uploads), *shape)

    def add(self, block: Block, gradient: Tensor, line: tuple[Tensor, Tensor] | None = None) -> None:
        """Add the gradients of a block, from those of y [batch, out].

        A line, slope and constant [out, in, 1], gives more: slope value + constant for that of every readout.
        """
        call, kept, pool = self.call, list[Pair](), block.pool
        vector = block.forward(kept)
        value, inverse, r = block.read(vector)
        upstream = gradient[block.samples, block.outs].mT.contiguous()  # [out, samples]
        # Rows times columns this way round: the other takes several times as long.
        self.gain[block.outs] += torch.bmm(upstream.unsqueeze(1), value.mT).mT
        more = None if line is None else torch.addcmul(line[1], value, line[0])
        adjoint = block.adjoint(upstream.unsqueeze(1), more, vector, value, inverse, r)
        places: list[Tensor | None] = [None] * len(call.turns)
        for number, place in zip(call.joined, block.angles, strict=True):
            places[number] = place
        for number, slope in retreat(pool, call.turns, block.pairs, kept, adjoint, places):
            if call.turns[number].constant:
                self.constants[number, block.outs] += slope.sum(-1)
            elif not call.layer.joined:
                self._add_shared(block, number, slope.sum(0))
        for total, part in zip(self.start, adjoint, strict=True):
            if part is not None:
                total[block.outs] += part.sum(-1, keepdim=True)
        if call.joined:
            self._add_joined(block)

    def _add_shared(self, block: Block, number: int, angle: Tensor) -> None:
        """Add what the gradients [in, samples] of an upload that all outputs share bring."""
        call = self.call
        upload = sum(not turn.constant for turn in call.turns[:number])
        terms = call.layer.plan.uploads[upload]
        if self.slopes is None or call.parts.weight is None:
            self.u[block.samples].add_(angle.mT, alpha=call.layer.integer(terms))
            return
        self.u[block.samples] += angle.mT * signed(call.parts.weight, terms)
        self.slopes[upload] += (angle * block.u).sum(-1)

    def _add_joined(self, block: Block) -> None:
        """Add what the gradients of all joined angles bring, by small products for each input."""
        call, size = self.call, block.angles.shape[:2]
        angles = block.angles.flatten(0, 1).transpose(0, 1)  # [in, uploads out, samples]
        moments = torch.stack([block.u, torch.ones_like(block.u)], 1)  # [in, 2, samples]
        slopes, constants = torch.bmm(moments, angles.mT).permute(1, 2, 0).reshape(2, *size, -1).unbind(0)
        if self.slopes is not None:
            self.slopes[:, block.outs] += slopes
        self.constants[call.joined, block.outs] += constants
        if self.moving:
            weights = call.slopes[:, block.outs].flatten(0, 1).mT.unsqueeze(1)  # [in, 1, uploads out]
            self.u[block.samples] += torch.bmm(weights, angles).squeeze(1).mT

    def gradients(self) -> tuple[Tensor, ...]:
        """Return the gradients of all tensors, in the order of `Parts`."""
        call, (_, theta, _, weight, bias) = self.call, self.call.parts
        adjoint: Adjoint = [*self.start.unbind(0)]
        places: list[Tensor | None] = [None] * len(call.before)
        walk = retreat(Fresh(), call.before, call.start_pairs, call.kept, adjoint, places)
        first = {number: slope.squeeze(-1) for number, slope in walk}
        by_turn = [*(first[number] for number in range(len(call.before))), *self.constants]
        plan = call.layer.plan
        found = [self.u, _scattered(theta, by_turn, [turn.angles for turn in plan.turns])]
        found.append(self.gain.squeeze(-1) * plan.sign)
        if weight is not None and self.slopes is not None:
            found.append(_scattered(weight, [*self.slopes], plan.uploads))
        if bias is not None:
            found.append(_scattered(bias, by_turn, [turn.biases for turn in plan.turns]))
        return tuple(found)


def _scattered(like: Tensor, gradients: list[Tensor], terms: Sequence[Terms]) -> Tensor:
    """Return the gradient of [..., n] from those of signed sums of it."""
    found = torch.zeros_like(like)
    for gradient, summed in zip(gradients, terms, strict=True):
        for position, sign in summed:
            found[..., position].add_(gradient.sum_to_size(found.shape[:-1]), alpha=sign)
    return found
