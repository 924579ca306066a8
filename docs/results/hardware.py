"""Measure an HQKAN by shots and under noise on MNIST, and write hardware.md and hardware.png beside this file.

python docs/results/hardware.py run --seed 0 [--data ROOT]   # some minutes; writes hardware/seed0.json
python docs/results/hardware.py                              # from the files in hardware/

ROOT is a torchvision root; without it torchvision downloads MNIST.
"""

import argparse
import copy
import json
import platform
import statistics
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkan import HQKAN, fit, lower
from qkan.data.images import load_images
from qkan.hardware import measure, plan
from qkan.noise import Noise
from qkan.solvers import PennyLane
from qkan.training import evaluate, top_k

HERE = Path(__file__).parent
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SHOTS = (128, 1024, 8192)
REPEATS = 5  # measurements of one trained model
NOISY_SHOTS = 1024

# Epochs and learning rates, one after the other.
SCHEDULE = ((8, 2e-3), (4, 2e-4))
BATCH = 250

# Mean Pauli error of a single-qubit gate, all qubits at work at the same time.
DEVICE = (
    "Sycamore",
    1.6e-3,
    "Arute et al., Nature 574, 505 (2019), figure 2: single-qubit Pauli error e1, simultaneous",
)

Data = tuple[Tensor, Tensor]


def run(seed: int, root: str | None) -> dict[str, Any]:
    """Train with one seed, without noise and at every strength, and return all accuracies."""
    train, test, _ = load_images("mnist", root)
    exact = _trained(None, seed, train)
    noiseless = _accuracy(lower(exact), test)
    result: dict[str, Any] = {
        "settings": {
            "seed": seed, "data": "mnist", "train_digest": train.digest(), "test_digest": test.digest(),
            "schedule": SCHEDULE, "batch": BATCH, "model": str(exact[1].core.layers[0]),
        },
        "versions": {name: version(name) for name in ("torch", "numpy", "pennylane", "qkan-torch")}
        | {"python": platform.python_version()},
        "exact": noiseless,
        "shots": {str(shots): [_measured(exact, shots, test, repeat) for repeat in range(REPEATS)] for shots in SHOTS},
        "plan": str(plan(exact, 1024, samples=len(test))),
        "noise": {},
    }  # fmt: skip
    print(f"seed {seed}: exact {noiseless:.4f}", flush=True)
    for strength in STRENGTHS:
        result["noise"][str(strength)] = _noisy(exact, strength, seed, train, test)
        print(f"seed {seed}: {strength:g} {result['noise'][str(strength)]}", flush=True)
    return result


def _noisy(exact: nn.Module, strength: float, seed: int, train: Any, test: Any) -> dict[str, Any]:
    """Evaluate under depolarizing noise: trained without it, the same rescaled, and trained with it."""
    noise = Noise(depolarizing=strength)
    models = {"plain": _with_noise(exact, noise), "aware": _trained(noise, seed, train)}
    models["rescaled"] = _rescaled(models["plain"], strength)
    found: dict[str, Any] = {}
    for name, model in models.items():
        found[name] = _accuracy(lower(model), test)
        found[f"{name}, {NOISY_SHOTS} shots"] = _measured(model, NOISY_SHOTS, test, seed, noise)
    found["deviation from default.mixed"] = _deviation(models["aware"])
    return found


def _network(noise: Noise | None) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), HQKAN(1024, 10, noise=noise))


def _trained(noise: Noise | None, seed: int, train: Any) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _network(noise)
    generator = torch.Generator().manual_seed(seed)
    for epochs, rate in SCHEDULE:
        adam = torch.optim.Adam(model.parameters(), lr=rate)
        fit(model, train, epochs=epochs, batch_size=BATCH, optimizer=adam, generator=generator)
    return model.eval()


def _with_noise(model: nn.Module, noise: Noise) -> nn.Sequential:
    noisy = _network(noise)
    noisy.load_state_dict(model.state_dict())
    return noisy.eval()


def _rescaled(model: nn.Module, strength: float) -> nn.Module:
    """Divide by what the noise shrinks every <Z> by: depolarizing commutes with all gates, so that it is one factor."""
    model = copy.deepcopy(model)
    layer = model[1].core.layers[0]
    noisy = sum(op.source == "channel" for op in layer.options.circuit.circuit(layer.options.reps))
    with torch.no_grad():
        model[1].decoder.weight /= (1 - 4 * strength / 3) ** noisy
    return model


