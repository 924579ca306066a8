"""Convolutions of curves: the linear formula on patches, for every basis and geometry, and the habits of torch."""

import copy
import io
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from helpers import error, generator, inputs, perturb
from torch import nn

import qkan
from qkan import KANConv1d, KANConv2d, KANConv3d, bases
from qkan.layers.bottleneck import (
    BottleneckKANConv1d,
    BottleneckKANConv2d,
    BottleneckKANConv3d,
    BottleneckQKANConv1d,
    BottleneckQKANConv2d,
    BottleneckQKANConv3d,
)

CLASSES = {1: KANConv1d, 2: KANConv2d, 3: KANConv3d}
BOTTLENECKS = {1: BottleneckKANConv1d, 2: BottleneckKANConv2d, 3: BottleneckKANConv3d}
QUANTUM = {1: BottleneckQKANConv1d, 2: BottleneckQKANConv2d, 3: BottleneckQKANConv3d}
CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SPACE = {1: (9,), 2: (8, 9), 3: (5, 6, 4)}

BASES = {
    "bspline": {"grid_size": 4, "spline_order": 2},
    "rbf": {"num_grids": 5},
    "chebyshev": {"degree": 4},
    "legendre": {},
    "gram": {},
    "gram-compat": {"compat": "torch-conv-kan"},
    "jacobi": {"a": 0.5, "b": 1.5},
    "bernstein": {},
    "fourier": {"grid_size": 2},
    "relu": {"g": 3, "k": 1},
    "layer norm": {"num_grids": 3, "map": "layer norm"},
    "mexican_hat": {},
    "shannon": {"map": "tanh"},
}
NAMES = {"gram-compat": "gram", "layer norm": "rbf"}
WAVELETS = ("mexican_hat", "shannon")

GEOMETRIES = {
    "plain": lambda dims: {"kernel_size": 3},
    "point": lambda dims: {"kernel_size": 1},
    "sizes": lambda dims: {"kernel_size": (2, 3, 1)[:dims], "padding": (1, 0, 2)[:dims], "stride": (2, 1, 3)[:dims]},
    "padding": lambda dims: {"kernel_size": 3, "padding": 1},
    "stride": lambda dims: {"kernel_size": 2, "stride": 2, "padding": 1},
    "dilation": lambda dims: {"kernel_size": 2, "dilation": (2, 3, 1)[:dims], "padding": 1},
    "groups": lambda dims: {"kernel_size": 2, "groups": 2, "padding": 1},
    "same": lambda dims: {"kernel_size": (2, 3, 4)[:dims], "padding": "same", "dilation": (3, 1, 1)[:dims]},
    "reflect": lambda dims: {"kernel_size": 3, "padding": 2, "padding_mode": "reflect"},
    "circular": lambda dims: {"kernel_size": 2, "padding": "same", "padding_mode": "circular", "groups": 2},
}


def layer_of(dims=2, basis="bspline", geometry="padding", channels=(4, 6), seed=0, classes=CLASSES, **more):
    """A convolution in double precision with all of its parameters at random."""
    keywords = {"dtype": torch.float64, "generator": generator(seed), "basis": NAMES.get(basis, basis)}
    keywords |= GEOMETRIES[geometry](dims) | BASES[basis] | more
    return perturb(classes[dims](*channels, keywords.pop("kernel_size"), **keywords), seed)


def images_of(layer, *batch, seed=1):
    return inputs("pz", *batch, layer.in_channels, *SPACE[layer.dims], seed=seed) / 2


def patches_of(layer, x, around):
    """All patches of images, by loops: [batch, groups, in/groups, *kernel, positions]."""
    geometry = layer.geometry
    mode = "constant" if geometry.padding_mode == "zeros" else geometry.padding_mode
    sides = [pixels for margin in reversed(geometry.margins) for pixels in margin]
    x = F.pad(x, sides, mode=mode, **({"value": around} if mode == "constant" else {}))
    reach = [gap * (kernel - 1) for gap, kernel in zip(geometry.dilation, geometry.kernel_size, strict=True)]
    starts = [
        range(0, size - far, stride) for size, far, stride in zip(x.shape[2:], reach, geometry.stride, strict=True)
    ]
    found = []
    for corner in itertools.product(*starts):
        cut = tuple(slice(at, at + far + 1, gap) for at, far, gap in zip(corner, reach, geometry.dilation, strict=True))
        found.append(x[(slice(None), slice(None), *cut)])
    return torch.stack(found, -1).unflatten(1, (geometry.groups, -1)), [len(start) for start in starts]


