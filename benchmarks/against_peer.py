"""Claim: a QKAN layer of everyday size is, on a CPU, over 100 times as fast as the best solver of qkan 0.2.3.

    python -m venv peer
    peer/bin/pip install torch tqdm matplotlib numpy sympy opt-einsum pennylane qkan==0.2.3
    python benchmarks/against_peer.py --peer peer/bin/python --readout expectation

Every side runs in a process of its own, with the same script, θ, w, b, inputs and threads; outputs and all gradients
are compared before anything is timed, and what differs or does not run is told and not timed. Sides take turns. Times
are of forward and backward with gradients of x, θ, w, b; `x qkan` is a side's time by ours, eager, and `x compiled` by
ours compiled: below 1 that side is faster. `pages kept`: a C library that keeps its memory pages, on both sides.
The peer's layer also multiplies silu(x) by base weights, 0 here and by default. Memory: unique storage kept for
backward, and the growth of the peak resident size (eager).
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from harness import Row, in_turn, median, ratio
from peer_cases import CASES, Case
from processes import Worker
from reporting import MALLOC, report
from variants import Setup, parse

PAGES = ", pages kept"
BOUND = 1e-4  # of the largest value, in float32


def rows(setup: Setup, python: str, cases: Sequence[Case]) -> list[Row]:
    return [row for case in cases for row in _case(case, setup, python)]


def _case(case: Case, setup: Setup, python: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        sides = _start(case, setup, python, Path(name))
        try:
            return _measure(case, setup, sides, Path(name))
        finally:
            for side in sides.values():
                side.close()


def _start(case: Case, setup: Setup, python: str, folder: Path) -> dict[str, Worker]:
    """Return the sides, each with its layer built."""
    torch.save(_inputs(case, setup.batch(case.batch)), folder / "inputs.pt")
    common = {"inputs": str(folder / "inputs.pt"), "threads": torch.get_num_threads(), "device": setup.device}
    common |= {"readout": case.readout, "trainable": case.trainable}
    kept = dict.fromkeys(MALLOC, str(2**33))
    sides = {}
    for package, interpreter, solvers in (("qkan-torch", sys.executable, case.ours), ("qkan", python, case.peers)):
        label = "qkan-torch" if package == "qkan-torch" else "peer"
        wanted = [(solver, None, "") for solver in solvers]
        if case.pages:
            wanted.append((solvers[0], kept, PAGES))
        for solver, environment, suffix in wanted:
            worker = Worker(interpreter, folder, environment)
            request = {"package": package, "solver": solver.split(",")[0], "checkpoint": "checkpoint" in solver}
            worker.require("build", **request, **common)
            sides[f"{label} {solver}{suffix}"] = worker
    return sides


def _inputs(case: Case, batch: int) -> dict[str, torch.Tensor]:
    edges = (case.n_out, case.n_in)
    # Near a pole of the state the slope of the amplitude in z has no bound, and in float32 no side has a gradient to
    # compare: small angles, as both packages start with, keep edges away from there.
    width = 0.2 if case.readout == "amplitude" else 1.0
    return {
        "theta": width * torch.randn(*edges, 2 * (case.reps + 1)),
        "w": 1 + 0.3 * torch.randn(*edges, case.reps),
        "b": 0.3 * torch.randn(*edges, case.reps),
        "x": torch.randn(batch, case.n_in),
        "upstream": torch.randn(batch, case.n_out),
    }


def _measure(case: Case, setup: Setup, sides: dict[str, Worker], folder: Path) -> list[Row]:
    found: dict[str, Row] = {name: side.require("memory", mode="eager") for name, side in sides.items()}
    _compare(case, sides, found, folder)
    timed = _timed(sides, found)
    calls = {key: _calls(side, mode, setup) for key, (side, mode) in timed.items()}
    measures = {key: partial(side.milliseconds, mode, calls[key]) for key, (side, mode) in timed.items()}
    times = in_turn(measures, min(setup.rounds, 5))
    keys = case.keys(setup.batch(case.batch))
    return [keys | {"side": name} | _row(name, _ours(case, name), times, found) for name in sides]


def _ours(case: Case, name: str) -> str:
    """Return the side of ours that this one is compared with: as it was started."""
    return f"qkan-torch {case.ours[0]}{PAGES if name.endswith(PAGES) else ''}"


def _timed(sides: dict[str, Worker], found: dict[str, Row]) -> dict[str, tuple[Worker, str]]:
    """Return what is timed, by its key; a side that does not compile says why in its note."""
    timed = {}
    for name, side in sides.items():
        if side.failed:
            found[name]["note"] = side.failed
            continue
        error = side.ask("compile", fullgraph=name.startswith("qkan-torch")).get("error")
        if error:
            found[name]["note"] = f"does not compile: {error}"
        else:
            found[name]["compiled saved MiB"] = side.ask("memory", mode="compiled").get("saved MiB")
        side.require("inference")
        timed |= {f"{name} {mode}": (side, mode) for mode in ("eager", *(["compiled"] * (not error)), "inference")}
    return timed


def _compare(case: Case, sides: dict[str, Worker], found: dict[str, Row], folder: Path) -> None:
    """Put every side out whose outputs or gradients are not those of the first."""
    results: dict[str, dict[str, torch.Tensor]] = {}
    for number, (name, side) in enumerate(sides.items()):
        path = folder / f"outputs{number}.pt"
        side.require("outputs", path=str(path))
        if side.failed:
            continue
        results[name] = torch.load(path, weights_only=True)
        first = next(iter(results.values()))
        apart = {key: _apart(value, first[key]) for key, value in results[name].items()}
        wrong = [key if key == "y" else f"gradient of {key}" for key, value in apart.items() if not value <= BOUND]
        if wrong:
            side.failed = f"not timed, other values: {', '.join(wrong)}"
        found[name]["outputs apart"] = apart.pop("y")
        found[name]["gradients apart"] = max(apart.values())


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def _calls(side: Worker, mode: str, setup: Setup) -> int:
    if setup.quick:
        return 1
    first = side.milliseconds(mode, 1)
    return 1 if first > 1000 else max(1, min(100, int(200 / side.milliseconds(mode, 1))))


def _row(name: str, first: str, times: dict[str, list[float]], everything: dict[str, Row]) -> Row:
    found, ours = everything[name], everything[first]
    row: Row = {}
    for mode in ("eager", "compiled", "inference"):
        row[f"{mode} ms"] = median(times, f"{name} {mode}")
    row["x qkan"] = ratio(times, f"{name} eager", f"{first} eager")
    row["x compiled"] = ratio(times, f"{name} eager", f"{first} compiled")
    row["compiled x compiled"] = ratio(times, f"{name} compiled", f"{first} compiled")
    if row["eager ms"] and ours.get("saved MiB"):
        row["saved x qkan"] = found["saved MiB"] / ours["saved MiB"]
    row["inference x qkan"] = ratio(times, f"{name} inference", f"{first} inference")
    names = ("saved MiB", "compiled saved MiB", "peak MiB", "outputs apart", "gradients apart", "note")
    return row | {key: found.get(key) for key in names}


def peer_versions(python: str) -> Row:
    """Return the peer's machine and versions, as its interpreter tells them."""
    with tempfile.TemporaryDirectory() as name:
        worker = Worker(python, Path(name))
        packages = ["qkan", "opt_einsum", "pennylane", "qiskit", "cudaq", "cuquantum-python"]
        answer = worker.ask("machine", packages=packages)
        worker.close()
    return answer["versions"]


if __name__ == "__main__":
    setup, options = parse(__doc__, "--peer", "--readout")
    cases = [case for case in CASES if case.readout == options.readout]
    python = os.path.abspath(options.peer)
    versions = peer_versions(python)
    report(
        str(__doc__).splitlines()[0],
        rows(setup, python, cases[::6] if setup.quick else cases),
        quick=setup.quick,
        peer=versions,
    )
