"""Export for quantum computers: an edge or a layer as an OpenQASM 3 program or as a PennyLane quantum function.

Both hold the trained angles as constants in double precision and compute <Z> of every edge. What a layer makes of it
(gains, base branch, biases) stays classical; the comments of an OpenQASM program say how, with the numbers.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from qkan.ansatz import ArccosMap, Operation
from qkan.bases.arguments import argument
from qkan.layers.linear import QKANLinear
from qkan.precision import compute_dtype
from qkan.solvers.pennylane import apply, require_pennylane

__all__ = ["openqasm", "quantum_function"]

_MAPS: dict[ArccosMap, str] = {
    "tanh": "arccos(tanh(x_i))",
    "clamp": "arccos(min(max(x_i, -1), 1))",
    "none": "arccos(x_i)",
}


class _Edge(NamedTuple):
    """The numbers of one edge; gain and base_weight contain the mask."""

    output: int
    input: int
    theta: Sequence[float]
    weight: Sequence[float]
    bias: Sequence[float]
    mask: float
    gain: float
    base_weight: float


def openqasm(layer: QKANLinear, x: Any = None, *, edge: tuple[int, int] | None = None) -> str:
    """Return an OpenQASM 3 program that measures all edges of a layer, or one of them.

    A layer has one qubit and one bit per edge, in the order o * in + i; edges whose mask is 0 are left out. So is
    simulated noise: a device brings its own. Comments at the top say which qubit is which edge, and what is to be
    computed classically from the bits. Numbers are written with all of their digits.

    Args:
        layer: one layer, such as ``model.layers[0]``; its readout must be ``"expectation"``.
        x: [in], or with an edge the number x_i: all angles are numbers. With None they depend on ``input float[64]
            x_i;``, or on u_i, to be computed classically, where the ansatz encodes u = arccos m(x). (The names x, u1,
            u2 and u3 belong to gates of stdgates.inc.)
        edge: (o, i), the edge from input i to output o; None for the layer.

    Raises:
        TypeError: if layer is no `QKANLinear`, edge no pair of integers, or x holds no numbers.
        ValueError: for an amplitude readout, an edge out of range, an x of another shape, numbers that are not finite,
            or a layer that has no edges left.

    Example:
        >>> from qkan import QKANLinear
        >>> layer = QKANLinear(3, 2, ansatz="rpz", reps=2, encoding="ternary", init=0.0)
        >>> print(openqasm(layer, edge=(1, 2)), end="")
        // Edge (1, 2), from input 2 to output 1, of a layer with 3 inputs and 2 outputs.
        // rpz: |0>-H-[RY(theta)-RZ(wx+b)]^R-RY(theta)-<Z> with R = 2
        // q[0], c[0]: edge (1, 2), gain_1_2 = 1.0
        // Classically: z_o_i = p0 - p1, the mean of 1 - 2 c over the shots, c the bit of edge (o, i); then
        // y_o = sum_i gain_o_i z_o_i
        OPENQASM 3.0;
        include "stdgates.inc";
        input float[64] x_2;
        qubit[1] q;
        bit[1] c;
        reset q;
        h q[0];
        ry(0.0) q[0];
        rz(x_2) q[0];
        ry(0.0) q[0];
        rz(3 * x_2) q[0];
        ry(0.0) q[0];
        c = measure q;
        >>> [line for line in openqasm(layer, 0.5, edge=(1, 2)).splitlines() if line.startswith("rz")]
        ['rz(0.5) q[0];', 'rz(1.5) q[0];']
    """
    edge = _checked(layer, edge)
    edges = [e for e in _edges(layer, edge) if e.mask or edge]
    if not edges:
        raise ValueError("layer must have an edge whose mask is not 0; got none; name a masked one with edge=(o, i)")
    circuit = layer.options.circuit.with_noise(None).circuit(layer.options.reps)
    given = None if x is None else _given(layer, x, edge)
    u = _encoded(layer, edges, given)
    lines = [
        *(_comment(text) for text in _comments(layer, edges, edge, given)),
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        *(f"input float[64] {symbol};" for symbol in u.values() if isinstance(symbol, str)),
        f"qubit[{len(edges)}] q;",
        f"bit[{len(edges)}] c;",
        "reset q;",  # OpenQASM leaves the first state of a qubit undefined
        *(gate for qubit, e in enumerate(edges) for gate in _gates(circuit, e, u[e.input], qubit)),
        "c = measure q;",
    ]
    return "\n".join(lines) + "\n"


def quantum_function(
    layer: QKANLinear, *, edge: tuple[int, int] | None = None, noise: bool = False
) -> Callable[[Any], Any]:
    """Return a PennyLane quantum function f(x), for a ``qml.QNode``, of all edges of a layer, or of one of them.

    f returns <Z> of the edge, on wire 0, or the list of <Z> of every edge, on the wires o * in + i: that is what
    ``layer.edges(x)`` holds, without mask, scale and base branch. x stays differentiable, the trained angles are
    constants (to train them, build the layer with ``solver="pennylane"``).

    Args:
        layer: one layer, such as ``model.layers[0]``; its readout must be ``"expectation"``.
        edge: (o, i), the edge from input i to output o; None for the layer.
        noise: whether the layer's noise is part of the circuit, which takes a device like ``"default.mixed"``.

    Returns:
        f, of x [in] or [batch, in], or with an edge of a number or [batch]; of any interface of PennyLane.

    Raises:
        TypeError: if layer is no `QKANLinear`, edge no pair of integers, or noise no bool.
        ValueError: for an amplitude readout, an edge out of range, angles that are not finite, and by f for an x of
            another shape.
        ImportError: without PennyLane.

    Example:
        >>> import pennylane as qml
        >>> from qkan import QKANLinear
        >>> layer, x = QKANLinear(3, 2, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        >>> node = qml.QNode(quantum_function(layer, edge=(1, 2)), qml.device("default.qubit"))
        >>> torch.allclose(node(x[2]), layer.edges(x)[1, 2])
        True
    """
    edge = _checked(layer, edge)
    qml = require_pennylane("quantum_function")
    if not isinstance(noise, bool):
        raise TypeError(f"noise must be True or False; got {noise!r}; its strengths are those of the layer")
    edges, options = _edges(layer, edge), layer.options
    circuit = (options.circuit if noise else options.circuit.with_noise(None)).circuit(options.reps)

    def function(x: Any) -> Any:
        x = qml.math.stack(x) if isinstance(x, list | tuple) else x
        _check_shape(qml.math.shape(x), layer.in_features, edge)
        u = _mapped(qml.math, x, options.circuit.arccos_map)
        for wire, e in enumerate(edges):
            apply(circuit, _angles(circuit, e, u[..., e.input] if edge is None else u), wire)
        values = [qml.expval(qml.PauliZ(wire)) for wire in range(len(edges))]
        return values if edge is None else values[0]

    return function


def _checked(layer: Any, edge: Any) -> tuple[int, int] | None:
    """Return the edge as a pair of integers, or None for the layer."""
    if not isinstance(layer, QKANLinear):
        kind = type(layer).__name__
        raise TypeError(f"layer must be a QKANLinear; got {kind}; give one layer, such as model.layers[0]")
    if layer.options.readout != "expectation":
        raise ValueError(
            f"layer must have readout='expectation'; got {layer.options.readout!r}, which no device measures; "
            "build and train it with readout='expectation'"
        )
    if edge is None:
        return None
    try:
        o, i = map(operator.index, edge)
    except (TypeError, ValueError):
        raise TypeError(f"edge must be two integers (o, i), output and input, or None; got {edge!r}") from None
    if not (0 <= o < layer.out_features and 0 <= i < layer.in_features):
        most = (layer.out_features - 1, layer.in_features - 1)
        raise ValueError(f"edge must be (o, i), output and input, between (0, 0) and {most}; got {(o, i)}")
    return o, i


def _edges(layer: QKANLinear, edge: tuple[int, int] | None) -> list[_Edge]:
    """Return the edges of a layer in the order o * in + i, or the one asked for."""
    n_out, n_in = layer.out_features, layer.in_features
    given, bias = layer.encoding(layer.theta.dtype)
    weight = given if isinstance(given, Tensor) else torch.tensor(given)  # integers stay integers
    columns = [
        _listed("theta", layer.theta),
        _listed("encoding_weight", weight.expand(n_out, n_in, -1)),
        _listed("encoding_bias", (torch.zeros_like(weight) if bias is None else bias).expand(n_out, n_in, -1)),
        _listed("mask", layer.mask),
        _listed("scale", layer.gain(compute_dtype(layer.theta.dtype))),
        _listed("base_weight", layer.mask * (0 if layer.base_weight is None else layer.base_weight)),
    ]
    return [_Edge(o, i, *(column[o][i] for column in columns)) for o, i in ([edge] if edge else _pairs(layer))]


def _listed(name: str, tensor: Tensor) -> Any:
    """Return a tensor as nested lists of integers or of numbers in double precision."""
    if not tensor.isfinite().all():
        raise ValueError(f"{name} of layer must be finite; got inf or nan; load or train finite parameters")
    return (tensor.detach().to("cpu", torch.float64) if tensor.is_floating_point() else tensor).tolist()


def _given(layer: QKANLinear, x: Any, edge: tuple[int, int] | None) -> dict[int, float]:
    """Return the numbers that x holds, by input."""
    try:
        values = torch.as_tensor(x, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"x must be numbers, as a float, an array or a tensor; got {x!r}; give for example 0.5"
        ) from None
    if edge is None and values.shape != (layer.in_features,):
        raise ValueError(
            f"x must be [{layer.in_features}], a number per input; got shape {tuple(values.shape)}; give one sample"
        )
    if edge is not None and values.dim():
        raise ValueError(
            f"x must be one number, the input {edge[1]} of the edge; got shape {tuple(values.shape)}; give x[{edge[1]}]"
        )
    return dict(zip(range(layer.in_features) if edge is None else edge[1:], values.reshape(-1).tolist(), strict=True))


def _encoded(layer: QKANLinear, edges: list[_Edge], given: Mapping[int, float] | None) -> Mapping[int, str | float]:
    """Return what is encoded, by input: names, or the numbers u."""
    kind = layer.options.circuit.arccos_map
    inputs = sorted({e.input for e in edges})
    if given is None:
        return {i: f"{'x' if kind is None else 'u'}_{i}" for i in inputs}
    u = {i: argument(torch.tensor(given[i], dtype=torch.float64), kind).item() for i in inputs}
    for i in inputs:
        if not math.isfinite(u[i]):
            domain = " in [-1, 1], or an ansatz with arccos_map='tanh'" if kind == "none" else ""
            raise ValueError(f"x must hold finite numbers; got {given[i]} for input {i}; give numbers{domain}")
    return u


def _angles(circuit: Sequence[Operation], edge: _Edge, u: Any) -> list[Any]:
    """Return the angles of the rotations in circuit order: numbers, tensors or text, as u is."""
    angles: list[Any] = []
    for op in circuit:
        if op.source == "trainable":
            angles.append(edge.theta[op.position])
        elif op.source == "encoding":
            angles.append(_turn(edge.weight[op.position], u, edge.bias[op.position]))
    return angles


def _turn(weight: float, u: Any, bias: float) -> Any:
    if not isinstance(u, str):
        return weight * u + bias
    product = u if weight == 1 else f"{weight} * {u}"
    return f"{product} {'-' if bias < 0 else '+'} {abs(bias)}" if bias else product


def _gates(circuit: Sequence[Operation], edge: _Edge, u: str | float, qubit: int) -> Iterator[str]:
    angles = iter(_angles(circuit, edge, u))
    for op in circuit:
        angle = "" if op.source == "fixed" else f"({next(angles)})"
        yield f"{op.name.lower()}{angle} q[{qubit}];"


def _comments(
    layer: QKANLinear, edges: list[_Edge], edge: tuple[int, int] | None, given: Mapping[int, float] | None
) -> Iterator[str]:
    options, ansatz = layer.options, layer.options.circuit
    o, i = ("o", "i") if edge is None else edge
    widths = f"{layer.in_features} inputs and {layer.out_features} outputs"
    yield f"Edge{'s' if edge is None else ''} ({o}, {i}), from input {i} to output {o}, of a layer with {widths}."
    yield f"{ansatz.with_noise(None)} with R = {options.reps}"
    if ansatz.arccos_map is not None:
        yield f"u_i = {_MAPS[ansatz.arccos_map]}, computed classically"
    if given is not None:
        yield "For " + ", ".join(f"x_{i} = {value}" for i, value in given.items())
    yield from _left_out(layer, edges, edge)
    for qubit, e in enumerate(edges):
        base = "" if layer.base_weight is None else f", base_{e.output}_{e.input} = {e.base_weight}"
        yield f"q[{qubit}], c[{qubit}]: edge {(e.output, e.input)}, gain_{e.output}_{e.input} = {e.gain}{base}"
    yield from _sum(layer)


def _left_out(layer: QKANLinear, edges: list[_Edge], edge: tuple[int, int] | None) -> Iterator[str]:
    kept = {(e.output, e.input) for e in edges}
    masked = [] if edge else [pair for pair in _pairs(layer) if pair not in kept]
    if masked:
        yield f"Left out, the mask being 0: {', '.join(map(str, masked))}"
    if layer.options.noise is not None:
        yield f"Left out: the simulated {layer.options.noise}; a device has its own."


def _sum(layer: QKANLinear) -> Iterator[str]:
    """Yield what the layer makes of its edges."""
    bias = "" if layer.bias is None else "bias_o + "
    term = "gain_o_i z_o_i"
    if layer.base_weight is not None:
        term = f"({term} + base_o_i sigma(x_i))"
        given = layer.options.base_activation
        yield f"sigma = {getattr(given, '__qualname__', repr(given))}"
    if layer.bias is not None:
        yield ", ".join(f"bias_{o} = {value}" for o, value in enumerate(_listed("bias", layer.bias)))
    yield "Classically: z_o_i = p0 - p1, the mean of 1 - 2 c over the shots, c the bit of edge (o, i); then"
    yield f"y_o = {bias}sum_i {term}"


def _comment(text: str) -> str:
    """Return one line of ASCII, whatever a user calls an ansatz."""
    plain = " ".join(text.split()).replace("θ", "theta")
    return f"// {plain.encode('ascii', 'backslashreplace').decode()}"


def _pairs(layer: QKANLinear) -> list[tuple[int, int]]:
    return [(o, i) for o in range(layer.out_features) for i in range(layer.in_features)]


def _check_shape(shape: Sequence[int], n_in: int, edge: tuple[int, int] | None) -> None:
    got = tuple(shape)
    if edge is None and (len(got) not in (1, 2) or got[-1] != n_in):
        raise ValueError(
            f"x must be [{n_in}] or [batch, {n_in}]; got shape {got}; reshape it, or export one edge=(o, i)"
        )
    if edge is not None and len(got) > 1:
        i = edge[1]
        raise ValueError(f"x must be a number or [batch], the input {i} of the edge; got shape {got}; give x[..., {i}]")


def _mapped(numpy: Any, x: Any, arccos_map: ArccosMap | None) -> Any:
    """Return u, as `argument` does, in the framework of x."""
    if arccos_map is None:
        return x
    if arccos_map == "tanh":
        return math.pi / 2 - 2 * numpy.arctan(numpy.tanh(x / 2))
    if arccos_map == "none":
        return numpy.arccos(x)
    outside = numpy.abs(x) >= 1  # not for NaN, which goes through arccos
    ends = math.pi / 2 * (1 - numpy.sign(x))
    return numpy.where(outside, ends, numpy.arccos(numpy.where(outside, 0.0, x)))
