"""Kolmogorov-Arnold networks whose edges are quantum circuits: exact, and as fast as a matrix product."""

from qkan._neighbours import warn_of_peer
from qkan.ansatz import Ansatz as Ansatz
from qkan.checkpoint import load as load
from qkan.checkpoint import save as save
from qkan.layers.activation import QKANActivation as QKANActivation
from qkan.layers.conv import QKANConv1d as QKANConv1d
from qkan.layers.conv import QKANConv2d as QKANConv2d
from qkan.layers.conv import QKANConv3d as QKANConv3d
from qkan.layers.kan import KANLinear as KANLinear
from qkan.layers.kan_conv import KANConv1d as KANConv1d
from qkan.layers.kan_conv import KANConv2d as KANConv2d
from qkan.layers.kan_conv import KANConv3d as KANConv3d
from qkan.layers.linear import QKANLinear as QKANLinear
from qkan.lowering import lower as lower
from qkan.models.hybrid import HQKAN as HQKAN
from qkan.models.kan import KAN as KAN
from qkan.models.stack import QKAN as QKAN
from qkan.training import fit as fit

__all__ = [
    "HQKAN",
    "KAN",
    "QKAN",
    "Ansatz",
    "KANConv1d",
    "KANConv2d",
    "KANConv3d",
    "KANLinear",
    "QKANActivation",
    "QKANConv1d",
    "QKANConv2d",
    "QKANConv3d",
    "QKANLinear",
    "fit",
    "load",
    "lower",
    "save",
]

warn_of_peer()
