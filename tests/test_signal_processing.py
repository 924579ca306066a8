"""From coefficients to angles: circuits as matrices in NumPy give the functions back."""

import math

import numpy as np
import pytest
import torch
import truth
from helpers import error, generator

from qkan.ansatz import PZ, named
from qkan.noise import Noise
from qkan.surgery.factorisation import extremes, root, series
from qkan.surgery.nearest import Family, nearest
from qkan.surgery.signal_processing import angles, realisable

SHAPE = (3, 4)
DEGREES = range(1, 13)
# Lifting a function that touches ± 1 everywhere costs 64 eps, 1.4e-14.
EXACT = 1e-12


def values(constant, cos, sin, x):
    """The polynomials [points, out, in] at the points x."""
    k = np.arange(1, cos.shape[-1] + 1)
    angle = np.multiply.outer(x, k)  # [points, K]
    return constant + np.einsum("nk,oik->noi", np.cos(angle), cos) + np.einsum("nk,oik->noi", np.sin(angle), sin)


def polynomial(f, degree):
    """Constant, cosines and sines [out, in, degree] of values [N, out, in] at x_j = 2πj/N, by NumPy's FFT."""
    rows = np.fft.rfft(f, axis=0) / len(f)
    rows = np.moveaxis(rows, 0, -1)
    return rows[..., 0].real, 2 * rows[..., 1 : degree + 1].real, -2 * rows[..., 1 : degree + 1].imag


def nodes(degree):
    return 2 * np.pi * np.arange(2 * degree + 2) / (2 * degree + 2)


def from_values(function, degree):
    """The polynomial of one edge, [1, 1], from a function of x."""
    return polynomial(function(nodes(degree))[:, None, None], degree)


def random_polynomials(degree, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=SHAPE), rng.normal(size=(*SHAPE, degree)), rng.normal(size=(*SHAPE, degree))


def range_of(constant, cos, sin):
    """Smallest and largest value of every polynomial: at the zeros of its derivative, from a companion matrix."""
    degree = cos.shape[-1]
    low, high = np.empty(constant.shape), np.empty(constant.shape)
    k = np.arange(1, degree + 1)
    for place in np.ndindex(constant.shape):
        slope = 0.5j * k * (cos[place] - 1j * sin[place])  # of e^{ikx}
        zeros = np.roots(np.concatenate([slope[::-1], [0], slope.conj()]))
        x = np.angle(zeros)
        f = constant[place] + np.cos(np.outer(x, k)) @ cos[place] + np.sin(np.outer(x, k)) @ sin[place]
        low[place], high[place] = f.min(), f.max()
    return low, high


def expectation(found, ansatz, x):
    """scale <Z> [points, out, in] of the circuits found, as matrices."""
    theta = found.theta.double().numpy()
    reps = named(ansatz).reps_of(theta.shape[-1])
    bias = np.zeros((1, 1, reps)) if found.bias is None else found.bias.double().numpy()
    points = np.broadcast_to(x[:, None], (len(x), theta.shape[1]))
    return found.scale.double().numpy() * truth.state(ansatz, reps, points, theta, np.ones((1, 1, reps)), bias).z


def solved(parts, **options):
    return angles(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts), **options)


def check(parts, ansatz, reps=None, tolerance=EXACT):
    """The circuits compute the polynomial at points that are no nodes, and the error told is a bound."""
    found, x = solved(parts, ansatz=ansatz, reps=reps), np.linspace(-4, 5, 97)
    off = np.abs(expectation(found, ansatz, x) - values(*parts, x))
    size = np.maximum(1, found.scale.numpy())
    assert (off / size).max() < tolerance
    assert (off <= found.error.numpy() + 1e-13 * size).all()
    assert (found.error.numpy() / size).max() < 20 * tolerance
    return found


