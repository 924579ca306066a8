"""Tables over which every property runs: one row more inherits every test."""

import itertools
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from qkan import HQKAN, QKAN, Ansatz, QKANLinear
from qkan.ansatz import MIX, PX, PZ, REAL, RPZ, RX, RY, RZ, H, X, Y, Z

ANSATZE = {
    "pz": PZ,
    "rpz": RPZ,
    "px": PX,
    "px-clamp": replace(PX, arccos_map="clamp"),
    "px-none": replace(PX, arccos_map="none"),
    "real": REAL,
    "mix": MIX,
    "two": Ansatz("two", (H,), (RY(), RZ("encoding"), RX(), RY("encoding")), (RZ(), RX())),
    "own": Ansatz(
        "own", (RX(),), (Y, RX("encoding"), RZ(), H, Z, RY("encoding"), X, RY()), (H,), trainable_bias=True
    ),
}  # fmt: skip

SOLVERS = ("statevector", "bloch", "fourier")

READOUTS = ("expectation", "amplitude")

# What `encoding=` is, given the number of uploads. "signs" holds a negative, a zero and a repeated weight.
ENCODINGS = {
    "unit": lambda uploads: "unit",
    "ternary": lambda uploads: "ternary",
    "signs": lambda uploads: ((-2, 0, 3, 3) * uploads)[:uploads],
    "trainable": lambda uploads: "trainable",
    "trainable-shared": lambda uploads: "trainable-shared",
}

TRAINABLE = ("trainable", "trainable-shared")

OPTIONS = {
    "plain": {},
    "scale": {"scale": True},
    "bias": {"bias": True},
    "base": {"base_activation": nn.SiLU},
    "all": {"scale": True, "bias": True, "base_activation": "identity"},
}


class Tolerance(NamedTuple):
    """``close``: largest error, relative to the largest value compared; ``pole``: amplitudes with 1 - |z| above it."""

    close: float
    pole: float


TOLERANCES = {torch.float64: Tolerance(1e-12, 1e-4), torch.float32: Tolerance(2e-5, 1e-2)}


def reps_for(ansatz):
    """Repetitions that give 3 to 4 uploads, so that two encoding gates per block stay affordable."""
    return 3 if ANSATZE[ansatz].uploads(1) == 1 else 2


def options_for(ansatz="pz", encoding="unit", **more):
    """The keywords of a layer."""
    reps = reps_for(ansatz)
    row = {"reps": reps, "ansatz": ANSATZE[ansatz], "encoding": ENCODINGS[encoding](ANSATZE[ansatz].uploads(reps))}
    return row | more


def supported(solver, encoding):
    return not (solver == "fourier" and encoding == "trainable")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def perturb(module, seed=0):
    """Move every parameter away from its special starting value; angles over the whole circle. Returns the module."""
    source = generator(seed)
    for name, parameter in module.named_parameters():
        width = 3.0 if name.endswith("theta") else 0.4
        noise = torch.rand(parameter.shape, generator=source, dtype=torch.float64) * 2 - 1
        parameter += (width * noise).to(parameter)
    return module


def random_layer(ansatz="pz", encoding="unit", solver="auto", widths=(5, 3), seed=0, dtype=torch.float64, **more):
    """A rectangular layer, all of its parameters at random."""
    options = options_for(ansatz, encoding, solver=solver, **more)
    return perturb(QKANLinear(*widths, dtype=dtype, generator=generator(seed), **options), seed)


def inputs(ansatz, *shape, seed=1, dtype=torch.float64):
    """Inputs in the domain of the ansatz, away from the kinks of a clamp but on both of its sides."""
    x = torch.rand(shape, generator=generator(seed), dtype=torch.float64) * 2 - 1
    kind = ANSATZE[ansatz].arccos_map
    if kind == "none":
        x = 0.95 * x
    elif kind == "clamp":
        x = torch.where(x.abs() < 0.8, 1.15 * x, 1.5 * x)
    else:
        x = 3 * x
    return x.to(dtype)


def error(got, want):
    """Largest difference, relative to the largest value; 0 when nothing is to compare."""
    assert got.shape == want.shape, (got.shape, want.shape)
    if not want.numel():
        return 0.0
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).abs().max() / want.abs().max().clamp(min=1e-6))


# Everything that must behave as a torch module, by name; each row builds it with the factory keywords given.
MODULES = {
    f"{ansatz}-{encoding}-{solver}": lambda keys=(ansatz, encoding, solver), **factory: QKANLinear(
        3, 2, solver=keys[2], **options_for(*keys[:2]), **factory
    )
    for ansatz, encoding, solver in [
        *itertools.product(ANSATZE, ["unit"], ["fourier", "bloch"]),
        *itertools.product(["pz", "rpz"], ["ternary", "signs", *TRAINABLE], ["auto"]),
        ("pz", "trainable-shared", "bloch"),
        ("pz", "unit", "statevector"),
        ("two", "trainable", "statevector"),
    ]
} | {
    f"{readout}-{solver}-{name}": lambda keys=(readout, solver, name), **factory: QKANLinear(
        3, 2, readout=keys[0], solver=keys[1], **OPTIONS[keys[2]], **factory
    )
    for readout, solver, name in [
        ("expectation", "auto", "scale"),
        ("expectation", "auto", "base"),
        ("expectation", "bloch", "all"),
        ("amplitude", "fourier", "plain"),
        ("amplitude", "bloch", "bias"),
        ("amplitude", "statevector", "all"),
    ]
} | {
    "QKAN": lambda **factory: QKAN([3, 4, 2], **factory),
    "QKAN-own": lambda **factory: QKAN([3, 4, 2], ansatz=ANSATZE["own"], reps=1, scale=True, **factory),
    "HQKAN": lambda generator=None, **factory: HQKAN(3, 2, latent=(4, 3), **factory),
}  # fmt: skip


def module(name, seed=0, **factory):
    """The module of a row, in double precision unless told, all of its parameters at random."""
    return perturb(MODULES[name](**{"dtype": torch.float64} | factory), seed)


def layers_of(model):
    return [part for part in model.modules() if isinstance(part, QKANLinear)]


def masked(net):
    """The same module, with one edge removed from each of its layers and one halved."""
    with torch.no_grad():
        for layer in layers_of(net):
            layer.mask[0, 1] = 0
            layer.mask[1, 0] = 0.5
    return net


def domain(name, *shape, **more):
    """Inputs for a row of MODULES."""
    ansatz = next((key for key in sorted(ANSATZE, key=len, reverse=True) if name.startswith(f"{key}-")), "pz")
    return inputs(ansatz, *shape, **more)
