"""Where parameters start: widths, distributions, and where the random numbers come from."""

import math
import random

import numpy as np
import pytest
import torch
from helpers import error, generator, inputs
from torch import nn

from qkan import QKAN, QKANLinear


@pytest.mark.parametrize("width", [10, 30, 100, 300, 1000])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "mix"])
def test_initial_outputs_are_as_wide_for_every_width(ansatz, width):
    def spread(n, layers, rows):
        x = torch.randn(rows, n, generator=generator(1))
        nets = [QKANLinear(n, n, ansatz=ansatz, generator=generator(seed)) for seed in range(layers)]
        with torch.no_grad():
            return torch.cat([net(x).flatten() for net in nets]).std().item()

    narrow = spread(10, 40, 200)
    assert spread(width, 1 + 300 // width, 300 if width < 1000 else 40) == pytest.approx(narrow, rel=0.25)
    assert 0.3 < narrow < 0.8


def test_edges_of_real_have_amplitude_one_from_the_start():
    layer = QKANLinear(1, 1, ansatz="real", dtype=torch.float64)
    z = layer(torch.linspace(-4, 4, 2001, dtype=torch.float64)[:, None]).detach()
    assert z.max().item() == pytest.approx(1, abs=1e-4)
    assert z.min().item() == pytest.approx(-1, abs=1e-4)


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix"])
def test_xavier_is_that_of_torch_for_the_shape_of_the_peer(ansatz):
    layer = QKANLinear(60, 40, ansatz=ansatz, init="xavier", generator=generator())
    gates = 2 if ansatz in ("pz", "mix") else 1
    peer = torch.empty(40, 60, layer.theta.shape[-1] // gates, gates)
    nn.init.xavier_normal_(peer, generator=generator(1))
    assert layer.theta.std().item() == pytest.approx(peer.std().item(), rel=0.05)
    assert abs(layer.theta.mean().item()) < 0.01


def test_scaled_starts_the_last_angle_of_mix_at_a_quarter_turn():
    scaled, xavier = (QKANLinear(6, 4, ansatz="mix", init=init, generator=generator()) for init in ("scaled", "xavier"))
    moved = scaled.theta - xavier.theta
    assert moved[..., :-1].abs().max() == 0
    torch.testing.assert_close(moved[..., -1], torch.full((4, 6), math.pi / 2))


def test_init_may_be_a_standard_deviation():
    assert not QKANLinear(6, 4, init=0).theta.any()
    assert QKANLinear(60, 40, init=0.5, generator=generator()).theta.std().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("encoding", ["trainable", "trainable-shared"])
@pytest.mark.parametrize(("start", "weights"), [("unit", [1, 1, 1]), ("ternary", [1, 3, 9])])
def test_trainable_encodings_start_where_told(encoding, start, weights):
    layer = QKANLinear(3, 2, encoding=encoding, encoding_init=start)
    shape = (3, 3) if encoding == "trainable-shared" else (2, 3, 3)
    assert layer.encoding_weight.shape == layer.encoding_bias.shape == shape
    assert torch.equal(layer.encoding_weight, torch.tensor(weights, dtype=torch.float32).expand(shape))
    assert not layer.encoding_bias.any()


@pytest.mark.parametrize("encoding", ["unit", "ternary"])
def test_a_trainable_encoding_starts_as_the_fixed_one(encoding):
    fixed = QKANLinear(3, 2, encoding=encoding, generator=generator(), dtype=torch.float64)
    x = inputs("pz", 5, 3)
    for free in ("trainable", "trainable-shared"):
        more = {"encoding": free, "encoding_init": encoding, "generator": generator()}
        assert error(QKANLinear(3, 2, dtype=torch.float64, **more)(x), fixed(x)) < 1e-13


def test_a_generator_reproduces_and_leaves_global_generators_alone():
    def build(seed):
        return QKAN([3, 4, 4], generator=generator(seed), base_activation="silu", scale=True, bias=True)

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, second, other = build(1), build(1), build(2)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name)), name
    assert not torch.equal(first.layers[0].theta, other.layers[0].theta)


def test_layers_of_one_model_differ():
    model = QKAN([4, 4, 4], generator=generator())
    assert not torch.equal(model.layers[0].theta, model.layers[1].theta)
    outputs = model.layers[0](torch.randn(50, 4, generator=generator()))
    assert (outputs[:, 0] - outputs[:, 1]).abs().max() > 0.1


def test_without_a_generator_the_global_one_is_used_and_not_seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first, second = QKANLinear(3, 2), QKANLinear(3, 2)
        torch.manual_seed(3)
        again = QKANLinear(3, 2)
    assert torch.equal(first.theta, again.theta)
    assert not torch.equal(first.theta, second.theta)


def test_reset_parameters_draws_anew_and_keeps_the_mask():
    layer = QKANLinear(3, 2, scale=True, generator=generator())
    layer.mask[0, 1] = 0
    old = layer.theta.detach().clone()
    layer.reset_parameters(generator(5))
    assert not torch.equal(layer.theta, old)
    assert layer.mask[0, 1] == 0
    layer.reset_parameters(generator())
    assert torch.equal(layer.theta, old)
