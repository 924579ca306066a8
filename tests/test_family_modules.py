"""Every layer of the family behaves as a torch module: one table of layers, one list of properties."""

import copy
import io

import pytest
import torch
from helpers import error, generator
from torch import nn

import qkan.layers as layers
from qkan import KANLinear, QKANActivation, QKANConv1d, QKANConv2d, QKANConv3d, QKANLinear
from qkan.bases import names
from qkan.layers import BottleneckKANConv2d, BottleneckQKANConv2d
from qkan.models.baselines import MODELS, baseline

CONV = {"kernel_size": 3, "padding": 1}
PUBLISHED = ("KAN", "FastKAN", "KALN", "KACN", "KAGN", "KAJN", "KABN", "ReLUKAN", "WavKAN")
SPACE = {1: (6,), 2: (5, 6), 3: (3, 4, 3)}


def _linear(basis):
    return lambda **factory: KANLinear(4, 3, basis, **factory)


def _conv(kind, *more, **options):
    return lambda **factory: kind(4, 6, *more, **CONV, **options, **factory)


# How every layer is built, and the shape of its input without batch.
TABLE = {f"KANLinear-{basis}": (_linear(basis), (4,)) for basis in names()}
TABLE |= {f"KANConv2d-{basis}": (_conv(layers.KANConv2d, basis=basis), (4, *SPACE[2])) for basis in names()}
TABLE |= {f"Bottleneck-{basis}": (_conv(BottleneckKANConv2d, basis=basis), (4, *SPACE[2])) for basis in names()}
TABLE |= {
    f"{name}Conv{dims}D": (_conv(getattr(layers, f"{name}Conv{dims}DLayer")), (4, *SPACE[dims]))
    for name in PUBLISHED
    for dims in (1, 2, 3)
}
TABLE |= {
    "QKANLinear": (lambda **factory: QKANLinear(4, 3, **factory), (4,)),
    "QKANActivation": (lambda **factory: QKANActivation(4, encoding="ternary", scale=True, **factory), (4,)),
    "QKANActivation-trainable": (lambda **factory: QKANActivation(4, encoding="trainable", **factory), (4,)),
    "QKANConv1d": (_conv(QKANConv1d), (4, *SPACE[1])),
    "QKANConv2d": (_conv(QKANConv2d, groups=2, encoding="ternary", scale=True), (4, *SPACE[2])),
    "QKANConv3d": (_conv(QKANConv3d, base_activation="silu"), (4, *SPACE[3])),
    "BottleneckQKAN": (_conv(BottleneckQKANConv2d), (4, *SPACE[2])),
}
SMALL = {"channels": (4, 4, 4, 8), "classes": 5, "in_channels": 3, "norm_layer": "batch"}
NETWORKS = {name: (lambda name=name, **factory: baseline(name, **SMALL, **factory), (3, 12, 12)) for name in MODELS}
ALL = TABLE | NETWORKS


def built(name, dtype=torch.float64, batch=3):
    """The module of a row, in evaluation mode, and inputs."""
    torch.manual_seed(0)
    build, shape = ALL[name]
    x = 0.6 * torch.randn(batch, *shape, generator=generator(1), dtype=torch.float64)
    return build(dtype=dtype).eval(), x.to(dtype)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", ALL)
def test_an_optimiser_step_lowers_the_loss(name, optimizer):
    model, x = built(name)
    steps = optimizer(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        steps.zero_grad()
        losses.append(model(x).square().mean())
        losses[-1].backward()
        steps.step()
    assert losses[-1] < losses[0]
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", ALL)
def test_copies_and_state_dicts(name):
    model, x = built(name)
    want = model(x)
    assert torch.equal(copy.deepcopy(model)(x), want)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = ALL[name][0](dtype=torch.float64).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(x), want)


@pytest.mark.parametrize("name", ALL)
def test_dtypes_move(name):
    model, x = built(name)
    want = model(x)
    assert error(model.float()(x.float()), want.float()) < 1e-3
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    shell = ALL[name][0](device="meta")
    assert {p.device.type for p in shell.parameters()} == {"meta"}
    assert shell.eval()(x.float().to("meta")).shape == want.shape


@pytest.mark.parametrize("name", ALL)
def test_autocast(name):
    model, x = built(name, torch.float32)
    want = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = model(x)
    assert got.isfinite().all()
    assert error(got.float(), want) < 0.1


@pytest.mark.parametrize("name", ALL)
def test_a_sample_does_not_see_its_batch(name):
    model, x = built(name, batch=4)
    want = model(x)
    assert error(model(x[1:3]), want[1:3]) < 1e-10
    far = torch.cat([x[:1], 30 * x[1:]])
    assert error(model(far)[:1], want[:1]) < 1e-10
    assert model(far).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_gradients_are_right(name):
    model, x = built(name, batch=2)
    parameters = dict(model.named_parameters())

    def function(x, *values):
        return torch.func.functional_call(model, dict(zip(parameters, values, strict=True)), (x,))

    inside = (x.requires_grad_(), *(p.detach().requires_grad_() for p in parameters.values()))
    assert torch.autograd.gradcheck(function, inside, fast_mode=True, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_whole_graphs_compile(name):
    torch._dynamo.reset()
    model, x = built(name, torch.float32)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert error(compiled(x), model(x)) < 1e-4
    compiled(x).sum().backward()
    assert any(p.grad is not None for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_exported_programs_compute_the_same(name):
    model, x = built(name, torch.float32)
    with torch.no_grad():
        program = torch.export.export(model, (x,))
        assert error(program.module()(x), model(x)) < 1e-4


def test_the_table_holds_all_published_layers():
    published = {name for name in layers.__all__ if name.endswith("DLayer") and not name.startswith("BottleNeck")}
    assert {f"{name}Layer" for name in TABLE if name.endswith("D")} == published
    assert isinstance(built("SimpleConv")[0], nn.Module)
