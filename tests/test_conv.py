"""Convolutions of edges: the linear layer on unfolded patches, for every geometry, circuit and solver."""

import copy
import io
import itertools
import pickle

import pennylane as qml
import pytest
import torch
import torch.nn.functional as F
from helpers import ANSATZE, error, generator, inputs, options_for, perturb
from torch import nn
from torch.func import functional_call, jacfwd, jacrev, vmap

import qkan
from qkan import QKANConv1d, QKANConv2d, QKANConv3d, QKANLinear
from qkan.contraction import contract_conv
from qkan.noise import Noise
from qkan.solvers import images as blocks

CLASSES = {1: QKANConv1d, 2: QKANConv2d, 3: QKANConv3d}
SPACE = {1: (9,), 2: (8, 9), 3: (5, 6, 4)}

# Keywords of geometry, as torch.nn.Conv takes them; sizes given by dims where they differ between dimensions.
GEOMETRIES = {
    "plain": lambda dims: {"kernel_size": 3},
    "point": lambda dims: {"kernel_size": 1},
    "sizes": lambda dims: {"kernel_size": (2, 3, 1)[:dims], "padding": (1, 0, 2)[:dims], "stride": (2, 1, 3)[:dims]},
    "padding": lambda dims: {"kernel_size": 3, "padding": 1},
    "wide": lambda dims: {"kernel_size": 2, "padding": 3},
    "stride": lambda dims: {"kernel_size": 2, "stride": 2, "padding": 1},
    "dilation": lambda dims: {"kernel_size": 2, "dilation": (2, 3, 1)[:dims], "padding": 1},
    "groups": lambda dims: {"kernel_size": 2, "groups": 2, "padding": 1},
    "depthwise": lambda dims: {"kernel_size": 2, "groups": 4, "stride": 2},
    "same": lambda dims: {"kernel_size": (2, 3, 4)[:dims], "padding": "same", "dilation": (3, 1, 1)[:dims]},
    "valid": lambda dims: {"kernel_size": 2, "padding": "valid"},
    "reflect": lambda dims: {"kernel_size": 3, "padding": 2, "padding_mode": "reflect"},
    "replicate": lambda dims: {"kernel_size": 3, "padding": 2, "padding_mode": "replicate", "groups": 2},
    "circular": lambda dims: {"kernel_size": 2, "padding": "same", "padding_mode": "circular"},
}

OPTIONS = {
    **{ansatz: options_for(ansatz) for ansatz in ANSATZE},
    "ternary": {"encoding": "ternary"},
    "signs": options_for("mix", "signs"),
    "constant": {"reps": 2, "encoding": (0, 0)},
    "shared": {"encoding": "trainable-shared", "reps": 2},
    "shared-rpz": {"encoding": "trainable-shared", "reps": 2, "ansatz": "rpz"},
    "shared-bloch": {"encoding": "trainable-shared", "reps": 2, "solver": "bloch"},
    "trainable": {"encoding": "trainable", "reps": 2},
    "amplitude": {"readout": "amplitude"},
    "amplitude-bloch": {"readout": "amplitude", "solver": "bloch"},
    "bloch": {"solver": "bloch", "ansatz": "rpz"},
    "statevector": {"solver": "statevector"},
    "noise": {"noise": Noise(depolarizing=0.1, amplitude_damping=0.05, readout_error=(0.02, 0.05)), "scale": True},
    "all": {"scale": True, "bias": True, "base_activation": "sigmoid"},
}  # fmt: skip


def layer_of(dims, geometry="padding", channels=(4, 8), seed=0, **more):
    """A convolution in double precision, all of its parameters at random and some of its edges removed."""
    keywords = {"dtype": torch.float64, "generator": generator(seed)} | GEOMETRIES[geometry](dims) | more
    layer = perturb(CLASSES[dims](*channels, keywords.pop("kernel_size"), **keywords), seed)
    layer.mask.view(-1)[::5] = 0
    layer.mask.view(-1)[1::7] = 0.5
    return layer


def images_of(layer, *batch, seed=1):
    name = next((key for key, ansatz in ANSATZE.items() if ansatz == layer.options.ansatz), "pz")
    return inputs(name, *batch, layer.in_channels, *SPACE[layer.dims], seed=seed)


