"""What `fit` can do beside the plain loop: schedules, clipping, penalties, stopping, callbacks, L-BFGS."""

import math
from functools import partial

import pytest
import torch
from runs import Squares, classes, generator, network, same, without_seconds
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD, lr_scheduler

from qkan import QKAN
from qkan.training import EarlyStopping, evaluate, fit, top_k

QUICK = {"epochs": 3, "batch_size": 8}


def swapped():
    """Validation data with wrong labels: the better the training, the worse they are met."""
    inputs, targets = classes()
    return inputs, 1 - targets


def train(**more):
    model = network()
    return model, fit(model, **({"data": classes(), "generator": generator()} | QUICK | more))


SCHEDULERS = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "milestones": lambda o: lr_scheduler.MultiStepLR(o, [1, 4]),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=2),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, total_iters=2), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.LinearLR(o)], milestones=[2]
    ),
}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("on", [None, "epoch", "step"])
def test_schedulers_step_when_told(kind, on):
    def stepped():
        optimizer = SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.5)
        scheduler = SCHEDULERS[kind](optimizer)
        for _ in range(6):
            rates = []
            for _ in range(3 if on == "step" else 1):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
            yield rates[-1]

    model = network()
    sgd = SGD(model.parameters(), lr=0.1, momentum=0.5)
    history = fit(
        model, classes(), epochs=6, batch_size=8, optimizer=sgd, scheduler=SCHEDULERS[kind](sgd), schedule_on=on
    )
    assert history["lr"] == list(stepped())
    again = fit(
        network(), classes(), epochs=6, batch_size=8, optimizer=partial(SGD, lr=0.1, momentum=0.5),
        scheduler=SCHEDULERS[kind], schedule_on=on,
    )  # fmt: skip
    assert again["lr"] == history["lr"]


PLATEAUS = {
    "the validation loss by default": ({"validation": swapped()}, [0.5, 0.5, 0.05, 0.005, 0.0005]),
    "the training loss without": ({}, [0.5] * 5),
    "the training loss if told": ({"validation": swapped(), "schedule_on": "train_loss"}, [0.5] * 5),
    "the validation loss if told": (
        {"validation": swapped(), "schedule_on": "test_loss"}, [0.5, 0.5, 0.05, 0.005, 0.0005]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLATEAUS)
def test_a_plateau_is_one_of(case):
    more, rates = PLATEAUS[case]
    plateau = partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=0.0)
    _, history = train(epochs=5, optimizer=partial(SGD, lr=0.5), scheduler=plateau, **more)
    if "validation" in more:
        assert history["test_loss"] == sorted(history["test_loss"])
    assert history["train_loss"] == sorted(history["train_loss"], reverse=True)
    assert history["lr"] == pytest.approx(rates)


def test_without_a_scheduler_no_rate_is_written_down():
    assert train()[1].names == ("epoch", "train_loss", "seconds")
    assert train(scheduler=lr_scheduler.ConstantLR, sparsity=Squares(0.1), validation=0.2)[1].names == (
        "epoch", "train_loss", "penalty", "lr", "seconds", "test_loss", "test_seconds"
    )  # fmt: skip


