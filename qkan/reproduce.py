"""`qkan reproduce`: train the networks of the HQKAN study on real images, and write down what came out."""

import argparse
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qkan._arguments import encoding, positive
from qkan.check import table
from qkan.checkpoint import save
from qkan.crosscheck import cross_check
from qkan.data.images import DATA_SETS, load_images
from qkan.files import replace_atomically, write_json
from qkan.models.study import MODELS, QUANTUM, StudyNetwork
from qkan.training import History, fit, top_k

__all__ = ["add_command", "run"]


@dataclass(frozen=True)
class Protocol:
    """How long and in what steps a data set is trained by default."""

    epochs: int
    batch_size: int


PROTOCOLS = {"digits": Protocol(15, 100), "mnist": Protocol(20, 1000), "cifar100": Protocol(50, 1000)}
"""cifar100 is the published one. All use Adam, inputs in [-1, 1], no augmentation."""

_CORE = {"ansatz": "pz", "reps": 3, "encoding": "unit", "readout": "expectation", "solver": "auto"}


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `reproduce` to the subcommands of a parser."""
    parser = commands.add_parser(
        "reproduce",
        help="train the networks of the HQKAN study on real images",
        description="Train a network of the HQKAN study and write OUT/results.json, curves.png and the weights. "
        "Every epoch is checkpointed: a run that was stopped goes on with --resume.",
    )
    add = parser.add_argument
    add("--data-set", choices=list(DATA_SETS), default="digits", help="default: %(default)s, which needs no download")
    add("--data", metavar="PATH", help="a torchvision root or an .npz file; without it torchvision downloads")
    add("--model", choices=MODELS, default="hqkan-44", help="default: %(default)s")
    add("--epochs", type=positive, help=_per_data_set("epochs"))
    add("--batch-size", type=positive, help=_per_data_set("batch_size"))
    add("--lr", type=float, default=1e-3, help="learning rate of Adam (default: %(default)s)")
    add(
        "--seed",
        type=int,
        default=0,
        help="of the initial weights and of the order of the images (default: %(default)s)",
    )
    add("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: %(default)s)")
    add("--threads", type=positive, help="CPU threads (default: torch's choice)")
    add("--out", type=Path, help="folder for what is written (default: runs/DATA_SET-MODEL-seedSEED)")
    add("--resume", action="store_true", help="continue the run in OUT")
    core = parser.add_argument_group("quantum core (hqkan, hqkan-44)")
    core.add_argument("--ansatz", help="pz, rpz, px, real or mix (default: pz)")
    core.add_argument("--reps", type=positive, help="how often a circuit takes its input up (default: 3)")
    core.add_argument("--encoding", type=encoding, help="unit, ternary, trainable, or 1,3,9 (default: unit)")
    core.add_argument("--readout", help="expectation or amplitude (default: expectation)")
    core.add_argument("--solver", help="auto, fourier, bloch, statevector or pennylane (default: auto)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train as the options say, and return the exit status: 1 if the trained core is not what PennyLane computes.

    Raises:
        ValueError: options that do not go together, or a folder that already holds a run.
        OSError, ImportError: the data cannot be had.
        FloatingPointError: training diverged.
    """
    protocol = PROTOCOLS[options.data_set]
    options.epochs = options.epochs or protocol.epochs
    options.batch_size = options.batch_size or protocol.batch_size
    out = options.out or Path("runs") / f"{options.data_set}-{options.model}-seed{options.seed}"
    checkpoint = _claim(out, options.resume)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = _device(options.device)
    train, test, classes = load_images(options.data_set, options.data, device)
    model = _model(options, train.channels, classes).to(device)
    settings = _settings(options) | {"train_digest": train.digest(), "test_digest": test.digest()}
    out.mkdir(parents=True, exist_ok=True)
    history = fit(
        model,
        train,
        validation=test,
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=torch.optim.Adam(model.parameters(), lr=options.lr),
        metrics={"top1": top_k(1), "top5": top_k(5)},
        generator=torch.Generator().manual_seed(options.seed),
        progress=True,
        checkpoint=checkpoint,
        resume=options.resume and checkpoint.exists(),
        settings=settings,
    )
    results = _results(model, settings | {"epochs": options.epochs}, history)
    write_json(out / "results.json", results)
    told = ""
    if options.model in QUANTUM:
        results["check"], told = _check(model.get_submodule("head.core"), options.seed)
        write_json(out / "results.json", results)
    print(_table(results) + told)
    print(f"written: {out / 'results.json'}{_save(model, out)}{_draw(history, out)}")
    return int(results.get("check", {}).get("passed") is False)


