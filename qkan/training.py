"""The training loop: `fit` trains any module on any source of batches, `evaluate` measures it."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from qkan._checks import positive_integer
from qkan.data.batches import Batches, as_batches
from qkan.history import History
from qkan.resume import TrainingState

if TYPE_CHECKING:
    from tqdm import tqdm  # type: ignore[import-untyped]

__all__ = ["History", "evaluate", "fit", "top_k"]

Data = Batches | tuple[Tensor, Tensor]
Measure = Callable[[Tensor, Tensor], Tensor]

_RESERVED = frozenset(("epoch", "loss", "train_loss", "test_loss", "seconds", "test_seconds"))


def top_k(k: int) -> Measure:
    """Return a metric: the fraction of samples whose label is among the k largest outputs.

    Raises:
        ValueError: k is less than 1.

    Example:
        >>> output, target = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), torch.tensor([2, 0])
        >>> top_k(1)(output, target).item(), top_k(2)(output, target).item()
        (0.5, 1.0)
    """
    if k < 1:
        raise ValueError(f"k counts outputs and is at least 1; got {k}")

    def fraction(output: Tensor, target: Tensor) -> Tensor:
        best = output.topk(min(k, output.shape[-1]), dim=-1).indices  # [batch, k]
        return (best == target.unsqueeze(-1)).any(dim=-1).double().mean()

    fraction.__name__ = f"top_{k}"
    return fraction


def evaluate(
    model: nn.Module,
    data: Data,
    *,
    batch_size: int = 1000,
    loss: Measure = cross_entropy,
    metrics: Mapping[str, Measure] | None = None,
) -> dict[str, float]:
    """Return the loss and the metrics over all samples, in evaluation mode and without gradients.

    Every measure is a mean over its batch, and batches weigh by their size: a short last one counts for what it holds.

    Args:
        model: any module from inputs [batch, ...] to outputs.
        data: a pair of tensors (inputs, targets), or a source of batches.
        batch_size: samples evaluated at a time.
        loss: (outputs, targets) -> the mean over the batch, a tensor without dimensions.
        metrics: further such functions by name.

    Raises:
        TypeError: `data` is of another kind, or `batch_size` no integer.
        ValueError: no samples, or a batch size below 1.

    Example:
        >>> inputs, targets = torch.eye(3), torch.arange(3)
        >>> evaluate(nn.Identity(), (inputs, targets), batch_size=2, metrics={"top1": top_k(1)})["top1"]
        1.0
    """
    measures = {"loss": loss, **(metrics or {})}
    source, device = as_batches(data), _device(model)
    rows, sizes = [], []
    # not inference_mode: its tensors could not be used in a later training step by a module that keeps them
    with _mode(model, training=False), torch.no_grad():
        for inputs, targets in source.batches(positive_integer("batch_size", batch_size)):
            outputs, targets = model(inputs.to(device)), targets.to(device)
            rows.append(torch.stack([measure(outputs, targets).double() for measure in measures.values()]))
            sizes.append(len(targets))
    return dict(zip(measures, _weighted_means(rows, sizes), strict=True))


def fit(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    batch_size: int,
    validation: Data | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss: Measure = cross_entropy,
    metrics: Mapping[str, Measure] | None = None,
    generator: torch.Generator | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> History:
    """Train a model in place and return what was measured.

    Args:
        model: any module from inputs [batch, ...] to outputs; batches are moved to its device.
        data: a pair of tensors (inputs, targets), or a source of batches (see `qkan.data.Batches`).
        epochs: how often to go through the data, those before a resumption included.
        batch_size: samples per step; the last step of an epoch may have fewer.
        validation: evaluated after every epoch, as `test_loss` and the metrics.
        optimizer: over the parameters of `model`; by default Adam with a learning rate of 1e-3.
        loss: (outputs, targets) -> the mean over the batch, a tensor without dimensions.
        metrics: further such functions by name, evaluated on `validation`.
        generator: shuffles the data; by default torch's own.
        progress: show a tqdm bar.
        checkpoint: a file written after every epoch (atomically, replacing that of the epoch before).
        resume: continue from `checkpoint`; on the CPU the result is that of a run without the stop, bit for bit.
        settings: plain values (numbers, text, None, lists and dicts of them) that a resumed run has to share, beside
            the ones that the loop knows.

    Returns:
        the history, with `epoch`, `train_loss`, `seconds`, and with validation data `test_loss`, the metrics and
        `test_seconds`. The training loss is the mean over the steps of the epoch, while the weights move.

    Raises:
        TypeError: `data` or `validation` is of another kind, or a number is no integer.
        ValueError: a number is out of range, metrics without validation data, or a checkpoint that does not fit.
        FloatingPointError: the loss or a parameter became infinite or NaN; the last checkpoint is from before.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.linspace(-1, 1, 64).unsqueeze(-1)
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.3)
        >>> history = fit(model, (inputs, 2 * inputs), epochs=20, batch_size=16, optimizer=sgd,
        ...               loss=nn.functional.mse_loss, generator=generator)
        >>> history.last["train_loss"] < 1e-4
        True
    """
    source = as_batches(data)
    held_out = None if validation is None else as_batches(validation, "validation")
    epochs, batch_size = positive_integer("epochs", epochs), positive_integer("batch_size", batch_size)
    _check_metrics(metrics, held_out)
    if resume and checkpoint is None:
        raise ValueError("resume continues from a checkpoint: give checkpoint= as well")
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-3)
    known = _fingerprint(model, optimizer, source, batch_size, loss, metrics) | dict(settings or {})
    state = TrainingState(model, optimizer, generator or torch.default_generator, known)
    history, random = state.load(checkpoint, epochs) if resume and checkpoint is not None else (History(), None)
    bar = _bar(math.ceil(len(source) / batch_size), epochs, history, progress)
    with _mode(model, training=True), state.random(random), bar:
        while len(history) < epochs:
            measured = _train(state, source, batch_size, loss, bar)
            if held_out is not None:
                measured |= _validate(model, held_out, batch_size, loss, metrics)
            _require_finite(model, measured, len(history) + 1, checkpoint)
            history = history.append({"epoch": len(history) + 1, **measured})
            if checkpoint is not None:
                state.save(checkpoint, history)
            _show(bar, epochs, history)
    return history


def _train(state: TrainingState, source: Batches, batch_size: int, loss: Measure, bar: "tqdm[Any]") -> dict[str, float]:
    """Go through the data once; the losses stay on the device until the end, so that no step waits for another."""
    start, device = time.perf_counter(), state.device
    losses, sizes = [], []
    for inputs, targets in source.batches(batch_size, state.generator):
        losses.append(_step(state, loss, inputs.to(device), targets.to(device)))
        sizes.append(len(targets))
        bar.update()
    (mean,) = _weighted_means(losses, sizes)
    return {"train_loss": mean, "seconds": time.perf_counter() - start}


def _step(state: TrainingState, loss: Measure, inputs: Tensor, targets: Tensor) -> Tensor:
    """Take one step; a closure, because some optimizers evaluate the loss more than once."""

    def closure() -> Tensor:
        state.optimizer.zero_grad()
        value = loss(state.model(inputs), targets)
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    return state.optimizer.step(closure)  # type: ignore[arg-type,return-value]  # torch annotates float


def _validate(
    model: nn.Module, data: Batches, batch_size: int, loss: Measure, metrics: Mapping[str, Measure] | None
) -> dict[str, float]:
    start = time.perf_counter()
    measured = evaluate(model, data, batch_size=batch_size, loss=loss, metrics=metrics)
    return {"test_loss": measured.pop("loss"), **measured, "test_seconds": time.perf_counter() - start}


def _check_metrics(metrics: Mapping[str, Measure] | None, held_out: Batches | None) -> None:
    if metrics and held_out is None:
        raise ValueError("metrics are measured on validation data: give validation=, or leave metrics out")
    taken = sorted(_RESERVED.intersection(metrics or ()))
    if taken:
        raise ValueError(f"metrics need names other than {', '.join(sorted(_RESERVED))}; got {', '.join(taken)}")


def _weighted_means(rows: list[Tensor], sizes: list[int]) -> list[float]:
    """Mean of each column [batches] or [batches, measures], weighted by the batch sizes, in float64 on the CPU."""
    if not rows:
        raise ValueError("the data set has samples but yielded no batch: its batches() must go through them once")
    values = torch.stack(rows).cpu().double().reshape(len(rows), -1)  # [batches, measures]
    weights = torch.tensor(sizes, dtype=torch.float64)
    return (weights @ values / weights.sum()).tolist()


def _require_finite(
    model: nn.Module, measured: Mapping[str, float], epoch: int, checkpoint: str | os.PathLike[str] | None
) -> None:
    losses = {name: value for name, value in measured.items() if name.endswith("loss")}
    bad = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
    bad += [f"parameter {name} is not finite" for name, p in model.named_parameters() if not p.isfinite().all()]
    if bad:
        kept = "" if checkpoint is None or epoch == 1 else f"; {checkpoint} holds epoch {epoch - 1}"
        raise FloatingPointError(f"training diverged in epoch {epoch} ({bad[0]}): lower the learning rate{kept}")


def _fingerprint(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    source: Batches,
    batch_size: int,
    loss: Measure,
    metrics: Mapping[str, Measure] | None,
) -> dict[str, Any]:
    """What a resumed run must share with the one before it; the number of epochs is free."""
    groups = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    shapes = {name: f"{list(value.shape)} {value.dtype}" for name, value in model.state_dict().items()}
    return {
        "fit.parameters": shapes,
        "fit.optimizer": f"{type(optimizer).__name__} {groups}",
        "fit.samples": len(source),
        "fit.batch_size": batch_size,
        "fit.loss": _name(loss),
        "fit.metrics": sorted(metrics or ()),
    }


def _name(function: Measure) -> str:
    return getattr(function, "__name__", None) or repr(function)


def _device(model: nn.Module) -> torch.device | None:
    return next((parameter.device for parameter in model.parameters()), None)


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Set training or evaluation mode, and give every submodule back the mode that it had."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _bar(steps: int, epochs: int, history: History, progress: bool) -> "tqdm[Any]":
    from tqdm import tqdm

    # twice a second at most: a log file keeps every refresh
    bar = tqdm(total=epochs * steps, initial=len(history) * steps, unit="batch", mininterval=0.5, disable=not progress)
    _show(bar, epochs, history)
    return bar


def _show(bar: "tqdm[Any]", epochs: int, history: History) -> None:
    bar.set_description(f"epoch {len(history)}/{epochs}", refresh=False)
    if len(history):
        seen = {name: value for name, value in history.last.items() if name not in ("epoch", "seconds", "test_seconds")}
        bar.set_postfix({name: f"{value:.4g}" for name, value in seen.items()})
