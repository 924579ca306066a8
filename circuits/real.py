"""real: |0>-H-[X-RY(θ)-Z-RY(wx+b)]^R-<Z>, with R angles and R uploads.

All rotations share one axis: <Z> is a single harmonic of amplitude 1, whatever the angles.
"""

import pennylane as qml


def real(x, theta, w, b):
    """Return <Z> of one edge at the number x: theta has R angles in circuit order, w and b have R entries."""
    qml.Hadamard(0)
    for r in range(len(w)):
        qml.PauliX(0)
        qml.RY(theta[r], 0)
        qml.PauliZ(0)
        qml.RY(w[r] * x + b[r], 0)
    return qml.expval(qml.PauliZ(0))
