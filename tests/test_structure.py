"""The shape of the package: who may import whom, what `import qkan` loads, and the habits that a script can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__import__("qkan").__file__).parent

# The arrows of the design, low to high: a part may import parts of lower levels, and its own part. A part is the first
# component of a module's name below the package (`qkan.solvers.fourier` is in `solvers`).
LEVELS = [
    {"_arguments", "_cached", "_checks", "_derived", "_neighbours", "files", "precision"},
    {"elementary", "history", "noise", "readout"},
    {"ansatz"},
    {"bases"},
    {"contraction"},
    {"solvers"},
    {"functional", "layers"},
    {"models"},
    {"data"},
    {"lowering", "export"},
    {"checkpoint", "interop", "attribution", "hardware", "parallel"},
    {"surgery", "symbolic"},
    {"plot"},
    {"crosscheck", "golden"},
    {"training"},
    {"jobs"},
    {"check", "report"},
    {"reproduce"},
    {"cli"},
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}

# Further limits that levels alone do not say: data knows nothing of models, and what only some may know.
NEVER = {
    "data": set(LEVEL) - {"data", "files"},
    "plot": {"data", "training"},
}
# Methods that hand over to a part above their own, in one line with the import inside: (who, to whom).
DELEGATES = {("history", "plot"), *(("models", part) for part in ("plot", "surgery", "symbolic", "training"))}
ONLY_TO = {
    "cli": {"__main__"},
    "reproduce": {"cli"},
    "check": {"cli", "reproduce"},
    "data": {"training", "report", "reproduce", "jobs", "cli"},
    "report": {"cli"},
    "jobs": {"cli"},
}

HEAVY = (
    *("pennylane", "matplotlib", "scipy", "sklearn", "torchvision", "safetensors", "sympy", "pandas", "onnx", "plotly"),
    *("accelerate", "torchmetrics", "optuna", "datasets"),
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in MODULES]


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Names of the modules of the package that a file imports anywhere, also inside of functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "qkan")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            if node.module == "qkan":
                yield from (f"qkan.{alias.name}" for alias in node.names)
            elif node.module.startswith("qkan."):
                yield node.module


def test_the_walk_sees_the_package():
    assert {"ansatz", "solvers", "layers", "models"} <= {part_of(path) for path in MODULES}
    assert "qkan.solvers.base" in set(imported(PACKAGE / "layers" / "linear.py"))


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_follow_the_arrows(path):
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert part in LEVEL, f"{part} has no place in the table of levels"
    for name in imported(path):
        other = name.split(".")[1]
        assert other in LEVEL, f"{path.name} imports {name}, which has no place in the table of levels"
        if other != part and (part, other) not in DELEGATES:
            assert LEVEL[other] < LEVEL[part], f"{part} may not import {other}"
            assert other not in NEVER.get(part, ()), f"{part} may not import {other}"
            assert part in ONLY_TO.get(other, {part}), f"{part} may not import {other}"


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_no_module_reaches_back_through_the_package_itself(path):
    if path.name != "__init__.py":
        assert "qkan" not in set(imported(path))


def test_importing_the_package_loads_torch_and_nothing_heavier():
    script = (
        "import sys, torch; before = set(sys.modules); import qkan; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)
    assert done.stderr == ""


def test_importing_the_package_writes_and_prints_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import qkan"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_public_names_are_those_of_the_design():
    import qkan

    assert {"QKAN", "QKANLinear", "HQKAN", "Ansatz", "lower", "fit", "save", "load"} <= set(qkan.__all__)
    assert all(hasattr(qkan, name) for name in qkan.__all__)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_every_module_says_what_it_is_and_what_it_offers(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "no docstring"
    if path.name == "__main__.py" or (path.name == "__init__.py" and len(tree.body) == 1):
        return
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    (offered,) = (node.value for node in assigned if [getattr(t, "id", "") for t in node.targets] == ["__all__"])
    names = ast.literal_eval(offered)
    assert len(set(names)) == len(names)
    assert not [name for name in names if name.startswith("_")]


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_habits(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 500
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    called = {getattr(node.func, "id", getattr(node.func, "attr", "")) for node in calls}
    if part_of(path) not in ("cli", "check", "reproduce", "jobs", "__main__") and path.name != "command.py":
        assert not called & {"print"}, "the library does not print"
        assert not called & {"seed", "manual_seed", "seed_all"}, "no global seeds"
        assert not called & {"getenv"}, "no environment switches"
    if part_of(path) != "data":  # where downloads are kept is the user's setting
        assert "os.environ" not in source, "no environment switches"
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)], "python -O drops asserts"
    assert not called & {"hasattr"}, "structure is known, not probed"
