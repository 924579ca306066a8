"""The circuits: counts against the table of the design, spectra against the Fourier transform of a simulation."""

import dataclasses
import pickle

import numpy as np
import pytest
import truth
from helpers import ANSATZE

from qkan import Ansatz
from qkan.ansatz import RX, RY, RZ, Gate, H, Y, named, names

# H and Y turn the first upload of a block into the negative of the second: they act as one, of the difference.
FLIP = Ansatz("flip", (), (RY(), RX("encoding"), H, Y, RZ("encoding")), (RX(), RY()))
# Even with weight 0 the second upload turns, by its bias, and brings the first one's harmonic into view.
LATE = Ansatz("late", (H,), (RZ("encoding"), RY("encoding")), trainable_bias=True)
CIRCUITS = ANSATZE | {"flip": FLIP, "late": LATE}

# angles and uploads of one edge at reps = R, as the design states them.
COUNTS = {
    "pz": (lambda R: 2 * (R + 1), lambda R: R),
    "rpz": (lambda R: R + 1, lambda R: R),
    "px": (lambda R: R + 1, lambda R: R),
    "real": (lambda R: R, lambda R: R),
    "mix": (lambda R: 2 * (R + 1), lambda R: R),
    "two": (lambda R: 2 * (R + 1), lambda R: 2 * R),
    "own": (lambda R: 2 * R + 1, lambda R: 2 * R),
}

# reps, weights, harmonics; `real` turns about a single axis, so that its uploads add up to one.
SPECTRA = [
    *[(name, 3, (1, 1, 1), {1, 2, 3}) for name in ("pz", "rpz", "px", "mix")],
    *[(name, 3, (1, 3, 9), set(range(1, 14))) for name in ("pz", "rpz", "mix")],
    *[(name, 3, (-2, 0, 3), {1, 2, 3, 5}) for name in ("pz", "rpz", "mix")],
    *[(name, 2, (0, 0), set()) for name in ("pz", "rpz", "px", "mix", "real")],
    ("real", 3, (1, 1, 1), {3}),
    ("real", 3, (1, 3, 9), {13}),
    ("real", 3, (1, 1, -2), set()),
    ("real", 1, (2,), {2}),
    ("two", 2, (1, 1, 1, 1), {1, 2, 3, 4}),
    ("two", 1, (1, 3), {1, 2, 3, 4}),
    ("own", 2, (1, 1, 1, 1), {1, 2, 3, 4}),
    ("flip", 2, (1, 1, 1, 1), set()),
    ("flip", 2, (1, 3, 0, 1), {1, 2, 3}),
    ("flip", 1, (-1, 3), {4}),
    ("late", 1, (1, 0), {1}),
    # Nothing but RZ follows the last upload of px: it turns Z in a plane, and shifts every harmonic by ± its weight.
    ("px", 3, (1, 3, 9), set(range(5, 14))),
    ("px", 3, (-2, 0, 3), {1, 3, 5}),
]


def spectrum(name, reps, weights, draws=5, seed=0):
    """Largest magnitude of every Fourier coefficient of <Z>(u) over random angles and biases, by the FFT."""
    rng = np.random.default_rng(seed)
    nodes = 64
    u = 2 * np.pi * np.arange(nodes)[:, None] / nodes  # [nodes, in = 1]
    angles = CIRCUITS[name].angles(reps)
    theta = rng.uniform(-np.pi, np.pi, (draws, 1, angles))
    bias = rng.uniform(-np.pi, np.pi, (draws, 1, len(weights)))
    z = truth.state(name, reps, u, theta, np.array(weights, float), bias).z[..., 0]  # [nodes, draws]
    return np.abs(np.fft.rfft(z, axis=0)).max(-1) / nodes


@pytest.mark.parametrize("reps", [1, 2, 3, 7])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_design(name, reps):
    angles, uploads = COUNTS[name]
    assert ANSATZE[name].angles(reps) == angles(reps)
    assert ANSATZE[name].uploads(reps) == uploads(reps)


def test_pz_has_eight_angles_at_three_repetitions():
    assert named("pz").angles(3) == 8


@pytest.mark.parametrize("name", ANSATZE)
def test_circuit_is_prepare_block_final_in_order(name):
    want = truth.words(name, reps=2)
    got = [
        op.name if op.source == "fixed" else op.source[0].replace("t", "r") + op.name[1].lower()
        for op in ANSATZE[name].circuit(reps=2)
    ]
    assert got == want


@pytest.mark.parametrize("name", ANSATZE)
def test_circuit_numbers_angles_and_uploads_in_order(name):
    circuit = ANSATZE[name].circuit(reps=3)
    for source, count in (("trainable", ANSATZE[name].angles(3)), ("encoding", ANSATZE[name].uploads(3))):
        assert [op.position for op in circuit if op.source == source] == list(range(count))
    assert all(op.position == -1 for op in circuit if op.source == "fixed")


@pytest.mark.parametrize(("name", "reps", "weights", "harmonics"), SPECTRA)
def test_harmonics_are_exactly_those_that_a_simulation_shows(name, reps, weights, harmonics):
    found = spectrum(name, reps, weights)
    present = {k for k in range(1, len(found)) if found[k] > 1e-6}
    assert present == harmonics == set(CIRCUITS[name].harmonics(weights))
    assert found[[k for k in range(1, len(found)) if k not in harmonics]].max() < 1e-14
    assert CIRCUITS[name].degree(weights) == max(harmonics, default=0)


