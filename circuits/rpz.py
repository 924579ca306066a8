"""rpz: |0>-H-[RY(θ)-RZ(wx+b)]^R-RY(θ)-<Z>, with R + 1 angles and R uploads, whose biases b are always trainable."""

import pennylane as qml


def rpz(x, theta, w, b):
    """Return <Z> of one edge at the number x: theta has R + 1 angles in circuit order, w and b have R entries."""
    reps = len(w)
    qml.Hadamard(0)
    for r in range(reps):
        qml.RY(theta[r], 0)
        qml.RZ(w[r] * x + b[r], 0)
    qml.RY(theta[reps], 0)
    return qml.expval(qml.PauliZ(0))
