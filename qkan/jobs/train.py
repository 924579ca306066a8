"""`qkan train`: train as a configuration says, in one process or in several."""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from qkan import _arguments
from qkan.jobs.config import Config, read
from qkan.jobs.launch import launch, reporting
from qkan.jobs.run import Result, dry, run

__all__ = ["add_command", "command"]


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `train` to the subcommands of a parser."""
    parser = commands.add_parser(
        "train",
        help="train a model as a configuration file says",
        description="Train as CONFIG says (TOML, see docs/train.md) and write checkpoints, history.csv, results.json "
        "and model.safetensors. Every epoch is checkpointed: a job that was stopped goes on with --resume.",
    )
    add = parser.add_argument
    add("config", type=Path, metavar="CONFIG", help="a TOML file")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="override a key, as in train.epochs=3",
    )
    add("--resume", action="store_true", help="go on from the last checkpoint of the job")
    add("--processes", type=_arguments.positive, default=1, help="on this machine (default: %(default)s)")
    add("--dry-run", action="store_true", help="two steps on generated images of the real size, written nowhere")
    add("--trust-code", action="store_true", help="let model.name = module:function import code outside of qkan.models")
    add("--report", type=Path, help=argparse.SUPPRESS)  # where a process started by --processes leaves its error
    parser.set_defaults(run=command)


def command(options: argparse.Namespace) -> int:
    """Train as the options say, and return the exit status.

    Raises:
        ValueError, TypeError, OSError, ImportError, FloatingPointError: see `qkan.jobs.run.run`.
    """
    config = read(options.config, options.changes)
    if options.processes > 1:
        return launch(_words(options), options.processes, config)
    with reporting(options.report):
        if options.dry_run:
            return _dry(config, options.trust_code)
        result = run(config, resume=options.resume, trust=options.trust_code, progress=True)
    if result.main:
        print(_told(config, result))
    return 0


def _words(options: argparse.Namespace) -> list[str]:
    words = ["train", str(options.config)]
    words += [word for change in options.changes for word in ("--set", change)]
    words += ["--resume"] if options.resume else []
    words += ["--dry-run"] if options.dry_run else []
    return words + (["--trust-code"] if options.trust_code else [])


def _dry(config: Config, trust: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        result = run(dry(config, folder), trust=trust)
        seconds = time.perf_counter() - start
    if result.main:
        print(
            f"{config.model.name}: {_size(result)}; a dry run on images {list(result.task.shape)} took {seconds:.1f} s"
        )
    return 0


def _told(config: Config, result: Result) -> str:
    last = "  ".join(f"{name} {value:.4g}" for name, value in result.history.last.items())
    return f"{config.model.name}: {_size(result)}\nlast: {last}\nwritten: {Path(config.out)}"


def _size(result: Result) -> str:
    count = sum(parameter.numel() for parameter in result.model.parameters())
    where = next((parameter.device for parameter in result.model.parameters()), torch.device("cpu"))
    return f"{count:,} parameters on {where}"
