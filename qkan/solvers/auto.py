"""The choice of a solver by the structure of the layer."""

from collections.abc import Mapping
from typing import Any

from qkan.ansatz import Ansatz
from qkan.solvers.base import Encoding, Solver
from qkan.solvers.bloch import Bloch
from qkan.solvers.fourier import Fourier
from qkan.solvers.pennylane import PennyLane
from qkan.solvers.statevector import StateVector

__all__ = ["choose", "evaluations", "names", "parse"]

_SOLVERS: dict[str, Solver] = {solver.name: solver for solver in (StateVector(), Bloch(), Fourier(), PennyLane())}

# Above this number of circuit evaluations per edge the lowering costs more than it saves at everyday batch sizes. A
# heuristic: 81 = 2 (1 + 3 + 9 + 27) + 1 is ternary with 4 uploads, and 3^4 is trainable-shared with 4.
_SANE_NODES = 81


def names() -> tuple[str, ...]:
    """Return the names that ``solver=`` takes."""
    return ("auto", *_SOLVERS)


def parse(solver: str | Solver | Mapping[str, Any]) -> str | Solver:
    """Return ``"auto"``, or the solver of this name or of this description in JSON; a solver is returned as it is.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything else.
    """
    if isinstance(solver, Mapping):
        arguments = dict(solver)
        if arguments.pop("name", None) != PennyLane.name:
            raise ValueError(f"a solver with arguments must have the name {PennyLane.name!r}; got {solver!r}")
        return PennyLane(**arguments)
    if isinstance(solver, Solver):
        return solver
    if not isinstance(solver, str):
        raise TypeError(f"solver must be one of {', '.join(names())}, or a Solver; got {type(solver).__name__}")
    if solver not in names():
        raise ValueError(f"solver must be one of {', '.join(names())}, or a Solver; got {solver!r}")
    return solver if solver == "auto" else _SOLVERS[solver]


def choose(solver: str | Solver | Mapping[str, Any], ansatz: Ansatz, reps: int, encoding: Encoding) -> Solver:
    """Return the solver of this name, or for ``"auto"`` the one that suits the structure.

    ``auto`` takes Fourier where it is exact and needs at most 81 circuit evaluations per edge, Bloch otherwise.

    Raises:
        ValueError: for an unknown name, or where the solver would not be exact.
        TypeError: if ``solver`` is neither a name nor a `Solver`.

    >>> from qkan.ansatz import named
    >>> choose("auto", named("pz"), 3, (1, 3, 9)).name, choose("auto", named("pz"), 3, "trainable").name
    ('fourier', 'bloch')
    """
    parsed = parse(solver)
    if isinstance(parsed, str):
        return _SOLVERS["fourier" if evaluations(ansatz, reps, encoding) <= _SANE_NODES else "bloch"]
    reason = parsed.refusal(ansatz, reps, encoding)
    if reason:
        raise ValueError(reason)
    return parsed


def evaluations(ansatz: Ansatz, reps: int, encoding: Encoding) -> float:
    """Return how many circuit evaluations per edge the lowering takes; infinite where it is not exact."""
    if isinstance(encoding, tuple):
        return 2 * ansatz.degree(encoding) + 1
    return 3.0 ** ansatz.uploads(reps) if encoding == "trainable-shared" else float("inf")
