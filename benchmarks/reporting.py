"""How the benchmarks report: the machine, a table for people, one JSON line last."""

import json
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from harness import Row

MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def machine(*packages: str) -> Row:
    """Return processor, threads, versions and malloc variables, as plain values."""
    versions: Row = {"python": platform.python_version(), "torch": torch.__version__}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "platform": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "malloc": {name: os.environ[name] for name in MALLOC if name in os.environ},
        "versions": versions,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.exists() else None
    return found[1] if found else platform.processor()


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text; a column that a row lacks is a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *[[_cell(row.get(name)) for name in names] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in cells)


def report(claim: str, rows: list[Row], **more: object) -> None:
    """Print the rows as a table for people, and as one JSON line last."""
    print(claim, table(rows), sep="\n")
    print(json.dumps({"claim": claim, **machine("qkan-torch", "numpy"), **more, "rows": rows}))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