@pytest.mark.parametrize("name", ANSATZE)
def test_harmonics_are_ascending_and_never_too_few(name):
    weights = (2, -1, 4, 1)[: ANSATZE[name].uploads(2)]
    harmonics = ANSATZE[name].harmonics(weights)
    found = spectrum(name, 2, weights)
    assert list(harmonics) == sorted(set(harmonics))
    assert {k for k in range(1, len(found)) if found[k] > 1e-12} <= set(harmonics)


def test_rotations_of_the_truth_are_matrix_exponentials():
    expm = pytest.importorskip("scipy.linalg").expm
    for axis, pauli in truth.PAULI.items():
        for angle in (-7.0, 0.0, 0.3, np.pi):
            np.testing.assert_allclose(truth.rotation(axis, angle), expm(-0.5j * angle * pauli), atol=1e-14)


@pytest.mark.parametrize("name", ANSATZE)
def test_ansatz_is_frozen_hashable_and_copies(name):
    ansatz = ANSATZE[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ansatz.name = "other"
    clone = pickle.loads(pickle.dumps(ansatz))
    assert clone == ansatz
    assert hash(clone) == hash(ansatz)


def test_every_row_of_the_table_is_another_circuit():
    assert len(set(ANSATZE.values())) == len(ANSATZE)


@pytest.mark.parametrize("reps", [1, 4])
@pytest.mark.parametrize("name", ["pz", "rpz", "px", "mix", "real", "own"])
def test_reps_of_inverts_angles(name, reps):
    assert ANSATZE[name].reps_of(ANSATZE[name].angles(reps)) == reps


def test_reps_of_refuses_a_number_that_no_repetition_has():
    with pytest.raises(ValueError, match=r"theta must have 2 \+ 2 reps angles for ansatz 'pz'; got 7"):
        named("pz").reps_of(7)


def test_drawings():
    assert str(named("pz")) == "pz: |0>-H-[RZ(θ)-RY(θ)-RZ(wx+b)]^R-RZ(θ)-RY(θ)-<Z>"
    assert str(named("real")) == "real: |0>-H-[X-RY(θ)-Z-RY(wx+b)]^R-<Z>"
    assert str(named("px")) == "px: |0>-H-[RZ(θ)-RX(wu+b)]^R-RZ(θ)-<Z>"
    assert named("mix").draw(1) == "|0>-H-RZ(θ0)-RX(θ1)-RY(w0x+b0)-RZ(θ2)-RX(θ3)-<Z>"


@pytest.mark.parametrize("name", ANSATZE)
def test_drawing_shows_every_gate(name):
    for reps in (1, 3):
        drawn = ANSATZE[name].draw(reps)
        assert drawn.count("-") - drawn.count("+-") == len(truth.words(name, reps)) + 1
        assert drawn.startswith("|0>-")
        assert drawn.endswith("-<Z>")


def test_named_takes_names_and_ansaetze():
    assert names() == ("pz", "rpz", "px", "real", "mix")
    assert named(ANSATZE["own"]) is ANSATZE["own"]


ERRORS = {
    "unknown gate": (lambda: Gate("CNOT"), r"name must be one of H, X, Y, Z, RX, RY, RZ; got 'CNOT'"),
    "fixed gate with an angle": (lambda: Gate("H", "trainable"), r"source of H must be 'fixed'; got 'trainable'"),
    "rotation without": (lambda: Gate("RX"), r"source of RX must be 'trainable' or 'encoding'; got 'fixed'"),
    "misspelt source": (lambda: RZ("encodng"), r"source of RZ must be .*; got 'encodng'"),
    "list of gates": (lambda: Ansatz("a", block=[RZ("encoding")]), r"block must be a tuple of Gate; got \["),
    "no gates": (lambda: Ansatz("a", prepare=("H",), block=(RZ("encoding"),)), r"prepare must be a tuple of Gate"),
    "encoding outside": (lambda: Ansatz("a", (RZ("encoding"),), (RY("encoding"),)), r"gates belong into block"),
    "no encoding": (lambda: Ansatz("a", (H,), (RY(),)), r"block must hold at least one encoding gate"),
    "unknown map": (
        lambda: Ansatz("a", block=(RY("encoding"),), arccos_map="sigmoid"),
        r"arccos_map must be None or one of tanh, clamp, none; got 'sigmoid'",
    ),
    "unknown name": (lambda: named("pzz"), r"ansatz must be one of pz, rpz, px, real, mix, .*; got 'pzz'"),
    "too few weights": (lambda: ANSATZE["two"].harmonics((1,)), r"weights must hold 2 integers per repetition; got 1"),
    "no weights": (lambda: named("pz").harmonics(()), r"weights must hold 1 integers per repetition; got 0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_user_errors_are_value_errors(name):
    call, match = ERRORS[name]
    with pytest.raises(ValueError, match=match):
        call()


def test_an_ansatz_is_a_name_or_an_ansatz():
    with pytest.raises(TypeError, match="ansatz must be a name or an Ansatz; got int"):
        named(3)
    with pytest.raises(TypeError):
        named("pz").harmonics((1.5, 1, 1))
