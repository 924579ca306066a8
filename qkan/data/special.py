"""Special functions of two variables, evaluated by SciPy: they have values but no gradient."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from qkan.data.functions import define

__all__ = ["SPECIAL"]


def _scipy() -> Any:
    try:
        from scipy import special  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('special functions need SciPy: pip install "qkan-torch[data]"') from error
    return special


def _evaluate(function: Callable[..., Any], *arguments: Tensor) -> Tensor:
    """Return function(*arguments) in the dtype and on the device of the arguments, computed in float64 on the CPU."""
    values = function(*(argument.detach().cpu().double().numpy() for argument in arguments))
    return torch.as_tensor(values, dtype=torch.float64).to(arguments[0])


def _by_name(name: str) -> Callable[..., Tensor]:
    return lambda *x: _evaluate(getattr(_scipy(), name), *x)


def _legendre(order: int) -> Callable[..., Tensor]:
    return lambda v, x: _evaluate(lambda v, x: _scipy().lpmv(order, v, x), v, x)


def _harmonic(order: int, degree: int) -> Callable[..., Tensor]:
    """Return the real part of Y of this order and degree; theta is the polar angle and phi the azimuth."""

    def function(theta: Any, phi: Any) -> Any:
        special = _scipy()
        new = getattr(special, "sph_harm_y", None)  # since SciPy 1.15; the old one is deprecated, then removed
        values = special.sph_harm(order, degree, phi, theta) if new is None else new(degree, order, theta, phi)
        return values.real

    return lambda theta, phi: _evaluate(function, theta, phi)


_row = partial(define, differentiable=False, source="KAN, arXiv 2404.19756, section 3.2")
_SPHERE = (("theta", 0, math.pi), ("phi", 0, 2 * math.pi))

# The ranges keep the functions finite and of moderate size; the paper does not give its own.
# fmt: off
SPECIAL = (
    _row("jv", "Bessel function, first kind", "besselj(v, x)", _by_name("jv"), ("v", 0, 4), ("x", 0, 10)),
    _row("yv", "Bessel function, second kind", "bessely(v, x)", _by_name("yv"), ("v", 0, 2), ("x", 1, 10)),
    _row("iv", "modified Bessel function, first kind", "besseli(v, x)", _by_name("iv"), ("v", 0, 4), ("x", 0, 4)),
    _row("kv", "modified Bessel function, second kind", "besselk(v, x)", _by_name("kv"), ("v", 0, 2), ("x", 0.5, 4)),
    _row("ellipkinc", "incomplete elliptic integral, first kind", "elliptic_f(phi, m)", _by_name("ellipkinc"),
         ("phi", 0, math.pi / 2), ("m", 0, 0.95)),
    _row("ellipeinc", "incomplete elliptic integral, second kind", "elliptic_e(phi, m)", _by_name("ellipeinc"),
         ("phi", 0, math.pi / 2), ("m", 0, 1)),
    _row("lpmv0", "Legendre function, order 0", "assoc_legendre(v, 0, x)", _legendre(0), ("v", 0, 5), ("x", -0.9, 0.9)),
    _row("lpmv1", "Legendre function, order 1", "assoc_legendre(v, 1, x)", _legendre(1), ("v", 0, 5), ("x", -0.9, 0.9)),
    _row("lpmv2", "Legendre function, order 2", "assoc_legendre(v, 2, x)", _legendre(2), ("v", 0, 5), ("x", -0.9, 0.9)),
    _row("sph_harm01", "spherical harmonic, order 0, degree 1", "re(Ynm(1, 0, theta, phi))", _harmonic(0, 1), *_SPHERE),
    _row("sph_harm11", "spherical harmonic, order 1, degree 1", "re(Ynm(1, 1, theta, phi))", _harmonic(1, 1), *_SPHERE),
    _row("sph_harm02", "spherical harmonic, order 0, degree 2", "re(Ynm(2, 0, theta, phi))", _harmonic(0, 2), *_SPHERE),
    _row("sph_harm12", "spherical harmonic, order 1, degree 2", "re(Ynm(2, 1, theta, phi))", _harmonic(1, 2), *_SPHERE),
    _row("sph_harm22", "spherical harmonic, order 2, degree 2", "re(Ynm(2, 2, theta, phi))", _harmonic(2, 2), *_SPHERE),
)
# fmt: on
