"""The page itself: one HTML file that holds its data, its scripts and Plotly, and asks the network for nothing."""

import html
import json
import re
from importlib import resources
from typing import Any

from qkan._cached import cached
from qkan.report.blob import packed

__all__ = ["page", "plotly"]

_SCRIPTS = ("data.js", "curves.js", "figures.js", "panel.js", "table.js", "main.js")
_PLACE = re.compile(r"<!-- ([a-z]+) -->|/\* ([a-z]+) \*/")


def page(title: str, data: dict[str, Any], arrays: str) -> bytes:
    """Return the page.

    Args:
        title: plain text; it is escaped.
        data: plain JSON values, told as they are: the page sets them as text.
        arrays: what `Blob.text` returned.

    Raises:
        ImportError: without Plotly.
    """
    parts = {
        "title": html.escape(title),
        "style": _static("page.css"),
        "data": _json(data),
        "arrays": arrays,
        "plotly": plotly(),
        "scripts": "\n".join(map(_static, _SCRIPTS)),
    }
    # in one pass: what is put in is not read again
    return _PLACE.sub(lambda found: parts[found[1] or found[2]], _static("page.html")).encode()


def _json(data: dict[str, Any]) -> str:
    """Return JSON that ends no script: every < of a text is written as an escape."""
    return json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


def _static(name: str) -> str:
    return (resources.files("qkan.report") / "static" / name).read_text(encoding="utf-8")


@cached
def plotly() -> str:
    """Return plotly.js as base64 of gzip.

    Raises:
        ImportError: without Plotly.
    """
    try:
        from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('reports need Plotly: pip install "qkan-torch[report]"') from error
    return packed(get_plotlyjs().encode())
