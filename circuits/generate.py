"""Regenerate golden values, OpenQASM programs and drawings of all circuits, or check those that are there.

    python circuits/generate.py
    python circuits/generate.py --check

Needs nothing but ``pip install pennylane matplotlib``.
"""

import argparse
from pathlib import Path

import drawing
import symbols
import values
from catalogue import OF_X

FOLDER = Path(__file__).parent
FILES = {"golden/{}.json": values, "qasm/{}.qasm": symbols, "drawings/{}.png": drawing}


def write():
    """Write every file."""
    for pattern, maker in FILES.items():
        for name in OF_X:
            path = FOLDER / pattern.format(name)
            path.parent.mkdir(exist_ok=True)
            maker.write(name, path)


def differing():
    """Yield the files that are missing or not what `write` would write."""
    for pattern, maker in FILES.items():
        for name in OF_X:
            path = FOLDER / pattern.format(name)
            if not path.is_file() or not maker.agrees(name, path):
                yield path.relative_to(FOLDER).as_posix()


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files that are there, and write nothing")
    if parser.parse_args().check:
        found = [f"circuits/{name} is not what circuits/generate.py writes" for name in differing()]
        raise SystemExit("\n".join(found) or 0)
    write()


if __name__ == "__main__":
    main()
