"""Conversion between splines and circuits: every edge comes out where it was, or the report says how far off."""

import itertools

import numpy as np
import pytest
import torch
import truth
from helpers import ANSATZE, OPTIONS, READOUTS, error, generator, inputs, options_for, perturb
from scipy.interpolate import make_lsq_spline
from torch import nn

from qkan import HQKAN, KAN, QKAN, KANLinear, load, lower, save
from qkan.attribution import edge_scores
from qkan.layers.snapped import snapped
from qkan.noise import Noise
from qkan.surgery import prune
from qkan.surgery.convert import to_kan, to_qkan


def points(count=300, width=4, seed=5, size=1.0, dtype=torch.float64):
    return ((torch.rand(count, width, generator=generator(seed), dtype=torch.float64) * 2 - 1) * size).to(dtype)


def quantum(ansatz="pz", encoding="unit", widths=(4, 3, 2), seed=0, **more):
    """A model with all parameters at random, an edge removed from each layer and one halved."""
    return edited(perturb(QKAN(widths, dtype=torch.float64, **options_for(ansatz, encoding, **more)), seed))


def splines(widths=(4, 3, 2), seed=0, dtype=torch.float64, **more):
    model = KAN(widths, **{"dtype": torch.float64, "generator": generator(seed), "scale_noise": 2.0} | more)
    return edited(perturb(model, seed).to(dtype))


@torch.no_grad()
def edited(model):
    for layer in model.layers:
        layer.mask[0, 1], layer.mask[1, 0] = 0, 0.5
    return model


def quantized(**options):
    return to_qkan(splines(), points(), **{"reps": 3} | options)


def edge_errors(source, found, x):
    """Largest difference [out, in] of the edges of both first layers at x, by their edge functions."""
    old, new, constant = source.layers[0], found.model.layers[0], found.reports["layers.0"].constant
    return torch.stack([
        torch.stack([
            (old.edge_function(o, i)(x[:, i]) - new.edge_function(o, i)(x[:, i]) - constant[o, i]).abs().max()
            for i in range(old.in_features)
        ])
        for o in range(old.out_features)
    ])  # fmt: skip


class TestToKAN:
    @pytest.mark.parametrize("readout", READOUTS)
    @pytest.mark.parametrize("options", OPTIONS)
    @pytest.mark.parametrize("ansatz", [name for name in ANSATZE if name != "px-none"])
    def test_every_circuit_becomes_splines(self, ansatz, options, readout):
        model = quantum(ansatz, readout=readout, **OPTIONS[options])
        x = inputs(ansatz, 200, 4) * 0.9
        found = to_kan(model, x, grid_size=80)
        spread = model(x).std()
        # A clamp, and the amplitude where a circuit reaches a pole, have kinks.
        smooth = readout == "expectation" and "clamp" not in ansatz
        assert found.rms < (2e-4 if smooth else 0.1) * spread
        if smooth:
            assert error(found.model(x), model(x)) < 2e-3

    @pytest.mark.parametrize("encoding", ["ternary", "trainable", "trainable-shared", "signs"])
    def test_every_encoding(self, encoding):
        model, x = quantum("pz", encoding, scale=True), points(size=2.0)
        found = to_kan(model, x, grid_size=150)
        assert found.rms < 2e-3 * model(x).std()

    def test_finer_grids_are_closer_by_the_order_of_the_splines(self):
        model, x = quantum(base_activation="silu"), points(size=2.0)
        errors = [to_kan(model, x, grid_size=size).reports["layers.0"].projection.max.max() for size in (20, 40, 80)]
        for coarse, fine in itertools.pairwise(errors):
            assert 10 < coarse / fine < 25  # h⁴

    def test_the_fit_is_that_of_scipy(self):
        """At the data: least squares of SciPy on the same knots, edge by edge."""
        model, x = quantum(widths=(4, 3)), points(400, size=1.5)
        layer = to_kan(model, x, grid_size=6, points=None).model.layers[0]
        for o, i in itertools.product(range(3), range(4)):
            t, order = layer.grid[i].numpy(), x[:, i].argsort()
            at = x[order, i]
            values = model.layers[0].edge_function(o, i)(at).detach().numpy()
            want = make_lsq_spline(at.numpy(), values, t, k=3).c if o + i != 1 or o else 0 * t[:9]
            assert np.abs(layer.spline_weight[o, i].detach().numpy() - want).max() < 1e-9

    def test_it_is_no_training(self):
        """The peer's conversion ends at a squared error of 1.9 where the variance is 1.9."""
        model = perturb(QKAN([2, 5, 1], dtype=torch.float64, scale=True), 3)
        x = points(500, 2, size=3.0)
        found = to_kan(model, x, grid_size=20)
        assert model(x).var() > 0.1
        assert (found.model(x) - model(x)).square().mean() < 1e-6 * model(x).var()

    def test_dense_data_do_not_pull_the_curve(self):
        """Fitted on the grid, data crowded at one end do not make the other end worse."""
        model = quantum(widths=(4, 3))
        x = points(2000, size=0.1)
        x[0], x[1] = -2, 2
        even, crowded = (to_kan(model, x, grid_size=8, points=count) for count in (512, None))
        far = points(100, size=2.0)
        assert error(even.model(far), model(far)) < 0.02
        assert error(crowded.model(far), model(far)) > 2 * error(even.model(far), model(far))

    def test_grids_are_those_asked_for(self):
        model, x = quantum(), points()
        own = to_kan(model, x, grid_size=7, spline_order=2).model
        layer = own.layers[0]
        low, high = x.amin(0), x.amax(0)
        assert error(layer.grid[:, 2], low - 0.05 * (high - low)) < 1e-12
        assert error(layer.grid[:, -3], high + 0.05 * (high - low)) < 1e-12
        assert own.options.basis_options["grid_range"][0] <= layer.grid[:, 2].min()
        given = to_kan(model, x, grid_range=(-3, 4)).model
        assert given.options.basis_options["grid_range"] == (-3, 4)
        assert error(given.layers[1].grid[:, 3], torch.full((3,), -3.0)) < 1e-12

    def test_an_input_that_never_changes(self):
        model, x = quantum(), points()
        x[:, 2] = 0.7
        found = to_kan(model, x, grid_size=40)
        assert found.max < 1e-3
        assert found.model.layers[0].grid.isfinite().all()


