"""Independent truth under noise: density matrices, with Kraus operators in the parametrisation of PennyLane.

Nothing here reads a `Noise` or calls the package.
"""

import math

import numpy as np
import truth

# Keywords of `Noise`, which the truth reads for itself.
NOISES = {
    "depolarizing": {"depolarizing": 0.1},
    "amplitude damping": {"amplitude_damping": 0.2},
    "phase damping": {"phase_damping": 0.3},
    "bit flip": {"bit_flip": 0.15},
    "readout": {"readout_error": 0.1},
    "asymmetric readout": {"readout_error": (0.05, 0.2)},
    "all": {
        "depolarizing": 0.02,
        "amplitude_damping": 0.1,
        "phase_damping": 0.2,
        "bit_flip": 0.05,
        "readout_error": (0.01, 0.1),
    },
    "uploads forgotten": {"depolarizing": 0.75, "amplitude_damping": 0.3, "after": "encoding"},
    "reset": {"amplitude_damping": 1.0, "after": ("RX", "H")},
    "reset in the middle": {"amplitude_damping": 1.0, "after": "RX"},
    "all at some gates": {"depolarizing": 0.1, "amplitude_damping": 0.2, "bit_flip": 1.0, "after": ("RX", "H")},
    "trainable and fixed": {"phase_damping": 0.4, "amplitude_damping": 0.1, "after": ["trainable", "fixed"]},
}

KRAUS = {
    # In the order in which they act.
    "depolarizing": lambda p: [math.sqrt(1 - p) * np.eye(2)] + [math.sqrt(p / 3) * truth.PAULI[axis] for axis in "xyz"],
    "amplitude_damping": lambda g: [
        np.array([[1, 0], [0, math.sqrt(1 - g)]]),
        np.array([[0, math.sqrt(g)], [0, 0]]),
    ],
    "phase_damping": lambda g: [np.diag([1, math.sqrt(1 - g)]), np.diag([0, math.sqrt(g)])],
    "bit_flip": lambda p: [math.sqrt(1 - p) * np.eye(2), math.sqrt(p) * truth.PAULI["x"]],
}


def conjugation(matrix):
    """The matrix of rho -> K rho K†, on the entries of rho row by row."""
    return np.einsum("...ac,...bd->...abcd", matrix, np.conj(matrix)).reshape(*matrix.shape[:-2], 4, 4)


def channel(noise):
    total = np.eye(4)
    for name, operators in KRAUS.items():
        total = sum(conjugation(k) for k in operators(noise.get(name, 0.0))) @ total
    return total


def is_noisy(word, after):
    kinds = {"r": {"trainable", "R" + word[-1].upper()}, "e": {"encoding", "R" + word[-1].upper()}}
    return bool(kinds.get(word[0], {"fixed", word}) & set([after] if isinstance(after, str) else after))


def run(gates, noise, u, theta, weight, bias):
    """<Z> as it is read, [..., *batch, out, in]; noise is a row of NOISES, the rest as in `truth.run`."""
    u = np.asarray(u, float)[..., None, :]
    edges = np.broadcast_shapes(u.shape, theta.shape[:-1], bias.shape[:-1])
    rho = np.zeros((*edges, 4), complex)
    rho[..., 0] = 1
    noisy, after = channel(noise), noise.get("after", ("trainable", "encoding"))
    angle = upload = 0
    for word in gates:
        if word in truth.FIXED:
            gate = truth.FIXED[word]
        elif word[0] == "r":
            gate, angle = truth.rotation(word[1], theta[..., angle]), angle + 1
        else:
            gate, upload = truth.rotation(word[1], weight[..., upload] * u + bias[..., upload]), upload + 1
        rho = np.einsum("...ab,...b->...a", conjugation(gate), rho)
        if is_noisy(word, after):
            rho = rho @ noisy.T
    errors = noise.get("readout_error", 0.0)
    e0, e1 = errors if isinstance(errors, tuple) else (errors, errors)
    p0, p1 = rho[..., 0].real, rho[..., 3].real
    return ((1 - e0) * p0 + e1 * p1) - (e0 * p0 + (1 - e1) * p1)
