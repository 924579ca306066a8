"""Solvers: interchangeable ways to compute the same edges."""

from qkan.solvers.auto import choose as choose
from qkan.solvers.auto import names as names
from qkan.solvers.base import Solver as Solver
from qkan.solvers.bloch import Bloch as Bloch
from qkan.solvers.fourier import Fourier as Fourier
from qkan.solvers.pennylane import PennyLane as PennyLane
from qkan.solvers.statevector import StateVector as StateVector

__all__ = ["Bloch", "Fourier", "PennyLane", "Solver", "StateVector", "choose", "names"]
