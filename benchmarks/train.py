"""Claim: a job costs at most 5 % more than a bare loop, and two processes do 0.85 of one process with two threads.

    python benchmarks/train.py

HQKAN-44 on images of 32 x 32, batches of 1000, Adam. The bare loop is what one would write by hand: a permutation, the
batch, forward, backward, the step, and the validation after every epoch; the job also checks, measures top-1 and top-5,
and writes a checkpoint and the table. Sides in turn; an epoch more is what counts, not the start. A ratio is the median
over the rounds of the ratio within a round. `load` tells whether something else ran.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from harness import Row, in_turn
from reporting import report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from qkan.history import History
from qkan.jobs.config import Config, Data, Train
from qkan.jobs.data import load
from qkan.jobs.model import build
from qkan.jobs.run import run
from qkan.jobs.sources import Place

AT_MOST, AT_LEAST = 1.05, 0.85  # the bars


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


def overhead(options: argparse.Namespace) -> list[Row]:
    """Compare the seconds of an epoch more: by the wall, and of the processor, which other programs slow less."""
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    for way in (bare, run):
        _seconds(way, options, 1)
    sides = {"bare": lambda: _per_epoch(bare, options), "job": lambda: _per_epoch(run, options)}
    times = in_turn(sides, options.rounds)  # of every round (wall, processor)
    torch.set_num_threads(before)
    rows = []
    for number, clock in enumerate(("wall", "processor")):
        job, alone = ([round_[number] for round_ in times[side]] for side in ("job", "bare"))
        row: Row = {"part": "a job against a bare loop, an epoch", "clock": clock}
        row |= {"job s": statistics.median(job), "bare s": statistics.median(alone)} | _ratios(job, alone)
        rows.append(row | {"bar": f"at most {AT_MOST}", "met": row["ratio"] <= AT_MOST})
    return rows


def _ratios(one: Sequence[float], other: Sequence[float]) -> Row:
    """Return the median, the smallest and the largest of the ratios of the rounds."""
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    return {"ratio": statistics.median(ratios), "smallest": min(ratios), "largest": max(ratios)}


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


def processes(options: argparse.Namespace) -> list[Row]:
    """Compare the samples per second of two processes of one thread with those of one process of two."""
    ways = {"two": (2, 1), "one": (1, 2)}
    times = in_turn(
        {name: lambda way=way: _samples_per_second(options, *way) for name, way in ways.items()}, options.rounds
    )
    row: Row = {"part": "two processes of one thread against one of two threads"}
    row |= {f"{name}: samples per s": statistics.median(times[name]) for name in ways}
    row |= _ratios(times["two"], times["one"])
    return [row | {"bar": f"at least {AT_LEAST}", "met": row["ratio"] >= AT_LEAST}]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--samples", type=int, default=10_000)
    add("--epochs", type=int, default=3)
    add("--rounds", type=int, default=5)
    add("--threads", type=int, default=1, help="of the bare loop and the job")
    add("--quick", action="store_true", help="one round of few samples: to try the script out")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.epochs, options.rounds = 1000, 1, 1
    loads = [os.getloadavg()[0]]
    rows = [*overhead(options), *processes(options)]
    loads.append(os.getloadavg()[0])
    settings = {name: getattr(options, name) for name in ("samples", "epochs", "rounds", "quick")}
    report(str(__doc__).splitlines()[0], rows, **settings, load=loads)


if __name__ == "__main__":
    main()
