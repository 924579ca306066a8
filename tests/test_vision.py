"""The zoo: every network of every kind runs, trains, compiles and exports; parameters are those of the papers."""

import pytest
import torch
import zoo
from helpers import error, generator
from torch import nn
from zoo import BUILDERS, KINDS, LEAST_NETWORKS, SHAPES, SMALL_NETWORKS, count

from qkan.layers import published as layers
from qkan.layers.bottleneck import BottleneckQKANConv1d
from qkan.models.experts import MixtureOfExperts
from qkan.models.vision import VGGKAN, Convolutions, DenseKANet, ResKANet, U2KANet, UKANet, published
from qkan.models.vision.u2net import ResidualU, Stage

TABLE = [(network, kind) for network in SMALL_NETWORKS for kind in KINDS]
# Compiled and exported without being asked for the slow tests: what is fast.
QUICK = [("VGGKAN", "chebyshev"), ("VGGKAN", "pz")]
COMPILED = [
    pytest.param(network, kind, marks=[] if (network, kind) in QUICK else pytest.mark.slow)
    for network in LEAST_NETWORKS
    for kind in KINDS
]


def network_of(name, kind, table=SMALL_NETWORKS, **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return table[name](**{"dtype": torch.float64, "generator": generator()} | KINDS.get(kind, {}) | more)


def images(batch=4, seed=1):
    return torch.randn(batch, 3, 11, 8, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize(("name", "kind"), [*TABLE, *((name, "plain") for name in SMALL_NETWORKS)])
def test_networks_learn_from_a_step(name, kind):
    network = network_of(name, kind, **({"basis": "plain"} if kind == "plain" else {}))
    adam, x = torch.optim.Adam(network.parameters(), lr=1e-3), images()
    want = torch.randint(5, (4, *SHAPES[name][2:]) if name in SHAPES else (4,), generator=generator(2))
    losses = []
    for _ in range(3):
        y = network(x)
        assert y.shape == SHAPES.get(name, (4, 5))
        losses.append(nn.functional.cross_entropy(y, want))
        adam.zero_grad()
        losses[-1].backward()
        assert all(part.grad is not None and part.grad.isfinite().all() for part in network.parameters())
        adam.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "kind"), TABLE)
def test_an_image_does_not_depend_on_its_batch(name, kind):
    network, x = network_of(name, kind), images()
    network(x)  # norms have seen something
    network.eval()
    assert error(network(x)[1:3], network(x[1:3])) < 1e-12
    assert error(network(x)[0], network(x[0:1])[0]) < 1e-12


@pytest.mark.parametrize(("name", "kind"), COMPILED)
def test_networks_compile_into_one_graph(name, kind):
    torch._dynamo.reset()
    network, x = network_of(name, kind, LEAST_NETWORKS).eval(), images()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert error(compiled(x), network(x)) < 1e-12


@pytest.mark.parametrize(("name", "kind"), COMPILED)
def test_networks_export(name, kind):
    network, x = network_of(name, kind, LEAST_NETWORKS).eval(), images()
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
    assert error(program.module()(x[:3]), network(x[:3])) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BUILDERS)
def test_builders_take_steps_in_full_depth(name, kind):
    """Without memory or arithmetic: shapes and gradients of the real depths."""
    network = BUILDERS[name](device="meta", **KINDS[kind])
    y = network(torch.zeros(2, 3, 64, 64, device="meta"))
    assert y.shape == ((2, 5, 64, 64) if name.startswith("U") else (2, 5))
    y.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    torch.optim.SGD(network.parameters(), lr=0.1).step()


