"""Encoding weights that start at 1, 3, 9 fit what reaches harmonic 13; weights trained from 1 do not get there.

    python experiments/frequencies.py   # two minutes

After arXiv 2602.23409 (median R² 0.997 against 0.18 there). All 20 targets of a family are outputs of one layer: Adam
moves every parameter by its own gradient, so that edges do not see one another. The exception is meant:
"trainable-shared" has frequencies that all outputs share. Step size and start were chosen on other targets.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frequencies_targets import Target, grid, ternary_edges, three_lines
from harness import Experiment, Settings, main
from tables import table, verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from qkan import QKAN

__all__ = ["EXPERIMENT", "RUNS", "figure", "run", "section"]

BAR, GOOD = 0.99, 0.95
FAMILIES = {"ternary edges": "outputs of random ternary edges", "three lines": "three random harmonics up to 13"}
TERNARY = {"encoding_init": "ternary"}
ENCODINGS: dict[str, Settings] = {
    "unit": {"encoding": "unit"},
    "ternary": {"encoding": "ternary"},
    "trainable": {"encoding": "trainable"},
    "trainable from ternary": {"encoding": "trainable", **TERNARY},
    "shared": {"encoding": "trainable-shared"},
    "shared from ternary": {"encoding": "trainable-shared", **TERNARY},
}
TITLES = {
    "unit": "unit",
    "ternary": "ternary",
    "trainable": "trainable, from unit",
    "trainable from ternary": "trainable, from ternary",
    "shared": "trainable-shared, from unit",
    "shared from ternary": "trainable-shared, from ternary",
}
EDGES = (1, 4)
COMMON: Settings = {
    "edges": EDGES,
    "targets": 20,
    "restarts": [0, 1, 2],
    "reps": 3,
    "init": 1.0,
    "steps": 500,
    "lr": 0.3,
    "samples": 128,
    "test_samples": 1000,
    "target_seed": 0,
}
RUNS: dict[str, Settings] = {
    f"{family}/{name}": {"family": family, "options": options, **COMMON}
    for name, options in ENCODINGS.items()
    for family in FAMILIES
}


def run(settings: Settings, folder: Path) -> Settings:
    """Fit all targets of a family with every number of edges, from every start."""
    return {str(edges): fits(settings, edges, target(settings)) for edges in settings["edges"]}


def target(settings: Settings) -> Target:
    import torch

    generator = torch.Generator().manual_seed(settings["target_seed"])
    make = {"ternary edges": ternary_edges, "three lines": three_lines}[settings["family"]]
    return make(settings["targets"], settings["reps"], generator)


def fits(settings: Settings, edges: int, targets: Target) -> Settings:
    """Return R² and training error, [restarts, targets] each, and every 20th loss."""
    found = [fit_once(settings, edges, targets, seed) for seed in settings["restarts"]]
    return {name: [result[name] for result in found] for name in found[0]}


def fit_once(settings: Settings, edges: int, targets: Target, seed: int) -> Settings:
    import torch
    from torch.optim import Adam
    from torch.optim.lr_scheduler import CosineAnnealingLR

    from qkan import QKAN, fit

    x, x_test = grid(settings["samples"]), grid(settings["test_samples"])
    generator = torch.Generator().manual_seed(seed)
    options = {name: settings[name] for name in ("reps", "init")} | settings["options"]
    model = QKAN([edges, settings["targets"]], dtype=torch.float64, generator=generator, **options)
    optimizer = Adam(model.parameters(), lr=settings["lr"])
    history = fit(
        model,
        (repeated(x, edges), targets(x)),
        epochs=settings["steps"],
        optimizer=optimizer,
        scheduler=CosineAnnealingLR(optimizer, settings["steps"]),
        loss=torch.nn.functional.mse_loss,
    )
    return {
        "r2": (1 - errors(model, x_test, targets) / targets(x_test).var(0, correction=0)).tolist(),
        "train_mse": errors(model, x, targets).tolist(),
        "train_loss": history["train_loss"][::20],
        "angles_and_weights": model.param_size,
    }


def repeated(x: "Tensor", edges: int) -> "Tensor":
    """Return x [samples] as so many equal inputs [samples, edges]: an output is a sum of edges of one variable."""
    return x.unsqueeze(-1).expand(-1, edges)


def errors(model: "QKAN", x: "Tensor", targets: Target) -> "Tensor":
    import torch

    inputs = repeated(x, model.width[0])
    with torch.no_grad():
        outputs: Tensor = model(inputs)
    return (outputs - targets(x)).square().mean(0)


def section(results: Mapping[str, Any]) -> str:
    """Return this experiment's part of the page."""
    runs = results["runs"]
    first = next(iter(runs.values()))
    told, versions = first["settings"], first["versions"]
    tables = [_table(runs, family, edges) for edges in told["edges"] for family in FAMILIES]
    joined = "\n\n".join(tables)
    return f"""## Where frequencies start

`python experiments/frequencies.py`. {told["targets"]} targets of each family on [-π, π], scaled to |f| <= 1, which is
what a qubit can produce: outputs of random ternary edges (`pz`, weights 1, 3, 9, angles uniform in ± π), and sums of
three random harmonics up to 13 with random amplitudes and phases. Every side: `pz` with {told["reps"]} repetitions,
angles from N(0, 1), {told["samples"]} equidistant samples, {told["steps"]} steps of Adam on all of them (mean squared
error, learning rate {told["lr"]} with cosine decay), {len(told["restarts"])} starts, double precision; R² on
{told["test_samples"]} other points. "Best" takes for each target the start with the least training error; "runs" are
all starts. "Shared" frequencies are those of all {told["targets"]} targets together (for a single edge and a single
target they are the same as trainable ones). Learning rate and start were chosen on other targets. The targets are
outputs of one layer: under Adam edges do not see one another. torch {versions["torch"]}.

{joined}

![R² of every target, best of the starts; below 0 drawn at 0](frequencies.png)

Bar: a median R² of at least {BAR} with ternary weights on outputs of ternary edges. {_bar(runs, told["edges"])}

{_conclusion(runs, told["edges"])}

A ternary edge makes 27 Fourier coefficients from {told["reps"] * 2 + 2} angles: it has every harmonic up to 13, but not
every sum of three of them. A sum of edges has more angles for the same harmonics.
"""