class TestToQKAN:
    @pytest.mark.parametrize("ansatz", ["pz", "rpz"])
    def test_splines_become_circuits_as_exactly_as_their_series(self, ansatz):
        model, x = splines(bias=True), points()
        found = to_qkan(model, x, reps=8, ansatz=ansatz)
        for report in found.reports.values():
            assert report.circuit.max.max() < 1e-9
            assert (report.data.max <= report.projection.max * 1.5 + 1e-9).all()
        assert found.max < 0.03 * model(x).std()
        assert found.model.options.reps == 8

    def test_more_harmonics_are_closer(self):
        model, x = splines(), points()
        errors = [to_qkan(model, x, reps=reps).reports["layers.0"].projection.rms.max() for reps in (3, 6, 12, 24)]
        assert all(fine < 0.6 * coarse for coarse, fine in itertools.pairwise(errors))

    @pytest.mark.parametrize(
        ("ansatz", "encoding", "reps"),
        [
            ("mix", "unit", 4),
            ("px", "unit", 4),
            ("pz", "ternary", 3),
            ("own", "unit", 2),
            ("two", (1, 2, 3, 1), 2),
            ("mix", "trainable", 3),
        ],
    )
    def test_other_circuits_are_the_nearest_and_the_report_says_how_near(self, ansatz, encoding, reps):
        model, x = splines(widths=(4, 3)), points()
        found = to_qkan(
            model, x, reps=reps, ansatz=ANSATZE[ansatz], encoding=encoding, restarts=4, generator=generator(0)
        )
        report = found.reports["layers.0"]
        got = edge_errors(model, found, x)
        assert error(report.data.max, got) < 1e-6
        assert (got <= 1.5 * (report.projection.max + report.circuit.max) + 1e-9).all()
        assert found.max < 0.35 * model(x).std()
        assert found.max == pytest.approx(float((found.model(x) - model(x)).abs().max().detach()), rel=1e-9)

    @pytest.mark.parametrize(
        ("ansatz", "encoding"), [("pz", "trainable"), ("pz", "trainable-shared"), ("rpz", "trainable")]
    )
    def test_trainable_encodings_scale_the_interval(self, ansatz, encoding):
        """Data over three periods, and over a tenth of one, come out as well as data over half a period."""
        errors = []
        for size in (0.3, 1.57, 9.0):
            model, x = splines(grid_range=(size, 3 * size), base_activation=None), points(size=size) + 2 * size
            found = to_qkan(model, x, reps=4, ansatz=ansatz, encoding=encoding)
            assert found.reports["layers.0"].circuit.max.max() < 1e-9
            errors.append(float(found.reports["layers.0"].projection.max.max()))
            weight = found.model.layers[0].encoding_weight
            assert (
                error(weight[..., 0, 0] * (x[:, 0].max() - x[:, 0].min()), torch.full_like(weight[..., 0, 0], torch.pi))
                < 1e-9
            )
        assert max(errors) < 1.2 * min(errors)

    @pytest.mark.parametrize("lowered", [False, True])
    @pytest.mark.parametrize("target", ["pz", "rpz"])
    @pytest.mark.parametrize("ansatz", ["pz", "rpz", "mix", "real", "own"])
    @pytest.mark.parametrize("options", ["plain", "all"])
    def test_series_become_circuits_exactly(self, ansatz, options, target, lowered):
        """Wherever the data lie: the coefficients are taken as they are, those of lowered layers included."""
        model = quantum(ansatz, **OPTIONS[options])
        source, x = lower(model) if lowered else model, points()
        found = to_qkan(source, x, reps=5, ansatz=target)
        far = points(50, size=20.0)
        assert error(found.model(far), model(far)) < 1e-9
        for report in found.reports.values():
            assert report.projection.max.max() == 0
            assert options == "all" or not report.constant.any()  # what touches 1 is not above 1

    def test_px_becomes_px(self):
        model, x = quantum("px", widths=(4, 2)), points()
        found = to_qkan(model, x, reps=3, ansatz="px", restarts=16, generator=generator(0))
        assert found.reports["layers.0"].projection.max.max() == 0
        assert found.max < 1e-5

    def test_series_of_another_variable_are_projected(self):
        """An edge of px is a series of arccos tanh x, not of x."""
        model, x = quantum("px"), points(size=1.5)
        found = to_qkan(model, x, reps=12)
        assert found.max < 0.01 * model(x).std()
        assert found.reports["layers.0"].projection.max.max() > 0

    def test_noise_is_undone(self):
        """A circuit under noise is a series like any other; without noise it needs another circuit, not a scale."""
        model, x = quantum(noise=Noise(depolarizing=0.02)), points()
        found = to_qkan(model, x, reps=3)
        assert found.model.options.noise is None
        assert error(found.model(x), model(x)) < 1e-11

    def test_circuits_are_those_of_matrices(self):
        """The parameters, read as the design says, give the edges of the source."""
        model, x = splines(widths=(4, 3), base_activation=None), points()
        found = to_qkan(model, x, reps=12, ansatz="rpz")
        layer = found.model.layers[0]
        part = {key: value.detach().numpy() for key, value in layer.state_dict().items()}
        z = truth.state("rpz", 12, x.numpy(), part["theta"], np.ones((1, 1, 12)), part["encoding_bias"]).z
        assert np.abs(z).max() <= 1 + 1e-12
        y = (z * part["scale"] * part["mask"]).sum(-1) + part["bias"]
        assert np.abs(y - model(x).detach().numpy()).max() < 0.01

    def test_constants_go_into_the_bias_and_the_rest_gets_a_scale(self):
        model = KAN([2, 1], dtype=torch.float64, base_activation=None, generator=generator(0))
        with torch.no_grad():
            model.layers[0].spline_scaler.fill_(1)
            model.layers[0].spline_weight.copy_(torch.stack([torch.full((8,), 7.0), torch.linspace(-0.4, 0.4, 8)]))
        x = points(200, 2)
        found = to_qkan(model, x, reps=5)
        layer, constant = found.model.layers[0], found.reports["layers.0"].constant
        assert abs(constant[0, 0] - 7) < 0.2  # the middle of its range over a full turn
        assert constant[0, 1] == 0
        assert error(layer.bias, constant.sum(-1)) < 1e-12
        assert layer.scale[0, 0] < 7
        assert layer.scale[0, 1] == 1
        assert found.max < 0.02

    def test_a_larger_cutoff_gives_smaller_scales(self):
        model, x = splines(base_activation=None), points(size=0.5)
        exact, gentle = (to_qkan(model, x, reps=8, cutoff=cutoff) for cutoff in (1e-12, 1e-3))
        assert gentle.model.layers[0].scale.max() < 0.1 * exact.model.layers[0].scale.max()
        assert gentle.reports["layers.0"].projection.max.max() > exact.reports["layers.0"].projection.max.max()

    def test_the_interval_may_be_given(self):
        model, x = splines(widths=(4, 3)), points(size=0.4)
        found = to_qkan(model, x, reps=8, interval=(-1, 1))
        assert found.reports["layers.0"].interval.tolist() == [[-1, 1]] * 4
        wide = points(size=1.0)
        assert error(found.model(wide), model(wide)) < 0.3 * error(to_qkan(model, x, reps=8).model(wide), model(wide))

    def test_data_over_more_than_a_period_are_told(self):
        model, x = splines(widths=(4, 3), grid_range=(-6, 6)), points(size=6.0)
        with pytest.warns(
            UserWarning,
            match=r"4 of 4 inputs of layer layers\.0 cover more than the period 2π .* encoding='trainable-shared'",
        ) as told:
            to_qkan(model, x, reps=3)
        assert told[0].filename == __file__
        to_qkan(model, x, reps=3, encoding="trainable-shared")  # no warning, which would be an error
        to_qkan(quantum(), x, reps=3)
        periodic = QKAN([4, 2], encoding="trainable", init=1.0, dtype=torch.float64)
        assert to_qkan(periodic, x, reps=3).max < 1e-9


