"""What a layer computed edge by edge is made of: its tensors by name, and what is no tensor."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.bases.fourier import Pair, multiples
from qkan.readout import Readout
from qkan.solvers.edgewise.turns import Plan, Terms, Turn

__all__ = ["Layer", "Parts", "signed"]


class Parts(NamedTuple):
    """The tensors of a layer by name."""

    u: Tensor  # [*batch, in]
    theta: Tensor  # [out, in, angles]
    gain: Tensor  # [out, in]
    weight: Tensor | None  # [out, in, uploads] or [in, uploads]; None with integers
    bias: Tensor | None  # [out, in, uploads] or [in, uploads]


@dataclass(frozen=True, eq=False)
class Layer:
    """What is no tensor of a layer."""

    plan: Plan
    integers: tuple[int, ...] | None
    """Weight of every upload, None with a tensor."""
    joined: bool
    """Whether uploads differ from edge to edge, so that their turns hold constant angles too."""
    biased: bool
    readout: Readout

    def parts(self, tensors: tuple[Tensor, ...]) -> Parts:
        """Return the tensors by name."""
        u, theta, gain, *rest = tensors
        return Parts(u, theta, gain, None if self.integers else rest[0], rest[-1] if self.biased else None)

    def constant(self, turn: Turn, parts: Parts) -> Tensor:
        """Return the part of a turn's angle that no sample changes, [out, in]."""
        angle = signed(parts.theta, turn.angles)
        if turn.biases and parts.bias is not None:
            angle = angle + signed(parts.bias, turn.biases)
        return angle

    def shared(self, u: Tensor, parts: Parts) -> list[Pair]:
        """Return cosine and sine of every upload that all outputs share; integer weights keep the phase of a large u.

        Args:
            u: [*batch, in], or anything that weights [in] broadcast to.
            parts: the tensors of the layer.
        """
        if self.integers is None:
            angles = [signed(parts.weight, terms) * u for terms in self.plan.uploads]  # type: ignore[arg-type]
            return [(angle.cos(), angle.sin()) for angle in angles]
        weights = [self.integer(terms) for terms in self.plan.uploads]
        pairs = multiples(u.cos(), u.sin(), set(weights))
        return [pairs[weight] for weight in weights]

    def integer(self, terms: Terms) -> int:
        """Return the weight of an upload, or of several that are one turn."""
        return sum(sign * self.integers[position] for position, sign in terms) if self.integers else 0


def signed(tensor: Tensor, terms: Terms) -> Tensor:
    """Return the signed sum of some of [..., n], [...]; zeros of none."""
    if not terms:
        return tensor.new_zeros(tensor.shape[:-1])
    (position, sign), *more = terms
    total = tensor[..., position] if sign > 0 else -tensor[..., position]
    for position, sign in more:
        total = torch.add(total, tensor[..., position], alpha=sign)
    return total
