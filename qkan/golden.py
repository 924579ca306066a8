"""Golden values: files of circuits' values and gradients that another simulator wrote down (see `circuits/`)."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkan import ansatz as ansatze
from qkan.layers.linear import QKANLinear

__all__ = ["Golden", "derivatives", "golden_model", "read_golden"]

_KEYS = ("x", "theta", "weight", "bias", "z", "dz_dx", "dz_dtheta", "dz_dweight", "dz_dbias")


@dataclass(frozen=True)
class Golden:
    """One case of a file.

    Attributes:
        ansatz: its name. reps: its repetitions.
        arrays: x [batch, in]; theta [out, in, angles]; weight and bias [out, in, uploads]; z [batch, out, in]; dz_dx
            [batch, out, in]; dz_dtheta, dz_dweight, dz_dbias [batch, out, in, ...]; float64.
    """

    ansatz: str
    reps: int
    arrays: Mapping[str, Tensor]

    def layer(self) -> QKANLinear:
        """Return a layer in float64 with these parameters; the encoding is integers where it can be."""
        theta, weight, bias = (self.arrays[name] for name in ("theta", "weight", "bias"))
        integers = bool((weight == weight[:1, :1]).all() and (weight == weight.round()).all())
        fixed = integers and (ansatze.named(self.ansatz).trainable_bias or not bias.any())
        encoding = tuple(int(w) for w in weight[0, 0]) if fixed else "trainable"
        n_out, n_in = theta.shape[:2]
        options: dict[str, Any] = {"ansatz": self.ansatz, "reps": self.reps, "encoding": encoding}
        layer = QKANLinear(n_in, n_out, dtype=torch.float64, **options)
        with torch.no_grad():
            layer.theta.copy_(theta)
            for name, values in (("encoding_weight", weight), ("encoding_bias", bias)):
                target = getattr(layer, name)
                if target is not None:
                    target.copy_(values)
        return layer


def read_golden(path: str | os.PathLike[str]) -> dict[str, Golden]:
    """Return the cases of a file of golden values, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or its arrays do not fit each other.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cases = {name: _case(content["ansatz"], content["reps"], case) for name, case in content["cases"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of golden values ({error}); circuits/generate.py writes them") from error
    if not cases:
        raise ValueError(f"{path} holds no cases; circuits/generate.py writes them")
    return cases


def _case(ansatz: str, reps: int, case: Mapping[str, Any]) -> Golden:
    arrays = {name: torch.tensor(case[name], dtype=torch.float64) for name in _KEYS}
    circuit = ansatze.named(ansatz)
    (batch, n_in), n_out = arrays["x"].shape, len(arrays["theta"])
    last = {"theta": circuit.angles(reps), "weight": circuit.uploads(reps), "bias": circuit.uploads(reps)}
    wanted: dict[str, tuple[int, ...]] = {"z": (batch, n_out, n_in), "dz_dx": (batch, n_out, n_in)}
    wanted |= {name: (n_out, n_in, size) for name, size in last.items()}
    wanted |= {f"dz_d{name}": (batch, n_out, n_in, size) for name, size in last.items()}
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} must be {shape}; got {tuple(arrays[name].shape)}")
    return Golden(ansatz, reps, arrays)


def golden_model(cases: Mapping[str, Golden]) -> nn.ModuleDict:
    """Return a container with one layer per case; it has no forward pass of its own."""
    return nn.ModuleDict({name: case.layer() for name, case in cases.items()})


def derivatives(layer: QKANLinear, x: Tensor) -> dict[str, Tensor]:
    """Return z and its derivatives as golden values hold them, computed by the solver of the layer in float64.

    Args:
        layer: what to differentiate; parameters that it does not have are left out.
        x: [batch, in].
    """
    tensors = {"theta": layer.theta, "weight": layer.encoding_weight, "bias": layer.encoding_bias}
    wanted = {name: tensor for name, tensor in tensors.items() if tensor is not None and tensor.dim() == 3}
    x = x.clone().requires_grad_()
    z = layer.edges(x)  # [batch, out, in]
    # An edge reads its own input and its own parameters: sums over the others differentiate all of them at once.
    found = {"z": z.detach()}
    by_out = [torch.autograd.grad(z[:, o].sum(), x, retain_graph=True)[0] for o in range(z.shape[1])]
    found["dz_dx"] = torch.stack(by_out, dim=1)
    rows = [torch.autograd.grad(row.sum(), list(wanted.values()), retain_graph=True) for row in z]
    for position, name in enumerate(wanted):
        found[f"dz_d{name}"] = torch.stack([row[position] for row in rows])
    return found
