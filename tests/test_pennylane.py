"""PennyLane as a solver: the circuits of matrices, on simulators that are exact, noisy or sampled."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
import truth
from helpers import ANSATZE, ENCODINGS, TOLERANCES, error, generator, inputs, perturb, random_layer, reps_for
from hypothesis import given, settings
from hypothesis import strategies as st
from test_random_circuits import circuits, gate
from torch.func import functional_call
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qkan import HQKAN, QKAN, QKANLinear, functional, load, save
from qkan.ansatz import Ansatz
from qkan.layers import QKANOptions
from qkan.noise import Noise
from qkan.solvers import Bloch, PennyLane, choose
from qkan.solvers import pennylane as solver_module
from qkan.solvers.pennylane import executor

qml = pytest.importorskip("pennylane")

NOISES = {
    "depolarizing": Noise(depolarizing=0.1),
    "amplitude damping": Noise(amplitude_damping=0.2),
    "phase damping": Noise(phase_damping=0.3),
    "bit flip": Noise(bit_flip=0.15),
    "readout": Noise(readout_error=0.1),
    "asymmetric readout": Noise(readout_error=(0.05, 0.2)),
    "all": Noise(0.02, 0.1, 0.2, 0.05, (0.01, 0.1)),
    "all at some gates": Noise(0.1, 0.2, bit_flip=1.0, after=("RX", "H")),
}
# Solvers that are exact, and the largest error. PennyLane adds 1e-14 inside the roots of Kraus operators.
EXACT = {
    "default": PennyLane(),
    "default.qubit": PennyLane("default.qubit"),
    "default.mixed": PennyLane("default.mixed"),
    "lightning": PennyLane("lightning.qubit"),
    "small chunks": PennyLane(chunk=4),
}
CLOSE = TOLERANCES[torch.float64].close


def everything(layer, x, cotangent):
    """Edges, and the gradients of Σ cotangent edges by x and every parameter."""
    x = x.clone().requires_grad_()
    wanted = {"x": x, **dict(layer.named_parameters())}
    edges = layer.edges(x)
    found = torch.autograd.grad((edges * cotangent).sum(), list(wanted.values()), materialize_grads=True)
    return {"edges": edges.detach(), **dict(zip(wanted, found, strict=True))}


def twins(solver, *row, widths=(5, 3), other="bloch", **more):
    """The same layer with two solvers."""
    return tuple(random_layer(*row, solver=s, widths=widths, **more) for s in (solver, other))


def compare(layer, other, x, seed=3):
    """Largest error of values and of gradients."""
    cotangent = torch.randn(*x.shape[:-1], *layer.theta.shape[:2], generator=generator(seed), dtype=torch.float64)
    got, want = (everything(each, x, cotangent.to(x)) for each in (layer, other))
    return max(error(got[name], want[name]) for name in want)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_values_and_gradients_are_those_of_matrices(ansatz, encoding):
    layer, x = random_layer(ansatz, encoding, "pennylane"), inputs(ansatz, 2, 2, 5)
    weight, bias = layer.encoding_weight, layer.encoding_bias
    weight = np.array(layer.options.start_weights, float) if weight is None else weight.detach().numpy()
    bias = np.zeros(weight.shape[-1]) if bias is None else bias.detach().numpy()
    parts = layer.theta.detach().numpy(), weight, bias
    z = truth.state(ansatz, reps_for(ansatz), truth.argument(ansatz, x.numpy()), *parts).z
    cotangent = torch.randn(2, 2, 3, 5, generator=generator(3), dtype=torch.float64)
    got = everything(layer, x, cotangent)
    want = truth.gradients(ansatz, reps_for(ansatz), x.numpy(), *parts, cotangent.numpy())
    assert error(got["edges"], torch.from_numpy(z)) < CLOSE
    assert error(layer(x), torch.from_numpy(z.sum(-1))) < CLOSE
    for name, key in {"x": "x", "theta": "theta", "encoding_weight": "weight", "encoding_bias": "bias"}.items():
        if name in got:
            slopes = torch.from_numpy(want[key])
            shared = encoding == "trainable-shared" and name.startswith("encoding")
            assert error(got[name], slopes.sum(0) if shared else slopes) < CLOSE, name


@pytest.mark.parametrize("solver", EXACT)
def test_every_exact_way_gives_the_same(solver):
    layer, other = twins(EXACT[solver], "own", "trainable", widths=(2, 3))
    assert compare(layer, other, inputs("own", 2, 2)) < CLOSE


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_single_precision_is_rounded_once(ansatz):
    layer = random_layer(ansatz, "trainable", "pennylane", dtype=torch.float32)
    double = random_layer(ansatz, "trainable", "bloch")
    double.load_state_dict(layer.state_dict())
    x = inputs(ansatz, 4, 5, dtype=torch.float32)
    cotangent = torch.randn(4, 3, 5, generator=generator(3))
    got, want = everything(layer, x, cotangent), everything(double, x.double(), cotangent.double())
    assert {value.dtype for value in got.values()} == {torch.float32}
    assert layer(x).dtype == torch.float32
    assert max(error(got[name], want[name]) for name in want) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_with_other_solvers(dtype):
    layer, other = twins("pennylane", dtype=dtype)
    x = inputs("pz", 4, 5, dtype=dtype)
    for given_x in (x, x.double()):
        assert layer(given_x).dtype == other(given_x).dtype
        assert error(layer(given_x), other(given_x)) <= torch.finfo(dtype).eps
    assert layer.edges(x.to(dtype)).dtype == torch.float32
    single = random_layer("pz", "unit", "pennylane", dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        y = single(inputs("pz", 4, 5, dtype=torch.float32))
    assert error(y, single(inputs("pz", 4, 5, dtype=torch.float32))) == 0


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_the_amplitude_readout(ansatz):
    layer, other = twins("pennylane", ansatz, readout="amplitude", other="statevector")
    x = inputs(ansatz, 4, 5)
    z = random_layer(ansatz).edges(x)
    away = (1 - z.detach().abs() > TOLERANCES[torch.float64].pole).double()
    got, want = (everything(each, x, away) for each in (layer, other))
    got["edges"], want["edges"] = got["edges"] * away, want["edges"] * away
    assert max(error(got[name], want[name]) for name in want) < 1e-11


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch", [(4,), (2, 3), (1,), (0,)])
def test_angles_and_weights_per_sample(batch, shared):
    def uniform(*shape, seed):
        return (3 * (2 * torch.rand(shape, generator=generator(seed), dtype=torch.float64) - 1)).requires_grad_()

    x, theta = uniform(*batch, 5, seed=0), uniform(*batch, 3, 5, 8, seed=1)
    rows = () if shared else batch
    weight, bias = uniform(*rows, 3, 5, 3, seed=2), uniform(3, 5, 3, seed=3)
    z = [functional.edges(x, theta, weight, bias, solver=s) for s in (PennyLane(chunk=20), "bloch")]
    gradients = [torch.autograd.grad(each.square().sum(), [x, theta, weight, bias]) for each in z]
    assert error(*z) < CLOSE
    assert max(error(a, b) for a, b in zip(*gradients, strict=True)) < CLOSE


def test_gain_of_a_layer_per_sample():
    x, theta = inputs("pz", 4, 5), torch.rand(4, 3, 5, 8, generator=generator(), dtype=torch.float64)
    gain = torch.rand(3, 5, generator=generator(1), dtype=torch.float64)
    one, other = (functional.linear(x, theta, gain=gain, solver=s) for s in ("pennylane", "bloch"))
    assert error(one, other) < CLOSE


@pytest.mark.parametrize("solver", ["pennylane", PennyLane(shots=5), PennyLane("lightning.qubit")])
@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3), (0,), (2, 0)])
def test_any_leading_dimensions_and_empty_batches(batch, solver):
    layer = random_layer("rpz", "trainable", solver, widths=(2, 3))
    y = layer(inputs("rpz", *batch, 2))
    assert y.shape == (*batch, 3)
    y.sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all()
        assert bool(parameter.grad.any()) == (0 not in batch), name


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 14, 15, 16, 40, 10**6])
@pytest.mark.parametrize("device", [None, "default.mixed"])
def test_chunks_that_cut_samples_and_outputs_give_the_same(chunk, device):
    x = inputs("own", 4, 5)
    whole, cut = twins(PennyLane(device), "own", "trainable", other=PennyLane(device, chunk=chunk))
    assert compare(whole, cut, x) < 1e-14


def test_chunks_bound_the_number_of_circuits_at_a_time(monkeypatch):
    sizes = []
    spy(monkeypatch, lambda angles: sizes.append(angles.shape[1]))
    x = inputs("pz", 7, 5)
    for chunk in (1, 4, 5, 12, 15, 31, 1000):
        sizes.clear()
        random_layer(solver=PennyLane(chunk=chunk))(x)
        assert sum(sizes) == 7 * 3 * 5
        assert max(sizes) <= max(chunk, 5)  # never fewer than the inputs of one output


def spy(monkeypatch, see):
    """Call ``see`` with the angles of every execution."""

    def watched(*arguments, **keywords):
        execute = executor(*arguments, **keywords)

        def run(angles):
            see(angles)
            return execute(angles)

        return run

    monkeypatch.setattr(solver_module, "executor", watched)


class Alive(TorchDispatchMode):
    """Watches what operations return, and says how much of it is still there."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [leaf.untyped_storage() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.seen += [(StorageWeakRef(storage), storage.nbytes()) for storage in tensors]
        return out

    def bytes(self):
        return sum({ref.cdata: size for ref, size in self.seen if not ref.expired()}.values())


