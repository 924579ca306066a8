"""Claim: a job costs at most 5 % more than a bare loop, and two processes do 0.85 of one process with two threads.

    python benchmarks/train.py --json docs/results/speed/train.json

HQKAN-44 on images of 32 x 32, batches of 1000, Adam. The bare loop is what one would write by hand: a permutation, the
batch, forward, backward, the step, and the validation after every epoch; the job also checks, measures top-1 and top-5,
and writes a checkpoint and the table. Sides in turn; an epoch more is what counts, not the start.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import Row, in_turn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from qkan.history import History
from qkan.jobs.config import Config, Data, Train
from qkan.jobs.data import load
from qkan.jobs.model import build
from qkan.jobs.run import run
from qkan.jobs.sources import Place

BARS = {"overhead": 1.05, "two processes": 0.85}


def config(out: Path, samples: int, epochs: int, threads: int) -> Config:
    data = Data("generated", image_size=32, samples=samples, classes=100)
    train = Train(epochs=epochs, batch_size=1000, device="cpu", threads=threads)
    return Config(out=str(out), data=data, train=train)


def bare(given: Config) -> None:
    """Train as one would by hand."""
    loaded = load(given, Place())
    model = build(given.model, loaded.task, 0)
    parts = [(torch.as_tensor(part.inputs), part.targets) for part in (loaded.training, loaded.validation)]
    optimizer, generator = torch.optim.AdamW(model.parameters(), lr=1e-3), torch.Generator().manual_seed(0)
    (images, labels), (other, truth) = parts
    for _ in range(given.train.epochs):
        model.train()
        for index in torch.randperm(len(images), generator=generator).split(given.train.batch_size):
            step(model, optimizer, images[index].float().div_(127.5).sub_(1), labels[index])
        model.eval()
        with torch.no_grad():
            for start in range(0, len(other), given.train.batch_size):
                x = other[start : start + given.train.batch_size].float().div_(127.5).sub_(1)
                cross_entropy(model(x), truth[start : start + given.train.batch_size]).item()


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, target: Tensor) -> None:
    """Take one step; a function, so that nothing of it is held while the next batch is made."""
    optimizer.zero_grad()
    cross_entropy(model(x), target).backward()
    optimizer.step()


def overhead(options: argparse.Namespace) -> Row:
    """Compare the seconds of an epoch more: by the wall, and of the processor, which other programs slow less."""
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    for way in (bare, run):
        _seconds(way, options, 1)
    sides = {"bare": lambda: _per_epoch(bare, options), "job": lambda: _per_epoch(run, options)}
    times = in_turn(sides, options.rounds)  # of every round (wall, processor)
    torch.set_num_threads(before)
    row: Row = {"threads": options.threads}
    for number, clock in enumerate(("wall", "processor")):
        pairs = [(job[number], alone[number]) for job, alone in zip(times["job"], times["bare"], strict=True)]
        row[clock] = {
            "seconds of an epoch, job and bare": pairs,
            "job / bare": statistics.median(job / alone for job, alone in pairs),
        }
    return row


def _per_epoch(way: Callable[[Config], object], options: argparse.Namespace) -> tuple[float, float]:
    short, long = _seconds(way, options, 1), _seconds(way, options, 1 + options.epochs)
    wall, processor = ((many - one) / options.epochs for many, one in zip(long, short, strict=True))
    return wall, processor


def _seconds(way: Callable[[Config], object], options: argparse.Namespace, epochs: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        given = config(Path(folder) / "a", options.samples, epochs, options.threads)
        start, used = time.perf_counter(), time.process_time()
        way(given)
        return time.perf_counter() - start, time.process_time() - used


def processes(options: argparse.Namespace) -> Row:
    """Compare the samples per second of two processes of one thread with those of one process of two."""
    ways = {"one of two threads": (1, 2), "two of one thread": (2, 1)}
    times = in_turn(
        {name: lambda way=way: _samples_per_second(options, *way) for name, way in ways.items()}, options.rounds
    )
    ratios = [two / one for two, one in zip(times["two of one thread"], times["one of two threads"], strict=True)]
    return {"samples per second": times, "ratios": ratios, "two / one": statistics.median(ratios)}


def _samples_per_second(options: argparse.Namespace, count: int, threads: int) -> float:
    """Run the command, and read how long the epochs but the first took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.toml"
        text = f"out = '{folder}/a'\n[data]\nsource = 'generated'\nimage_size = 32\nclasses = 100\n"
        text += f"samples = {options.samples}\n[train]\nepochs = {1 + options.epochs}\nbatch_size = 1000\n"
        path.write_text(text + f"device = 'cpu'\nthreads = {threads}\n")
        words = [sys.executable, "-m", "qkan", "train", str(path), "--processes", str(count)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(words, check=True, capture_output=True, env=environment)
        history = History.load(Path(folder) / "a" / "history.json")
    return options.samples / statistics.median(history["seconds"][1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--samples", type=int, default=10_000)
    add("--epochs", type=int, default=3)
    add("--rounds", type=int, default=5)
    add("--threads", type=int, default=1, help="of the bare loop and the job")
    add("--only", choices=("overhead", "processes"))
    add("--note", help="written into the results, such as what else ran")
    add("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"load at the start": os.getloadavg()[0]}
    if options.only != "processes":
        found["overhead"] = overhead(options)
        ratios = [found["overhead"][clock]["job / bare"] for clock in ("wall", "processor")]
        print(f"job / bare: wall {ratios[0]:.3f}, processor {ratios[1]:.3f} (bar {BARS['overhead']})", flush=True)
    if options.only != "overhead":
        found["processes"] = processes(options)
        print(f"two processes / two threads: {found['processes']['two / one']:.3f} (bar {BARS['two processes']})")
    found["load at the end"] = os.getloadavg()[0]
    settings = {name: getattr(options, name) for name in ("samples", "epochs", "rounds", "threads", "note")}
    where = {"machine": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    if options.json is not None:
        options.json.write_text(json.dumps({"bars": BARS, "settings": settings, **where, **found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
