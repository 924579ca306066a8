"""Export: programs parsed by another parser and run by matrices, quantum functions run by PennyLane."""

import math
import re
import sys

import numpy as np
import pytest
import torch
import truth
from helpers import ANSATZE, ENCODINGS, error, inputs, random_layer
from torch import nn

from qkan import HQKAN, QKAN, Ansatz, QKANLinear
from qkan.ansatz import RZ, H
from qkan.export import openqasm, quantum_function
from qkan.noise import Noise

WIDTHS = (3, 2)
ROWS = [pytest.param(ansatz, encoding, id=f"{ansatz}-{encoding}") for ansatz in ANSATZE for encoding in ENCODINGS]

# The gates of stdgates.inc; no global name of a program that includes it may be one of them.
GATES = {
    *("p", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "rx", "ry", "rz", "id", "phase", "u1", "u2", "u3"),
    *("cx", "cy", "cz", "cp", "crx", "cry", "crz", "ch", "cu", "CX", "cphase", "swap", "ccx", "cswap"),
}

NOISY = {
    "gates": Noise(depolarizing=0.03, amplitude_damping=0.05, phase_damping=0.02, bit_flip=0.04, after=("RX", "fixed")),
    "readout": Noise(readout_error=(0.02, 0.07)),
}


def layer_of(ansatz="pz", encoding="unit", **more):
    return random_layer(ansatz, encoding, **{"widths": WIDTHS} | more)


class Machine:
    """Runs a parsed program on separate qubits, by matrices; whatever it does not know is an error."""

    def __init__(self, text, **given):
        openqasm3 = pytest.importorskip("openqasm3")
        self.ast, self.values, self.declared, self.psi, self.bits, self.measured = (
            openqasm3.ast,
            given,
            [],
            None,
            0,
            None,
        )
        program = openqasm3.parse(text)
        assert program.version == "3.0"
        for statement in program.statements:
            assert self.measured is None
            getattr(self, type(statement).__name__)(statement)

    def Include(self, node):
        assert node.filename == "stdgates.inc"

    def IODeclaration(self, node):
        assert (node.io_identifier.name, type(node.type).__name__, node.type.size.value) == ("input", "FloatType", 64)
        self.declared.append(node.identifier.name)

    def QubitDeclaration(self, node):
        assert node.qubit.name == "q"
        self.psi = [None] * node.size.value

    def ClassicalDeclaration(self, node):
        assert (node.identifier.name, type(node.type).__name__) == ("c", "BitType")
        self.bits = node.type.size.value

    def QuantumReset(self, node):
        assert node.qubits.name == "q"
        self.psi = [np.array([1, 0], complex) for _ in self.psi]

    def QuantumGate(self, node):
        (qubit,) = node.qubits
        ((index,),) = qubit.indices
        assert not node.modifiers
        assert qubit.name.name == "q"
        angles = [self.number(argument) for argument in node.arguments]
        name = node.name.name
        gate = truth.rotation(name.removeprefix("r"), *angles) if angles else truth.FIXED[name.upper()]
        self.psi[index.value] = gate @ self.psi[index.value]

    def QuantumMeasurementStatement(self, node):
        assert (node.measure.qubit.name, node.target.name) == ("q", "c")
        assert self.bits == len(self.psi)
        self.measured = np.array([abs(psi[0]) ** 2 - abs(psi[1]) ** 2 for psi in self.psi])

    def number(self, node):
        kind = type(node).__name__
        if kind in ("FloatLiteral", "IntegerLiteral"):
            return node.value
        if kind == "Identifier":
            assert node.name in self.declared
            return self.values[node.name]
        if kind == "UnaryExpression":
            assert node.op.name == "-"
            return -self.number(node.expression)
        left, right = self.number(node.lhs), self.number(node.rhs)
        return {"*": left * right, "+": left + right, "-": left - right}[node.op.name]


