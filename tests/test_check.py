"""`qkan check` and what is behind it: it passes what is equal, and names layer and edge of what is not."""

import copy
import json
from pathlib import Path

import pytest
import torch
from helpers import ANSATZE, ENCODINGS, error, module, options_for, perturb, random_layer
from torch import nn

from qkan import HQKAN, QKAN, Ansatz, QKANLinear, fit, lower, save
from qkan.ansatz import RY, RZ, H
from qkan.cli import main
from qkan.crosscheck import compare, cross_check, inputs
from qkan.golden import derivatives, golden_model, read_golden
from qkan.noise import Noise
from qkan.solvers import PennyLane

pytest.importorskip("safetensors")
GOLDEN = Path(__file__).parent.parent / "circuits" / "golden"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    return perturb(HQKAN(4, 3, latent=(3, 4, 2), scale=True))


@pytest.fixture
def saved(model, tmp_path):
    save(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def move(layer, out, edge_in, angle, by=1e-3):
    with torch.no_grad():
        layer.theta[out, edge_in, angle] += by


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_every_circuit_passes_in_both_dtypes(ansatz, encoding):
    pytest.importorskip("pennylane")
    layer = random_layer(ansatz, encoding, dtype=torch.float32)
    rows = list(cross_check(layer, samples=7, generator=generator()))
    solvers = {"statevector", "bloch", "fourier"} - ({"fourier"} if encoding == "trainable" else set())
    assert {(row.solver, row.dtype) for row in rows} == {(s, d) for s in solvers for d in ("float64", "float32")}
    assert all(row.passed for row in rows), rows
    assert all(row.value.size < 1e-13 for row in rows if row.dtype == "float64")
    assert any(row.value.size > 1e-9 for row in rows if row.dtype == "float32")
    assert layer.theta.dtype == torch.float32


def test_noisy_layers_are_checked_by_the_solvers_that_take_noise():
    pytest.importorskip("pennylane")
    layer = QKANLinear(3, 2, noise=Noise(amplitude_damping=0.1, readout_error=0.02), dtype=torch.float64)
    rows = list(cross_check(perturb(layer), samples=5, generator=generator()))
    assert [row.solver for row in rows] == ["bloch", "fourier"]
    assert all(row.passed for row in rows), rows


def test_a_wrong_solver_is_named_with_its_edge(monkeypatch):
    pytest.importorskip("pennylane")
    from qkan.solvers import Bloch

    right = Bloch.edges

    def wrong(*arguments, **keywords):
        z = right(*arguments, **keywords)
        return z + torch.eye(2, 3, dtype=z.dtype)[[1, 0]] * 1e-10  # edges (0, 1) and (1, 0)

    monkeypatch.setattr(Bloch, "edges", wrong)
    layer = perturb(QKANLinear(3, 2, dtype=torch.float64))
    rows = {row.solver: row for row in cross_check(layer, samples=5, generator=generator())}
    assert rows["fourier"].passed
    assert not rows["bloch"].passed
    assert rows["bloch"].value.edge in [(0, 1), (1, 0)]
    assert rows["bloch"].value.size == pytest.approx(1e-10, rel=1e-3)


@pytest.mark.parametrize("key", ["theta", "encoding_weight"])
def test_a_gradient_that_is_no_number_fails(key, monkeypatch):
    pytest.importorskip("pennylane")
    from qkan.solvers import Bloch

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tensor):
            return tensor.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.nan

    right = Bloch.edges

    def wrong(self, ansatz, x, theta, weight, bias=None, *more):
        theta, weight = (
            Broken.apply(t) if name == key else t for name, t in (("theta", theta), ("encoding_weight", weight))
        )
        return right(self, ansatz, x, theta, weight, bias, *more)

    monkeypatch.setattr(Bloch, "edges", wrong)
    layer = perturb(QKANLinear(3, 2, encoding="trainable", dtype=torch.float64))
    rows = {row.solver: row for row in cross_check(layer, samples=5, generator=generator())}
    assert rows["statevector"].passed
    assert not rows["bloch"].passed
    assert rows["bloch"].gradient.layer == key


