"""Bases: one file per family; ``features(x)`` [*batch, in, functions] is all that the contraction needs."""

import torch
from torch import Tensor

from qkan.bases.base import Basis, EdgewiseBasis
from qkan.bases.bernstein import Bernstein
from qkan.bases.harmonics import FourierBasis
from qkan.bases.polynomials import Chebyshev, Gram, Jacobi, Legendre
from qkan.bases.rbf import RBF
from qkan.bases.registry import build, names
from qkan.bases.relu import ReLUBumps
from qkan.bases.splines import BSpline
from qkan.bases.wavelets import DoG, MexicanHat, Meyer, Morlet, Shannon

__all__ = [
    "Basis", "EdgewiseBasis", "build", "names",
    "BSpline", "RBF", "Chebyshev", "Legendre", "Gram", "Jacobi", "Bernstein", "FourierBasis", "ReLUBumps",
    "MexicanHat", "Morlet", "DoG", "Meyer", "Shannon",
    "append",
]  # fmt: skip


def append(features: Tensor, column: Tensor) -> Tensor:
    """Return features [*batch, in, functions + 1] with one more function, its values given as [*batch, in]."""
    # Kept as [*batch, functions, in] in memory, as the bases make it and the contraction reads it.
    return torch.cat([features.mT, column.unsqueeze(-2)], dim=-2).mT
