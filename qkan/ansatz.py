"""Single-qubit data re-uploading circuits as data: gates, the frozen `Ansatz`, and the named ansätze.

Conventions are PennyLane's and Qiskit's: RX(t) = exp(-i t X / 2), RY and RZ alike; the state starts in |0>; the
observable is Pauli Z. An edge with ``reps = R`` runs *prepare*, then R times *block*, then *final*. A gate is fixed, or
turns by a trainable angle, or by the encoding angle ``w_r u + b_r`` of the r-th upload; the weights w and biases b
belong to the layer, not to the circuit.

>>> print(named("pz"))
pz: |0>-H-[RZ(θ)-RY(θ)-RZ(wx+b)]^R-RZ(θ)-RY(θ)-<Z>
>>> named("pz").angles(reps=3), named("pz").harmonics((1, 3, 9))[-1]
(8, 13)
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from qkan._cached import cached
from qkan.noise import Channel, Noise, compose

__all__ = [
    "MIX", "PX", "PZ", "REAL", "RPZ", "RX", "RY", "RZ",
    "Ansatz", "ArccosMap", "Gate", "H", "Operation", "X", "Y", "Z", "named", "names",
]  # fmt: skip

Source = Literal["fixed", "trainable", "encoding", "channel"]
ArccosMap = Literal["tanh", "clamp", "none"]

_FIXED = ("H", "X", "Y", "Z")
_ROTATIONS = ("RX", "RY", "RZ")
_ARCCOS_MAPS = ("tanh", "clamp", "none")

# What a fixed gate G makes of a rotation pushed through it: G R_a(t) = R_a'(± t) G.
_PUSH = {
    "H": {"X": ("Z", 1), "Y": ("Y", -1), "Z": ("X", 1)},
    "X": {"X": ("X", 1), "Y": ("Y", -1), "Z": ("Z", -1)},
    "Y": {"X": ("X", -1), "Y": ("Y", 1), "Z": ("Z", -1)},
    "Z": {"X": ("X", -1), "Y": ("Y", -1), "Z": ("Z", 1)},
}


@dataclass(frozen=True)
class Gate:
    """One gate: fixed (H, X, Y, Z), or a rotation (RX, RY, RZ) by a trainable or by the encoding angle.

    Raises:
        ValueError: for an unknown gate name, or a source of the angle that does not fit the gate.
    """

    name: str
    source: Source = "fixed"

    def __post_init__(self) -> None:
        if self.name not in _FIXED + _ROTATIONS:
            raise ValueError(f"name must be one of {', '.join(_FIXED + _ROTATIONS)}; got {self.name!r}")
        allowed = ("fixed",) if self.name in _FIXED else ("trainable", "encoding")
        if self.source not in allowed:
            raise ValueError(f"source of {self.name} must be {' or '.join(map(repr, allowed))}; got {self.source!r}")


H, X, Y, Z = (Gate(name) for name in _FIXED)


def RX(source: Source = "trainable") -> Gate:
    """Return a rotation exp(-i t X / 2), t trainable or the encoding angle."""
    return Gate("RX", source)


def RY(source: Source = "trainable") -> Gate:
    """Return a rotation exp(-i t Y / 2), t trainable or the encoding angle."""
    return Gate("RY", source)


def RZ(source: Source = "trainable") -> Gate:
    """Return a rotation exp(-i t Z / 2), t trainable or the encoding angle."""
    return Gate("RZ", source)


class Operation(NamedTuple):
    """A gate of the unrolled circuit, or the channels behind one.

    ``position`` counts the angles or the uploads, in circuit order (-1 for the rest).
    """

    name: str
    source: Source
    position: int
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True)
class Ansatz:
    """An immutable description of one re-uploading circuit; hashable, without tensors and without weights.

    Args:
        name: what ``repr`` and drawings call it.
        prepare: gates before the first block.
        block: gates repeated ``reps`` times; they must hold at least one encoding gate.
        final: gates after the last block.
        arccos_map: None encodes u = x. A name encodes u = arccos m(x) with m the map to [-1, 1]: ``"tanh"``,
            ``"clamp"`` (gradient 0 at and beyond the ends), or ``"none"`` (the caller keeps x inside (-1, 1)).
        trainable_bias: whether the encoding biases b are trainable even where the encoding weights are fixed.
        noise: channels behind the gates, and readout error; None for none (as is a `Noise` of strengths 0).

    Raises:
        ValueError: if a part is no tuple of gates, encoding gates stand outside the block, or the block has none.
        TypeError: if noise is no `Noise`.

    Example:
        >>> mine = Ansatz("mine", prepare=(H,), block=(RY(), RZ("encoding")), final=(RY(),))
        >>> mine.angles(reps=2), mine.uploads(reps=2), mine.degree((1, 3))
        (3, 2, 4)
    """

    name: str
    prepare: tuple[Gate, ...] = ()
    block: tuple[Gate, ...] = ()
    final: tuple[Gate, ...] = ()
    arccos_map: ArccosMap | None = None
    trainable_bias: bool = False
    noise: Noise | None = None

    def __post_init__(self) -> None:
        for part in ("prepare", "block", "final"):
            gates = getattr(self, part)
            if not isinstance(gates, tuple) or not all(isinstance(gate, Gate) for gate in gates):
                raise ValueError(f"{part} must be a tuple of Gate; got {gates!r}")
        if _count(self.prepare + self.final, "encoding"):
            raise ValueError("encoding gates belong into block, which is repeated; got one in prepare or final")
        if not _count(self.block, "encoding"):
            raise ValueError("block must hold at least one encoding gate, such as RZ('encoding'); got none")
        if self.arccos_map not in (None, *_ARCCOS_MAPS):
            raise ValueError(f"arccos_map must be None or one of {', '.join(_ARCCOS_MAPS)}; got {self.arccos_map!r}")
        if not isinstance(self.noise, Noise | None):
            raise TypeError(f"noise must be a Noise or None; got {self.noise!r}")
        if self.noise is not None and self.noise.trivial:
            object.__setattr__(self, "noise", None)

    def with_noise(self, noise: Noise | None) -> "Ansatz":
        """Return the same circuit with this noise, or with none."""
        return _with_noise(self, noise)

    def angles(self, reps: int) -> int:
        """Return the number of trainable angles of one edge."""
        return _count(self.prepare + self.final, "trainable") + reps * _count(self.block, "trainable")

    def uploads(self, reps: int) -> int:
        """Return the number of encoding gates of one edge."""
        return reps * _count(self.block, "encoding")

    def reps_of(self, angles: int) -> int:
        """Return the ``reps`` that has this number of angles.

        Raises:
            ValueError: if no number of repetitions has it.
        """
        outside, inside = _count(self.prepare + self.final, "trainable"), _count(self.block, "trainable")
        reps, rest = divmod(angles - outside, inside) if inside else (0, 1)
        if rest or reps < 1:
            raise ValueError(f"theta must have {outside} + {inside} reps angles for ansatz {self.name!r}; got {angles}")
        return reps

    def circuit(self, reps: int) -> tuple[Operation, ...]:
        """Return the unrolled circuit, in the order in which the gates and channels act."""
        return _unroll(self, reps)

    def degree(self, weights: Sequence[int]) -> int:
        """Return the highest harmonic of <Z>(u) for integer weights, one per upload."""
        return self.harmonics(weights)[-1] if self.harmonics(weights) else 0

    def harmonics(self, weights: Sequence[int]) -> tuple[int, ...]:
        """Return the harmonics k >= 1 that <Z>(u) can hold for integer weights, one per upload, ascending.

        They are among the sums of s_r w_r with s_r in {-1, 0, 1} (Schuld, Sweke, Meyer 2021), less those that no angles
        reach: uploads with nothing between them but rotations about their own axis, or gates that turn it into itself,
        act as one (`real` has a single harmonic), and an upload whose axis <Z> does not see has no s_r = 0 (ternary
        `px` holds 5..13). Noise that does not commute with such rotations brings harmonics back.

        Raises:
            ValueError: for a number of weights that is no multiple of the uploads of a block.
        """
        return _harmonics(self, tuple(operator.index(w) for w in weights))

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain JSON values."""
        return asdict(self)

    def to_json(self) -> str | dict[str, Any]:
        """Return the name of an ansatz that the package ships, otherwise the description."""
        return self.name if self in _NAMED.values() else self.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Ansatz":
        """Return the ansatz that `to_dict` described.

        Raises:
            ValueError: for a damaged description.
            TypeError: likewise.

        >>> Ansatz.from_dict(named("px").to_dict()) == named("px")
        True
        """
        parts = {part: tuple(Gate(**gate) for gate in values.get(part, ())) for part in ("prepare", "block", "final")}
        noise = values.get("noise")
        return cls(**{**values, **parts, "noise": None if noise is None else Noise.from_dict(noise)})

    def draw(self, reps: int) -> str:
        """Return the unrolled circuit as text, every angle and upload numbered; ``~`` is a channel.

        >>> print(named("rpz").draw(reps=2))
        |0>-H-RY(θ0)-RZ(w0x+b0)-RY(θ1)-RZ(w1x+b1)-RY(θ2)-<Z>
        """
        gates = [_label(op.name, op.source, self._symbol, str(op.position)) for op in self.circuit(reps)]
        return "-".join(["|0>", *gates, "<Z>"])

    def __str__(self) -> str:
        prepare, block, final = (
            "-".join(_label(gate.name, gate.source, self._symbol) for gate in part)
            for part in (self.prepare, self.block, self.final)
        )
        noise = "" if self.noise is None else f"; {self.noise}"
        return f"{self.name}: " + "-".join(filter(None, ["|0>", prepare, f"[{block}]^R", final, "<Z>"])) + noise

    @property
    def _symbol(self) -> str:
        return "x" if self.arccos_map is None else "u"


