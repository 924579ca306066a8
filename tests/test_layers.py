"""What a layer computes: the formula of the design, shapes, options, counts."""

import numpy as np
import pytest
import torch
from helpers import (
    MODULES,
    OPTIONS,
    READOUTS,
    SOLVERS,
    domain,
    error,
    generator,
    inputs,
    module,
    random_layer,
)
from torch import nn
from torch.nn import functional as F

from qkan import HQKAN, QKAN, QKANLinear

BATCHES = [(), (1,), (4,), (2, 5), (2, 1, 3), (0,), (2, 0), (0, 3)]
SIGMA = {"plain": None, "scale": None, "bias": None, "base": F.silu, "all": lambda x: x}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", MODULES)
def test_any_leading_dimensions(name, batch):
    net, x = module(name), domain(name, *batch, 3)
    y = net(x)
    assert y.shape == (*batch, 2)
    assert y.dtype == torch.float64
    rows = [net(row) for row in x.reshape(-1, 3)]
    assert error(y.reshape(-1, 2), torch.stack(rows) if rows else x.new_empty(0, 2)) < 1e-13


@pytest.mark.parametrize("name", MODULES)
def test_empty_batches_have_zero_gradients(name):
    net = module(name)
    net(domain(name, 0, 3)).sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert not parameter.grad.any(), key


@pytest.mark.parametrize("name", MODULES)
def test_views_and_transposes_of_the_input_change_nothing(name):
    net, x = module(name), domain(name, 3, 4)
    assert error(net(x.mT), net(x.mT.contiguous())) < 1e-14


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_formula_of_the_design(options, readout, solver):
    layer = random_layer(solver=solver, readout=readout, widths=(4, 3), **OPTIONS[options])
    layer.mask.copy_(torch.rand(3, 4, generator=generator(2)))
    x = inputs("pz", 6, 4)
    edges = layer.edges(x)  # against matrices in test_solvers
    want = torch.zeros(6, 3, dtype=torch.float64)
    for o in range(3):
        for i in range(4):
            part = edges[:, o, i] * (1 if layer.scale is None else layer.scale[o, i])
            if SIGMA[options] is not None:
                part = part + layer.base_weight[o, i] * SIGMA[options](x[:, i])
            want[:, o] += layer.mask[o, i] * part
        want[:, o] += 0 if layer.bias is None else layer.bias[o]
    assert error(layer(x), want) < 1e-13


@pytest.mark.parametrize("name", ["expectation-auto-base", "expectation-bloch-all", "amplitude-statevector-all"])
def test_a_mask_of_zero_removes_an_edge(name):
    net, x = module(name), domain(name, 5, 3)
    net.mask[1, 2] = 0
    moved = x.clone()
    moved[:, 2] += 0.7
    before, after = net(x), net(moved)
    assert error(after[:, 1], before[:, 1]) < 1e-14
    assert (after[:, 0] - before[:, 0]).abs().min() > 1e-3
    after.sum().backward()
    for parameter in (net.theta, net.scale, net.base_weight):
        assert parameter is None or not parameter.grad[1, 2].any()


def test_the_layers_of_a_stack_are_composed():
    net, x = module("QKAN"), domain("QKAN", 5, 3)
    assert error(net(x), net.layers[1](net.layers[0](x))) < 1e-15
    hybrid = module("HQKAN")
    assert error(hybrid(x), hybrid.decoder(hybrid.core(hybrid.encoder(x)))) < 1e-15


@pytest.mark.parametrize(
    ("width", "options", "count"),
    [
        ([10, 10], {}, 800),
        ([10, 100], {}, 8000),
        ([3, 5, 2], {}, 200),
        ([3, 5, 2], {"ansatz": "rpz"}, 175),
        ([3, 5, 2], {"ansatz": "px"}, 100),
        ([3, 5, 2], {"ansatz": "real"}, 75),
        ([3, 5, 2], {"ansatz": "mix", "reps": 1}, 100),
        ([3, 5], {"encoding": "ternary"}, 120),
        ([3, 5], {"encoding": "trainable"}, 15 * (8 + 3 + 3)),
        ([3, 5], {"encoding": "trainable-shared"}, 15 * 8 + 3 * 3 * 2),
        ([3, 5], {"scale": True, "bias": True, "base_activation": "silu"}, 15 * 10 + 5),
    ],
)
def test_parameters_are_counted(width, options, count):
    assert QKAN(width, **options).param_size == count


@pytest.mark.parametrize(("multiplier", "latent", "count"), [(1, (8, 7), 3304), (4, (32, 28), 18292)])
def test_hybrids_have_the_published_sizes(multiplier, latent, count):
    assert HQKAN(256, 100, latent=latent).param_size == count
    by_rule = HQKAN(256, 100, latent="log2", multiplier=multiplier)
    assert by_rule.core.width == latent
    assert by_rule.param_size == count


def test_widths_may_be_of_any_integer_type():
    model = QKAN(np.array([3, 5, 2]))
    assert model.width == (3, 5, 2)
    assert all(type(width) is int for width in model.width)
    assert QKAN([np.int64(3), np.int32(2)], reps=np.int64(2)).layers[0].theta.shape == (2, 3, 6)
    assert QKANLinear(np.int64(3), np.uint8(2)).theta.shape == (2, 3, 8)
    assert HQKAN(np.int64(16), np.int64(4), latent=np.array([3, 2])).param_size == 16 * 3 + 3 + 48 + 2 * 4 + 4


@pytest.mark.parametrize("activation", ["silu", nn.SiLU, nn.SiLU(), F.silu])
def test_base_activations_may_be_given_in_four_ways(activation):
    layer = QKANLinear(3, 2, base_activation=activation, dtype=torch.float64)
    x = inputs("pz", 5, 3)
    assert error(layer(x) - layer.edges(x).sum(-1), F.silu(x) @ layer.base_weight.T) < 1e-13


def test_parameters_of_a_base_activation_are_parameters_of_the_layer():
    layer = QKANLinear(3, 2, base_activation=nn.PReLU)
    assert layer.param_size == 48 + 6 + 1
    layer(torch.randn(5, 3)).sum().backward()
    assert layer.base_activation.weight.grad is not None


def saved_for_backward(layer, x):
    """Bytes of the distinct storages that autograd keeps, without those of the parameters and the input."""
    known = {t.untyped_storage().data_ptr() for t in (x, layer.mask, *layer.parameters())}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor is held, so that no address is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(x)
    y.sum().backward()
    return sum(size for pointer, (size, _) in found.items() if pointer not in known)


def test_little_is_saved_for_backward():
    x = torch.randn(256, 64, generator=generator()).requires_grad_()
    used = saved_for_backward(QKANLinear(64, 64), x)
    assert 0 < used < 6 * 2**20
    # The statevector solver keeps [batch, out, in]: the count sees it.
    assert saved_for_backward(QKANLinear(64, 64, solver="statevector"), x) > 6 * 2**20
