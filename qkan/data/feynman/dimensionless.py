"""27 equations of the Feynman Lectures without units, as in the table of the KAN paper."""

import math
from functools import partial

from torch import asin, cos, cosh, exp, log, sin, sinc, sqrt

from qkan.data.functions import define

__all__ = ["DIMENSIONLESS"]

pi = math.pi
_row = partial(define, source="KAN, arXiv 2404.19756, section 3.3")

# The paper numbers I.6.20 as I.6.2, after a data file that lost the zero. The ranges keep the functions finite.
# fmt: off
DIMENSIONLESS = (
    _row("I.6.20", "normal distribution", "exp(-theta**2/(2*sigma**2))/sqrt(2*pi*sigma**2)",
         lambda theta, sigma: exp(-0.5 * (theta / sigma) ** 2) / (math.sqrt(2 * pi) * sigma),
         ("theta", -1, 1), ("sigma", 0.5, 2)),
    _row("I.6.20b", "shifted normal distribution", "exp(-(theta - theta1)**2/(2*sigma**2))/sqrt(2*pi*sigma**2)",
         lambda theta, theta1, sigma: exp(-0.5 * ((theta - theta1) / sigma) ** 2) / (math.sqrt(2 * pi) * sigma),
         ("theta theta1", -1.5, 1.5), ("sigma", 0.5, 2)),
    _row("I.9.18", "gravity between two points", "a/((b - 1)**2 + (c - d)**2 + (e - f)**2)",
         lambda a, b, c, d, e, f: a / ((1 - b) ** 2 + (c - d) ** 2 + (e - f) ** 2),
         ("a", 0, 1), ("b", -1, 0.5), ("c d e f", -1, 1)),
    _row("I.12.11", "Lorentz force", "1 + a*sin(theta)",
         lambda a, theta: 1 + a * sin(theta), ("a", -1, 1), ("theta", 0, 2 * pi)),
    _row("I.13.12", "work of gravity", "a*(1/b - 1)", lambda a, b: a * (1 - b) / b, ("a", 0, 1), ("b", 0.5, 2)),
    _row("I.15.3x", "Lorentz transformation of a place", "(1 - a)/sqrt(1 - b**2)",
         lambda a, b: (1 - a) / sqrt((1 - b) * (1 + b)), ("a", -1, 1), ("b", -0.9, 0.9)),
    _row("I.16.6", "addition of velocities", "(a + b)/(1 + a*b)",
         lambda a, b: (a + b) / (1 + a * b), ("a b", -0.8, 0.8)),
    _row("I.18.4", "centre of mass", "(1 + a*b)/(1 + a)",
         lambda a, b: (1 + a * b) / (1 + a), ("a", 0, 2), ("b", -1, 1)),
    _row("I.26.2", "Snell's law", "asin(n*sin(theta2))",
         lambda n, theta2: asin(n * sin(theta2)), ("n", 0, 0.99), ("theta2", 0, 2 * pi)),
    _row("I.27.6", "focal length", "1/(1 + a*b)", lambda a, b: 1 / (1 + a * b), ("a b", 0, 2)),
    # The minus of the paper; see I.29.16 in mechanics.py.
    _row("I.29.16", "amplitude of two waves", "sqrt(1 + a**2 - 2*a*cos(theta1 - theta2))",
         lambda a, theta1, theta2: sqrt((1 - a) ** 2 + 4 * a * sin(0.5 * (theta1 - theta2)) ** 2),
         ("a", 0, 0.9), ("theta1 theta2", 0, 2 * pi)),
    _row("I.30.3", "intensity of n sources", "sin(n*theta/2)**2/sin(theta/2)**2",
         lambda n, theta: (sin(0.5 * n * theta) / sin(0.5 * theta)) ** 2, ("n", 0, 4), ("theta", 0.4 * pi, 1.6 * pi)),
    _row("I.30.5", "first minimum of a grating", "asin(a/n)", lambda a, n: asin(a / n), ("a", -1, 1), ("n", 1.1, 2)),
    _row("I.37.4", "interference", "1 + a + 2*sqrt(a)*cos(delta)",
         lambda a, delta: 1 + a + 2 * sqrt(a) * cos(delta), ("a", 0.1, 1), ("delta", 0, 2 * pi)),
    _row("I.40.1", "barometric formula", "n_0*exp(-a)", lambda n_0, a: n_0 * exp(-a), ("n_0", 0, 1), ("a", -1, 1)),
    _row("I.44.4", "work at constant temperature", "n*log(a)", lambda n, a: n * log(a), ("n", 0, 1), ("a", 0.5, 2)),
    _row("I.50.26", "nonlinear response", "cos(a) + alpha*cos(a)**2",
         lambda a, alpha: cos(a) * (1 + alpha * cos(a)), ("a", 0, 2 * pi), ("alpha", 0, 1)),
    _row("II.2.42", "heat flow", "(a - 1)*b", lambda a, b: (a - 1) * b, ("a b", -1, 1)),
    _row("II.6.15a", "transverse field of a dipole", "c*sqrt(a**2 + b**2)/(4*pi)",
         lambda a, b, c: 0.25 / pi * c * sqrt(a * a + b * b), ("a b c", 0.1, 1)),
    _row("II.11.17", "dipoles by angle", "n_0*(1 + a*cos(theta))",
         lambda n_0, a, theta: n_0 + n_0 * a * cos(theta), ("n_0", 0, 1), ("a", -1, 1), ("theta", 0, 2 * pi)),
    _row("II.11.27", "polarization of a dense material", "n*alpha/(1 - n*alpha/3)",
         lambda n, alpha: 3 * n * alpha / (3 - n * alpha), ("n alpha", 0, 1)),
    _row("II.35.18", "two levels in a magnetic field", "n_0/(exp(a) + exp(-a))",
         lambda n_0, a: 0.5 * n_0 / cosh(a), ("n_0", 0, 1), ("a", -1, 1)),
    _row("II.36.38", "field inside of a ferromagnet", "a + alpha*b",
         lambda a, alpha, b: a + alpha * b, ("a alpha b", -1, 1)),
    _row("II.38.3", "Hooke's law", "a/b", lambda a, b: a / b, ("a", -1, 1), ("b", 0.5, 2)),
    _row("III.9.52", "transition near resonance", "a*sin((b - c)/2)**2/((b - c)/2)**2",
         lambda a, b, c: a * sinc((b - c) / (2 * pi)) ** 2, ("a", 0, 1), ("b c", -pi, pi)),
    _row("III.10.19", "energy of a spin", "sqrt(1 + a**2 + b**2)",
         lambda a, b: sqrt(1 + a * a + b * b), ("a b", -1, 1)),
    _row("III.17.37", "angular distribution of a decay", "beta*(1 + alpha*cos(theta))",
         lambda beta, alpha, theta: beta + alpha * beta * cos(theta),
         ("beta", 0, 1), ("alpha", -1, 1), ("theta", 0, 2 * pi)),
)
# fmt: on
