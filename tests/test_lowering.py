"""`lower`: the same function from a classical network, or a refusal with its reason."""

import copy
import pickle

import pytest
import torch
from helpers import ANSATZE, MODULES, domain, error, inputs, layers_of, masked, module, perturb, random_layer
from torch import nn
from torch.func import functional_call, jacrev

from qkan import QKAN, QKANLinear, lower
from qkan.lowering import lowered_layer
from qkan.solvers.fourier import coefficients

REFUSED = [name for name in MODULES if name.startswith("amplitude") or "-trainable-" in name.replace("-shared", "_")]
LOWERED = [name for name in MODULES if name not in REFUSED]
FIXED = ["unit", "ternary", "signs", "trainable-shared"]


class Twice(nn.Module):
    """One layer in two places, one nested deep, and parts that are not ours."""

    def __init__(self):
        super().__init__()
        self.inner = random_layer(widths=(3, 3), scale=True)
        self.blocks = nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 3, dtype=torch.float64), self.inner)})
        self.more = nn.ModuleList([perturb(QKAN([3, 2, 3], dtype=torch.float64, ansatz="mix"))])
        self.register_buffer("shift", torch.ones(3, dtype=torch.float64))

    def forward(self, x):
        return self.more[0](self.blocks["a"](self.inner(x))) + self.shift


def test_the_rows_are_split_as_the_options_say():
    for name in MODULES:
        options = layers_of(module(name))[0].options
        assert (name in REFUSED) == (options.encoding == "trainable" or options.readout == "amplitude"), name


@pytest.mark.parametrize("name", LOWERED)
def test_values_are_those_of_the_model(name):
    net, x = masked(module(name)), domain(name, 2, 5, 3)
    lowered = lower(net)
    assert not layers_of(lowered)
    assert error(lowered(x), net(x)) < 1e-12
    assert lowered(x).dtype == torch.float64


@pytest.mark.parametrize("name", LOWERED)
def test_later_changes_of_the_model_are_not_followed(name):
    net, x = module(name), domain(name, 5, 3)
    lowered = lower(net)
    before = lowered(x)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.zero_()
    assert torch.equal(lowered(x), before)


@pytest.mark.parametrize("encoding", FIXED)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_ansatz_and_encoding(ansatz, encoding):
    layer = random_layer(ansatz, encoding, "statevector", scale=True, bias=True, base_activation="silu")
    x = inputs(ansatz, 6, 5)
    assert error(lower(layer)(x), layer(x)) < 1e-12


@pytest.mark.parametrize("name", LOWERED)
def test_jacobians_are_those_of_the_model(name):
    net, x = module(name), domain(name, 3)
    assert error(jacrev(lower(net))(x), jacrev(net)(x)) < 1e-11


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_lowering_is_refused(name):
    reason = "readout='amplitude'" if name.startswith("amplitude") else "encoding='trainable'"
    with pytest.raises(ValueError, match=reason):
        lower(module(name))


def test_a_refusal_names_the_layer_in_its_model():
    net = nn.Sequential(nn.Linear(3, 3), QKAN([3, 2]), QKAN([2, 4, 2], encoding="trainable"))
    with pytest.raises(ValueError, match=r"layer 2\.layers\.0 has no exact lowering: .*encoding='trainable'"):
        lower(net)
    assert len(layers_of(net)) == 3


def test_the_model_itself_is_not_changed():
    net, x = Twice(), inputs("pz", 4, 3)
    state, before = {key: tensor.clone() for key, tensor in net.state_dict().items()}, net(x)
    lowered = lower(net)
    assert len(layers_of(net)) == 3
    assert torch.equal(net(x), before)
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert error(lowered(x), before) < 1e-12


def test_nested_modules_are_found_and_shared_ones_stay_shared():
    net, x = Twice(), inputs("pz", 4, 3)
    lowered = lower(net)
    assert error(lowered(x), net(x)) < 1e-12
    assert lowered.inner is lowered.blocks["a"][1]
    assert type(lowered.blocks["a"][0]) is nn.Linear
    assert not layers_of(lowered)


def test_a_model_without_layers_of_ours_is_copied():
    net = nn.Linear(3, 2)
    lowered = lower(net)
    assert lowered is not net
    assert torch.equal(lowered.weight, net.weight)


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_is_kept(mode):
    net = QKAN([3, 2], base_activation=nn.RReLU).train(mode)
    assert {part.training for part in lower(net).modules()} == {mode}