@pytest.mark.parametrize("ansatz", ["pz", "rpz"])
@pytest.mark.parametrize("degree", DEGREES)
def test_circuits_come_back_as_functions(ansatz, degree):
    """What random circuits compute, which often touches ± 1, is realised without a scale."""
    rng = np.random.default_rng(degree)
    theta = rng.uniform(-np.pi, np.pi, (*SHAPE, named(ansatz).angles(degree)))
    bias = rng.uniform(-np.pi, np.pi, (*SHAPE, degree))
    x = np.broadcast_to(nodes(degree)[:, None], (2 * degree + 2, SHAPE[1]))
    parts = polynomial(truth.state(ansatz, degree, x, theta, np.ones((1, 1, degree)), bias).z, degree)
    for target in ("pz", "rpz"):
        assert (check(parts, target).scale == 1).all()


@pytest.mark.parametrize("ansatz", ["pz", "rpz"])
@pytest.mark.parametrize("largest", [0.3, 0.9, 0.999999, 1.0, 4.0])
@pytest.mark.parametrize("degree", DEGREES)
def test_polynomials_of_any_size(degree, largest, ansatz):
    parts = random_polynomials(degree)
    low, high = range_of(*parts)
    factor = largest / np.maximum(high, -low)
    parts = tuple(part * factor.reshape(*factor.shape, *[1] * (part.ndim - 2)) for part in parts)
    found = check(parts, ansatz)
    assert np.abs(found.scale.numpy() - max(1, largest)).max() < 1e-12 * largest


SPECIAL = {
    "zero": lambda x, degree: 0 * x,
    "one": lambda x, degree: 0 * x + 1,
    "minus one": lambda x, degree: 0 * x - 1,
    "cosine": lambda x, degree: np.cos(degree * x),
    "low sine": lambda x, degree: -np.sin(x),
    "touching to high order": lambda x, degree: 1 - 2 * np.sin(x / 2) ** (2 * degree),
    "both ends to high order": lambda x, degree: np.sin(x / 2) ** (2 * degree) * 2 - 1,
    "half": lambda x, degree: np.cos(x / 2) ** (2 * degree),
}


@pytest.mark.parametrize("ansatz", ["pz", "rpz"])
@pytest.mark.parametrize("degree", [1, 2, 3, 4, 6, 8, 12, 20])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name, degree, ansatz):
    parts = from_values(lambda x: SPECIAL[name](x, degree), degree)
    assert error(check(parts, ansatz).scale, torch.ones(1, 1)) < 1e-12
    check(parts, ansatz, reps=degree + 3)


@pytest.mark.parametrize("ansatz", ["pz", "rpz"])
def test_more_repetitions_than_harmonics(ansatz):
    parts = random_polynomials(2)
    found = check(parts, ansatz, reps=7)
    assert found.theta.shape == (*SHAPE, named(ansatz).angles(7))
    assert (found.bias is None) == (ansatz == "pz")
    constant = (parts[0], parts[1][..., :0], parts[2][..., :0])
    assert solved(constant, ansatz=ansatz).theta.shape[-1] == named(ansatz).angles(1)


def test_edges_are_solved_one_by_one():
    parts = tuple(0.1 * part for part in random_polynomials(3))
    found = solved(parts)
    alone = solved(tuple(part[2:, 1:2] for part in parts))
    for whole, one in zip((found.theta, found.scale), (alone.theta, alone.scale), strict=True):
        assert error(whole[2:, 1:2], one) < 1e-12


def test_single_precision_says_what_it_costs():
    parts = tuple(part.astype(np.float32) for part in random_polynomials(4))
    found, x = solved(parts, ansatz="rpz"), np.linspace(-4, 5, 97)
    assert {found.theta.dtype, found.bias.dtype, found.scale.dtype, found.error.dtype} == {torch.float32}
    off = np.abs(expectation(found, "rpz", x) - values(*(part.astype(float) for part in parts), x))
    assert 1e-9 < off.max() < 1e-5
    assert (off <= 1.001 * found.error.numpy()).all()


def test_thirty_harmonics():
    check(random_polynomials(30), "pz")


