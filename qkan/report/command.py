"""`qkan report`: a page that shows a saved model."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qkan._arguments import positive
from qkan.checkpoint import load
from qkan.data.images import DATA_SETS, load_images
from qkan.data.npz import opened
from qkan.history import History
from qkan.models.stack import Stack
from qkan.report.inputs import evenly
from qkan.report.writing import write

__all__ = ["add_command", "run"]

_BESIDE = ("{stem}.history.json", "history.json", "results.json")


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `report` to the subcommands of a parser."""
    parser = commands.add_parser(
        "report",
        help="write a page that shows a saved model edge by edge",
        description="Write one HTML page that needs no network: the network, the scores of all edges, and of every "
        "edge its curve over the data, its circuit, angles, spectrum and formula; layers, training, and a check "
        "against PennyLane.",
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="what qkan.save wrote")
    add("-o", "--out", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: %(default)s)")
    add(
        "--data",
        metavar="PATH",
        help="an .npz file with inputs x [samples, ...], scaled as in training; with --data-set a torchvision root or "
        "the .npz of `qkan reproduce`. Without data, inputs are drawn, and the page says from what",
    )
    add("--data-set", choices=list(DATA_SETS), help="the test images of `qkan reproduce`, in [-1, 1]")
    add("--samples", type=positive, default=1000, help="of the data at most (default: %(default)s)")
    add(
        "--history",
        type=Path,
        metavar="FILE",
        help="what History.save or `qkan reproduce` wrote (default: STEM.history.json, history.json or results.json "
        "beside the checkpoint)",
    )
    add(
        "--edges",
        type=positive,
        metavar="N",
        help="hold the details of the N strongest edges of every layer (default: of as many as fit into 8 MB)",
    )
    add("--no-check", dest="check", action="store_false", help="do not run circuits through PennyLane")
    add("--title", help="of the page (default: the name of the checkpoint)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page and tell what it holds.

    Raises:
        ValueError, OSError: a file that cannot be read, does not fit, or cannot be written.
        ImportError: without Plotly or safetensors.
    """
    if options.out.absolute() == options.checkpoint.absolute():
        raise ValueError(f"-o {options.out} is the checkpoint itself: name another file")
    model = load(options.checkpoint)
    data, data_note = _data(options, model)
    history, history_note = _history(options)
    found = write(
        model,
        options.out,
        data=data,
        history=history,
        edges=options.edges,
        samples=options.samples,
        check=options.check,
        title=options.checkpoint.name if options.title is None else options.title,
        notes=[f"Checkpoint: {options.checkpoint.name}.", *data_note, history_note],
    )
    left = "all" if found.detailed == found.edges else f"the {found.detailed} strongest"
    print(f"written: {options.out} ({found.size / 1e6:.1f} MB): {found.edges} edges, details of {left}")
    return 0


def _data(options: argparse.Namespace, model: nn.Module) -> tuple[Tensor | None, list[str]]:
    """Return inputs, or None, and what to tell of them."""
    if options.data_set is not None:
        _, test, _ = load_images(options.data_set, options.data)
        index = evenly(len(test), options.samples)
        x, _ = next(test.take(index).batches(len(index)))
        note = f"Data: {len(index)} of {len(test)} test images of {options.data_set}, pixels in [-1, 1]"
        frame = DATA_SETS[options.data_set].padding
        inner = x[..., frame:-frame, frame:-frame] if frame else x
        if isinstance(model, Stack) and model.width[0] == inner[0].numel() != x[0].numel():
            return inner, [f"{note}, without their frame of zeros."]
        return x, [f"{note}."]
    if options.data is None:
        return None, []
    return _array(Path(options.data)), [f"Data: {Path(options.data).name}."]


def _array(path: Path) -> Tensor:
    """Return the array x of an .npz file, read without pickle."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at --data {path}: name an .npz file that holds inputs x [samples, ...]")
    with opened(path, f"--data {path} is no .npz file of plain arrays") as file:
        names = file.files
        x = file["x"] if "x" in names else None
    if x is None:
        raise ValueError(f"--data {path} must hold inputs x [samples, ...]; it holds {', '.join(names)}")
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"--data {path}: x must be floating-point, scaled as in training; got {x.dtype}: images of "
            "`qkan reproduce` are read with --data-set"
        )
    return torch.from_numpy(x)


def _history(options: argparse.Namespace) -> tuple[History | None, str]:
    """Return the history that was named, or that stands beside the checkpoint, and what to tell of it."""
    if options.history is not None:
        return _read(options.history), f"Training: {options.history.name}."
    names = [name.format(stem=options.checkpoint.stem) for name in _BESIDE]
    for name in names:
        path = options.checkpoint.with_name(name)
        if path.is_file():
            return _read(path), f"Training: {name}, found beside the checkpoint."
    return None, f"Training: no {', '.join(names[:-1])} or {names[-1]} stands beside the checkpoint."


def _read(path: Path) -> History:
    """Read what `History.save` or `qkan reproduce` wrote."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        content = {}  # History.load says what is wrong
    if isinstance(content, dict) and "format" not in content and isinstance(content.get("history"), dict):
        return History.from_dict(content["history"])
    return History.load(path)
