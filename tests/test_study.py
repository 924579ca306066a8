"""The networks of the study against its published parameter counts."""

import pytest
import torch
from torch import nn

from qkan.models.study import MODELS, StudyNetwork, features

# published, or counted by hand: 56,320 + (256 32 + 32) + core + (28 100 + 100), core 32 28 + 28 = 924
# and (32 + 1) 117 + (117 + 1) 28 = 7,165
PARAMETERS = {
    "hqkan": 59_624,
    "hqkan-44": 74_612,
    "mlp": 143_268,
    "linear": 68_368,
    "silu": 68_368,
    "silu-matched": 74_609,
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_shapes(name):
    model = StudyNetwork(name, 3, 100)
    assert count(model) == PARAMETERS[name]
    assert count(StudyNetwork(name, 1, 100)) == PARAMETERS[name] - 576
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
    assert StudyNetwork(name, 1, 10)(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("name", "parameters"), [("hqkan-44", 7168), ("silu-matched", 7165), ("linear", 924)])
def test_cores(name, parameters):
    core = StudyNetwork(name, 3, 100).head.core
    assert count(core) == parameters
    assert core(torch.zeros(5, 32)).shape == (5, 28)


@pytest.mark.parametrize("classes", [10, 100])
def test_the_matched_core_is_as_large_as_fits(classes):
    quantum, matched = (count(StudyNetwork(name, 3, classes).head.core) for name in ("hqkan-44", "silu-matched"))
    assert quantum - 64 < matched <= quantum


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_convolution_relu_pooling(channels):
    network = features(channels).double()
    x = y = torch.randn(4, channels, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            patches = nn.functional.unfold(y, 3)  # [4, channels 9, positions]
            size = y.shape[-1] - 2
            y = (layer.weight.flatten(1) @ patches + layer.bias[:, None]).reshape(4, -1, size, size)
            y = y.clamp(min=0)[..., : size // 2 * 2, : size // 2 * 2]
            y = y.reshape(4, -1, size // 2, 2, size // 2, 2).amax(dim=(3, 5))
    assert network(x).shape == (4, 256)
    assert (network(x) - y.flatten(1)).abs().max() < 1e-12


def test_one_seed_gives_all_models_the_same_convolutions():
    first = None
    for name in MODELS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            weight = StudyNetwork(name, 3, 100).features[3].weight
        first = weight if first is None else first
        assert torch.equal(weight, first)


def test_core_options():
    assert count(StudyNetwork("hqkan", 3, 100, reps=1).head.core) == 8 * 7 * 4
    with pytest.raises(
        ValueError, match="model 'mlp' has no quantum core to take reps, ansatz: leave these options out"
    ):
        StudyNetwork("mlp", 3, 100, reps=3, ansatz="pz")
    with pytest.raises(ValueError, match=r"model must be one of hqkan, hqkan-44, mlp, .*; got 'kan'"):
        StudyNetwork("kan", 3, 100)
    with pytest.raises(TypeError, match="depth"):
        StudyNetwork("hqkan", 3, 100, depth=3)
