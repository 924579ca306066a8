"""Train, prune, snap and round lead from samples of exp(sin(πx) + y²) to its formula, for every one of ten seeds.

    python experiments/formula.py              # a minute; writes docs/results/formula.json
    python experiments/formula.py --page-only  # prints this experiment's part of the page of results

Everything after the choice of numbers below is automatic: no edge is looked at by a person.
"""

import argparse
import json
import platform
import time
from collections import Counter
from functools import partial
from importlib.metadata import version
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch
from harness import RESULTS, read
from tables import table, verdict
from torch import Tensor, nn

from qkan import QKAN, fit
from qkan.attribution import Sparsity
from qkan.data import create_dataset, named
from qkan.surgery import prune
from qkan.symbolic import auto_symbolic, formula

__all__ = ["measure", "run", "section"]

SEEDS = tuple(range(10))
TARGET = "exp(sin(pi*x) + y**2)"
REPS, WEIGHT, DIGITS = 4, 1e-2, 2
EPOCHS = {"sparse": 60, "sparse again": 30, "pruned": 50, "snapped": 50}
LBFGS = partial(torch.optim.LBFGS, max_iter=20, line_search_fn="strong_wolfe")
MSE = nn.functional.mse_loss


def run(seed: int, weight: float) -> dict[str, Any]:
    """Find the formula with one seed; weight 0 is the ablation without the penalty."""
    generator, start = torch.Generator().manual_seed(seed), time.perf_counter()
    train, test = create_dataset(named("exp-sine-square"), generator=generator, dtype=torch.float64)
    model = QKAN([2, 5, 1], reps=REPS, scale=True, bias=True, generator=generator, dtype=torch.float64)
    sparsity = Sparsity(weight=weight) if weight else None
    fit(model, train, epochs=EPOCHS["sparse"], optimizer=LBFGS, loss=MSE, sparsity=sparsity)
    pruned, widths = prune(model, train), [model.width]
    while pruned.width != widths[-1]:  # until nothing more goes
        widths.append(pruned.width)
        fit(pruned, train, epochs=EPOCHS["sparse again"], optimizer=LBFGS, loss=MSE, sparsity=sparsity)
        pruned = prune(pruned, train)
    fit(pruned, train, epochs=EPOCHS["pruned"], optimizer=LBFGS, loss=MSE)
    snapped, report = auto_symbolic(pruned, train)
    errors = {"sparse": _error(model, test), "pruned": _error(pruned, test), "snapped": _error(snapped, test)}
    try:
        fit(snapped, train, epochs=EPOCHS["snapped"], optimizer=LBFGS, loss=MSE)
    except FloatingPointError as error:
        return {"widths": widths, "errors": errors, "stopped": str(error), "found": False}
    found = formula(snapped, names=["x", "y"])
    short = found.simplified(DIGITS)
    return {
        "widths": widths,
        "errors": errors | {"trained": _error(snapped, test)},
        "edges": [
            {"layer": s.layer, "output": s.output, "input": s.input, "action": s.action}
            | ({} if s.suggestion is None else {"function": s.suggestion.name, "r2": s.suggestion.r2})
            for s in report
        ],
        "formula": str(found.expressions[0]),
        "rounded": str(short.expressions[0]),
        "rounding": short.error(test[0])[0].largest,
        "found": _equal(short.expressions[0]),
        "seconds": time.perf_counter() - start,
    }


def _error(model: nn.Module, test: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return float(MSE(model(test[0]), test[1]))


def _equal(expression: sympy.Expr) -> bool:
    """Return whether SymPy shows the expression to be the target."""
    names = {str(symbol): symbol for symbol in expression.free_symbols}
    return bool(sympy.simplify(expression - sympy.sympify(TARGET, locals=names)) == 0)


def measure() -> dict[str, Any]:
    """Run every seed, with and without the penalty."""
    torch.set_num_threads(1)
    results = {}
    for name, weight in (("with the penalty", WEIGHT), ("without", 0.0)):
        results[name] = {str(seed): run(seed, weight) for seed in SEEDS}
        for seed, result in results[name].items():
            print(name, seed, result["widths"][-1], result.get("rounded", "")[:100], flush=True)
    versions = {name: version(name) for name in ("torch", "numpy", "sympy", "qkan-torch")}
    settings = {
        "seeds": SEEDS,
        "reps": REPS,
        "weight": WEIGHT,
        "digits": DIGITS,
        "epochs": EPOCHS,
        "threads": 1,
    }
    return {"settings": settings, "versions": versions | {"python": platform.python_version()}, "results": results}


def section(results: dict[str, Any]) -> str:
    """Return this experiment's part of the page."""
    told, full, bare = results["settings"], results["results"]["with the penalty"], results["results"]["without"]
    epochs = told["epochs"]
    versions = ", ".join(f"{name} {value}" for name, value in results["versions"].items())
    found, without = (sum(r["found"] for r in runs.values()) for runs in (full, bare))
    counts = Counter(str(list(r["widths"][-1])) for r in bare.values())
    widths = ", ".join(f"{width} ({count} times)" for width, count in counts.most_common())
    return f"""## From samples to a formula

`python experiments/formula.py` ({versions}). 1000 training and 1000 test samples of exp(sin(πx) + y²), uniform in
[-1, 1]²; QKAN [2, 5, 1] with {told["reps"]} repetitions, scale and bias, in double precision. L-BFGS (strong Wolfe, 20
iterations an epoch): {epochs["sparse"]} epochs with `Sparsity(weight={told["weight"]:g})`; `prune` with its own
thresholds; {epochs["sparse again"]} epochs more and `prune` again until the width stays; {epochs["pruned"]} epochs
without the penalty; `auto_symbolic` over its whole library; {epochs["snapped"]} epochs of the constants; the formula,
simplified with numbers of {told["digits"]} decimals. No edge is looked at by a person.

{_formulas(full)}

Functions chosen, with R², and the largest error on the test inputs that simplification and rounding cause:

{_edges(full)}

Equal to exp(sin(πx) + y²), shown by SymPy: {found} of {len(full)} seeds, which is the claim: {_all(found, full)}.
Ablation, the same without the penalty: {without} of {len(bare)} seeds; widths after pruning {widths}.
"""


def _formulas(runs: dict[str, Any]) -> str:
    stages = ("sparse", "pruned", "snapped", "trained")
    rows = [
        [
            seed,
            list(r["widths"][-1]),
            *(f"{r['errors'].get(stage, float('nan')):.1e}" for stage in stages),
            f"`{r.get('rounded', r.get('stopped'))}`",
            f"{r['seconds']:.0f}",
        ]
        for seed, r in runs.items()
    ]
    titles = ("test MSE: sparse", "pruned, trained", "snapped", "trained again")
    return table(["seed", "width after pruning", *titles, "formula", "seconds"], rows)


def _edges(runs: dict[str, Any]) -> str:
    rows = [
        [
            seed,
            ", ".join(f"{e.get('function', e['action'])} ({e.get('r2', 0):.6f})" for e in r["edges"]),
            f"{r.get('rounding', float('nan')):.1e}",
        ]
        for seed, r in runs.items()
    ]
    return table(["seed", "edges", "error of rounding"], rows)


def _all(found: int, runs: dict[str, Any]) -> str:
    return verdict(found == len(runs))


def main() -> None:
    """Measure, or only print the part of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page-only", action="store_true", help="print the part of the page made from formula.json")
    if not parser.parse_args().page_only:
        (RESULTS / "formula.json").write_text(json.dumps(measure(), indent=1) + "\n")
    print(section(read("formula")))


if __name__ == "__main__":
    main()
