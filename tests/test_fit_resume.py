"""Runs that were stopped, with every part that `fit` can have, against the same runs left alone: bit for bit."""

import math
from functools import partial

import pytest
import torch
from runs import Squares, classes, generator, network, same, without_seconds
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, SGD, lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from qkan.training import EarlyStopping, fit, top_k


def swapped():
    inputs, targets = classes()
    return inputs, 1 - targets


def loader(**more):
    return DataLoader(TensorDataset(*classes()), batch_size=8, shuffle=True, **more)


# Each row makes its arguments anew, as a new process does.
RUNS = {
    "plain": dict,
    "all samples": lambda: {"batch_size": None},
    "plateau": lambda: {
        "validation": swapped(),
        "scheduler": partial(lr_scheduler.ReduceLROnPlateau, patience=1, threshold=0.0),
    },
    "plateau of training": lambda: {
        "scheduler": partial(lr_scheduler.ReduceLROnPlateau, patience=0, threshold=9.0, threshold_mode="abs")
    },
    "cosine": lambda: {"scheduler": partial(lr_scheduler.CosineAnnealingLR, T_max=4)},
    "one cycle": lambda: {
        "scheduler": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=18), "schedule_on": "step"
    },
    "lambda": lambda: {"scheduler": partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 0.5**epoch)},
    "sequential": lambda: {
        "scheduler": lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.5)], milestones=[2]
        )
    },
    "l-bfgs": lambda: {
        "batch_size": None, "optimizer": partial(LBFGS, max_iter=4, line_search_fn="strong_wolfe", history_size=3)
    },
    "penalty and clipping": lambda: {"sparsity": Squares(0.1), "clip_norm": 0.5},
    "fraction": lambda: {"validation": 0.3, "metrics": {"top1": top_k(1)}},
    "data set": lambda: {"data": TensorDataset(*classes()), "validation": 0.3},
    "loader": lambda: {"data": loader(), "batch_size": None},
    "loader with its own order": lambda: {
        "data": loader(generator=generator(3)), "batch_size": None, "validation": loader(generator=generator(4))
    },
    "stopping": lambda: {"validation": swapped(), "early_stopping": EarlyStopping(4)},
    "stopping on the way": lambda: {
        "validation": 0.3, "early_stopping": EarlyStopping(2, "train_loss", min_delta=0.02), "epochs": 30
    },
    "loss with settings": lambda: {"loss": partial(cross_entropy, label_smoothing=0.1)},
}  # fmt: skip


class Killed(Exception):
    pass


def killed_in(model, step):
    """Let a model fail in a step of the training, counted from 0."""
    left = iter(range(step))

    def count(module, args):
        if module.training and next(left, None) is None:
            raise Killed

    return model.register_forward_pre_hook(count)


def start(run, seed=5, shuffle=True, model=None, **more):
    model = model or network(dropout=0.3)
    arguments = {"data": classes(), "epochs": 6, "batch_size": 8, "optimizer": partial(SGD, lr=0.1, momentum=0.9)}
    torch.manual_seed(seed)  # the dropout draws from torch's own generator, which the test may seed
    source = {"generator": generator()} if shuffle else {}
    return model, fit(model, **(arguments | source | RUNS[run]() | more))


@pytest.mark.parametrize("shuffle", [True, False], ids=["generator", "torch's own"])
@pytest.mark.parametrize("run", RUNS)
def test_a_killed_run_resumes_bit_for_bit(tmp_path, run, shuffle):
    whole, history = start(run, shuffle=shuffle)
    steps = 4 * 4 if run == "l-bfgs" else 4 if "batch_size" in RUNS[run]() and "loader" not in run else 3 * 3 + 1
    model = network(dropout=0.3)
    killed_in(model, steps)
    with pytest.raises(Killed):
        start(run, shuffle=shuffle, model=model, checkpoint=tmp_path / "c.pt")
    before = len(torch.load(tmp_path / "c.pt", weights_only=True)["history"]["epoch"])
    assert 1 < before < len(history)
    resumed, continued = start(run, seed=99, shuffle=shuffle, checkpoint=tmp_path / "c.pt", resume=True)
    assert without_seconds(continued) == without_seconds(history)
    assert same(resumed, whole)


def test_a_run_that_stopped_early_resumes_to_itself(tmp_path):
    model, history = start("stopping", checkpoint=tmp_path / "c.pt")
    best = history.best("test_loss")["epoch"]
    assert best < len(history) == 5
    again, same_history = start("stopping", checkpoint=tmp_path / "c.pt", resume=True)
    assert same_history == history
    assert same(again, model)
    assert same(model, start("plain", epochs=best, validation=swapped())[0])


