"""Edgewise simulation with real Bloch vectors: any ansatz, any encoding, per-sample parameters included."""

from collections.abc import Sequence

import torch
from torch import Tensor

from qkan._cached import cached
from qkan.ansatz import Ansatz, Operation
from qkan.bases.arguments import argument
from qkan.bases.fourier import Pair, multiples
from qkan.noise import Affine, compose
from qkan.readout import Readout, expectation, safe_sqrt
from qkan.solvers.base import Solver, Weight, broadcast
from qkan.solvers.edgewise.layer import edgewise_layer
from qkan.solvers.edgewise.turns import PLANE, fixed

__all__ = ["PLANE", "Bloch", "Vector", "angle_pairs", "evolve", "fixed"]

Component = Tensor | float
Vector = tuple[Component, Component, Component]


class Bloch(Solver):
    """Real rotations of v = (x, y, z), one for every (batch, out, in)."""

    name = "bloch"

    def edges(
        self,
        ansatz: Ansatz,
        x: Tensor,
        theta: Tensor,
        weight: Weight,
        bias: Tensor | None = None,
        readout: Readout = expectation,
    ) -> Tensor:
        """Return the readout of every edge; ``theta`` may have batch dimensions in front."""
        u = argument(x, ansatz.arccos_map).unsqueeze(-2)  # [*batch, 1, in]
        circuit = ansatz.circuit(_uploads(weight) // ansatz.uploads(1))
        # Under noise x² + y² + z² < 1: readouts are functions of z alone.
        transverse = readout is not expectation and ansatz.noise is None
        v = evolve(circuit, angle_pairs(theta), _uploaded(u, weight, bias), transverse)
        shape = broadcast(u.shape, theta.shape[:-1])
        z = _broadcast(v[2], shape, theta)
        return readout(z, _broadcast(_length(v[0], v[1]), shape, theta) if transverse else None)

    def layer(
        self,
        ansatz: Ansatz,
        x: Tensor,
        theta: Tensor,
        weight: Weight,
        bias: Tensor | None,
        gain: Tensor,
        readout: Readout = expectation,
    ) -> Tensor:
        """Return the layer [*batch, out], in blocks of edges and samples where it can."""
        u = argument(x, ansatz.arccos_map)
        y = edgewise_layer(ansatz, u, theta, weight, bias, gain, readout)
        return super().layer(ansatz, x, theta, weight, bias, gain, readout) if y is None else y


def evolve(
    circuit: Sequence[Operation],
    angles: Sequence[Pair],
    uploads: Sequence[Pair],
    transverse: bool,
    before_channels: list[Vector] | None = None,
) -> Vector:
    """Return the final Bloch vector of the circuit, started in |0>.

    Args:
        circuit: the unrolled circuit.
        angles: cosine and sine of each trainable angle.
        uploads: cosine and sine of each encoding angle, broadcastable to the trainable ones.
        transverse: whether x and y are wanted; without it they are left unfinished.
        before_channels: a list that takes the vector in front of every channel.
    """
    vector: list[Component] = [0.0, 0.0, 1.0]
    for op, wanted in zip(circuit, _wanted(tuple(circuit), transverse), strict=True):
        if op.source == "fixed":
            vector = fixed(op.name, vector)
            continue
        if op.source == "channel":
            if before_channels is not None:
                before_channels.append((vector[0], vector[1], vector[2]))
            vector = _apply(compose(op.channels), vector)
            continue
        cos, sin = (angles if op.source == "trainable" else uploads)[op.position]
        i, j = PLANE[op.name]
        a, b = vector[i], vector[j]
        if i in wanted:
            vector[i] = _combine(a, cos, b, sin, -1)
        if j in wanted:
            vector[j] = _combine(a, sin, b, cos, 1)
    return vector[0], vector[1], vector[2]


def angle_pairs(theta: Tensor) -> list[Pair]:
    """Return (cos θ, sin θ) of each angle, from theta [..., angles]."""
    moved = theta.movedim(-1, 0).contiguous()
    return list(zip(moved.cos().unbind(0), moved.sin().unbind(0), strict=True))


def _shift(pair: Pair, angle: Tensor) -> Pair:
    """Return cosine and sine of t + angle from those of t."""
    (cos, sin), (c, s) = pair, (angle.cos(), angle.sin())
    return torch.addcmul(cos * c, sin, s, value=-1), torch.addcmul(sin * c, cos, s)


def _uploaded(u: Tensor, weight: Weight, bias: Tensor | None) -> list[Pair]:
    """Return (cos, sin) of every w_r u + b_r, u [*batch, 1, in]; integer weights keep the phase of a large u."""
    if isinstance(weight, Tensor):
        angles = [w * u for w in weight.unbind(-1)]
        if bias is not None:
            angles = [angle + b for angle, b in zip(angles, bias.unbind(-1), strict=True)]
        return [(angle.cos(), angle.sin()) for angle in angles]
    pairs = multiples(u.cos(), u.sin(), set(weight))
    if bias is None:
        return [pairs[w] for w in weight]
    return [_shift(pairs[w], b) for w, b in zip(weight, bias.unbind(-1), strict=True)]


def _uploads(weight: Weight) -> int:
    return weight.shape[-1] if isinstance(weight, Tensor) else len(weight)


def _length(x: Component, y: Component) -> Component:
    square = x * x + y * y
    return safe_sqrt(square) if isinstance(square, Tensor) else square**0.5


def _broadcast(component: Component, shape: torch.Size, like: Tensor) -> Tensor:
    if not isinstance(component, Tensor):
        return like.new_full(shape, component)
    return component.broadcast_to(broadcast(shape, component.shape))


@cached
def _wanted(circuit: tuple[Operation, ...], transverse: bool) -> tuple[frozenset[int], ...]:
    """Return, for each operation, the components of its result that the rest of the circuit reads."""
    wanted = frozenset((0, 1, 2) if transverse else (2,))
    plan = []
    for op in reversed(circuit):
        plan.append(wanted)
        if op.name == "H":
            wanted = frozenset({0: 2, 1: 1, 2: 0}[i] for i in wanted)
        elif op.source in ("trainable", "encoding") and wanted & set(PLANE[op.name]):
            wanted |= set(PLANE[op.name])
    return tuple(reversed(plan))


def _combine(a: Component, s: Tensor, b: Component, t: Tensor, sign: int) -> Component:
    """Return a s + sign b t; the constants 0 and ±1 of the first gates cost nothing."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.addcmul(a * s, b, t, value=sign)
    first, second = _times(a, s), _times(b, t if sign > 0 else -t)
    if isinstance(first, float) or isinstance(second, float):
        return second if isinstance(first, float) else first
    return first + second


def _times(a: Component, t: Tensor) -> Component:
    if isinstance(a, Tensor) or a not in (0, 1, -1):
        return a * t
    return 0.0 if a == 0 else t if a == 1 else -t


def _apply(affine: Affine, v: Sequence[Component]) -> list[Component]:
    z = v[2] * affine.z
    return [v[0] * affine.x, v[1] * affine.y, z + affine.shift if affine.shift else z]
