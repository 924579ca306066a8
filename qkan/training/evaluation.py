"""What a model is worth on data: `evaluate`, and metrics for it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from qkan._checks import positive_integer
from qkan.data.batches import Data, Loader, as_batches
from qkan.data.reading import Reading
from qkan.training.engine import Engine, Plain
from qkan.training.steps import Measure

__all__ = ["evaluate", "measure", "mode", "top_k", "weighted_means"]

_BATCH_SIZE = 1000


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
    batch_size: int | None = None,
    loss: Measure = cross_entropy,
    metrics: Mapping[str, Measure] | None = None,
) -> dict[str, float]:
    """Return the loss and the metrics over all samples, in evaluation mode and without gradients.

    Every measure is a mean over its batch, and batches weigh by their size: a short last one counts for what it holds.

    Args:
        model: any module from inputs [batch, ...] to outputs.
        data: a pair of tensors (inputs, targets), a `Dataset` of such pairs, a `DataLoader`, or a source of batches.
        batch_size: samples evaluated at a time, by default 1000; a `DataLoader` has its own.
        loss: (outputs, targets) -> the mean over the batch, a tensor without dimensions.
        metrics: further such functions by name.

    Raises:
        TypeError: `data` is of another kind, or `batch_size` no integer.
        ValueError: no samples, a batch size below 1, or one for a `DataLoader`.

    Example:
        >>> inputs, targets = torch.eye(3), torch.arange(3)
        >>> evaluate(nn.Identity(), (inputs, targets), batch_size=2, metrics={"top1": top_k(1)})["top1"]
        1.0
    """
    measures = {"loss": loss, **(metrics or {})}
    source = as_batches(data)
    if batch_size is not None:
        batch_size = positive_integer("batch_size", batch_size)
    elif not isinstance(source, Loader):
        batch_size = _BATCH_SIZE
    return measure(model, Reading(source, batch_size), measures, Plain())


def measure(model: nn.Module, reading: Reading, measures: Mapping[str, Measure], engine: Engine) -> dict[str, float]:
    """Return the measures over all samples, of which every process of the engine reads its share."""
    device = next((p.device for p in model.parameters()), None)
    rows, sizes = [], []
    # not inference_mode: its tensors could not be used in a later training step by a module that keeps them
    with mode(model, training=False), torch.no_grad():
        for number, (inputs, targets) in enumerate(reading.source.batches(reading.size or 1)):
            outputs, targets = model(inputs.to(device)), targets.to(device)
            rows.append(torch.stack([function(outputs, targets).double() for function in measures.values()]))
            sizes.append(reading.share(number, len(targets), engine.rank, engine.world))
    return dict(zip(measures, weighted_means(rows, sizes, engine), strict=True))


def weighted_means(rows: Sequence[Tensor], sizes: Sequence[int], engine: Engine) -> list[float]:
    """Mean of each column [batches] or [batches, measures], weighted by the batch sizes, in float64 on the CPU.

    Over the batches of all processes.

    Raises:
        ValueError: no batches.
    """
    if not rows:
        raise ValueError("the data set has samples but yielded no batch: its batches() must go through them once")
    if len(rows) == 1 and engine.world == 1:
        return rows[0].reshape(-1).tolist()
    values = torch.stack(list(rows)).cpu().double().reshape(len(rows), -1)  # [batches, measures]
    weights = torch.tensor(sizes, dtype=torch.float64)
    sums = engine.sum(torch.cat([weights @ values, weights.sum().reshape(1)]))
    return (sums[:-1] / sums[-1]).tolist()


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Set training or evaluation mode, and give every submodule back the mode that it had."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was
