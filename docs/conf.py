"""Sphinx: `python -m sphinx -W --keep-going -b html docs build/docs`, from the root of the repository, without network.

Formulas become MathML, which browsers draw by themselves: docutils translates them, so that no page needs a script, a
font or a server.
"""

import json
import os
import re
import shutil
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

HERE = Path(__file__).parent

project = "qkan"
author = "the authors of qkan"
version = release = installed("qkan-torch")
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"qkan {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_copyright = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links to headings as GitHub makes them
nb_execution_mode = "off"  # notebooks hold their outputs
nb_ipywidgets_js: dict[str, Any] = {}  # the defaults are on another server

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True  # as they are written: a function as default would spoil the signature
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shape", ("Returns", "notes_style")]  # a result has a shape, not a type before a colon
default_role = "py:obj"  # single backticks: a link where there is such a name, code where there is none
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
# Words in backticks that are no names of this package, and types of others: there is no inventory without network.
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    ("py:.*", r"(torch|nn|np|numpy|sympy|matplotlib|collections|contextlib|typing|os|pathlib|enum|pennylane)\..*"),
    ("py:class", "Figure|Axes"),
    # Type variables, aliases, and typed dictionaries that hold keywords, in modules that no page shows.
    ("py:class", r"qkan\.\w+\.\w+\..*|qkan\..*\.[A-Z]|qkan\.crosscheck\.Layer"),
]


def _markdown(text: str) -> str:
    """Return Markdown that is read as on GitHub: links to folders, which no page can show, are text; <Z> is no tag."""
    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    folder = re.compile(r"\[([^\]\n]+)\]\((?!http)[^)\s]*/\)")
    parts[::2] = [folder.sub(r"\1", part).replace("<Z>", "&lt;Z&gt;") for part in parts[::2]]
    return "".join(parts)


def _moved(link: re.Match[str]) -> str:
    """Return a link of a notebook as it has to be from docs/notebooks."""
    path, _, anchor = link[1].partition("#")
    target = HERE.parent / "notebooks" / path
    if target.suffix == ".ipynb":
        return link[0]
    found = os.path.relpath(target, HERE / "notebooks") + ("/" if target.is_dir() else "")
    return f"]({found}#{anchor})" if anchor else f"]({found})"


def _copy_notebook(source: Path, target: Path) -> None:
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"\]\((?!http|#|attachment:|data:)([^)\s]+)\)", _moved, "".join(cell["source"]))
            cell["source"] = _markdown(text)
    target.write_text(json.dumps(notebook), encoding="utf-8")


def _gather_notebooks() -> None:
    """Copy ../notebooks beside the pages, with a page that lists them, also where there are none."""
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    found = sorted((HERE.parent / "notebooks").glob("*.ipynb"))
    for notebook in found:
        _copy_notebook(notebook, target / notebook.name)
    lines = ["# Notebooks", "", "Executed in full; the outputs are those of the files in `notebooks/`.", ""]
    if found:
        lines += ["```{toctree}", ":maxdepth: 1", *(notebook.stem for notebook in found), "```", ""]
    (target / "index.md").write_text("\n".join(lines), encoding="utf-8")


_gather_notebooks()


# Bars as brackets, without the space of an operator; a thin space between a function and an argument without brackets.
_MATHML = (
    (r'<mo class="mathopen">\|</mo>', '<mo form="prefix" stretchy="false">|</mo>'),
    (r"<mo>\|</mo>", '<mo form="postfix" stretchy="false">|</mo>'),
    (r"<mo>&ApplyFunction;</mo>(?!\s*<mo[^>]*>\()", '<mspace width="0.167em"></mspace>'),
)


def _visit_math(translator: Any, node: nodes.math | nodes.math_block) -> None:
    block = isinstance(node, nodes.math_block)
    try:
        formula = latex2mathml.tex2mathml(node.astext().replace("\\dots", "\\ldots"), as_block=block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in %s", error, node.astext(), location=node)
        formula = translator.encode(node.astext())
    for pattern, better in _MATHML:
        formula = re.sub(pattern, better, formula)
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


_COLON = "\ue000"  # of the private use area: nothing else has it
_MARKUP = re.compile(r"(?<=\S)[*|]|[*|](?=\S)")


def _attributes(text: str) -> str:
    """Return a list of attributes with one in a line."""
    text = re.sub(r"(?<=\.) (?=\w+: )", "\n    ", text)
    # Of "in_features, map: as given" Sphinx would take the first name for the type of the second.
    return re.sub(r"(?m)^ *\w+(, \w+)+: ", lambda names: "    " + names[0].strip().replace(", ", ",") + " ", text)


def _prepare(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make docstrings reStructuredText: one attribute a line; stars and bars, as in [*batch, in], no markup."""
    if lines and lines[0].startswith("Alias for field number"):  # Python's own words on named tuples
        lines.clear()
    if lines and what in ("property", "attribute", "data"):  # napoleon takes what stands before a colon for a type
        lines[0] = lines[0].replace(": ", f"{_COLON} ")
    for at, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "|")):
            parts = re.split(r"(``.*?``|`.*?`)", line)
            lines[at] = "".join(part if part.startswith("`") else _MARKUP.sub(r"\\\g<0>", part) for part in parts)
    if "Attributes:" in lines:
        start = lines.index("Attributes:") + 1
        end = lines.index("", start)
        lines[start:end] = _attributes("\n".join(lines[start:end])).split("\n")


def _restore_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _resolve_short_names(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """Find `QKANOptions` wherever it is documented, if there is one such name."""
    domain = env.domains.python_domain
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.isidentifier() or not target[0].isupper():
        return None
    found = {entry.docname: name for name, entry in domain.objects.items() if name.endswith(f".{target}")}
    if len(found) != 1:
        return None
    name = next(iter(found.values()))
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)


def _unlink_arguments(app: Sphinx, doctree: nodes.document) -> None:
    """Make `data` and `checkpoint` code: the arguments are meant, not the modules that have these names too."""
    for node in list(doctree.findall(addnodes.pending_xref)):
        name = node["reftarget"]
        if node["reftype"] == "obj" and name.isidentifier() and find_spec(f"qkan.{name}"):
            node.replace_self(node.children)


def _mark_numbers(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Tell the cells of tables that begin with a number, so that 1.0e-06 is not broken at its sign."""
    for cell in doctree.findall(nodes.entry):
        if re.fullmatch(r"[-+±]?\d[\d.,e+-]*( .{,20})?", cell.astext()):
            cell["classes"].append("number")


def _adapt_markdown(app: Sphinx, docname: str, content: list[str]) -> None:
    if app.env.doc2path(docname).suffix == ".md":  # notebooks are adapted when they are copied
        content[0] = _markdown(content[0])


def setup(app: Sphinx) -> None:
    """Register what the settings above name."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_math, None))
    app.connect("autodoc-process-docstring", _prepare, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", _restore_colons, priority=900)  # after it
    app.connect("missing-reference", _resolve_short_names)
    app.connect("doctree-read", _unlink_arguments)
    app.connect("doctree-resolved", _mark_numbers)
    app.connect("source-read", _adapt_markdown)
