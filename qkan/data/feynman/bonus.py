"""The twenty harder equations of AI Feynman, from the textbooks of Goldstein, Jackson, Weinberg and Schwartz."""

import math
from functools import partial

from torch import acos, cos, sin, sqrt

from qkan.data.functions import define

__all__ = ["BONUS"]

pi = math.pi
_row = partial(define, source="bonus equation of AI Feynman, arXiv 1905.11481")

# In the order of the database, where they are called test_1 to test_20.
# fmt: off
BONUS = (
    _row("Rutherford scattering", "cross section", "(Z_1*Z_2*alpha*hbar*c/(4*E_n*sin(theta/2)**2))**2",
         lambda Z_1, Z_2, alpha, hbar, c, E_n, theta:
             (Z_1 * Z_2 * alpha * hbar * c / (2 * E_n * (1 - cos(theta)))) ** 2,
         ("Z_1 Z_2 alpha hbar c", 1, 2), ("E_n theta", 1, 3)),
    _row("Goldstein 3.55", "orbit in a central field, 1/r",
         "m*k_G/L**2*(1 + sqrt(1 + 2*E_n*L**2/(m*k_G**2))*cos(theta1 - theta2))",
         lambda m, k_G, L, E_n, theta1, theta2:
             m * k_G / (L * L) * (1 + sqrt(1 + 2 * E_n / m * (L / k_G) ** 2) * cos(theta1 - theta2)),
         ("m k_G L E_n", 1, 3), ("theta1 theta2", 0, 6)),
    # An ellipse has alpha < 1; the database draws alpha between 2 and 4, a hyperbola, where r is negative.
    _row("Goldstein 3.64", "conic section", "d*(1 - alpha**2)/(1 + alpha*cos(theta1 - theta2))",
         lambda d, alpha, theta1, theta2: d * (1 - alpha * alpha) / (1 + alpha * cos(theta1 - theta2)),
         ("d", 1, 3), ("alpha", 2, 4), ("theta1 theta2", 4, 5)),
    _row("Goldstein 3.16", "radial speed", "sqrt(2/m*(E_n - U - L**2/(2*m*r**2)))",
         lambda m, E_n, U, L, r: sqrt(2 * (E_n - U) / m - (L / (m * r)) ** 2),
         ("m", 1, 3), ("E_n", 8, 12), ("U L r", 1, 3)),
    _row("Goldstein 3.74", "Kepler's third law", "2*pi*d**(3/2)/sqrt(G*(m1 + m2))",
         lambda d, G, m1, m2: 2 * pi * sqrt(d**3 / (G * (m1 + m2))), ("d G m1 m2", 1, 3)),
    # epsilon is 4 pi times the permittivity: in these units the potential energy is Z_1 Z_2 q^2/(epsilon r).
    _row("Goldstein 3.99", "eccentricity of Coulomb scattering",
         "sqrt(1 + 2*epsilon**2*E_n*L**2/(m*(Z_1*Z_2*q**2)**2))",
         lambda epsilon, L, m, Z_1, Z_2, q, E_n:
             sqrt(1 + 2 * E_n / m * (epsilon * L / (Z_1 * Z_2 * q * q)) ** 2),
         ("epsilon L m Z_1 Z_2 q E_n", 1, 3)),
    _row("Friedmann equation", "Hubble rate", "sqrt(8*pi*G*rho/3 - alpha*c**2/d**2)",
         lambda G, rho, alpha, c, d: sqrt(8 * pi / 3 * G * rho - alpha * (c / d) ** 2),
         ("G rho", 1, 3), ("alpha c", 1, 2), ("d", 1, 3)),
    _row("Compton scattering", "energy of the photon", "E_n/(1 + E_n/(m*c**2)*(1 - cos(theta)))",
         lambda E_n, m, c, theta: E_n * m * c * c / (m * c * c + E_n * (1 - cos(theta))), ("E_n m c theta", 1, 3)),
    _row("Gravitational wave power", "of two masses on a circle", "-32*G**4*(m1*m2)**2*(m1 + m2)/(5*c**5*r**5)",
         lambda G, c, m1, m2, r: -6.4 * G**4 / (c * r) ** 5 * (m1 * m2) ** 2 * (m1 + m2),
         ("G c", 1, 2), ("m1 m2", 1, 5), ("r", 1, 2)),
    _row("Relativistic aberration", "angle of light", "acos((cos(theta2) - v/c)/(1 - v/c*cos(theta2)))",
         lambda c, v, theta2: acos((c * cos(theta2) - v) / (c - v * cos(theta2))), ("c", 4, 6), ("v theta2", 1, 3)),
    _row("N-slit diffraction", "intensity", "I_0*(sin(alpha/2)*sin(n*delta/2)/(alpha/2*sin(delta/2)))**2",
         lambda I_0, alpha, delta, n:
             I_0 * (2 * sin(0.5 * alpha) / alpha) ** 2 * (sin(0.5 * n * delta) / sin(0.5 * delta)) ** 2,
         ("I_0 alpha delta", 1, 3), ("n", 1, 2)),
    # The formula is for a charge outside of the sphere, y > d; the ranges of the database put it inside.
    _row("Jackson 2.11", "charge and conducting sphere",
         "q/(4*pi*epsilon*y**2)*(4*pi*epsilon*Volt*d - q*d*y**3/(y**2 - d**2)**2)",
         lambda q, y, Volt, d, epsilon:
             q * d * (Volt / (y * y) - q * y / (4 * pi * epsilon * (y * y - d * d) ** 2)),
         ("q", 1, 5), ("y", 1, 3), ("Volt", 1, 5), ("d", 4, 6), ("epsilon", 1, 5)),
    _row("Jackson 3.45", "potential of a shifted charge", "q/(4*pi*epsilon*sqrt(r**2 + d**2 - 2*r*d*cos(alpha)))",
         lambda q, r, d, alpha, epsilon:
             q / (4 * pi * epsilon) / sqrt((r - d * cos(alpha)) ** 2 + (d * sin(alpha)) ** 2),
         ("q", 1, 5), ("r", 1, 3), ("d", 4, 6), ("alpha", 0, 6), ("epsilon", 1, 5)),
    _row("Jackson 4.60", "dielectric sphere in a field", "Ef*cos(theta)*(-r + d**3/r**2*(alpha - 1)/(alpha + 2))",
         lambda Ef, theta, r, d, alpha: Ef * cos(theta) * (d**3 * (alpha - 1) / ((alpha + 2) * r * r) - r),
         ("Ef", 1, 5), ("theta", 0, 6), ("r d alpha", 1, 5)),
    _row("Jackson 11.38", "Doppler effect at an angle", "sqrt(1 - v**2/c**2)*omega/(1 + v/c*cos(theta))",
         lambda c, v, omega, theta: omega * sqrt(c * c - v * v) / (c + v * cos(theta)),
         ("c", 5, 20), ("v", 1, 3), ("omega", 1, 5), ("theta", 0, 6)),
    _row("Goldstein 8.56", "relativistic Hamiltonian", "sqrt((p - q*A_vec)**2*c**2 + m**2*c**4) + q*Volt",
         lambda m, c, p, q, A_vec, Volt: c * sqrt((p - q * A_vec) ** 2 + (m * c) ** 2) + q * Volt,
         ("m c p q A_vec Volt", 1, 5)),
    # alpha*x/y, as in the database: the cubic term makes the oscillator anharmonic, and y is the length that it is
    # measured in. With alpha*y/x, as some copies have it, the term is linear in x and only shifts a harmonic one.
    _row("Goldstein 12.80", "anharmonic oscillator", "(p**2 + m**2*omega**2*x**2*(1 + alpha*x/y))/(2*m)",
         lambda m, omega, p, y, x, alpha: 0.5 * (p * p / m + m * (omega * x) ** 2 * (y + alpha * x) / y),
         ("m omega p y x alpha", 1, 5)),
    _row("Weinberg 15.2.1", "density of the universe", "3/(8*pi*G)*(c**2*k_f/r**2 + H_G**2)",
         lambda G, k_f, r, H_G, c: 0.375 / pi * (k_f * (c / r) ** 2 + H_G * H_G) / G, ("G k_f r H_G c", 1, 5)),
    _row("Weinberg 15.2.2", "pressure of the universe", "-(c**4*k_f/r**2 + H_G**2*c**2*(1 - 2*alpha))/(8*pi*G)",
         lambda G, k_f, r, H_G, alpha, c: (c * c * (H_G**2 * (2 * alpha - 1) - k_f * (c / r) ** 2)) / (8 * pi * G),
         ("G k_f r H_G alpha c", 1, 5)),
    # h, not hbar: alpha^2 h^2/(4 pi) is pi alpha^2 hbar^2, the cross section per cosine of the angle.
    _row("Schwartz 13.132", "Klein-Nishina formula",
         "alpha**2*h**2/(4*pi*m**2*c**2)*(omega_0/omega)**2*(omega_0/omega + omega/omega_0 - sin(beta)**2)",
         lambda omega, omega_0, alpha, h, m, c, beta:
             0.25 / pi * (alpha * h / (m * c) * omega_0 / omega) ** 2
             * (omega_0 / omega + omega / omega_0 - sin(beta) ** 2),
         ("omega omega_0 alpha h m c", 1, 5), ("beta", 0, 6)),
)
# fmt: on