def kept(solver, batch):
    layer, x = QKANLinear(8, 6, dtype=torch.float64, solver=solver), inputs("pz", batch, 8)
    with Alive() as alive:
        y = layer(x)
    assert y.requires_grad
    return alive.bytes()


def test_the_graph_keeps_inputs_and_no_states():
    edges = 160 * 6 * 8 * 8  # bytes of one number per edge of a batch
    assert kept(PennyLane(chunk=192), 160) < edges
    assert kept("statevector", 160) > 8 * edges  # which keeps one or more per gate
    assert kept(PennyLane(chunk=192, shots=2), 160) < 3 * edges


@pytest.mark.parametrize("seed", range(3))
def test_a_layer_of_the_published_size(seed):
    layer, other = (
        perturb(QKANLinear(32, 28, dtype=torch.float64, solver=s, generator=generator(seed)), seed)
        for s in ("pennylane", "auto")
    )
    assert error(layer.theta, other.theta) == 0
    x = 3 * torch.randn(1000 if seed == 0 else 50, 32, generator=generator(seed), dtype=torch.float64)
    results = []
    for each in (layer, other):
        at = x.clone().requires_grad_()
        y = each(at)
        results.append([y, *torch.autograd.grad(y.square().sum(), [at, each.theta])])
    assert max(error(a, b) for a, b in zip(*results, strict=True)) < 1e-12