def linear_formula(layer, x):
    """Σ_i Σ_k (Σ_f w_oikf φ_f(x_i) + b_oik σ(x_i)) on patches; pixels around with features padded add nothing."""
    geometry, dims = layer.geometry, layer.dims
    patches, sizes = patches_of(layer, x, 0.0)
    there, _ = patches_of(layer, torch.ones_like(x), 0.0 if geometry.padding_of == "features" else 1.0)
    results = []
    for group, (patch, one) in enumerate(zip(patches.unbind(1), there.unbind(1), strict=True)):
        own = slice(group * geometry.fans[1], (group + 1) * geometry.fans[1])
        weight = layer.weight[own].flatten(2, 1 + dims)  # [out, in, kernel, functions]
        patch, one = (t.flatten(2, 1 + dims).movedim(1, -1) for t in (patch, one))  # [batch, kernel, positions, in]
        if layer.mix_weight is None:
            columns = layer.bases[0].features(patch) * one.unsqueeze(-1)
            y = torch.einsum("bkpif,oikf->bop", columns, weight)
        else:
            waves = layer.bases[group].edges(patch) * one.unsqueeze(-2)
            y = torch.einsum("bkpoi,oik->bop", waves, weight[..., 0])
            y = torch.einsum("bop,qo->bqp", y, layer.mix_weight[own])
        if layer.base_weight is not None:
            base = layer.base_activation(patch) * one
            y = y + torch.einsum("bkpi,oik->bop", base, layer.base_weight[own].flatten(2))
        results.append(y)
    y = torch.cat(results, 1)
    if layer.bias is not None:
        y = y + layer.bias.unsqueeze(-1)
    return y.unflatten(-1, sizes)


