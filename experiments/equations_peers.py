"""pykan's side of the experiment `equations`: grid extension by its documented recipe, under a cap on CPU time.

    python experiments/equations_peers.py TASKS.npz RECIPE.json   # in an interpreter with pykan 0.2.8

Prints one line of JSON: a list with what came out of every task. It needs nothing else of this repository.
"""

import contextlib
import io
import json
import platform
import random
import sys
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

SEEN = 10  # test samples that pykan is given: `fit` evaluates them in every step, which is to cost it nothing


class TimeIsUp(Exception):
    """Ends a call of pykan's `fit`."""


def recorder(losses: list[float], end: float) -> Any:
    """Return a metric for `fit`, which calls it after every step: it keeps the training loss, and ends at the time."""

    def train_loss() -> torch.Tensor:
        # A global of pykan, where its closure leaves the loss.
        loss: torch.Tensor = sys.modules["kan.MultKAN"].train_loss
        losses.append(float(loss))
        if time.process_time() >= end:
            raise TimeIsUp
        return loss.detach()

    return train_loss


def train(x: torch.Tensor, y: torch.Tensor, recipe: dict[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """Return the model, and what was left of the stages: refine, then `fit` with pykan's own L-BFGS."""
    from kan import KAN  # type: ignore[import-not-found]

    data = {"train_input": x, "train_label": y, "test_input": x[:SEEN], "test_label": y[:SEEN]}
    start, stages = time.process_time(), []
    model = None
    for grid, until in recipe["stages"]:
        if model is None:
            width = [x.shape[1], recipe["hidden"], 1]
            model = KAN(width=width, grid=grid, k=3, seed=recipe["seed"], auto_save=False)
        else:
            model.save_act = True  # `fit` switches it off, and on again at its own end
            model(x)  # `refine` fits the new splines at the samples that the model has seen last
            model = model.refine(grid)
            model.auto_save = False
        losses: list[float] = []
        metric = recorder(losses, start + until * recipe["cap"])
        with contextlib.suppress(TimeIsUp):
            model.fit(data, opt="LBFGS", steps=recipe["steps"], metrics=(metric,))
        stages.append({"size": grid, "losses": losses})
    return model, stages


def parameters(model: Any) -> int:
    """Splines, their scales and the base branch; what `speed` switches off, the symbolic branch, does not count."""
    kept = {id(p) for p in model.symbolic_fun.parameters()}
    return sum(p.numel() for p in model.parameters() if p.requires_grad and id(p) not in kept)


def task(arrays: Any, name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    x, y, x_test, y_test = (torch.from_numpy(arrays[f"{name}/{part}"]) for part in range(4))
    random.seed(recipe["seed"])
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model, stages = train(x, y, recipe)
    seconds = time.process_time() - start
    with torch.no_grad():
        rmse = float((model(x_test) - y_test).square().mean().sqrt())
        train_rmse = float((model(x) - y).square().mean().sqrt())
    return {
        "rmse": rmse, "train_rmse": train_rmse, "parameters": parameters(model), "cpu_seconds": seconds,
        "stages": stages,
    }  # fmt: skip


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    arrays, recipe = np.load(sys.argv[1]), json.loads(sys.argv[2])
    names = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in arrays.files))
    task(arrays, names[0], recipe | {"cap": 0.3})  # warms up: the first is slower
    found = {name: task(arrays, name, recipe) for name in names}
    packages = {name: version(name) for name in ("pykan", "torch", "numpy")} | {"python": platform.python_version()}
    print(json.dumps({"versions": packages, "results": found}))


if __name__ == "__main__":
    main()
