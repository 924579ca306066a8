"""PennyLane's other devices and its shots: parameter shifts, and the statistics of what is measured."""

import pytest
import torch
import truth
from helpers import ANSATZE, error, generator, inputs, random_layer, reps_for
from test_pennylane import CLOSE, NOISES, compare, spy, twins

from qkan import functional
from qkan.solvers import PennyLane
from qkan.solvers.pennylane import executor

qml = pytest.importorskip("pennylane")


def rotations_of(ansatz):
    return sum(word[0] in "re" for word in truth.words(ansatz, reps_for(ansatz)))


@pytest.mark.parametrize("encoding", ["unit", "trainable"])
@pytest.mark.parametrize("ansatz", ["pz", "px", "real"])
def test_lightning_by_parameter_shifts(ansatz, encoding):
    layer, other = twins(PennyLane("lightning.qubit"), ansatz, encoding, widths=(2, 1))
    assert compare(layer, other, inputs(ansatz, 2, 2)) < CLOSE


@pytest.mark.parametrize("solver", [PennyLane("default.qubit", shots=3), PennyLane("lightning.qubit")])
def test_a_gradient_takes_one_execution_and_two_per_rotation(solver, monkeypatch):
    runs = []
    spy(monkeypatch, runs.append)
    layer = random_layer("own", "unit", solver, widths=(2, 1))
    with torch.no_grad():
        layer(inputs("own", 2, 2))
    assert len(runs) == 1
    y = layer(inputs("own", 2, 2))
    assert len(runs) == 2
    y.sum().backward()
    assert len(runs) == 2 + 2 * rotations_of("own")


@pytest.mark.parametrize("solver", [PennyLane(shots=3), PennyLane("lightning.qubit")])
@pytest.mark.parametrize("ansatz", ["pz", "px"])
def test_second_derivatives_by_shifts_are_refused_rather_than_wrong(ansatz, solver):
    layer, x = random_layer(ansatz, "trainable", solver, widths=(2, 1)), inputs(ansatz, 2, 2).requires_grad_()
    gradients = torch.autograd.grad(layer(x).sum(), [x, layer.theta], create_graph=True)
    for gradient in gradients:
        with pytest.raises(RuntimeError, match=r"no second derivatives by parameter shifts.*or solver='bloch'"):
            torch.autograd.grad(gradient.sum(), layer.theta, retain_graph=True)


def test_second_derivatives_of_exact_simulation_are_right():
    layer, x = random_layer("px", "trainable", "pennylane", widths=(2, 1)), inputs("px", 2, 2).requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert torch.autograd.gradgradcheck(layer, (x,), fast_mode=True)
    results = []
    for solver in ("pennylane", "bloch"):
        layer = random_layer("px", "trainable", solver, widths=(2, 1))
        (first,) = torch.autograd.grad(layer(x).sum(), layer.theta, create_graph=True)
        results.append(torch.autograd.grad(first.pow(2).sum(), [x, *layer.parameters()]))
    assert max(error(a, b) for a, b in zip(*results, strict=True)) < CLOSE


