"""Write the golden files beside this script: what the peer, `qkan` 0.2.3 of the package index, computes.

Its import name is that of this package: it needs an environment of its own, and a folder that does not hold this
package. With torch, numpy, matplotlib, sympy and tqdm there:

    pip install --no-build-isolation --no-deps qkan==0.2.3
    python generate.py

Every file holds the state dicts, inputs and outputs of one ansatz, for both readouts. The same versions write the same
files. Numbers are in float64; `real` computes in bfloat16 whatever it is asked, so its file also holds, as
``outputs_double``, what it computes once the dtype of its layers is put right by hand.
"""

import json
import math
import re
import sys
from importlib.metadata import version
from pathlib import Path

import torch

PEER = "0.2.3"
FOLDER = Path(__file__).parent
# The seed of the first case; that of px keeps its hidden values inside [-1, 1], outside of which the peer gives NaN.
ANSATZE = {"pz": 0, "rpz": 10, "px": 15, "real": 20, "mix": 30}
READOUTS = {"amplitude": True, "expectation": False}  # as fast_measure
WIDTH = [3, 4, 2]
MASKED = {"layers.0.mask": (1, 2), "layers.1.mask": (0, 3)}

# Keywords of the peer. "start" is left as it was built; the parameters of the others are drawn.
CASES = {
    "start": {"reps": 3, "base_activation": "silu", "preact_trainable": False},
    "fixed": {"reps": 2, "base_activation": "silu", "preact_trainable": False},
    "trainable": {"reps": 3, "base_activation": "gelu", "preact_trainable": True},
}


def cases(ansatz):
    """The cases of an ansatz: px raises a NameError unless preact_trainable, and its weights are inside the arccos."""
    if ansatz == "px":
        return {name: CASES[name] | {"preact_trainable": True} for name in ("start", "fixed")}
    return CASES


def uniform(shape, width, source):
    """Numbers in ± width with 4 decimals, which files hold exactly."""
    return (width * (2 * torch.rand(shape, generator=source, dtype=torch.float64) - 1)).round(decimals=4)


def drawn(ansatz, case, state, source):
    """The state dict with every tensor at random that the peer reads, and one edge of each layer masked."""
    small = 0.3 if ansatz == "px" else 0.8  # to stay inside [-1, 1]
    for name, tensor in state.items():
        part = name.rpartition(".")[2]
        if part == "theta":
            state[name] = uniform(tensor.shape, math.pi, source)
        elif part == "postact_weights":
            state[name] = uniform(tensor.shape, small, source) + small
        elif part in ("postact_bias", "base_weight"):
            state[name] = uniform(tensor.shape, small, source)
        elif part == "preacts_weight" and case == "trainable":
            state[name] = 1 + uniform(tensor.shape, 0.8, source)
        elif part == "preacts_bias" and (case == "trainable" or ansatz == "rpz"):
            state[name] = uniform(tensor.shape, 1, source)
        elif name in MASKED:
            state[name][MASKED[name]] = 0
    return state


def build(ansatz, readout, keywords, seed):
    """The peer's model in double precision, and the call that built it."""
    from qkan import QKAN

    keywords = {
        "ansatz": ansatz, **keywords, "fast_measure": READOUTS[readout],
        "c_dtype": torch.complex128, "p_dtype": torch.float64, "seed": seed,
    }  # fmt: skip
    return QKAN(WIDTH, **keywords), f"QKAN({WIDTH}, {', '.join(f'{key}={value!r}' for key, value in keywords.items())})"


@torch.no_grad()
def outputs(model, x, name):
    """What the model computes; a NaN would make the file worthless."""
    y = model(x)
    if not y.isfinite().all():
        raise SystemExit(f"{name} is not finite: take another seed")
    return y.tolist()


def record(ansatz, case, keywords, seed):
    """One case of a file."""
    source = torch.Generator().manual_seed(seed)
    x = uniform((6, WIDTH[0]), 0.95 if ansatz == "px" else 3, source)
    found = {"seed": seed, **keywords, "calls": {}, "outputs": {}}
    state = None
    for readout in READOUTS:
        model, found["calls"][readout] = build(ansatz, readout, keywords, seed)
        if state is None:
            state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            state = state if case == "start" else drawn(ansatz, case, state, source)
        model.load_state_dict(dict(state))
        found["outputs"][readout] = outputs(model, x, f"{ansatz} {case} {readout}")
        if ansatz == "real":
            for layer in model.layers:
                layer.c_dtype = torch.complex128
            found.setdefault("outputs_double", {})[readout] = outputs(model, x, f"{ansatz} {case} {readout}")
    return found | {"inputs": x.tolist(), "state": {name: tensor.tolist() for name, tensor in state.items()}}


def write(ansatz, seed):
    """Write the file of an ansatz, every tensor on one line."""
    found = {
        case: record(ansatz, case, keywords, seed + number)
        for number, (case, keywords) in enumerate(cases(ansatz).items())
    }
    versions = {"qkan": version("qkan"), "torch": torch.__version__, "python": sys.version.split()[0]}
    text = json.dumps({"ansatz": ansatz, "versions": versions, "cases": found}, indent=1)
    text = re.sub(r"\[[-+\d.e,\s\[\]]*\]", lambda numbers: re.sub(r"\s+", "", numbers[0]), text)
    (FOLDER / f"{ansatz}.json").write_text(text + "\n")


def main():
    """Write every file."""
    if version("qkan") != PEER:
        raise SystemExit(f"this interpreter has qkan {version('qkan')}, not {PEER}")
    for ansatz, seed in ANSATZE.items():
        write(ansatz, seed)


if __name__ == "__main__":
    main()
