"""A training job, from its configuration to a folder of results."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qkan.checkpoint import save
from qkan.files import replace_atomically, write_csv, write_json
from qkan.history import History, larger_is_better
from qkan.jobs.accelerated import Accelerated, make_accelerator
from qkan.jobs.config import Config
from qkan.jobs.data import Loaded, Task, load
from qkan.jobs.folder import Folder, storable
from qkan.jobs.metrics import loss_of, metrics_of
from qkan.jobs.model import build
from qkan.jobs.moving import make_optimizer, make_schedule
from qkan.jobs.sources import Place
from qkan.jobs.trackers import Trackers, tracker_names
from qkan.jobs.typed import plain
from qkan.training import EarlyStopping, fit
from qkan.training.loading import Loading, model_state
from qkan.training.penalties import ActivationPenalty

__all__ = ["Result", "dry", "run"]


@dataclass(frozen=True)
class Result:
    """What a job has come to.

    Args:
        history: of its epochs.
        model: as it was built and trained; on several processes with FSDP2, in parts.
        task: what the data asked for.
        main: whether this process is the one that writes.
    """

    history: History
    model: nn.Module
    task: Task
    main: bool


def run(config: Config, *, resume: bool = False, trust: bool = False, progress: bool = False) -> Result:
    """Train as a configuration says, and write `history.csv`, `results.json`, checkpoints and the weights.

    Args:
        config: what to do.
        resume: go on from the last checkpoint in `config.out`, or begin if there is none.
        trust: whether a builder of a model outside of the package may be imported.
        progress: show a bar.

    Raises:
        ValueError: keys that do not go together, a folder that already holds a job, a checkpoint that does not fit.
        OSError, ImportError: data that cannot be had, a full disk, a library that is missing.
        FloatingPointError: training diverged.
    """
    _check_together(config)
    out, train = Path(config.out), config.train
    store = Folder(out / "checkpoints")
    _claim(out, store, resume)
    accelerator = make_accelerator(train, str(out), tracker_names(config.track))
    engine = Accelerated(accelerator, train.strategy)
    dtype = torch.float64 if train.precision == "double" else torch.float32
    with _threads(config, engine.world), _seeded(train.seed, engine.rank, accelerator.device):
        loaded = load(config, Place(engine.rank, engine.world), dtype)
        model = build(config.model, loaded.task, train.seed, trust).to(accelerator.device, dtype)
        arguments = _arguments(config, model, loaded)
        going_on = resume and store.newest() is not None
        before = Loading(str(store), store.read()).history() if going_on else History()
        trackers = Trackers(accelerator, out / "history.csv" if engine.rank == 0 else None, before)
        out.mkdir(parents=True, exist_ok=True)
        trackers.start(config.track, out, plain(config))
        try:
            history = fit(
                model,
                loaded.training,
                **arguments,
                callbacks=[trackers],
                progress=progress,
                checkpoint=store,
                resume=going_on,
                engine=engine,
            )
            weights = model_state(model, engine)
        finally:
            accelerator.end_training()
    result = Result(history, model, loaded.task, engine.rank == 0)
    if result.main:
        _write(config, result, weights, engine.world)
    return result


def _arguments(config: Config, model: nn.Module, loaded: Loaded) -> dict[str, Any]:
    """Return what `fit` is told, all of it checked before anything is written."""
    train, penalty, validated = config.train, config.penalty, loaded.validation is not None
    steps = -(-len(loaded.training) // train.batch_size)
    schedule = make_schedule(config.schedule, train.epochs, steps)
    metrics = metrics_of(train, loaded.task)
    if train.patience is not None and not validated:
        raise ValueError("train.patience watches the validation loss: give data.validation")
    return {
        "epochs": train.epochs,
        "batch_size": train.batch_size,
        "validation": loaded.validation,
        "optimizer": make_optimizer(config.optimizer, model),
        "scheduler": schedule,
        "schedule_on": None if schedule is None else "step",
        "loss": loss_of(train, loaded.task),
        "metrics": metrics if validated else None,
        "sparsity": ActivationPenalty(penalty.l1, penalty.l2) if penalty.l1 or penalty.l2 else None,
        "clip_norm": train.clip_norm,
        "accumulate": train.accumulate,
        "average_decay": train.average_decay,
        "early_stopping": None if train.patience is None else EarlyStopping(train.patience),
        "generator": torch.Generator().manual_seed(train.seed),
        "checkpoint_steps": train.checkpoint_steps,
        "settings": _settings(config, loaded, steps),
    }


def dry(config: Config, folder: str, samples: int = 4) -> Config:
    """Return a short job of generated images of the same size, channels and classes, in steps of two."""
    data = replace(config.data, source="generated", samples=samples, validation=None, workers=0)
    schedule = replace(config.schedule, warmup=min(1.0, config.schedule.warmup))
    train = replace(config.train, epochs=1, batch_size=2, checkpoint_steps=None, patience=None)
    return replace(config, out=folder, data=data, schedule=schedule, train=train)


def _check_together(config: Config) -> None:
    if config.train.strategy == "fsdp" and (config.train.average_decay or config.train.patience):
        raise ValueError(
            'train.strategy = "fsdp" cuts the weights, of which train.average_decay and train.patience keep whole '
            'copies: leave these out, or use "ddp"'
        )
    if config.optimizer.name == "LBFGS" and (config.schedule.kind != "constant" or config.schedule.warmup):
        raise ValueError("schedule is for other optimizers: LBFGS finds the length of its steps itself")
    if config.data.source == "generated" and config.data.validation is not None:
        raise ValueError("data.validation holds samples out where there is no other part; generated data have one")


def _claim(out: Path, store: Folder, resume: bool) -> None:
    """Refuse to write over a job."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must be a folder; {out} is a file")
    if not resume and (store.newest() is not None or (out / "results.json").exists()):
        raise ValueError(f"{out} already holds a job: go on with --resume, or name another folder as out")


