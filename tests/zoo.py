"""Tables of the zoo: kinds of convolutions, small networks, and the convolutions that a network consists of."""

import math

from qkan.models.vision import VGGKAN, DenseKANet, ResKANet, U2KANet, UKANet
from qkan.models.vision.u2net import LARGE, SMALL, Stage

__all__ = ["BUILDERS", "KINDS", "LEAST_NETWORKS", "SHAPES", "SMALL_NETWORKS", "count"]

KINDS = {
    "bspline": {"basis": "bspline", "grid_size": 2, "spline_order": 2},
    "chebyshev": {"basis": "chebyshev", "degree": 2},
    "gram bottleneck": {"basis": "gram", "degree": 2, "bottleneck": True, "min_internal": 2},
    "pz": {"ansatz": "pz", "reps": 1},
}

SMALL_NETWORKS = {
    "ResKANet": lambda **more: ResKANet((1, 1), 3, 5, stem_kernel=3, stem_stride=1, pool=False, **more),
    "ResKANet, bottleneck blocks": lambda **more: ResKANet((1,), 3, 5, block="bottleneck", stem_kernel=3, **more),
    "DenseKANet": lambda **more: DenseKANet((1, 2), 3, 5, growth=2, stem_channels=4, stem_kernel=3, **more),
    "VGGKAN": lambda **more: VGGKAN((1, 1), 3, 5, pooled=2, **more),
    "VGGKAN v2": lambda **more: VGGKAN((1,), 3, 5, version="v2", **more),
    "UKANet": lambda **more: UKANet(3, 5, blocks=(1, 1), **more),
    "U2KANet": lambda **more: U2KANet(3, 5, stages=(Stage(3, 2, 4), Stage(2, 2, 4, True), Stage(2, 2, 4)), **more),
}
# One of each class, as small as its structure allows: the time of the compiler grows with the number of convolutions.
LEAST_NETWORKS = {
    "ResKANet": SMALL_NETWORKS["ResKANet"],
    "DenseKANet": lambda **more: DenseKANet((1, 1), 3, 5, growth=2, stem_channels=4, stem_kernel=3, **more),
    "VGGKAN": SMALL_NETWORKS["VGGKAN"],
    "UKANet": SMALL_NETWORKS["UKANet"],
    "U2KANet": lambda **more: U2KANet(3, 5, stages=(Stage(2, 2, 4), Stage(2, 2, 4, True), Stage(2, 2, 4)), **more),
}
SHAPES = {"UKANet": (4, 5, 11, 8), "U2KANet": (4, 5, 11, 8)}

BUILDERS = {
    **{f"ResKANet {depth}": lambda depth=depth, **more: ResKANet(depth, 3, 5, **more)
       for depth in (18, 34, 50, 101, 152)},
    **{f"DenseKANet {depth}": lambda depth=depth, **more: DenseKANet(depth, 3, 5, **more)
       for depth in ("tiny", 121, 161, 169, 201)},
    **{f"VGGKAN {depth}": lambda depth=depth, **more: VGGKAN(depth, 3, 5, **more) for depth in (11, 13, 16, 19)},
    "UKANet 18": lambda **more: UKANet(3, 5, **more),
    "U2KANet": lambda **more: U2KANet(3, 5, stages=LARGE, **more),
    "U2KANet small": lambda **more: U2KANet(3, 5, stages=SMALL, **more),
}  # fmt: skip


def count(module):
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


# The convolutions (in, out, kernel pixels) of each network, from the papers, to count parameters by formulas.


def resnet(counts, expansion=1, scale=1, channels=3, stem=7):
    """He et al. 2015, table 1, an eighth as wide."""
    found, width = [(channels, 8 * scale, stem**2)], 8 * scale
    for number, blocks in enumerate(counts):
        inner = 8 * scale * 2**number
        out = inner * expansion
        for block in range(blocks):
            if expansion == 1:
                found += [(width, inner, 9), (inner, inner, 9)]
            else:
                found += [(width, inner, 1), (inner, inner, 9), (inner, out, 1)]
            if block == 0 and (number or expansion > 1):
                found += [(width, out, 1)]
            width = out
    return found


def densenet(counts, growth=32, stem=64, kernel=7):
    """Huang et al. 2016, table 1."""
    found, transitions, width = [(3, stem, kernel**2)], [], stem
    for number, layers in enumerate(counts):
        for _ in range(layers):
            found += [(width, 4 * growth, 1), (4 * growth, growth, 9)]
            width += growth
        if number < len(counts) - 1:
            transitions.append(width)
            width //= 2
    return found, transitions, width


def vgg(widths):
    """Simonyan and Zisserman 2014, table 1: from the widths of the 3x3 convolutions."""
    return [(before, after, 9) for before, after in zip([3, *widths], widths, strict=False)]


def unet():
    """A residual network of 3x3 stem and 2 blocks per stage, the same way back, and three merges."""
    back = [(64, 64, 9)] * 4 + [(32, 32, 9)] * 4 + [(16, 16, 9)] * 4 + [(8, 8, 9)] * 4
    return resnet((2, 2, 2, 2), stem=3) + back + [(96, 32, 9), (48, 16, 9), (24, 8, 9)]


FORMULAS = {
    "kan": lambda c, o, k: 9 * c * o * k + 1,  # 1 + G + order functions, one slope
    "fast_kan": lambda c, o, k: 6 * c * o * k,  # 1 + 5 Gaussians
    "kaln": lambda c, o, k: 5 * c * o * k,  # degree + 2
    "kacn": lambda c, o, k: 4 * c * o * k,  # degree + 1, no base branch
    "kagn": lambda c, o, k: 5 * c * o * k + 4,  # and degree + 1 shared by all
    "kagn_bn": lambda c, o, k: c * o * k + (c + o) * narrow(c, o) + 4 * narrow(c, o) ** 2 * k + 4,
    "wav_kan": lambda c, o, k: 2 * c * o * k + 2 * c * o + o * o,
}


def narrow(c, o):
    """Channels inside of a bottleneck."""
    reduced = max(c, o) // 4
    return reduced if reduced >= 16 else min(16, c, o)


def total(convolutions, family, *, affine=False, outputs=()):
    """Parameters of convolutions, of their norms, and of plain outputs (in, out, kernel pixels) with a bias."""
    sizes = [FORMULAS[family](*sizes) for sizes in convolutions]
    norms = [2 * (c if family == "fast_kan" else o) for c, o, _ in convolutions] if affine else []
    return sum(sizes) + sum(norms) + sum(math.prod(size) + size[1] for size in outputs)
