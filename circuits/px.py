"""px: |0>-H-[RZ(θ)-RX(wu+b)]^R-RZ(θ)-<Z> with u = arccos tanh x, with R + 1 angles and R uploads.

The last RZ commutes with the observable: its angle is invisible to <Z>.
"""

import math

import pennylane as qml


def u_of(x):
    """Return u = arccos tanh x, written so that its derivative, -1 / cosh x, stays finite where tanh x rounds to 1."""
    return math.pi / 2 - 2 * qml.math.arctan(qml.math.tanh(x / 2))


def px_of_u(u, theta, w, b):
    """Return <Z> of one edge at the number u: theta has R + 1 angles in circuit order, w and b have R entries."""
    reps = len(w)
    qml.Hadamard(0)
    for r in range(reps):
        qml.RZ(theta[r], 0)
        qml.RX(w[r] * u + b[r], 0)
    qml.RZ(theta[reps], 0)
    return qml.expval(qml.PauliZ(0))


def px(x, theta, w, b):
    """Return <Z> of one edge at the number x; the other arguments as in `px_of_u`."""
    return px_of_u(u_of(x), theta, w, b)
