"""`torch.compile`: one whole graph, which serves every size of the batch but 0 and 1, which torch makes special."""

import shutil

import pytest
import torch
from helpers import error, inputs, perturb
from torch._dynamo.testing import CompileCounterWithBackend

from qkan import HQKAN, QKAN, QKANLinear, lower

SIZES = (8, 16, 17, 100, 3)

# One repetition: the time of the compiler, not what it compiles, grows with them.
OPTIONS = {"reps": 1, "dtype": torch.float64}
ALL = {"scale": True, "bias": True, "base_activation": "silu"}

ROWS = {
    "QKAN": lambda: QKAN([4, 3, 2], **OPTIONS),
    "HQKAN": lambda: HQKAN(4, 2, latent=(3, 5), **OPTIONS),
    "scale, bias and base": lambda: QKANLinear(4, 2, **ALL, **OPTIONS),
    "trainable": lambda: QKANLinear(4, 2, encoding="trainable", **OPTIONS),
    "trainable-shared": lambda: QKANLinear(4, 2, encoding="trainable-shared", **OPTIONS),
    "amplitude": lambda: QKANLinear(4, 2, readout="amplitude", **OPTIONS),
    "amplitude, trainable": lambda: QKANLinear(4, 2, readout="amplitude", encoding="trainable", **ALL, **OPTIONS),
    "px": lambda: QKANLinear(4, 2, ansatz="px", **OPTIONS),
    "lowered": lambda: lower(perturb(QKAN([4, 3, 2], **ALL, **OPTIONS))),
    "lowered, trainable-shared": lambda: lower(perturb(QKANLinear(4, 2, encoding="trainable-shared", **OPTIONS))),
}

# Rows that the short run compiles; every row in the slow one, where no size is special and gradients are wanted.
SHORT = [("trainable", True), ("amplitude, trainable", None), ("lowered", True), ("lowered", None)]
CASES = [pytest.param(*row, training) for row in SHORT for training in (True, False)]
CASES += [pytest.param(name, True, True, marks=pytest.mark.slow) for name in ROWS if (name, True) not in SHORT]


def results(call, net, x, training):
    """The output, and in training the gradients of x and of all parameters that have one."""
    if not training:
        with torch.no_grad():
            return [call(x)]
    y = call(x)
    wanted = [x, *(parameter for parameter in net.parameters() if parameter.requires_grad)]
    return [y, *torch.autograd.grad(y.square().sum(), wanted)]


@pytest.mark.parametrize(("name", "dynamic", "training"), CASES)
def test_no_size_of_the_batch_compiles_again(name, dynamic, training):
    torch._dynamo.reset()
    net, backend = perturb(ROWS[name]()), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, dynamic=dynamic, backend=backend)
    counts = []
    for count in SIZES:
        x = inputs("pz", count, 4).requires_grad_(training)
        pairs = zip(results(compiled, net, x, training), results(net, net, x, training), strict=True)
        assert max(error(got, want) for got, want in pairs) < 1e-12
        counts.append(backend.frame_count)
    # Left to itself torch compiles the first size as it is, the second one for any size.
    assert counts == ([1, 2, 2, 2, 2] if dynamic is None else [1] * 5)


@pytest.mark.parametrize("count", [0, 1])
def test_torch_compiles_empty_batches_and_single_samples_for_themselves(count):
    torch._dynamo.reset()
    net, backend = perturb(ROWS["trainable"]()), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, fullgraph=True, dynamic=True, backend=backend)
    for size, graphs in ((8, 1), (count, 2), (9, 2)):
        x = inputs("pz", size, 4)
        assert error(compiled(x), net(x)) < 1e-12
        assert backend.frame_count == graphs


@pytest.mark.slow
def test_the_real_compiler_serves_every_size():
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler: torch.compile cannot build for the CPU here")
    torch._dynamo.reset()
    net, backend = perturb(ROWS["scale, bias and base"]()), CompileCounterWithBackend("inductor")
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    for count in SIZES:
        x = inputs("pz", count, 4).requires_grad_()
        pairs = zip(results(compiled, net, x, True), results(net, net, x, True), strict=True)
        assert max(error(got, want) for got, want in pairs) < 1e-12
    assert backend.frame_count == 2
