"""The obvious definition: complex amplitudes, gates as 2 x 2 matrices, any ansatz. The oracle of the other solvers."""

import torch
from torch import Tensor

from qkan.ansatz import Ansatz
from qkan.bases.arguments import argument
from qkan.readout import Readout, expectation
from qkan.solvers.base import Encoding, Solver, Weight, broadcast

__all__ = ["StateVector"]

State = tuple[Tensor, Tensor]


class StateVector(Solver):
    """Amplitudes (α, β) of every (batch, out, in); slow, and kept free of every shortcut."""

    name = "statevector"

    def refusal(self, ansatz: Ansatz, reps: int, encoding: Encoding) -> str | None:
        """Refuse noise: a mixed state has no amplitudes."""
        if ansatz.noise is None:
            return None
        return "solver='statevector' holds pure states and takes no noise; use solver='fourier', 'bloch' or 'pennylane'"

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
        uploads = weight.shape[-1] if isinstance(weight, Tensor) else len(weight)
        zero = torch.zeros(broadcast(u.shape, theta.shape[:-1]), dtype=theta.dtype, device=theta.device)
        state: State = (torch.complex(zero + 1, zero), torch.complex(zero, zero))
        for op in ansatz.circuit(uploads // ansatz.uploads(1)):
            if op.source == "fixed":
                state = _fixed(op.name, state)
            elif op.source == "trainable":
                state = _rotate(op.name, theta[..., op.position], state)
            else:
                state = _encode(op.name, u, weight, bias, op.position, state)
        alpha, beta = state
        p0, p1 = alpha.real**2 + alpha.imag**2, beta.real**2 + beta.imag**2
        return readout(p0 - p1, None if readout is expectation else 2 * alpha.abs() * beta.abs())


def _encode(name: str, u: Tensor, weight: Weight, bias: Tensor | None, index: int, state: State) -> State:
    if isinstance(weight, Tensor):
        state = _rotate(name, weight[..., index] * u, state)
    else:
        # |w| rotations by u are one by w u, without rounding away the phase of a large u.
        for _ in range(abs(weight[index])):
            state = _rotate(name, u if weight[index] > 0 else -u, state)
    return state if bias is None else _rotate(name, bias[..., index], state)


def _fixed(name: str, state: State) -> State:
    alpha, beta = state
    if name == "H":
        return (alpha + beta) / 2**0.5, (alpha - beta) / 2**0.5
    return {"X": (beta, alpha), "Y": (-1j * beta, 1j * alpha), "Z": (alpha, -beta)}[name]


def _rotate(name: str, angle: Tensor, state: State) -> State:
    """Apply exp(-i angle G / 2) = cos(angle / 2) - i sin(angle / 2) G."""
    cos, sin = torch.cos(angle / 2), torch.sin(angle / 2)
    flipped = _fixed(name[1], state)
    return cos * state[0] - 1j * sin * flipped[0], cos * state[1] - 1j * sin * flipped[1]
