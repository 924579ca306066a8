"""The convolutions of torch-conv-kan by their published names: formulas written by hand, and parameter counts."""

import inspect

import numpy as np
import pytest
import scipy.interpolate
import scipy.special
import torch
import torch.nn.functional as F
from helpers import error, generator, inputs, perturb
from torch import nn

from qkan.layers import bottleneck, kan_conv, published

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SPACE = {1: (9,), 2: (8, 9), 3: (5, 6, 5)}
STEMS = ("KAN", "FastKAN", "KALN", "KACN", "KAGN", "KAJN", "KABN", "ReLUKAN", "WavKAN", "BottleNeckKAGN")


def class_of(stem, dims):
    return getattr(published, f"{stem}Conv{dims}DLayer")


def stack(x, functions):
    """Functions of NumPy arrays at x [batch, channels, *space], a list of tensors."""
    array = x.detach().numpy()
    return [torch.from_numpy(np.asarray(function(array))) for function in functions]


def spline(x, grid_size=5, order=3, low=-1.0, high=1.0):
    step = (high - low) / grid_size
    knots = [low + (j - order) * step for j in range(grid_size + 2 * order + 1)]
    elements = [
        scipy.interpolate.BSpline.basis_element(knots[j : j + order + 2], extrapolate=False)
        for j in range(grid_size + order)
    ]
    return stack(x, [lambda a, element=element: np.nan_to_num(element(a)) for element in elements])


def gaussians(x, count=8, low=-2.0, high=2.0):
    step = (high - low) / (count - 1)
    return [torch.exp(-(((x - low - j * step) / step) ** 2)) for j in range(count)]


def gram(x, w):
    u = torch.tanh(x)
    values = [torch.ones_like(u), u]
    for i in range(2, len(w)):
        n, m = i - 1, i
        beta = w[n] * (m + n) * (m - n) * n**2 * (4 * n**2 - 1) / m**2
        values.append(u * values[-1] - beta * values[-2])
    return [F.silu(value) for value in values[: len(w)]]


def bumps(x, low, high, g=5, k=3):
    shape = (-1, *(1,) * (x.dim() - 2))
    return [
        (torch.relu(x - low[:, j].view(shape)) * torch.relu(high[:, j].view(shape) - x) * 4 * g**2 / (k + 1) ** 2) ** 2
        for j in range(g + k)
    ]


def tanh_of(evaluate, degree=3):
    return lambda layer, x: stack(torch.tanh(x), [lambda u, n=n: evaluate(n, u) for n in range(degree + 1)])


def bernstein(layer, x, d=3):
    u = torch.sigmoid(x)
    return [scipy.special.comb(d, k) * u**k * (1 - u) ** (d - k) for k in range(d + 1)]


def identity(x):
    return x


# What the basis branch sees, and the activation of the base branch.
FAMILIES = {
    "KAN": (lambda layer, x: spline(x), F.gelu),
    "FastKAN": (lambda layer, x: gaussians(F.instance_norm(x)), F.silu),
    "KALN": (tanh_of(scipy.special.eval_legendre), identity),
    "KACN": (tanh_of(scipy.special.eval_chebyt), None),
    "KAGN": (lambda layer, x: gram(x, layer.basis.beta_weights), F.silu),
    "KAJN": (tanh_of(lambda n, u: scipy.special.eval_jacobi(n, 1.0, 1.0, u)), identity),
    "KABN": (bernstein, identity),
    "ReLUKAN": (lambda layer, x: bumps(x, layer.basis.phase_low, layer.basis.phase_high), F.silu),
}


def after(stem, layer, y, group):
    if stem == "FastKAN":
        return y
    y = F.instance_norm(y)
    if stem == "KACN":
        return y
    return F.prelu(y, layer.skeleton.activation.weight[group : group + 1]) if stem == "KAN" else F.silu(y)


PLACES = {
    "plain": {},
    "groups": {"groups": 2, "padding": 1},
    "stride": {"stride": 2, "padding": 2, "dilation": 2},
}


def layer_of(stem, dims, kernel=3, **more):
    layer = perturb(class_of(stem, dims)(4, 6, kernel, dtype=torch.float64, generator=generator(), **more))
    return layer, inputs("pz", 2, 4, *SPACE[dims]) / 2


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dims", CONVOLVE)
@pytest.mark.parametrize("stem", FAMILIES)
def test_layers_are_their_formulas(stem, dims, place):
    layer, x = layer_of(stem, dims, **PLACES[place])
    keywords = {name: value for name, value in PLACES[place].items() if name != "groups"}
    functions, activation = FAMILIES[stem]
    groups, results = layer.geometry.groups, []
    weights = zip(x.chunk(groups, 1), layer.weight.chunk(groups), strict=True)
    for group, (part, weight) in enumerate(weights):
        values = functions(layer, part)
        assert len(values) == weight.shape[-1]
        y = sum(CONVOLVE[dims](value, weight[..., f], **keywords) for f, value in enumerate(values))
        if activation is not None:
            y = y + CONVOLVE[dims](activation(part), layer.base_weight.chunk(groups)[group], **keywords)
        results.append(after(stem, layer, y, group))
    assert error(layer(x), torch.cat(results, 1)) < 1e-11


