"""The documentation builds strictly and without network, loads nothing from elsewhere, and holds every public name."""

import importlib
import posixpath
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
API = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").glob("*.md")))

# Commands, and what the package keeps for itself; everything else in qkan/ has a place in docs/api.
INNER = {"check", "cli", "elementary", "files", "jobs", "precision", "reproduce"}
PARTS = {path.stem for path in (ROOT / "qkan").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
PUBLIC = sorted(part for part in PARTS - INNER if not part.startswith("_"))


# What a browser fetches by itself, from another host.
FOREIGN = re.compile(
    r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^"']*"""
    r"""|(?:url\(|@import )\s*["']?(?:https?:)?//[^"')]*"""
)


def _module(name):
    return importlib.import_module(name)


def _object(name):
    """The object of a dotted name: an attribute of a module, or of a class; a module of the same name is not meant."""
    owner, _, attribute = name.rpartition(".")
    try:
        return getattr(_module(owner), attribute)
    except ModuleNotFoundError:
        return getattr(_object(owner), attribute)


def _documented():
    """Every object that a page of the API shows, by its identity."""
    current, found = "qkan", []
    for directive, name, following in re.findall(r"^\.\. ([\w:]+):: (\S+)\n((?:   .*\n)*)", API, re.MULTILINE):
        if directive == "currentmodule":
            current = name
        elif directive == "automodule":
            current = name
            excluded = re.findall(r":exclude-members: (.*)", following)
            names = set(_module(name).__all__) - set(", ".join(excluded).split(", "))
            found += [getattr(_module(name), each) for each in names]
        else:
            found.append(_object(name if name.startswith("qkan.") else f"{current}.{name}"))
    return {id(each) for each in found}


def _shown(reader, path):
    """Every object that the built pages show, by its identity."""
    with path.open("rb") as file:
        entries = reader.load(file, "", posixpath.join)
    kinds = [kind for kind in entries if kind.startswith("py:") and kind != "py:module"]
    return {id(_object(name)) for kind in kinds for name in entries[kind]}


@pytest.mark.parametrize("name", ["qkan", *(f"qkan.{part}" for part in PUBLIC)])
def test_every_public_name_is_in_the_api(name):
    module, documented = _module(name), _documented()
    assert [each for each in module.__all__ if id(getattr(module, each)) not in documented] == []


@pytest.mark.slow
def test_the_documentation_builds_strictly_and_needs_no_network(tmp_path):
    inventory = pytest.importorskip("sphinx.util.inventory")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, str(DOCS), str(tmp_path / "html")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = [path for path in (tmp_path / "html").rglob("*") if path.suffix in (".html", ".css")]
    found = {path.name: FOREIGN.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {name: loaded for name, loaded in found.items() if loaded} == {}
    shown = _shown(inventory.InventoryFile, tmp_path / "html" / "objects.inv")
    assert [
        f"qkan.{part}.{name}"
        for part in PUBLIC
        for name in _module(f"qkan.{part}").__all__
        if id(getattr(_module(f"qkan.{part}"), name)) not in shown
    ] == []
    assert "<math" in (tmp_path / "html" / "ideas.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "loads"),
    [
        ('<script async src="https://host/MathJax.js"></script>', True),
        ('<link rel="stylesheet" href="//host/fonts.css" />', True),
        ("src: url('https://host/font.woff2')", True),
        ('@import "https://host/style.css";', True),
        ('<script src="_static/doctools.js"></script><a href="https://arxiv.org/abs/2509.14026">', False),
    ],
)
def test_what_loads_from_elsewhere_is_recognised(text, loads):
    assert bool(FOREIGN.search(text)) is loads