@pytest.mark.parametrize("dims", CLASSES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("basis", ["bspline", "gram-compat", "fourier", "mexican_hat"])
def test_it_is_the_linear_formula_on_patches(dims, geometry, basis):
    layer = layer_of(dims, basis, geometry, bias=True)
    x = images_of(layer, 2)
    assert error(layer(x), linear_formula(layer, x)) < 1e-12


@pytest.mark.parametrize("padding_of", ["input", "features"])
@pytest.mark.parametrize("basis", BASES)
def test_every_basis_with_both_kinds_of_padding(basis, padding_of):
    layer = layer_of(2, basis, "groups", padding_of=padding_of, base_activation="sigmoid")
    x = images_of(layer, 2)
    assert error(layer(x), linear_formula(layer, x)) < 1e-12
    other = copy.deepcopy(layer)
    other.geometry = type(layer.geometry)(2, 4, 6, 2, padding=1, groups=2)
    assert (error(layer(x), other(x)) < 1e-12) == (padding_of == "input")


def test_a_padding_with_zeros_of_features_is_that_of_torch():
    layer = layer_of(2, "chebyshev", padding_of="features", base_activation=None, stride=2)
    x = images_of(layer, 2)
    columns = layer.basis.features(x.movedim(1, -1)).movedim((-1, -2), (1, 2)).flatten(1, 2)
    want = F.conv2d(columns, layer.weight.movedim(-1, 1).flatten(1, 2), padding=1, stride=2)
    assert error(layer(x), want) < 1e-13


def test_a_basis_that_is_built_and_a_class():
    basis = bases.Chebyshev(2, degree=2)
    layer = KANConv2d(4, 6, 3, basis=basis, groups=2)
    assert layer.basis is basis
    assert KANConv2d(4, 6, 3, basis=bases.Meyer, groups=2).mix_weight.shape == (6, 3)


@pytest.mark.parametrize("dims", CLASSES)
@pytest.mark.parametrize("basis", [name for name in BASES if name not in (*WAVELETS, "layer norm")])
def test_the_linear_layer_of_a_group(dims, basis):
    layer = layer_of(dims, basis, "groups", bias=True, kernel_size=(2, 3, 1)[:dims])
    x = images_of(layer, 2)
    want, (patches, sizes) = layer(x), patches_of(layer, x, 0.0)
    for group, own in enumerate(want.chunk(2, 1)):
        rows = patches[:, group].flatten(1, 1 + dims).mT  # [batch, positions, fan_in]
        linear = layer.linear(group)
        assert error(linear(rows).mT.unflatten(-1, sizes), own) < 1e-12
        with torch.no_grad():
            linear.spline_weight.zero_()
    assert error(layer(x), want) == 0
    with pytest.raises(IndexError):
        layer.linear(2)


@pytest.mark.parametrize("basis", [*WAVELETS, "layer norm"])
def test_there_is_no_linear_layer_where_edges_mix(basis):
    with pytest.raises(ValueError, match="there is no linear layer of a group with the basis"):
        layer_of(2, basis).linear()


# Norm, dropout, activation


def test_norm_then_activation():
    layer = layer_of(norm_layer=nn.BatchNorm2d, norm_options={"eps": 1e-3}, activation="prelu", geometry="groups")
    bare = copy.deepcopy(layer)
    bare.skeleton = type(layer.skeleton)(2, 4, 6)
    x = images_of(layer, 3)
    sums, norm = bare(x), layer.skeleton.norm
    mean, variance = (getattr(sums.transpose(0, 1).flatten(1), what)(1) for what in ("mean", "var"))
    spread = (variance * (1 - 1 / sums[:, 0].numel()) + 1e-3).sqrt()
    y = (sums - mean.view(-1, 1, 1)) / spread.view(-1, 1, 1) * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    slopes = layer.skeleton.activation.weight.repeat_interleave(3).view(-1, 1, 1)
    assert slopes.unique().numel() == 2
    assert error(layer(x), torch.where(y > 0, y, slopes * y)) < 1e-12


def test_norm_of_the_input_is_for_the_basis_alone():
    layer = layer_of(norm_layer="instance", norm_of="input", norm_options={"affine": True}, geometry="plain")
    bare = copy.deepcopy(layer)
    bare.skeleton = type(layer.skeleton)(2, 4, 6)
    x = images_of(layer, 2)
    norm = layer.skeleton.norm
    seen = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + norm.eps).sqrt()
    seen = seen * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    base = F.conv2d(F.silu(x), layer.base_weight)
    bare.base_weight.data.zero_()
    assert error(layer(x), bare(seen) + base) < 1e-12


@pytest.mark.parametrize("place", ["output", "input", "basis", "mapped", "features"])
def test_dropout_takes_whole_channels_where_it_says(place):
    layer = layer_of(2, "legendre", "point", (1, 1), dropout=0.5, dropout_of=place, degree=1, base_activation="tanh")
    x = images_of(layer, 200)
    (p0, p1), b = layer.weight.detach().flatten(), layer.base_weight.detach().flatten()
    u = torch.tanh(x)
    keep = {
        "output": [2 * (p0 + p1 * u + b * u), 0 * u],
        "input": [p0 + (p1 + b) * torch.tanh(2 * x), p0 + 0 * u],
        "basis": [p0 + p1 * torch.tanh(2 * x) + b * u, p0 + b * u],
        "mapped": [p0 + p1 * 2 * u + b * u, p0 + b * u],
        "features": [c0 * p0 + c1 * p1 * u + b * u for c0 in (0, 2) for c1 in (0, 2)],
    }[place]
    torch.manual_seed(0)
    y = layer(x)
    found = [(y - want).abs().flatten(1).amax(1) < 1e-12 for want in keep]
    assert torch.stack(found).any(0).all()
    assert all(0.5 < float(one.double().mean()) * len(keep) < 1.5 for one in found)
    layer.eval()
    assert error(layer(x), p0 + p1 * u + b * u) < 1e-12