def test_more_patience_goes_on_from_the_last_epoch_not_from_the_best(tmp_path):
    start("stopping", checkpoint=tmp_path / "c.pt")
    more = {"early_stopping": EarlyStopping(9, restore_best=True)}
    model, history = start("stopping", checkpoint=tmp_path / "c.pt", resume=True, **more)
    whole, wanted = start("stopping", **more)
    assert len(history) == 6
    assert without_seconds(history) == without_seconds(wanted)
    assert same(model, whole)


def test_a_run_that_a_callback_ended_goes_on_when_resumed(tmp_path):
    end = {"callbacks": [lambda model, epoch: epoch["epoch"] == 2]}
    _, history = start("plain", checkpoint=tmp_path / "c.pt", **end)
    assert len(history) == 2
    model, history = start("plain", checkpoint=tmp_path / "c.pt", resume=True)
    assert len(history) == 6
    assert same(model, start("plain")[0])


CHANGES = {
    "scheduler": ("cosine", {"scheduler": partial(lr_scheduler.CosineAnnealingLR, T_max=5)}, "fit.scheduler: was Cos"),
    "moment": ("cosine", {"schedule_on": "step"}, "fit.scheduler: was CosineAnnealingLR on epoch .* on step"),
    "no scheduler": ("cosine", {"scheduler": None}, "fit.scheduler: was CosineAnnealingLR .*, now None"),
    "a scheduler": ("plain", {"scheduler": lr_scheduler.ConstantLR}, "fit.scheduler: was None, now ConstantLR"),
    "clipping": ("penalty and clipping", {"clip_norm": 1.0}, "fit.clip_norm: was 0.5, now 1.0"),
    "penalty": ("penalty and clipping", {"sparsity": Squares(0.2)}, r"fit.sparsity: was Squares\(0.1\), now Squares"),
    "no penalty": ("penalty and clipping", {"sparsity": None}, r"fit.sparsity: was Squares\(0.1\), now None"),
    "fraction": ("fraction", {"validation": 0.4}, "fit.validation: was 0.3, now 0.4"),
    "no fraction": ("fraction", {"validation": classes()}, "fit.validation: was 0.3, now None"),
    "stopping": ("stopping", {"early_stopping": EarlyStopping(4, min_delta=0.5)}, "fit.early_stopping: was .*delta"),
    "no stopping": ("stopping", {"early_stopping": None}, "fit.early_stopping: was .*, now None"),
    "loader": ("loader", {"data": loader(generator=generator())}, "fit.generators: was None, now 1"),
    "batches": ("all samples", {"batch_size": 23}, "fit.batch_size: was None, now 23"),
    "loss": ("loss with settings", {"loss": partial(cross_entropy, label_smoothing=0.2)}, "fit.loss: was functools"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_resuming_another_run_is_refused_and_changes_nothing(tmp_path, case):
    run, change, message = CHANGES[case]
    start(run, epochs=1, checkpoint=tmp_path / "c.pt")
    model = network()
    with pytest.raises(ValueError, match=message):
        start(run, model=model, checkpoint=tmp_path / "c.pt", resume=True, **change)
    assert same(model, network())


def test_a_checkpoint_of_before_there_were_these_parts_is_continued(tmp_path):
    path = tmp_path / "c.pt"
    start("plain", epochs=2, checkpoint=path)
    content = torch.load(path, weights_only=True)
    for name in ("scheduler", "others", "weights", "held_out"):
        del content[name]
    new = ("scheduler", "clip_norm", "sparsity", "early_stopping", "validation", "generators")
    content["settings"] = {k: v for k, v in content["settings"].items() if k.removeprefix("fit.") not in new}
    torch.save(content, path)
    assert same(start("plain", checkpoint=path, resume=True)[0], start("plain")[0])


def test_divergence_keeps_the_checkpoint_and_steps_no_scheduler(tmp_path):
    path = tmp_path / "c.pt"
    start("plateau of training", epochs=2, checkpoint=path)
    before = path.read_bytes()

    def broken(output, target):
        return cross_entropy(output, target) * math.nan

    broken.__name__ = "cross_entropy"  # otherwise the resumption is refused
    with pytest.raises(FloatingPointError, match=r"epoch 3 .*c\.pt holds epoch 2"):
        start("plateau of training", checkpoint=path, resume=True, loss=broken)
    assert path.read_bytes() == before
