"""The convolutions of torch-conv-kan under their published names, with its arguments, defaults and parameter counts.

Each is a `BaseKANConv` with a fixed basis, base branch, norm, activation and place of the dropout. Features are padded,
not inputs. Where a layer of that package does not do what it says, the one here does: Legendre polynomials of tanh x
rather than of a range that depends on the batch, Bernstein polynomials rather than the constant 1, ReLU bumps whose
ends can be trained. One norm serves all groups, which for norms of single channels is the same. ``config()`` gives the
keywords of the `KANConv2d` that is equal to a layer, of one, two or three dimensions.

Behind the arguments that are written out, every layer takes ``device``, ``dtype``, ``generator``, and the keywords of
its norm, such as ``affine``.
"""

from qkan.layers.published.bottleneck import (
    BottleNeckKAGNConv1DLayer,
    BottleNeckKAGNConv2DLayer,
    BottleNeckKAGNConv3DLayer,
)
from qkan.layers.published.grids import (
    FastKANConv1DLayer,
    FastKANConv2DLayer,
    FastKANConv3DLayer,
    KANConv1DLayer,
    KANConv2DLayer,
    KANConv3DLayer,
)
from qkan.layers.published.others import (
    ReLUKANConv1DLayer,
    ReLUKANConv2DLayer,
    ReLUKANConv3DLayer,
    WavKANConv1DLayer,
    WavKANConv2DLayer,
    WavKANConv3DLayer,
)
from qkan.layers.published.polynomials import (
    KABNConv1DLayer,
    KABNConv2DLayer,
    KABNConv3DLayer,
    KACNConv1DLayer,
    KACNConv2DLayer,
    KACNConv3DLayer,
    KAGNConv1DLayer,
    KAGNConv2DLayer,
    KAGNConv3DLayer,
    KAJNConv1DLayer,
    KAJNConv2DLayer,
    KAJNConv3DLayer,
    KALNConv1DLayer,
    KALNConv2DLayer,
    KALNConv3DLayer,
)

__all__ = [
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
