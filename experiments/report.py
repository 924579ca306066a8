"""Write docs/results/README.md and its figures from the committed results of the experiments.

    python experiments/report.py

Nothing is measured here: what the page says is computed from docs/results/*.json.
"""

from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from types import ModuleType
from typing import Any

from harness import RESULTS, read

__all__ = ["EXPERIMENTS", "page", "write"]

EXPERIMENTS = (
    "functions",
    "extension",
    "formula",
    "frequencies",
    "equations",
    "mnist_cnn",
    "mnist_networks",
    "mnist_conv_kan",
    "mnist_families",
    "vision",
    "cifar100_search",
    "cifar100",
    "language",
)

HEADER = """# Results

Written by `python experiments/report.py` from the files beside it. Each experiment is one command,
`python experiments/NAME.py`, and one file, `NAME.json`, with the settings, versions, seeds and losses of every run. A
claim is the first line of its script. Speed has [a page of its own](speed.md), and so has [hardware](hardware.md); what
was tried and did not work is in [the log](../log.md).
"""


def page() -> str:
    """Return the page."""
    return "\n".join([HEADER, *(_section(import_module(name)) for name in EXPERIMENTS)])


def write() -> None:
    """Write the page and the figures."""
    for name in EXPERIMENTS:
        figure: Callable[[Any], Any] | None = getattr(import_module(name), "figure", None)
        if figure is not None:
            content = BytesIO()
            figure(read(name)).savefig(content, format="png", dpi=120)
            (RESULTS / f"{name}.png").write_bytes(content.getvalue())
    (RESULTS / "README.md").write_text(page(), encoding="utf-8")


def _section(module: ModuleType) -> str:
    text: str = module.section(read(module.__name__))
    return text.strip() + "\n"


if __name__ == "__main__":
    write()
