"""What `fit` adds to a plain step: batches in parts, averaged weights, checkpoints within an epoch, penalties."""

import copy
import json
import math
from functools import partial

import pytest
import torch
from runs import classes, generator, network, same, without_seconds
from test_fit_resume import RUNS, Killed, killed_in, start
from torch import nn
from torch.optim import LBFGS, SGD, Adam

from qkan.data.batches import as_batches
from qkan.data.reading import Reading
from qkan.layers.kan import KANLinear
from qkan.layers.linear import QKANLinear
from qkan.training import fit
from qkan.training.averaging import averaged
from qkan.training.engine import Plain
from qkan.training.fitness import check_alike, check_optimizer
from qkan.training.penalties import ActivationPenalty


def double(**more):
    model, (inputs, targets) = network().double(), classes()
    history = fit(model, (inputs.double(), targets), epochs=3, batch_size=8, generator=generator(), **more)
    return model, history


@pytest.mark.parametrize("optimizer", [partial(SGD, lr=0.1), Adam], ids=["sgd", "adam"])
@pytest.mark.parametrize("accumulate", [2, 3, 8, 100])
def test_parts_of_a_batch_take_the_same_step(optimizer, accumulate):
    whole, history = double(optimizer=optimizer)
    parts, other = double(optimizer=optimizer, accumulate=accumulate)
    for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-12)
    assert other["train_loss"] == pytest.approx(history["train_loss"], rel=1e-10)


def test_parts_of_a_batch_serve_a_line_search_clipping_and_a_penalty():
    more = {"clip_norm": 0.3, "sparsity": ActivationPenalty(l1=0.1, l2=0.2)}
    # L-BFGS divides by differences of gradients, which magnifies rounding
    for optimizer, close in ((partial(LBFGS, max_iter=3, lr=0.05), 1e-3), (partial(SGD, lr=0.1), 1e-8)):
        whole, history = double(optimizer=optimizer, **more)
        parts, other = double(optimizer=optimizer, accumulate=3, **more)
        assert other["penalty"] == pytest.approx(history["penalty"], rel=close)
        for one, two in zip(whole.parameters(), parts.parameters(), strict=True):
            torch.testing.assert_close(two, one, rtol=close, atol=close)


def test_averaged_weights_follow_the_definition_and_are_what_is_measured():
    decay, seen = 0.9, []
    model, data = nn.Linear(2, 3), classes()
    start = copy.deepcopy(model)
    plain = fit(start, data, epochs=1, batch_size=8, optimizer=partial(SGD, lr=0.5), generator=generator())
    assert len(plain) == 1
    # the same run step by step: the averages start at the weights after the first step
    inputs, targets = data
    order = torch.randperm(23, generator=generator())
    own = copy.deepcopy(model)
    optimizer, mean = SGD(own.parameters(), lr=0.5), None
    for index in order.split(8):
        optimizer.zero_grad()
        nn.functional.cross_entropy(own(inputs[index]), targets[index]).backward()
        optimizer.step()
        weight = own.weight.detach().clone()
        mean = weight if mean is None else decay * mean + (1 - decay) * weight
    history = fit(
        model, data, epochs=1, batch_size=8, optimizer=partial(SGD, lr=0.5), generator=generator(), validation=data,
        average_decay=decay, callbacks=[lambda evaluated, epoch: seen.append(evaluated.weight.clone()) or None],
    )  # fmt: skip
    torch.testing.assert_close(model.weight, mean)
    torch.testing.assert_close(seen[0], mean)
    loss = nn.functional.cross_entropy(model(inputs), targets).item()
    assert history.last["test_loss"] == pytest.approx(loss, rel=1e-6)


WITHIN = [(run, True) for run in RUNS if run not in ("all samples", "l-bfgs")]


@pytest.mark.parametrize(("run", "shuffle"), [*WITHIN, ("plain", False), ("fraction", False), ("loader", False)])
def test_a_run_killed_within_an_epoch_resumes_at_that_step(tmp_path, run, shuffle):
    more = {"checkpoint_steps": 1, "average_decay": 0.8}
    store = {"checkpoint": tmp_path / "c.pt"}
    whole, history = start(run, shuffle=shuffle, **more, **store)
    (tmp_path / "c.pt").unlink()
    model = network(dropout=0.3)
    killed_in(model, 5)
    with pytest.raises(Killed):
        start(run, shuffle=shuffle, model=model, **more, **store)
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    held_out = run in ("fraction", "data set", "stopping on the way")
    assert content["epoch"]["sizes"] == [8] * (1 if held_out else 2)
    counted = network(dropout=0.3)
    taken = []
    counted.register_forward_pre_hook(lambda module, args: taken.append(1) if module.training else None)
    resumed, continued = start(run, seed=99, shuffle=shuffle, model=counted, resume=True, **store, **more)
    assert without_seconds(continued) == without_seconds(history)
    assert same(resumed, whole)
    epochs, each = len(history), len(taken)
    assert each < epochs * 3, "the steps before the checkpoint were not taken again"


