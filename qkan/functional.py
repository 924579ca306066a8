"""The mathematics of the layers as functions of (x, θ, w, b), with per-sample θ and w allowed.

Gated models and fast-weight programmers compute angles from data: θ may have the batch dimensions of x in front.
"""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from qkan import ansatz as ansatze
from qkan import readout as readouts
from qkan.ansatz import Ansatz
from qkan.solvers import choose, fourier
from qkan.solvers.base import Solver, Weight

__all__ = ["coefficients", "edges", "linear"]


def edges(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | Sequence[int] | None = None,
    bias: Tensor | None = None,
    *,
    ansatz: str | Ansatz = "pz",
    readout: str = "expectation",
    solver: str | Solver = "auto",
) -> Tensor:
    """Return the readout of every edge.

    Args:
        x: [*batch, in].
        theta: [out, in, angles], or [*batch, out, in, angles] for angles per sample; radians.
        weight: encoding weights: integers, one per upload; [in, uploads]; [out, in, uploads]; or
            [*batch, out, in, uploads]. None means 1.
        bias: encoding biases, [out, in, uploads], or shaped like a tensor weight. None means 0.
        ansatz: a name or an `Ansatz`.
        readout: a name, see `qkan.readout`.
        solver: a name, see `qkan.solvers.choose`; ``"auto"`` is Bloch for whatever has weights or angles per sample.

    Returns:
        [*batch, out, in].

    Raises:
        ValueError: for shapes that do not fit, unknown names, or a solver that would not be exact.

    Example:
        >>> x, theta = torch.zeros(5, 4), torch.zeros(5, 3, 4, 8)
        >>> edges(x, theta).shape
        torch.Size([5, 3, 4])
    """
    circuit, chosen, weight = _resolve(x, theta, weight, bias, ansatz, solver)
    return chosen.edges(circuit, x, theta, weight, bias, readouts.named(readout))


def linear(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | Sequence[int] | None = None,
    bias: Tensor | None = None,
    *,
    gain: Tensor | None = None,
    ansatz: str | Ansatz = "pz",
    readout: str = "expectation",
    solver: str | Solver = "auto",
) -> Tensor:
    """Return y_o = Σ_i gain_oi readout_oi(x_i), [*batch, out].

    Args:
        x: [*batch, in].
        theta: as in `edges`.
        weight: as in `edges`.
        bias: biases of the encoding, as in `edges`.
        gain: [out, in]; None means 1.
        ansatz: as in `edges`.
        readout: as in `edges`.
        solver: as in `edges`.

    Raises:
        ValueError: as `edges`.
    """
    circuit, chosen, weight = _resolve(x, theta, weight, bias, ansatz, solver)
    if gain is None:
        gain = theta.new_ones(theta.shape[-3:-1])
    return chosen.layer(circuit, x, theta, weight, bias, gain, readouts.named(readout))


def coefficients(
    theta: Tensor, weight: Sequence[int] | None = None, bias: Tensor | None = None, *, ansatz: str | Ansatz = "pz"
) -> dict[str, Tensor]:
    """Return the exact Fourier series <Z>(u) = constant + Σ_k cos_k cos ku + sin_k sin ku of every edge.

    Args:
        theta: [out, in, angles], radians.
        weight: integers, one per upload; None means 1.
        bias: [out, in, uploads] or None.
        ansatz: a name or an `Ansatz`.

    Returns:
        ``constant`` [out, in]; ``harmonics`` [K], the reachable k >= 1; ``cos`` and ``sin`` [out, in, K].

    Raises:
        ValueError: for shapes that do not fit, or weights that are no integers.

    Example:
        >>> series = coefficients(torch.zeros(3, 4, 8), weight=(1, 3, 9))
        >>> series["harmonics"].tolist()[-1], series["sin"].shape
        (13, torch.Size([3, 4, 13]))
    """
    circuit = ansatze.named(ansatz)
    _check_theta(theta, 3)
    reps = circuit.reps_of(theta.shape[-1])
    if isinstance(weight, Tensor):
        raise ValueError("weight must be a sequence of integers for a Fourier series; got a tensor: use edges()")
    integers = _integers(weight, circuit.uploads(reps))
    if bias is not None:
        _check_encoding("bias", bias, theta, len(integers))
    series = fourier.coefficients(circuit, theta, integers, bias)
    cos, sin = series.coefficients.chunk(2, dim=-1)
    harmonics = torch.tensor(circuit.harmonics(integers), device=theta.device)
    return {"constant": series.constant, "harmonics": harmonics, "cos": cos, "sin": sin}


def _resolve(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | Sequence[int] | None,
    bias: Tensor | None,
    ansatz: str | Ansatz,
    solver: str | Solver,
) -> tuple[Ansatz, Solver, Weight]:
    circuit = ansatze.named(ansatz)
    _check_theta(theta, None)
    reps = circuit.reps_of(theta.shape[-1])
    uploads = circuit.uploads(reps)
    if theta.shape[-2] != x.shape[-1]:
        raise ValueError(f"theta must be [..., in, angles] with in = {x.shape[-1]}, as x; got {tuple(theta.shape)}")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if isinstance(tensor, Tensor):
            _check_encoding(name, tensor, theta, uploads)
    if not isinstance(weight, Tensor):
        weight = _integers(weight, uploads)
    reason = _not_lowered(theta, weight, bias)
    if solver == "fourier" and reason:
        raise ValueError(f"solver='fourier' needs {reason}; use solver='bloch'")
    if solver == "auto" and reason:
        solver = "bloch"
    return circuit, choose(solver, circuit, reps, _encoding(weight)), weight


def _not_lowered(theta: Tensor, weight: Weight, bias: Tensor | None) -> str | None:
    """Return what the lowering would need, beside what every layer's encoding says, or None."""
    if theta.dim() > 3:
        return f"theta [out, in, angles], the same for all samples, not {tuple(theta.shape)}"
    most = 2 if isinstance(weight, Tensor) else 3
    if bias is not None and bias.dim() > most:
        return f"bias [{'in, uploads' if most == 2 else 'out, in, uploads'}] with such weights, not {tuple(bias.shape)}"
    return None


def _encoding(weight: Weight) -> tuple[int, ...] | str:
    if isinstance(weight, Tensor):
        return "trainable-shared" if weight.dim() == 2 else "trainable"
    return weight


def _integers(weight: Sequence[int] | None, uploads: int) -> tuple[int, ...]:
    try:
        integers = (1,) * uploads if weight is None else tuple(operator.index(w) for w in weight)
    except TypeError:
        integers = ()
    if len(integers) != uploads:
        raise ValueError(f"weight must hold {uploads} integers, one per upload, or be a tensor; got {weight!r}")
    return integers


def _check_encoding(name: str, tensor: Tensor, theta: Tensor, uploads: int) -> None:
    """Raise unless the last dimensions are [in, uploads] or [out, in, uploads]."""
    *_, n_out, n_in, _ = theta.shape
    if tensor.shape[-2:] != (n_in, uploads) or (tensor.dim() > 2 and tensor.shape[-3] != n_out):
        expected = f"[{n_in}, {uploads}] or [..., {n_out}, {n_in}, {uploads}]"
        raise ValueError(
            f"{name} must be [in, uploads] or [..., out, in, uploads] = {expected}; got {tuple(tensor.shape)}"
        )


def _check_theta(theta: Tensor, dims: int | None) -> None:
    if theta.dim() < 3 or dims not in (None, theta.dim()):
        raise ValueError(f"theta must be [out, in, angles]; got {tuple(theta.shape)}")
