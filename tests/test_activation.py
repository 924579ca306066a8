"""`QKANActivation`: every feature through a circuit of its own."""

import math

import pytest
import torch
from helpers import ANSATZE, error, generator, inputs
from torch import nn

from qkan import QKANActivation, load, lower, save
from qkan.attribution import layer_scores
from qkan.crosscheck import cross_check
from qkan.functional import coefficients
from qkan.layers.edges import edge_layers

FLOAT64 = {"dtype": torch.float64}


@pytest.mark.parametrize("encoding", ["unit", "ternary"])
def test_every_feature_is_its_own_fourier_series(encoding):
    layer = QKANActivation(5, encoding=encoding, scale=True, init=0.7, generator=generator(), **FLOAT64)
    with torch.no_grad():
        layer.circuits.scale.uniform_(0.5, 2, generator=generator(1))
        layer.circuits.base_weight.uniform_(-1, 1, generator=generator(2))
    x = torch.randn(4, 3, 5, generator=generator(3), **FLOAT64)
    series = coefficients(layer.circuits.theta, (1, 3, 9) if encoding == "ternary" else None)
    phases = x.unsqueeze(-1) * series["harmonics"]
    z = series["constant"][0] + (series["cos"][0] * phases.cos() + series["sin"][0] * phases.sin()).sum(-1)
    assert error(layer(x), layer.circuits.scale[0] * z + layer.circuits.base_weight[0] * x) < 1e-12


@pytest.mark.parametrize(
    "options", [{}, {"encoding": "trainable"}, {"readout": "amplitude"}, {"base_activation": None}]
)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_features_do_not_see_one_another(ansatz, options):
    layer = QKANActivation(3, ansatz=ANSATZE[ansatz], generator=generator(), **options, **FLOAT64)
    x = inputs(ansatz, 3)
    jacobian = torch.autograd.functional.jacobian(layer, x)
    assert torch.equal(jacobian, torch.diag(jacobian.diagonal()))
    alone = torch.stack([layer.circuits.edge_function(0, i)(x[i]) for i in range(3)])
    assert error(layer(x), alone) < 1e-12


def test_it_starts_as_one_input_and_one_output_do():
    layer = QKANActivation(20_000, generator=generator())
    assert layer.circuits.theta.std().item() == pytest.approx(math.sqrt(2 / (2 * 8)), rel=0.02)
    assert torch.equal(layer.circuits.base_weight, torch.ones(1, 20_000))
    narrow = QKANActivation(20_000, init=0.1, generator=generator())
    assert narrow.circuits.theta.std().item() == pytest.approx(0.1, rel=0.02)


def test_lowering_saving_and_the_check_see_the_circuits(tmp_path):
    net = nn.Sequential(nn.Linear(4, 3), QKANActivation(3, encoding="ternary"), nn.Linear(3, 2)).double()
    x = torch.randn(6, 4, generator=generator(), **FLOAT64)
    assert error(lower(net)(x), net(x)) < 1e-13
    save(net[1], tmp_path / "activation.safetensors")
    again = load(tmp_path / "activation.safetensors")
    assert torch.equal(again(x[:, :3]), net[1](x[:, :3]))
    assert again.config() == net[1].config()


def test_the_check_against_pennylane_sees_the_circuits():
    pytest.importorskip("pennylane")
    rows = list(cross_check(QKANActivation(3, **FLOAT64), generator=generator()))
    assert rows
    assert all(row.passed for row in rows)


def test_shots_are_drawn_by_the_generator():
    layer = QKANActivation(3, shots=100, generator=generator(), **FLOAT64)
    x = torch.linspace(-1, 1, 3, **FLOAT64)
    first, second = (layer(x, generator(seed)) for seed in (1, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, layer(x, generator(2)))


def test_tools_for_sums_of_edges_pass_it_by():
    net = nn.Sequential(QKANActivation(3), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="model must hold a layer with edges"):
        edge_layers(net)
    assert layer_scores(net[0].circuits, torch.randn(10, 3)).shape == (1, 3)


def test_wrong_options_are_told():
    with pytest.raises(TypeError, match="bias"):
        QKANActivation(3, bias=True)
    with pytest.raises(TypeError, match=r"repz.*reps"):
        QKANActivation(3, repz=2)
    with pytest.raises(ValueError, match=r"x must .* 3"):
        QKANActivation(3)(torch.zeros(2, 4))
