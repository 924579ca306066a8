"""The circuits written by hand: independent of the package, runnable, and the files made of them up to date."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import truth

ROOT = Path(__file__).parent.parent
CIRCUITS = ROOT / "circuits"
if not CIRCUITS.is_dir():
    pytest.skip("circuits/ is material of the repository and not in the sdist", allow_module_level=True)

ANSATZE = ("pz", "rpz", "px", "real", "mix")
MODULES = sorted(CIRCUITS.glob("*.py"))
OUTSIDE = {"PIL", "matplotlib", "numpy", "pennylane"}


def imported(path):
    """First components of the names of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else node.module.split(".")[0]


def program(name):
    return (CIRCUITS / "qasm" / f"{name}.qasm").read_text(encoding="utf-8")


def edge_inputs(name):
    """Inputs of the OpenQASM program for every edge of the golden grid [batch, out, in], and the golden <Z>."""
    golden = json.loads((CIRCUITS / "golden" / f"{name}.json").read_text(encoding="utf-8"))["cases"]["free"]
    x = np.array(golden["x"])[:, None, :]
    values = {"u": 2 * np.arctan(np.exp(-x)) if name == "px" else x}  # arccos tanh x = 2 arctan exp(-x)
    for letter, key in {"theta": "theta", "w": "weight", "b": "bias"}.items():
        values |= {f"{letter}_{i}": part for i, part in enumerate(np.moveaxis(golden[key], -1, 0))}
    return values, np.array(golden["z"])


def run_qasm(text, values):
    """<Z> by matrices, of a program made of gates on one qubit."""
    psi = np.array([1, 0], complex)
    for gate, _, angle in re.findall(r"^(\w+)(\((.+)\))? q;$", text.partition("reset q;\n")[2], re.MULTILINE):
        matrix = truth.rotation(gate[1], eval(angle, {}, values)) if angle else truth.FIXED[gate.upper()]
        psi = np.einsum("...ab,...b->...a", matrix, psi)
    return np.abs(psi[..., 0]) ** 2 - np.abs(psi[..., 1]) ** 2


def generate(folder, *options):
    command = [sys.executable, str(folder / "generate.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_circuits_are_independent_of_the_package(path):
    siblings = {module.stem for module in MODULES}
    assert set(imported(path)) <= OUTSIDE | siblings | set(sys.stdlib_module_names)
    if path.stem in ANSATZE:
        assert set(imported(path)) <= {"pennylane", "math"}


def test_every_circuit_has_its_three_files_and_there_are_no_others():
    for folder, ending in {"golden": "json", "qasm": "qasm", "drawings": "png"}.items():
        assert {path.name for path in (CIRCUITS / folder).iterdir()} == {f"{name}.{ending}" for name in ANSATZE}


def test_committed_files_are_those_of_the_circuits():
    pytest.importorskip("pennylane")
    pytest.importorskip("matplotlib")
    done = generate(CIRCUITS, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_names_the_files_that_differ(tmp_path):
    pytest.importorskip("pennylane")
    pytest.importorskip("matplotlib")
    folder = tmp_path / "circuits"
    shutil.copytree(CIRCUITS, folder)
    for name, change in {"pz": 1e-12, "rpz": 0.0}.items():
        path = folder / "golden" / f"{name}.json"
        golden = json.loads(path.read_text(encoding="utf-8"))
        golden["versions"] = {}
        golden["cases"]["free"]["dz_dbias"][4][2][1][2] += change
        path.write_text(json.dumps(golden), encoding="utf-8")
    (folder / "qasm" / "mix.qasm").write_text(program("mix") + "\n", encoding="utf-8")
    (folder / "drawings" / "real.png").write_bytes((folder / "drawings" / "px.png").read_bytes())
    (folder / "drawings" / "px.png").unlink()
    done = generate(folder, "--check")
    assert done.returncode == 1
    named = [line.split()[0].removeprefix("circuits/") for line in done.stderr.splitlines()]
    assert named == ["golden/pz.json", "qasm/mix.qasm", "drawings/px.png", "drawings/real.png"]


@pytest.mark.parametrize("name", ANSATZE)
def test_qasm_run_by_matrices_gives_the_golden_values(name):
    values, z = edge_inputs(name)
    assert set(re.findall(r"^input float\[64\] (\w+);$", program(name), re.MULTILINE)) == set(values)
    np.testing.assert_allclose(run_qasm(program(name), values), z, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ANSATZE)
def test_qasm_parses(name):
    openqasm3 = pytest.importorskip("openqasm3")
    parsed = openqasm3.parse(program(name))
    assert parsed.version == "3.0"
    kinds = [type(statement).__name__ for statement in parsed.statements]
    gates = kinds.index("QuantumReset") + 1
    assert set(kinds[gates:-1]) == {"QuantumGate"}
    assert kinds[-1] == "QuantumMeasurementStatement"


@pytest.mark.parametrize("name", ANSATZE)
def test_qasm_run_by_pennylane_gives_the_golden_values(name):
    pytest.importorskip("openqasm3")
    qml = pytest.importorskip("pennylane", "0.43")  # the first that takes inputs
    text = program(name).replace('include "stdgates.inc";', "")  # PennyLane knows the gates, but not the statement

    @qml.qnode(qml.device("default.qubit"))
    def edge(**values):
        qml.from_qasm3(text, {"q": 0})(**values)
        return qml.expval(qml.PauliZ(0))

    values, z = edge_inputs(name)
    for index in [(0, 0, 0), (1, 2, 0), (4, 1, 1)]:
        at = {key: float(np.broadcast_to(value, z.shape)[index]) for key, value in values.items()}
        assert abs(edge(**at) - z[index]) < 1e-12


@pytest.mark.parametrize("x", [-40.0, -1.0, 0.0, 2.0, 40.0])
def test_u_of_px_and_its_slope_stay_finite(x):
    qml = pytest.importorskip("pennylane")
    u_of = runpy.run_path(str(CIRCUITS / "px.py"))["u_of"]
    assert abs(u_of(x) - np.arccos(np.tanh(x))) < 1e-15
    slope = qml.grad(u_of)(qml.numpy.array(x, requires_grad=True))
    assert abs(slope + 1 / np.cosh(x)) < 1e-15
