"""The circuits with symbols for numbers, and OpenQASM 3 made of them."""

from itertools import chain

import pennylane as qml
from catalogue import ANGLES, OF_U, REPS

QASM = {"Hadamard": "h", "PauliX": "x", "PauliZ": "z", "RX": "rx", "RY": "ry", "RZ": "rz"}


class Symbol(str):
    """A name; products and sums of names are written out."""

    def __mul__(self, other):
        return Symbol(f"{self} * {other}")

    def __add__(self, other):
        return Symbol(f"{self} + {other}")


def names(name):
    """Return the symbols theta_0, ..., then w_0, ..., then b_0, ... of an ansatz."""
    counts = {"theta": ANGLES[name], "w": REPS, "b": REPS}
    return [[Symbol(f"{letter}_{i}") for i in range(count)] for letter, count in counts.items()]


def gates(name, u):
    """Return the gates of an ansatz at the symbol u in order: pairs of PennyLane's name and the angle, "" if none."""
    circuit = qml.tape.make_qscript(OF_U[name])(Symbol(u), *names(name))
    return [(gate.name, "".join(gate.parameters)) for gate in circuit.operations]


def qasm(name):
    """Return the OpenQASM 3 program of an ansatz."""
    meaning = "arccos(tanh(x))" if name == "px" else "x"
    angles = [(QASM[gate], f"({angle})" if angle else "") for gate, angle in gates(name, "u")]
    lines = [
        f"// {name} with {REPS} repetitions: one edge at x. <Z> is the mean of 1 - 2 c.",
        f"// The input is u = {meaning}; it is not called x, for x is a gate of stdgates.inc.",
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        *(f"input float[64] {symbol};" for symbol in ["u", *chain.from_iterable(names(name))]),
        "qubit q;",
        "bit c;",
        "reset q;",
        *(f"{gate}{angle} q;" for gate, angle in angles),
        "c = measure q;",
    ]
    return "\n".join(lines) + "\n"


def write(name, path):
    """Write the OpenQASM 3 program of an ansatz."""
    path.write_text(qasm(name), encoding="utf-8")


def agrees(name, path):
    """Return whether a file is the OpenQASM 3 program of an ansatz."""
    return path.read_text(encoding="utf-8") == qasm(name)
