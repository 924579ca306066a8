"""Toy functions: the examples of the papers on KAN and QKAN, and shapes that are hard for a Fourier series."""

import math
from functools import partial

import torch
from torch import Tensor, cos, exp, sin, sqrt, tanh

from qkan.data.functions import define

__all__ = ["TOYS"]

pi = math.pi

_PEAKS = (-0.8, -0.4, 0.0, 0.4, 0.8)
_HIGH = range(1, 101)


def _bessel_j0(z: Tensor) -> Tensor:
    """Return J_0(z) = (1/π) ∫ cos(z sin τ) dτ over 0 .. π, by a rule that is exact to rounding for |z| <= 20.

    Torch's own has no gradient. The midpoint rule of a periodic integrand converges faster than any power: 32 nodes
    leave out J_64(20), which is below 1e-24. Half of the nodes repeat the other half.
    """
    nodes = (torch.arange(16, dtype=z.dtype, device=z.device) + 0.5) * (pi / 32)
    return cos(z.unsqueeze(-1) * sin(nodes)).mean(-1)


def _high_dimensional(*x: Tensor) -> Tensor:
    return exp(sin(torch.stack(x, -1) * (pi / 2)).square().mean(-1))


def _peaks(x: Tensor) -> Tensor:
    centers = torch.tensor(_PEAKS, dtype=x.dtype, device=x.device)
    return exp(-300 * (x.unsqueeze(-1) - centers) ** 2).sum(-1)


_accuracy = partial(define, source="KAN, arXiv 2404.19756, section 3.1")
_interpretation = partial(define, source="KAN, arXiv 2404.19756, section 4.1")
_hard = partial(define, source="shapes whose Fourier coefficients decay slowly")

# fmt: off
TOYS = (
    _accuracy("exp-sine-square", "the first example of KAN", "exp(sin(pi*x) + y**2)",
              lambda x, y: exp(sin(pi * x) + y * y), ("x y", -1, 1)),
    _accuracy("bessel", "Bessel function of order 0", "besselj(0, 20*x)", lambda x: _bessel_j0(20 * x), ("x", -1, 1)),
    _accuracy("product", "product", "x*y", lambda x, y: x * y, ("x y", -1, 1)),
    _accuracy("high-dimensional", "mean over 100 variables",
              f"exp(({' + '.join(f'sin(pi*x{i}/2)**2' for i in _HIGH)})/100)",
              _high_dimensional, (" ".join(f"x{i}" for i in _HIGH), -1, 1)),
    _accuracy("nested-sines", "three layers deep", "exp((sin(pi*(x1**2 + x2**2)) + sin(pi*(x3**2 + x4**2)))/2)",
              lambda x1, x2, x3, x4: exp(0.5 * (sin(pi * (x1 * x1 + x2 * x2)) + sin(pi * (x3 * x3 + x4 * x4)))),
              ("x1 x2 x3 x4", -1, 1)),
    _interpretation("quotient", "quotient of positive numbers", "x/y", lambda x, y: x / y, ("x", 0, 1), ("y", 0.5, 2)),
    _interpretation("exp-bessel", "a special function inside of a formula", "exp(besselj(0, 20*x) + y**2)",
                    lambda x, y: exp(_bessel_j0(20 * x) + y * y), ("x y", -1, 1)),
    _interpretation("phase-transition", "a steep step on a curved surface", "tanh(5*(x1**4 + x2**4 + x3**4 - 1))",
                    lambda x1, x2, x3: tanh(5 * (x1**4 + x2**4 + x3**4) - 5), ("x1 x2 x3", -1, 1)),
    _interpretation("distance", "distance of two points, kinked where they meet", "sqrt((x1 - x2)**2 + (x3 - x4)**2)",
                    lambda x1, x2, x3, x4: sqrt((x1 - x2) ** 2 + (x3 - x4) ** 2), ("x1 x2 x3 x4", -1, 1)),
    define("five-peaks", "five Gaussians, for continual learning",
           " + ".join(f"exp(-300*(x - {round(10 * center)}/10)**2)" for center in _PEAKS), _peaks, ("x", -1, 1),
           source="KAN, arXiv 2404.19756, section 3.5"),
    define("sine-product", "solution of a Poisson equation on a square", "sin(pi*x)*sin(pi*y)",
           lambda x, y: sin(pi * x) * sin(pi * y), ("x y", -1, 1), source="KAN, arXiv 2404.19756, section 3.4"),
    define("sinc", "damped oscillation, 1 at 0", "sinc(20*x)", lambda x: torch.sinc(x * (20 / pi)), ("x", -1, 1),
           source="QKAN, arXiv 2509.14026"),
    _hard("kink", "continuous, its slope jumps", "Abs(x)", lambda x: x.abs(), ("x", -1, 1)),
    _hard("step", "jumps; the gradient is 0", "(1 + sign(x))/2", lambda x: 0.5 + 0.5 * x.sign(), ("x", -1, 1)),
    _hard("sawtooth", "jumps at every whole number", "2*(x - floor(x)) - 1",
          lambda x: 2 * (x - x.floor()) - 1, ("x", -2, 2)),
)
# fmt: on
