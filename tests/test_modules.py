"""What torch does with modules: functional calls, vmap, Jacobians, copies, state dicts, compilation."""

import copy
import io
import pickle
import shutil

import pytest
import torch
from helpers import MODULES, SOLVERS, domain, error, module, random_layer
from torch.func import functional_call, jacfwd, jacrev, stack_module_state, vmap

from qkan import QKANLinear

# Rows that the short run compiles; every row in the slow one.
SHORT = ("pz-unit-fourier", "px-clamp-unit-bloch", "pz-trainable-auto", "amplitude-statevector-all", "HQKAN")
COMPILED = [pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in MODULES]
INDUCTOR = ("pz-unit-fourier", "rpz-trainable-auto", "HQKAN")


def state_of(net):
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("name", MODULES)
def test_functional_call_uses_the_parameters_it_is_given(name):
    net, other, x = module(name), module(name, seed=9), domain(name, 5, 3)
    before = net(x)
    want = other(x)
    assert (before - want).abs().max() > 1e-3
    assert error(functional_call(net, dict(other.named_parameters()), (x,)), want) == 0
    assert torch.equal(net(x), before)


@pytest.mark.parametrize("name", MODULES)
def test_functional_call_differentiates_what_it_is_given(name):
    net, x = module(name), domain(name, 5, 3)
    given = {key: parameter.detach().clone().requires_grad_() for key, parameter in net.named_parameters()}
    functional_call(net, given, (x,)).square().sum().backward()
    net(x).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert torch.equal(given[key].grad, parameter.grad), key


@pytest.mark.parametrize("name", MODULES)
def test_vmap_over_stacked_parameters_is_a_loop(name):
    nets = [module(name, seed=seed) for seed in range(3)]
    x = domain(name, 5, 3)
    parameters, buffers = stack_module_state(nets)
    stacked = vmap(lambda p, b: functional_call(nets[0], (p, b), (x,)))(parameters, buffers)
    assert error(stacked, torch.stack([net(x) for net in nets])) < 1e-13


@pytest.mark.parametrize("name", MODULES)
def test_vmap_over_samples_is_a_batch(name):
    net, x = module(name), domain(name, 5, 3)
    assert error(vmap(net)(x), net(x)) < 1e-13


def jacobian(net, x):
    x = x.clone().requires_grad_()
    return torch.stack([torch.autograd.grad(y, x, retain_graph=True)[0] for y in net(x)])


@pytest.mark.parametrize("name", MODULES)
def test_jacobians_are_rows_of_gradients(name):
    net, x = module(name), domain(name, 3)
    assert error(jacrev(net)(x), jacobian(net, x)) < 1e-12


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")  # torch's own, from jacfwd
@pytest.mark.parametrize("name", MODULES)
def test_forward_mode_is_right(name):
    net, x = module(name), domain(name, 3)
    assert error(jacfwd(net)(x), jacobian(net, x)) < 1e-12
    given = {key: parameter.detach() for key, parameter in net.named_parameters()}
    found, want = (way(lambda p: functional_call(net, p, (x,)))(given) for way in (jacfwd, jacrev))
    assert all(error(found[key], want[key]) < 1e-12 for key in given)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("name", MODULES)
def test_hessians_agree(name):
    net, x = module(name), domain(name, 3)
    want = torch.autograd.functional.hessian(lambda x: net(x).sum(), x)
    for way in (jacfwd(jacrev(lambda x: net(x).sum())), jacrev(jacrev(lambda x: net(x).sum()))):
        assert error(way(x), want) < 1e-11


@pytest.mark.parametrize("name", MODULES)
def test_jacobians_by_parameters(name):
    net, x = module(name), domain(name, 3)
    given = {key: parameter.detach() for key, parameter in net.named_parameters()}
    found = jacrev(lambda p: functional_call(net, p, (x,)))(given)
    for row, y in enumerate(net(x)):
        for (key, _), want in zip(
            net.named_parameters(), torch.autograd.grad(y, list(net.parameters()), retain_graph=True), strict=True
        ):
            assert error(found[key][row], want) < 1e-12, key


def by_torch_save(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), by_torch_save])
@pytest.mark.parametrize("name", MODULES)
def test_copies_compute_the_same_and_are_independent(name, duplicate):
    net, x = module(name), domain(name, 5, 3)
    before, clone = net(x), duplicate(net)
    assert torch.equal(clone(x), before)
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter += 0.3
    assert torch.equal(net(x), before)
    assert (clone(x) - before).abs().max() > 1e-3


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_state_dicts_go_round(name, assign):
    net, other, x = module(name), module(name, seed=9), domain(name, 5, 3)
    with torch.no_grad():
        for key, buffer in other.named_buffers():
            buffer.fill_(0.5 if key.endswith("mask") else 1)
    net(x)
    state = state_of(other)
    net.load_state_dict(state, assign=assign)
    assert torch.equal(net(x), other(x))
    if assign:
        assert all(tensor.data_ptr() == state[key].data_ptr() for key, tensor in net.state_dict().items())
    net(x).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_cached_from_parameters(name):
    net, other, x = module(name).eval(), module(name, seed=9).eval(), domain(name, 5, 3)
    net(x)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), other.parameters(), strict=True):
            parameter.copy_(value)
    assert torch.equal(net(x), other(x))
    assert torch.equal(net.train()(x), net.eval()(x))


def test_state_dicts_hold_what_the_design_names():
    layer = QKANLinear(3, 2, encoding="trainable", scale=True, bias=True, base_activation="silu")
    shapes = {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}
    assert shapes == {
        "theta": (2, 3, 8),
        "encoding_weight": (2, 3, 3),
        "encoding_bias": (2, 3, 3),
        "scale": (2, 3),
        "base_weight": (2, 3),
        "bias": (2,),
        "mask": (2, 3),
    }
    assert set(dict(QKANLinear(3, 2).named_parameters())) == {"theta"}


@pytest.mark.parametrize("solver", SOLVERS)
def test_state_dicts_do_not_depend_on_the_solver(solver):
    layer = random_layer(solver=solver, scale=True)
    assert set(layer.state_dict()) == {"theta", "scale", "mask"}


@pytest.mark.parametrize("name", MODULES)
def test_representations_name_the_solver(name):
    shown = repr(module(name))
    assert "solver=" in shown
    assert "reps=" in shown
    assert "\n\n" not in shown


def compiled_matches(name, backend):
    torch._dynamo.reset()
    net, x = module(name), domain(name, 5, 3).requires_grad_()
    results = []
    for call in (net, torch.compile(net, fullgraph=True, backend=backend)):
        y = call(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), [x, *net.parameters()])])
    errors = [error(got, want) for want, got in zip(*results, strict=True)]
    assert max(errors) < 1e-12, errors
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1
    return net, x


@pytest.mark.parametrize("name", COMPILED)
def test_whole_graphs_compile(name):
    net, x = compiled_matches(name, "aot_eager")
    again = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert error(again(x), net(x)) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", INDUCTOR)
def test_the_real_compiler_agrees(name):
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler: torch.compile cannot build for the CPU here")
    compiled_matches(name, "inductor")
