"""The training loop against a loop written out by hand, and its checkpoints against a run without a stop."""

import math
import subprocess
import sys

import pytest
import torch
from runs import Interrupted, classes, generator, network, without_seconds
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from qkan.training import evaluate, fit, top_k


def test_fit_is_the_loop_one_would_write():
    inputs, targets = classes()
    model, by_hand = network(), network()
    history = fit(model, (inputs, targets), epochs=3, batch_size=8, generator=generator())
    optimizer, shuffle, means = torch.optim.Adam(by_hand.parameters(), lr=1e-3), generator(), []
    for _ in range(3):
        total = 0.0
        for index in torch.randperm(23, generator=shuffle).split(8):
            loss = cross_entropy(by_hand(inputs[index]), targets[index])
            by_hand.zero_grad()
            loss.backward()
            optimizer.step()
            total += len(index) * loss.item()
        means.append(total / 23)
    assert history["train_loss"] == pytest.approx(means, rel=1e-12)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), by_hand.parameters(), strict=True))
    assert history["epoch"] == [1, 2, 3]
    assert min(history["seconds"]) > 0


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_evaluation_does_not_depend_on_the_batch_size(batch_size):
    inputs, targets = classes()
    model = network().double()
    measured = evaluate(
        model, (inputs.double(), targets), batch_size=batch_size, metrics={"top1": top_k(1), "top2": top_k(2)}
    )
    with torch.no_grad():
        ranks = (-model(inputs.double())).argsort(dim=1)
        loss = cross_entropy(model(inputs.double()), targets).item()
    assert measured["loss"] == pytest.approx(loss, rel=1e-14)
    assert measured["top1"] == pytest.approx(sum(t in r[:1] for r, t in zip(ranks, targets, strict=True)) / 23)
    assert measured["top2"] == pytest.approx(sum(t in r[:2] for r, t in zip(ranks, targets, strict=True)) / 23)


def test_top_k_with_fewer_classes_than_k_is_always_right():
    assert top_k(5)(torch.randn(4, 3), torch.tensor([0, 1, 2, 0])).item() == 1


@pytest.mark.parametrize("resumed_at", [1, 2, 4])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, resumed_at):
    train, test = classes(), classes(11, seed=2)
    path = tmp_path / "checkpoint.pt"
    common = {"epochs": 5, "batch_size": 8, "validation": test, "metrics": {"top1": top_k(1)}}

    def start(source, **more):
        model = network(dropout=0.3)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        torch.manual_seed(5)  # the dropout draws from torch's own generator, which the test may seed
        return model, fit(model, source, optimizer=optimizer, generator=generator(), **common, **more)

    whole, history = start(Interrupted(train, epoch=0))
    with pytest.raises(KeyboardInterrupt):
        start(Interrupted(train, epoch=resumed_at + 1), checkpoint=path)
    model = network(dropout=0.3)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    resumed = fit(
        model,
        Interrupted(train, epoch=0),
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.01),
        generator=generator(),
        checkpoint=path,
        resume=True,
        **common,
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert without_seconds(resumed) == without_seconds(history)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), whole.parameters(), strict=True))


