"""Write speed.md beside this file, from the files in speed/; measure first, unless told not to.

    python docs/results/speed.py --peer peer/bin/python     (measures and writes the page; --gpu also on CUDA)
    python docs/results/speed.py --page-only

Each file is the last line of a script in benchmarks/, run in a process of its own, one after the other.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from speed_bars import Results, bars

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"

# file, title
SCRIPTS = {
    "against_peer": "Against the peer, qkan 0.2.3",
    "against_peer_amplitude": "Against the peer, amplitude readout",
    "against_gemm": "Against the bare matrix product",
    "hqkan_step": "A training step of the CIFAR-100 study",
    "operators": "Operators and small batches",
    "sparsity": "The sparsity penalty",
    "plots": "Plots",
    "report": "Reports",
    "train": "Training jobs",
    "family": "The classical family and convolutions",
    "scaling": "Scaling",
    "gpu": "On a GPU",
}
RATIOS = ("x qkan", "x compiled", "compiled x compiled", "inference x qkan", "saved x qkan")
# Further options of scripts that need some; what the file is called beside the script
OPTIONS = {"against_peer": ["--readout", "expectation"], "against_peer_amplitude": ["--readout", "amplitude"]}
WITH_PEER = ("against_peer", "against_peer_amplitude", "gpu")

HEADER = """# Speed and memory

Written by one command, which runs every script in [benchmarks/](../../benchmarks/) in a process of its own, one after
the other, and stores what each reports in [speed/](speed/):

```sh
python -m venv peer
peer/bin/pip install torch tqdm matplotlib numpy sympy opt-einsum pennylane qkan==0.2.3
python docs/results/speed.py --peer peer/bin/python
```

(`--page-only` writes the page again from the stored files; `--gpu` also runs `benchmarks/gpu.py`.) Sides of a
comparison run in turn, five or seven rounds of about 0.2 s a side, or of one call where that takes longer; a ratio is
the median over the rounds of the ratio within a round. float32; times are of forward and backward with gradients of x
and all parameters unless said. The peer runs in its own interpreter, with the same script, parameters, inputs and
threads, and what it computes, gradients included, is compared before anything is timed. `pages kept`: with glibc told
not to give memory back (`MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` at 8 GiB); all other rows with the
environment as it is.
"""

NOTE = """
Bars against the peer compare with it as it ships, eager, in both columns; the rows without a bar compile it as well.
`best CPU solver` is the fastest of those that computed the same values.
"""


def main() -> None:
    """Measure and write the page, or only write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--peer", help="an interpreter that has qkan 0.2.3 installed")
    what.add_argument("--page-only", action="store_true", help="write the page from the stored files")
    parser.add_argument("--gpu", action="store_true", help="also measure on CUDA")
    parser.add_argument("--only", choices=list(SCRIPTS), nargs="+", help="measure these scripts alone")
    parser.add_argument("--out", type=Path, default=HERE, help="where the page and its files are; default: beside this")
    parser.add_argument("--quick", action="store_true", help="to try it out with --out: numbers that mean nothing")
    options = parser.parse_args()
    if options.quick and options.out == HERE:
        parser.error("--quick needs an --out: its numbers mean nothing and are not to be kept")
    folder = options.out / "speed"
    if not options.page_only:
        _measure(options, folder)
    stored = {script: _read(folder / f"{script}.json") for script in SCRIPTS}
    (options.out / "speed.md").write_text(page({script: result for script, result in stored.items() if result}))


def _measure(options: argparse.Namespace, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for script in options.only or [script for script in SCRIPTS if script != "gpu" or options.gpu]:
        print("running", script, flush=True)
        words = [
            sys.executable,
            str(BENCHMARKS / f"{_script(script)}.py"),
            *OPTIONS.get(script, []),
            *(["--quick"] if options.quick else []),
        ]
        words += ["--peer", os.path.abspath(options.peer)] if script in WITH_PEER else []
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        (folder / f"{script}.json").write_text(json.dumps(result, indent=1) + "\n")


def _script(file: str) -> str:
    return file.removesuffix("_amplitude")


def _read(path: Path) -> dict[str, object] | None:
    result: dict[str, object] | None = json.loads(path.read_text()) if path.exists() else None
    return result


def page(results: Results) -> str:
    """Return the page of these results, by name of script."""
    warning = ["**Quick runs: these numbers mean nothing.**\n"] if any(r["quick"] for r in results.values()) else []
    parts = [
        HEADER,
        *warning,
        _machine(results),
        "\n## Bars\n",
        bars(results),
        NOTE,
        "\n## Where the peer wins\n",
        _peer_wins(results),
    ]
    for script, title in SCRIPTS.items():
        if script in results:
            claim, file = results[script]["claim"].removeprefix("Claim: "), _script(script)
            parts += [f"\n## {title}\n", f"`benchmarks/{file}.py`. Its claim: {claim}\n", _tables(results[script])]
        else:
            parts += [f"\n## {title}\n", f"Not measured yet: `benchmarks/{_script(script)}.py` is ready to run."]
    return "\n".join(parts) + "\n"


def _machine(results: Results) -> str:
    lines = []
    for scripts, machine in _machines(results).items():
        versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if value)
        malloc = ", ".join(f"{name}={value}" for name, value in machine["malloc"].items())
        lines.append(
            f"{scripts}: {machine['processor']} ({machine['instructions']}), {machine['platform']}, "
            f"{machine['threads']} threads, {machine['gpu'] or 'no GPU'}; {versions}; "
            f"glibc's malloc variables: {malloc or 'not set'}."
        )
    peer = results.get("against_peer", {}).get("peer", {})
    told = ", ".join(f"{name} {value or 'not installed'}" for name, value in peer.items())
    return "\n\n".join([*lines, *([f"The peer's interpreter: {told}."] if told else [])])


def _machines(results: Results) -> dict[str, dict[str, object]]:
    """Return the machines by the scripts that ran on them."""
    names = ("processor", "instructions", "platform", "gpu", "threads", "malloc", "versions")
    machines: dict[str, list[str]] = {}
    for script, result in results.items():
        machines.setdefault(json.dumps({name: result[name] for name in names}), []).append(script)
    return {", ".join(scripts): json.loads(machine) for machine, scripts in machines.items()}


def _peer_wins(results: Results) -> str:
    """Return the rows in which a side of the peer is faster than ours, or saves less for backward."""
    lines = []
    both = [results.get(name, {}).get("rows", []) for name in ("against_peer", "against_peer_amplitude")]
    for row in itertools.chain(*both):
        better = [f"{name} {row[name]:.2g}" for name in RATIOS if row.get(name) and row[name] < 1]
        if row["side"].startswith("peer") and better:
            case = f"{row['in']} -> {row['out']}, batch {row['batch']}, {row['readout']}, weights {row['weights']}"
            lines.append(f"- {case}: {row['side']}: {', '.join(better)}")
    return "\n".join(lines) or "In none of the measured rows."


def _tables(result: dict[str, object]) -> str:
    """Return the rows as tables, one for every set of columns that have values."""
    groups: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in result["rows"]:
        key = tuple(
            row.get(name) for name in ("part", "in", "out", "batch", "reps", "readout", "weights", "solver", "quantity")
        )
        groups.setdefault(key if "side" in row or "quantity" in row else (row.get("part"),), []).append(row)
    return "\n\n".join(_table(rows) for rows in groups.values())


def _table(rows: list[dict[str, object]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    return "\n".join(lines + ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")


if __name__ == "__main__":
    main()