def _count(gates: tuple[Gate, ...], source: Source) -> int:
    return sum(gate.source == source for gate in gates)


def _label(name: str, source: Source, symbol: str, index: str = "") -> str:
    angle = {"trainable": f"(θ{index})", "encoding": f"(w{index}{symbol}+b{index})"}.get(source, "")
    return name + angle


@cached
def _with_noise(ansatz: Ansatz, noise: Noise | None) -> Ansatz:
    return replace(ansatz, noise=noise)


@cached
def _unroll(ansatz: Ansatz, reps: int) -> tuple[Operation, ...]:
    counts: dict[Source, int] = {"trainable": 0, "encoding": 0}
    operations = []
    noise = ansatz.noise or Noise()
    for gate in ansatz.prepare + ansatz.block * reps + ansatz.final:
        index = counts.get(gate.source, -1)
        operations += [Operation(gate.name, gate.source, index), *_channel(noise.after_gate(gate.name, gate.source))]
        if gate.source != "fixed":
            counts[gate.source] += 1
    return (*operations, *_channel(noise.before_measurement()))


def _channel(channels: tuple[Channel, ...]) -> tuple[Operation, ...]:
    return (Operation("~", "channel", -1, channels),) if channels else ()


@cached
def _harmonics(ansatz: Ansatz, weights: tuple[int, ...]) -> tuple[int, ...]:
    """Follow the frequencies of each Bloch component through the circuit; those of z are the answer."""
    per_block = ansatz.uploads(1)
    reps, rest = divmod(len(weights), per_block)
    if rest or not reps:
        raise ValueError(f"weights must hold {per_block} integers per repetition; got {len(weights)}: {weights}")
    merged = _merged(ansatz.circuit(reps), weights)
    found: dict[str, set[int]] = {"X": set(), "Y": set(), "Z": {0}}
    for op in ansatz.circuit(reps):
        weight = merged[op.position] if op.source == "encoding" else 0
        # A weight of 0 does not make an upload vanish: its bias still turns.
        if op.name == "H":
            found["X"], found["Z"] = found["Z"], found["X"]
        elif op.source == "channel":
            found["Z"] = found["Z"] | ({0} if compose(op.channels).shift else set())
        elif op.source != "fixed" and weight is not None:
            a, b = {"X", "Y", "Z"} - {op.name[1]}
            found[a] = found[b] = {f + shift for f in found[a] | found[b] for shift in (-weight, weight)}
    return tuple(sorted(f for f in found["Z"] if f > 0))