def test_resuming_without_a_generator_goes_on_with_torchs_own(tmp_path):
    def start(epochs, **more):
        model = network()
        return model, fit(model, classes(), epochs=epochs, batch_size=8, **more)

    torch.manual_seed(3)
    whole, _ = start(4)
    torch.manual_seed(3)
    start(2, checkpoint=tmp_path / "c.pt")
    torch.manual_seed(4)
    before = torch.get_rng_state()
    resumed, history = start(4, checkpoint=tmp_path / "c.pt", resume=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(history) == 4
    assert all(torch.equal(p, q) for p, q in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_finished_run_resumes_to_itself(tmp_path):
    path = tmp_path / "c.pt"
    history = fit(network(), classes(), epochs=2, batch_size=8, generator=generator(), checkpoint=path)
    model = network()
    assert fit(model, classes(), epochs=2, batch_size=8, checkpoint=path, resume=True) == history
    assert not torch.equal(model[0].weight, network()[0].weight)


CHANGES = {
    "batch size": ({"batch_size": 9}, "fit.batch_size: was 8, now 9"),
    "loss": ({"loss": lambda output, target: cross_entropy(output, target)}, "fit.loss: was cross_entropy, now"),
    "metrics": ({"metrics": {"top1": top_k(1)}, "validation": classes()}, "fit.metrics: was"),
    "samples": ({"data": classes(24)}, "fit.samples: was 23, now 24"),
    "own setting": ({"settings": {"seed": 1}}, "seed: was 0, now 1"),
    "width": ({"model": nn.Linear(2, 3)}, "fit.parameters: was"),
    "fewer epochs": ({"epochs": 1}, "holds 2 epochs, more than epochs=1"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_resuming_another_run_is_refused_and_changes_nothing(tmp_path, change):
    arguments = {"data": classes(), "epochs": 2, "batch_size": 8, "settings": {"seed": 0}}
    path = tmp_path / "c.pt"
    fit(network(), **arguments, checkpoint=path)
    changed, message = CHANGES[change]
    arguments = {"model": network()} | arguments | changed
    before = [p.clone() for p in arguments["model"].parameters()]
    with pytest.raises(ValueError, match=message):
        fit(**arguments, checkpoint=path, resume=True)
    assert all(torch.equal(p, q) for p, q in zip(before, arguments["model"].parameters(), strict=True))


def test_resuming_with_another_optimizer_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    fit(network(), classes(), epochs=1, batch_size=8, checkpoint=path)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"other settings \(fit.optimizer: was Adam"):
        fit(model, classes(), epochs=2, batch_size=8, optimizer=optimizer, checkpoint=path, resume=True)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "text"])
def test_a_damaged_checkpoint_is_told(tmp_path, damage):
    path = tmp_path / "c.pt"
    fit(network(), classes(), epochs=1, batch_size=8, checkpoint=path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-30] ^= 255
    path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"no", "flipped": flipped}[damage])
    with pytest.raises(ValueError, match=r"c\.pt is truncated, damaged, .* delete it and start the run again"):
        fit(network(), classes(), epochs=2, batch_size=8, checkpoint=path, resume=True)


def test_a_missing_or_foreign_checkpoint_is_told(tmp_path):
    arguments = {"epochs": 2, "batch_size": 8, "resume": True}
    with pytest.raises(ValueError, match=r"no checkpoint at .*none\.pt: start the run without resume"):
        fit(network(), classes(), checkpoint=tmp_path / "none.pt", **arguments)
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights\.pt is not a checkpoint of a training run"):
        fit(network(), classes(), checkpoint=tmp_path / "weights.pt", **arguments)


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_a_checkpoint_executes_nothing(tmp_path, capsys):
    torch.save({"format": Payload()}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="damaged, or not a checkpoint"):
        fit(network(), classes(), epochs=1, batch_size=8, checkpoint=tmp_path / "c.pt", resume=True)
    assert capsys.readouterr().out == ""


