"""The peer's side of the experiment `functions`: its quick start, on our samples.

    python experiments/functions_peer.py DATA.npz TOLD.json-text   # in an interpreter with qkan 0.2.3

Prints one line of JSON. It needs nothing else of this repository.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

import qkan  # the peer's

QKAN: Any = qkan.QKAN


class Counted:
    """The mean squared error, the peer's default, and how often training evaluated it."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.calls = 0

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += self.model.training
        return torch.nn.functional.mse_loss(outputs, targets)


def run(path: str, told: dict[str, Any]) -> dict[str, Any]:
    """Fit [1, 1] as the quick start does; `save_act`, which only its plots need, is left out."""
    torch.set_num_threads(1)
    parts = [torch.from_numpy(part).float() for part in np.load(path).values()]
    dataset = dict(zip(("train_input", "train_label", "test_input", "test_label"), parts, strict=True))
    trainable = ("preact_trainable", "postact_weight_trainable", "postact_bias_trainable", "ba_trainable")
    model = QKAN([1, 1], reps=told["reps"], device="cpu", seed=told["seed"], **dict.fromkeys(trainable, True))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=5e-2)
    loss = Counted(model)
    history = model.train_(dataset, steps=told["steps"], optimizer=optimizer, loss_fn=loss, verbose=False)
    with torch.no_grad():
        difference = model(dataset["test_input"]) - dataset["test_label"]
    return {
        "train_loss": [finite(value) for value in history["train_loss"]],
        "test_mse": [finite(value) for value in history["test_loss"]],
        "max_error": finite(difference.abs().max()),
        "evaluations": loss.calls,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "versions": {name: version(name) for name in ("qkan", "torch", "numpy")},
    }


def finite(value: Any) -> float | None:
    """Return a number that JSON has; None once training has diverged."""
    return float(value) if np.isfinite(float(value)) else None


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], json.loads(sys.argv[2]))))
