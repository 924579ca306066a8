"""Claim: the reports of the trained CIFAR-100 core and of a [784, 64, 10] model open in 3 s in Chromium, under 8 MB.

    python benchmarks/report.py [--checkpoint MODEL.safetensors]

`opened s` is from the start of the navigation until all figures are drawn and the page answers, by the page's own
clock: the median of five, each in a browser that was just started, so that nothing is compiled or cached. `main thread
s` is the CPU time of the page's main thread. A busy machine stretches the one, not the other: `chrt -r 1 python
benchmarks/report.py` (Linux) measures there as on an idle one; `load` and `scheduler` tell. `written s` is the time of
`qkan.report.write` without the check against PennyLane. --checkpoint takes a network of the study that `qkan reproduce
--data-set cifar100` wrote; without it the core is untrained.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from harness import Row
from reporting import report
from torch import nn

from qkan import QKAN, load
from qkan.models.study import StudyNetwork
from qkan.report import write

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import Browser, missing

POLICIES = {os.SCHED_OTHER: "usual", os.SCHED_FIFO: "real-time", os.SCHED_RR: "real-time"}
BARS = {"opened s": 3.0, "bytes": 8e6}


def cases(checkpoint: str | None) -> dict[str, nn.Module]:
    trained = "CIFAR-100 core, untrained" if checkpoint is None else "CIFAR-100 core, trained"
    core = StudyNetwork("hqkan-44", 3, 100) if checkpoint is None else load(checkpoint)
    return {trained: core, "QKAN [784, 64, 10]": QKAN([784, 64, 10], init=1.0)}


def opened(path: Path) -> tuple[float, float]:
    """Return the seconds until the page was ready, and the CPU seconds of its main thread."""
    browser = Browser()
    try:
        browser.driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        milliseconds = browser.open(path)
        metrics = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        if browser.logs():
            raise RuntimeError(f"the page logs messages: {browser.logs()}")
    finally:
        browser.close()
    return milliseconds / 1e3, next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def measure(name: str, model: nn.Module, folder: Path, rounds: int) -> Row:
    path = folder / "report.html"
    data = (
        torch.rand(1000, 784, generator=torch.Generator().manual_seed(0)) * 2 - 1 if isinstance(model, QKAN) else None
    )
    start = time.perf_counter()
    found = write(model, path, data=data, check=False)
    seconds = time.perf_counter() - start
    times = [opened(path) for _ in range(rounds)]
    row: Row = {
        "model": name,
        "edges": found.edges,
        "with details": found.detailed,
        "bytes": found.size,
        "written s": seconds,
        "opened s": statistics.median(one for one, _ in times),
        "slowest s": max(one for one, _ in times),
        "main thread s": statistics.median(one for _, one in times),
        "load": os.getloadavg()[0],
        "scheduler": POLICIES.get(os.sched_getscheduler(0), "other"),
    }
    return row | {"within": all(row[column] <= bar for column, bar in BARS.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="a trained network of the study")
    parser.add_argument("--quick", action="store_true", help="one round: to try the script out")
    options = parser.parse_args()
    reason = missing()
    if reason:
        raise SystemExit(reason)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        rows = [measure(*case, Path(name), 1 if options.quick else 5) for case in cases(options.checkpoint).items()]
    report(str(__doc__).splitlines()[0], rows, quick=options.quick, bars=BARS)


if __name__ == "__main__":
    main()
