"""The notebooks hold the outputs of a full run, fit for others to read, and run in a moment without data or network."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("notebooks_run", ROOT / "notebooks" / "run.py")
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)
NOTEBOOKS = run.find()


def test_they_are_numbered_without_a_gap():
    assert [int(path.name[:2]) for path in NOTEBOOKS] == list(range(1, 7))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored(path):
    assert list(run.faults(path)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_to_files(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    links = [link.split("#")[0] for link in re.findall(r"\]\((\S+?)\)", text) if not link.startswith("http")]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run(path):
    before = path.read_bytes()
    command = [sys.executable, ROOT / "notebooks" / "run.py", "--smoke", path.stem]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert path.read_bytes() == before


# A notebook without faults, and what is told of it when something in it changes.


def _stored(tmp_path, change=lambda notebook: None):
    cells = [new_code_cell("SMOKE = False", execution_count=1, metadata={"tags": ["parameters"]})]
    cells += [new_code_cell("print(1)", execution_count=2, outputs=[new_output("stream", name="stdout", text="1\n")])]
    notebook = new_notebook(cells=cells)
    notebook.metadata["executed"] = run._digest(notebook)
    change(notebook)
    path = tmp_path / "01_one.ipynb"
    nbformat.write(notebook, path)
    return path


def _assign(cell, **values):
    def change(notebook):
        notebook.cells[cell].update(values)

    return change


def _print(name, text):
    return _assign(1, outputs=[new_output("stream", name=name, text=text)])


FAULTS = {
    "an output is missing": (_assign(1, outputs=[]), "no outputs"),
    "a cell was left out": (_assign(1, execution_count=None), "in order"),
    "cells were run twice": (_assign(1, execution_count=4), "in order"),
    "code was edited": (_assign(1, source="print(2)"), "changed after"),
    "a warning": (_print("stderr", "UserWarning"), "a warning"),
    "a path": (_print("stdout", "at /home/me/data.npz"), "a path"),
    "an address": (_print("stdout", "<Legend at 0x7f1c>"), "the address"),
    "too large": (_print("stdout", "0" * run.LARGEST), "bytes"),
    "a smoke run": (_assign(0, source="SMOKE = True"), "SMOKE = False"),
    "an error": (
        _assign(1, outputs=[new_output("error", ename="ValueError", evalue="", traceback=["ValueError"])]),
        "an error",
    ),
}


def test_a_whole_notebook_has_no_faults(tmp_path):
    assert list(run.faults(_stored(tmp_path))) == []


@pytest.mark.parametrize(("change", "told"), FAULTS.values(), ids=FAULTS)
def test_faults_are_told(tmp_path, change, told):
    assert any(told in fault for fault in run.faults(_stored(tmp_path, change)))


def test_relative_paths_and_addresses_on_the_web_are_no_paths_of_a_machine(tmp_path):
    path = _stored(tmp_path, _print("stdout", "../data/home/x and https://example.org/home/x"))
    assert list(run.faults(path)) == []


def test_parameters_are_replaced_where_they_stand():
    source = "SMOKE = False  # why\nDATA = (\n    1,\n    2,\n)\nSEED = 0"
    assert run._replaced(source, {"SMOKE": True, "DATA": "a.npz"}) == "SMOKE = True\nDATA = 'a.npz'\nSEED = 0"
    assert run.assigned(source) == {"SMOKE": False, "DATA": (1, 2), "SEED": 0}


def test_unknown_parameters_and_notebooks_are_refused():
    with pytest.raises(ValueError, match="the parameters are SMOKE; got 'DATA'"):
        run._replaced("SMOKE = False", {"DATA": 1})
    with pytest.raises(ValueError, match="there is no notebook '99'"):
        run.find(["99"])
    with pytest.raises(ValueError, match="one cell tagged 'parameters'; this one has 0"):
        run.parameters(new_notebook())
    with pytest.raises(ValueError, match="lines NAME = VALUE; got 'print\\(1\\)'"):
        run.assigned("print(1)")


def test_the_command_refuses_a_parameter_that_no_notebook_has():
    command = [sys.executable, ROOT / "notebooks" / "run.py", "--set", "MNITS=1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no notebook has a parameter 'MNITS'" in done.stderr