# Initialisation


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("channels", [(4, 8), (32, 64)])
def test_outputs_start_with_variance_one(basis, channels):
    layer = KANConv2d(*channels, 3, basis=NAMES.get(basis, basis), generator=generator(), **BASES[basis])
    x = torch.randn(8, channels[0], 7, 7, generator=generator())
    assert 0.7 < float(layer(x).detach().square().mean().sqrt()) < 1.4


def test_scales_multiply():
    one, three = (layer_of(2, scale_spline=s, scale_base=2 * s, dtype=torch.float64) for s in (1.0, 3.0))
    for layer in (one, three):
        layer.reset_parameters(generator(5))
    assert error(three.weight, 3 * one.weight) < 1e-14
    assert error(three.base_weight, 3 * one.base_weight) < 1e-14
    bare = layer_of(2, base_activation=None)
    bare.reset_parameters(generator(5))
    assert error(bare.weight, 2**0.5 * one.weight) < 1e-14


def test_reset_starts_everything_anew():
    layer = layer_of(2, "relu", norm_layer="batch", activation="prelu", bias=True)
    layer.reset_parameters(generator(0))
    fresh = KANConv2d(4, 6, 3, basis="relu", padding=1, norm_layer="batch", activation="prelu", bias=True,
        dtype=torch.float64, generator=generator(0), **BASES["relu"])  # fmt: skip
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in layer.state_dict().items())


# Behaviour as a torch module


MODULES = {
    **{name: lambda name=name, **more: layer_of(2, name, **more) for name in BASES},
    "framed": lambda **more: layer_of(2, norm_layer="instance", activation="silu", **more),
    "input norm": lambda **more: layer_of(2, "rbf", norm_layer="batch", norm_of="input", **more),
    "bottleneck": lambda **more: layer_of(2, "gram-compat", classes=BOTTLENECKS, norm_layer="batch", **more),
    "bottleneck-groups": lambda **more: layer_of(2, "rbf", "groups", classes=BOTTLENECKS, min_internal=1, **more),
    "bottleneck-circuits": lambda **more: quantum_of(**more),
}


def quantum_of(dims=2, seed=0, **more):
    keywords = {"dtype": torch.float64, "generator": generator(seed), "padding": 1, "reps": 2} | more
    return perturb(QUANTUM[dims](4, 6, 3, **keywords), seed)


@pytest.mark.parametrize("name", MODULES)
def test_what_torch_does_with_modules(name):
    layer, other = (MODULES[name](seed=seed).eval() for seed in (0, 1))
    x = images_of(layer, 3)
    want = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), want)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), want)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True), assign=True)
    assert torch.equal(other(x), want)
    again = type(layer)(**layer.config(), dtype=torch.float64).eval()
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), want)
    assert again.config() == layer.config()


@pytest.mark.parametrize("name", MODULES)
def test_it_is_saved_and_loaded(name, tmp_path):
    layer = MODULES[name]()
    x = images_of(layer, 2)
    layer(x)  # a batch norm has seen data
    qkan.save(layer, tmp_path / "layer")
    again = qkan.load(tmp_path / "layer")
    assert type(again) is type(layer)
    assert torch.equal(again.eval()(x), layer.eval()(x))


@pytest.mark.parametrize("name", MODULES)
def test_a_sample_does_not_depend_on_its_batch(name):
    layer = MODULES[name]().eval()
    x = images_of(layer, 5)
    assert error(layer(x[1:3]), layer(x)[1:3]) < 1e-13
    assert error(layer(x[4]), layer(x)[4]) < 1e-13
    assert layer(x[:0]).shape == (0, *layer(x).shape[1:])