@contextmanager
def _threads(config: Config, world: int) -> Iterator[None]:
    """Use as many threads as asked for, or else this process's part of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.train.threads or max(1, before // world))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _seeded(seed: int, rank: int, device: torch.device) -> Iterator[None]:
    """Draw dropout from a seed, another one in every process."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((seed + 7919 * rank + 1) % 2**63)
        yield


_FREE = {
    "data": ("path", "download", "workers"),
    "train": ("epochs", "accumulate", "patience", "checkpoint_steps", "strategy", "device", "threads"),
}
"""Keys that a resumed job may change."""


def _settings(config: Config, loaded: Loaded, steps: int) -> dict[str, Any]:
    """What a job is: all that a resumption must share."""
    values = {name: part for name, part in plain(config).items() if name not in ("out", "track")}
    for name, free in _FREE.items():
        values[name] = {key: value for key, value in values[name].items() if key not in free}
    flat = {f"{name}.{key}": value for name, part in values.items() for key, value in part.items()}
    # a falling rate depends on where it ends
    total = None if config.schedule.kind == "constant" else config.train.epochs * steps
    return flat | {"schedule.steps": total, "data.digest": loaded.training.digest()}


def _write(config: Config, result: Result, weights: Mapping[str, Any], world: int) -> None:
    out, history = Path(config.out), result.history
    watched = next(
        (name for name in ("top1", "dice", "test_loss", "train_loss") if name in history.names), "train_loss"
    )
    results = {
        "config": plain(config),
        "versions": _versions(),
        "processes": world,
        "parameters": sum(parameter.numel() for parameter in result.model.parameters()),
        "task": {"kind": result.task.kind, "outputs": result.task.outputs, "shape": list(result.task.shape)},
        "best": {"by": watched, "largest": larger_is_better(watched), **history.best(watched)},
        "last": dict(history.last),
    }
    write_csv(out / "history.csv", history.names, history.epochs)
    history.save(out / "history.json")
    write_json(out / "results.json", results)
    _save(result.model, weights, out / "model.safetensors")


def _save(model: nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    """Write a model that `qkan.load` builds again, or else its bare weights."""
    inner = model[1] if isinstance(model, nn.Sequential) and len(model) == 2 else model  # behind a Flatten
    try:
        save(inner, path)
    except (TypeError, ValueError):
        from safetensors.torch import save as to_bytes

        with replace_atomically(path) as file:
            file.write(to_bytes(storable(weights)))


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in ("qkan-torch", "torch", "accelerate", "torchmetrics", "torchvision"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
