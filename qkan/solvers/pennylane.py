"""PennyLane as a solver: the same circuits on any of its devices, exact, with noise, or sampled by shots."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from qkan._checks import positive_integer
from qkan.ansatz import Ansatz, Operation
from qkan.bases.arguments import argument
from qkan.noise import Channel
from qkan.readout import Readout, expectation
from qkan.solvers.base import Encoding, Solver, Weight

__all__ = [
    "Execute",
    "PennyLane",
    "apply",
    "checked_keywords",
    "executor",
    "open_device",
    "require_pennylane",
    "rotations",
]

Execute = Callable[[Tensor], Tensor]
"""From gate angles [rotations, circuits, wires] to <Z> [circuits, wires]."""

# These hold pure states, or differentiate through all of their operations.
_PURE = ("default.qubit", "lightning.qubit", "reference.qubit")
_BACKPROP = ("default.qubit", "default.mixed")


@dataclass(frozen=True)
class PennyLane(Solver):
    """Every edge of a chunk of samples is one entry of one broadcast QNode on one wire.

    Gradients: exact simulation on ``default.qubit`` and ``default.mixed`` is differentiated through (backprop); with
    shots, and on any other device, by the parameter-shift rule on the same device: for the angle t of every rotation
    dz/dt = (z(t + π/2) - z(t - π/2))/2 (Mitarai et al. 2018; exact with noise too), two runs per rotation.

    Args:
        device: name of a PennyLane device; None is ``"default.qubit"``, and ``"default.mixed"`` under noise.
        keywords: of the device, such as ``{"seed": 0}``, which makes every call draw the same samples.
        shots: samples per circuit; None for exact expectations.
        chunk: at most about so many circuits are simulated at a time, which bounds memory; the graph of a chunk is
            rebuilt in the backward pass. None is 2^16, and 2^11 on ``default.mixed``, which is fastest there.

    Raises:
        ValueError: for a number of shots or a chunk below 1, or keywords that the solver sets itself.
        TypeError: for arguments of the wrong type.

    Example:
        >>> from qkan import QKANLinear
        >>> QKANLinear(2, 3, solver=PennyLane("lightning.qubit")).solver.device
        'lightning.qubit'
    """

    name: ClassVar[str] = "pennylane"
    samples: ClassVar[bool] = True

    device: str | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict, hash=False)
    shots: int | None = None
    chunk: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.device, str | None):
            raise TypeError(f"device must be the name of a PennyLane device, or None; got {self.device!r}")
        own = {"wires": "an edge is one wire, leave it out", "shots": "give shots= to the solver"}
        object.__setattr__(self, "keywords", checked_keywords(self.keywords, own))
        if self.shots is not None:
            object.__setattr__(self, "shots", positive_integer("shots", self.shots))
        if self.chunk is not None:
            object.__setattr__(self, "chunk", positive_integer("chunk", self.chunk))

    def refusal(self, ansatz: Ansatz, reps: int, encoding: Encoding) -> str | None:
        """Refuse noise on a device that holds pure states."""
        if ansatz.noise is None or self.device not in _PURE:
            return None
        return f"device={self.device!r} holds pure states and takes no noise; use device='default.mixed' (or None)"

    def edges(
        self,
        ansatz: Ansatz,
        x: Tensor,
        theta: Tensor,
        weight: Weight,
        bias: Tensor | None = None,
        readout: Readout = expectation,
    ) -> Tensor:
        """Return the readout of every edge, computed in double precision on the CPU; the dtype and device of x."""
        n_out, n_in = theta.shape[-3:-1]
        batch = x.shape[:-1]
        u = argument(x.to("cpu", torch.float64), ansatz.arccos_map).reshape(-1, 1, n_in)
        tensors = [_flat(t, batch, n_out) for t in (theta, weight, bias)]
        uploads = weight.shape[-1] if isinstance(weight, Tensor) else len(weight)
        circuit = ansatz.circuit(uploads // ansatz.uploads(1))
        name = self.device or ("default.qubit" if ansatz.noise is None else "default.mixed")
        run = self._runner(circuit, name)

        def piece(known: list[Tensor], u: Tensor, theta: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
            given = weight if w is None or not isinstance(weight, Tensor) else w
            angles = torch.stack(
                [a.expand(len(u), theta.shape[1], n_in) for a in rotations(circuit, u, theta, given, b)]
            )
            if not angles.numel():
                return angles.sum(0)  # no circuits: nothing runs, and gradients are zeros
            return run(angles.flatten(1).unsqueeze(-1), known).view(angles.shape[1:])

        rows = [
            torch.cat([_checkpointed(partial(piece, []), u[s], *(_cut(t, s, o) for t in tensors)) for o in outs], dim=1)
            for s, outs in _pieces(self.chunk or (2**11 if name == "default.mixed" else 2**16), len(u), n_out, n_in)
        ]
        return readout(torch.cat(rows).view(*batch, n_out, n_in).to(x), None)

    def _runner(self, circuit: tuple[Operation, ...], name: str) -> Callable[[Tensor, list[Tensor]], Tensor]:
        """Return what runs a chunk of circuits; results that were measured are kept in the list, not measured anew."""
        device = open_device(name, 1, self.keywords)
        if self.shots is None and name in _BACKPROP:
            exact = executor(circuit, device, differentiable=True)
            return lambda angles, known: exact(angles)
        execute = executor(circuit, device, self.shots)
        return lambda angles, known: _shifted(execute, angles, known)

    def __str__(self) -> str:
        shots = [] if self.shots is None else [f"shots={self.shots}"]
        shown = ", ".join([*([] if self.device is None else [self.device]), *shots])
        return f"{self.name}({shown})" if shown else self.name

    def to_json(self) -> dict[str, Any]:
        """Return the solver as plain JSON values."""
        arguments = {"device": self.device, "keywords": dict(self.keywords), "shots": self.shots, "chunk": self.chunk}
        return {"name": self.name, **arguments}


def _pieces(chunk: int, samples: int, n_out: int, n_in: int) -> Iterator[tuple[slice, list[slice]]]:
    """Yield slices of the samples, and for each the slices of the outputs."""
    high, deep = max(1, chunk // (n_out * n_in)), max(1, min(n_out, chunk // n_in))
    outs = [slice(o, o + deep) for o in range(0, n_out, deep)]
    return product([slice(s, s + high) for s in range(0, max(samples, 1), high)], [outs])


def rotations(
    circuit: Sequence[Operation], u: Tensor, theta: Tensor, weight: Weight | Tensor, bias: Tensor | None
) -> list[Tensor]:
    """Return the angle of every rotation, in circuit order, as tensors that broadcast to [*batch, out, in].

    Args:
        circuit: the unrolled circuit.
        u: [*batch, 1, in], the encoded variable.
        theta: [..., out, in, angles].
        weight: integers, or [..., in, uploads].
        bias: shaped like a tensor weight, or None.
    """
    angles = []
    for op in circuit:
        if op.source == "trainable":
            angles.append(theta[..., op.position])
        elif op.source == "encoding":
            w = weight[..., op.position] if isinstance(weight, Tensor) else weight[op.position]
            angles.append(w * u if bias is None else w * u + bias[..., op.position])
    return angles


def executor(
    circuit: tuple[Operation, ...], device: Any, shots: int | None = None, differentiable: bool = False
) -> Execute:
    """Return what runs one circuit, broadcast over its angles, on a PennyLane device.

    The result takes angles [rotations, circuits, wires], puts an independent copy of the circuit on every wire, and
    returns <Z> [circuits, wires], measured with that many shots or exact.

    Raises:
        ImportError: without PennyLane.
    """
    qml = require_pennylane()

    def function(angles: Tensor) -> list[Any]:
        wires = list(device.wires or range(angles.shape[-1]))[: angles.shape[-1]]  # a device without wires takes any
        for column, wire in zip(angles.unbind(-1), wires, strict=True):
            apply(circuit, list(column.unbind(0)), wire)
        return [qml.expval(qml.PauliZ(wire)) for wire in wires]

    sampled = {} if shots is None else {"shots": shots}
    method = "backprop" if differentiable else None
    node = qml.QNode(function, device, interface="torch", diff_method=method, cache=False, **sampled)

    def execute(angles: Tensor) -> Tensor:
        values = [torch.as_tensor(value, dtype=torch.float64) for value in node(angles)]
        return torch.stack([value.expand(angles.shape[1]) for value in values], dim=-1)

    return execute


def apply(circuit: Sequence[Operation], angles: Sequence[Any], wire: Any) -> None:
    """Queue the gates and channels of a circuit on a wire; ``angles`` are those of its rotations, in order.

    Raises:
        ImportError: without PennyLane.
    """
    qml = require_pennylane()
    fixed = {"H": qml.Hadamard, "X": qml.PauliX, "Y": qml.PauliY, "Z": qml.PauliZ}
    turning = {"RX": qml.RX, "RY": qml.RY, "RZ": qml.RZ}
    left = iter(angles)
    for op in circuit:
        if op.source == "fixed":
            fixed[op.name](wires=wire)
        elif op.source == "channel":
            for channel in op.channels:
                _channel(qml, channel, wire)
        else:
            turning[op.name](next(left), wires=wire)


def _channel(qml: Any, channel: Channel, wire: Any) -> None:
    if channel.name == "readout":
        # z -> (1 - e0 - e1) z + (e1 - e0), as a decay of this strength towards this population of |1>.
        e0, e1 = channel.strengths
        qml.GeneralizedAmplitudeDamping(e0 + e1, e0 / (e0 + e1), wires=wire)
        return
    names = {
        "depolarizing": qml.DepolarizingChannel,
        "amplitude_damping": qml.AmplitudeDamping,
        "phase_damping": qml.PhaseDamping,
        "bit_flip": qml.BitFlip,
    }
    names[channel.name](channel.strengths[0], wires=wire)


class _ParameterShift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, execute: Execute, angles: Tensor, known: list[Tensor]) -> Tensor:
        ctx.execute = execute
        ctx.save_for_backward(angles)
        if not known:  # otherwise the chunk is being rebuilt for its gradient
            known.append(execute(angles.detach()))
        return known[0].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        (angles,) = ctx.saved_tensors
        return None, _Slopes.apply(ctx.execute, angles) * gradient, None


class _Slopes(torch.autograd.Function):
    """The derivative by every angle, by parameter shifts."""

    @staticmethod
    def forward(ctx: Any, execute: Execute, angles: Tensor) -> Tensor:
        slopes = torch.empty_like(angles)
        for k in range(len(angles)):
            step = torch.zeros(len(angles), 1, 1, dtype=angles.dtype)
            step[k] = torch.pi / 2
            slopes[k] = (execute(angles + step) - execute(angles - step)) / 2
        return slopes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        raise RuntimeError(
            "solver='pennylane' has no second derivatives by parameter shifts, that is, with shots or on devices other "
            f"than {' and '.join(_BACKPROP)}; use one of these with shots=None, or solver='bloch'"
        )


def _shifted(execute: Execute, angles: Tensor, known: list[Tensor]) -> Tensor:
    z: Tensor = _ParameterShift.apply(execute, angles, known)
    return z


def _flat(tensor: Weight | Tensor | None, batch: torch.Size, n_out: int) -> Tensor | None:
    """Return [1 or samples, out, in, last] in double precision; outputs and samples may be missing in a tensor."""
    if not isinstance(tensor, Tensor):
        return None
    tensor = tensor.to("cpu", torch.float64)
    if tensor.dim() > 3:
        tensor = tensor.expand(*batch, *tensor.shape[-3:])
    samples, last = tensor.shape[:-3], tensor.shape[-2:]
    return tensor.expand(*samples, n_out, *last).reshape(math.prod(samples), n_out, *last)


def _cut(tensor: Tensor | None, samples: slice, outs: slice) -> Tensor | None:
    if tensor is None:
        return None
    return tensor[samples if len(tensor) > 1 else slice(None), outs]


def _checkpointed(function: Callable[..., Tensor], *arguments: Tensor | None) -> Tensor:
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in arguments)
    if not wanted:
        return function(*arguments)
    z: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return z


def open_device(name: str, wires: int, keywords: Mapping[str, Any]) -> Any:
    """Return a PennyLane device.

    Raises:
        ValueError: if PennyLane has none of this name.
        ImportError: without PennyLane.
    """
    qml = require_pennylane()
    try:
        return qml.device(name, wires=wires, **keywords)
    except qml.exceptions.DeviceError as error:
        raise ValueError(f"device={name!r} cannot be opened ({error}); qml.about() lists those installed") from error


def checked_keywords(keywords: Mapping[str, Any], instead: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of the keywords of a device, without those that the caller sets.

    Args:
        keywords: arguments of `qml.device`.
        instead: what to do about each of those that must not be there.

    Raises:
        TypeError: if it is no mapping.
        ValueError: for a keyword that must not be there.
    """
    if not isinstance(keywords, Mapping):
        raise TypeError(f"keywords must be a mapping of arguments of the device; got {keywords!r}")
    for name, remedy in instead.items():
        if name in keywords:
            raise ValueError(f"keywords must not hold {name!r}, which is set already; got {keywords[name]!r}: {remedy}")
    return dict(keywords)


def require_pennylane(what: str = 'solver="pennylane"') -> Any:
    """Return the module `pennylane`.

    Args:
        what: needs it, as the error says.

    Raises:
        ImportError: it is missing, with the line that installs it.
    """
    try:
        import pennylane  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(f'{what} needs PennyLane: pip install "qkan-torch[pennylane]"') from error
    return pennylane
