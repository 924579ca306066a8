"""Data, models and training of our sides of the experiment `equations`."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import Settings, parameters
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from qkan import KAN, QKAN, fit
from qkan.data import Function, create_dataset, feynman, feynman_names, named
from qkan.surgery import extend

__all__ = ["FEYNMAN", "function", "problem", "thinned", "train"]

KEPT = 25  # losses kept of a stage

# The rule, fixed before the first run: of the KAN paper's equations without units the first ten with two to five
# variables.
FEYNMAN = [
    name for name in feynman_names(dimensionless=True) if 2 <= len(feynman(name, dimensionless=True).variables) <= 5
][:10]


def function(name: str) -> Function:
    return feynman(name, dimensionless=True) if name in FEYNMAN else named(name)


def problem(name: str, settings: Settings) -> tuple[Tensor, ...]:
    """Inputs scaled to [-1, 1] by the ranges of the variables, targets to mean 0 and standard deviation 1."""
    f, samples = function(name), settings["samples"]
    generator = torch.Generator().manual_seed(settings["seed"])
    pairs = create_dataset(
        f, train_num=samples, test_num=samples, normalize_label=True, generator=generator, dtype=torch.float64
    )
    low, high = torch.tensor(f.ranges, dtype=torch.float64).unbind(-1)
    return tuple(part for x, y in pairs for part in ((2 * x - low - high) / (high - low), y))


def train(side: str, recipe: Settings, data: tuple[Tensor, ...], settings: Settings) -> Settings:
    """Fit one function by L-BFGS, until the time is up."""
    x, y, x_test, y_test = data
    exact: dict[str, Any] = {"tolerance_grad": 1e-14, "tolerance_change": 1e-16}  # the usual ones stop at about 1e-7
    optimizer = functools.partial(
        torch.optim.LBFGS, max_iter=20, history_size=50, line_search_fn="strong_wolfe", **exact
    )
    start, stages = time.process_time(), []
    model: nn.Module | None = None
    for size, until in recipe["stages"]:
        model = start_of(side, recipe, size, x, settings["seed"]) if model is None else grown(model, size, x)
        up = stop_at(start + until * settings["cap"])
        history = fit(model, (x, y), epochs=10**6, optimizer=optimizer, loss=mse_loss, callbacks=[up])
        stages.append({"size": size, "steps": len(history), "losses": thinned(history["train_loss"])})
    seconds = time.process_time() - start
    if model is None:
        raise ValueError("a recipe needs stages")
    with torch.no_grad():
        errors = [math.sqrt(mse_loss(model(inputs), targets)) for inputs, targets in ((x_test, y_test), (x, y))]
    sizes = {"parameters": parameters(model), "cpu_seconds": seconds}
    return {"rmse": errors[0], "train_rmse": errors[1], **sizes, "stages": stages}


def stop_at(end: float) -> Callable[[nn.Module, Any], bool]:
    return lambda _model, _epoch: time.process_time() >= end


def start_of(side: str, recipe: Settings, size: int, x: Tensor, seed: int) -> nn.Module:
    width, generator = [x.shape[-1], recipe["hidden"], 1], torch.Generator().manual_seed(seed)
    if side == "QKAN":
        return QKAN(width, reps=size, dtype=x.dtype, generator=generator, **recipe["options"])
    if side == "KAN":
        return on_the_samples(KAN(width, grid_size=size, dtype=x.dtype, generator=generator), x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mlp(x.shape[-1], recipe["hidden"][str(x.shape[-1])]).to(x.dtype)


def mlp(inputs: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)
    )


def grown(model: nn.Module, size: int, x: Tensor) -> nn.Module:
    """The same function with more repetitions, or on finer grids."""
    if isinstance(model, KAN):
        return on_the_samples(model.refine(size), x)
    return extend(model, size)


def on_the_samples(model: KAN, x: Tensor) -> KAN:
    model.update_grid(x)
    return model


def thinned(values: list[float]) -> list[float]:
    """At most KEPT of the values, evenly spaced, the first and the last among them."""
    at = np.unique(np.linspace(0, len(values) - 1, min(KEPT, len(values))).round().astype(int))
    return [values[i] for i in at]
