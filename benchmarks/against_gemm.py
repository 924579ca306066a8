"""Claim: a QKAN layer, forward and backward, costs a small multiple of the bare product of its own features.

    python benchmarks/against_gemm.py

Both sides in float32, in one process, in turn; the product is `F.linear` of features and coefficients of the same
sizes, with gradients of both. Memory is the unique storage that autograd keeps for backward, parameters and input
apart.
"""

import statistics

import torch
import torch.nn.functional as F
from harness import interleaved, report, saved_for_backward

from qkan import QKANLinear
from qkan.solvers.fourier import coefficients, features

CASES = [(32, 28, 1000), (784, 64, 128), (256, 256, 4096), (64, 64, 256)]  # in, out, batch


def measure(n_in: int, n_out: int, batch: int) -> dict[str, object]:
    layer = QKANLinear(n_in, n_out)
    x = torch.randn(batch, n_in, requires_grad=True)
    upstream = torch.randn(batch, n_out)
    weights, circuit = layer.options.start_weights, layer.options.circuit
    columns = features(circuit, x, weights).mT.flatten(-2).detach().requires_grad_()
    table = coefficients(circuit, layer.theta, weights).coefficients.mT.flatten(-2).detach().requires_grad_()
    sides = {
        "layer": lambda: torch.autograd.grad(layer(x), [x, layer.theta], upstream),
        "product": lambda: torch.autograd.grad(F.linear(columns, table), [columns, table], upstream),
    }
    times = interleaved(sides, rounds=7, calls=5 if batch > 1000 else 20)
    ratios = [a / b for a, b in zip(times["layer"], times["product"], strict=True)]
    return {
        "in": n_in,
        "out": n_out,
        "batch": batch,
        "layer ms": statistics.median(times["layer"]),
        "product ms": statistics.median(times["product"]),
        "ratio": statistics.median(ratios),
        "saved MiB": saved_for_backward(lambda: layer(x), [x, *layer.parameters(), *layer.buffers()]),
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    report(str(__doc__).splitlines()[0], [measure(*case) for case in CASES])