def linear_of(layer, group):
    """The linear layer of one group, its tensors cut and flattened here."""
    geometry, out = layer.geometry, layer.out_channels // layer.geometry.groups
    width, size = layer.in_channels // geometry.groups, torch.Size(geometry.kernel_size).numel()
    linear = QKANLinear(width * size, out, dtype=torch.float64, **layer.options.arguments())
    linear.mask.copy_(layer.mask[group * out : (group + 1) * out].reshape(out, -1))
    for name, target in linear.named_parameters():
        source = layer.get_parameter(name).detach()
        if name.startswith("encoding") and layer.options.encoding == "trainable-shared":
            rows = source[group * width : (group + 1) * width]
            target.data.copy_(torch.stack([rows[i // size] for i in range(width * size)]))
        else:
            target.data.copy_(source[group * out : (group + 1) * out].reshape(target.shape))
    return linear


def around(layer, x):
    """The padded images, pixel by pixel."""
    g, sizes = layer.geometry, x.shape[2:]
    for axis, size in enumerate(sizes):
        total = g.dilation[axis] * (g.kernel_size[axis] - 1)
        margin = {"same": (total // 2, total - total // 2), "valid": (0, 0)}.get(str(g.padding))
        before, after = margin or (g.padding[axis],) * 2
        places = range(-before, size + after)
        if g.padding_mode == "zeros":
            pieces = [x.select(2 + axis, p) if 0 <= p < size else 0 * x.select(2 + axis, 0) for p in places]
        else:
            fold = {
                "circular": lambda p, size=size: p % size,
                "replicate": lambda p, size=size: min(max(p, 0), size - 1),
                "reflect": lambda p, size=size: (size - 1) - abs((size - 1) - abs(p)),
            }[g.padding_mode]
            pieces = [x.select(2 + axis, fold(p)) for p in places]
        x = torch.stack(pieces, 2 + axis)
    return x


def patches_of(layer, x):
    """Patches [batch, in, *space, kernel positions] of padded images, position by position."""
    g = layer.geometry
    extents = [d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel_size, strict=True)]
    ranges = [range(0, n - e + 1, s) for n, e, s in zip(x.shape[2:], extents, g.stride, strict=True)]
    shifts = itertools.product(*(range(0, e, d) for e, d in zip(extents, g.dilation, strict=True)))
    pieces = []
    for shift in shifts:
        piece = x
        for axis, (start, places) in enumerate(zip(shift, ranges, strict=True)):
            piece = piece.index_select(2 + axis, torch.tensor([p + start for p in places]))
        pieces.append(piece)
    return torch.stack(pieces, -1)


def unfolded(layer, x):
    """What the layer has to be: its linear layers on patches."""
    patches = patches_of(layer, around(layer, x))
    parts = []
    for group, part in enumerate(patches.chunk(layer.geometry.groups, 1)):
        rows = part.movedim(1, -2).flatten(-2)  # [batch, *space, in/groups · positions]
        parts.append(linear_of(layer, group)(rows))
    return torch.cat(parts, -1).movedim(-1, 1)


@pytest.mark.parametrize("dims", CLASSES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_it_is_the_linear_layer_on_patches(dims, geometry):
    layer = layer_of(dims, geometry, scale=True, bias=True, base_activation="sigmoid")
    x = images_of(layer, 3)
    assert error(layer(x), unfolded(layer, x)) < 1e-12


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("geometry", ["sizes", "groups"])
def test_it_is_the_linear_layer_on_patches_for_all_circuits(options, geometry):
    layer = layer_of(2, geometry, channels=(2, 4), **OPTIONS[options])
    x = images_of(layer, 2)[..., :5, :4]
    assert error(layer(x), unfolded(layer, x)) < 1e-12


@pytest.mark.parametrize("groups", [1, 2])
def test_patches_are_those_of_torch(groups):
    layer = layer_of(2, "dilation", groups=groups)
    x = images_of(layer, 3)
    keywords = {"kernel_size": 2, "dilation": (2, 3), "padding": 1}
    parts = [layer.linear(i)(F.unfold(part, **keywords).mT).mT for i, part in enumerate(x.chunk(groups, 1))]
    y = layer(x)
    assert error(y.flatten(2), torch.cat(parts, 1)) < 1e-12


@pytest.mark.parametrize("dims", CLASSES)
@pytest.mark.parametrize("width", [1, 8, 11])
def test_memory_orders_and_blocks_change_nothing(dims, width, monkeypatch):
    layer = layer_of(dims, "groups", channels=(2 * width, 4))
    x = images_of(layer, 5)
    want, gradient = unfolded(layer, x), inputs("pz", *layer(x).shape)
    found = []
    for floats, each in ((1, 0), (2**40, 4)):
        monkeypatch.setitem(blocks.FLOATS, "cpu", floats)
        monkeypatch.setattr(blocks, "PER_COEFFICIENT", each)
        given = x.clone().requires_grad_()
        y = layer(given)
        assert error(y, want) < 1e-12
        found.append(torch.autograd.grad(y, (given, layer.theta), gradient))
    assert all(error(a, b) < 1e-12 for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("geometry", ["sizes", "groups", "same", "circular", "reflect"])
@pytest.mark.parametrize("dims", CLASSES)
def test_gradients_are_those_of_the_linear_layer(dims, geometry):
    layer = layer_of(dims, geometry, scale=True, bias=True, base_activation="silu")
    x = images_of(layer, 2).requires_grad_()
    g, y = layer.geometry.groups, layer(x)
    upstream = inputs("pz", *y.shape)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    found = torch.autograd.grad(y, (x, *parameters), upstream)
    linears = [linear_of(layer, group) for group in range(g)]
    parts = patches_of(layer, around(layer, x)).chunk(g, 1)
    rows = [linear(part.movedim(1, -2).flatten(-2)) for linear, part in zip(linears, parts, strict=True)]
    total = (torch.cat(rows, -1).movedim(-1, 1) * upstream).sum()
    (by_x,) = torch.autograd.grad(total, x, retain_graph=True)
    assert error(found[0], by_x) < 1e-12
    for name, got in zip(names, found[1:], strict=True):
        pieces = torch.autograd.grad(total, [linear.get_parameter(name) for linear in linears], retain_graph=True)
        assert error(got, torch.cat(pieces).view(got.shape)) < 1e-12, name


@pytest.mark.parametrize("dims", CLASSES)
@pytest.mark.parametrize("channels", [(2, 2), (8, 2)])
def test_first_and_second_derivatives_are_those_of_differences(dims, channels):
    layer = layer_of(dims, "padding", channels=channels, kernel_size=2, ansatz="rpz", reps=2)
    x = images_of(layer, 1)[(..., *(slice(2),) * dims)].clone().requires_grad_()

    def run(x, theta, bias):
        return functional_call(layer, {"theta": theta, "encoding_bias": bias}, (x,))

    given = (x, layer.theta, layer.encoding_bias)
    assert torch.autograd.gradcheck(run, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, given, fast_mode=True)


def test_pennylane_agrees_on_a_patch():
    """Every edge of a 2x2 kernel on two channels as a circuit of PennyLane, drawn here by hand."""
    layer = layer_of(2, "stride", channels=(2, 2), reps=2)
    x = images_of(layer, 1)[..., :2, :2]

    @qml.qnode(qml.device("default.qubit", wires=1))
    def edge(theta, u):
        qml.Hadamard(0)
        for r in range(2):
            qml.RZ(theta[2 * r], 0)
            qml.RY(theta[2 * r + 1], 0)
            qml.RZ(u, 0)
        qml.RZ(theta[4], 0)
        qml.RY(theta[5], 0)
        return qml.expval(qml.PauliZ(0))

    y, padded = layer(x).detach(), F.pad(x, (1, 1, 1, 1))
    for o, row, column in itertools.product(range(2), range(2), range(2)):
        want = sum(
            float(layer.mask[o, i, a, b])
            * edge(layer.theta[o, i, a, b].detach().numpy(), float(padded[0, i, 2 * row + a, 2 * column + b]))
            for i, a, b in itertools.product(range(2), repeat=3)
        )
        assert abs(float(y[0, o, row, column]) - float(want)) < 1e-12


def test_the_pennylane_solver_agrees():
    layer, x = layer_of(2, channels=(2, 2), kernel_size=2, padding=0, reps=2), inputs("pz", 1, 2, 3, 3)
    same = layer_of(2, channels=(2, 2), kernel_size=2, padding=0, reps=2, solver="pennylane")
    assert error(same(x), layer(x)) < 1e-12


@pytest.mark.parametrize("options", ["pz", "rpz", "shared", "trainable", "amplitude", "bloch", "constant", "all"])
@pytest.mark.parametrize("geometry", ["padding", "same", "groups", "sizes"])
def test_features_padded_with_zeros_add_nothing(options, geometry):
    more = OPTIONS[options]
    layer = layer_of(2, geometry, channels=(2, 4), padding_of="features", **more)
    x = images_of(layer, 2)[..., :5, :4]
    there = patches_of(layer, around(layer, torch.ones_like(x)))
    patches = patches_of(layer, around(layer, x))
    total = []
    for group, (part, valid) in enumerate(zip(*(p.chunk(layer.geometry.groups, 1) for p in (patches, there)))):  # noqa: B905
        linear = linear_of(layer, group)
        rows, known = (p.movedim(1, -2).flatten(-2) for p in (part, valid))
        y = (linear.contributions(rows) * known.unsqueeze(-2)).sum(-1)
        total.append(y if linear.bias is None else y + linear.bias)
    want = torch.cat(total, -1).movedim(-1, 1)
    assert error(layer(x), want) < 1e-12
    assert error(unfolded(layer, x), want) > 1e-3


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_both_orders_of_padding_are_one_where_pixels_are_repeated(mode):
    one, other = (layer_of(2, padding_mode=mode, padding_of=target) for target in ("input", "features"))
    x = images_of(one, 2)
    assert torch.equal(one(x), other(x))


def test_shots_scatter_around_the_expectation():
    layer, x = layer_of(2, "groups", shots=400, bias=True), inputs("pz", 2, 4, 5, 5)
    exact = copy.deepcopy(layer_of(2, "groups", bias=True))
    y = torch.stack([layer(x, generator(seed)) for seed in range(20)])
    assert torch.equal(layer(x, generator(3)), y[3])
    edges = torch.Size(layer.geometry.edges[1:]).numel()
    assert 1e-3 < (y.mean(0) - exact(x)).abs().max() < 5 * (edges / 400 / 20) ** 0.5


@pytest.mark.parametrize("dims", CLASSES)
def test_one_image_and_none(dims):
    layer = layer_of(dims)
    x = images_of(layer, 3)
    assert error(layer(x[0]), layer(x)[0]) < 1e-14
    empty = x[:0].clone().requires_grad_()
    y = layer(empty)
    assert y.shape == (0, *layer(x).shape[1:])
    y.sum().backward()
    assert not layer.theta.grad.any()


@pytest.mark.parametrize("target", ["input", "features"])
def test_images_may_be_smaller_than_the_kernel_if_they_are_padded(target):
    layer = layer_of(2, "padding", padding_of=target)
    pixel, padded = images_of(layer, 2)[..., :1, :1], torch.zeros(2, 4, 3, 3, dtype=torch.float64)
    padded[..., 1:2, 1:2] = pixel
    want = layer_of(2, "plain")(padded)
    if target == "features":
        layer.mask[..., torch.arange(9).view(3, 3) != 4] = 0  # only the middle of the kernel meets the image
        want = unfolded(layer, pixel)
    assert error(layer(pixel), want) < 1e-12


@pytest.mark.parametrize("channels", [4, 16])
def test_results_lie_in_memory_as_the_images_do(channels):
    layer = layer_of(2, channels=(channels, 3))
    x = images_of(layer, 2)
    last = x.contiguous(memory_format=torch.channels_last)
    assert layer(x).is_contiguous()
    assert layer(last).is_contiguous(memory_format=torch.channels_last)
    assert error(layer(last), layer(x)) < 1e-14
    assert error(layer(x.transpose(2, 3)), layer(x.transpose(2, 3).contiguous())) < 1e-14


def test_dtypes():
    layer, x = layer_of(2, bias=True, base_activation="silu"), inputs("pz", 2, 4, 6, 5)
    want = layer(x)
    single = copy.deepcopy(layer).float()
    assert single(x).dtype == torch.float64
    assert single(x.float()).dtype == torch.float32
    assert error(single(x.float()), want) < 2e-5
    half = copy.deepcopy(layer).bfloat16()
    assert half(x.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        y = single(x.float())
    assert y.dtype == torch.bfloat16
    assert error(y, want) < 2e-2
    y.float().square().sum().backward()
    assert single.theta.grad.isfinite().all()


@pytest.mark.parametrize("name", ["pz", "px", "shared", "trainable", "all"])
def test_what_torch_does_with_modules(name):
    layer, other = (layer_of(2, channels=(2, 3), seed=seed, **OPTIONS[name]) for seed in (0, 1))
    x = images_of(layer, 3)[..., :4, :3]
    want = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), want)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), want)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True), assign=True)
    assert torch.equal(other(x), want)
    assert error(vmap(layer)(x), want) < 1e-13
    given = {key: parameter.detach() for key, parameter in layer.named_parameters()}
    stacked = {key: torch.stack([value, 2 * value]) for key, value in given.items()}
    many = vmap(lambda p: functional_call(layer, p, (x,)))(stacked)
    assert error(many[0], want) < 1e-13


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, from jacfwd
def test_both_modes_give_one_jacobian():
    layer = layer_of(2, channels=(2, 3))
    x = images_of(layer, 1)[..., :3, :3]
    assert error(jacfwd(layer)(x), jacrev(layer)(x)) < 1e-12


COMPILED = ("pz", "shared", "all")


@pytest.mark.parametrize("name", COMPILED)
def test_it_compiles_as_one_graph(name):
    layer = layer_of(2, channels=(2, 3), **OPTIONS[name])
    x = images_of(layer, 3)[..., :4, :3].clone().requires_grad_()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, want = (torch.autograd.grad(run(x).square().sum(), (x, layer.theta)) for run in (compiled, layer))
    assert error(compiled(x), layer(x)) < 1e-13
    assert all(error(a, b) < 1e-12 for a, b in zip(found, want, strict=True))


def test_it_exports():
    layer = layer_of(2, bias=True)
    x = images_of(layer, 3)
    program = torch.export.export(layer, (x,))
    assert error(program.module()(x), layer(x)) < 1e-13


@pytest.mark.parametrize("dims", CLASSES)
def test_it_is_saved_and_loaded(dims, tmp_path):
    layer = layer_of(dims, "sizes", groups=2, padding_of="features", **OPTIONS["all"], ansatz="rpz", encoding="ternary")
    qkan.save(layer, tmp_path / "layer")
    again = qkan.load(tmp_path / "layer")
    x = images_of(layer, 2)
    assert again.config() == layer.config()
    assert torch.equal(again(x), layer(x))


@pytest.mark.parametrize(("optimizer", "rate"), [(torch.optim.SGD, 0.01), (torch.optim.AdamW, 0.05)])
def test_it_learns(optimizer, rate):
    net = nn.Sequential(
        QKANConv2d(2, 4, 3, padding=1, generator=generator()), QKANConv2d(4, 1, 3, generator=generator(1))
    )
    x = inputs("pz", 16, 2, 6, 6, dtype=torch.float32)
    y = torch.sin(x).mean(1, keepdim=True)[..., 1:-1, 1:-1]
    step, losses = optimizer(net.parameters(), lr=rate), []
    for _ in range(40):
        step.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        step.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("channels", [(2, 4), (32, 64)])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "mix"])