def test_a_run_that_diverged_within_an_epoch_keeps_the_checkpoint_before(tmp_path):
    inputs, targets = classes()
    model = network()
    steps = iter(range(100))

    def poison(module, args, output):
        return output * math.nan if module.training and next(steps) == 4 else None

    model.register_forward_hook(poison)
    path = tmp_path / "c.pt"
    with pytest.raises(FloatingPointError, match=r"diverged in epoch 2 .*train_loss is nan.*holds epoch 1, or a part"):
        fit(
            model, (inputs, targets), epochs=3, batch_size=8, checkpoint=path, checkpoint_steps=1, generator=generator()
        )
    content = torch.load(path, weights_only=True)
    assert len(content["history"]["epoch"]) == 1
    assert len(content["epoch"]["sizes"]) == 1
    assert all(value.isfinite().all() for value in content["model"].values())


def test_penalties_are_those_of_the_outermost_layers():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4), nn.ReLU(), QKANLinear(4, 3), KANLinear(3, 2)
    )
    x, outputs = torch.rand(5, 1, 4, 4), []
    y = x
    for layer in model:
        y = layer(y)
        if not isinstance(layer, (nn.Flatten, nn.ReLU)):
            outputs.append(y)
    with ActivationPenalty(l1=0.5, l2=2.0).recording(model) as penalty:
        model(x)
        paid = penalty()
    wanted = sum(0.5 * out.abs().mean() + 2 * out.square().mean() for out in outputs)
    torch.testing.assert_close(paid, wanted)
    paid.backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    assert not any(layer._forward_hooks for layer in model)


