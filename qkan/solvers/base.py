"""The contract of a solver."""

import abc
from typing import Any, ClassVar

import torch
from torch import Tensor

from qkan.ansatz import Ansatz
from qkan.readout import Readout, expectation

__all__ = ["Encoding", "Solver", "Weight", "broadcast"]

Encoding = tuple[int, ...] | str
"""Fixed integer weights, one per upload; or ``"trainable"``; or ``"trainable-shared"``."""

Weight = tuple[int, ...] | Tensor
"""Fixed integers; or [in, uploads], shared by the outputs; or [out, in, uploads]; or [*batch, out, in, uploads]."""


class Solver(abc.ABC):
    """Computes edges and layers of circuits; stateless, so that copying and pickling it is trivial."""

    name: ClassVar[str]
    samples: ClassVar[bool] = False
    """Whether the solver has shots of its own; the results of others are sampled by the layer."""

    def refusal(self, ansatz: Ansatz, reps: int, encoding: Encoding) -> str | None:
        """Return why this solver cannot do it exactly, with the remedy; None when it can."""
        return None

    @abc.abstractmethod
    def edges(
        self,
        ansatz: Ansatz,
        x: Tensor,
        theta: Tensor,
        weight: Weight,
        bias: Tensor | None = None,
        readout: Readout = expectation,
    ) -> Tensor:
        """Return the readout of every edge.

        Args:
            ansatz: the circuit.
            x: [*batch, in], the raw input; ``ansatz.arccos_map`` is applied here.
            theta: [out, in, angles], radians.
            weight: encoding weights w.
            bias: encoding biases b, shaped like a tensor weight; None means 0.
            readout: pointwise map of the final state.

        Returns:
            [*batch, out, in].
        """

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
        """Return y_o = Σ_i gain_oi readout_oi(x_i), [*batch, out]; gain is [out, in], the rest as in `edges`."""
        return (self.edges(ansatz, x, theta, weight, bias, readout) * gain).sum(-1)

    def __str__(self) -> str:
        return self.name

    def to_json(self) -> str | dict[str, Any]:
        """Return the solver as plain JSON values that `qkan.solvers.choose` takes."""
        return self.name


def broadcast(*shapes: torch.Size) -> torch.Size:
    """Return the shape that these shapes broadcast to."""
    shape: torch.Size = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return shape
