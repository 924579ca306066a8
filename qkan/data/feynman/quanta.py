"""The equations of the third volume of the Feynman Lectures: quantum mechanics. 15 rows."""

import math
from functools import partial

from torch import cos, expm1, sin, sinc, sqrt

from qkan.data.functions import define

__all__ = ["QUANTA"]

pi = math.pi
_row = partial(define, source="The Feynman Lectures on Physics, volume III; ranges of AI Feynman, arXiv 1905.11481")

# fmt: off
QUANTA = (
    _row("III.4.32", "photons in a mode", "1/(exp(h*omega/(2*pi*kb*T)) - 1)",
         lambda h, omega, kb, T: 1 / expm1(h * omega / (2 * pi * kb * T)), ("h omega kb T", 1, 5)),
    _row("III.4.33", "mean energy of an oscillator", "h*omega/(2*pi)/(exp(h*omega/(2*pi*kb*T)) - 1)",
         lambda h, omega, kb, T: h * omega / (2 * pi * expm1(h * omega / (2 * pi * kb * T))), ("h omega kb T", 1, 5)),
    _row("III.7.38", "precession of a spin", "2*mom*B/(h/(2*pi))",
         lambda mom, B, h: 4 * pi * mom * B / h, ("mom B h", 1, 5)),
    _row("III.8.54", "two states, probability", "sin(E_n*t/(h/(2*pi)))**2",
         lambda E_n, t, h: sin(2 * pi * E_n * t / h) ** 2, ("E_n t", 1, 2), ("h", 1, 4)),
    # The database leaves out the first square. The probability grows with the square of the field
    # (Lectures, eq. 9.52); arXiv 2206.10540 corrects it alike.
    _row("III.9.52", "transition near resonance",
         "(p_d*Ef*t/(h/(2*pi)))**2*sin((omega - omega_0)*t/2)**2/((omega - omega_0)*t/2)**2",
         lambda p_d, Ef, t, h, omega, omega_0:
             (2 * pi * p_d * Ef * t / h * sinc((omega - omega_0) * t / (2 * pi))) ** 2,
         ("p_d Ef t h", 1, 3), ("omega omega_0", 1, 5)),
    _row("III.10.19", "energy of a spin", "mom*sqrt(Bx**2 + By**2 + Bz**2)",
         lambda mom, Bx, By, Bz: mom * sqrt(Bx * Bx + By * By + Bz * Bz), ("mom Bx By Bz", 1, 5)),
    _row("III.12.43", "angular momentum", "n*h/(2*pi)", lambda n, h: n * h / (2 * pi), ("n h", 1, 5)),
    _row("III.13.18", "speed of an electron in a crystal", "2*E_n*d**2*k/(h/(2*pi))",
         lambda E_n, d, k, h: 4 * pi * E_n * d * d * k / h, ("E_n d k h", 1, 5)),
    _row("III.14.14", "diode", "I_0*(exp(q*Volt/(kb*T)) - 1)",
         lambda I_0, q, Volt, kb, T: I_0 * expm1(q * Volt / (kb * T)), ("I_0", 1, 5), ("q Volt kb T", 1, 2)),
    _row("III.15.12", "energy of a spin wave", "2*U*(1 - cos(k*d))",
         lambda U, k, d: 4 * U * sin(0.5 * k * d) ** 2, ("U k d", 1, 5)),
    _row("III.15.14", "effective mass", "(h/(2*pi))**2/(2*E_n*d**2)",
         lambda h, E_n, d: h * h / (8 * pi**2 * E_n * d * d), ("h E_n d", 1, 5)),
    _row("III.15.27", "wave number on a ring", "2*pi*alpha/(n*d)",
         lambda alpha, n, d: 2 * pi * alpha / (n * d), ("alpha n d", 1, 5)),
    _row("III.17.37", "angular distribution of a decay", "beta*(1 + alpha*cos(theta))",
         lambda beta, alpha, theta: beta + alpha * beta * cos(theta), ("beta alpha theta", 1, 5)),
    _row("III.19.51", "levels of hydrogen", "-m*q**4/(2*(4*pi*epsilon)**2*(h/(2*pi))**2)*(1/n**2)",
         lambda m, q, h, n, epsilon: -m * q**4 / (8 * (epsilon * h * n) ** 2), ("m q h n epsilon", 1, 5)),
    _row("III.21.20", "current in a superconductor", "-rho_c_0*q*A_vec/m",
         lambda rho_c_0, q, A_vec, m: -rho_c_0 * q * A_vec / m, ("rho_c_0 q A_vec m", 1, 5)),
)
# fmt: on