def _measured(model: nn.Module, shots: int, test: Any, seed: int, noise: Noise | None = None) -> float:
    device = "default.qubit" if noise is None else "default.mixed"
    surrogate = measure(model, device, shots, keywords={"seed": 1000 + seed}, noise=noise)
    return _accuracy(surrogate.model, test)


def _accuracy(model: nn.Module, test: Any) -> float:
    return evaluate(model, test, metrics={"top1": top_k(1)})["top1"]


@torch.no_grad()
def _deviation(model: nn.Module) -> float:
    """Largest deviation of the lowered core's outputs from `default.mixed`, in float64, on 8 random inputs."""
    model = copy.deepcopy(model).double()
    core, x = model[1].core, torch.rand(8, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6 - 3
    lowered = lower(core)(x)
    core.layers[0].solver = PennyLane("default.mixed", chunk=1000)
    return float((core(x) - lowered).abs().max())


HEADER = """# An HQKAN on a noisy device, measured with a finite number of shots

Written by `python docs/results/hardware.py` from the files in [hardware/](hardware/), each of which is written by

```sh
python docs/results/hardware.py run --seed SEED --data ROOT
```

MNIST (60,000 training and 10,000 test images in [-1, 1], padded to 32 x 32, no augmentation); `HQKAN(1024, 10)`:
Linear(1024, 40), QKAN([40, 16]) with `pz` and 3 repetitions, Linear(16, 10). Adam, 8 epochs at 2e-3 and 4 at 2e-4,
batches of 250; accuracy on the test set after the last epoch, in percent, mean ± standard deviation over SEEDS seeds
(0, 1, ..., fixed before the first run). Noise: depolarizing with probability p after every rotation (11 on each edge),
in PennyLane's parametrisation.
"""

COLUMNS = {
    "plain": "trained without noise",
    "rescaled": "the same, decoder rescaled",
    "aware": "trained under this noise",
}


def _page(results: list[dict[str, Any]]) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in results[0]["versions"].items())
    deviation = max(row["deviation from default.mixed"] for r in results for row in r["noise"].values())
    return "\n".join(
        [
            HEADER.replace("SEEDS", str(len(results))),
            "## Shots, without noise\n",
            _shots_table(results),
            f"\nEvery edge was measured at its 7 settings on `default.qubit`; {REPEATS} measurements of each of the "
            "trained models, so that the spread is over both. The first row needs no device.\n",
            "## Noise\n",
            _noise_table(results),
            f"\n`exact` columns: expectations, by the lowering. `{NOISY_SHOTS} shots`: every setting measured on "
            "`default.mixed`, one measurement per model. Largest deviation of an output of the noise-aware cores from "
            f"`default.mixed`, double precision, over all seeds and p: {deviation:.1e}.\n",
            "![Accuracy by shots and by noise](hardware.png)\n",
            _reading(results),
            "\n## What it costs to run\n",
            "`qkan.hardware.plan(model, 1024, samples=10000)`:\n",
            f"```\n{results[0]['plan']}\n```\n",
            f"Run with {versions}, on a CPU.\n",
        ]
    )


def _shots_table(results: list[dict[str, Any]]) -> str:
    lines = ["| shots per setting | accuracy |", "|---|---|", f"| exact | {_percent(r['exact'] for r in results)} |"]
    for shots in SHOTS:
        lines.append(f"| {shots:,} | {_percent(value for r in results for value in r['shots'][str(shots)])} |")
    return "\n".join(lines)


def _noise_table(results: list[dict[str, Any]]) -> str:
    kinds = [f"{name}{shots}" for name in COLUMNS for shots in ("", f", {NOISY_SHOTS} shots")]
    titles = [f"{title}, {kind}" for title in COLUMNS.values() for kind in ("exact", f"{NOISY_SHOTS} shots")]
    lines = ["| " + " | ".join(["p", "⟨Z⟩ shrinks to", *titles]) + " |", "|---" * (len(titles) + 2) + "|"]
    for strength in STRENGTHS:
        cells = [_percent(r["noise"][str(strength)][kind] for r in results) for kind in kinds]
        lines.append("| " + " | ".join([f"{strength:g}", f"{(1 - 4 * strength / 3) ** 11:.3f}", *cells]) + " |")
    return "\n".join(lines)


