"""The layers on which the two packages are compared, and the sides of each comparison."""

from dataclasses import dataclass

from harness import Row

SERIOUS = ("exact", "exact, checkpoint_reps", "cutn")
# Every name that it registers but "tn", another name of "cutn"; some simulate circuit by circuit: small layers only.
ALL = (*SERIOUS, "qml", "qiskit", "cudaq", "flash", "cute", "cutile")


@dataclass(frozen=True)
class Case:
    """A layer, the sides that compute it, and what it computes."""

    n_in: int
    n_out: int
    batch: int
    readout: str = "expectation"
    trainable: bool = False
    reps: int = 3
    ours: tuple[str, ...] = ("auto",)
    peers: tuple[str, ...] = SERIOUS
    pages: bool = False  # also with a C library that keeps its memory pages

    def keys(self, batch: int) -> Row:
        """Return what names this case in a table."""
        names = {"in": self.n_in, "out": self.n_out, "batch": batch, "reps": self.reps, "readout": self.readout}
        return names | {"weights": "per edge" if self.trainable else "fixed"}


CASES = [
    Case(32, 28, 1000, pages=True),
    Case(32, 28, 1000, readout="amplitude"),
    Case(32, 28, 1000, trainable=True),
    Case(784, 64, 128, pages=True),
    Case(64, 64, 256, ours=("auto", "bloch")),
    Case(64, 64, 256, ours=("auto", "bloch"), reps=6),
    Case(64, 64, 256, trainable=True),
    Case(64, 64, 256, trainable=True, reps=6),
    Case(32, 28, 1),
    Case(2, 5, 32),
    Case(6, 6, 32, peers=ALL),
    Case(6, 6, 32, readout="amplitude", peers=ALL),
    Case(6, 6, 32, trainable=True, peers=ALL),
]
