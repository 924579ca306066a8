"""Golden values: <Z> of random edges and its derivatives by every argument, in double precision, by backpropagation."""

import json
import math

import numpy as np
import pennylane as qml
from catalogue import ANGLES, OF_X, REPS
from pennylane import numpy as pnp

BATCH, OUT, IN = GRID = (5, 3, 2)
CLOSE = 1e-13

ABOUT = "<Z> of the edges z[batch, out, in] and its derivatives by the x, theta, weight and bias of the same edge"


def write(name, path):
    """Write the golden values of an ansatz."""
    path.write_text(text(golden(name)) + "\n", encoding="utf-8")


def agrees(name, path):
    """Return whether a file holds the golden values of an ansatz; versions may differ."""
    return same(json.loads(path.read_text(encoding="utf-8")), golden(name))


def golden(name):
    """Compute the golden values of an ansatz; the inputs are seeded by its place in the catalogue."""
    random = np.random.default_rng(list(OF_X).index(name))
    return {
        "ansatz": name,
        "reps": REPS,
        "about": ABOUT,
        "versions": {"pennylane": qml.__version__, "numpy": np.__version__},
        "cases": {case: evaluate(name, *arguments(name, case, random)) for case in ("unit", "ternary", "free")},
    }


def arguments(name, case, random):
    """Draw x [batch, in], theta [out, in, angles], weight and bias [out, in, uploads], rounded to be readable."""
    uploads = (OUT, IN, REPS)
    x = random.uniform(-3, 3, (BATCH, IN))
    x[0], x[1, 0] = (-3, 3), 7
    theta = random.uniform(-math.pi, math.pi, (OUT, IN, ANGLES[name]))
    weight, bias = random.uniform(-4, 4, uploads), random.uniform(-math.pi, math.pi, uploads)
    if case != "free":
        weight = np.broadcast_to({"unit": [1, 1, 1], "ternary": [1, 3, 9]}[case], uploads)
        bias = bias if name == "rpz" else np.zeros(uploads)
    return [np.round(array, 3) + 0.0 for array in (x, theta, weight, bias)]


def evaluate(name, x, theta, weight, bias):
    """Return the arguments, z [batch, out, in], and dz by each argument; all edges run as one batch of circuits."""
    edge = qml.QNode(OF_X[name], qml.device("default.qubit", wires=1), diff_method="backprop")
    edges = [flat(x[:, None, :, None])[0], flat(theta), flat(weight), flat(bias)]
    z = edge(*edges)
    by_x, by_theta, by_weight, by_bias = qml.grad(lambda *edges: pnp.sum(edge(*edges)))(*edges)
    results = {
        "x": x,
        "theta": theta,
        "weight": weight,
        "bias": bias,
        "z": z.reshape(GRID),
        "dz_dx": by_x.reshape(GRID),
        "dz_dtheta": by_theta.T.reshape(*GRID, -1),
        "dz_dweight": by_weight.T.reshape(*GRID, -1),
        "dz_dbias": by_bias.T.reshape(*GRID, -1),
    }
    return {key: array.tolist() for key, array in results.items()}


def flat(array):
    """Return [..., n], which broadcasts to [batch, out, in, n], as [n, batch * out * in]."""
    edges = np.broadcast_to(array, (*GRID, array.shape[-1]))
    return pnp.array(edges.reshape(-1, array.shape[-1]).T, requires_grad=True)


def same(stored, computed):
    """Return whether two JSON values agree, numbers to `CLOSE`, whatever the versions."""
    if isinstance(computed, dict):
        keys = computed.keys() - {"versions"}
        return stored.keys() - {"versions"} == keys and all(same(stored[key], computed[key]) for key in keys)
    if isinstance(computed, list):
        return len(stored) == len(computed) and all(map(same, stored, computed))
    if isinstance(computed, float):
        return math.isclose(stored, computed, rel_tol=CLOSE, abs_tol=CLOSE)
    return stored == computed


def text(value, indent=""):
    """Return JSON with one row of the last axis per line."""
    deeper = indent + " "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(key)}: {text(part, deeper)}" for key, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and isinstance(value[0], list):
        return "[\n" + ",\n".join(deeper + text(part, deeper) for part in value) + f"\n{indent}]"
    return json.dumps(value)
