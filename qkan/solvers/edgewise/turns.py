"""Circuits without noise as few turns in coordinate planes, signs and fixed gates gone.

A fixed gate permutes the components of the Bloch vector and flips signs: that is bookkeeping, and costs nothing. What
follows each other about one axis, such as an upload w u + b and the next trainable rotation of `pz`, is one turn by the
sum of the angles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from qkan._cached import cached
from qkan.ansatz import Operation

__all__ = ["PLANE", "Plan", "Terms", "Turn", "fixed", "planned"]

# A rotation turns the pair (a, b) of components into (a cos - b sin, a sin + b cos).
PLANE = {"RX": (1, 2), "RY": (2, 0), "RZ": (0, 1)}

Terms = tuple[tuple[int, int], ...]
"""(position, sign) of the angles, biases or uploads whose signed sum is meant."""

N = TypeVar("N")


class Turn(NamedTuple):
    """(a, b) -> (a cos t - b sin t, a sin t + b cos t) of the slots p and q."""

    p: int
    q: int
    angles: Terms
    biases: Terms
    uploads: Terms
    keep: tuple[bool, bool]
    """Whether the rest of the circuit reads the result in p, and in q."""

    @property
    def constant(self) -> bool:
        """Whether the angle is the same for all samples."""
        return not self.uploads


class Plan(NamedTuple):
    """Turns of three slots that start as (0, 0, 1), and where the Bloch vector is found in the end."""

    turns: tuple[Turn, ...]
    first: int
    """Number of turns in front of the first upload."""
    z: int
    """Slot of z."""
    sign: int
    """Of z in its slot."""
    uploads: tuple[Terms, ...]
    """The terms of every turn that uploads, in order."""


def fixed(name: str, v: Sequence[N]) -> list[N]:
    """Return what a fixed gate (H, X, Y, Z) makes of the components (x, y, z); each is its own inverse."""
    x, y, z = v
    if name == "H":
        return [z, -y, x]  # type: ignore[operator]  # tensors and numbers
    signs = {"X": (1, -1, -1), "Y": (-1, 1, -1), "Z": (-1, -1, 1)}[name]
    return [c if sign > 0 else -c for c, sign in zip(v, signs, strict=True)]  # type: ignore[operator]


@dataclass
class _Group:
    plane: tuple[int, int]
    angles: list[tuple[int, int]] = field(default_factory=list)
    uploads: list[tuple[int, int]] = field(default_factory=list)


@cached
def planned(circuit: tuple[Operation, ...], joined: bool, biased: bool, transverse: bool) -> Plan:
    """Return the plan of a circuit without channels.

    Args:
        circuit: the unrolled circuit.
        joined: whether uploads and constant angles about one axis are one turn, which pays where an upload differs
            from edge to edge; otherwise the constant ones come first.
        biased: whether the uploads have biases.
        transverse: whether x and y are wanted as well as z.
    """
    groups, frame = _grouped(circuit)
    turns = [turn for group in groups for turn in _turns(group, joined, biased)]
    z = abs(frame[2]) - 1
    alive = _alive(turns, frozenset((0, 1, 2) if transverse else (z,)))
    uploads = tuple(turn.uploads for turn in alive if turn.uploads)
    first = next((number for number, turn in enumerate(alive) if turn.uploads), len(alive))
    return Plan(alive, first, z, 1 if frame[2] > 0 else -1, uploads)


def _grouped(circuit: tuple[Operation, ...]) -> tuple[list[_Group], list[int]]:
    """Return the rotations, grouped by the plane of slots, and the final frame: component -> ± (slot + 1)."""
    groups: list[_Group] = []
    frame = [1, 2, 3]
    for op in circuit:
        if op.source == "fixed":
            frame = fixed(op.name, frame)
            continue
        a, b = (frame[component] for component in PLANE[op.name])
        (p, q), sign = (abs(a) - 1, abs(b) - 1), 1 if a * b > 0 else -1
        if (q - p) % 3 != 1:
            p, q, sign = q, p, -sign
        if not groups or groups[-1].plane != (p, q):
            groups.append(_Group((p, q)))
        terms = groups[-1].angles if op.source == "trainable" else groups[-1].uploads
        terms.append((op.position, sign))
    return groups, frame


def _turns(group: _Group, joined: bool, biased: bool) -> list[Turn]:
    angles, uploads = tuple(group.angles), tuple(group.uploads)
    biases = uploads if biased else ()
    if joined or not uploads:
        return [Turn(*group.plane, angles, biases, uploads, (True, True))]
    turning = [Turn(*group.plane, (), (), uploads, (True, True))]
    return [Turn(*group.plane, angles, biases, (), (True, True)), *turning] if angles or biases else turning


def _alive(turns: list[Turn], wanted: frozenset[int]) -> tuple[Turn, ...]:
    """Return the turns that have an effect on the wanted slots, and what of their results is read."""
    alive = []
    for turn in reversed(turns):
        keep = (turn.p in wanted, turn.q in wanted)
        if any(keep):
            alive.append(turn._replace(keep=keep))
            wanted |= {turn.p, turn.q}
    return tuple(reversed(alive))