INVISIBLE = {
    "no angles": Ansatz("noangles", (), (RY("encoding"),), ()),
    "no input": Ansatz("last", (H,), (RY(), RZ("encoding")), ()),
    "nothing": Ansatz("nothing", (), (RZ("encoding"),), ()),
}


@pytest.mark.parametrize("encoding", ["unit", "trainable", "trainable-shared"])
@pytest.mark.parametrize("name", INVISIBLE)
def test_what_is_invisible_has_a_gradient_of_zero(name, encoding):
    pytest.importorskip("pennylane")
    layer = QKANLinear(3, 2, ansatz=INVISIBLE[name], reps=1, encoding=encoding, dtype=torch.float64)
    assert all(row.passed for row in cross_check(perturb(layer), samples=5, generator=generator()))


def test_fourier_is_left_out_where_its_transform_would_fill_the_memory():
    pytest.importorskip("pennylane")
    layer = QKANLinear(2, 1, reps=7, encoding="ternary")
    assert {row.solver for row in cross_check(layer, samples=3, generator=generator())} == {"statevector", "bloch"}


@pytest.mark.parametrize("options", [{"shots": 10}, {"solver": PennyLane(shots=10)}])
def test_what_is_sampled_is_compared_by_its_expectations(options):
    pytest.importorskip("pennylane")
    net = perturb(QKAN([3, 2], dtype=torch.float64, **options))
    assert all(deviation.passed for deviation in compare(net, lower(net), generator=generator()))


def test_nothing_to_check_is_an_error():
    with pytest.raises(ValueError, match="must hold at least one QKANLinear to be checked; got Linear"):
        list(cross_check(nn.Linear(3, 2)))


@pytest.mark.parametrize("name", ["pz-unit-fourier", "own-unit-bloch", "pz-trainable-shared-auto", "QKAN", "HQKAN"])
def test_a_lowered_model_equals_its_model(name):
    net = module(name)
    found = compare(net, lower(net), generator=generator())
    assert all(deviation.passed for deviation in found), found
    assert {deviation.layer for deviation in found} > {
        key for key, part in net.named_modules() if hasattr(part, "edges")
    }


# Of pz all angles are visible; of px all but the last.
ANGLES = [("pz", 0), ("pz", 3), ("pz", 7), ("px", 1), ("mix", 5), ("rpz", 0)]