def _merged(circuit: tuple[Operation, ...], weights: tuple[int, ...]) -> list[int | None]:
    """Move each upload into the next one about its axis, if nothing in between moves that axis; None is left behind."""
    merged: list[int | None] = list(weights)
    carried = 0  # signed weight of the last upload, as seen behind the gates since
    axis, last = "", 0
    for op in circuit:
        if op.source == "fixed" and axis:
            axis, sign = _PUSH[op.name][axis]
            carried *= sign
        elif op.source == "encoding":
            same = op.name[1] == axis
            if same:
                merged[last] = None
            carried = weights[op.position] + (carried if same else 0)
            axis, last, merged[op.position] = op.name[1], op.position, carried
        elif axis and not _commutes(op, axis):
            axis = ""
    return merged


def _commutes(op: Operation, axis: str) -> bool:
    """Return whether a trainable gate or a channel commutes with every rotation about an axis."""
    if op.source == "trainable":
        return op.name[1] == axis
    affine = compose(op.channels)
    a, b = ({"X": affine.x, "Y": affine.y, "Z": affine.z}[other] for other in {"X", "Y", "Z"} - {axis})
    return a == b and (not affine.shift or axis == "Z")


PZ = Ansatz("pz", (H,), (RZ(), RY(), RZ("encoding")), (RZ(), RY()))
RPZ = Ansatz("rpz", (H,), (RY(), RZ("encoding")), (RY(),), trainable_bias=True)
# The last RZ of px commutes with the observable: its angle is invisible to <Z> and gets no gradient.
PX = Ansatz("px", (H,), (RZ(), RX("encoding")), (RZ(),), arccos_map="tanh")
# All rotations of `real` share the Y axis (X and Z only flip it): one harmonic, of amplitude 1, whatever the angles.
REAL = Ansatz("real", (H,), (X, RY(), Z, RY("encoding")))
MIX = Ansatz("mix", (H,), (RZ(), RX(), RY("encoding")), (RZ(), RX()))

_NAMED = {ansatz.name: ansatz for ansatz in (PZ, RPZ, PX, REAL, MIX)}


def names() -> tuple[str, ...]:
    """Return the names of the ansätze that the package ships."""
    return tuple(_NAMED)


def named(ansatz: str | Ansatz) -> Ansatz:
    """Return the ansatz of this name, or the `Ansatz` given.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything that is neither a name nor an `Ansatz`.
    """
    if isinstance(ansatz, Ansatz):
        return ansatz
    if not isinstance(ansatz, str):
        raise TypeError(f"ansatz must be a name or an Ansatz; got {type(ansatz).__name__}")
    if ansatz not in _NAMED:
        raise ValueError(f"ansatz must be one of {', '.join(_NAMED)}, or an Ansatz of your own; got {ansatz!r}")
    return _NAMED[ansatz]
