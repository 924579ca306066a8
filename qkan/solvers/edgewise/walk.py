"""A vector of three components through turns, and the adjoint back: on numbers per edge, or on blocks of samples.

With (a, b) the components that a turn reads and (ā, b̄) their adjoints, the gradient of its angle is b̄ a - ā b.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from qkan.bases.fourier import Pair
from qkan.solvers.edgewise.turns import Turn

__all__ = ["Adjoint", "Fresh", "Memory", "Pool", "advance", "combined", "retreat"]

Adjoint = list[Tensor | None]
"""Of each component; None is 0."""


class Memory(Protocol):
    """Where results of one shape [out, in, samples] go."""

    samples: int

    def take(self) -> Tensor | None:
        """Return room for a result; None where torch is to find it."""

    def give(self, *tensors: Tensor | None) -> None:
        """Take back what is read no more; what came from elsewhere is left alone."""


class Fresh:
    """Fresh memory, for what is small."""

    samples = 1

    def take(self) -> None:
        """Return None."""

    def give(self, *tensors: Tensor | None) -> None:
        """Do nothing."""


class Pool:
    """Memory for as many results as a block has at a time."""

    def __init__(self, memory: Tensor) -> None:
        self.samples = memory.shape[-1]
        self.free = [*memory.unbind(0)]
        self.owned = {id(tensor) for tensor in self.free}
        self.all = tuple(self.free)  # keeps the ids

    def take(self) -> Tensor:
        """Return room for a result."""
        return self.free.pop()

    def give(self, *tensors: Tensor | None) -> None:
        """Take back what is read no more."""
        self.free += [tensor for tensor in tensors if tensor is not None and id(tensor) in self.owned]


def combined(
    memory: Memory, a: Tensor | None, s: Tensor, b: Tensor | None, t: Tensor, sign: int, out: Tensor | None = None
) -> Tensor:
    """Return a s + sign b t, in `out` or where the memory has room; None is 0."""
    out = memory.take() if out is None else out
    if a is None or b is None:
        return _product((a, s, 1) if b is None else (b, t, sign), out)
    if memory.samples in (a.shape[-1], s.shape[-1]):
        return torch.mul(a, s, out=out).addcmul_(b, t, value=sign)
    small, wide = a * s, torch.mul(b, t, out=out)
    return wide.add_(small) if sign > 0 else torch.sub(small, wide, out=out)


def _product(term: tuple[Tensor | None, Tensor, int], out: Tensor | None) -> Tensor:
    a, s, sign = term
    if a is None:
        return torch.zeros_like(s)
    if sign < 0:
        a, s = (-a, s) if a.numel() < s.numel() else (a, -s)
    return torch.mul(a, s, out=out)


def advance(
    memory: Memory,
    turns: Sequence[Turn],
    pairs: Sequence[Pair],
    vector: Sequence[Tensor],
    kept: list[Pair] | None = None,
) -> list[Tensor]:
    """Return the vector behind some turns; kept takes the components that each of them reads."""
    vector = list(vector)
    for turn, (cos, sin) in zip(turns, pairs, strict=True):
        a, b = vector[turn.p], vector[turn.q]
        if turn.keep[0]:
            vector[turn.p] = combined(memory, a, cos, b, sin, -1)
        if turn.keep[1]:
            vector[turn.q] = combined(memory, b, cos, a, sin, 1)
        if kept is None:
            memory.give(a, b)
        else:
            kept.append((a, b))
    return vector


def retreat(
    memory: Memory,
    turns: Sequence[Turn],
    pairs: Sequence[Pair],
    kept: Sequence[Pair],
    adjoint: Adjoint,
    places: Sequence[Tensor | None],
) -> Iterator[tuple[int, Tensor]]:
    """Take the adjoint back in front of some turns; yields the number of each turn and the gradients of its angle.

    The gradients last until the next turn, unless they have a place of their own.
    """
    for number in reversed(range(len(turns))):
        turn, (cos, sin), (a, b) = turns[number], pairs[number], kept[number]
        p, q = adjoint[turn.p], adjoint[turn.q]
        a_bar, b_bar = combined(memory, p, cos, q, sin, 1), combined(memory, q, cos, p, sin, -1)
        memory.give(p, q)
        adjoint[turn.p], adjoint[turn.q] = a_bar, b_bar
        slope = combined(memory, b_bar, a, a_bar, b, -1, places[number])
        yield number, slope
        memory.give(slope)
