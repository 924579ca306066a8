"""What a circuit without channels does to the amplitudes of the state, as polynomials of the input.

In a frame in which all uploads turn about Z, an upload by t multiplies β, of the state (α, β), by e^{it} (times a
global phase, which no observable sees): it only renames the powers of e^{iu}. So α and β are polynomials whose
coefficients change in the trainable gates alone. Fixed gates only change the frame.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qkan._cached import cached
from qkan.ansatz import Operation
from qkan.solvers.edgewise.turns import fixed

__all__ = ["Plan", "Turn", "plan"]

Frame = list[int]  # ± (1 + axis of the frame) for every axis of the circuit
Power = tuple[int, ...]  # of e^{iu}; or of every e^{i t_r}, 0 or 1
Powers = tuple[Power, ...]
Number = tuple[float, float]  # real and imaginary part


@dataclass(frozen=True)
class Turn:
    """A trainable gate. About Z it multiplies β by a phase; about X or Y it mixes both, and their rows are aligned.

    Attributes:
        axis: ``"X"``, ``"Y"`` or ``"Z"``.
        angle: which angle.
        rows: of both amplitudes behind it.
        alpha: where the rows that α had are among them.
        beta: where those of β are.
    """

    axis: str
    angle: int
    rows: int
    alpha: int
    beta: int


@dataclass(frozen=True)
class Plan:
    """The recursion of a circuit.

    Attributes:
        start: α and β of the initial state.
        turns: the trainable gates that <Z> feels, in order.
        scales: of every angle: the sign of its gate in the frame, halved about X and Y (a state turns by half the
            angle), 0 where <Z> does not feel it.
        quarters: how many angles of π/2, which change the frame, follow those of the circuit.
        powers: of e^{iu}, one per row of β at the end.
        sign: <Z> = sign (1 - 2 |β|²).
    """

    start: tuple[Number, Number]
    turns: tuple[Turn, ...]
    scales: tuple[float, ...]
    quarters: int
    powers: Powers
    sign: int


@cached
def plan(circuit: tuple[Operation, ...], weights: tuple[int, ...] | None, angles: int) -> Plan:
    """Return the recursion of a circuit with the fewest operations.

    Args:
        circuit: the unrolled circuit, without channels.
        weights: integers, one per upload, for powers of e^{iu}; None for powers of every e^{i t_r}.
        angles: how many angles it has.
    """
    uploads = sum(op.source == "encoding" for op in circuit)
    steps = _multiples(weights) if weights is not None else _bits(uploads)
    felt = _felt(_felt(circuit)[::-1])[::-1]
    return min((_follow(felt, frame, steps, angles) for frame in _frames()), key=_cost)


def _felt(circuit: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Return the circuit without the first rotations about the axis along which the state |0> still points.

    Read backwards, that is without the last rotations, which the observable Z does not feel.
    """
    axis, kept = [0, 0, 1], list(circuit)
    for op in circuit:
        if op.source == "fixed":
            axis = fixed(op.name, axis)
        elif axis["XYZ".index(op.name[1])]:
            kept.remove(op)
        else:
            break
    return tuple(kept)


def _cost(one: Plan) -> tuple[int, ...]:
    """Return what makes a frame dear: turns of its own, turns about X, which take more operations; minus signs last."""
    axes = [turn.axis for turn in one.turns]
    return one.quarters, axes.count("X"), sum(scale < 0 for scale in one.scales)


def _follow(circuit: tuple[Operation, ...], frame: Frame, steps: Powers, angles: int) -> Plan:
    try:
        return _Builder(frame, steps, angles, _sparse).follow(circuit)
    except _Scattered:
        return _Builder(frame, steps, angles, _dense).follow(circuit)


def _multiples(weights: tuple[int, ...]) -> Powers:
    return tuple((w,) for w in weights)


def _bits(uploads: int) -> Powers:
    return tuple(tuple(int(r == s) for s in range(uploads)) for r in range(uploads))


def _frames() -> Iterator[Frame]:
    """Yield the 24 rotations that map axes to axes."""
    for order in itertools.permutations((1, 2, 3)):
        odd = sum(a > b for a, b in itertools.combinations(order, 2)) % 2
        for signs in itertools.product((1, -1), repeat=3):
            if math.prod(signs) == (-1) ** odd:
                yield [sign * axis for sign, axis in zip(signs, order, strict=True)]