CONVERSIONS = {
    "to_kan": (
        lambda: quantum(base_activation="silu", bias=True, scale=True),
        lambda model, x: to_kan(model, x, grid_size=30),
    ),
    "to_qkan": (lambda: splines(bias=True), lambda model, x: to_qkan(model, x, reps=6)),
    "kan to kan": (splines, lambda model, x: to_kan(model, x, grid_size=30)),
    "qkan to qkan": (lambda: quantum("mix", base_activation="silu"), lambda model, x: to_qkan(model, x, reps=3)),
}


class TestBoth:
    @pytest.mark.parametrize("name", CONVERSIONS)
    def test_base_branches_biases_and_removed_edges_stay(self, name, tmp_path):
        build, convert = CONVERSIONS[name]
        model, x = build(), points()
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        found = convert(model.eval(), x)
        assert not found.model.training
        assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
        for old, new in zip(model.layers, found.model.layers, strict=True):
            assert type(new.base_activation) is nn.SiLU
            assert error(new.base_weight, old.mask * old.base_weight) < 1e-14
            assert torch.equal(new.mask, (old.mask != 0).double())
            assert not new.contributions(points(9, new.in_features))[:, 0, 1].any()
            if isinstance(new, KANLinear):
                assert not new.spline_weight[0, 1].any()
        for later in (to_kan(found.model, x).model, to_qkan(found.model, x, reps=6).model, prune(found.model, x, 0, 0)):
            assert all(layer.mask[0, 1] == 0 for layer in later.layers)
        pytest.importorskip("safetensors")
        save(found.model, tmp_path / "model.safetensors")
        loaded = load(tmp_path / "model.safetensors")
        assert torch.equal(loaded(x), found.model(x))
        assert all(layer.mask[0, 1] == 0 for layer in loaded.layers)

    @pytest.mark.parametrize("name", CONVERSIONS)
    def test_reports_are_measured(self, name):
        build, convert = CONVERSIONS[name]
        model, x = build(), points()
        found = convert(model, (x, torch.zeros(len(x), 2)))
        report, apart = found.reports["layers.0"], (found.model(x) - model(x)).detach()
        assert error(report.data.max, edge_errors(model, found, x)) < 1e-6
        assert (report.data.rms <= report.data.max).all()
        assert found.max == pytest.approx(float(apart.abs().max()), rel=1e-9)
        assert found.rms == pytest.approx(float(apart.square().mean().sqrt()), rel=1e-9)
        assert list(found.reports) == ["layers.0", "layers.1"]
        assert (report.circuit is None) == isinstance(found.model, KAN)
        text = str(found)
        assert f"{found.max:.2g}" in text
        assert "layers.1: projection" in text

    def test_removed_edges_of_lowered_layers_stay_removed(self):
        """They have no mask: their edges are 0 for every input."""
        found = to_kan(lower(quantum(base_activation="silu")), points()).model
        assert [layer.mask[0].tolist() for layer in found.layers] == [[1, 0, 1, 1], [1, 0, 1]]

    def test_there_and_back(self):
        model, x = quantum(base_activation="silu", bias=True), points(size=2.0)
        there = to_kan(model, x, grid_size=60).model
        back = to_qkan(there, x, reps=3).model
        assert error(back(x), model(x)) < 1e-4

    def test_models_in_single_precision(self):
        model, x = splines(dtype=torch.float32), points(dtype=torch.float32)
        found = to_qkan(model, x, reps=5)
        assert {p.dtype for p in [*found.model.parameters(), *found.model.buffers()]} == {torch.float32}
        assert found.max < 0.05 * model(x).std()
        back = to_kan(found.model, x, grid_size=20)
        assert {p.dtype for p in [*back.model.parameters(), *back.model.buffers()]} == {torch.float32}
        assert back.max < 1e-2

    def test_snapped_edges_are_converted(self):
        model, x = splines(widths=(4, 3), bias=True), points()
        model = model.with_layers([snapped(model.layers[0], {(2, 3): ("sin", (1.3, 0.2, 0.8, 0.1))})])
        found = to_qkan(model, x, reps=8)
        assert edge_errors(model, found, x)[2, 3] < 1e-3
        inner = model.layers[0].inner
        assert error(found.model.layers[0].base_weight, inner.mask * inner.base_weight) < 1e-14
        assert to_kan(model, x, grid_size=20).max < 2e-2

    def test_base_branches_that_differ_are_projected(self):
        model = splines()
        model.layers[1].base_activation = nn.Tanh()
        found = to_kan(model, points(), grid_size=40)
        assert found.model.options.base_activation is None
        assert found.max < 1e-2
        activated = [quantum(base_activation=name).layers[0] for name in ("silu", "tanh")]
        model = quantum(widths=(4, 3)).with_layers([activated[0], activated[1].subset([0, 1], [0, 1, 2])])
        assert to_qkan(model, points(), reps=10).max < 1e-2
        model = splines()
        model = model.with_layers([splines().layers[0], splines((3, 2), base_activation=None).layers[0]])
        found = to_kan(model, points(), grid_size=40)
        assert found.model.options.base_activation == "silu"
        assert not found.model.layers[1].base_weight.any()
        assert found.max < 1e-2

    def test_activations_of_ones_own_are_copied(self):
        model, x = splines(base_activation=nn.PReLU().double()), points()
        found = to_qkan(model, x, reps=6).model.layers[0]
        assert isinstance(found.base_activation, nn.PReLU)
        assert found.base_activation is not model.layers[0].base_activation

    def test_nothing_is_drawn_from_the_global_generator(self):
        kan, qkan, state = splines(), quantum(), torch.get_rng_state()
        to_qkan(kan, points(), reps=3)
        to_kan(qkan, points())
        to_qkan(kan, points(), reps=2, ansatz="mix", restarts=1, generator=generator(0))
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_new_models_are_like_any_other(self):
        x = points()
        for model in (to_qkan(splines(), x, reps=3).model, to_kan(quantum(), x).model):
            model(x).square().sum().backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
            assert edge_scores(model, x)["layers.0"].shape == (3, 4)