REFUSED = {
    "ansatz": (
        {"ansatz": "mix"},
        ValueError,
        "ansatz must be pz or rpz without noise for quantum signal processing; got mix",
    ),
    "noise": ({"ansatz": PZ.with_noise(Noise(depolarizing=0.1))}, ValueError, "ansatz must be pz or rpz without noise"),
    "reps": ({"reps": 1}, ValueError, "reps must be at least 2, the highest harmonic; got 1"),
    "kind": ({"reps": 2.5}, TypeError, "reps must be an integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_are_refused(name):
    options, exception, match = REFUSED[name]
    with pytest.raises(exception, match=match):
        solved(random_polynomials(2), **options)


def test_coefficients_that_are_refused():
    constant, cos, sin = random_polynomials(2)
    with pytest.raises(ValueError, match=r"constant, cos and sin must be .* got \(3, 4\), \(3, 4, 2\) and \(3, 4, 1\)"):
        solved((constant, cos, sin[..., :1]))
    with pytest.raises(ValueError, match="must be finite; got NaN or infinity"):
        solved((constant, cos, sin * np.nan))
    assert realisable(named("pz"))
    assert not realisable(named("mix"))


class TestFactorisation:
    @pytest.mark.parametrize("degree", [1, 3, 8, 20])
    def test_extremes_are_those_at_the_zeros_of_the_derivative(self, degree):
        parts = random_polynomials(degree)
        rows = series(*(torch.from_numpy(part) for part in parts)).flatten(0, 1)
        for got, want in zip(extremes(rows), range_of(*parts), strict=True):
            assert np.abs(got.numpy() - want.ravel()).max() < 1e-12 * degree

    def test_the_highest_point_of_the_grid_is_not_always_on_the_highest_hill(self):
        """Of two hills, one has its top on the grid, the other, a little higher, between two of its points."""
        tops, heights = np.array([0.0, np.pi + np.pi / 64]), np.array([1.0, 1.0001])
        k = np.array([1, 2])
        value = np.concatenate([np.cos(np.outer(tops, k)), np.sin(np.outer(tops, k))], 1)
        slope = np.concatenate([-k * np.sin(np.outer(tops, k)), k * np.cos(np.outer(tops, k))], 1)
        found = np.linalg.solve(np.concatenate([value, slope]), np.concatenate([heights, [0, 0]]))
        rows = series(torch.zeros(1).double(), *torch.from_numpy(found).view(2, 1, 2))
        assert abs(extremes(rows)[1].item() - 1.0001) < 1e-12

    @pytest.mark.parametrize("lowest", [0.0, 1e-9, 0.1])
    @pytest.mark.parametrize("degree", [1, 3, 8, 20])
    def test_roots_are_squares_without_zeros_inside(self, degree, lowest):
        constant, cos, sin = random_polynomials(degree)
        low, _ = range_of(constant, cos, sin)
        rows = series(*(torch.from_numpy(part) for part in (constant - low + lowest, cos, sin))).flatten(0, 1)
        factor, x = root(rows).numpy(), np.linspace(0, 6, 50)
        amplitude = np.exp(1j * np.outer(x, np.arange(degree + 1))) @ factor.T
        want = values(constant - low + lowest, cos, sin, x).reshape(50, -1)
        assert np.abs(np.abs(amplitude) ** 2 - want).max() < 1e-12 * np.abs(want).max()
        # Zeros on the circle are double zeros of the polynomial: rounding moves them by sqrt(eps).
        for row in factor:
            assert np.abs(np.roots(row[::-1])).min() > 1 - 1e-6

    def test_a_degree_of_zero(self):
        rows = torch.tensor([[4.0], [0.25]], dtype=torch.complex128)
        assert error(root(rows).real, torch.tensor([[2.0], [0.5]])) < 1e-14
        assert [part.tolist() for part in extremes(rows)] == [[4, 0.25], [4, 0.25]]


class TestNearest:
    @pytest.mark.parametrize(
        ("ansatz", "weights"), [("mix", (1, 1, 1)), ("px", (1, 1)), ("pz", (1, 3)), ("rpz", (1, 2))]
    )
    def test_what_circuits_compute_is_found_again(self, ansatz, weights):
        family = Family(named(ansatz), weights)
        p = (torch.rand(6, family.parameters, generator=generator(3), dtype=torch.float64) * 2 - 1) * math.pi
        target = 1.7 * family.tables(p).view(2, 3, -1)
        metric = torch.eye(target.shape[-1], dtype=torch.float64).expand(3, -1, -1)
        found = nearest(family, target, metric, restarts=12, generator=generator(0))
        assert error(found.table, target) < 1e-8
        x = np.linspace(-3, 3, 11)
        want = target[..., 0].numpy() + sum(
            target[..., 1 + n].numpy() * np.cos(k * x)[:, None, None]
            + target[..., 1 + len(harmonics) + n].numpy() * np.sin(k * x)[:, None, None]
            for harmonics in [family.ansatz.harmonics(weights)]
            for n, k in enumerate(harmonics)
        )
        bias = np.zeros((1, 1, len(weights))) if found.bias is None else found.bias.numpy()
        u = np.broadcast_to(x[:, None], (11, 3))
        got = truth.run(
            truth.words(ansatz, len(weights)), u, found.theta.numpy(), np.array(weights)[None, None], bias
        ).z
        assert np.abs(found.scale.numpy() * got - want).max() < 1e-8

    def test_where_nothing_is_near_the_best_is_known(self):
        """`real` holds one harmonic: of 0.5 cos x + 0.3 sin x + 0.2 all but the constant, and of zero nothing."""
        family = Family(named("real"), (1, 1))
        target = torch.tensor([[[0.2, 0.5, 0.3]], [[0.4, 0.0, 0.0]]], dtype=torch.float64)
        metric = torch.eye(3, dtype=torch.float64).unsqueeze(0)
        # Both uploads turn about one axis: the harmonic is 2.
        assert family.ansatz.harmonics((1, 1)) == (2,)
        found = nearest(family, target, metric, generator=generator(0))
        assert error(found.table[0, 0], torch.tensor([0.0, 0.5, 0.3], dtype=torch.float64)) < 1e-9
        assert error(found.scale[0].abs(), torch.tensor([0.34], dtype=torch.float64).sqrt()) < 1e-9
        assert found.table[1].abs().max() < 1e-9

    def test_the_metric_says_what_counts(self):
        """Of the first input only the constant, of the second one only the cosine and the sine."""
        family = Family(named("pz"), (1,))
        target = torch.rand(3, 2, 3, generator=generator(2), dtype=torch.float64) - 0.5
        metric = torch.stack([torch.diag(torch.tensor(row)) for row in ([1.0, 0.0, 0.0], [0.0, 1.0, 1.0])])
        found = nearest(family, target, metric.double(), generator=generator(0))
        assert error(found.table[:, 0, 0], target[:, 0, 0]) < 1e-9
        assert error(found.table[:, 1, 1:], target[:, 1, 1:]) < 1e-9

    def test_scales_are_bounded(self):
        """A series that no scaled circuit of px holds is the limit of ever larger scales; not so with a bound."""
        family = Family(named("px"), (1, 1))
        target = torch.rand(1, 5, 5, generator=generator(0), dtype=torch.float64) * 2 - 1
        metric = torch.eye(5, dtype=torch.float64).expand(5, -1, -1)
        found = nearest(family, target, metric, largest=3.0, generator=generator(0))
        assert (found.scale.abs() <= 3 * target.abs().amax(-1) + 1e-12).all()

    def test_derivatives_are_those_of_differences(self):
        family = Family(named("rpz"), (1, 3))
        p = torch.rand(2, family.parameters, generator=generator(1), dtype=torch.float64)
        got, step = family.slopes(p), 1e-6
        for number in range(family.parameters):
            moved = torch.zeros_like(p)
            moved[:, number] = step
            want = (family.tables(p + moved) - family.tables(p - moved)) / (2 * step)
            assert error(got[..., number], want) < 1e-8
