"""Claim: a QKAN layer costs a small multiple of the bare product of its own features, lowered less than that.

    python benchmarks/against_gemm.py

All sides in float32, in one process, in turn. The product is `F.linear` of features and coefficients of the same sizes
(a training step: with gradients of both); beside it `nn.Linear(in, out)`, a layer without features. Memory is the
unique storage that is kept for backward, parameters and input apart.
"""

import torch
import torch.nn.functional as F
from harness import Row, interleaved, median, ratio, saved_for_backward
from torch import Tensor, nn
from variants import Setup, Step, compiled, inference, main, step, trainable, variants

from qkan import QKANLinear, lower

CASES = [(32, 28, 1000), (784, 64, 128), (256, 256, 4096), (64, 64, 256)]  # in, out, batch


class Product(nn.Module):
    """The bare product, whose parameter is the table of coefficients."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.detach().clone())

    def forward(self, columns: Tensor) -> Tensor:
        """Return [batch, out] for columns [batch, in · functions]."""
        return F.linear(columns, self.table)


def rows(setup: Setup) -> list[Row]:
    return [row for n_in, n_out, batch in CASES for row in _case(n_in, n_out, setup.batch(batch), setup)]


def _case(n_in: int, n_out: int, batch: int, setup: Setup) -> list[Row]:
    torch._dynamo.reset()
    layer = QKANLinear(n_in, n_out, device=setup.device)
    lowered = lower(layer)
    x = torch.randn(batch, n_in, device=setup.device, requires_grad=True)
    columns = lowered.features(x).detach().mT.flatten(-2).contiguous().requires_grad_()
    product = Product(lowered.coefficients.mT.flatten(-2))
    upstream = torch.randn(batch, n_out, device=setup.device)
    against = (product, columns, nn.Linear(n_in, n_out, device=setup.device))
    training = _measure(layer, x, against, (step(x, upstream), step(columns, upstream)), setup)
    keys = {"in": n_in, "out": n_out, "batch": batch}
    no_grad = (inference(x), inference(columns))
    return [
        keys | {"what": "training step"} | training | _saved(layer, x),
        keys | {"what": "inference"} | _measure(layer, x, against, no_grad, setup),
        keys | {"what": "inference, lowered"} | _measure(lowered, x, against, no_grad, setup),
    ]


def _measure(
    module: nn.Module, x: Tensor, against: tuple[nn.Module, Tensor, nn.Module], steps: tuple[Step, Step], setup: Setup
) -> Row:
    product, _, linear = against
    runs, reasons = variants(module, steps[0], setup, x)
    names = list(runs)
    runs["product"] = steps[1](product, trainable(product))
    runs["nn.Linear"] = steps[0](linear, trainable(linear))
    times = interleaved(runs, setup.rounds, setup.calls, setup.timer)
    row: Row = {f"{name} ms": median(times, name) for name in runs}
    for other in ("product", "nn.Linear"):
        row |= {f"{name} / {other}": ratio(times, name, other) for name in names}
    return row | ({"note": str(reasons)} if reasons else {})


def _saved(layer: nn.Module, x: Tensor) -> Row:
    known = [x, *layer.parameters(), *layer.buffers()]
    fused = compiled(layer)
    fused(x)
    return {
        "eager saved MiB": saved_for_backward(lambda: layer(x), known),
        "compiled saved MiB": saved_for_backward(lambda: fused(x), known),
    }


if __name__ == "__main__":
    main(__doc__, rows)
