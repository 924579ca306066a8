"""Every solver against golden values that another simulator computed from circuits written by hand (`circuits/`)."""

import json
from pathlib import Path

import pytest
import torch
from helpers import SOLVERS, error

from qkan.functional import edges

GOLDEN = Path(__file__).parent.parent / "circuits" / "golden"
if not GOLDEN.parent.is_dir():
    pytest.skip("circuits/ is material of the repository and not in the sdist", allow_module_level=True)

ANSATZE = ("pz", "rpz", "px", "real", "mix")
CASES = ("unit", "ternary", "free")


def integers(weight):
    """The weights of every edge, one integer per upload."""
    return tuple(int(w) for w in weight[0, 0])


# How weight and bias [out, in, uploads] are passed to a solver; "shared" drops out, over which they must not vary.
FORMS = {
    "integers": lambda weight, bias: (integers(weight), bias if bias.any() else None),
    "integers-biases": lambda weight, bias: (integers(weight), bias),
    "shared": lambda weight, bias: (weight[0], bias[0]),
    "tensors": lambda weight, bias: (weight, bias),
}


def applies(ansatz, case, form, solver):
    if form == "tensors":
        return solver != "fourier"
    return case != "free" and not (form == "shared" and ansatz == "rpz")


ROWS = [
    pytest.param(a, c, f, s, id=f"{a}-{c}-{f}-{s}")
    for a in ANSATZE
    for c in CASES
    for f in FORMS
    for s in SOLVERS
    if applies(a, c, f, s)
]


def read(ansatz, case):
    """The arrays of a case as tensors."""
    file = json.loads((GOLDEN / f"{ansatz}.json").read_text(encoding="utf-8"))
    assert (file["ansatz"], file["reps"], set(file["cases"])) == (ansatz, 3, set(CASES))
    return {key: torch.tensor(array, dtype=torch.float64) for key, array in file["cases"][case].items()}


def contracted(golden, cotangent):
    """Gradients of Σ cotangent z by x [batch, in] and by the parameters of an edge [out, in, ...]."""
    by_edge = {key: (cotangent[..., None] * golden[f"dz_d{key}"]).sum(0) for key in ("theta", "weight", "bias")}
    return by_edge | {"x": (cotangent * golden["dz_dx"]).sum(1)}


@pytest.mark.parametrize(("ansatz", "case", "form", "solver"), ROWS)
def test_values_and_gradients_are_the_golden_ones(ansatz, case, form, solver):
    golden = read(ansatz, case)
    weight, bias = FORMS[form](golden["weight"], golden["bias"])
    passed = {"x": golden["x"], "theta": golden["theta"], "weight": weight, "bias": bias}
    leaves = {key: value.requires_grad_() for key, value in passed.items() if isinstance(value, torch.Tensor)}
    z = edges(**passed, ansatz=ansatz, solver=solver)
    assert error(z, golden["z"]) < 1e-12

    cotangent = torch.randn(z.shape, dtype=torch.float64)
    grads = torch.autograd.grad((z * cotangent).sum(), list(leaves.values()))
    wanted = contracted(golden, cotangent)
    for (key, leaf), grad in zip(leaves.items(), grads, strict=True):
        want = wanted[key] if leaf.dim() == wanted[key].dim() else wanted[key].sum(0)
        assert error(grad, want) < 1e-12, key


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_golden_grids_are_rectangular_and_reach_far(ansatz, case):
    golden = read(ansatz, case)
    assert golden["z"].shape == golden["dz_dx"].shape == (5, 3, 2)
    assert golden["x"].min() == -3
    assert golden["x"].max() == 7
    assert golden["z"].std() > 0.2
