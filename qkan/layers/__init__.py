"""Layers: they own parameters, and hand the mathematics to solvers."""

from qkan.layers.activation import QKANActivation as QKANActivation
from qkan.layers.bottleneck import BottleneckKANConv1d as BottleneckKANConv1d
from qkan.layers.bottleneck import BottleneckKANConv2d as BottleneckKANConv2d
from qkan.layers.bottleneck import BottleneckKANConv3d as BottleneckKANConv3d
from qkan.layers.bottleneck import BottleneckQKANConv1d as BottleneckQKANConv1d
from qkan.layers.bottleneck import BottleneckQKANConv2d as BottleneckQKANConv2d
from qkan.layers.bottleneck import BottleneckQKANConv3d as BottleneckQKANConv3d
from qkan.layers.conv import QKANConv1d as QKANConv1d
from qkan.layers.conv import QKANConv2d as QKANConv2d
from qkan.layers.conv import QKANConv3d as QKANConv3d
from qkan.layers.kan import KANLinear as KANLinear
from qkan.layers.kan_conv import KANConv1d as KANConv1d
from qkan.layers.kan_conv import KANConv2d as KANConv2d
from qkan.layers.kan_conv import KANConv3d as KANConv3d
from qkan.layers.kan_options import KANOptions as KANOptions
from qkan.layers.linear import QKANLinear as QKANLinear
from qkan.layers.options import QKANOptions as QKANOptions
from qkan.layers.published import BottleNeckKAGNConv1DLayer as BottleNeckKAGNConv1DLayer
from qkan.layers.published import BottleNeckKAGNConv2DLayer as BottleNeckKAGNConv2DLayer
from qkan.layers.published import BottleNeckKAGNConv3DLayer as BottleNeckKAGNConv3DLayer
from qkan.layers.published import FastKANConv1DLayer as FastKANConv1DLayer
from qkan.layers.published import FastKANConv2DLayer as FastKANConv2DLayer
from qkan.layers.published import FastKANConv3DLayer as FastKANConv3DLayer
from qkan.layers.published import KABNConv1DLayer as KABNConv1DLayer
from qkan.layers.published import KABNConv2DLayer as KABNConv2DLayer
from qkan.layers.published import KABNConv3DLayer as KABNConv3DLayer
from qkan.layers.published import KACNConv1DLayer as KACNConv1DLayer
from qkan.layers.published import KACNConv2DLayer as KACNConv2DLayer
from qkan.layers.published import KACNConv3DLayer as KACNConv3DLayer
from qkan.layers.published import KAGNConv1DLayer as KAGNConv1DLayer
from qkan.layers.published import KAGNConv2DLayer as KAGNConv2DLayer
from qkan.layers.published import KAGNConv3DLayer as KAGNConv3DLayer
from qkan.layers.published import KAJNConv1DLayer as KAJNConv1DLayer
from qkan.layers.published import KAJNConv2DLayer as KAJNConv2DLayer
from qkan.layers.published import KAJNConv3DLayer as KAJNConv3DLayer
from qkan.layers.published import KALNConv1DLayer as KALNConv1DLayer
from qkan.layers.published import KALNConv2DLayer as KALNConv2DLayer
from qkan.layers.published import KALNConv3DLayer as KALNConv3DLayer
from qkan.layers.published import KANConv1DLayer as KANConv1DLayer
from qkan.layers.published import KANConv2DLayer as KANConv2DLayer
from qkan.layers.published import KANConv3DLayer as KANConv3DLayer
from qkan.layers.published import ReLUKANConv1DLayer as ReLUKANConv1DLayer
from qkan.layers.published import ReLUKANConv2DLayer as ReLUKANConv2DLayer
from qkan.layers.published import ReLUKANConv3DLayer as ReLUKANConv3DLayer
from qkan.layers.published import WavKANConv1DLayer as WavKANConv1DLayer
from qkan.layers.published import WavKANConv2DLayer as WavKANConv2DLayer
from qkan.layers.published import WavKANConv3DLayer as WavKANConv3DLayer

__all__ = [
    "KANLinear", "KANOptions", "QKANActivation", "QKANLinear", "QKANOptions",
    "KANConv1d", "KANConv2d", "KANConv3d", "QKANConv1d", "QKANConv2d", "QKANConv3d",
    "BottleneckKANConv1d", "BottleneckKANConv2d", "BottleneckKANConv3d",
    "BottleneckQKANConv1d", "BottleneckQKANConv2d", "BottleneckQKANConv3d",
    "KANConv1DLayer", "KANConv2DLayer", "KANConv3DLayer",
    "FastKANConv1DLayer", "FastKANConv2DLayer", "FastKANConv3DLayer",
    "KALNConv1DLayer", "KALNConv2DLayer", "KALNConv3DLayer",
    "KACNConv1DLayer", "KACNConv2DLayer", "KACNConv3DLayer",
    "KAGNConv1DLayer", "KAGNConv2DLayer", "KAGNConv3DLayer",
    "KAJNConv1DLayer", "KAJNConv2DLayer", "KAJNConv3DLayer",
    "KABNConv1DLayer", "KABNConv2DLayer", "KABNConv3DLayer",
    "ReLUKANConv1DLayer", "ReLUKANConv2DLayer", "ReLUKANConv3DLayer",
    "WavKANConv1DLayer", "WavKANConv2DLayer", "WavKANConv3DLayer",
    "BottleNeckKAGNConv1DLayer", "BottleNeckKAGNConv2DLayer", "BottleNeckKAGNConv3DLayer",
]  # fmt: skip