def test_quantum_parameters_get_no_gradient_and_others_do():
    net = lower(Twice())
    net(inputs("pz", 4, 3)).sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is not None] == [
        "blocks.a.0.weight",
        "blocks.a.0.bias",
    ]


@pytest.mark.parametrize("batch", [(), (1,), (2, 5), (0,), (2, 0)])
@pytest.mark.parametrize("name", ["HQKAN", "QKAN-own", "expectation-bloch-all", "pz-trainable-shared-auto"])
def test_any_leading_dimensions(name, batch):
    net, x = module(name), domain(name, *batch, 3)
    y = lower(net)(x)
    assert y.shape == (*batch, 2)
    assert error(y, net(x)) < 1e-12


@pytest.mark.parametrize("name", LOWERED)
def test_single_precision_is_rounded_once(name):
    net = module(name, dtype=torch.float32)
    lowered, x = lower(net), domain(name, 20, 3, dtype=torch.float32)
    assert lowered(x).dtype == torch.float32
    assert {tensor.dtype for tensor in lowered.state_dict().values()} == {torch.float32}
    assert error(lowered(x), net.double()(x.double())) < 2e-5


@pytest.mark.parametrize("name", LOWERED)
def test_copies_pickles_and_state_dicts(name):
    net, x = lower(module(name)), domain(name, 5, 3)
    for clone in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(clone(x), net(x))
    other = lower(module(name, seed=9))
    other.load_state_dict(net.state_dict(), assign=True)
    assert torch.equal(other(x), net(x))
    assert torch.equal(functional_call(lower(module(name, seed=9)), net.state_dict(), (x,)), net(x))


@pytest.mark.parametrize("name", ["HQKAN", "expectation-bloch-all"])
def test_devices_and_autocast(name):
    net, x = lower(module(name, dtype=torch.float32)), domain(name, 9, 3, dtype=torch.float32)
    want = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    assert 0 < error(y, want) < 0.08  # as in test_devices
    assert net.to("meta")(x.to("meta")).shape == (9, 2)
    assert lower(MODULES[name](device="meta"))(x.to("meta")).shape == (9, 2)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if "HQKAN" in n else pytest.mark.slow) for n in LOWERED])
def test_export(name):
    net, x = lower(module(name)).eval(), domain(name, 5, 3)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
    more = domain(name, 11, 3, seed=4)
    assert error(program.module()(more), net(more)) < 1e-12


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if "HQKAN" in n else pytest.mark.slow) for n in LOWERED])
def test_whole_graphs_compile(name):
    torch._dynamo.reset()
    net, x = lower(module(name)), domain(name, 5, 3)
    assert error(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x)) < 1e-12


@pytest.mark.parametrize("name", [n for n in LOWERED if "QKAN" not in n])
def test_what_edges_add_is_that_of_the_layer_and_sums_to_the_output(name):
    net, x = module(name), domain(name, 2, 4, 3)
    lowered = lower(net)
    total = net.contributions(x)
    assert total.shape == (2, 4, 2, 3)
    assert error(lowered.contributions(x), total) < 1e-12
    bias = 0 if net.bias is None else net.bias
    assert error(total.sum(-1) + bias, net(x)) < 1e-12


@pytest.mark.parametrize("ansatz", ["pz", "px", "two"])
def test_a_series_of_its_own_lowers_weights_per_edge_too(ansatz):
    layer, x = random_layer(ansatz, "trainable", scale=True, bias=True, base_activation="silu"), inputs(ansatz, 4, 5)
    with torch.no_grad():
        # The 3^R coefficients do not depend on the weights, which the features hold.
        shared = layer.encoding_weight[0]
        series = coefficients(ANSATZE[ansatz], layer.theta, shared)
    lowered = lowered_layer(layer, series)
    assert error(lowered(x), layer(x)) < 1e-12
    assert error(lowered.contributions(x), layer.contributions(x)) < 1e-12


@pytest.mark.parametrize("encoding", ["unit", "trainable-shared"])
def test_inputs_of_another_width_are_refused(encoding):
    net = lower(QKANLinear(3, 2, encoding=encoding))
    with pytest.raises(ValueError, match=r"x must be \[\*batch, 3\], with in_features as its last size; got \(5, 1\)"):
        net(torch.zeros(5, 1))
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        net(torch.zeros(5, 3, dtype=torch.int64))


def test_a_layer_may_be_replaced_by_any_module():
    net = QKAN([3, 2, 2])
    net.layers[1] = nn.Linear(2, 2)
    assert net(torch.zeros(4, 3)).shape == (4, 2)