# What becomes of the axes of the frame in a turn by π/2 about Y (x to -z, z to x), and about X (y to z, z to -y).
_QUARTER = {"Y": {1: -3, 2: 2, 3: 1}, "X": {1: 1, 2: 3, 3: -2}}


def _state(axis: str, sign: int) -> tuple[Number, Number]:
    """Return α and β of the state that points along an axis."""
    half = 0.5**0.5  # written out here: with dynamic shapes the compiler takes floats among globals for variables
    if axis == "Z":
        return ((1.0, 0.0), (0.0, 0.0)) if sign > 0 else ((0.0, 0.0), (1.0, 0.0))
    return (half, 0.0), ((half * sign, 0.0) if axis == "X" else (0.0, half * sign))


Align = Callable[[Powers, Powers], tuple[Powers, int, int]]


class _Scattered(Exception):
    """The powers of α or β are no slice of those of both."""


class _Builder:
    """Follows a circuit gate by gate, in a frame."""

    def __init__(self, frame: Frame, steps: Powers, angles: int, align: Align) -> None:
        self.frame, self.steps, self.angles, self.align = frame, steps, angles, align
        self.quarters = 0
        self.scales = [0.0] * angles
        self.turns: list[Turn] = []
        self.start = _state(*self._image("Z"))
        zero = (0,) * (len(steps[0]) if steps else 1)
        self.powers: tuple[Powers, Powers] = (zero,), (zero,)  # of α and of β

    def follow(self, circuit: tuple[Operation, ...]) -> Plan:
        for op in circuit:
            if op.source == "fixed":
                self.frame = fixed(op.name, self.frame)
            elif op.source == "trainable":
                self._turn(op)
            else:
                self._upload(op)
        sign = self._face_z("Z")
        return Plan(self.start, tuple(self.turns), tuple(self.scales), self.quarters, self.powers[1], sign)

    def _turn(self, op: Operation) -> None:
        axis, sign = self._image(op.name[1])
        if axis == "Z":
            self.scales[op.position] = float(sign)
            self.turns.append(Turn(axis, op.position, len(self.powers[1]), 0, 0))
        else:
            self.scales[op.position] = sign / 2
            self._mix(axis, op.position)

    def _mix(self, axis: str, angle: int) -> None:
        together, alpha, beta = self.align(*self.powers)
        self.turns.append(Turn(axis, angle, len(together), alpha, beta))
        self.powers = together, together

    def _upload(self, op: Operation) -> None:
        sign = self._face_z(op.name[1])
        step = tuple(sign * power for power in self.steps[op.position])
        # A negative one as a phase of α instead of β: powers stay at 0 and above.
        which = int(min(step) >= 0)
        powers = list(self.powers)
        powers[which] = tuple(tuple(p + abs(s) for p, s in zip(power, step, strict=True)) for power in powers[which])
        self.powers = powers[0], powers[1]

    def _face_z(self, name: str) -> int:
        """Change the frame so that this axis of the circuit is ±Z, and return the sign."""
        axis, _ = self._image(name)
        if axis != "Z":
            about = "Y" if axis == "X" else "X"
            self.frame = [_QUARTER[about][abs(one)] * (1 if one > 0 else -1) for one in self.frame]
            self._mix(about, self.angles + self.quarters)
            self.scales.append(0.5)
            self.quarters += 1
        return self._image(name)[1]

    def _image(self, axis: str) -> tuple[str, int]:
        """Return the axis and the sign that an axis of the circuit has in the frame."""
        image = self.frame["XYZ".index(axis)]
        return "XYZ"[abs(image) - 1], 1 if image > 0 else -1


def _sparse(alpha: Powers, beta: Powers) -> tuple[Powers, int, int]:
    """Return powers that hold those of both as slices, and where these slices begin."""
    for first, second, swapped in ((alpha, beta, False), (beta, alpha, True)):
        new = tuple(power for power in second if power not in first)
        together = first + new
        begin = len(together) - len(second)
        if together[begin:] == second:
            return (together, begin, 0) if swapped else (together, 0, begin)
    raise _Scattered


def _dense(alpha: Powers, beta: Powers) -> tuple[Powers, int, int]:
    """Return all powers from the lowest to the highest of two ranges, and where these begin."""
    low, high = min(alpha[0][0], beta[0][0]), max(alpha[-1][0], beta[-1][0])
    return tuple((power,) for power in range(low, high + 1)), alpha[0][0] - low, beta[0][0] - low
