"""Execute the notebooks and store what they put out, or try them for a moment, or check what is stored.

    python notebooks/run.py --set MNIST=mnist.npz TEXT=tinyshakespeare.txt  # all of them, in full
    python notebooks/run.py 02 04                                           # these
    python notebooks/run.py --smoke                                         # seconds each, offline; stores nothing
    python notebooks/run.py --check                                         # is what is stored whole and up to date?

A notebook has one cell tagged `parameters`, of lines NAME = VALUE. `--set` replaces values there for the run alone: the
notebook keeps its own.
"""

import argparse
import ast
import hashlib
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

__all__ = ["FOLDER", "LARGEST", "assigned", "execute", "faults", "find", "parameters"]

FOLDER = Path(__file__).parent
LARGEST = 700_000  # bytes of a notebook with its outputs
_VERSION = 4
_PATH = re.compile(r"(?<![\w.:/])(/(home|tmp|work|root|usr|opt|var|mnt|Users|private)/|[A-Z]:\\)")


def main() -> int:
    """Run the command and return its exit status: 1 if a notebook fails or is not as it should be."""
    options = _arguments().parse_args()
    values = dict(_assignment(text) for text in options.set)
    try:
        paths = find(options.names)
        _check_names(values)
    except ValueError as error:
        sys.exit(str(error))
    if options.check:
        found = [f"{path.name}: {fault}" for path in paths for fault in faults(path)]
        print("\n".join(found) or f"{len(paths)} notebooks with their outputs")
        return int(bool(found))
    return max(_run(path, values, smoke=options.smoke) for path in paths)


def find(names: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks whose names start so, in order; all of them without names.

    Raises:
        ValueError: no notebook has such a name.
    """
    paths = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in paths):
            raise ValueError(f"there is no notebook {name!r}; there are {', '.join(path.stem for path in paths)}")
    return [path for path in paths if not names or any(path.name.startswith(name) for name in names)]


def parameters(notebook: Any) -> Any:
    """Return the one cell of a notebook that is tagged `parameters`.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    if len(found) != 1:
        raise ValueError(f"a notebook must have one cell tagged 'parameters'; this one has {len(found)}")
    return found[0]


def assigned(source: str) -> dict[str, Any]:
    r"""Return the names and values of a parameters cell.

    >>> assigned("SMOKE = False  # why\nDATA = None")
    {'SMOKE': False, 'DATA': None}
    """
    return {name: ast.literal_eval(line.value) for name, line in _lines(source).items()}


def execute(notebook: Any, values: Mapping[str, Any]) -> None:
    """Run all cells in a fresh kernel, in the folder of the notebooks, with these parameters replaced.

    Raises:
        ValueError: for a parameter that the notebook does not have.
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    from nbclient import NotebookClient

    cell = parameters(notebook)
    own = cell.source
    cell.source = _replaced(own, values)
    options = {"timeout": None, "kernel_name": "python3", "record_timing": False, "coalesce_streams": True}
    try:
        NotebookClient(notebook, resources={"metadata": {"path": str(FOLDER)}}, **options).execute()
    finally:
        cell.source = own
    notebook.metadata["executed"] = _digest(notebook)


def faults(path: Path) -> Iterator[str]:
    """Yield what is wrong with a stored notebook: outputs that are missing, old, too large, or not fit for others."""
    if path.stat().st_size > LARGEST:
        yield f"{path.stat().st_size:,} bytes; at most {LARGEST:,}"
    notebook = nbformat.read(path, _VERSION)
    nbformat.validate(notebook)
    if assigned(parameters(notebook).source).get("SMOKE") is not False:
        yield "the parameters must hold SMOKE = False"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        yield "cells were not executed once each, in order"
    if notebook.metadata.get("executed") != _digest(notebook):
        yield "code was changed after the last run"
    outputs = [output for cell in code for output in cell.outputs]
    if not outputs:
        yield "no outputs"
    for output in outputs:
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"an error or a warning is stored: {_text(output)[:200]}"
        if " at 0x" in _text(output):
            yield f"the address of an object is stored: {_text(output)[:200]}"
        if _PATH.search(_text(output)):
            yield f"a path of the machine is stored: {_text(output)[:200]}"


def _run(path: Path, values: Mapping[str, Any], *, smoke: bool) -> int:
    from nbclient.exceptions import CellExecutionError

    notebook, start = nbformat.read(path, _VERSION), time.perf_counter()
    known = assigned(parameters(notebook).source)
    chosen = {"SMOKE": True} if smoke else {name: value for name, value in values.items() if name in known}
    try:
        execute(notebook, chosen)
    except CellExecutionError as error:
        print(f"{path.name}: failed\n{error}", flush=True)
        return 1
    print(f"{path.name}: {time.perf_counter() - start:.1f} s", flush=True)
    if not smoke:
        nbformat.write(notebook, path)
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Execute the notebooks.")
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="starts of names, such as 03 (default: all)")
    add("--set", nargs="+", default=[], metavar="NAME=VALUE", help="parameters, in the notebooks that have them")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--smoke", action="store_true", help="with SMOKE = True and no data; nothing is stored")
    what.add_argument("--check", action="store_true", help="run nothing; is what is stored as it should be?")
    return parser


def _assignment(text: str) -> tuple[str, Any]:
    """Return the name and the value of NAME=VALUE: a Python literal, or else the text itself."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _check_names(values: Mapping[str, Any]) -> None:
    known = {name for path in find() for name in assigned(parameters(nbformat.read(path, _VERSION)).source)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"no notebook has a parameter {unknown[0]!r}; there are {', '.join(sorted(known))}")


def _lines(source: str) -> dict[str, ast.Assign]:
    """Return the assignments of a parameters cell by name."""
    found = {}
    for line in ast.parse(source).body:
        if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
            raise ValueError(f"parameters must be lines NAME = VALUE; got {ast.unparse(line)!r}")
        found[line.targets[0].id] = line
    return found


def _replaced(source: str, values: Mapping[str, Any]) -> str:
    lines, text = _lines(source), source.splitlines()
    for name, value in values.items():
        if name not in lines:
            raise ValueError(f"the parameters are {', '.join(lines)}; got {name!r}")
        text[lines[name].lineno - 1 : lines[name].end_lineno] = [f"{name} = {value!r}"]
        lines = _lines("\n".join(text))
    return "\n".join(text)


def _digest(notebook: Any) -> str:
    """Return a checksum of the code, which tells whether outputs belong to it."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def _text(output: Any) -> str:
    """Return the text of an output: what is printed, shown as text, or the message of an error."""
    shown = "\n".join(str(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/"))
    return str(output.get("text", "")) + shown + "\n".join(output.get("traceback", ()))


if __name__ == "__main__":
    sys.exit(main())