def symbols(ansatz, x):
    """The inputs that a program declares, and their values."""
    letter = "x" if ANSATZE[ansatz].arccos_map is None else "u"
    return {f"{letter}_{i}": float(u) for i, u in enumerate(truth.argument(ansatz, x.numpy()))}


def edges_of(layer, x):
    return layer.edges(x).detach().numpy()


def comments(text):
    return [line for line in text.splitlines() if line.startswith("//")]


def gates(text):
    return text.partition("reset q;\n")[2]


@pytest.mark.parametrize(("ansatz", "encoding"), ROWS)
def test_symbolic_programs_measure_the_edges(ansatz, encoding):
    layer, x = layer_of(ansatz, encoding), inputs(ansatz, 3)
    given = symbols(ansatz, x)
    machine = Machine(openqasm(layer), **given)
    assert machine.declared == list(given)
    np.testing.assert_allclose(machine.measured, edges_of(layer, x).ravel(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ansatz", "encoding"), ROWS)
def test_programs_of_numbers_measure_the_edges(ansatz, encoding):
    layer, x = layer_of(ansatz, encoding), inputs(ansatz, 3)
    machine = Machine(openqasm(layer, x))
    assert machine.declared == []
    np.testing.assert_allclose(machine.measured, edges_of(layer, x).ravel(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_programs_of_one_edge(ansatz):
    layer, x = layer_of(ansatz, "trainable"), inputs(ansatz, 3)
    given, z = symbols(ansatz, x), edges_of(layer, x)
    for o, i in [(0, 0), (1, 2)]:
        machine = Machine(openqasm(layer, edge=(o, i)), **given)
        assert machine.declared == [list(given)[i]]
        np.testing.assert_allclose(machine.measured, [z[o, i]], rtol=0, atol=1e-12)
        numbers = Machine(openqasm(layer, x[i], edge=np.array([o, i])))
        assert numbers.declared == []
        np.testing.assert_allclose(numbers.measured, [z[o, i]], rtol=0, atol=1e-12)


def test_a_program_in_full():
    layer = QKANLinear(2, 2, ansatz="rpz", reps=3, encoding=(3, -2, 1), dtype=torch.float64, scale=True, bias=True)
    with torch.no_grad():
        layer.theta.copy_(torch.tensor([1e-5, -0.1, 2.0, 1 / 3]))
        layer.encoding_bias.copy_(torch.tensor([0.25, -0.5, 0.0]))
        layer.bias.copy_(torch.tensor([0.75, -1.5]))
    assert openqasm(layer, edge=(1, 0)).splitlines() == [
        "// Edge (1, 0), from input 0 to output 1, of a layer with 2 inputs and 2 outputs.",
        "// rpz: |0>-H-[RY(theta)-RZ(wx+b)]^R-RY(theta)-<Z> with R = 3",
        "// q[0], c[0]: edge (1, 0), gain_1_0 = 1.0",
        "// bias_0 = 0.75, bias_1 = -1.5",
        "// Classically: z_o_i = p0 - p1, the mean of 1 - 2 c over the shots, c the bit of edge (o, i); then",
        "// y_o = bias_o + sum_i gain_o_i z_o_i",
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        "input float[64] x_0;",
        "qubit[1] q;",
        "bit[1] c;",
        "reset q;",
        "h q[0];",
        "ry(9.999999747378752e-06) q[0];",
        "rz(3 * x_0 + 0.25) q[0];",
        "ry(-0.10000000149011612) q[0];",
        "rz(-2 * x_0 - 0.5) q[0];",
        "ry(2.0) q[0];",
        "rz(x_0) q[0];",
        "ry(0.3333333432674408) q[0];",
        "c = measure q;",
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_angles_read_back_exactly(dtype):
    layer = layer_of("mix", "trainable", dtype=dtype)
    read = re.findall(r"r([xyz])\((.+)\) q", openqasm(layer))
    trained = [float(angle) for axis, angle in read if axis != "y"]
    assert trained == layer.theta.double().flatten().tolist()
    encoding = [re.fullmatch(r"(\S+) \* x_\d ([+-]) (\S+)", angle).groups() for axis, angle in read if axis == "y"]
    assert [float(w) for w, _, _ in encoding] == layer.encoding_weight.double().flatten().tolist()
    assert [float(sign + b) for _, sign, b in encoding] == layer.encoding_bias.double().flatten().tolist()


def test_programs_are_ascii_and_names_no_gates_whatever_an_ansatz_is_called():
    for name in ("é θ", "a\nreset q;", "a\u2028b"):
        layer = QKANLinear(4, 1, ansatz=Ansatz(name, (H,), (RZ("encoding"),), (H,), arccos_map="tanh"))
        text = openqasm(layer)
        assert text.isascii()
        assert text.count("\nreset q;") == 1
        declared = Machine(text, u_0=0.1, u_1=0.2, u_2=0.3, u_3=0.4).declared
        assert not GATES & set(declared)
    assert not GATES & set(Machine(openqasm(layer_of()), x_0=0.1, x_1=0.2, x_2=0.3).declared)


def total(text, x, sigma=None):
    """y of a layer from the bits of its program, by what the comments say."""
    machine = Machine(text, **{f"x_{i}": float(value) for i, value in enumerate(x)})
    told = {name: float(value) for line in comments(text) for name, value in re.findall(r"(\w+) = (-?[\d.e-]+)", line)}
    edges = {int(k): (int(o), int(i)) for k, o, i in re.findall(r"q\[(\d+)\], c\[\1\]: edge \((\d+), (\d+)\)", text)}
    assert list(edges) == list(range(len(machine.measured)))
    y = np.array([told.get(f"bias_{o}", 0.0) for o in range(2)])
    for (o, i), z in zip(edges.values(), machine.measured, strict=True):
        y[o] += told[f"gain_{o}_{i}"] * z
        y[o] += told[f"base_{o}_{i}"] * float(sigma(x[i])) if sigma else 0.0
    return y


CLASSICAL = {
    "plain": ({}, "sum_i gain_o_i z_o_i"),
    "scale": ({"scale": True}, "sum_i gain_o_i z_o_i"),
    "bias": ({"bias": True}, "bias_o + sum_i gain_o_i z_o_i"),
    "base": ({"base_activation": "silu"}, "sum_i (gain_o_i z_o_i + base_o_i sigma(x_i))"),
    "all": (
        {"scale": True, "bias": True, "base_activation": nn.SiLU},
        "bias_o + sum_i (gain_o_i z_o_i + base_o_i sigma(x_i))",
    ),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CLASSICAL)
def test_the_comments_say_how_to_compute_the_layer(name, masked):
    options, formula = CLASSICAL[name]
    layer, x = layer_of(**options), inputs("pz", 3)
    if masked:
        layer.mask.copy_(torch.tensor([[0, 1, 0.5], [1, 1, 0]]))
    text = openqasm(layer)
    assert f"// y_o = {formula}" in comments(text)
    assert ("sigma = " in text) == ("base_activation" in options)
    assert ("// Left out, the mask being 0: (0, 0), (1, 2)" in comments(text)) == masked
    assert f"qubit[{4 if masked else 6}] q;" in text.splitlines()
    sigma = nn.functional.silu if "base_activation" in options else None
    np.testing.assert_allclose(total(text, x, sigma), layer(x).detach(), rtol=0, atol=1e-12)


def test_masked_edges_take_no_qubit_and_no_input():
    layer, x = layer_of(), inputs("pz", 3)
    layer.mask[:, 1] = 0
    machine = Machine(openqasm(layer), x_0=float(x[0]), x_2=float(x[2]))
    assert machine.declared == ["x_0", "x_2"]
    np.testing.assert_allclose(machine.measured, edges_of(layer, x)[:, [0, 2]].ravel(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(Machine(openqasm(layer, x)).measured, machine.measured, rtol=0, atol=1e-12)


def test_a_masked_edge_asked_for_by_name_is_there_with_its_gain():
    layer, x = layer_of(), inputs("pz", 3)
    layer.mask[1, 2] = 0
    text = openqasm(layer, edge=(1, 2))
    assert "// q[0], c[0]: edge (1, 2), gain_1_2 = 0.0" in comments(text)
    assert "Left out" not in text
    np.testing.assert_allclose(Machine(text, x_2=float(x[2])).measured, edges_of(layer, x)[1, 2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NOISY)
def test_simulated_noise_is_left_out_and_the_program_says_so(name):
    layer = layer_of(noise=NOISY[name])
    text = openqasm(layer)
    assert f"// Left out: the simulated {NOISY[name]}; a device has its own." in comments(text)
    assert gates(text) == gates(openqasm(layer_of()))
    assert "noise" not in openqasm(layer_of()).lower()


MAPS = {"px": "arccos(tanh(x_i))", "px-clamp": "arccos(min(max(x_i, -1), 1))", "px-none": "arccos(x_i)"}


@pytest.mark.parametrize("ansatz", MAPS)
def test_the_variable_of_px_is_said_to_be_classical(ansatz):
    layer, x = layer_of(ansatz), inputs(ansatz, 3)
    for text in (openqasm(layer), openqasm(layer, x), openqasm(layer, edge=(0, 1))):
        assert f"// u_i = {MAPS[ansatz]}, computed classically" in comments(text)
        assert "x_i" in text
    assert "u_i" not in openqasm(layer_of())


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor, lambda x: nn.Parameter(torch.tensor(x))])
def test_inputs_of_any_kind(kind):
    layer, x = layer_of(), [0.125, -2.0, 3.5]
    text = openqasm(layer, kind(x))
    assert "// For x_0 = 0.125, x_1 = -2.0, x_2 = 3.5" in comments(text)
    assert text == openqasm(layer, torch.tensor(x, dtype=torch.float64))


def test_python_numbers_are_not_rounded():
    layer = layer_of("real", reps=1)
    assert "ry(0.1) q[0];" in openqasm(layer, 0.1, edge=(0, 0)).splitlines()
    assert "ry(0.1) q[0];" in openqasm(layer, [0.1, 0.2, 0.3]).splitlines()


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_pennylane_runs_the_programs(ansatz):
    pytest.importorskip("openqasm3")
    qml = pytest.importorskip("pennylane", "0.42")
    layer, x = layer_of(ansatz, "trainable"), inputs(ansatz, 3)
    layer.mask[:] = torch.tensor([[0, 1, 0], [1, 0, 0]])

    def run(text, **given):
        text = text.replace('include "stdgates.inc";', "")  # PennyLane knows the gates, but not the statement
        wires = [f"q[{k}]" for k in range(text.count("]: edge "))]

        def function():
            qml.from_qasm3(text)(**given)
            return [qml.expval(qml.PauliZ(wire)) for wire in wires]

        return qml.QNode(function, qml.device("default.qubit"))()

    given, z = symbols(ansatz, x), edges_of(layer, x)
    used = dict(list(given.items())[:2])
    np.testing.assert_allclose(run(openqasm(layer), **used), [z[0, 1], z[1, 0]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(run(openqasm(layer, x[2], edge=(1, 2))), [z[1, 2]], rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_qiskit_runs_the_programs(ansatz):
    importer = pytest.importorskip("qiskit_qasm3_import")
    quantum_info = pytest.importorskip("qiskit.quantum_info")
    layer, x = layer_of(ansatz, "trainable"), inputs(ansatz, 3)
    given = symbols(ansatz, x)
    for text, values in [(openqasm(layer), given), (openqasm(layer, x), {})]:
        circuit = importer.parse(text)
        circuit.data = [step for step in circuit.data if step.operation.name not in ("reset", "measure")]
        state = quantum_info.Statevector(circuit.assign_parameters(values))
        z = [state.expectation_value(quantum_info.Pauli("Z"), [k]).real for k in range(circuit.num_qubits)]
        np.testing.assert_allclose(z, edges_of(layer, x).ravel(), rtol=0, atol=1e-12)


def node_of(layer, device="default.qubit", interface="auto", **more):
    qml = pytest.importorskip("pennylane")
    return qml.QNode(quantum_function(layer, **more), qml.device(device), interface=interface)


def gradient_of(z, x):
    (slope,) = torch.autograd.grad(z.sum(), x)
    return slope


@pytest.mark.parametrize(("ansatz", "encoding"), ROWS)
def test_quantum_functions_of_edges(ansatz, encoding):
    layer, x = layer_of(ansatz, encoding), inputs(ansatz, 5, 3)
    z = layer.edges(x).detach()
    for o, i in [(0, 1), (1, 2)]:
        node = node_of(layer, edge=(o, i))
        assert error(node(x[:, i]), z[:, o, i]) < 1e-12
        assert abs(float(node(float(x[0, i]))) - float(z[0, o, i])) < 1e-12


@pytest.mark.parametrize("encoding", ["signs", "trainable"])
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_gradients_by_the_input(ansatz, encoding):
    numpy = pytest.importorskip("pennylane.numpy")
    layer, x = layer_of(ansatz, encoding), inputs(ansatz, 5, 3)
    at = x.clone().requires_grad_()
    want = gradient_of(layer.edges(at)[:, 1, 2], at)[:, 2]
    column = x[:, 2].clone().requires_grad_()
    assert error(gradient_of(node_of(layer, edge=(1, 2), interface="torch")(column), column), want) < 1e-12
    node = node_of(layer, edge=(1, 2), interface="autograd")
    got = numpy_gradient(lambda x: numpy.sum(node(x)), x[:, 2].numpy())
    assert error(got, want) < 1e-12


def numpy_gradient(function, x):
    qml = pytest.importorskip("pennylane")
    return torch.tensor(np.array(qml.grad(function)(qml.numpy.array(x, requires_grad=True))))


@pytest.mark.parametrize(("ansatz", "x"), [("px", 40.0), ("px", -40.0), ("px-clamp", 1.0), ("px-clamp", -3.0)])
def test_slopes_at_and_beyond_the_ends_are_finite(ansatz, x):
    layer = layer_of(ansatz)
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    want = gradient_of(layer.edges(at.expand(3))[0, 1], at)
    assert abs(float(gradient_of(node_of(layer, edge=(0, 1))(at), at) - want)) < 1e-12
    got = numpy_gradient(node_of(layer, edge=(0, 1)), x)
    assert abs(float(got - want)) < 1e-12


@pytest.mark.parametrize("ansatz", [name for name in ANSATZE if name.startswith("px")])
def test_nan_stays_nan(ansatz):
    node = node_of(layer_of(ansatz), edge=(0, 0))
    assert torch.isnan(node(torch.tensor([math.nan, 0.5], dtype=torch.float64))).tolist() == [True, False]


@pytest.mark.parametrize("ansatz", ["pz", "px", "px-clamp", "two"])
def test_quantum_functions_of_layers(ansatz):
    layer, x = layer_of(ansatz, "trainable-shared", scale=True), inputs(ansatz, 4, 3).requires_grad_()
    layer.mask[0, 2] = 0  # stays the layer's business
    z, node = layer.edges(x), node_of(layer)
    got = node(x)
    assert len(got) == 6
    got = torch.stack(list(got), -1).view(4, 2, 3)
    assert error(got, z) < 1e-12
    assert error(gradient_of(got.square(), x), gradient_of(z.square(), x)) < 1e-12
    one = [float(value) for value in node(x[0].detach())]
    np.testing.assert_allclose(one, z[0].detach().flatten(), rtol=0, atol=1e-12)


def test_a_layer_is_one_circuit_on_a_wire_per_edge():
    qml = pytest.importorskip("pennylane")
    tape = qml.tape.make_qscript(quantum_function(layer_of("rpz")))(np.zeros(3))
    assert tape.wires.tolist() == [0, 1, 2, 3, 4, 5]
    assert [m.wires.tolist() for m in tape.measurements] == [[k] for k in range(6)]
    assert [op.wires[0] for op in tape.operations] == sorted(list(range(6)) * 8)


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_quantum_functions_take_inputs_of_any_kind(kind):
    layer, x = layer_of("px"), [0.125, -2.0, 0.5]
    z = edges_of(layer, torch.tensor(x, dtype=torch.float64)).ravel()
    close = 1e-6 if kind is torch.tensor else 1e-12
    np.testing.assert_allclose([float(value) for value in node_of(layer)(kind(x))], z, rtol=0, atol=close)


def test_trained_angles_are_constants():
    layer, x = layer_of("rpz", "trainable"), inputs("rpz", 3)
    z, node = edges_of(layer, x), node_of(layer, edge=(1, 0))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    assert not node(x[0]).requires_grad
    assert abs(float(node(x[0])) - z[1, 0]) < 1e-12


@pytest.mark.parametrize("ansatz", ["pz", "px", "own"])
@pytest.mark.parametrize("name", NOISY)
def test_noise_is_part_of_the_circuit_when_asked_for(name, ansatz):
    layer = layer_of(ansatz, noise=NOISY[name], solver="bloch", widths=(2, 1))
    clean, x = layer_of(ansatz, solver="bloch", widths=(2, 1)), inputs(ansatz, 4, 2)
    assert torch.equal(layer.theta, clean.theta)
    noisy, want = layer.edges(x).detach(), clean.edges(x).detach()
    assert error(noisy, want) > 0.01
    got = torch.stack(list(node_of(layer, "default.mixed", noise=True)(x)), -1)
    assert torch.allclose(got.real, noisy[:, 0], rtol=0, atol=1e-12)
    got = node_of(layer, "default.mixed", edge=(0, 1), noise=True)(x[:, 1])
    assert torch.allclose(got.real, noisy[:, 0, 1], rtol=0, atol=1e-12)
    assert error(node_of(layer, edge=(0, 1))(x[:, 1]), want[:, 0, 1]) < 1e-12
    assert error(node_of(clean, edge=(0, 1), noise=True)(x[:, 1]), want[:, 0, 1]) < 1e-12


BOTH = {
    "stack": (
        lambda: QKAN([3, 4, 2]),
        None,
        TypeError,
        r"a QKANLinear; got QKAN; give one layer, such as model.layers",
    ),
    "deep": (lambda: HQKAN(3, 2, latent=(4, 3)), None, TypeError, r"a QKANLinear; got HQKAN; give one layer"),
    "plain": (lambda: nn.Linear(3, 2), None, TypeError, r"layer must be a QKANLinear; got Linear; give one layer"),
    "readout": (
        lambda: layer_of(readout="amplitude"),
        None,
        ValueError,
        r"layer must have readout='expectation'; got 'amplitude', which no device measures; build and train it with",
    ),
    "output": (layer_of, (2, 0), ValueError, r"edge must be \(o, i\), .* between \(0, 0\) and \(1, 2\); got \(2, 0\)"),
    "input": (layer_of, (0, 3), ValueError, r"edge must be .* and \(1, 2\); got \(0, 3\)"),
    "negative": (layer_of, (-1, 0), ValueError, r"edge must be .*; got \(-1, 0\)"),
    "one": (layer_of, 1, TypeError, r"edge must be two integers \(o, i\), output and input, or None; got 1"),
    "three": (layer_of, (0, 1, 2), TypeError, r"edge must be two integers .*; got \(0, 1, 2\)"),
    "half": (layer_of, (0, 0.5), TypeError, r"edge must be two integers .*; got \(0, 0.5\)"),
}


@pytest.mark.parametrize("name", BOTH)
def test_what_cannot_be_exported_is_refused(name):
    pytest.importorskip("pennylane")
    build, edge, kind, match = BOTH[name]
    for export in (openqasm, quantum_function):
        with pytest.raises(kind, match=match):
            export(build(), edge=edge)


@pytest.mark.parametrize("name", ["theta", "encoding_weight", "encoding_bias", "scale", "base_weight", "mask"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_parameters_that_are_not_finite(name, value):
    pytest.importorskip("pennylane")
    layer = layer_of("pz", "trainable", scale=True, base_activation="silu")
    with torch.no_grad():
        getattr(layer, name)[1, 2] = value
    for export in (openqasm, quantum_function):
        with pytest.raises(ValueError, match=f"{name} of layer must be finite; got inf or nan; load or train finite"):
            export(layer)


def test_a_bias_that_is_not_finite():
    layer = layer_of(bias=True)
    with torch.no_grad():
        layer.bias[1] = math.nan
    with pytest.raises(ValueError, match="bias of layer must be finite; got inf or nan"):
        openqasm(layer)


X = {
    "number": (0.5, None, ValueError, r"x must be \[3\], a number per input; got shape \(\); give one sample"),
    "wide": ([1.0] * 4, None, ValueError, r"x must be \[3\], a number per input; got shape \(4,\)"),
    "batch": (torch.zeros(5, 3), None, ValueError, r"x must be \[3\], a number per input; got shape \(5, 3\)"),
    "edge": ([0.0] * 3, (0, 1), ValueError, r"one number, the input 1 of the edge; got shape \(3,\); give x\[1\]"),
    "text": (
        "0.5",
        (0, 1),
        TypeError,
        r"x must be numbers, as a float, an array or a tensor; got '0.5'; give for example 0.5",
    ),
    "ragged": ([[1.0], 2.0, 3.0], None, TypeError, r"x must be numbers, as a float, an array or a tensor; got \[\["),
    "nan": ([0.0, math.nan, 0.0], None, ValueError, r"x must hold finite numbers; got nan for input 1; give numbers"),
    "inf": (-math.inf, (0, 2), ValueError, r"x must hold finite numbers; got -inf for input 2; give numbers"),
}


@pytest.mark.parametrize("name", X)
def test_wrong_inputs(name):
    x, edge, kind, match = X[name]
    with pytest.raises(kind, match=match):
        openqasm(layer_of(), x, edge=edge)


def test_inputs_outside_of_the_domain():
    match = r"got 1.5 for input 2; give numbers in \[-1, 1\], or an ansatz with arccos_map='tanh'"
    with pytest.raises(ValueError, match=match):
        openqasm(layer_of("px-none"), [0.0, 0.5, 1.5])


def test_a_layer_without_edges():
    layer = layer_of()
    layer.mask.zero_()
    with pytest.raises(
        ValueError, match=r"an edge whose mask is not 0; got none; name a masked one with edge=\(o, i\)"
    ):
        openqasm(layer)


def test_errors_of_quantum_functions(monkeypatch):
    pytest.importorskip("pennylane")
    whole, edge = quantum_function(layer_of()), quantum_function(layer_of(), edge=(0, 1))
    for shape in [(), (2,), (3, 2), (1, 1, 3)]:
        with pytest.raises(
            ValueError, match=rf"x must be \[3\] or \[batch, 3\]; got shape {re.escape(str(shape))}; reshape it, or"
        ):
            whole(np.zeros(shape))
    match = r"x must be a number or \[batch\], the input 1 of the edge; got shape \(5, 3\); give x\[\.\.\., 1\]"
    with pytest.raises(ValueError, match=match):
        edge(torch.zeros(5, 3))
    match = r"noise must be True or False; got Noise\(.*\); its strengths are those of the layer"
    with pytest.raises(TypeError, match=match):
        quantum_function(layer_of(), noise=NOISY["gates"])
    monkeypatch.setitem(sys.modules, "pennylane", None)
    with pytest.raises(ImportError, match=r'quantum_function needs PennyLane: pip install "qkan-torch\[pennylane\]"'):
        quantum_function(layer_of())