def _check(core: nn.Module, seed: int) -> tuple[dict[str, Any], str]:
    """Run every edge of the core through PennyLane; return what to write down and what to tell."""
    try:
        rows = list(cross_check(core, generator=torch.Generator().manual_seed(seed)))
    except ImportError as error:
        return {"skipped": str(error)}, f"\nnot checked: {error}"
    result = {"pennylane": version("pennylane"), "passed": all(row.passed for row in rows)}
    verdict = "passed" if result["passed"] else "FAILED"
    rest = f"\nthe trained core against PennyLane, every edge: {verdict}\n{table(rows)}"
    return result | {"rows": [row.to_dict() for row in rows]}, rest


def _save(model: nn.Module, out: Path) -> str:
    """Write the trained network, unless safetensors is missing; return what to tell."""
    try:
        save(model, out / "model.safetensors")
    except ImportError as error:
        return f" (no model.safetensors: {error})"
    return ", model.safetensors"


def _claim(out: Path, resume: bool) -> Path:
    """Return the checkpoint's path, unless that would overwrite a run."""
    held = [name for name in ("checkpoint.pt", "results.json") if (out / name).exists()]
    if held and not resume:
        raise ValueError(f"{out} already holds a run ({', '.join(held)}): go on with --resume, or name another --out")
    return out / "checkpoint.pt"


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        raise ValueError(f"--device {name} cannot be used ({str(error).splitlines()[0]}): use cpu") from error


def _core_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of the quantum core: all of them for a model that has one, otherwise what was asked in vain."""
    given = {name: getattr(options, name) for name in _CORE if getattr(options, name) is not None}
    return _CORE | given if options.model in QUANTUM else given


def _model(options: argparse.Namespace, channels: int, classes: int) -> nn.Module:
    """Build the network on the CPU, so that a seed means the same weights on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return StudyNetwork(options.model, channels, classes, **_core_options(options))


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What a run is: all that a resumption must share, but for the number of epochs."""
    names = ("data_set", "model", "batch_size", "lr", "seed")
    core = {name: list(value) if isinstance(value, tuple) else value for name, value in _core_options(options).items()}
    return {
        **{name: getattr(options, name) for name in names},
        "data": Path(options.data).name if options.data else None,  # the name alone: results travel
        "core": core,
        "device": _device(options.device).type,
        "threads": torch.get_num_threads(),
    }


def _results(model: nn.Module, settings: dict[str, Any], history: History) -> dict[str, Any]:
    return {
        "settings": settings,
        "versions": _versions(settings["device"]),
        "parameters": _parameters(model),
        "best": dict(history.best("top1")),
        "last": dict(history.last),
        "history": history.to_dict(),
    }


def _versions(device: str) -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    versions |= {"qkan": _version(), "platform": f"{platform.system()} {platform.machine()}"}
    return versions | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})


def _version() -> str:
    try:
        return version("qkan-torch")
    except PackageNotFoundError:
        return "not installed"


def _parameters(model: nn.Module) -> dict[str, int]:
    parts = {"total": "", "features": "features", "head": "head"} | ({"core": "head.core"} if _has_core(model) else {})
    return {part: sum(p.numel() for p in model.get_submodule(path).parameters()) for part, path in parts.items()}


def _has_core(model: nn.Module) -> bool:
    return any(name == "head.core" for name, _ in model.named_modules())


def _table(results: dict[str, Any]) -> str:
    settings, parameters = results["settings"], results["parameters"]
    counts = ", ".join(f"{part} {count:,}" for part, count in parameters.items())
    lines = [
        f"{settings['model']} on {settings['data_set']}, seed {settings['seed']}; parameters: {counts}",
        f"{'':6}{'epoch':>6}{'test loss':>11}{'top-1 %':>9}{'top-5 %':>9}{'seconds':>9}",
    ]
    for name in ("best", "last"):
        row = results[name]
        lines.append(
            f"{name:6}{row['epoch']:6}{row['test_loss']:11.4f}{100 * row['top1']:9.2f}{100 * row['top5']:9.2f}"
            f"{row['seconds']:9.1f}"
        )
    return "\n".join([*lines, "best: the epoch with the best top-1 on the test set, which selects on the test set"])


def _draw(history: History, out: Path) -> str:
    from qkan.plot import training_curves

    try:
        figure = training_curves(history)
    except ImportError as error:
        return f" (no curves.png: {error})"
    with replace_atomically(out / "curves.png") as file:
        figure.savefig(file, format="png", dpi=120)
    return ", curves.png"


def _per_data_set(name: str) -> str:
    return "default: " + ", ".join(f"{key} {getattr(protocol, name)}" for key, protocol in PROTOCOLS.items())
