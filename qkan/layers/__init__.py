"""Layers: they own parameters, and hand the mathematics to solvers."""

from qkan.layers.kan import KANLinear as KANLinear
from qkan.layers.kan_options import KANOptions as KANOptions
from qkan.layers.linear import QKANLinear as QKANLinear
from qkan.layers.options import QKANOptions as QKANOptions

__all__ = ["KANLinear", "KANOptions", "QKANLinear", "QKANOptions"]
