"""Claim: PennyLane checks a whole 32 -> 28 layer on 1000 samples, values and gradients, in 10 s and 3 GB on two cores.

    python benchmarks/cross_check.py

Runs `qkan check 32,28 --samples 1000` in its own process, five times; the peak is of the whole process, torch and
PennyLane included.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import report


def measure(folder: Path) -> dict[str, object]:
    seconds, rows = [], []
    for _ in range(5):
        words = ["check", "32,28", "--samples", "1000", "--json", str(folder / "rows.json")]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "qkan", *words], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
        rows.append(json.loads((folder / "rows.json").read_text()))
    double = [row for run in rows for row in run if row["dtype"] == "float64"]
    fourier = [row["seconds"] for row in double if row["solver"] == "fourier"]
    pennylane = [row["pennylane_seconds"] for row in double if row["solver"] == "fourier"]
    return {
        "seconds": statistics.median(seconds),
        "peak MiB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "PennyLane s": statistics.median(pennylane),
        "fourier s": statistics.median(fourier),
        "ratio": statistics.median(p / f for p, f in zip(pennylane, fourier, strict=True)),
        "max deviation": max(max(row["value"], row["gradient"]) for row in double),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        report(str(__doc__).splitlines()[0], [measure(Path(name))])