REFUSED = {
    "accumulate": ({"accumulate": 0}, ValueError, "accumulate must be an integer of at least 1; got 0"),
    "decay": ({"average_decay": 1.0}, ValueError, r"average_decay is between 0 and 1, .* got 1\.0"),
    "no decay": ({"average_decay": "0.9"}, TypeError, "average_decay must be a number, or None; got '0.9'"),
    "steps": ({"checkpoint_steps": 3}, ValueError, r"checkpoint_steps=3 says when .* give checkpoint="),
    "no steps": ({"checkpoint_steps": 0}, ValueError, "checkpoint_steps must be an integer of at least 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_arguments_are_refused_with_a_reason(case):
    arguments, kind, match = REFUSED[case]
    with pytest.raises(kind, match=match):
        fit(network(), classes(), epochs=1, **arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({}, ValueError, "l1 or l2 must be larger than 0"),
        ({"l1": -1.0}, ValueError, "l1 must be a finite number of at least 0; got -1"),
        ({"l2": math.inf}, ValueError, "l2 must be a finite number"),
        ({"l2": "1"}, TypeError, "l2 must be a number; got '1'"),
    ],
)
def test_penalties_are_refused_with_a_reason(arguments, kind, match):
    with pytest.raises(kind, match=match):
        ActivationPenalty(**arguments)


def test_a_model_without_layers_pays_no_penalty():
    with pytest.raises(ValueError, match="ReLU has no linear layer"), ActivationPenalty(l1=1.0).recording(nn.ReLU()):
        pass


def put(content, path, value):
    *way, last = path
    for key in way:
        content = content[key]
    if value is None:
        del content[last]
    else:
        content[last] = value


DAMAGE = {
    "a weight's shape": (("model", "0.weight"), torch.zeros(5, 3), r"model .*0\.weight must be torch.float32 \[5, 2\]"),
    "a weight's type": (("model", "0.weight"), torch.zeros(5, 2).int(), r"model .*0\.weight must be torch.float32"),
    "a weight": (("model", "0.weight"), None, r"model .*0\.weight is missing"),
    "another weight": (("model", "9.weight"), torch.zeros(1), r"model .*9\.weight is not of this model"),
    "the model": (("model",), [1], "model must be a dictionary; got list"),
    "a moment's shape": (
        ("optimizer", "state", 0, "exp_avg"),
        torch.zeros(1),
        r"optimizer .*state\.0\.exp_avg must be",
    ),
    "a moment": (("optimizer", "state", 1, "exp_avg"), None, r"optimizer .*state\.1 must hold .*exp_avg"),
    "a moment's place": (
        ("optimizer", "state", 99),
        {"step": torch.zeros(())},
        r"optimizer .*state\.99 is of no param",
    ),
    "a rate": (("optimizer", "param_groups", 0, "lr"), "fast", r"optimizer .*param_groups\[0\]\.lr must be float"),
    "the order": (("optimizer", "param_groups", 0, "params"), [3, 2, 1, 0], "optimizer .*must number the parameters"),
    "no groups": (("optimizer", "param_groups"), [], "optimizer .*param_groups must hold 1 values; got 0"),
    "the schedule": (("scheduler", "_step_count"), "one", "scheduler .*_step_count must be float; got str"),
    "a schedule's part": (("scheduler", "last_epoch"), None, "scheduler .*last_epoch is missing"),
    "the generator": (("generator",), torch.zeros(3, dtype=torch.uint8), "generator .*RNG state"),
    "no generator": (("generator",), None, ".*'generator'"),
    "random": (("random", 0, "cpu"), torch.zeros(3), "random is damaged"),
    "the history": (("history", "train_loss"), ["low"], "history .*train_loss must be numbers"),
    "the held out": (("held_out",), torch.tensor([99]), "held_out .*must be numbers from 0 to 22"),
    "sizes": (("epoch", "sizes"), [8, 8, 8], "epoch .*sizes must be of a part of 23 samples"),
    "no sizes": (("epoch", "sizes"), [0, 0], "epoch .*sizes must be"),
    "losses": (("epoch", "losses"), torch.zeros(5), r"epoch .*losses must be numbers \[1\]"),
    "seconds": (("epoch", "seconds"), "long", "epoch .*seconds must be a number"),
    "the average": (("average", "module.0.bias"), torch.zeros(2), r"average .*module\.0\.bias must be"),
    "the best": (("weights", "0.bias"), torch.zeros(2), r"weights .*0\.bias must be"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint within an epoch, with everything that one can hold."""
    path = tmp_path_factory.mktemp("whole") / "c.pt"
    model = network()
    killed_in(model, 4)
    with pytest.raises(Killed):
        begin(model, path)
    return path


def begin(model, path, **more):
    from torch.optim.lr_scheduler import CosineAnnealingLR

    from qkan.training import EarlyStopping

    arguments = {
        "epochs": 3, "batch_size": 8, "optimizer": Adam, "validation": 0.2, "generator": generator(),
        "average_decay": 0.9,
        "scheduler": partial(CosineAnnealingLR, T_max=3), "early_stopping": EarlyStopping(3), "checkpoint_steps": 1,
    }  # fmt: skip
    return fit(model, classes(), checkpoint=path, **(arguments | more))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path, whole, damage):
    way, value, match = DAMAGE[damage]
    content = torch.load(whole, weights_only=True)
    put(content, way, value)
    torch.save(content, tmp_path / "c.pt")
    model = network()
    optimizer = Adam(model.parameters())
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    with pytest.raises(ValueError, match=rf"c\.pt: {match}"):
        begin(model, tmp_path / "c.pt", resume=True, optimizer=optimizer)
    assert all(torch.equal(model.state_dict()[name], before[0][name]) for name in before[0])
    groups = optimizer.state_dict()["param_groups"][0]
    assert json.dumps(groups["params"]) == json.dumps(before[1]["param_groups"][0]["params"])
    assert not optimizer.state


def test_the_whole_checkpoint_fits(whole, tmp_path):
    import shutil

    shutil.copy(whole, tmp_path / "c.pt")
    assert len(begin(network(), tmp_path / "c.pt", resume=True)) == 3


def test_states_without_an_example_must_fit_the_parameter():
    model = network()
    optimizer = LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model(classes()[0]).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    saved = copy.deepcopy(optimizer.state_dict())
    check_optimizer(saved, optimizer)
    saved["state"][0]["d"] = torch.zeros(7)
    with pytest.raises(ValueError, match=r"state\.0\.d must fit \[5, 2\]; got torch.float32 \[7\]"):
        check_optimizer(saved, optimizer)
    saved["state"][0]["d"] = "west"
    with pytest.raises(ValueError, match=r"state\.0\.d must be tensors and numbers; got str"):
        check_optimizer(saved, optimizer)


def test_values_are_alike_by_names_lengths_and_types():
    check_alike({"a": [1, 2.0], "b": None, "c": True}, {"a": (0.5, 3), "b": 4, "c": False})
    for saved, wanted, match in [
        ({"a": 1}, {"b": 1}, "a is missing"), ([1], [1, 2], "must hold 2 values"), ({"a": True}, {"a": 1}, "a must be"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=match):
            check_alike(saved, wanted)


def test_nothing_to_average():
    assert averaged(network(), None) is None


def test_several_processes_need_their_shares_and_no_line_search():
    reading = Reading(as_batches(classes()), 8)
    assert reading.share(2, 4, 0, 2) == 4
    assert reading.share(2, 3, 1, 2) == 3
    assert Reading(as_batches(classes(9)), 8).share(1, 1, 1, 2) == 0
    with pytest.raises(ValueError, match=r"process 1 of 2 reads its 4 rows .* got 8: give a source that"):
        reading.share(0, 8, 1, 2)
    engine = Plain()
    engine.world = 2
    with pytest.raises(ValueError, match="LBFGS compares losses within a step"):
        fit(network(), classes(), epochs=1, optimizer=LBFGS, engine=engine)


def test_a_penalty_is_one_of_the_parts_of_fit():
    _, history = double(sparsity=ActivationPenalty(l2=0.1))
    assert history["penalty"][-1] < history["penalty"][0]