def _reading(results: list[dict[str, Any]]) -> str:
    """Return what the numbers say, with the differences over seeds computed from them."""

    def gain(one: str, other: str, strength: float = STRENGTHS[-1]) -> str:
        rows = [r["noise"][str(strength)] for r in results]
        return _percent(row[one] - row[other] for row in rows)

    shots = f", {NOISY_SHOTS} shots"
    return (
        "Depolarizing noise of equal strength after every rotation commutes with the circuit: it multiplies every ⟨Z⟩ "
        "by one factor, which the decoder can undo without any training. That is the ablation in the middle columns, "
        "and it has to be beaten before noise-aware training can be credited with anything. At p = 0.1, in percentage "
        f"points, paired by seed: trained under the noise minus trained without, exact: {gain('aware', 'plain')}; "
        f"minus the rescaled one, exact: {gain('aware', 'rescaled')}; with {NOISY_SHOTS} shots, minus the rescaled "
        f"one: {gain('aware' + shots, 'rescaled' + shots)} (at p = 0.03: "
        f"{gain('aware' + shots, 'rescaled' + shots, 0.03)}). A difference within its spread over the seeds is none. "
        "Where only shots make a difference, a likely reason, not measured here, is that training under noise makes "
        "⟨Z⟩ larger against the noise of sampling.\n\n"
        f"The dashed line marks {DEVICE[0]}, p = {DEVICE[1]:g} ({DEVICE[2]}). Its error also holds other parts than "
        "depolarizing, and its readout error is larger than its gate error; neither is in this sweep.\n"
    )


def _figure(results: list[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=False, width_ratios=(1, 1.7))
    exact = [100 * r["exact"] for r in results]
    left.axhspan(min(exact), max(exact), color="0.85", label="exact (range over seeds)")
    samples = [[100 * v for r in results for v in r["shots"][str(shots)]] for shots in SHOTS]
    _bars(left, SHOTS, samples, "C0", "measured")
    left.set(xscale="log", xlabel="shots per setting", ylabel="test accuracy, %", xticks=SHOTS, xticklabels=SHOTS)
    left.minorticks_off()
    for color, (name, title) in zip(("C0", "C2", "C1"), COLUMNS.items(), strict=True):
        for style, suffix in (("-", ""), (":", f", {NOISY_SHOTS} shots")):
            rows = [[100 * r["noise"][str(p)][name + suffix] for r in results] for p in STRENGTHS]
            _bars(right, STRENGTHS, rows, color, title + (suffix or ", exact"), style)
    right.axvline(DEVICE[1], color="0.4", linestyle="--", linewidth=1)
    right.annotate(
        DEVICE[0], (DEVICE[1], 0.45), xycoords=("data", "axes fraction"), rotation=90, ha="right", fontsize=8
    )
    right.set(xscale="log", xlabel="depolarizing probability p per rotation")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small", loc="lower right" if axes is left else "lower left")
    return figure


def _bars(axes: Any, x: tuple[float, ...], rows: list[list[float]], color: str, label: str, style: str = "-") -> None:
    means, spreads = [statistics.mean(row) for row in rows], [statistics.stdev(row) for row in rows]
    axes.errorbar(x, means, spreads, color=color, linestyle=style, marker="o", markersize=3, capsize=2, label=label)


def _percent(values: Iterable[float]) -> str:
    values = [100 * value for value in values]
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main() -> None:
    """Write the page and its figure, or run one seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command")
    command = commands.add_parser("run")
    command.add_argument("--seed", type=int, required=True)
    command.add_argument("--data")
    options = parser.parse_args()
    if options.command == "run":
        result = run(options.seed, options.data)
        (HERE / "hardware" / f"seed{options.seed}.json").write_text(json.dumps(result, indent=1) + "\n")
        return
    results = [json.loads(path.read_text()) for path in sorted((HERE / "hardware").glob("seed*.json"))]
    (HERE / "hardware.md").write_text(_page(results))
    _figure(results).savefig(HERE / "hardware.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