@pytest.mark.parametrize("name", MODULES)
def test_dtypes(name):
    layer = MODULES[name]()
    x = images_of(layer, 3)
    want = layer.eval()(x)
    single = copy.deepcopy(layer).float()
    assert single(x).dtype == torch.float64
    assert single(x.float()).dtype == torch.float32
    assert error(single(x.float()), want) < 2e-5
    half = copy.deepcopy(layer).bfloat16()
    assert half(x.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        y = single(x.float())
    assert y.dtype == torch.bfloat16
    assert error(y, want) < 5e-2
    meta = MODULES[name](dtype=torch.float32).to("meta")
    assert meta(x.float().to("meta")).shape == want.shape


@pytest.mark.parametrize("name", ["bspline", "gram-compat", "relu", "mexican_hat", "framed", "bottleneck"])
def test_gradients(name):
    layer = MODULES[name]()
    x = images_of(layer, 2)[..., :3, :3].clone().requires_grad_()
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    layer.eval()
    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


@pytest.mark.parametrize("name", ["chebyshev", "framed", "mexican_hat", "bottleneck-groups"])
def test_it_compiles_as_one_graph(name):
    layer = MODULES[name]().eval()
    x = images_of(layer, 3).requires_grad_()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, want = (torch.autograd.grad(run(x).square().sum(), [x, *layer.parameters()]) for run in (compiled, layer))
    assert error(compiled(x), layer(x)) < 1e-13
    assert all(error(a, b) < 1e-12 for a, b in zip(found, want, strict=True))


@pytest.mark.parametrize("name", ["bspline", "gram-compat", "mexican_hat", "framed", "bottleneck"])
def test_it_exports_and_maps(name):
    layer = MODULES[name]().eval()
    x = images_of(layer, 3)
    assert error(torch.export.export(layer, (x,)).module()(x), layer(x)) < 1e-13
    assert error(torch.func.vmap(layer)(x), layer(x)) < 1e-13


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", MODULES)
def test_a_step_reaches_every_parameter(name, optimizer):
    layer = MODULES[name]()
    x, before = images_of(layer, 3), copy.deepcopy(layer.state_dict())
    (layer(x) - 1).square().sum().backward()
    optimizer(layer.parameters(), lr=0.01).step()
    moved = {key for key, value in layer.named_parameters() if not torch.equal(value, before[key])}
    unused = 0 if name not in ("gram-compat", "bottleneck") else 2  # w_0 and w_d of that package's Gram
    for key, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all()
        assert key in moved
        if key.endswith("beta_weights"):
            assert int((parameter.grad == 0).sum()) == unused


# The bottleneck


@pytest.mark.parametrize("dims", BOTTLENECKS)
@pytest.mark.parametrize("geometry", ["sizes", "groups", "circular"])
@pytest.mark.parametrize("padding_of", ["input", "features"])
def test_a_bottleneck_is_three_convolutions(dims, geometry, padding_of):
    layer = layer_of(dims, "chebyshev", geometry, classes=BOTTLENECKS, padding_of=padding_of, min_internal=1,
        channels=(8, 12), base_activation="sigmoid", activation="tanh")  # fmt: skip
    x, groups = images_of(layer, 2), layer.geometry.groups
    assert layer.internal == 3 // groups
    narrow = CONVOLVE[dims](x, layer.squeeze_weight, groups=groups)
    y = CONVOLVE[dims](linear_formula(layer.inner, narrow), layer.expand_weight, groups=groups)
    plain = layer_of(dims, "chebyshev", geometry, channels=(8, 12), padding_of=padding_of, base_activation="sigmoid")
    plain.weight.data.zero_()
    plain.base_weight.data.copy_(layer.base_weight)
    assert error(layer(x), torch.tanh(y + linear_formula(plain, x))) < 1e-12


@pytest.mark.parametrize("dims", QUANTUM)
def test_a_bottleneck_of_circuits(dims):
    layer = quantum_of(dims, base_activation=None, norm_layer=None)
    x = images_of(layer, 2)
    want = CONVOLVE[dims](layer.inner(CONVOLVE[dims](x, layer.squeeze_weight)), layer.expand_weight)
    assert error(layer(x), want) < 1e-12


def test_channels_between():
    sizes = {(256, 512, 1): 128, (8, 16, 1): 8, (128, 64, 1): 32, (128, 128, 4): 16, (2, 3, 1): 2}
    for (inputs_, outputs, groups), internal in sizes.items():
        assert BottleneckKANConv2d(inputs_, outputs, 3, groups=groups, device="meta").internal == internal
    assert (
        BottleneckKANConv2d(256, 512, 3, basis="gram", compat="torch-conv-kan", device="meta").param_size == 1_867_780
    )


# What is refused


@pytest.mark.parametrize(
    ("keywords", "kind", "match"),
    [
        ({"groups": 3}, ValueError, "groups must divide in_channels=4; got 3"),
        ({"basis": "spline"}, ValueError, "there is no basis 'spline'; did you mean 'bspline'"),
        ({"grid_sise": 3}, TypeError, "unexpected keyword 'grid_sise'; did you mean 'grid_size'"),
        (
            {"basis": bases.Meyer(4, 6)},
            TypeError,
            "basis must be a name or a class, as each group builds its own edges",
        ),
        ({"basis": bases.Chebyshev(4), "degree": 2}, TypeError, "a basis that is built takes no keywords; got degree"),
        ({"basis": bases.Chebyshev(3)}, ValueError, "basis must have the widths"),
        ({"base_activation": "swish"}, ValueError, "base_activation must be one of"),
        ({"scale_base": "1"}, ValueError, "scale_base must be a finite number"),
        (
            {"norm_layer": "layer"},
            ValueError,
            "norm_layer must be one of instance, batch, a class or None; got 'layer'",
        ),
        ({"norm_layer": 3}, TypeError, "norm_layer must be a name, a class of modules or a function that makes one"),
        ({"norm_layer": lambda channels: channels}, TypeError, "norm_layer must be a name, a class of modules"),
        ({"norm_options": {"affine": True}}, TypeError, "norm_options need a norm_layer; got affine"),
        ({"norm_of": "features"}, ValueError, "norm_of must be one of output, input; got 'features'"),
        ({"dropout": 1}, ValueError, "dropout must be a probability from 0, below 1; got 1"),
        ({"dropout_of": "base"}, ValueError, "dropout_of must be one of output, input, basis, mapped, features"),
        ({"basis": "dog", "dropout_of": "mapped"}, ValueError, "dropout_of='mapped' is not for the basis 'dog'; use"),
        ({"dims": 2}, TypeError, "unexpected keyword 'dims'"),
    ],
)
def test_what_does_not_exist_is_refused(keywords, kind, match):
    with pytest.raises(kind, match=match):
        KANConv2d(4, 6, 3, **keywords)


def test_a_bottleneck_refuses_dropout_inside():
    with pytest.raises(ValueError, match="dropout_of must be 'output', 'input' or 'basis' here; got 'mapped'"):
        BottleneckKANConv2d(4, 6, 3, dropout_of="mapped")
    with pytest.raises(ValueError, match="dim_reduction must be an integer of at least 1"):
        BottleneckKANConv2d(4, 6, 3, dim_reduction=0)
    with pytest.raises(TypeError, match="unexpected keyword 'rep'"):
        BottleneckQKANConv2d(4, 6, 3, rep=2)


def test_other_images_are_refused():
    with pytest.raises(ValueError, match=r"x must be \[batch, 4, height, width\]"):
        KANConv2d(4, 6, 3)(torch.zeros(2, 3, 8, 8))
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        KANConv2d(4, 6, 3)(torch.zeros(2, 4, 8, 8, dtype=torch.int64))


def test_what_has_no_name_cannot_be_written():
    with pytest.raises(ValueError, match=r"norm_layer .* has no name, so a file cannot hold it"):
        KANConv2d(4, 6, 3, norm_layer=lambda channels: nn.GroupNorm(2, channels)).config()
    assert KANConv2d(4, 6, 3, norm_layer=nn.BatchNorm2d).config()["norm_layer"] == "batch"


def test_what_print_shows():
    layer = KANConv2d(4, 6, 3, padding=1, basis="chebyshev", bias=True, base_activation=None, dropout=0.5)
    assert repr(layer).startswith(
        "KANConv2d(\n  4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), basis=chebyshev, bias=True\n"
    )
    assert "dropout=0.5, dropout_of=output" in repr(layer)
    assert "internal=4" in repr(BottleneckKANConv2d(4, 6, 3))