@pytest.mark.parametrize("name", ["QKAN", "HQKAN"])
def test_whole_models(name):
    build = {
        "QKAN": lambda solver: QKAN([3, 4, 2], dtype=torch.float64, solver=solver, scale=True, base_activation="silu"),
        "HQKAN": lambda solver: HQKAN(3, 2, latent=(4, 3), dtype=torch.float64, solver=solver, ansatz="mix"),
    }[name]
    net, other, x = perturb(build("pennylane")), build("auto"), inputs("pz", 5, 3)
    other.load_state_dict(net.state_dict())
    results = [[y := each(x), *torch.autograd.grad(y.square().sum(), list(each.parameters()))] for each in (net, other)]
    assert max(error(a, b) for a, b in zip(*results, strict=True)) < CLOSE


def test_functional_calls_differentiate_what_they_are_given():
    net, x = random_layer(solver="pennylane"), inputs("pz", 4, 5)
    given_theta = random_layer(solver="pennylane", seed=7).theta.detach().requires_grad_()
    functional_call(net, {"theta": given_theta}, (x,)).square().sum().backward()
    other = random_layer(seed=7)
    other(x).square().sum().backward()
    assert error(given_theta.grad, other.theta.grad) < CLOSE
    assert net.theta.grad is None


def test_without_gradients_nothing_is_recorded():
    layer, x = random_layer(solver="pennylane"), inputs("pz", 4, 5)
    with torch.no_grad():
        assert not layer(x).requires_grad
    with torch.inference_mode():
        assert error(layer(x), random_layer()(x)) < CLOSE


