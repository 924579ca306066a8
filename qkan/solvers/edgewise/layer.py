"""Layers whose every edge turns by angles of its own: y_o = Σ_i gain_oi readout(z_oi), z for every (batch, out, in).

No basis is shared, so every z has to be computed; but [batch, out, in] never exists at once: `blocks` goes through it
block by block, forward and backward, and keeps nothing but the arguments.
"""

from functools import partial

import torch
from torch import Tensor

from qkan._derived import Rule, apply
from qkan.ansatz import Ansatz
from qkan.bases.fourier import Pair
from qkan.readout import Readout, amplitude, expectation, safe_sqrt
from qkan.solvers import moments
from qkan.solvers.base import Weight, broadcast
from qkan.solvers.edgewise import blocks, pulling
from qkan.solvers.edgewise.parts import Layer, Parts, signed
from qkan.solvers.edgewise.turns import Turn, planned

__all__ = ["edgewise_layer", "edgewise_moments"]

# So many rows the compiler writes to memory; fewer it would compute anew for every sample.
_WRITTEN = 9


def edgewise_layer(
    ansatz: Ansatz,
    u: Tensor,
    theta: Tensor,
    weight: Weight,
    bias: Tensor | None,
    gain: Tensor,
    readout: Readout,
) -> Tensor | None:
    """Return the layer [*batch, out], or None for what `qkan.solvers.bloch.evolve` has to do.

    That are noise, readouts of the user's, parameters per sample, and circuits whose uploads nobody sees.

    Args:
        ansatz: the circuit.
        u: [*batch, in], the argument that uploads multiply.
        theta: [out, in, angles], radians.
        weight: integers, [in, uploads] or [out, in, uploads].
        bias: [in, uploads], [out, in, uploads] or None.
        gain: [out, in].
        readout: pointwise map of the final state.
    """
    found = _prepared(ansatz, u, theta, weight, bias, gain, readout)
    return None if found is None else _applied(*found)


def edgewise_moments(
    ansatz: Ansatz,
    u: Tensor,
    theta: Tensor,
    weight: Weight,
    bias: Tensor | None,
    gain: Tensor,
    start: Tensor,
    readout: Readout,
) -> tuple[Tensor, Tensor] | None:
    """Return what `edgewise_layer` returns, and from the same blocks the variance of every readout over the batch.

    Args:
        ansatz: as in `edgewise_layer`, as all but start.
        u: [*batch, in].
        theta: [out, in, angles].
        weight: as there.
        bias: as there.
        gain: [out, in].
        start: readouts of one sample, [out, in], about which squares are summed.
        readout: pointwise map.

    Returns:
        [*batch, out] and [out, in]; the variance is without the gain. None where `edgewise_layer` returns None.
    """
    found = _prepared(ansatz, u, theta, weight, bias, gain, readout)
    if found is None:
        return None
    layer, (_, *rest) = found
    flat = u.reshape(-1, u.shape[-1])
    rule = Rule(
        partial(_plain_moments, layer), partial(blocks.run_moments, layer), partial(pulling.pull_moments, layer)
    )
    y, first, second = moments.split(apply(rule, flat, *rest, start), len(flat), gain)
    return y.view(*u.shape[:-1], y.shape[-1]), moments.variance(first, second, len(flat))


