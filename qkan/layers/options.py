"""The options of a QKAN layer: one frozen, validated description that layers, models and checkpoints share."""

import copy
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, cast

from torch import nn

from qkan import ansatz as ansatze
from qkan import readout as readouts
from qkan._checks import check_keywords, positive_integer
from qkan.ansatz import Ansatz
from qkan.layers import activations
from qkan.noise import Noise
from qkan.solvers import choose
from qkan.solvers.auto import parse
from qkan.solvers.base import Encoding, Solver
from qkan.solvers.pennylane import PennyLane

__all__ = ["OptionArguments", "QKANOptions"]

_ENCODINGS = ("unit", "ternary", "trainable", "trainable-shared")


class OptionArguments(TypedDict, total=False):
    """The keywords of `QKANOptions`, for type checkers and editors."""

    reps: int
    ansatz: str | Ansatz
    solver: str | Solver
    readout: str
    encoding: str | tuple[int, ...]
    encoding_init: str
    base_activation: str | Callable[..., Any] | nn.Module | None
    init: str | float
    scale: bool
    bias: bool
    noise: Noise | None
    shots: int | None


@dataclass(frozen=True)
class QKANOptions:
    """What a QKAN layer is, apart from its widths.

    Args:
        reps: repetitions R >= 1 of the block.
        ansatz: a name (pz, rpz, px, real, mix) or an `Ansatz`.
        solver: ``"auto"``, ``"fourier"``, ``"bloch"``, ``"statevector"``, ``"pennylane"``, or a
            `qkan.solvers.PennyLane` that names a device.
        readout: ``"expectation"`` (<Z>) or ``"amplitude"`` (|α| - |β|).
        encoding: encoding weights w and biases b: ``"unit"`` (w = 1, b = 0), ``"ternary"`` (1, 3, 9, ...), a tuple of
            integers, one per upload, ``"trainable"`` (w, b [out, in, uploads]; with pz, b is redundant with the next
            RZ), ``"trainable-shared"`` (w, b [in, uploads]).
        encoding_init: start of trainable weights, ``"unit"`` or ``"ternary"``.
        base_activation: σ of the base branch: a module, module class, function or name, ``"identity"`` included; None
            for no base branch.
        init: start of θ: ``"scaled"``, ``"xavier"``, or a standard deviation in radians.
        scale: whether edges have a trainable scale (starts at 1).
        bias: whether outputs have a trainable bias (starts at 0).
        noise: a `qkan.noise.Noise` that every circuit suffers; None for none, or for that of the ansatz. Under noise
            the amplitude readout means sqrt(p0) - sqrt(p1).
        shots: measurements of every edge per forward pass; None for exact expectations. Simulating solvers sample
            binomially (see `qkan.readout.sample`) and keep the exact gradient; PennyLane draws the samples on its
            device and measures the gradient by parameter shifts.

    Raises:
        ValueError: for a value out of range or a combination that no solver computes exactly.
        TypeError: for a value of the wrong type.
    """

    reps: int = 3
    ansatz: str | Ansatz = "pz"
    solver: str | Solver = "auto"
    readout: str = "expectation"
    encoding: str | tuple[int, ...] = "unit"
    encoding_init: str = "unit"
    base_activation: str | Callable[..., Any] | nn.Module | None = None
    init: str | float = "scaled"
    scale: bool = False
    bias: bool = False
    noise: Noise | None = None
    shots: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reps", positive_integer("reps", self.reps))
        ansatz = ansatze.named(self.ansatz)
        object.__setattr__(self, "noise", _noise(self.noise, ansatz))
        object.__setattr__(self, "ansatz", ansatz.with_noise(None))  # so that replace(options, noise=None) means it
        if isinstance(self.encoding, Iterable) and not isinstance(self.encoding, str):  # lists from JSON, arrays
            uploads = self.circuit.uploads(self.reps)
            object.__setattr__(self, "encoding", _integers(tuple(self.encoding), uploads))
        for name in ("scale", "bias"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; got {getattr(self, name)!r}")
        readouts.named(self.readout)
        if self.encoding_init not in ("unit", "ternary"):
            raise ValueError(f"encoding_init must be 'unit' or 'ternary'; got {self.encoding_init!r}")
        activations.check(self.base_activation)
        _check_init(self.init)
        parsed = parse(self.solver)
        # Names stay names, so that two descriptions of one solver are equal.
        object.__setattr__(self, "solver", self.solver if isinstance(self.solver, str) else parsed)
        _check_shots(self)
        self.choose_solver()

    @classmethod
    def parse(cls, owner: str, arguments: Mapping[str, Any]) -> "QKANOptions":
        """Return the options given as keywords of ``owner``.

        Raises:
            TypeError: for a keyword that does not exist, with the nearest that does.
        """
        check_keywords(owner, arguments, [field.name for field in fields(cls)])
        return cls(**arguments)

    @property
    def circuit(self) -> Ansatz:
        """The ansatz, as an `Ansatz`, with the noise."""
        ansatz = ansatze.named(self.ansatz)
        return ansatz if self.noise is None else ansatz.with_noise(self.noise)

    @property
    def trainable_encoding(self) -> bool:
        """Whether the encoding weights are parameters."""
        return self.encoding in ("trainable", "trainable-shared")

    @property
    def weights(self) -> Encoding:
        """The integer encoding weights, one per upload, or the name of a trainable encoding."""
        return self.encoding if self.trainable_encoding else _integers(self.encoding, self.circuit.uploads(self.reps))

    @property
    def start_weights(self) -> tuple[int, ...]:
        """The encoding weights, one per upload, at the start of training."""
        encoding = self.encoding_init if self.trainable_encoding else self.encoding
        return _integers(encoding, self.circuit.uploads(self.reps))

    def choose_solver(self) -> Solver:
        """Return the solver of a layer with these options.

        Raises:
            ValueError: for an unknown name, or where it would not be exact.
            TypeError: if ``solver`` is neither a name nor a solver.
        """
        solver = choose(self.solver, self.circuit, self.reps, self.weights)
        if isinstance(solver, PennyLane) and self.shots is not None:
            return replace(solver, shots=self.shots)
        return solver

    def arguments(self) -> OptionArguments:
        """Return the keywords that build a layer like this one; a module as base activation is copied.

        >>> QKANOptions(**QKANOptions(reps=2).arguments()) == QKANOptions(reps=2)
        True
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return cast(OptionArguments, values | {"base_activation": copy.deepcopy(self.base_activation)})

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain JSON values.

        Raises:
            ValueError: if the base activation is a module or function that has no name.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["ansatz"] = ansatze.named(self.ansatz).to_json()
        values["solver"] = self.solver if isinstance(self.solver, str) else self.solver.to_json()
        values["noise"] = None if self.noise is None else self.noise.to_dict()
        values["base_activation"] = activations.name_of(self.base_activation)
        values["encoding"] = list(self.encoding) if isinstance(self.encoding, tuple) else self.encoding
        return values


def _integers(encoding: str | tuple[int, ...], uploads: int) -> tuple[int, ...]:
    if encoding == "unit":
        return (1,) * uploads
    if encoding == "ternary":
        return tuple(3**r for r in range(uploads))
    if not isinstance(encoding, tuple):
        raise ValueError(
            f"encoding must be one of {', '.join(_ENCODINGS)}, or a tuple of integers, one per upload; got {encoding!r}"
        )
    try:
        weights = tuple(operator.index(w) for w in encoding)
    except TypeError:
        raise TypeError(
            f"encoding must hold integers: the Fourier series is exact for them alone; got {encoding!r}. "
            "For real weights use encoding='trainable' or 'trainable-shared' and set encoding_weight"
        ) from None
    if len(weights) != uploads:
        raise ValueError(f"encoding must hold {uploads} integers, one per upload; got {len(weights)}: {encoding!r}")
    return weights


def _noise(noise: Any, ansatz: Ansatz) -> Noise | None:
    """Return the noise given, or that of the ansatz; JSON's form is taken too."""
    if isinstance(noise, Mapping):
        noise = Noise.from_dict(noise)
    if not isinstance(noise, Noise | None):
        raise TypeError(f"noise must be a qkan.noise.Noise or None; got {noise!r}")
    if noise is not None and ansatz.noise not in (None, noise):
        raise ValueError(f"noise is given twice: {noise}, and {ansatz.noise} with the ansatz; give one of them")
    noise = ansatz.noise if noise is None else noise
    return None if noise is None or noise.trivial else noise


def _check_shots(options: "QKANOptions") -> None:
    shots = options.shots
    if isinstance(options.solver, PennyLane) and options.solver.shots is not None:
        if shots is not None and shots != options.solver.shots:
            raise ValueError(f"shots is given twice: {shots}, and {options.solver.shots} with the solver; give one")
        shots = options.solver.shots
    if shots is None:
        return
    if options.shots is not None:  # a Python integer, of NumPy's too
        object.__setattr__(options, "shots", positive_integer("shots", options.shots))
    if options.readout != "expectation":
        raise ValueError(
            f"shots need readout='expectation': readout={options.readout!r} of a measured mean is biased; "
            "use readout='expectation', or shots=None"
        )


def _check_init(init: str | float) -> None:
    if isinstance(init, bool) or not isinstance(init, str | float | int):
        raise TypeError(f"init must be 'scaled', 'xavier' or a standard deviation; got {init!r}")
    if isinstance(init, str) and init not in ("scaled", "xavier"):
        raise ValueError(f"init must be 'scaled', 'xavier' or a standard deviation; got {init!r}")
    if not isinstance(init, str) and not 0 <= init < float("inf"):
        raise ValueError(f"init must be a finite standard deviation of at least 0; got {init!r}")