SAMPLED = {
    "default.qubit": (PennyLane(keywords={"seed": 1}, shots=25), None),
    "default.mixed": (PennyLane(keywords={"seed": 2}, shots=25), NOISES["all"]),
    "lightning.qubit": (PennyLane("lightning.qubit", {"seed": 3}, shots=25), None),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_mean_and_variance_of_measurements(name):
    solver, noise = SAMPLED[name]
    rows = 200 if name == "lightning.qubit" else 3000
    x = inputs("own", 1, 2).expand(rows, 2)
    found = random_layer("own", solver=solver, widths=(2, 1), noise=noise).edges(x).detach()
    z = random_layer("own", widths=(2, 1), noise=noise).edges(x[:1]).detach()
    variance = (1 - z**2) / 25
    steps = (found + 1) / 2 * 25
    assert (steps - steps.round()).abs().max() < 1e-12
    assert ((found.mean(0) - z).abs() / (variance / rows).sqrt()).max() < 5
    squares = (found - z) ** 2
    assert ((squares.mean(0) - variance).abs() / (squares.var(0) / rows).sqrt()).max() < 5


def test_gradients_measured_by_shifts_have_the_mean_and_variance_of_measurements():
    rows, shots = 400, 30
    theta = random_layer(widths=(1, 1)).theta.detach()
    x = inputs("pz", 1, 1).expand(rows, 1)

    def slopes(solver):
        each = theta.expand(rows, 1, 1, 8).clone().requires_grad_()
        z = functional.edges(x, each, solver=solver)
        return torch.autograd.grad(z.sum(), each)[0][:, 0, 0]

    def moved(sign):
        angles = theta + sign * torch.pi / 2 * torch.eye(8, dtype=torch.float64)[:, None, None]
        return functional.edges(x[:8], angles)[:, 0, 0]

    found, exact = slopes(PennyLane(keywords={"seed": 5}, shots=shots)), slopes("bloch")[0]
    variance = ((1 - moved(1) ** 2) + (1 - moved(-1) ** 2)) / 4 / shots
    assert error((moved(1) - moved(-1)) / 2, exact) < 1e-12
    assert ((found.mean(0) - exact).abs() / (variance / rows).sqrt()).max() < 5
    squares = (found - exact) ** 2
    assert ((squares.mean(0) - variance).abs() / (squares.var(0) / rows).sqrt()).max() < 5


def test_a_seed_makes_every_call_draw_the_same_and_its_runs_differ():
    layer, x = random_layer(solver=PennyLane(keywords={"seed": 4}, shots=9)), inputs("pz", 4, 5)
    gradients = []
    for _ in range(2):
        layer.zero_grad()
        layer(x).sum().backward()
        gradients.append(layer.theta.grad.clone())
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(*gradients)
    other = random_layer(solver=PennyLane(keywords={"seed": 5}, shots=9))
    assert not torch.equal(layer(x), other(x))
    # Rows that are alike are measured one by one.
    rows = layer.edges(x[:1].expand(6, 5))
    assert all(not torch.equal(rows[0], row) for row in rows[1:])
    # So are chunks, and the two shifts of a rotation.
    layer = random_layer(solver=PennyLane(keywords={"seed": 4}, shots=9, chunk=15))
    rows = layer.edges(x[:1].expand(6, 5))
    assert all(not torch.equal(rows[0], row) for row in rows[1:])


def test_shots_of_the_layer_are_those_of_the_device():
    x = inputs("pz", 4, 5)
    one = random_layer(solver=PennyLane(keywords={"seed": 4}, shots=9))
    other = random_layer(solver=PennyLane(keywords={"seed": 4}), shots=9)
    assert torch.equal(one(x), other(x))
    steps = (other.edges(x) + 1) / 2 * 9
    assert (steps - steps.round()).abs().max() < 1e-12
    assert "shots=9" in repr(other)


def test_a_generator_does_not_reach_the_device():
    layer, x, source = random_layer(solver="pennylane", shots=9), inputs("pz", 4, 5), generator()
    state = source.get_state()
    layer(x, source)
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize("wires", [1, 2, 3])
def test_copies_of_a_circuit_on_several_wires(wires):
    circuit = ANSATZE["own"].circuit(2)
    angles = 3 * torch.rand(9, 4, 3, generator=generator(), dtype=torch.float64)
    angles = angles[: sum(op.source in ("trainable", "encoding") for op in circuit)]
    names = ["a", 7, "c"][:wires]
    together = executor(circuit, qml.device("default.qubit", wires=names))(angles[..., :wires])
    apart = [executor(circuit, qml.device("default.qubit", wires=1))(angles[..., [w]]) for w in range(wires)]
    assert error(together, torch.cat(apart, -1)) < 1e-14


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Qiskit, about itself
def test_the_simulator_of_qiskit():
    pytest.importorskip("pennylane_qiskit")
    exact = PennyLane("qiskit.aer", {"method": "statevector"})
    layer, other = twins(exact, "pz", widths=(1, 1))
    assert compare(layer, other, inputs("pz", 1, 1)) < CLOSE
    sampled = PennyLane("qiskit.aer", {"seed_simulator": 3}, shots=2000)
    layer, other = twins(sampled, "mix", widths=(2, 1))
    z = other.edges(inputs("mix", 3, 2))
    deviation = ((1 - z**2) / 2000).sqrt()
    assert ((layer.edges(inputs("mix", 3, 2)) - z).abs() < 5 * deviation).all()