# Parameters of plain networks: those of torchvision (resnet18 and so on), of its vgg11_bn before the classifier, and of
# the published U2-Net and its small version.
PLAIN = {
    "resnet18": (lambda: ResKANet(18, basis="plain", width_scale=8, device="meta"), 11_689_512),
    "resnet34": (lambda: ResKANet(34, basis="plain", width_scale=8, device="meta"), 21_797_672),
    "resnet50": (lambda: ResKANet(50, basis="plain", width_scale=8, device="meta"), 25_557_032),
    "resnet101": (lambda: ResKANet(101, basis="plain", width_scale=8, device="meta"), 44_549_160),
    "resnet152": (lambda: ResKANet(152, basis="plain", width_scale=8, device="meta"), 60_192_808),
    "vgg11_bn": (lambda: VGGKAN(11, basis="plain", bias=True, width_scale=4, device="meta").features, 9_225_984),
    "vgg19_bn": (lambda: VGGKAN(19, basis="plain", bias=True, width_scale=4, device="meta").features, 20_035_392),
    "U2-Net": (lambda: published.u2net(3, 1, width_scale=4, norm_layer="batch", device="meta"), 44_009_869),
    "U2-Net, small": (lambda: published.u2net_small(3, 1, width_scale=4, norm_layer="batch", device="meta"), 1_131_181),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_networks_have_the_parameters_of_the_originals(name):
    build, want = PLAIN[name]
    network = build()
    # Their U2-Net has affine norms; so has that of the function.
    assert count(network) == want


DEEP = ("reskagnet50", "reskagnet152", "ukanet_18", "reskagnet_34x32p")
RES18, RES50 = (2, 2, 2, 2), (3, 4, 6, 3)
LINEAR = (64, 10, 1)
VGG11 = (16, 32, 64, 64, 128, 128, 128, 128)
# Published names: parameters by the formulas of their layers, over the convolutions that the papers list.
COUNTS = {
    "reskanet_18x32p": lambda: zoo.total(zoo.resnet(RES18, stem=3), "kan", outputs=[LINEAR]),
    "fast_reskanet_18x32p": lambda: zoo.total(zoo.resnet(RES18, stem=3), "fast_kan", outputs=[LINEAR]),
    "reskalnet_18x64p": lambda: zoo.total(zoo.resnet(RES18, stem=3), "kaln", outputs=[LINEAR]),
    "reskacnet_18x32p": lambda: zoo.total(zoo.resnet(RES18, stem=3), "kacn", outputs=[LINEAR]),
    "reskagnet18": lambda: zoo.total(zoo.resnet(RES18), "kagn", outputs=[LINEAR]),
    "reskagnet_34x32p": lambda: zoo.total(zoo.resnet((3, 4, 6, 3), stem=3), "kagn", outputs=[LINEAR]),
    "reskagnetbn_18x32p": lambda: zoo.total(zoo.resnet(RES18, stem=3), "kagn_bn", outputs=[LINEAR]),
    "reskagnet50": lambda: zoo.total(zoo.resnet(RES50, 4), "kagn", outputs=[(256, 10, 1)]),
    "reskagnet152": lambda: zoo.total(zoo.resnet((3, 8, 36, 3), 4), "kagn", outputs=[(256, 10, 1)]),
    "vggkan": lambda: zoo.total(zoo.vgg(VGG11), "kan", outputs=[(128 * 49, 10, 1)]),
    "vggkagn": lambda: zoo.total(zoo.vgg(VGG11), "kagn", outputs=[(128 * 49, 10, 1)]),
    "vggkagn_bn": lambda: zoo.total(zoo.vgg(VGG11), "kagn_bn", outputs=[(128 * 49, 10, 1)]),
    "vgg_wav_kan": lambda: zoo.total(zoo.vgg(VGG11), "wav_kan", outputs=[(128 * 49, 10, 1)]),
    "ukagnet_18": lambda: zoo.total(zoo.unet(), "kagn", affine=True, outputs=[(8, 10, 1)]),
    "ukanet_18": lambda: zoo.total(zoo.unet(), "kan", affine=True, outputs=[(8, 10, 1)]),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name for name in COUNTS]
)
def test_published_networks_have_the_parameters_of_the_formulas(name):
    assert count(getattr(published, name)(3, 10, device="meta")) == COUNTS[name]()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts", "growth"),
    [
        ("densekagnet121", (6, 12, 24, 16), 32),
        ("densekalnet161", (6, 12, 36, 24), 48),
        ("densekalnet201", (6, 12, 48, 32), 32),
    ],
)
def test_published_dense_networks_have_the_parameters_of_the_formulas(name, counts, growth):
    convolutions, transitions, width = zoo.densenet(counts, growth)
    want = zoo.total(convolutions, "kagn" if "kagn" in name else "kaln", affine=True, outputs=[(width, 10, 1)])
    # A transition: a norm with factor and shift, and a 1x1 convolution to half of the channels, without a bias.
    want += sum(2 * size + size * (size // 2) for size in transitions)
    assert count(getattr(published, name)(3, 10, device="meta")) == want


def test_the_published_vgg_of_imagenet_has_the_layers_of_its_report():
    """Ten Gram convolutions of degree 5: 32, 64, 128, 128, then six of 256 channels."""
    network = published.vggkagn(3, 1000, vgg_type="VGG11v2", width_scale=2, degree=5, pooled=1, device="meta")
    made = [part for part in network.features if not isinstance(part, nn.MaxPool2d)]
    assert [part.out_channels for part in made] == [32, 64, 128, 128] + [256] * 6
    sizes = zoo.vgg([32, 64, 128, 128] + [256] * 6)
    assert count(network) == sum(7 * c * o * k + 6 for c, o, k in sizes) + 256 * 1000 + 1000


def test_versions_of_vgg_differ_behind_the_last_pooling():
    """KAGN convolutions without norm factors have 5 C O K + 4 parameters, the output (C + 1) classes."""
    counts = {
        version: sum(
            p.numel()
            for p in published.vggkagn(3, 10, vgg_type=f"VGG11{version}", pooled=1, device="meta").parameters()
        )
        for version in ("", "v2", "v3", "v4")
    }
    shared = counts[""] - 129 * 10
    pairs = {"v2": (128, 128), "v3": (128, 256), "v4": (256, 256)}
    assert {version: counts[version] - shared for version in pairs} == {
        version: 5 * 9 * (128 * first + first * last) + 8 + (last + 1) * 10 for version, (first, last) in pairs.items()
    }


def test_convolutions_of_circuits_have_eight_angles_and_a_branch_per_edge():
    sizes = zoo.resnet(RES18)
    want = sum(9 * c * o * k + 2 * o for c, o, k in sizes) + 64 * 10 + 10
    assert count(ResKANet(18, 3, 10, ansatz="pz", device="meta")) == want == 1_581_458


SIMPLE = [name for name in published.__all__ if name != "FAMILIES"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMPLE)
def test_every_published_name_builds_a_network(name):
    network = getattr(published, name)(1, 7, device="meta", width_scale=1)
    assert ("moe" in name) == any(isinstance(part, MixtureOfExperts) for part in network.modules())
    if any(depth in name for depth in ("50", "101", "121", "152", "161", "169", "201")):
        return  # the depths run above, with the same code
    y = network(torch.zeros(2, 1, 64, 64, device="meta"))
    y = y[0] if isinstance(y, tuple) else y
    assert y.shape == ((2, 7, 64, 64) if name.startswith(("u", "fast_u")) else (2, 7))


def test_published_families_are_those_of_the_layers():
    make = Convolutions(**published.FAMILIES["kagn"], degree=2, generator=generator(), dtype=torch.float64)
    ours = make(4, 6)
    theirs = layers.KAGNConv2DLayer(4, 6, 3, degree=2, padding=1, generator=generator(), dtype=torch.float64)
    assert error(ours(images().repeat(1, 2, 1, 1)[:, :4]), theirs(images().repeat(1, 2, 1, 1)[:, :4])) < 1e-14


@pytest.mark.parametrize("kind", ["chebyshev", "pz"])
def test_depthwise_convolutions_do_not_mix_channels(kind):
    layer = Convolutions(dtype=torch.float64, generator=generator(), **KINDS[kind])(3, 3, groups=3).eval()
    x = images(1)[0]
    jacobian = torch.func.jacrev(lambda image: layer(image.unsqueeze(0)).sum((0, 2, 3)))(x)  # [out, in, ...]
    reach = jacobian.flatten(2).abs().amax(-1)
    assert reach.diagonal().min() > 1e-3
    assert (reach - torch.diag(reach.diagonal())).max() == 0


def test_groups_spare_what_sees_the_image_and_points():
    make = Convolutions("rbf", groups=2, dropout=0.3)
    assert [make(4, 4, first=True).geometry.groups, make(4, 4, 1).geometry.groups] == [1, 1]
    assert make(4, 4).geometry.groups == 2
    assert [make(4, 4, first=True).skeleton.dropout, make(4, 4, 1).skeleton.dropout] == [0, 0.3]


def test_experts_are_where_kernels_are_large():
    make = Convolutions("rbf", experts=3, chosen=2)
    kinds = [isinstance(part, MixtureOfExperts) for part in (make(4, 4), make(4, 4, 1), make(4, 4, first=True))]
    assert kinds == [True, False, False]
    first, second, third = make(4, 4).experts
    assert not torch.equal(first.weight, second.weight)
    assert not torch.equal(second.weight, third.weight)


@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions_of_other_dimensions(dims):
    x = torch.zeros(2, 4, *(6, 5, 4)[:dims])
    for kind in (*KINDS.values(), {"basis": "plain"}):
        assert Convolutions(dims=dims, **kind)(4, 6, stride=2).eval()(x).shape == (2, 6, *(3, 3, 2)[:dims])
    make = Convolutions(dims=1, **KINDS["pz"], bottleneck=True)
    assert isinstance(make(4, 4), BottleneckQKANConv1d)


def test_sides_of_the_u_net_of_u_nets_are_of_every_scale():
    stages = (Stage(3, 2, 4), Stage(2, 2, 6, True), Stage(2, 2, 4))
    network = U2KANet(3, 2, stages=stages, sides=True, basis="rbf").eval()
    fused, top, bottom = network(images().float())
    assert fused.shape == top.shape == bottom.shape == (4, 2, 11, 8)
    with torch.no_grad():
        network.output.weight.copy_(torch.tensor([[1, 0, 2, 0], [0, 1, 0, 2.0]]).view(2, 4, 1, 1))
        network.output.bias.zero_()
    assert error(network(images().float())[0], top + 2 * bottom) < 1e-6


def test_a_stage_of_dilated_kernels_keeps_its_size():
    made = []

    def make(inputs, outputs, **keywords):
        made.append((inputs, outputs, keywords.get("dilation", 1)))
        return nn.Conv2d(inputs, outputs, 1)

    ResidualU(make, 3, Stage(4, 2, 5, dilated=True))
    assert made == [(3, 5, 1), (5, 2, 1), (2, 2, 2), (2, 2, 4), (2, 2, 8), (4, 2, 4), (4, 2, 2), (4, 5, 1)]
    made.clear()
    ResidualU(make, 3, Stage(4, 2, 5))
    assert made == [(3, 5, 1), (5, 2, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2), (4, 2, 1), (4, 2, 1), (4, 5, 1)]


REFUSED = {
    "depth must be one of 18, 34, 50, 101, 152, or blocks": lambda: ResKANet(20),
    "block must be one of basic, bottleneck; got 'wide'": lambda: ResKANet((1,), block="wide"),
    "depth must be one of 121, 161, 169, 201, tiny, or layers": lambda: DenseKANet(120),
    "depth must be one of 11, 13, 16, 19, or convolutions": lambda: VGGKAN(12),
    "version must be one of base, v2, v3, v4; got 'v5'": lambda: VGGKAN(11, version="v5"),
    "depth must have at most 5 stages": lambda: VGGKAN((1,) * 6, version="v2"),
    "vgg_type must be 'VGG11', 'VGG11v2' and so on; got 'ResNet'": lambda: published.vggkan(3, 5, vgg_type="ResNet"),
    "blocks must hold at least one number": lambda: UKANet(blocks=()),
    "stages must be one more on the way down than back": lambda: U2KANet(stages=(Stage(2, 2, 4),) * 2),
    "depth of a stage must be at least 2; got 1": lambda: U2KANet(stages=(Stage(1, 2, 4),)),
    "basis or ansatz, not both; got basis='rbf' and ansatz='pz'": lambda: Convolutions("rbf", ansatz="pz"),
    "bottleneck=True narrows edges, of which basis='plain' has": lambda: Convolutions("plain", bottleneck=True),
    "width_scale must be an integer of at least 1": lambda: ResKANet(18, width_scale=0, device="meta"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_errors_say_what_was_expected(message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        REFUSED[message]()


def test_unknown_keywords_are_told():
    with pytest.raises(TypeError, match="unexpected keyword 'degre'; did you mean 'degree'"):
        ResKANet((1,), basis="chebyshev", degre=3)
