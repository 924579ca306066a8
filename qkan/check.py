"""`qkan check`: is a model what a quantum computer computes? Against PennyLane, another model, or golden values."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from qkan import _arguments
from qkan.checkpoint import load
from qkan.crosscheck import Deviation, Row, compare, cross_check, exact, worst_edge
from qkan.files import write_json
from qkan.golden import Golden, derivatives, golden_model, read_golden
from qkan.layers.linear import QKANLinear
from qkan.models.stack import QKAN
from qkan.solvers import PennyLane

__all__ = ["add_command", "run", "table"]


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `check` to the subcommands of a parser."""
    parser = commands.add_parser(
        "check",
        help="check a model against PennyLane, another model, or golden values",
        description="Run every edge of a model through PennyLane and through every solver that applies, values and "
        "gradients, or compare it edge by edge with another model. Exit status: 0 if all is within the tolerance, 1 if "
        "not, 2 for an error.",
    )
    add = parser.add_argument
    add("model", help="what qkan.save wrote, a .json of golden values, or widths such as 32,28 (random angles)")
    add(
        "--against",
        metavar="OTHER",
        help="compare with this instead of PennyLane: a saved model (quantum, lowered or measured), or golden values "
        "(FILE.json, or FILE.json:CASE)",
    )
    add("--samples", type=_arguments.positive, help="random inputs per layer (default: 100)")
    add("--seed", type=_arguments.seed, default=0, help="of inputs, and of angles of given widths (default: 0)")
    add(
        "--tolerance",
        type=_arguments.tolerance,
        help="largest deviation (default: 1e-12 in float64, 2e-5 in float32; 5e-6 --against)",
    )
    add("--device", help="PennyLane device of the reference (default: default.qubit; default.mixed under noise)")
    add("--shots", type=_arguments.positive, help="shots of the reference; give a --tolerance then (default: exact)")
    add("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    shape = parser.add_argument_group("circuits, if widths are given")
    shape.add_argument("--ansatz", help="pz, rpz, px, real or mix (default: pz)")
    shape.add_argument("--reps", type=_arguments.positive, help="(default: 3)")
    shape.add_argument(
        "--encoding", type=_arguments.encoding, help="unit, ternary, trainable, 1,3,9 ... (default: unit)"
    )
    shape.add_argument("--dtype", choices=("float32", "float64"), help="(default: float32)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check as the options say, print a table, and return the exit status.

    Raises:
        ValueError, FileNotFoundError: a model that cannot be read, or does not fit the other.
        ImportError: without PennyLane, unless another model is given.
    """
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise ValueError(f"--json {options.json}: there is no such folder")
    model = _model(options)
    generator = torch.Generator().manual_seed(options.seed)
    if options.against is None:
        reference = PennyLane(options.device, shots=options.shots)
        settings = {"samples": options.samples or 100, "generator": generator, "tolerance": options.tolerance}
        rows = list(cross_check(model, reference=reference, **settings))
        print(table(rows))
        if options.json is not None:
            write_json(options.json, [row.to_dict() for row in rows])
        return _verdict([part for row in rows for part in row.deviations()], "PennyLane")
    _refuse(options, ("device", "shots"), "--against asks no PennyLane device")
    found = _against(model, options, generator)
    print("\n".join(map(str, found)))
    if options.json is not None:
        write_json(options.json, [deviation._asdict() | {"passed": deviation.passed} for deviation in found])
    return _verdict(found, options.against)


def table(rows: Iterable[Row]) -> str:
    """Return the rows of a cross-check as text."""
    head = ("layer", "ansatz", "dtype", "solver", "max dev <Z>", "worst edge", "max dev grad", "of", "s", "PennyLane s")
    body = [
        (
            *(row.layer, row.ansatz, row.dtype, row.solver, f"{row.value.size:.1e}", _edge(row.value)),
            *(f"{row.gradient.size:.1e}", row.gradient.layer, f"{row.seconds:.3f}", f"{row.pennylane_seconds:.3f}"),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *body)
    )


def _edge(deviation: Deviation) -> str:
    return "" if deviation.edge is None else "{}, {}".format(*deviation.edge)


def _verdict(found: list[Deviation], against: str) -> int:
    failed = [deviation for deviation in found if not deviation.passed]
    if not failed:
        print(f"passed: {len(found)} comparisons with {against}, all within the tolerance")
        return 0
    worst = max(failed, key=lambda deviation: deviation.size)
    print(f"FAILED: {len(failed)} of {len(found)} comparisons with {against}; the worst: {worst}")
    return 1


def _model(options: argparse.Namespace) -> nn.Module:
    if Path(options.model).exists() or not set(options.model) <= set("0123456789,"):
        _refuse(options, ("ansatz", "reps", "encoding", "dtype"), f"{options.model} says what its circuits are")
        return golden_model(read_golden(options.model)) if options.model.endswith(".json") else load(options.model)
    generator = torch.Generator().manual_seed(options.seed)
    return QKAN(
        _arguments.widths(options.model),
        ansatz=options.ansatz or "pz",
        reps=options.reps or 3,
        encoding=options.encoding or "unit",
        init=1.0,  # angles all over the circle, not near the special point 0
        dtype=getattr(torch, options.dtype or "float32"),
        generator=generator,
    )


def _refuse(options: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """Raise if one of these options was given in vain."""
    for name in names:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} does nothing here: {reason}; leave it out")


def _against(model: nn.Module, options: argparse.Namespace, generator: torch.Generator) -> list[Deviation]:
    path, _, case = options.against.partition(".json:")
    if case or path.endswith(".json"):
        _refuse(options, ("samples",), "golden values come with their inputs")
        cases = read_golden(f"{path}.json" if case else path)
        if case and case not in cases:
            raise ValueError(f"--against {options.against}: the file holds the cases {', '.join(cases)}")
        return _golden(
            model, {case: cases[case]} if case else cases, 1e-12 if options.tolerance is None else options.tolerance
        )
    settings = {"samples": options.samples or 100, "generator": generator, "tolerance": options.tolerance}
    return compare(model, load(options.against), **settings)


def _golden(model: nn.Module, cases: Mapping[str, Golden], tolerance: float) -> list[Deviation]:
    """Compare layers with the cases of their names; a single layer with a single case whatever the names."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, QKANLinear)}
    if len(layers) == len(cases) == 1:
        layers = {next(iter(cases)): next(iter(layers.values()))}
    if layers.keys() != cases.keys():
        if not layers:
            raise ValueError(f"golden values are of quantum layers; got a {type(model).__name__} without any")
        raise ValueError(
            f"golden values are of the cases {', '.join(cases)}, and the model has the layers {', '.join(layers)}: "
            "name one case as FILE.json:CASE for a model of one layer"
        )
    found = []
    for name, layer in layers.items():
        golden = cases[name]
        if layer.theta.shape != golden.arrays["theta"].shape:
            want, got = tuple(golden.arrays["theta"].shape), tuple(layer.theta.shape)
            raise ValueError(f"layer {name} must have theta {want}, as the golden values; got {got}")
        values = derivatives(exact(layer.double()), golden.arrays["x"])
        found += [worst_edge(f"{name} ({key})", array - golden.arrays[key], tolerance) for key, array in values.items()]
    return found