def test_a_failed_write_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    fit(network(), classes(), epochs=1, batch_size=8, checkpoint=path)
    before = path.read_bytes()

    def half(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        fit(network(), classes(), epochs=2, batch_size=8, checkpoint=path, resume=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pt"]


def test_divergence_is_told_and_the_last_good_checkpoint_kept(tmp_path):
    path, model = tmp_path / "c.pt", network()
    fit(model, classes(), epochs=1, batch_size=8, checkpoint=path)
    before = path.read_bytes()

    def broken(output, target):
        return cross_entropy(output, target) * math.nan

    broken.__name__ = "cross_entropy"  # otherwise the resumption is refused
    with pytest.raises(FloatingPointError, match=r"epoch 2 \(train_loss is nan\): lower the .*c\.pt holds epoch 1"):
        fit(model, classes(), epochs=2, batch_size=8, loss=broken, checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_a_last_step_to_infinity_is_told():
    model = nn.Linear(1, 1, dtype=torch.float64)
    inputs = torch.ones(4, 1, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e308)
    with pytest.raises(
        FloatingPointError, match=r"epoch 1 \(parameter weight is not finite\): lower the learning rate$"
    ):
        fit(model, (inputs, 9 * inputs), epochs=1, batch_size=4, loss=mse_loss, optimizer=optimizer)


class Modes(nn.Module):
    """Records the mode and whether gradients were on at every call."""

    def __init__(self):
        super().__init__()
        self.linear, self.frozen, self.seen = nn.Linear(2, 3), nn.BatchNorm1d(2), set()

    def forward(self, inputs):
        self.seen.add((self.training, torch.is_grad_enabled()))
        return self.linear(inputs)


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_used_and_given_back(training):
    model = Modes().train(training)
    model.frozen.eval()
    fit(model, classes(), epochs=1, batch_size=8, validation=classes())
    assert model.seen == {(True, True), (False, False)}
    assert (model.training, model.linear.training, model.frozen.training) == (training, training, False)
    with pytest.raises(RuntimeError):
        evaluate(model, (torch.ones(2, 5), torch.zeros(2)))
    assert model.training is training


def test_an_optimizer_that_evaluates_the_loss_many_times():
    inputs = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(1)
    model = nn.Linear(1, 1, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", tolerance_change=1e-18)
    history = fit(model, (inputs, 3 * inputs - 1), epochs=2, batch_size=9, optimizer=optimizer, loss=mse_loss)
    assert [p.item() for p in model.parameters()] == pytest.approx([3, -1], abs=1e-6)
    # the loss of an epoch is that before its step: mean of (3 x - 1)^2 = 9 <x^2> + 1, <x^2> = 5/12 on these points
    assert history["train_loss"][0] == pytest.approx(9 * 5 / 12 + 1, rel=1e-12)


def test_nothing_is_printed_unless_asked(capsys):
    fit(network(), classes(), epochs=2, batch_size=8)
    assert capsys.readouterr() == ("", "")
    fit(network(), classes(), epochs=2, batch_size=8, progress=True, validation=classes(), metrics={"top1": top_k(1)})
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2: 100%" in err
    assert "6/6" in err  # two epochs of three steps
    assert "top1=" in err


def test_global_random_state_is_left_alone_with_a_generator():
    before = torch.get_rng_state()
    fit(network(), classes(), epochs=1, batch_size=8, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)


WRONG = {
    "epochs 0": ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1; got 0"),
    "epochs 1.5": ({"epochs": 1.5}, TypeError, "epochs must be an integer; got 1.5"),
    "batch size -1": ({"batch_size": -1}, ValueError, "batch_size must be an integer of at least 1; got -1"),
    "data": ({"data": [1, 2, 3]}, TypeError, "data must be a pair of tensors .* got list"),
    "validation": ({"validation": "test"}, TypeError, "validation must be a pair of tensors .* got str"),
    "lengths": ({"data": (torch.ones(3, 2), torch.ones(4))}, ValueError, r"as many in both; got shapes \(3, 2\) and"),
    "no samples": ({"data": (torch.ones(0, 2), torch.ones(0))}, ValueError, "data holds no samples"),
    "metrics": ({"metrics": {"top1": top_k(1)}}, ValueError, "metrics are measured on validation data"),
    "reserved": (
        {"metrics": {"seconds": top_k(1)}, "validation": classes()},
        ValueError,
        "metrics need names other than .*; got seconds",
    ),
    "resume": ({"resume": True}, ValueError, "resume continues from a checkpoint: give checkpoint="),
    "keyword": ({"epoch": 3}, TypeError, "epoch"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    change, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        fit(network(), **({"data": classes(), "epochs": 1, "batch_size": 8} | change))


def test_a_source_without_batches_is_told():
    source = Interrupted(classes(), epoch=0)
    source.batches = lambda batch_size, generator=None: iter(())
    with pytest.raises(ValueError, match="has samples but yielded no batch"):
        fit(network(), source, epochs=1, batch_size=8)


def test_wrong_k():
    with pytest.raises(ValueError, match="k counts outputs and is at least 1; got 0"):
        top_k(0)


def test_importing_the_loop_loads_nothing_heavy():
    code = "import sys, qkan.training; print(sorted({'matplotlib', 'sklearn', 'torchvision'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
