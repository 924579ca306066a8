"""`fit`: what a run is made of, checked and put together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from qkan._checks import positive_integer
from qkan.data.batches import Batches, Data, Loader, as_batches
from qkan.data.reading import Reading, check_fraction, divide, hold_out
from qkan.history import History
from qkan.training.engine import Engine, Plain
from qkan.training.epochs import Callback, Run
from qkan.training.evaluation import mode
from qkan.training.progress import Progress
from qkan.training.resume import Restored, TrainingState, describe, fingerprint
from qkan.training.schedules import Schedule, ScheduleOn, Scheduler
from qkan.training.steps import MakeOptimizer, Measure, Penalty, Step, optimizer_of
from qkan.training.stopping import EarlyStopping, Watch
from qkan.training.stores import Checkpoint, Store, store_of

__all__ = ["fit"]

_RESERVED = frozenset(("epoch", "loss", "train_loss", "penalty", "lr", "test_loss", "seconds", "test_seconds"))


def fit(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    batch_size: int | None = None,
    validation: Data | float | None = None,
    optimizer: Optimizer | MakeOptimizer | None = None,
    scheduler: Scheduler | None = None,
    schedule_on: ScheduleOn | None = None,
    loss: Measure = cross_entropy,
    metrics: Mapping[str, Measure] | None = None,
    sparsity: Penalty | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    average_decay: float | None = None,
    early_stopping: EarlyStopping | None = None,
    callbacks: Sequence[Callback] = (),
    generator: torch.Generator | None = None,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    checkpoint_steps: int | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
) -> History:
    """Train a model in place and return what was measured.

    Functions are fitted best by Adam first and L-BFGS then, both on all samples at once: Adam leaves the flat start,
    L-BFGS converges to many digits, if the model is in double precision. The second example does this; `+` joins the
    two histories. Leave `batch_size` and `clip_norm` out there: a line search needs the same loss, and its gradient.

    Args:
        model: any module from inputs [batch, ...] to outputs; batches are moved to its device.
        data: a pair of tensors (inputs, targets), a map-style `Dataset` of such pairs, a `DataLoader`, or a source of
            batches (see `qkan.data.Batches`).
        epochs: how often to go through the data, those before a resumption included.
        batch_size: samples per step; the last step of an epoch may have fewer. By default all samples in one step, in
            their order. A `DataLoader` has its own.
        validation: evaluated after every epoch, as `test_loss` and the metrics. A fraction between 0 and 1 holds that
            part of `data` out, drawn by the generator; `qkan.data.reading.split` does so for several calls.
        optimizer: over parameters of `model`, or a function that makes one from parameters, such as
            `torch.optim.LBFGS`; by default Adam with a learning rate of 1e-3.
        scheduler: of the optimizer's learning rate, or a function that makes one from the optimizer.
        schedule_on: when it is stepped: after every "epoch" (the default) or "step"; for `ReduceLROnPlateau` after
            every epoch with the "test_loss" (the default with validation data) or the "train_loss" (without).
        loss: (outputs, targets) -> the mean over the batch, a tensor without dimensions.
        metrics: further such functions by name, evaluated on validation data.
        sparsity: a penalty added to the loss of every step, such as `qkan.attribution.Sparsity`.
        clip_norm: the largest Euclidean norm of a step's gradients together; longer ones are shortened to it.
        accumulate: how many parts every batch is taken in, one after the other, which saves memory; the step is that of
            the whole batch, but for rounding and for layers that look at a batch at once, such as batch norms.
        average_decay: keep moving averages of the weights, which every step moves by 1 - average_decay of the way to
            the weights; they are what is evaluated, and what the model has at the end.
        early_stopping: ends the run when a measured quantity has stopped getting better.
        callbacks: called after every epoch with the model and what the epoch measured; one that returns True ends the
            run. They look: what they change in the model comes after the epoch's checkpoint.
        generator: shuffles and holds out; by default torch's own. It also stands for torch's own wherever a
            `DataLoader` draws from that; what a `DataLoader` or its samples draw elsewhere is up to them.
        progress: show a tqdm bar.
        checkpoint: a file written after every epoch (atomically, replacing that of the epoch before), or a store
            of another kind (see `qkan.training.stores.Store`).
        checkpoint_steps: write it after so many steps within an epoch, too; a resumed run goes on at that step.
        resume: continue from `checkpoint`, given a new optimizer and scheduler like those of the start; on the CPU the
            result is that of a run without the stop, bit for bit.
        settings: plain values (numbers, text, None, lists and dicts of them) that a resumed run has to share, beside
            the ones that the loop knows.
        engine: where the passes happen: on one of several processes, in another precision; here and as the model is
            by default. `batch_size` counts the samples of all processes.

    Returns:
        the history, with `epoch`, `train_loss`, `seconds`, and with validation data `test_loss`, the metrics and
        `test_seconds`. The training loss is the mean over the steps of the epoch, while the weights move, without the
        penalty, which is `penalty`. With a scheduler, `lr` is the learning rate of the first parameter group in the
        last step of the epoch.

    Raises:
        TypeError: an argument is of another kind, or a number is no integer.
        ValueError: a number is out of range, arguments that do not go together, or a checkpoint that does not fit.
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

        Adam, then L-BFGS:

        >>> from functools import partial
        >>> from qkan.models.stack import QKAN
        >>> inputs = inputs.double()
        >>> model = QKAN([1, 3, 1], dtype=torch.float64, generator=generator)
        >>> task = {"data": (inputs, torch.sin(2 * inputs) / 2), "loss": nn.functional.mse_loss}
        >>> first = fit(model, epochs=50, optimizer=partial(torch.optim.Adam, lr=0.02), **task)
        >>> lbfgs = partial(torch.optim.LBFGS, max_iter=20, line_search_fn="strong_wolfe")
        >>> second = fit(model, epochs=10, optimizer=lbfgs, **task)
        >>> history = first + second
        >>> len(history), history.last["train_loss"] < first.last["train_loss"] / 100
        (60, True)
    """
    epochs = positive_integer("epochs", epochs)
    reading = Reading(as_batches(data), None if batch_size is None else positive_integer("batch_size", batch_size))
    held_out = _validation(reading.source, validation)
    engine = engine or Plain()
    moving = optimizer_of(optimizer, model)
    step = Step(model, moving, loss, clip_norm, sparsity, average_decay, accumulate, engine)
    schedule = Schedule.of(scheduler, schedule_on, step.optimizer, validated=held_out is not None)
    _check_metrics(metrics, validated=held_out is not None)
    _check_stopping(early_stopping, (*step.names, *(() if held_out is None else ("test_loss", *(metrics or ())))))
    _check_callbacks(callbacks)
    store = _store(checkpoint, checkpoint_steps, resume)
    others = tuple(
        own for source in (reading.source, held_out) if isinstance(source, Loader) for own in source.generators
    )
    known = fingerprint(step, schedule, early_stopping) | _read_as(reading, held_out, metrics, others)
    state = TrainingState(step, schedule, generator or torch.default_generator, others, known | dict(settings or {}))
    restored = state.load(store, epochs) if resume and store is not None else Restored()
    watch = Watch(early_stopping, step.evaluated, restored.history, restored.weights)
    sources = _divided(reading, held_out, state.generator, restored.held_out)
    run = Run(state, watch, *sources, metrics or {}, callbacks, store, checkpoint_steps)
    begun = 0 if restored.tally is None else restored.tally.steps
    with (
        mode(model, training=True),
        state.random(restored.random),
        Progress(run.training.steps, epochs, restored.history, progress and engine.rank == 0, begun) as bar,
    ):
        history = run.go(restored, epochs, bar)
    watch.restore()
    if step.average is not None:
        model.load_state_dict(step.evaluated.state_dict())
    return history


def _store(checkpoint: Checkpoint | None, steps: int | None, resume: bool) -> Store | None:
    if steps is not None:
        positive_integer("checkpoint_steps", steps)
    if checkpoint is not None:
        return store_of(checkpoint)
    if resume:
        raise ValueError("resume continues from a checkpoint: give checkpoint= as well")
    if steps is not None:
        raise ValueError(f"checkpoint_steps={steps} says when a checkpoint is written: give checkpoint= as well")
    return None


def _validation(source: Batches, validation: Data | float | None) -> Batches | float | None:
    if validation is None:
        return None
    if isinstance(validation, (int, float)):
        check_fraction(source, validation)
        return validation
    return as_batches(validation, "validation")


def _divided(
    reading: Reading, held_out: Batches | float | None, generator: torch.Generator, index: Tensor | None
) -> tuple[Reading, Reading | None, Tensor | None]:
    """Return what is trained on, what is held out, and which samples these are if they are a part of the data."""
    if held_out is None:
        return reading, None, None
    if not isinstance(held_out, (int, float)):
        return reading, reading.beside(held_out), None
    if index is None:
        index = hold_out(reading.source, held_out, generator)
    rest, held = divide(reading.source, index)
    return replace(reading, source=rest), reading.beside(held), index


def _read_as(
    reading: Reading,
    held_out: Batches | float | None,
    metrics: Mapping[str, Measure] | None,
    others: Sequence[torch.Generator],
) -> dict[str, Any]:
    """What a resumed run must share of its data; see `fingerprint`."""
    return {
        "fit.samples": len(reading.source),
        "fit.batch_size": reading.size if isinstance(reading.source, Loader) else reading.batch_size,
        "fit.validation": held_out if isinstance(held_out, (int, float)) else None,
        "fit.metrics": sorted(metrics or ()),
        "fit.generators": len(others) or None,
    }


def _check_metrics(metrics: Mapping[str, Measure] | None, validated: bool) -> None:
    if metrics and not validated:
        raise ValueError("metrics are measured on validation data: give validation=, or leave metrics out")
    taken = sorted(_RESERVED.intersection(metrics or ()))
    if taken:
        raise ValueError(f"metrics need names other than {', '.join(sorted(_RESERVED))}; got {', '.join(taken)}")


def _check_stopping(stopping: EarlyStopping | None, measured: Sequence[str]) -> None:
    if stopping is None:
        return
    if not isinstance(stopping, EarlyStopping):
        raise TypeError(f"early_stopping must be an EarlyStopping(patience, ...); got {type(stopping).__name__}")
    if stopping.metric not in measured:
        raise ValueError(
            f"early_stopping watches {stopping.metric!r}, but this run measures {', '.join(measured)}: name one of "
            "these as metric=, or give validation= or metrics= that measure it"
        )


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    if not isinstance(callbacks, Sequence) or not all(callable(callback) for callback in callbacks):
        raise TypeError(f"callbacks must be a list of functions (model, epoch); got {describe(callbacks)}")
