"""Dtypes and devices: moves, autocast, and devices that this machine may not have."""

import pytest
import torch
from helpers import MODULES, SOLVERS, domain, error, module, perturb
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from qkan import HQKAN, QKAN, QKANLinear

HALVES = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
PRELU = {
    "prelu": lambda **factory: QKANLinear(3, 2, base_activation=nn.PReLU, **factory),
    "prelu-stack": lambda **factory: QKAN([3, 4, 2], base_activation=nn.PReLU, **factory),
}
FACTORIES = MODULES | PRELU


def tensors(net):
    return [*net.parameters(), *net.buffers()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FACTORIES)
def test_dtype_of_the_factory(name, dtype):
    net = FACTORIES[name](dtype=dtype)
    assert {tensor.dtype for tensor in tensors(net)} == {dtype}
    assert net(domain(name, 4, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_default_dtype_is_that_of_torch(dtype):
    torch.set_default_dtype(dtype)
    try:
        net = HQKAN(3, 2, latent=(4, 3), scale=True, bias=True, base_activation="silu", encoding="trainable")
        assert {tensor.dtype for tensor in tensors(net)} == {dtype}
        assert net(torch.randn(4, 3)).dtype == dtype
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", MODULES)
def test_double_computes_in_double(name):
    net = perturb(MODULES[name](dtype=torch.float32)).double()
    reference = MODULES[name](dtype=torch.float64)
    reference.load_state_dict(net.state_dict())
    x = domain(name, 4, 3)
    assert net(x).dtype == torch.float64
    assert torch.equal(net(x), reference(x))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", MODULES)
def test_half_precision_parameters_compute_in_single(name, dtype):
    net = module(name, dtype=torch.float32).to(dtype)
    x = domain(name, 4, 3, dtype=torch.float32).to(dtype)
    y = net(x)
    assert y.dtype == dtype
    assert y.isfinite().all()
    # The same rounded parameters and inputs, in single: a layer's output is rounded, and each further layer's input.
    depth = sum(isinstance(part, QKANLinear | nn.Linear) for part in net.modules())
    assert error(y, net.float()(x.float())) < HALVES[dtype] * (1 if depth == 1 else 40)
    y = net.to(dtype)(x)
    y.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_dtypes_are_promoted(name):
    if name.startswith("HQKAN"):
        pytest.skip("nn.Linear takes no other dtype than its own")
    net = module(name, dtype=torch.float32)
    assert net(domain(name, 4, 3)).dtype == torch.float64
    assert net.double()(domain(name, 4, 3, dtype=torch.float32)).dtype == torch.float64


@pytest.mark.parametrize("name", MODULES)
def test_autocast_keeps_angles_in_single(name):
    net, x = module(name, dtype=torch.float32), domain(name, 50, 3, dtype=torch.float32)
    want = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    # Only contractions run in bfloat16: features (at most 1) and coefficients are rounded to 2^-9 each, so an output
    # moves by less than 2^-8 of the sum of its terms, of which there are 3 edges of a few coefficients. Depth adds up.
    assert error(y, want) < (0.02 if isinstance(net, QKANLinear) else 0.08)
    assert y.isfinite().all()
    y.float().square().sum().backward()
    for parameter in net.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_autocast_does_not_round_large_phases(solver):
    # In bfloat16 an input of 1000 has steps of 4: not one digit of its sine would be right.
    net = perturb(QKANLinear(3, 2, solver=solver))
    x = 1000 + torch.rand(50, 3)
    want = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert error(net(x), want) < 0.02
        assert net.edges(x).dtype == torch.float32


@pytest.mark.parametrize("name", FACTORIES)
def test_every_tensor_is_on_the_device_of_the_factory(name):
    net = FACTORIES[name](device="meta")
    assert {tensor.device.type for tensor in tensors(net)} == {"meta"}


@pytest.mark.parametrize("name", FACTORIES)
def test_forward_and_backward_on_meta(name):
    net = FACTORIES[name](device="meta")
    x = torch.empty(2, 5, 3, device="meta", requires_grad=True)
    y = net(x)
    assert y.shape == (2, 5, 2)
    assert y.device.type == "meta"
    y.sum().backward()
    assert x.grad.device.type == "meta"
    assert all(p.grad is not None and p.grad.shape == p.shape for p in net.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_forward_after_a_move_to_meta(name):
    net = module(name).to("meta")
    assert net(torch.empty(5, 3, device="meta", dtype=torch.float64)).shape == (5, 2)


@pytest.mark.parametrize("name", MODULES)
def test_construction_and_forward_on_fake_cuda(name):
    # A tensor left on the CPU raises: fake tensors refuse to mix devices. They cannot be moved, hence no PReLU here.
    with FakeTensorMode():
        net = MODULES[name](device="cuda")
        assert {tensor.device.type for tensor in tensors(net)} == {"cuda"}
        y = net(torch.randn(2, 5, 3, device="cuda"))
        assert y.device.type == "cuda"
        assert y.shape == (2, 5, 2)


def test_the_checks_of_devices_can_fail():
    with FakeTensorMode():
        layer = QKANLinear(3, 2, device="cuda")
        layer.mask = torch.ones(2, 3)
        with pytest.raises(RuntimeError, match="device"):
            layer(torch.randn(5, 3, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: fake tensors stand in for it")
@pytest.mark.parametrize("name", MODULES)
def test_a_gpu_computes_the_same(name):
    net, x = module(name), domain(name, 5, 3)
    want = net(x)
    assert error(net.cuda()(x.cuda()).cpu(), want) < 1e-12


def test_a_default_device_is_respected():
    with torch.device("meta"):
        net = HQKAN(3, 2, latent=(4, 3), base_activation="silu", bias=True)
    assert {tensor.device.type for tensor in tensors(net)} == {"meta"}
