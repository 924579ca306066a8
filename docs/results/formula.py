"""From samples of exp(sin(πx) + y²) to its formula: train, prune, snap, round; write formula.md beside this file.

    python docs/results/formula.py              # a minute; writes formula.json, then the page
    python docs/results/formula.py --page-only

Everything after the choice of numbers below is automatic: no edge is looked at by a person.
"""

import argparse
import json
import platform
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sympy
import torch
from torch import Tensor, nn

from qkan import QKAN, fit
from qkan.attribution import Sparsity
from qkan.data import create_dataset, named
from qkan.surgery import prune
from qkan.symbolic import auto_symbolic, formula

HERE = Path(__file__).parent
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


def page(stored: dict[str, Any]) -> str:
    """Return the page."""
    full, bare = stored["results"]["with the penalty"], stored["results"]["without"]
    versions = ", ".join(f"{name} {value}" for name, value in stored["versions"].items())
    names = ("sparse", "pruned", "snapped", "trained")
    rows = [
        f"| {seed} | {list(r['widths'][-1])} | "
        + " | ".join(f"{r['errors'].get(name, float('nan')):.1e}" for name in names)
        + f" | `{r.get('rounded', r.get('stopped'))}` | {r['seconds']:.0f} |"
        for seed, r in full.items()
    ]
    edges = [
        f"| {seed} | "
        + ", ".join(f"{e.get('function', e['action'])} ({e.get('r2', 0):.6f})" for e in r["edges"])
        + f" | {r.get('rounding', float('nan')):.1e} |"
        for seed, r in full.items()
    ]
    ablation = [f"| {seed} | {list(r['widths'][-1])} | {'yes' if r['found'] else 'no'} |" for seed, r in bare.items()]
    found = sum(r["found"] for r in full.values())
    return f"""# From samples to a formula

Written by `python docs/results/formula.py` from [formula.json](formula.json) ({versions}). 1000 training and 1000 test
samples of exp(sin(πx) + y²), uniform in [-1, 1]²; QKAN [2, 5, 1] with {REPS} repetitions, scale and bias, in double
precision. L-BFGS (strong Wolfe, 20 iterations an epoch): {EPOCHS["sparse"]} epochs with `Sparsity(weight={WEIGHT:g})`;
`prune` with its own thresholds; {EPOCHS["sparse again"]} epochs more and `prune` again until the width stays;
{EPOCHS["pruned"]} epochs without the penalty; `auto_symbolic` over its whole library;
{EPOCHS["snapped"]} epochs of the constants; the formula, simplified with numbers of {DIGITS} decimals.

| seed | width after pruning | test MSE: sparse | pruned, trained | snapped | trained again | formula | seconds |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Equal to exp(sin(πx) + y²), shown by SymPy: {found} of {len(full)} seeds.

Functions chosen, with R², and the largest error on the test inputs that simplification and rounding cause:

| seed | edges | error of rounding |
|---|---|---|
{chr(10).join(edges)}

Ablation, the same without the penalty:

| seed | width after pruning | formula found |
|---|---|---|
{chr(10).join(ablation)}
"""


def main() -> None:
    """Measure and write the page, or only write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page-only", action="store_true", help="write the page from formula.json")
    if not parser.parse_args().page_only:
        (HERE / "formula.json").write_text(json.dumps(measure(), indent=1) + "\n")
    (HERE / "formula.md").write_text(page(json.loads((HERE / "formula.json").read_text())))


if __name__ == "__main__":
    main()
