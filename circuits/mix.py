"""mix: |0>-H-[RZ(θ)-RX(θ)-RY(wx+b)]^R-RZ(θ)-RX(θ)-<Z>, with 2(R + 1) angles and R uploads."""

import pennylane as qml


def mix(x, theta, w, b):
    """Return <Z> of one edge at the number x: theta has 2(R + 1) angles in circuit order, w and b have R entries."""
    reps = len(w)
    qml.Hadamard(0)
    for r in range(reps):
        qml.RZ(theta[2 * r], 0)
        qml.RX(theta[2 * r + 1], 0)
        qml.RY(w[r] * x + b[r], 0)
    qml.RZ(theta[2 * reps], 0)
    qml.RX(theta[2 * reps + 1], 0)
    return qml.expval(qml.PauliZ(0))