WAVES = {
    "mexican_hat": lambda z: 2 / (3**0.5 * torch.pi**0.25) * (z**2 - 1) * torch.exp(-(z**2) / 2),
    "morlet": lambda z: torch.cos(5 * z) * torch.exp(-(z**2) / 2),
    "dog": lambda z: -z * torch.exp(-(z**2) / 2),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dims", CONVOLVE)
@pytest.mark.parametrize("wave", WAVES)
def test_wavelets_are_their_formula(wave, dims, place):
    layer, x = layer_of("WavKAN", dims, wavelet_type=wave, **PLACES[place])
    keywords = {name: value for name, value in PLACES[place].items() if name != "groups"}
    groups, width, results = layer.geometry.groups, 6 // layer.geometry.groups, []
    for group, part in enumerate(x.chunk(groups, 1)):
        own, basis = slice(group * width, (group + 1) * width), layer.bases[group]
        parts = []
        for o in range(width):
            shape = (-1, *(1,) * dims)
            z = (part - basis.translation[o].view(shape)) / basis.scale[o].view(shape)
            parts.append(CONVOLVE[dims](WAVES[wave](z), layer.weight[own][o : o + 1, ..., 0], **keywords))
        mixed = torch.einsum("bp...,op->bo...", torch.cat(parts, 1), layer.mix_weight[own])
        results.append(mixed + CONVOLVE[dims](F.silu(part), layer.base_weight[own], **keywords))
    y, norm = torch.cat(results, 1), layer.skeleton.norm
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    want = F.batch_norm(y, None, None, norm.weight, norm.bias, training=True)
    assert error(layer(x), want) < 1e-11


@pytest.mark.parametrize("dims", CONVOLVE)
@pytest.mark.parametrize("groups", [1, 2])
def test_the_bottleneck_is_its_formula(dims, groups):
    layer, x = layer_of("BottleNeckKAGN", dims, groups=groups, padding=1, stride=2, dim_reduction=2)
    keywords, results = {"padding": 1, "stride": 2}, []
    inside = layer.internal
    assert inside == min(4 // groups, 6 // groups)
    for group, part in enumerate(x.chunk(groups, 1)):

        def own(weight, group=group):
            return weight.chunk(groups)[group]

        values = gram(CONVOLVE[dims](part, own(layer.squeeze_weight)), layer.inner.basis.beta_weights)
        narrow = sum(CONVOLVE[dims](v, own(layer.inner.weight)[..., f], **keywords) for f, v in enumerate(values))
        base = CONVOLVE[dims](F.silu(part), own(layer.base_weight), **keywords)
        results.append(base + CONVOLVE[dims](narrow, own(layer.expand_weight)))
    assert error(layer(x), F.silu(F.instance_norm(torch.cat(results, 1)))) < 1e-11


# Parameters for c inputs, o outputs, n positions of the kernel and s groups, with the defaults of all else.
COUNTS = {
    "KAN": lambda c, o, n, s: c * o * n * 9 // s + s,
    "FastKAN": lambda c, o, n, s: c * o * n * 9 // s,  # and 8 centres, which are a buffer
    "KALN": lambda c, o, n, s: c * o * n * 5 // s,
    "KAJN": lambda c, o, n, s: c * o * n * 5 // s,
    "KABN": lambda c, o, n, s: c * o * n * 5 // s,
    "KAGN": lambda c, o, n, s: c * o * n * 5 // s + 4,
    "KACN": lambda c, o, n, s: c * o * n * 4 // s,
    "ReLUKAN": lambda c, o, n, s: c * o * n * 9 // s + 2 * c // s * 8,
    "WavKAN": lambda c, o, n, s: 2 * c * o * n // s + 2 * c * o // s + o * o // s + 2 * o,
    "BottleNeckKAGN": lambda c, o, n, s: c * o * n // s + c // s * (c + o) + s * (c // s) ** 2 * 4 * n + 4,
}


@pytest.mark.parametrize("dims", CONVOLVE)
@pytest.mark.parametrize("stem", STEMS)
def test_parameter_counts(stem, dims):
    for groups in (1, 2, 4):
        layer = class_of(stem, dims)(8, 16, 3, groups=groups, device="meta")
        assert layer.param_size == COUNTS[stem](8, 16, 3**dims, groups)


def test_published_counts():
    counts = {"KAN": 10_369, "KAGN": 5_764, "KACN": 4_608, "WavKAN": 2_848, "BottleNeckKAGN": 3_652}
    assert {stem: class_of(stem, 2)(8, 16, 3, device="meta").param_size for stem in counts} == counts


ARGUMENTS = {
    "KAN": "spline_order groups padding stride dilation grid_size base_activation grid_range dropout norm_layer",
    "FastKAN": "groups padding stride dilation grid_size base_activation grid_range dropout norm_layer",
    **dict.fromkeys(
        ("KALN", "KACN", "KAGN", "KAJN", "KABN"), "degree groups padding stride dilation dropout norm_layer"
    ),
    "ReLUKAN": "g k train_ab groups padding stride dilation dropout norm_layer",
    "WavKAN": "groups padding stride dilation dropout wavelet_type norm_layer wav_version",
    "BottleNeckKAGN": "degree groups padding stride dilation dropout norm_layer dim_reduction",
}


@pytest.mark.parametrize("dims", CONVOLVE)
@pytest.mark.parametrize("stem", STEMS)
def test_arguments_have_the_published_order(stem, dims):
    names = list(inspect.signature(class_of(stem, dims)).parameters)
    assert names == ["input_dim", "output_dim", "kernel_size", *ARGUMENTS[stem].split(), "norm_kwargs"]
    kind = nn.BatchNorm2d if stem == "WavKAN" else nn.InstanceNorm2d
    assert isinstance(class_of(stem, 2)(4, 6, 3).skeleton.norm, kind)


PLACE_OF_DROPOUT = {
    "KAN": "output", "FastKAN": "basis", "KALN": "mapped", "KACN": "output", "KAGN": "mapped", "KAJN": "features",
    "KABN": "mapped", "ReLUKAN": "input", "WavKAN": "basis", "BottleNeckKAGN": "input",
}  # fmt: skip


@pytest.mark.parametrize("stem", STEMS)
def test_keywords_of_the_norm_and_dropout(stem):
    layer = class_of(stem, 2)(4, 6, 3, dropout=0.25, norm_layer=nn.BatchNorm2d, affine=False, eps=1e-3)
    assert not layer.skeleton.norm.affine
    assert layer.skeleton.norm.eps == 1e-3
    assert (layer.skeleton.dropout, layer.skeleton.dropout_of) == (0.25, PLACE_OF_DROPOUT[stem])
    assert class_of(stem, 2)(4, 6, 3, norm_layer=None).skeleton.norm is None
    with pytest.raises(TypeError, match="afine"):
        class_of(stem, 2)(4, 6, 3, afine=False)


@pytest.mark.parametrize("dims", CONVOLVE)
@pytest.mark.parametrize("stem", STEMS)
def test_the_configuration_builds_an_equal_layer(stem, dims):
    layer, x = layer_of(stem, dims, groups=2, padding=1)
    if stem == "BottleNeckKAGN":
        same = getattr(bottleneck, f"BottleneckKANConv{dims}d")
    else:
        same = getattr(kan_conv, f"KANConv{dims}d")
    again = same(**layer.config(), dtype=torch.float64)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))


