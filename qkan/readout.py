"""Readouts: pointwise maps of the final state of an edge.

A readout takes z = <Z> and, where the solver has the state at hand, the transverse length r = sqrt(x² + y²) of the
Bloch vector, which keeps the digits that sqrt(1 - z²) loses near the poles.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from qkan.precision import widest_dtype

__all__ = ["Readout", "amplitude", "expectation", "named", "names", "safe_sqrt", "sample"]

Readout = Callable[[Tensor, Tensor | None], Tensor]


def expectation(z: Tensor, transverse: Tensor | None = None) -> Tensor:
    """Return z = <Z>, what PennyLane and a quantum computer return; shapes are kept."""
    return z


def amplitude(z: Tensor, transverse: Tensor | None = None) -> Tensor:
    """Return |α| - |β| = sqrt(p0) - sqrt(p1) = z / sqrt(1 + r), with r = sqrt(1 - z²) for a pure state.

    As a function of the angles the gradient is bounded by 1/√2, with a kink at the poles, where 0 is taken for the
    derivative of r. It is no finite Fourier series.

    Args:
        z: <Z> of each edge, in [-1, 1].
        transverse: r of each edge, shape of z; computed from z when None, which loses digits near |z| = 1.

    >>> amplitude(torch.tensor([0.0, 0.6, 1.0]))
    tensor([0.0000, 0.4472, 1.0000])
    """
    if transverse is None:
        transverse = safe_sqrt((1 - z) * (1 + z))
    return z / torch.sqrt(1 + transverse)


def sample(z: Tensor, shots: int, generator: torch.Generator | None = None) -> Tensor:
    """Return the mean of `shots` measurements of Z, each ±1, with <Z> = z; its gradient is that of z.

    The number of zeros is binomial with p0 = (1 + z)/2, clamped to [0, 1]. The gradient is the exact one of the
    expectation (straight through the sampling), which no device returns: for gradients measured by parameter shifts use
    ``solver="pennylane"`` with shots.

    Args:
        z: <Z>, any shape.
        shots: measurements per element, at least 1.
        generator: on the device of z; the global one when None.

    >>> sample(torch.tensor([-1.0, 1.0]), shots=100)
    tensor([-1.,  1.])
    """
    # In float32 counts beyond 2^24 would be rounded.
    exact = z.detach().to(widest_dtype(z.device))
    p0 = ((1 + exact) / 2).clamp(0, 1)
    zeros = torch.binomial(torch.full_like(p0, shots), p0, generator=generator)
    return z + ((2 * zeros / shots - 1).to(z) - z).detach()


def safe_sqrt(square: Tensor) -> Tensor:
    """Return the square root with gradient 0 where the argument is not above 0 (a NaN stays a NaN)."""
    outside = square <= 0
    root = torch.sqrt(torch.where(outside, torch.ones_like(square), square))
    return torch.where(outside, torch.zeros_like(square), root)


_NAMED: dict[str, Readout] = {"expectation": expectation, "amplitude": amplitude}


def names() -> tuple[str, ...]:
    """Return the names of the readouts."""
    return tuple(_NAMED)


def named(readout: str) -> Readout:
    """Return the readout of this name.

    Raises:
        ValueError: for an unknown name.
    """
    if readout not in _NAMED:
        raise ValueError(f"readout must be one of {', '.join(_NAMED)}; got {readout!r}")
    return _NAMED[readout]