def test_outputs_start_as_wide_as_those_of_the_linear_layer(channels, ansatz):
    x = inputs("pz", 4, channels[0], 6, 6, dtype=torch.float32)
    layer = QKANConv2d(*channels, 3, ansatz=ansatz, generator=generator())
    assert 0.1 < float(layer(x).detach().std()) < 1.5
    want = (2 / ((9 * channels[0] + channels[1]) * layer.theta.shape[-1])) ** 0.5
    inner = layer.theta[..., :-1] if ansatz == "mix" else layer.theta
    assert abs(float(inner.detach().std()) / want - 1) < 0.1


def test_sizes_and_what_print_shows():
    layer = QKANConv2d(4, 6, (3, 2), padding=1, groups=2, reps=2, scale=True, encoding="ternary")
    assert layer.theta.shape == (6, 2, 3, 2, 6)
    assert layer.param_size == 6 * 2 * 6 * (6 + 1)
    shown = "4, 6, kernel_size=(3, 2), stride=(1, 1), padding=(1, 1), groups=2, reps=2, ansatz=pz"
    assert repr(layer) == f"QKANConv2d({shown}, solver=fourier (auto), encoding=ternary, scale=True)"
    assert QKANConv2d(4, 6, 3, device="meta").theta.device.type == "meta"


