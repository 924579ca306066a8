"""The choice of a solver by the structure of the layer."""

from qkan.ansatz import Ansatz
from qkan.solvers.base import Encoding, Solver
from qkan.solvers.bloch import Bloch
from qkan.solvers.fourier import Fourier
from qkan.solvers.statevector import StateVector

__all__ = ["choose", "names"]

_SOLVERS: dict[str, Solver] = {solver.name: solver for solver in (StateVector(), Bloch(), Fourier())}

# Above this number of circuit evaluations per edge the lowering costs more than it saves at everyday batch sizes. A
# heuristic: 81 = 2 (1 + 3 + 9 + 27) + 1 is ternary with 4 uploads, and 3^4 is trainable-shared with 4.
_SANE_NODES = 81


def names() -> tuple[str, ...]:
    """Return the names that ``solver=`` takes."""
    return ("auto", *_SOLVERS)


def choose(solver: str, ansatz: Ansatz, reps: int, encoding: Encoding) -> Solver:
    """Return the solver of this name, or for ``"auto"`` the one that suits the structure.

    ``auto`` takes Fourier where it is exact and needs at most 81 circuit evaluations per edge, Bloch otherwise.

    Raises:
        ValueError: for an unknown name, or where the solver would not be exact.
        TypeError: if ``solver`` is no name.

    >>> from qkan.ansatz import named
    >>> choose("auto", named("pz"), 3, (1, 3, 9)).name, choose("auto", named("pz"), 3, "trainable").name
    ('fourier', 'bloch')
    """
    if not isinstance(solver, str):
        raise TypeError(f"solver must be one of {', '.join(names())}; got {type(solver).__name__}")
    if solver == "auto":
        return _SOLVERS["fourier" if _nodes(ansatz, reps, encoding) <= _SANE_NODES else "bloch"]
    if solver not in _SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(names())}; got {solver!r}")
    reason = _SOLVERS[solver].refusal(ansatz, reps, encoding)
    if reason:
        raise ValueError(reason)
    return _SOLVERS[solver]


def _nodes(ansatz: Ansatz, reps: int, encoding: Encoding) -> float:
    """Return how many circuit evaluations per edge the lowering takes; infinite where it is not exact."""
    if isinstance(encoding, tuple):
        return 2 * ansatz.degree(encoding) + 1
    return 3.0 ** ansatz.uploads(reps) if encoding == "trainable-shared" else float("inf")
