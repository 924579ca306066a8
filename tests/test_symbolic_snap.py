"""Snapping: the edges that were meant, in a new model that goes on training; and the formula at its end."""

import pytest
import torch
from helpers import error, generator, perturb, random_layer
from torch import nn

from qkan import HQKAN, QKAN, QKANLinear, load, lower, save
from qkan.layers.edges import EditableLayer
from qkan.layers.snapped import SnappedLinear, snapped
from qkan.models.kan import KAN
from qkan.symbolic import auto_symbolic, fix_symbolic, formula, suggest_symbolic

sympy = pytest.importorskip("sympy")


def uniform(*shape, seed=3):
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64) * 2 - 1


def sines():
    """A model whose edges are sines: of `real`, whatever the angles."""
    return perturb(QKAN([2, 3, 1], ansatz="real", reps=1, scale=True, dtype=torch.float64), 4)


def same_model(model, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_edge_becomes_its_function():
    model, x = sines(), uniform(200, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    new, found = fix_symbolic(model, 1, 0, 2, "sin", x)
    assert found.r2 > 1 - 1e-10
    assert isinstance(new, QKAN)
    assert isinstance(new.layers[1], SnappedLinear)
    assert isinstance(new.layers[0], QKANLinear)
    assert new.layers[1].affine.tolist() == [list(found.affine)]
    assert error(new(x), model(x)) < 1e-6
    assert same_model(model, before)
    assert isinstance(model.layers[1], QKANLinear)
    assert found[:3] == next(one for one in suggest_symbolic(model, 1, 0, 2, x) if one.name == "sin")[:3]


def test_edges_are_snapped_one_after_the_other():
    model, x = sines(), uniform(200, 2)
    for o in range(3):
        for i in range(2):
            model, _ = fix_symbolic(model, "layers.0", o, i, "sin", (x, x))
    assert len(model.layers[0].edges) == 6
    assert not model.layers[0].inner.mask.any()
    model, found = fix_symbolic(model, 0, 1, 1, "x", x)
    assert [edge.function for edge in model.layers[0].edges].count("x") == 1
    assert found.r2 < 0.99999


def test_constants_may_be_given():
    model, x = sines(), uniform(200, 2)
    affine = (1.5, 0.2, -2.0, 0.3)
    new, found = fix_symbolic(model, 0, 0, 1, "cos", affine=affine)
    assert (found.name, found.r2, found.affine) == ("cos", None, affine)
    t = uniform(9)
    assert error(new.layers[0].edge_function(0, 1)(t), 0.3 - 2 * torch.cos(1.5 * t + 0.2)) < 1e-14
    _, found = fix_symbolic(model, 0, 0, 1, "cos", x, affine)
    y = model.layers[0].edge_function(0, 1)(x[:, 1]).detach()
    rest = y - 0.3 + 2 * torch.cos(1.5 * x[:, 1] + 0.2)
    assert found.r2 == pytest.approx(1 - float(rest.square().sum() / (y - y.mean()).square().sum()))


def test_removed_edges_can_be_set_anew():
    model = sines()
    with torch.no_grad():
        model.layers[0].mask[0, 1] = 0
    new, _ = fix_symbolic(model, 0, 0, 1, "x", affine=(1, 0, 2, 0))
    assert new.layers[0].edge_function(0, 1)(torch.ones(1)) == 2
    with pytest.raises(ValueError, match=r"the edge is constant on the data, 0: snap it to '0'; got 'x'"):
        fix_symbolic(model, 0, 0, 1, "x", uniform(30, 2))


def test_all_edges_at_once():
    model, x = sines(), uniform(300, 2)
    with torch.no_grad():
        model.layers[0].mask[2, 1] = 0
    new, report = auto_symbolic(model, x, library=["x", "x^2", "sin", "exp"], weight_simple=0.0)
    assert [snap[:4] for snap in report] == [
        *(("layers.0", o, i, "snapped") for o in range(3) for i in range(2) if (o, i) != (2, 1)),
        *(("layers.1", 0, i, "snapped") for i in range(3)),
    ]  # fmt: skip
    assert {snap.suggestion.name for snap in report} == {"sin"}
    assert error(new(x), model(x)) < 1e-6
    assert new.layers[0].mask[2, 1] == 0
    assert len(new.layers[0].edges) == 5
    assert isinstance(model.layers[0], QKANLinear)


def test_later_layers_are_fitted_on_what_the_snapped_ones_give():
    """The first layer is forced to lines; the second one's edges are then fitted where these lines lead."""
    model, x = sines(), 3 * uniform(300, 2)
    new, report = auto_symbolic(model, x, library=["x"])
    entered = new.layers[0](x).detach()
    for snap in report[-3:]:
        t = entered[:, snap.input]
        y = model.layers[1].edge_function(0, snap.input)(t).detach()
        slope = float(torch.cov(torch.stack([t, y]))[0, 1] / t.var())
        assert snap.suggestion.affine[2] == pytest.approx(slope, rel=1e-9)


def test_edges_that_fit_badly_are_kept_and_told():
    model, x = perturb(QKAN([2, 1], dtype=torch.float64)), 3 * uniform(200, 2)
    new, report = auto_symbolic(model, x, library=["x", "x^2"], r2_threshold=0.99)
    assert [snap.action for snap in report] == ["kept", "kept"]
    assert all(f"{snap.suggestion.r2:.6g}, is below 0.99" in snap.reason for snap in report)
    assert isinstance(new.layers[0], QKANLinear)
    assert error(new(x), model(x)) == 0


def test_edges_without_effect_are_removed_and_constant_ones_stay_constant():
    model, x = perturb(QKAN([3, 1], scale=True, dtype=torch.float64)), uniform(100, 3)
    with torch.no_grad():
        model.layers[0].scale[0, 0] = 1e-12
        model.layers[0].theta[0, 1] = torch.tensor([0, -torch.pi / 2, 0, 0, 0, 0, 0, 0])  # at the pole: z = cos 0 = 1
    constant = float(model.layers[0].edge_function(0, 1)(torch.zeros(1).double()).detach())
    assert abs(constant) > 0.1
    new, (first, second, third) = auto_symbolic(model, x)
    assert (first.action, first.suggestion, first.reason) == ("removed", None, "it adds nothing on the data")
    assert new.layers[0].mask.tolist() == [[0, 1, 1]]
    assert (second.action, second.suggestion.name) == ("snapped", "0")
    assert second.suggestion.affine[3] == pytest.approx(constant)
    assert third.action == "snapped"


def test_snapped_edges_stay_as_they_are():
    model, x = sines(), uniform(200, 2)
    first, _ = fix_symbolic(model, 0, 1, 0, "tanh", affine=(0.1, 0.2, 0.3, 0.4))
    new, report = auto_symbolic(first, x, library=["sin"])
    kept = next(snap for snap in report if snap[:3] == ("layers.0", 1, 0))
    assert (kept.action, kept.suggestion, kept.reason) == ("kept", None, "it was snapped before")
    number = new.layers[0].number_of(1, 0)
    assert new.layers[0].edges[number].function == "tanh"
    assert torch.equal(new.layers[0].affine[number], first.layers[0].affine[0])
    again, report = auto_symbolic(new, x)
    assert {snap.action for snap in report} == {"kept"}
    assert error(again(x), new(x)) == 0


def test_other_models_and_single_layers():
    layer, x = random_layer("real", widths=(3, 2)), uniform(100, 3)
    new, report = auto_symbolic(layer, x, library=["sin", "x"])
    assert isinstance(new, SnappedLinear)
    assert {snap.layer for snap in report} == {""}
    assert error(new(x), layer(x)) < 1e-6
    hybrid = HQKAN(3, 2, latent=(2, 2), dtype=torch.float64)
    new, report = auto_symbolic(hybrid, x)
    assert isinstance(new, HQKAN)
    assert error(formula(new)(x), new(x)) < 1e-12
    net = nn.Sequential(nn.Linear(3, 3), random_layer(widths=(3, 2), dtype=torch.float32))
    assert fix_symbolic(net, "1", 0, 0, "sin", x.float())[0][1].affine.dtype == torch.float32


def test_training_moves_the_constants():
    x = uniform(200, 1)
    y = 1.3 * torch.sin(2 * x + 0.1) - 0.4
    model, _ = fix_symbolic(QKAN([1, 1], dtype=torch.float64), 0, 0, 0, "sin", affine=(1.7, 0.0, 1.0, 0.0))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_change=0)

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert error(model(x), y) < 1e-6
    assert torch.allclose(model.layers[0].affine[0], torch.tensor([2, 0.1, 1.3, -0.4]).double(), atol=1e-4)


def test_a_trained_model_prints_its_formula(tmp_path):
    """exp(sin(πx) + y²): train, snap, train the constants, print; and the same after save and load."""
    x = uniform(400, 2)
    y = torch.exp(torch.sin(torch.pi * x[:, :1]) + x[:, 1:] ** 2)
    options = {"reps": 4, "scale": True, "bias": True, "base_activation": "identity", "init": 0.3}
    model = QKAN([2, 1, 1], dtype=torch.float64, generator=generator(0), **options)
    train(model, x, y, 300)
    new, report = auto_symbolic(model, (x, y))
    assert [snap.suggestion.name for snap in report] == ["sin", "x^2", "exp"]
    train(new, x, y, 300)
    found = formula(new, ["x", "y"])
    assert error(found(x), new(x)) < 1e-12
    short = found.simplified(digits=2)
    assert sympy.simplify(sympy.sympify(str(short)) - sympy.sympify("exp(sin(pi*x) + y**2)")) == 0
    assert short.error(x)[0].largest < 1e-3
    save(new, tmp_path / "model")
    assert formula(load(tmp_path / "model"), ["x", "y"]) == found


def train(model, x, y, steps):
    settings = {"max_iter": steps, "history_size": 20, "tolerance_grad": 1e-14, "tolerance_change": 1e-16}
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", **settings)

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


def test_splines_become_functions_too():
    model, x = KAN([2, 1], dtype=torch.float64, generator=generator()), uniform(300, 2)
    with pytest.raises(ValueError, match=r"edge 0 -> 0 of a KANLinear has no formula; snap it"):
        formula(model)
    train(model, x, torch.exp(x[:, :1]) + x[:, 1:] ** 2, 200)
    new, report = auto_symbolic(model, x)
    assert [snap.suggestion.name for snap in report] == ["exp", "x^2"]
    assert error(formula(new)(x), new(x)) < 1e-12


class Unused(nn.Module):
    """A model with a layer that never runs."""

    def __init__(self):
        super().__init__()
        self.used, self.other = QKANLinear(2, 1), QKANLinear(2, 1)

    def forward(self, x):
        return self.used(x)


X = torch.rand(30, 2, dtype=torch.float64)
REFUSED = {
    "nothing": (lambda: fix_symbolic(sines(), 0, 0, 0, "sin"), ValueError,
                r"fix_symbolic needs data to fit the constants to, or affine=\(a, b, c, d\)"),
    "name": (lambda: fix_symbolic(sines(), 0, 0, 0, "sinus", X), ValueError, r"a function must be one of 0, x, "),
    "affine": (lambda: fix_symbolic(sines(), 0, 0, 0, "sin", affine=(1, 2)), ValueError,
               r"affine must be four numbers \(a, b, c, d\); got \(1, 2\)"),
    "domain": (lambda: fix_symbolic(sines(), 0, 0, 0, "log", X, (-1, 0, 1, 0)), ValueError,
               r"affine must keep 'log' finite on the data; got \(-1, 0, 1, 0\)"),
    "place": (lambda: fix_symbolic(sines(), 1, 1, 0, "sin", X), ValueError, r"output must be in 0\.\.0; got 1"),
    "lowered": (lambda: fix_symbolic(lower(sines()), 0, 0, 0, "sin", X), TypeError,
                r"layer 'layers\.0' must have a mask that can be edited; got LoweredLinear; snap before lower\(\)"),
    "lowered, all": (lambda: auto_symbolic(lower(sines()), X), TypeError, r"'layers\.0' must have a mask"),
    "library": (lambda: auto_symbolic(sines(), X, library="sin"), ValueError, r"a function must be one of"),
    "no data": (lambda: auto_symbolic(sines(), None), TypeError, r"data must be inputs \[samples, \.\.\.\]"),
    "unused": (lambda: auto_symbolic(Unused().double(), X), ValueError, r"layer 'other' is not called when the model"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_argument(name):
    call, exception, match = REFUSED[name]
    with pytest.raises(exception, match=match):
        call()


def test_snapped_layers_can_be_edited_further():
    model, _ = fix_symbolic(sines(), 0, 0, 0, "sin", X)
    assert isinstance(model.layers[0], EditableLayer)
    assert isinstance(snapped(model.layers[0], {}), SnappedLinear)