def test_the_linear_layer_of_a_group_shares_nothing():
    layer = layer_of(2, "groups", **OPTIONS["all"])
    layer.linear(1).theta.data.zero_()
    assert layer.theta.abs().min() > 0
    with pytest.raises(IndexError):
        layer.linear(2)


def test_contraction_is_a_sum():
    features, table = inputs("pz", 2, 2, 3, 2, 5), inputs("pz", 4, 2, 2, 3)
    y = contract_conv(features, table, torch.arange(4.0, dtype=torch.float64), stride=(2,), padding=((1, 1),))
    around = F.pad(features, (1, 1))
    assert error(contract_conv(features, table, padding=((1, 0),)), contract_conv(around[..., :-1], table)) == 0
    for o, p in itertools.product(range(4), range(3)):
        window = around[:, o // 2, :, :, 2 * p : 2 * p + 2]  # [batch, functions, in/groups, kernel]
        assert error(y[:, o, p], torch.einsum("bfik,ikf->b", window, table[o]) + o) < 1e-13


@pytest.mark.parametrize(
    ("keywords", "kind", "match"),
    [
        ({"groups": 3}, ValueError, "groups must divide in_channels=4; got 3"),
        ({"groups": 4}, ValueError, "groups must divide out_channels=6; got 4"),
        ({"groups": 0}, ValueError, "groups must be an integer of at least 1"),
        ({"stride": 0}, ValueError, "stride must be an integer of at least 1, or 2 of them; got 0"),
        ({"stride": (1, 1, 1)}, ValueError, "stride must be an integer of at least 1, or 2 of them"),
        ({"dilation": 1.5}, TypeError, "dilation must be an integer, or 2 of them; got 1.5"),
        ({"padding": -1}, ValueError, "padding must be an integer of at least 0"),
        ({"padding": True}, ValueError, "padding must be an integer of at least 0"),
        ({"padding": "full"}, ValueError, "padding must be 'valid', 'same' or integers; got 'full'"),
        ({"padding": "same", "stride": 2}, ValueError, "padding='same' needs stride=1"),
        ({"padding_mode": "mirror"}, ValueError, "padding_mode must be one of zeros, reflect, replicate, circular"),
        ({"padding_of": "output"}, ValueError, "padding_of must be 'input' or 'features'; got 'output'"),
        ({"rep": 3}, TypeError, "QKANConv2d got an unexpected keyword 'rep'; did you mean 'reps'"),
        ({"solver": "fourier", "encoding": "trainable"}, ValueError, "use solver='bloch'"),
    ],
)
def test_options_out_of_range_are_refused(keywords, kind, match):
    with pytest.raises(kind, match=match.replace("(", r"\(")):
        QKANConv2d(4, 6, 3, **keywords)


def test_kernel_sizes_and_channels_are_checked():
    with pytest.raises(ValueError, match="kernel_size must be an integer of at least 1, or 1 of them; got 0"):
        QKANConv1d(4, 6, 0)
    with pytest.raises(TypeError, match="kernel_size must be an integer, or 3 of them; got '333'"):
        QKANConv3d(4, 6, "333")
    with pytest.raises(TypeError, match=r"in_channels must be an integer; got 4\.0"):
        QKANConv2d(4.0, 6, 3)


@pytest.mark.parametrize(
    ("x", "kind", "match"),
    [
        (torch.zeros(2, 3, 8, 8), ValueError, r"x must be \[batch, 4, height, width\] or \[4, height, width\]"),
        (torch.zeros(8, 8), ValueError, r"got \(8, 8\)"),
        (torch.zeros(1, 1, 4, 8, 8), ValueError, "with in_channels as its first size of an image"),
        (torch.zeros(2, 4, 8, 8, dtype=torch.int64), TypeError, "x must be a floating-point tensor"),
        (torch.zeros(2, 4, 8, 2), ValueError, r"images of \(8, 2\) pixels, .* smaller than the kernel of \(3, 3\)"),
    ],
)
def test_images_of_other_shapes_are_refused(x, kind, match):
    with pytest.raises(kind, match=match):
        QKANConv2d(4, 6, 3)(x)


def test_lowering_refuses_convolutions():
    with pytest.raises(ValueError, match="layer 1 is a QKANConv2d"):
        qkan.lower(nn.Sequential(QKANLinear(3, 2), QKANConv2d(2, 3, 3)))