# --- noise


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("ansatz", "encoding"), [("pz", "unit"), ("own", "trainable"), ("px", "signs")])
def test_noise_is_that_of_bloch_vectors(ansatz, encoding, noise):
    layer, other = twins("pennylane", ansatz, encoding, noise=NOISES[noise])
    assert compare(layer, other, inputs(ansatz, 4, 5)) < 2e-12


EXTREMES = {
    # Largest error: where a strength of 1 leaves PennyLane's epsilon of 1e-14 alone under a root, 1e-7.
    "coin": (Noise(readout_error=0.5), 1e-12),
    "wrong for one": (Noise(readout_error=(0.5, 0.0)), 1e-12),
    "depolarized": (Noise(depolarizing=0.75, after="encoding"), 1e-12),
    "flipped": (Noise(bit_flip=1.0), 1e-12),
    "reset": (Noise(amplitude_damping=1.0, after="encoding"), 1e-6),
    "dephased": (Noise(phase_damping=1.0, after="encoding"), 1e-6),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_noise_at_the_ends_of_its_range(name):
    noise, close = EXTREMES[name]
    cotangent = torch.randn(4, 3, 5, generator=generator(3), dtype=torch.float64)
    got, want = (everything(each, inputs("own", 4, 5), cotangent) for each in twins("pennylane", "own", noise=noise))
    assert max((got[key] - want[key]).abs().max() for key in want) < close


def test_noise_chooses_its_device_and_the_named_one_is_the_same():
    x, noise = inputs("pz", 4, 5), NOISES["all"]
    found = [random_layer(solver=PennyLane(d), noise=noise)(x) for d in (None, "default.mixed")]
    assert torch.equal(*found)
    assert error(found[0], random_layer()(x)) > 0.01


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit", "reference.qubit"])
def test_devices_of_pure_states_refuse_noise(device):
    with pytest.raises(ValueError, match=rf"device='{device}' holds pure states .* use device='default\.mixed'"):
        QKANLinear(2, 3, solver=PennyLane(device), noise=Noise(0.1))
    with pytest.raises(ValueError, match="holds pure states"):
        QKANLinear(2, 3, solver=PennyLane(device), ansatz=ANSATZE["pz"].with_noise(Noise(0.1)))
    QKANLinear(2, 3, solver=PennyLane(device), noise=Noise())


# --- the description


def test_building_needs_no_pennylane_and_running_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pennylane", None)
    layer = QKANLinear(2, 3, solver="pennylane")
    with pytest.raises(ImportError, match=r'solver="pennylane" needs PennyLane: pip install "qkan-torch\[pennylane\]"'):
        layer(torch.zeros(4, 2))


@pytest.mark.parametrize("device", ["no.such", "lightning.qbit"])
def test_an_unknown_device_is_named_by_pennylane(device):
    layer = QKANLinear(2, 3, solver=PennyLane(device))
    with pytest.raises(ValueError, match=rf"device='{device}' cannot be opened .*{device} does not exist"):
        layer(torch.zeros(4, 2))


def test_keywords_reach_the_device():
    layer = QKANLinear(2, 3, solver=PennyLane(keywords={"sed": 0}))
    with pytest.raises(TypeError, match="sed"):
        layer(torch.zeros(4, 2))


COPIES = {
    "default": {"solver": "pennylane"},
    "device": {"solver": PennyLane("lightning.qubit", chunk=10)},
    "seed": {"solver": PennyLane("default.qubit", {"seed": 3}, shots=7)},
    "shots of the layer": {"solver": PennyLane(keywords={"seed": 3}), "shots": 7},
    "noise": {"solver": PennyLane("default.mixed", {"seed": 3}, shots=4), "noise": NOISES["all"]},
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_pickles_state_dicts_and_files(name, tmp_path):
    pytest.importorskip("safetensors")
    net, x = perturb(QKAN([2, 3, 1], dtype=torch.float64, **COPIES[name])), inputs("pz", 2, 2)
    want = net(x)
    save(net, tmp_path / "net.safetensors")
    clones = copy.deepcopy(net), pickle.loads(pickle.dumps(net)), load(tmp_path / "net.safetensors")
    for clone in clones:
        assert clone.options == net.options
        assert clone.layers[0].solver == net.layers[0].solver
        assert hash(clone.options) == hash(net.options)
        assert repr(clone) == repr(net)
        assert torch.equal(clone(x), want)
    other = QKAN([2, 3, 1], dtype=torch.float64, **COPIES[name])
    other.load_state_dict(net.state_dict(), assign=True)
    assert torch.equal(other(x), want)
    plain = QKAN([2, 3, 1], dtype=torch.float64)
    plain.load_state_dict(net.state_dict())


def test_representations_name_the_solver_and_options_compare():
    assert "solver=pennylane" in repr(QKANLinear(2, 3, solver="pennylane"))
    assert "solver=pennylane" in repr(QKANLinear(2, 3, solver=PennyLane("lightning.qubit")))
    assert choose("pennylane", ANSATZE["pz"], 3, (1, 1, 1)) == PennyLane()
    one, same, other = (QKANOptions(solver=PennyLane("default.qubit", {"seed": s})) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert len({one, same}) == 1
    assert PennyLane("a", {"b": 1}, 2, 3) == choose(PennyLane("a", {"b": 1}, 2, 3).to_json(), ANSATZE["pz"], 1, (1,))


def test_the_keywords_are_a_copy_of_those_given():
    given_keywords = {"seed": 0}
    solver = PennyLane(keywords=given_keywords)
    given_keywords["seed"] = 1
    assert solver.keywords == {"seed": 0}


ERRORS = {
    "shots": (lambda: PennyLane(shots=0), ValueError, r"shots must be an integer of at least 1; got 0"),
    "shots float": (lambda: PennyLane(shots=1.5), TypeError, r"shots must be an integer; got 1\.5"),
    "chunk": (lambda: PennyLane(chunk=0), ValueError, r"chunk must be an integer of at least 1; got 0"),
    "wires": (lambda: PennyLane(keywords={"wires": 2}), ValueError, r"keywords must not hold 'wires'"),
    "shots of the device": (lambda: PennyLane(keywords={"shots": 2}), ValueError, r"not hold 'shots'.*give shots="),
    "keywords": (lambda: PennyLane(keywords="ab"), TypeError, r"keywords must be a mapping .*; got 'ab'"),
    "device": (lambda: PennyLane(5), TypeError, r"device must be the name of a PennyLane device, or None; got 5"),
    "chunk float": (lambda: PennyLane(chunk=2.0), TypeError, r"chunk must be an integer; got 2\.0"),
    "keyword": (lambda: PennyLane(wires=3), TypeError, r"unexpected keyword argument 'wires'"),
    "name": (
        lambda: QKANLinear(2, 3, solver={"name": "qiskit"}),
        ValueError,
        r"a solver with arguments must have the name 'pennylane'; got \{'name': 'qiskit'\}",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_mistakes(name):
    call, exception, match = ERRORS[name]
    with pytest.raises(exception, match=match):
        call()


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(circuits(), st.sampled_from([None, *NOISES.values()]))
def test_any_circuit_a_user_may_build(circuit, noise):
    prepare, block, final, reps, weights, biased = circuit
    ansatz = Ansatz("any", *(tuple(map(gate, part)) for part in (prepare, block, final)), noise=noise)
    rng = np.random.default_rng(0)
    x, theta, bias = (
        torch.from_numpy(rng.uniform(-3, 3, shape))
        for shape in ((4, 2), (3, 2, ansatz.angles(reps)), (3, 2, len(weights)))
    )
    bias = bias if biased else None
    z, by_bloch = (solver.edges(ansatz, x, theta, weights, bias) for solver in (PennyLane(chunk=9), Bloch()))
    np.testing.assert_allclose(z, by_bloch, rtol=0, atol=5e-12, err_msg=str(ansatz))
    if noise is None:
        offset = np.zeros((3, 2, len(weights))) if bias is None else bias.numpy()
        want = truth.run(prepare + block * reps + final, x.numpy(), theta.numpy(), np.array(weights, float), offset).z
        np.testing.assert_allclose(z, want, rtol=0, atol=1e-12, err_msg=str(ansatz))
