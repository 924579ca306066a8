"""Independent truth: complex 2 x 2 matrices in NumPy, and the named circuits written down a second time.

Nothing here reads a `Gate` or calls the package. ``rx`` is a trainable rotation, ``ex`` an encoding one.
"""

from typing import NamedTuple

import numpy as np

PAULI = {
    "x": np.array([[0, 1], [1, 0]], complex),
    "y": np.array([[0, -1j], [1j, 0]], complex),
    "z": np.array([[1, 0], [0, -1]], complex),
}
FIXED = {
    "H": (PAULI["x"] + PAULI["z"]) / np.sqrt(2),
    "X": PAULI["x"],
    "Y": PAULI["y"],
    "Z": PAULI["z"],
}

# prepare, block, final; then the map to u.
CIRCUITS = {
    "pz": ("H", "rz ry ez", "rz ry", "x"),
    "rpz": ("H", "ry ez", "ry", "x"),
    "px": ("H", "rz ex", "rz", "tanh"),
    "px-clamp": ("H", "rz ex", "rz", "clamp"),
    "px-none": ("H", "rz ex", "rz", "none"),
    "real": ("H", "X ry Z ey", "", "x"),
    "mix": ("H", "rz rx ey", "rz rx", "x"),
    "two": ("H", "ry ez rx ey", "rz rx", "x"),
    "own": ("rx", "Y ex rz H Z ey X ry", "H", "x"),
    "flip": ("", "ry ex H Y ez", "rx ry", "x"),
    "late": ("H", "ez ey", "", "x"),
}


class State(NamedTuple):
    """Amplitudes of |0> and |1>, each [*batch, out, in]."""

    alpha: np.ndarray
    beta: np.ndarray

    @property
    def z(self):
        return np.abs(self.alpha) ** 2 - np.abs(self.beta) ** 2

    @property
    def amplitude(self):
        return np.abs(self.alpha) - np.abs(self.beta)


def rotation(axis, angle):
    """exp(-i angle G / 2) [..., 2, 2], by the eigenvectors of G."""
    values, vectors = np.linalg.eigh(PAULI[axis])
    phases = np.exp(-0.5j * np.asarray(angle)[..., None] * values)  # [..., 2]
    return (vectors * phases[..., None, :]) @ vectors.conj().T


def words(name, reps):
    prepare, block, final, _ = CIRCUITS[name]
    return prepare.split() + block.split() * reps + final.split()


def argument(name, x):
    kind = CIRCUITS[name][3]
    if kind == "x":
        return x
    return np.arccos({"tanh": np.tanh, "clamp": lambda t: np.clip(t, -1, 1), "none": lambda t: t}[kind](x))


def slope(name, x):
    """du/dx, the gradient of a clamp being 0 from its ends on."""
    kind = CIRCUITS[name][3]
    if kind == "x":
        return np.ones_like(x)
    if kind == "tanh":
        return -1 / np.cosh(x)
    inside = np.abs(x) < 1
    return np.where(inside, -1 / np.sqrt(1 - np.where(inside, x, 0) ** 2), 0)


def state(name, reps, u, theta, weight, bias):
    """Run a named circuit for u [*batch, in], theta [out, in, angles]; weight, bias broadcast to [out, in, uploads]."""
    return run(words(name, reps), u, theta, weight, bias)


def run(gates, u, theta, weight, bias):
    """Run the circuit of these words; arguments as in `state`."""
    u = np.asarray(u, float)[..., None, :]  # [*batch, 1, in]
    edges = np.broadcast_shapes(u.shape, theta.shape[:-1])
    psi = np.zeros((*edges, 2), complex)
    psi[..., 0] = 1
    angle = upload = 0
    for word in gates:
        if word in FIXED:
            gate = FIXED[word]
        elif word[0] == "r":
            gate, angle = rotation(word[1], theta[..., angle]), angle + 1
        else:
            gate, upload = rotation(word[1], weight[..., upload] * u + bias[..., upload]), upload + 1
        psi = np.einsum("...ab,...b->...a", gate, psi)
    return State(psi[..., 0], psi[..., 1])


def gradients(name, reps, x, theta, weight, bias, cotangent):
    """Gradients of Σ cotangent <Z> by the parameter-shift rule, which is exact: (z(t + π/2) - z(t - π/2)) / 2.

    Those of weight and bias are per edge, [out, in, uploads]; that of u comes through the biases.
    """
    u = argument(name, x)
    edges = theta.shape[:-1]
    weight, bias = (np.broadcast_to(part, (*edges, part.shape[-1])) for part in (weight, bias))

    def shifted(parameter, index):
        step = np.zeros(parameter.shape[-1])
        step[index] = np.pi / 2
        moves = [(step, 0), (-step, 0)] if parameter is theta else [(0, step), (0, -step)]
        up, down = (state(name, reps, u, theta + t, weight, bias + b).z for t, b in moves)
        return (up - down) / 2 * cotangent  # [*batch, out, in]

    def total(array):
        return array.reshape(-1, *edges).sum(0)

    by_theta = [total(shifted(theta, a)) for a in range(theta.shape[-1])]
    by_upload = [shifted(bias, r) for r in range(bias.shape[-1])]
    by_u = sum((part * weight[..., r]).sum(-2) for r, part in enumerate(by_upload))
    return {
        "x": by_u * slope(name, x),
        "theta": np.stack(by_theta, -1) if by_theta else np.zeros((*edges, 0)),
        "weight": np.stack([total(part * u[..., None, :]) for part in by_upload], -1),
        "bias": np.stack([total(part) for part in by_upload], -1),
    }