def test_clipping_is_that_of_a_hand_written_loop():
    def clipped(limit):
        return train(optimizer=partial(SGD, lr=0.5), clip_norm=limit)[0]

    by_hand, source = network(), generator()
    inputs, targets = classes()
    norms = []
    for _ in range(3):
        for index in torch.randperm(23, generator=source).split(8):
            by_hand.zero_grad()
            cross_entropy(by_hand(inputs[index]), targets[index]).backward()
            norms.append(math.sqrt(sum(p.grad.double().square().sum().item() for p in by_hand.parameters())))
            with torch.no_grad():
                for p in by_hand.parameters():
                    p -= 0.5 * p.grad * min(1, 0.5 / norms[-1])
    assert min(norms) < 0.5 < max(norms)
    for p, q in zip(clipped(0.5).parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
    assert not same(clipped(0.5), clipped(None))
    assert same(clipped(100), clipped(None))


def test_only_what_the_optimizer_moves_counts_for_clipping():
    model = network()
    start = model[3].weight.detach().clone()
    sgd = SGD(model[3].parameters(), lr=0.5)
    fit(model, classes(), epochs=1, optimizer=sgd, clip_norm=1e-3)
    moved = torch.cat([p.grad.flatten() for p in model[3].parameters()]).norm()
    assert moved == pytest.approx(1e-3, rel=1e-3)
    assert not torch.equal(model[3].weight, start)


def test_a_penalty_is_added_and_written_down_apart():
    model, history = train(sparsity=Squares(0.5))
    by_hand, source = network(), generator()
    inputs, targets = classes()
    adam, rows = torch.optim.Adam(by_hand.parameters(), lr=1e-3), []
    for _ in range(3):
        sums = [0.0, 0.0]
        for index in torch.randperm(23, generator=source).split(8):
            output = by_hand(inputs[index])
            parts = cross_entropy(output, targets[index]), 0.5 * output.square().mean()
            adam.zero_grad()
            sum(parts).backward()
            adam.step()
            sums = [total + len(index) * part.item() for total, part in zip(sums, parts, strict=True)]
        rows.append([total / 23 for total in sums])
    assert same(model, by_hand)
    assert history["train_loss"] == pytest.approx([row[0] for row in rows], rel=1e-12)
    assert history["penalty"] == pytest.approx([row[1] for row in rows], rel=1e-12)
    assert not model._forward_hooks


def test_a_penalty_alone_is_minimised():
    zero = lambda output, target: 0 * output.sum()  # noqa: E731
    _, history = train(epochs=40, sparsity=Squares(1.0), loss=zero, optimizer=partial(SGD, lr=0.1))
    assert history["penalty"][-1] < 0.1 * history["penalty"][0]
    assert set(history["train_loss"]) == {0.0}


def test_lbfgs_searches_along_loss_and_penalty_together():
    """x^2 mean square: the minimum of (w - 3)^2 + w^2 is w = 3/2; that of the loss alone is 3."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    lbfgs = partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")
    history = fit(model, (one, 3 * one), epochs=2, loss=mse_loss, optimizer=lbfgs, sparsity=Squares(1.0))
    assert model.weight.item() == pytest.approx(1.5, abs=1e-8)
    assert history.last["train_loss"] == pytest.approx(2.25, abs=1e-7)
    assert history.last["penalty"] == pytest.approx(2.25, abs=1e-7)


def losses_of(values):
    """A loss whose value on validation data is given, epoch by epoch, whatever the model does."""
    coming = iter(values)

    def loss(output, target):
        return cross_entropy(output, target) if output.requires_grad else torch.tensor(next(coming))

    return loss


STOPS = {
    # patience, min_delta, validation losses -> epochs run, best epoch
    "never": ((3, 0.0, [5, 4, 3, 2, 1]), 5, 5),
    "rising": ((2, 0.0, [3, 4, 5, 2, 1]), 3, 1),
    "level": ((1, 0.0, [3, 3, 2, 1, 0]), 2, 1),
    "late": ((2, 0.0, [3, 4, 2, 3, 2]), 5, 3),
    "too little": ((2, 0.5, [3, 2.75, 2.5, 1, 0]), 3, 1),
    "enough in all": ((2, 0.5, [3, 2.75, 2.25, 2, 1.7]), 5, 5),
}


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("case", STOPS)
def test_early_stopping(case, restore):
    (patience, delta, values), epochs, best = STOPS[case]
    stopping = EarlyStopping(patience, min_delta=delta, restore_best=restore)
    loss = losses_of(float(value) for value in values)
    model, history = train(epochs=5, validation=classes(), batch_size=23, loss=loss, early_stopping=stopping)
    assert len(history) == epochs
    kept, _ = train(epochs=best if restore else epochs, batch_size=23)
    assert same(model, kept)


@pytest.mark.parametrize(
    ("metric", "largest", "best"),
    [("top1", None, "stop"), ("top1", False, "go on"), ("wrong", None, "go on"), ("wrong", False, "stop")],
)
def test_metrics_are_watched_in_their_direction(metric, largest, best):
    """On wrong labels top-1 falls and the fraction of errors rises; both stop a run that knows the direction."""
    values = iter([0.8, 0.6, 0.4, 0.2, 0.1])

    def top1(output, target):
        return torch.tensor(next(values))

    def wrong(output, target):
        return 1 - top1(output, target)

    metrics = {metric: {"top1": top1, "wrong": wrong}[metric]}
    stopping = EarlyStopping(1, metric, largest=largest)
    _, history = train(epochs=5, validation=classes(), batch_size=23, metrics=metrics, early_stopping=stopping)
    assert len(history) == (2 if best == "stop" else 5)


def test_a_metric_that_is_not_a_number_is_never_the_best():
    values = iter([math.nan, 0.5, math.nan, math.nan, 0.9])
    metrics = {"r2": lambda output, target: torch.tensor(next(values))}
    model, history = train(
        epochs=5, validation=classes(), batch_size=23, metrics=metrics, early_stopping=EarlyStopping(2, "r2")
    )
    assert len(history) == 4
    assert same(model, train(epochs=2, batch_size=23)[0])


def test_a_run_that_measures_no_number_ends():
    metrics = {"r2": lambda output, target: torch.tensor(math.nan)}
    _, history = train(epochs=5, validation=classes(), metrics=metrics, early_stopping=EarlyStopping(2, "r2"))
    assert len(history) == 2


@pytest.mark.parametrize("metric", ["train_loss", "penalty"])
def test_training_quantities_are_watched_too(metric):
    stopping = EarlyStopping(2, metric, min_delta=100)
    assert len(train(epochs=9, sparsity=Squares(0.1), early_stopping=stopping)[1]) == 3


def test_callbacks_see_every_epoch_and_end_the_run():
    seen = []

    def look(model, epoch):
        assert model.training
        seen.append((epoch["epoch"], epoch["train_loss"], evaluate(model, classes())["loss"]))

    def end(model, epoch):
        return epoch["epoch"] == 2

    _, history = train(callbacks=[end, look])
    assert len(history) == len(seen) == 2
    assert [row[1] for row in seen] == history["train_loss"]
    model, _ = train(callbacks=[look, lambda model, epoch: None])
    assert len(seen) == 5
    assert same(model, train()[0])


def test_what_a_callback_raises_is_not_caught_and_the_checkpoint_is_whole(tmp_path):
    def fail(model, epoch):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(callbacks=[fail], checkpoint=tmp_path / "c.pt")
    model, history = train(checkpoint=tmp_path / "c.pt", resume=True)
    whole, wanted = train()
    assert same(model, whole)
    assert without_seconds(history) == without_seconds(wanted)


def test_a_model_that_writes_over_its_inputs_leaves_the_data():
    inputs, targets = classes()
    fit(nn.Sequential(nn.ReLU(inplace=True), network()), (inputs, targets), epochs=2, validation=(inputs, targets))
    assert torch.equal(inputs, classes()[0])


def test_all_samples_in_one_step():
    model, history = train(batch_size=None)
    inputs, targets = classes()
    by_hand = network()
    adam, losses = torch.optim.Adam(by_hand.parameters(), lr=1e-3), []
    for _ in range(3):
        loss = cross_entropy(by_hand(inputs), targets)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert same(model, by_hand)
    assert history["train_loss"] == losses


def test_the_same_seed_gives_the_same_bits():
    more = {"validation": 0.2, "sparsity": Squares(0.1), "clip_norm": 1.0, "early_stopping": EarlyStopping(5)}
    before = torch.get_rng_state()
    first, one = train(**more)
    second, other = train(**more)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, second)
    assert without_seconds(one) == without_seconds(other)
    assert not same(first, train(generator=generator(8), **more)[0])


@pytest.mark.parametrize("make", [torch.optim.SGD, partial(torch.optim.SGD, lr=1e-3), None])
def test_optimizers_as_functions(make):
    model, _ = train(optimizer=make)
    other = network()
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-3) if make is None else SGD(other.parameters(), lr=1e-3)
    fit(other, classes(), optimizer=optimizer, generator=generator(), **QUICK)
    assert same(model, other)


def function():
    x = torch.linspace(-1, 1, 60, dtype=torch.float64).unsqueeze(1)
    return x, (torch.sin(3 * x) + x**2) / 2


def test_adam_then_lbfgs_goes_lower_than_adam():
    def net():
        return QKAN([1, 3, 1], dtype=torch.float64, generator=generator(0))

    adam = partial(torch.optim.Adam, lr=0.02)
    evaluations = 0

    def counted(output, target):
        nonlocal evaluations
        evaluations += 1
        return mse_loss(output, target)

    both, alone = net(), net()
    first = fit(both, function(), epochs=50, optimizer=adam, loss=counted)
    lbfgs = partial(torch.optim.LBFGS, max_iter=20, line_search_fn="strong_wolfe")
    history = first + fit(both, function(), epochs=8, optimizer=lbfgs, loss=counted)
    assert 58 < evaluations < 400
    fit(alone, function(), epochs=evaluations, optimizer=adam, loss=mse_loss)
    reached = [evaluate(model, function(), loss=mse_loss)["loss"] for model in (both, alone)]
    assert reached[0] < 0.1 * reached[1]
    assert history["epoch"] == list(range(1, 59))
    assert history["train_loss"][:50] == first["train_loss"]


class Value(nn.Module):
    """One number, whatever the inputs."""

    def __init__(self, start):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([start], dtype=torch.float64))

    def forward(self, inputs):
        return self.value


@pytest.mark.parametrize("search", ["strong_wolfe", None])
def test_a_line_search_that_meets_nan_is_told(search):
    """w - log w from w = 3: the first step of ten times the gradient lands below 0, at a finite w whose loss is NaN."""
    model = Value(3.0)
    lbfgs = torch.optim.LBFGS(model.parameters(), lr=10, max_iter=2, line_search_fn=search)
    data = (torch.ones(1, 1), torch.ones(1))
    with pytest.raises(FloatingPointError, match=r"diverged in epoch 1 \(train_loss is nan\): lower the learning rate"):
        fit(model, data, epochs=1, optimizer=lbfgs, loss=lambda output, target: (output - output.log()).sum())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", [0, -1])
def test_one_bad_number_among_many_parameters_is_found(value, where):
    class Spoiled(torch.optim.SGD):
        def step(self, closure=None):
            loss = super().step(closure)
            with torch.no_grad():
                self.param_groups[0]["params"][where].view(-1)[0] = value
            return loss

    name = ["0.weight", "3.bias"][where]
    with pytest.raises(FloatingPointError, match=rf"epoch 1 \(parameter {name} is not finite\)"):
        train(optimizer=Spoiled, batch_size=None, epochs=1)


def test_large_finite_parameters_are_no_divergence():
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, 3e38)
    fit(model, (torch.zeros(3, 2), torch.zeros(3, 1)), epochs=1, loss=mse_loss)


def test_a_penalty_that_is_not_finite_is_told():
    with pytest.raises(FloatingPointError, match=r"epoch 1 \(penalty is nan\)"):
        train(sparsity=Squares(math.nan), batch_size=None)


def of_another(optimizer=None, **more):
    return SGD(network().parameters(), lr=0.1)


FOREIGN = of_another()
WRONG = {
    "another model": (
        {"optimizer": FOREIGN}, ValueError,
        r"optimizer must be over parameters of the model; 4 of its 4 are not: build it from model.parameters\(\)",
    ),
    "name": ({"optimizer": "adam"}, TypeError, "optimizer must be a torch optimizer, or a function .* got str"),
    "no optimizer": ({"optimizer": lambda p: 3}, TypeError, "such as torch.optim.LBFGS; got one that makes int"),
    "scheduler of another": (
        {"scheduler": lr_scheduler.ConstantLR(FOREIGN)}, ValueError,
        "scheduler must be over the optimizer of this run: give that one as optimizer=, or scheduler as a function",
    ),
    "scheduler name": ({"scheduler": "cosine"}, TypeError, "scheduler must be a torch scheduler, .* got str"),
    "no scheduler": ({"scheduler": lambda o: 3}, TypeError, "from the optimizer; got one that makes int"),
    "moment alone": ({"schedule_on": "step"}, ValueError, "says when a scheduler is stepped; got 'step' without sche"),
    "moment": (
        {"scheduler": lr_scheduler.ConstantLR, "schedule_on": "batch"}, ValueError,
        "schedule_on must be one of epoch, step, train_loss, test_loss; got 'batch'",
    ),
    "loss for another": (
        {"scheduler": lr_scheduler.ConstantLR, "schedule_on": "train_loss"}, ValueError,
        "ConstantLR reads no loss: schedule_on='epoch' or 'step'; got 'train_loss'",
    ),
    "plateau without loss": (
        {"scheduler": lr_scheduler.ReduceLROnPlateau, "schedule_on": "epoch"}, ValueError,
        "ReduceLROnPlateau reads a loss: schedule_on='test_loss' or 'train_loss'; got 'epoch'",
    ),
    "plateau without data": (
        {"scheduler": lr_scheduler.ReduceLROnPlateau, "schedule_on": "test_loss"}, ValueError,
        "schedule_on='test_loss' needs validation data: give validation=, or say 'train_loss'",
    ),
    "clip 0": ({"clip_norm": 0}, ValueError, "clip_norm must be a positive, finite number; got 0"),
    "clip inf": ({"clip_norm": math.inf}, ValueError, "clip_norm must be a positive, finite number; got inf"),
    "clip text": ({"clip_norm": "1"}, TypeError, "clip_norm must be a number, or None; got '1'"),
    "clip true": ({"clip_norm": True}, TypeError, "clip_norm must be a number, or None; got True"),
    "sparsity": ({"sparsity": 0.1}, TypeError, r"sparsity must offer recording\(model\), as .*Sparsity does; got fl"),
    "patience alone": ({"early_stopping": 5}, TypeError, r"must be an EarlyStopping\(patience, ...\); got int"),
    "stopping unmeasured": (
        {"early_stopping": EarlyStopping(3)}, ValueError,
        "early_stopping watches 'test_loss', but this run measures train_loss: name one .* or give validation= or met",
    ),
    "stopping on a metric": (
        {"early_stopping": EarlyStopping(3, "top5"), "validation": classes(), "metrics": {"top1": top_k(1)}},
        ValueError, "watches 'top5', but this run measures train_loss, test_loss, top1",
    ),
    "one callback": ({"callbacks": print}, TypeError, r"callbacks must be a list of functions \(model, epoch\); got p"),
    "no callback": ({"callbacks": [3]}, TypeError, r"callbacks must be a list of functions .*; got \[3\]"),
    "answer": (
        {"callbacks": [lambda model, epoch: 1]}, TypeError,
        "a callback returns True to end the run, or else None; got 1",
    ),
    "metric named lr": (
        {"metrics": {"lr": top_k(1)}, "validation": classes()}, ValueError, "metrics need names other than .*; got lr",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    change, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        train(**change)


STOPPING_WRONG = {
    "patience 0": ({"patience": 0}, ValueError, "patience must be an integer of at least 1; got 0"),
    "patience 1.5": ({"patience": 1.5}, TypeError, "patience must be an integer; got 1.5"),
    "metric": ({"metric": top_k(1)}, TypeError, "metric must be a name in the history, such as 'test_loss'; got <func"),
    "delta text": ({"min_delta": "1"}, TypeError, "min_delta must be a number; got '1'"),
    "delta true": ({"min_delta": True}, TypeError, "min_delta must be a number; got True"),
    "delta negative": ({"min_delta": -1}, ValueError, "min_delta must be a finite number of at least 0; got -1"),
    "delta nan": ({"min_delta": math.nan}, ValueError, "min_delta must be a finite number of at least 0; got nan"),
}


@pytest.mark.parametrize("case", STOPPING_WRONG)
def test_wrong_rules_of_early_stopping(case):
    change, error, message = STOPPING_WRONG[case]
    with pytest.raises(error, match=message):
        EarlyStopping(**({"patience": 3} | change))
