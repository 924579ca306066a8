"""The equations of the second volume of the Feynman Lectures: electricity, magnetism, matter. 34 rows."""

import math
from functools import partial

from torch import cos, cosh, hypot, sin, sqrt, tanh

from qkan.data.functions import define

__all__ = ["FIELDS"]

pi = math.pi
_row = partial(define, source="The Feynman Lectures on Physics, volume II; ranges of AI Feynman, arXiv 1905.11481")

# fmt: off
FIELDS = (
    _row("II.2.42", "heat flow", "kappa*(T2 - T1)*A/d",
         lambda kappa, T1, T2, A, d: kappa * (T2 - T1) * A / d, ("kappa T1 T2 A d", 1, 5)),
    _row("II.3.24", "flux of a source", "Pwr/(4*pi*r**2)", lambda Pwr, r: Pwr / (4 * pi * r * r), ("Pwr r", 1, 5)),
    _row("II.4.23", "potential of a charge", "q/(4*pi*epsilon*r)",
         lambda q, epsilon, r: q / (4 * pi * epsilon * r), ("q epsilon r", 1, 5)),
    _row("II.6.11", "potential of a dipole", "p_d*cos(theta)/(4*pi*epsilon*r**2)",
         lambda epsilon, p_d, theta, r: p_d * cos(theta) / (4 * pi * epsilon * r * r), ("epsilon p_d theta r", 1, 3)),
    # r is a variable of its own in the database, although it is the length of (x, y, z).
    _row("II.6.15a", "transverse field of a dipole", "3*p_d*z*sqrt(x**2 + y**2)/(4*pi*epsilon*r**5)",
         lambda epsilon, p_d, r, x, y, z: 0.75 / pi * p_d / epsilon * z * hypot(x, y) / r**5,
         ("epsilon p_d r x y z", 1, 3)),
    _row("II.6.15b", "transverse field of a dipole by angle", "3*p_d*cos(theta)*sin(theta)/(4*pi*epsilon*r**3)",
         lambda epsilon, p_d, theta, r: 0.375 / pi * p_d / epsilon * sin(2 * theta) / r**3,
         ("epsilon p_d theta r", 1, 3)),
    _row("II.8.7", "energy of a charged ball", "3*q**2/(20*pi*epsilon*d)",
         lambda q, epsilon, d: 0.6 * q * q / (4 * pi * epsilon * d), ("q epsilon d", 1, 5)),
    _row("II.8.31", "energy density of a static field", "epsilon*Ef**2/2",
         lambda epsilon, Ef: 0.5 * epsilon * Ef * Ef, ("epsilon Ef", 1, 5)),
    _row("II.10.9", "field in a dielectric", "sigma_den/(epsilon*(1 + chi))",
         lambda sigma_den, epsilon, chi: sigma_den / epsilon / (1 + chi), ("sigma_den epsilon chi", 1, 5)),
    _row("II.11.3", "driven electron", "q*Ef/(m*(omega_0**2 - omega**2))",
         lambda q, Ef, m, omega_0, omega: q * Ef / (m * (omega_0 - omega) * (omega_0 + omega)),
         ("q Ef m", 1, 3), ("omega_0", 3, 5), ("omega", 1, 2)),
    _row("II.11.17", "dipoles by angle", "n_0*(1 + p_d*Ef*cos(theta)/(kb*T))",
         lambda n_0, kb, T, theta, p_d, Ef: n_0 + n_0 * p_d * Ef * cos(theta) / (kb * T),
         ("n_0 kb T theta p_d Ef", 1, 3)),
    _row("II.11.20", "polarization", "n_rho*p_d**2*Ef/(3*kb*T)",
         lambda n_rho, p_d, Ef, kb, T: n_rho * p_d * p_d * Ef / (3 * kb * T), ("n_rho p_d Ef kb T", 1, 5)),
    _row("II.11.27", "polarization of a dense material", "n*alpha/(1 - n*alpha/3)*epsilon*Ef",
         lambda n, alpha, epsilon, Ef: 3 * n * alpha * epsilon * Ef / (3 - n * alpha),
         ("n alpha", 0, 1), ("epsilon Ef", 1, 2)),
    _row("II.11.28", "dielectric constant (Clausius, Mossotti)", "1 + n*alpha/(1 - n*alpha/3)",
         lambda n, alpha: (3 + 2 * n * alpha) / (3 - n * alpha), ("n alpha", 0, 1)),
    _row("II.13.17", "field of a wire", "I/(2*pi*epsilon*c**2*r)",
         lambda epsilon, c, current, r: current / (2 * pi * epsilon * c * c * r), ("epsilon c I r", 1, 5)),
    _row("II.13.23", "moving charge density", "rho_c_0/sqrt(1 - v**2/c**2)",
         lambda rho_c_0, v, c: rho_c_0 / sqrt(1 - (v / c) ** 2), ("rho_c_0", 1, 5), ("v", 1, 2), ("c", 3, 10)),
    _row("II.13.34", "current of moving charge", "rho_c_0*v/sqrt(1 - v**2/c**2)",
         lambda rho_c_0, v, c: rho_c_0 * v / sqrt(1 - (v / c) ** 2), ("rho_c_0", 1, 5), ("v", 1, 2), ("c", 3, 10)),
    _row("II.15.4", "magnetic dipole in a field", "-mom*B*cos(theta)",
         lambda mom, B, theta: -mom * B * cos(theta), ("mom B theta", 1, 5)),
    _row("II.15.5", "electric dipole in a field", "-p_d*Ef*cos(theta)",
         lambda p_d, Ef, theta: -p_d * Ef * cos(theta), ("p_d Ef theta", 1, 5)),
    _row("II.21.32", "potential of a moving charge", "q/(4*pi*epsilon*r*(1 - v/c))",
         lambda q, epsilon, r, v, c: q * c / (4 * pi * epsilon * r * (c - v)),
         ("q epsilon r", 1, 5), ("v", 1, 2), ("c", 3, 10)),
    _row("II.24.17", "wave number in a guide", "sqrt(omega**2/c**2 - pi**2/d**2)",
         lambda omega, c, d: sqrt((omega / c) ** 2 - (pi / d) ** 2), ("omega", 4, 6), ("c", 1, 2), ("d", 2, 4)),
    _row("II.27.16", "energy flow of a wave", "epsilon*c*Ef**2",
         lambda epsilon, c, Ef: epsilon * c * Ef * Ef, ("epsilon c Ef", 1, 5)),
    _row("II.27.18", "energy density of a wave", "epsilon*Ef**2",
         lambda epsilon, Ef: epsilon * Ef * Ef, ("epsilon Ef", 1, 5)),
    _row("II.34.2a", "current of an orbit", "q*v/(2*pi*r)", lambda q, v, r: q * v / (2 * pi * r), ("q v r", 1, 5)),
    _row("II.34.2", "magnetic moment of an orbit", "q*v*r/2", lambda q, v, r: 0.5 * q * v * r, ("q v r", 1, 5)),
    _row("II.34.11", "precession", "g_*q*B/(2*m)", lambda g, q, B, m: g * q * B / (2 * m), ("g_ q B m", 1, 5)),
    _row("II.34.29a", "Bohr magneton", "q*h/(4*pi*m)", lambda q, h, m: q * h / (4 * pi * m), ("q h m", 1, 5)),
    _row("II.34.29b", "Zeeman energy", "g_*mom*B*Jz/(h/(2*pi))",
         lambda g, h, Jz, mom, B: 2 * pi * g * mom * B * Jz / h, ("g_ h Jz mom B", 1, 5)),
    _row("II.35.18", "two levels in a magnetic field", "n_0/(exp(mom*B/(kb*T)) + exp(-mom*B/(kb*T)))",
         lambda n_0, kb, T, mom, B: 0.5 * n_0 / cosh(mom * B / (kb * T)), ("n_0 kb T mom B", 1, 3)),
    _row("II.35.21", "paramagnet", "n_rho*mom*tanh(mom*B/(kb*T))",
         lambda n_rho, mom, B, kb, T: n_rho * mom * tanh(mom * B / (kb * T)), ("n_rho mom B kb T", 1, 5)),
    _row("II.36.38", "field inside of a ferromagnet", "mom*H/(kb*T) + mom*alpha*M/(epsilon*c**2*kb*T)",
         lambda mom, H, kb, T, alpha, epsilon, c, M: mom * (H + alpha * M / (epsilon * c * c)) / (kb * T),
         ("mom H kb T alpha epsilon c M", 1, 3)),
    _row("II.37.1", "energy of a magnetic material", "mom*(1 + chi)*B",
         lambda mom, B, chi: mom * B * (1 + chi), ("mom B chi", 1, 5)),
    _row("II.38.3", "Hooke's law", "Y*A*x/d", lambda Y, A, d, x: Y * A * x / d, ("Y A d x", 1, 5)),
    _row("II.38.14", "shear modulus", "Y/(2*(1 + sigma))", lambda Y, sigma: 0.5 * Y / (1 + sigma), ("Y sigma", 1, 5)),
)
# fmt: on