REFUSED = {
    "module": (lambda: to_kan(nn.Linear(4, 2), points()), TypeError, "model must be a QKAN or KAN; got Linear"),
    "hybrid": (lambda: to_qkan(HQKAN(4, 2), points(), reps=3), TypeError, "convert the part that is one, such as"),
    "no data": (lambda: to_kan(quantum(), points(0)), ValueError, "data must hold at least one sample"),
    "no tensor": (lambda: to_kan(quantum(), "data"), TypeError, "data must be inputs"),
    "nan": (lambda: to_kan(quantum(), points() * torch.nan), ValueError, "what enters layers.0 holds NaN or infinity"),
    "curves": (
        lambda: to_kan(quantum("px-none", widths=(4, 2)), points(size=0.99)),
        ValueError,
        "edges of layer layers.0 must be finite on the interval of input 0",
    ),
    "points": (lambda: to_kan(quantum(), points(), points=0), ValueError, "points must be an integer of at least 1"),
    "grid": (lambda: to_kan(quantum(), points(), grid_size=0), ValueError, "grid_size must be an integer of at"),
    "range": (lambda: to_kan(quantum(), points(), grid_range=(1, 1)), ValueError, "grid_range must be two finite"),
    "interval": (lambda: quantized(interval=(1, -1)), ValueError, "interval must be two finite numbers"),
    "cutoff": (lambda: quantized(cutoff=1), ValueError, "cutoff must be above 0 and below 1; got 1"),
    "restarts": (lambda: quantized(restarts=0), ValueError, "restarts must be an integer of at least 1"),
    "reps": (lambda: quantized(reps=0), ValueError, "reps must be an integer of at least 1"),
    "shared": (
        lambda: quantized(ansatz="rpz", encoding="trainable-shared"),
        ValueError,
        "shares the biases among all outputs, and ansatz 'rpz' needs its own for every edge; use encoding='trainable'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    call, exception, match = REFUSED[name]
    with pytest.raises(exception, match=match):
        call()