def test_what_that_package_got_wrong():
    x = inputs("pz", 3, 4, 6, 6)
    legendre, _ = layer_of("KALN", 2, norm_layer=None)
    assert error(legendre(x[:1]), legendre(x)[:1]) < 1e-13  # there, a sample depends on its batch
    assert legendre(torch.ones_like(x)).isfinite().all()
    constant = layer_of("KABN", 2)[0].basis.features(x.movedim(1, -1))
    assert constant.std() > 0.1  # there, they are all 1
    bumps = layer_of("ReLUKAN", 2)[0]
    before = bumps.basis.phase_low.clone()
    bumps(x).square().sum().backward()
    torch.optim.SGD(bumps.parameters(), lr=0.1).step()  # there, an error
    assert not torch.equal(bumps.basis.phase_low, before)
    assert class_of("KAGN", 2)(4, 6, 3, degree=0)(x.float()).shape == (3, 6, 4, 4)
    grid = layer_of("KAN", 2)[0]
    assert "bases.0.grid" in grid.state_dict()
    assert grid.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="wav_version must be one of base, fast, fast_plus_one; got 'slow'"):
        published.WavKANConv2DLayer(4, 6, 3, wav_version="slow")
    with pytest.raises(ValueError, match="there is no basis 'mexican'"):
        published.WavKANConv2DLayer(4, 6, 3, wavelet_type="mexican")
