"""Layers: they own parameters, and hand the mathematics to solvers."""

from qkan.layers.linear import QKANLinear as QKANLinear
from qkan.layers.options import QKANOptions as QKANOptions

__all__ = ["QKANLinear", "QKANOptions"]