@pytest.mark.parametrize("side", ["model", "other"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("ansatz", "angle"), ANGLES)
def test_one_angle_moved_by_a_thousandth_is_found(ansatz, angle, dtype, side):
    net = perturb(QKAN([3, 4, 2], ansatz=ansatz, dtype=dtype))
    moved = copy.deepcopy(net)
    move(moved.layers[1], 1, 2, angle)
    pair = (net, lower(moved)) if side == "other" else (moved, lower(net))
    worst = max(compare(*pair, generator=generator()), key=lambda deviation: deviation.size)
    assert not worst.passed
    assert (worst.layer, worst.edge) == ("layers.1", (1, 2))


def test_the_invisible_angle_of_px_changes_nothing():
    net = perturb(QKAN([3, 2], ansatz="px", dtype=torch.float64))
    moved = copy.deepcopy(net)
    move(moved.layers[0], 1, 2, 3, by=1.0)
    assert all(deviation.passed for deviation in compare(net, moved, generator=generator()))


def test_other_tensors_are_compared_too():
    net = perturb(HQKAN(4, 3, latent=(3, 2), bias=True))
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.encoder.weight[0, 0] += 1e-3
        other.core.layers[0].bias[1] += 2e-3
    failed = {d.layer: d.size for d in compare(net, other, generator=generator()) if not d.passed}
    assert failed == pytest.approx({"encoder.weight": 1e-3, "core.layers.0.bias": 2e-3}, rel=1e-3)


MISFITS = {
    "other shapes": (
        lambda: (HQKAN(1, 1, latent=(3, 2)), HQKAN(1, 4, latent=(3, 2))),
        r"decoder\.weight must have the same shape on both sides; got \(1, 2\) and \(4, 2\)",
    ),
    "other layers": (lambda: (QKAN([3, 2]), QKAN([3, 2, 2])), r"same layers of edges; got \['layers\.0'\] and"),
    "no layers": (lambda: (nn.Linear(3, 2), nn.Linear(3, 2)), r"same layers of edges; got \[\]"),
    "other widths": (lambda: (QKAN([3, 2]), QKAN([3, 4])), r"layer layers\.0 must have the same widths"),
    "other tensors": (
        lambda: (nn.Sequential(QKANLinear(3, 2), nn.Linear(2, 2)), nn.Sequential(QKANLinear(3, 2))),
        r"same tensors; these differ: \['1\.bias', '1\.weight'\]",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_models_that_do_not_fit_are_refused(name):
    build, match = MISFITS[name]
    with pytest.raises(ValueError, match=match):
        compare(*build())


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_inputs_cover_the_domain(ansatz):
    x = inputs(QKANLinear(3, 2, **options_for(ansatz)), 500, generator())
    assert x.shape == (500, 3)
    assert (x.abs().max() < 1) == (ansatz == "px-none")
    assert x.isfinite().all()


def run(capsys, *words):
    status = main(["check", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_checks_a_checkpoint(saved, capsys, tmp_path):
    pytest.importorskip("pennylane")
    status, out, err = run(capsys, saved, "--samples", 5, "--json", tmp_path / "rows.json")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert " ".join(lines[0].split()) == (
        "layer ansatz dtype solver max dev <Z> worst edge max dev grad of s PennyLane s"
    )
    assert len(lines) == 1 + 2 * 2 * 3 + 1
    assert "passed: 24 comparisons with PennyLane" in lines[-1]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["layer"] for row in rows} == {"core.layers.0", "core.layers.1"}
    assert all(row["passed"] and row["value"] <= row["tolerance"] for row in rows)


def test_the_command_checks_a_shape(capsys):
    pytest.importorskip("pennylane")
    words = ("3,4,2", "--ansatz", "mix", "--reps", 2, "--encoding", "1,-2", "--dtype", "float64", "--samples", 5)
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert "layers.1  mix" in out
    assert "float32" not in out


def test_a_tolerance_that_is_not_met_fails(capsys):
    pytest.importorskip("pennylane")
    for tolerance in (1e-20, 0):
        status, out, _ = run(capsys, "3,2", "--tolerance", tolerance)
        assert status == 1
        assert "FAILED" in out.splitlines()[-1]


def test_the_command_compares_with_a_lowered_model(model, saved, capsys, tmp_path):
    other = tmp_path / "lowered.safetensors"
    save(lower(model), other)
    status, out, _ = run(capsys, saved, "--against", other)
    assert status == 0, out
    move(model.core.layers[1], 1, 3, 2)
    save(model, saved)
    status, out, _ = run(capsys, saved, "--against", other)
    assert status == 1
    assert "the worst: layer core.layers.1, edge (out 1, in 3): deviation" in out.splitlines()[-1]


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix"])
def test_the_command_compares_with_golden_values(ansatz, capsys, tmp_path):
    path = GOLDEN / f"{ansatz}.json"
    if not path.exists():
        pytest.skip("circuits/ is material of the repository and not in the sdist")
    status, out, _ = run(capsys, path, "--against", path)
    assert status == 0, out
    assert "ternary (dz_dtheta), edge" in out
    layer = golden_model(read_golden(path))["ternary"]
    save(layer, tmp_path / "layer.safetensors")
    assert run(capsys, tmp_path / "layer.safetensors", "--against", f"{path}:ternary")[0] == 0
    move(layer, 2, 1, 0)
    save(layer, tmp_path / "layer.safetensors")
    status, out, _ = run(capsys, tmp_path / "layer.safetensors", "--against", f"{path}:ternary")
    assert status == 1
    assert "FAILED" in out
    assert "edge (out 2, in 1)" in out.splitlines()[-1]


WRONG = {
    "no file": (["nowhere.safetensors"], "no file at nowhere.safetensors"),
    "one width": (["3"], "width must hold at least two integers"),
    "classical": (["{lowered}"], "must hold at least one QKANLinear to be checked; got QKAN"),
    "another model": (["{saved}", "--against", "{lowered}"], "the models must have the same layers of edges"),
    "no such golden file": (["3,2", "--against", "nowhere.json"], "nowhere.json"),
    "no golden values": (["3,2", "--against", "{text}"], "is no file of golden values"),
    "an unknown ansatz": (["3,2", "--ansatz", "py"], "ansatz must be one of"),
    "an unknown encoding": (["3,2", "--encoding", "1,a"], "encoding must be one of"),
    "widths": (["3,,2"], "widths must be integers separated by commas, such as 32,28; got 3,,2"),
    "an unknown device": (["3,2", "--device", "no.such"], "device='no.such' cannot be opened"),
    "an option in vain": (["{saved}", "--reps", "3"], "--reps does nothing here"),
    "a device in vain": (["{saved}", "--against", "{lowered}", "--device", "x"], "--device does nothing here"),
    "no folder": (["3,2", "--json", "/no/such/folder/rows.json"], "there is no such folder"),
}


@pytest.mark.parametrize(
    "words", [["--tolerance", "nan"], ["--tolerance", "-1"], ["--seed", "99999999999999999999999"], ["--reps", "0"]]
)
def test_wrong_numbers_show_the_usage(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["check", "3,2", *words])
    assert f"argument {words[0]}: must be" in capsys.readouterr().err


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_one_line(name, saved, capsys, tmp_path):
    pytest.importorskip("pennylane")
    words, message = WRONG[name]
    save(lower(QKAN([3, 2])), tmp_path / "lowered.safetensors")
    (tmp_path / "text.json").write_text("{}")
    paths = {"saved": saved, "lowered": tmp_path / "lowered.safetensors", "text": tmp_path / "text.json"}
    status, out, err = run(capsys, *(word.format(**paths) for word in words))
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_golden_arrays_must_fit(tmp_path):
    path = tmp_path / "golden.json"
    arrays = {name: [[[0.0] * 8]] for name in ("theta",)} | {"x": [[0.0]], "weight": [[[1.0] * 3]], "bias": [[[0.0]]]}
    arrays |= {name: [[[0.0]]] for name in ("z", "dz_dx")}
    arrays |= {name: [[[[0.0]]]] for name in ("dz_dtheta", "dz_dweight", "dz_dbias")}
    path.write_text(json.dumps({"ansatz": "pz", "reps": 3, "cases": {"a": arrays}}))
    with pytest.raises(ValueError, match=r"bias must be \(1, 1, 3\); got \(1, 1, 1\)"):
        read_golden(path)


def test_derivatives_are_those_of_every_edge():
    layer, x = random_layer("two", "trainable", widths=(2, 3)), torch.randn(4, 2, dtype=torch.float64)
    found = derivatives(layer, x)
    full = torch.func.jacrev(lambda t: torch.func.functional_call(layer, {"theta": t}, (x,)))(layer.theta.detach())
    # y [4, 3] sums over in, and y_o depends on the angles of its own edges alone.
    want = torch.stack([full[:, o, o] for o in range(3)], dim=1)
    assert error(found["dz_dtheta"], want) < 1e-12
    assert found["dz_dx"].shape == (4, 3, 2)
    assert found["dz_dweight"].shape == (4, 3, 2, 4)


def test_a_model_trained_under_noise_is_what_default_mixed_computes():
    pytest.importorskip("pennylane")
    net = QKAN([3, 4, 2], noise=Noise(depolarizing=0.01), dtype=torch.float64, generator=generator())
    x = torch.randn(64, 3, generator=generator(), dtype=torch.float64)
    target = torch.stack([x.prod(-1), x.sum(-1).sin()], -1)
    start = [p.detach().clone() for p in net.parameters()]
    history = fit(
        net,
        (x, target),
        epochs=10,
        batch_size=16,
        loss=nn.functional.mse_loss,
        optimizer=torch.optim.Adam(net.parameters(), lr=0.05),
        generator=generator(),
    )
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert not any(torch.equal(one, other) for one, other in zip(start, net.parameters(), strict=True))
    mixed = QKAN([3, 4, 2], noise=Noise(depolarizing=0.01), solver=PennyLane("default.mixed"), dtype=torch.float64)
    mixed.load_state_dict(net.state_dict())
    assert error(lower(net)(x), mixed(x)) < 1e-10
    # and without the noise it would be another function
    quiet = QKAN([3, 4, 2], dtype=torch.float64)
    quiet.load_state_dict(net.state_dict())
    assert error(quiet(x), mixed(x)) > 1e-2
