"""Write the measured table of the README from committed files.

python docs/readme.py
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
MARKED = re.compile(r"(<!-- measured: docs/readme.py -->\n).*?(\n<!-- end of measured -->)", re.DOTALL)
PEER = "the peer's best CPU solver"
LAYERS = (  # file, what the rows say
    ("against_peer", {"in": 32, "out": 28, "batch": 1000, "weights": "fixed"}),
    ("against_peer", {"in": 784, "out": 64, "batch": 128, "weights": "fixed"}),
    ("against_peer", {"in": 32, "out": 28, "batch": 1000, "weights": "per edge"}),
    ("against_peer_amplitude", {"in": 32, "out": 28, "batch": 1000, "weights": "fixed"}),
    ("against_peer", {"in": 6, "out": 6, "batch": 32, "weights": "fixed"}),
)


def main() -> None:
    """Put the table in its place."""
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")


def written(readme: str) -> str:
    """Return the README with the table made anew."""
    return MARKED.sub(lambda found: found[1] + table() + found[2], readme)


def table() -> str:
    """Return the table: a layer's training step against the peer, and layer extension."""
    titles = ["training step, forward and backward", "ours, ms", f"{PEER}, ms", "ratio", "ratio, ours compiled"]
    head = f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}"
    return "\n".join([head, *(layer(name, case) for name, case in LAYERS)]) + "\n\n" + extension()


def layer(name: str, case: dict[str, Any]) -> str:
    """Return the row of a layer; the fastest of the peer's solvers that computed the same values, as it ships."""
    rows = [row for row in read(f"speed/{name}.json")["rows"] if case.items() <= row.items() and row.get("x qkan")]
    rows = [row for row in rows if "pages kept" not in row["side"]]
    (ours,) = [row for row in rows if row["side"] == "qkan-torch auto"]
    peer = min((row for row in rows if row["side"].startswith("peer")), key=lambda row: row["x qkan"])
    told = f"{case['in']} → {case['out']}, batch {case['batch']}, "
    told += "⟨Z⟩" if ours["readout"] == "expectation" else "amplitude readout"
    told += ", trainable weights per edge" if case["weights"] == "per edge" else ""
    times = f"{ours['eager ms']:.2g} | {peer['eager ms']:.3g} ({peer['side'].removeprefix('peer ')})"
    return f"| {told} | {times} | {peer['x qkan']:.3g} | {peer['x compiled']:.3g} |"


def extension() -> str:
    """Return the sentence on layer extension: medians of the seeds at the last stage."""
    runs = read("extension.json")["results"]
    ours, peer = (
        f"{last(runs[side], 'test_mse'):.1e} in {last(runs[side], 'seconds'):.0f} s" for side in ("ours", "peer")
    )
    return (
        f"Layer extension to 20 repetitions on exp(sin(πx) + y²), median of {len(runs['ours'])} seeds: test MSE\n"
        f"{ours}, the peer by the recipe of its notebook {peer}."
    )


def last(seeds: dict[str, list[dict[str, float]]], key: str) -> float:
    """Return the median over the seeds of what the last stage measured."""
    return statistics.median(stages[-1][key] for stages in seeds.values())


def read(name: str) -> Any:
    """Return the content of a results file."""
    return json.loads((DOCS / "results" / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