def _prepared(
    ansatz: Ansatz,
    u: Tensor,
    theta: Tensor,
    weight: Weight,
    bias: Tensor | None,
    gain: Tensor,
    readout: Readout,
) -> tuple[Layer, tuple[Tensor, ...]] | None:
    given = [weight] if isinstance(weight, Tensor) else []
    tensors = (u, theta, gain, *given, *([] if bias is None else [bias]))
    if ansatz.noise is not None or readout not in (expectation, amplitude) or not _alike(tensors):
        return None
    uploads = weight.shape[-1] if isinstance(weight, Tensor) else len(weight)
    circuit = ansatz.circuit(uploads // ansatz.uploads(1))
    joined = isinstance(weight, Tensor) and weight.dim() == 3
    plan = planned(circuit, joined, bias is not None, readout is amplitude)
    if not plan.uploads:
        return None
    return Layer(plan, None if isinstance(weight, Tensor) else weight, joined, bias is not None, readout), tensors


def _alike(tensors: tuple[Tensor, ...]) -> bool:
    """Return whether the tensors have the shapes of a layer, and one dtype and device."""
    u, theta, gain, *encoding = tensors
    shaped = theta.dim() == 3 and theta.shape[:2] == gain.shape and all(t.dim() <= 3 for t in encoding)
    return shaped and all(t.dtype == u.dtype and t.device == u.device for t in tensors)


def _applied(layer: Layer, tensors: tuple[Tensor, ...]) -> Tensor:
    u, *rest = tensors
    rule = Rule(partial(_plain, layer), partial(blocks.run, layer), partial(pulling.pull, layer))
    y = apply(rule, u.reshape(-1, u.shape[-1]), *rest)
    return y.view(*u.shape[:-1], y.shape[-1])


def _plain(layer: Layer, *tensors: Tensor) -> Tensor:
    """Return the layer by differentiable operations, [batch, out]; the compiler makes few loops of them."""
    return (_values(layer, *tensors) * layer.parts(tensors).gain).sum(-1)


def _plain_moments(layer: Layer, *tensors: Tensor) -> Tensor:
    *given, start = tensors
    return moments.joined(_values(layer, *given), layer.parts(tuple(given)).gain, start)


def _values(layer: Layer, *tensors: Tensor) -> Tensor:
    """Return the readout of every edge, [batch, out, in]."""
    parts = layer.parts(tensors)
    constants, vector = _constants(layer, parts)
    shared = iter([] if layer.joined else layer.shared(parts.u, parts))
    u = parts.u.unsqueeze(-2)  # [batch, 1, in]
    for turn, (first, second) in zip(layer.plan.turns[layer.plan.first :], constants, strict=True):
        if turn.constant:
            pair = first, second
        elif layer.joined:
            angle = torch.addcmul(first, second, u)
            pair = angle.cos(), angle.sin()
        else:
            cos, sin = next(shared)
            pair = cos.unsqueeze(-2), sin.unsqueeze(-2)
        _turn(vector, turn, pair)
    return _read(layer, vector)


def _constants(layer: Layer, parts: Parts) -> tuple[list[Pair], list[Tensor]]:
    """Return what every turn after the first ones needs [out, in], and the vector in front of them."""
    plan = layer.plan
    rows: list[Tensor] = []
    vector = _start(parts.theta)
    for turn in plan.turns[: plan.first]:
        angle = layer.constant(turn, parts)
        _turn(vector, turn, (angle.cos(), angle.sin()))
    for turn in plan.turns[plan.first :]:
        angle = layer.constant(turn, parts)
        if turn.constant:
            rows += [angle.cos(), angle.sin()]
        else:
            rows += [angle, signed(parts.weight, turn.uploads) if layer.joined and parts.weight is not None else angle]
    *pairs, x, y, z = _written([*rows, *vector])
    return list(zip(pairs[::2], pairs[1::2], strict=True)), [x, y, z]


def _start(theta: Tensor) -> list[Tensor]:
    zero = theta.new_zeros(theta.shape[:-1])
    return [zero, zero, zero + 1]


def _turn(vector: list[Tensor], turn: Turn, pair: Pair) -> None:
    (cos, sin), a, b = pair, vector[turn.p], vector[turn.q]
    if turn.keep[0]:
        vector[turn.p] = torch.addcmul(a * cos, b, sin, value=-1)
    if turn.keep[1]:
        vector[turn.q] = torch.addcmul(b * cos, a, sin)


def _read(layer: Layer, vector: list[Tensor]) -> Tensor:
    z = vector[layer.plan.z]
    z = z if layer.plan.sign > 0 else -z
    if layer.readout is expectation:
        return z
    x, y = (component for slot, component in enumerate(vector) if slot != layer.plan.z)
    return layer.readout(z, safe_sqrt(torch.addcmul(x * x, y, y)))


def _written(rows: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the rows, computed once."""
    padded = (rows * _WRITTEN)[: max(len(rows), _WRITTEN)]
    shape = broadcast(*(row.shape for row in rows))
    return torch.stack([row.expand(shape) for row in padded]).unbind(0)[: len(rows)]