def _table(runs: Mapping[str, Any], family: str, edges: int) -> str:
    what = f"{FAMILIES[family]}, fitted by {'one edge' if edges == 1 else f'a sum of {edges} edges'}"
    share = f"above {GOOD}"
    head = [what, "parameters per target", "median R², runs", share, "median R², best", share]
    rows = []
    for name in _known(runs, family):
        result = runs[f"{family}/{name}"]["result"][str(edges)]
        count = result["angles_and_weights"][0] / len(result["r2"][0])
        cells = [(_median(values), _share(values)) for values in (_all(result), _best(result))]
        rows.append([TITLES[name], f"{count:g}", *(text for pair in cells for text in pair)])
    return table(head, rows)


def _bar(runs: Mapping[str, Any], counts: Sequence[int]) -> str:
    parts = []
    for edges in counts:
        result = runs["ternary edges/ternary"]["result"][str(edges)]
        every, best = _middle(_all(result)), _middle(_best(result))
        name = "One edge" if edges == 1 else f"{edges} edges"
        parts.append(f"{name}: best of the starts {best:.4f}, {verdict(best >= BAR)}")
        parts[-1] += f"; all runs {every:.4f}, {verdict(every >= BAR)}."
    return " ".join(parts)


def _conclusion(runs: Mapping[str, Any], counts: Sequence[int]) -> str:
    """Say in words what the numbers show, for each family and number of edges."""
    texts = []
    for edges in counts:
        for family in FAMILIES:
            medians = {n: _middle(_best(runs[f"{family}/{n}"]["result"][str(edges)])) for n in _known(runs, family)}
            good = [TITLES[name] for name, value in medians.items() if value >= GOOD]
            found = "none" if not good else "; ".join(good) if len(good) < len(medians) else "all"
            highest = max(medians, key=lambda name: medians[name])
            texts.append(
                f"- {'One edge' if edges == 1 else f'{edges} edges'} on {FAMILIES[family]}: median R² (best of the "
                f"starts) of at least {GOOD}: {found}. The highest is {medians[highest]:.4f}, {TITLES[highest]}."
            )
    return "\n".join(texts)


def _known(runs: Mapping[str, Any], family: str) -> list[str]:
    return [name for name in ENCODINGS if f"{family}/{name}" in runs]


def _all(result: Settings) -> list[float]:
    return [value for start in result["r2"] for value in start]


def _best(result: Settings) -> list[float]:
    """R² of the start with the least training error, for every target."""
    pairs = [list(zip(*both, strict=True)) for both in zip(result["train_mse"], result["r2"], strict=True)]
    return [float(min(starts)[1]) for starts in zip(*pairs, strict=True)]


def _middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def _median(values: Sequence[float]) -> str:
    return f"{_middle(values):.4f}"


def _share(values: Sequence[float]) -> str:
    return f"{sum(value > GOOD for value in values)} of {len(values)}"


def figure(results: Mapping[str, Any]) -> "Figure":
    """Draw R² of every target, best of the starts: a panel per family and number of edges."""
    from qkan.plot import style

    runs = results["runs"]
    drawn = style.empty(9.0, 5.2)
    panels = [(family, edges) for edges in EDGES for family in FAMILIES]
    for place, (family, edges) in enumerate(panels):
        axes = drawn.add_subplot(2, 2, place + 1)
        names = _known(runs, family)
        for row, name in enumerate(names):
            values = sorted(_best(runs[f"{family}/{name}"]["result"][str(edges)]))
            heights = [row + 0.6 * (k / max(len(values) - 1, 1) - 0.5) for k in range(len(values))]
            axes.plot([max(v, 0.0) for v in values], heights, "o", markersize=3, color=style.COLOURS[row])
            axes.plot([_middle(values)] * 2, [row - 0.4, row + 0.4], color=style.INK, linewidth=1.4)
        axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
        axes.invert_yaxis()
        count = "one edge" if edges == 1 else f"{edges} edges"
        style.tidy(axes, title=f"{family}, fitted by {count}", x="R² (bar: median)")
        axes.set_xlim(-0.03, 1.03)
    return drawn


EXPERIMENT = Experiment("frequencies", RUNS, run)

if __name__ == "__main__":
    main(EXPERIMENT, __file__)
