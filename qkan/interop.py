"""Trained models of other packages as models of this one: `from_peer` (circuits), `from_fastkan` (radial functions)."""

import os
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkan.ansatz import MIX, PX, PZ, REAL, RPZ, Ansatz
from qkan.models.kan import KAN
from qkan.models.stack import QKAN
from qkan.precision import widest_dtype
from qkan.solvers.base import Solver

__all__ = ["from_fastkan", "from_peer"]

_PX = replace(PX, arccos_map="none")
_CIRCUITS: dict[str, Ansatz] = {
    "pz": PZ, "pz_encoding": PZ, "rpz": RPZ, "rpz_encoding": RPZ, "px": _PX, "px_encoding": _PX,
    "real": REAL, "mix": MIX,
}  # fmt: skip

_TENSORS = ("theta", "preacts_weight", "preacts_bias", "postact_weights", "postact_bias", "base_weight", "mask")

# What the other entries of a checkpoint belong to, by the pattern of their names.
_FOREIGN = {
    r"layers\.\d+\.bn\..*": "batch normalisation (is_batchnorm=True)",
    r"layers\.\d+\.(weight|bias)": "linear layers (is_map=True)",
    r"(.*\.)?base_activation\..*": "a base activation with parameters (give the module as base_activation)",
}

# The tensors of a layer of fast-kan.
_FASTKAN = (
    "layernorm.weight", "layernorm.bias", "rbf.grid", "spline_linear.weight", "base_linear.weight", "base_linear.bias",
)  # fmt: skip

Layer = dict[str, Tensor]


def from_peer(
    checkpoint: Mapping[str, Tensor] | str | os.PathLike[str],
    *,
    ansatz: str,
    readout: str,
    base_activation: str | Callable[..., Any] | nn.Module = "silu",
    preact_trainable: bool | None = None,
    solver: str | Solver = "auto",
) -> QKAN:
    r"""Return the model that computes what a model of the peer, `qkan` 0.2.3 of the package index, computes.

    The peer's layer is y_o = Σ_i mask_oi (postact_weights_oi (readout(z_oi(x_i)) + postact_bias_oi) + base_weight_oi
    σ(x_i)). Its mask acts on both branches, as here, so that pruned edges stay pruned; its postact biases become
    bias_o = Σ_i mask_oi postact_weights_oi postact_bias_oi. Widths, reps and dtype come from the tensors, and so do the
    options: a part that has its neutral value in every layer (weights 1, biases 0, base weights 0) is left out.

    A checkpoint holds tensors alone. What it does not say has to be given, as the peer's model was built:

    ==============================================  ==============================================================
    the peer                                        here
    ==============================================  ==============================================================
    ``ansatz="pz_encoding"``, ``"pz"`` (default)    ``ansatz="pz"``; likewise rpz, px, real, mix
    ``fast_measure=True`` (default), ``False``      ``readout="amplitude"``, ``"expectation"``
    ``preact_trainable=True``                       ``encoding="trainable"``
    ``postact_weight_trainable=True``               ``scale=True``
    ``postact_bias_trainable=True``                 ``bias=True``, one per output
    ``ba_trainable=True``, ``base_activation``      ``base_activation``
    ``solver="exact"``                              ``solver="statevector"``
    ``solver="qml"``                                ``solver="pennylane"``
    ``solver="cutn"``, ``"flash"``, ``"cutile"``    ``solver="auto"``, ``"fourier"``, ``"bloch"``
    ==============================================  ==============================================================

    The function is that of the peer's ``exact`` solver. Its ``qml`` runs pz with <Z> whatever is asked, and takes the
    angles of edge [in, out]. Its `real` computes in bfloat16: it differs from the function by up to 0.05. Its px
    encodes arccos(w x + b), ours w arccos x + b: w = 1, b = 0 is needed, and x in [-1, 1]. Its ``norm_out`` and the
    inputs that its ``prune_input`` chose are not in a checkpoint: apply them around the model.

    Args:
        checkpoint: ``model.state_dict()``, or the path of a file that holds one, such as ``model.save_ckpt`` writes.
            Files are read with ``weights_only=True``: no code in them is run.
        ansatz: that of the peer's model, under its name. Tensors of pz and mix have the same shapes, as have those of
            rpz and px: the wrong name of such a pair builds another function.
        readout: ``"amplitude"`` for the peer's default ``fast_measure=True``, ``"expectation"`` for ``False``.
        base_activation: σ, used where a base weight is not 0; the default is the peer's.
        preact_trainable: that of the peer's model. None tells it from the encoding weights and biases: where they are
            not 1 and 0, they are taken and trainable. True makes them trainable in any case. False leaves them unread,
            as the peer does with pz, real and mix.
        solver: of the model, see `QKANOptions`.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if checkpoint is neither a mapping of names to tensors nor a path, or for another wrong type.
        ValueError: for a file that needs code to be read, names that are missing or have no counterpart, shapes that do
            not fit the ansatz or each other, and px with weights.

    Example:
        >>> edges = {"postact_weights": 1.0, "postact_bias": 0.5, "base_weight": 0.0, "mask": 1.0}
        >>> checkpoint = {f"layers.0.{name}": torch.full((2, 3), value) for name, value in edges.items()}
        >>> checkpoint["layers.0.theta"] = torch.zeros(2, 3, 4, 2)
        >>> checkpoint["layers.0.preacts_weight"] = torch.ones(2, 3, 3)
        >>> checkpoint["layers.0.preacts_bias"] = torch.zeros(2, 3, 3)
        >>> model = from_peer(checkpoint, ansatz="pz", readout="expectation")
        >>> model(torch.zeros(1, 3)).detach()
        tensor([[1.5000, 1.5000]])
    """
    circuit = _circuit(ansatz)
    if not isinstance(preact_trainable, bool | None):
        raise TypeError(f"preact_trainable must be True, False or None; got {preact_trainable!r}")
    layers = _layers(_tensors(checkpoint))
    reps = _reps(layers[0], circuit)
    _check_shapes(layers, circuit, reps)
    theta = layers[0]["theta"]
    model = QKAN(
        [layers[0]["mask"].shape[1], *(len(layer["mask"]) for layer in layers)],
        device=theta.device,
        dtype=_dtype(layers),
        generator=torch.Generator(theta.device),  # the angles it draws are overwritten: leave the global one alone
        reps=reps,
        ansatz=circuit,
        solver=solver,
        readout=readout,
        encoding=_encoding(layers, circuit, preact_trainable),
        base_activation=base_activation if _any(layers, "base_weight", other_than=0) else None,
        scale=_any(layers, "postact_weights", other_than=1),
        bias=_any(layers, "postact_bias", other_than=0),
    )
    for target, layer in zip(model.layers, layers, strict=True):
        _fill(target, layer)
    return model


def _circuit(ansatz: str) -> Ansatz:
    if not isinstance(ansatz, str) or ansatz not in _CIRCUITS:
        raise ValueError(f"ansatz must be a name of the peer's, one of {', '.join(_CIRCUITS)}; got {ansatz!r}")
    return _CIRCUITS[ansatz]


def _tensors(checkpoint: Mapping[str, Tensor] | str | os.PathLike[str]) -> Mapping[str, Tensor]:
    found = _read(Path(checkpoint)) if isinstance(checkpoint, str | os.PathLike) else checkpoint
    if not isinstance(found, Mapping):
        raise TypeError(
            "checkpoint must be a state dict (names to tensors) or the path of a file with one; "
            f"got {type(found).__name__}: give model.state_dict()"
        )
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(
                f"checkpoint must map names to tensors; {name!r} is a {type(tensor).__name__}. "
                "If the state dict is an entry of a larger dict, give that entry"
            )
    return found


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: name the file that the peer's model.save_ckpt wrote")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # torch.load reports a damaged file in all these ways, by where the damage is
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged, or holds more than tensors, such as a pickled model, and code in files is not run. "
            "In the peer's interpreter, save the state dict: torch.save(model.state_dict(), path)"
        ) from error


def _layers(tensors: Mapping[str, Tensor]) -> list[Layer]:
    """Return the tensors of each layer, and refuse names that are missing or belong to something else."""
    found: dict[int, Layer] = {}
    foreign = []
    for name, tensor in tensors.items():
        match = re.fullmatch(rf"layers\.(\d+)\.({'|'.join(_TENSORS)})", name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = tensor
        else:
            foreign.append(name)
    if not found:
        raise ValueError(
            f"checkpoint has no names such as layers.0.theta; got {_listed(tensors)}. Give the state dict of the "
            "peer's QKAN; from that of a larger model, take its entries without their prefix"
        )
    if foreign:
        raise ValueError(
            f"checkpoint holds {_listed(foreign)}, that is, {_reasons(foreign)}, which from_peer does not convert; "
            "leave these entries out to convert the circuits alone, and compute the rest around its layers"
        )
    missing = [f"layers.{i}.{name}" for i in range(max(found) + 1) for name in _TENSORS if name not in found.get(i, {})]
    if missing:
        raise ValueError(f"checkpoint lacks {_listed(missing)}; give the whole state dict of the peer's QKAN 0.2.3")
    return [found[i] for i in sorted(found)]


def _reasons(names: list[str]) -> str:
    def reason(name: str) -> str:
        return next((text for pattern, text in _FOREIGN.items() if re.fullmatch(pattern, name)), "unknown parameters")

    return " and ".join(dict.fromkeys(map(reason, names)))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return (", ".join(names[:4]) or "nothing") + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _reps(layer: Layer, circuit: Ansatz) -> int:
    """Return the repetitions of a layer, after a look at how it is stored and whether the ansatz fits its angles."""
    theta, weight = layer["theta"], layer["preacts_weight"]
    if theta.dim() == 2 or layer["mask"].dim() == 1:
        raise ValueError(
            "checkpoint was stored with p_dim=2, which hides the widths: in the peer's interpreter load it into the "
            "same QKAN with p_dim=4, and save that state dict"
        )
    if theta.dim() == 3:
        raise ValueError(
            f"checkpoint has layers with group, whose edges share circuits: layers.0.theta is {tuple(theta.shape)}; "
            "from_peer converts group=-1, with a circuit per edge"
        )
    if theta.dim() != 4 or weight.dim() != 3 or layer["mask"].dim() != 2 or not weight.shape[-1]:
        shapes = (tuple(theta.shape), tuple(weight.shape), tuple(layer["mask"].shape))
        raise ValueError(
            "layers.0 must have theta [out, in, blocks, angles], preacts_weight [out, in, reps] and mask [out, in]; "
            f"got {', '.join(map(str, shapes))}"
        )
    reps = weight.shape[-1]
    if tuple(theta.shape[2:]) != _angles(circuit, reps):
        fits = [n for n, c in _CIRCUITS.items() if c.name == n and _angles(c, reps) == tuple(theta.shape[2:])]
        raise ValueError(
            f"ansatz={circuit.name!r} with reps={reps} has layers.0.theta [out, in, "
            f"{', '.join(map(str, _angles(circuit, reps)))}]; got {tuple(theta.shape)}, "
            f"as {' and '.join(fits) or 'no ansatz of the peer'} would have it"
        )
    return reps


def _angles(circuit: Ansatz, reps: int) -> tuple[int, int]:
    """Return the last two sizes of the peer's theta: blocks, the final gates as one more, and angles of each."""
    each = circuit.angles(2) - circuit.angles(1)
    return circuit.angles(reps) // each, each


def _check_shapes(layers: list[Layer], circuit: Ansatz, reps: int) -> None:
    faults = []
    n_in = layers[0]["mask"].shape[1]
    for i, layer in enumerate(layers):
        edges = (len(layer["mask"]) if layer["mask"].dim() else 0, n_in)
        last = {"theta": _angles(circuit, reps), "preacts_weight": (reps,), "preacts_bias": (reps,)}
        wanted = {name: (*edges, *last.get(name, ())) for name in _TENSORS}
        faults += [
            f"layers.{i}.{name} has shape {tuple(layer[name].shape)}, not {shape}"
            for name, shape in wanted.items()
            if layer[name].shape != shape
        ]
        n_in = edges[0]
    if faults:
        raise ValueError(f"checkpoint does not fit itself with reps={reps}: {'; '.join(faults)}")


def _dtype(layers: list[Layer]) -> torch.dtype:
    dtypes = list(dict.fromkeys(tensor.dtype for layer in layers for tensor in layer.values()))
    if len(dtypes) > 1 or not dtypes[0].is_floating_point:
        raise ValueError(
            f"checkpoint must have one floating-point dtype; got {', '.join(map(str, dtypes))}: convert its tensors"
        )
    return dtypes[0]


def _any(layers: list[Layer], name: str, *, other_than: float) -> bool:
    return any(bool((layer[name] != other_than).any()) for layer in layers)


def _encoding(layers: list[Layer], circuit: Ansatz, preact_trainable: bool | None) -> str:
    weights, biases = _any(layers, "preacts_weight", other_than=1), _any(layers, "preacts_bias", other_than=0)
    if circuit.arccos_map is not None and (weights or biases):
        raise ValueError(
            "ansatz='px' of the peer encodes arccos(w x + b), ours w arccos x + b: equal only for preacts_weight = 1, "
            "preacts_bias = 0; got others: no model here computes the same"
        )
    if preact_trainable is False and not circuit.trainable_bias:
        return "unit"
    moved = weights or (biases and not circuit.trainable_bias)
    return "trainable" if moved or preact_trainable else "unit"


@torch.no_grad()
def _fill(target: nn.Module, layer: Layer) -> None:
    wide = widest_dtype(layer["mask"].device)  # for the one sum; the rest is copied
    values = {
        "theta": layer["theta"].flatten(-2),
        "encoding_weight": layer["preacts_weight"],
        "encoding_bias": layer["preacts_bias"],
        "scale": layer["postact_weights"],
        "base_weight": layer["base_weight"],
        "bias": (layer["mask"].to(wide) * layer["postact_weights"] * layer["postact_bias"]).sum(-1),
        "mask": layer["mask"],
    }
    for name, value in values.items():
        tensor: Tensor | None = getattr(target, name)
        if tensor is not None:
            tensor.copy_(value)


def from_fastkan(
    checkpoint: Mapping[str, Tensor] | str | os.PathLike[str],
    *,
    base_activation: str | Callable[..., Any] | nn.Module = "silu",
    denominator: float | None = None,
) -> KAN:
    r"""Return the model that computes what a model of fast-kan (Li 2024, arXiv 2405.06721) computes.

    Its layer is y_o = Σ_i Σ_j spline_linear_oij exp(-((u_i - c_j)/h)²) + Σ_i base_linear_oi σ(x_i) + b_o, with u the
    layer norm of x. Here it is a `KAN` with ``basis="rbf"`` and ``map="layer norm"``. Models without layer norm, and
    models without the base branch, are told by what their checkpoint lacks.

    Args:
        checkpoint: ``FastKAN(...).state_dict()``, or the path of a file that holds one. Files are read with
            ``weights_only=True``: no code in them is run.
        base_activation: σ, which a checkpoint does not hold; the default is fast-kan's.
        denominator: the width h; None for fast-kan's default, the distance of the centres.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: if checkpoint is neither a mapping of names to tensors nor a path.
        ValueError: for names that are missing or unknown, and shapes or centres that do not fit each other.

    Example:
        >>> layer = {"rbf.grid": torch.linspace(-2, 2, 8), "spline_linear.weight": torch.ones(2, 3 * 8)}
        >>> model = from_fastkan({f"layers.0.{name}": tensor for name, tensor in layer.items()})
        >>> model.width, model.options.basis, model.options.base_activation
        ((3, 2), 'rbf', None)
    """
    layers = _fastkan_layers(_tensors(checkpoint))
    width, grid = _fastkan_width(layers), layers[0]["rbf.grid"]
    branch = "base_linear.weight" in layers[0]
    model = KAN(
        width,
        "rbf",
        device=grid.device,
        dtype=_dtype(layers),
        generator=torch.Generator(grid.device),  # the weights it draws are overwritten: leave the global one alone
        num_grids=len(grid),
        grid_range=(float(grid[0]), float(grid[-1])),
        denominator=denominator,
        map="layer norm" if "layernorm.weight" in layers[0] else "none",
        base_activation=base_activation if branch else None,
        bias=branch,
    )
    for target, layer in zip(model.layers, layers, strict=True):
        target.load_state_dict(_renamed(layer) | {"mask": target.state_dict()["mask"]})
    return model


def _renamed(layer: Layer) -> Layer:
    """Return the tensors of a layer of fast-kan under our names."""
    names = {
        "rbf.grid": "basis.grid",
        "layernorm.weight": "basis.mapping.weight",
        "layernorm.bias": "basis.mapping.bias",
        "base_linear.weight": "base_weight",
        "base_linear.bias": "bias",
    }
    found = {ours: layer[name] for name, ours in names.items() if name in layer}
    # [out, in · centres], the centres changing fastest
    weight = layer["spline_linear.weight"]
    return found | {"spline_weight": weight.reshape(len(weight), -1, len(layer["rbf.grid"]))}


def _fastkan_layers(tensors: Mapping[str, Tensor]) -> list[Layer]:
    """Return the tensors of each layer, all of the same names."""
    matches = {name: re.fullmatch(rf"layers\.(\d+)\.({'|'.join(_FASTKAN)})", name) for name in tensors}
    foreign = [name for name, match in matches.items() if not match]
    if foreign or not tensors:
        raise ValueError(
            f"checkpoint must hold names such as layers.0.spline_linear.weight alone; got {_listed(foreign)}. Give the "
            "state dict of a FastKAN; from that of a larger model, take its entries without their prefix"
        )
    found: dict[int, Layer] = {}
    for name, match in matches.items():
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = tensors[name]
    layers = [found.get(i, {}) for i in range(max(found) + 1)]
    parts = {name.split(".")[0] for layer in layers for name in layer} | {"rbf", "spline_linear"}
    wanted = [name for name in _FASTKAN if name.split(".")[0] in parts]
    missing = [f"layers.{i}.{name}" for i, layer in enumerate(layers) for name in wanted if name not in layer]
    if missing:
        raise ValueError(f"checkpoint lacks {_listed(missing)}; give the whole state dict of a FastKAN")
    return layers


def _fastkan_width(layers: list[Layer]) -> list[int]:
    """Return the widths, after a look at whether all tensors fit them and the centres are those of a `KAN`."""
    grid = layers[0]["rbf.grid"]
    even = (
        grid.dim() == 1
        and len(grid) > 1
        and torch.allclose(grid, torch.linspace(grid[0], grid[-1], len(grid)).to(grid))
    )
    if not even or any(not torch.equal(layer["rbf.grid"], grid) for layer in layers):
        raise ValueError("rbf.grid must be the same equidistant centres, at least two, in all layers; got others")
    weights = [layer["spline_linear.weight"] for layer in layers]
    width = [weights[0].shape[-1] // len(grid), *(len(weight) for weight in weights)]
    faults = []
    for i, layer in enumerate(layers):
        n_in, n_out = width[i : i + 2]
        wanted = {
            "spline_linear.weight": (n_out, n_in * len(grid)),
            "base_linear.weight": (n_out, n_in),
            "base_linear.bias": (n_out,),
            "layernorm.weight": (n_in,),
            "layernorm.bias": (n_in,),
        }
        faults += [
            f"layers.{i}.{name} has shape {tuple(layer[name].shape)}, not {shape}"
            for name, shape in wanted.items()
            if name in layer and layer[name].shape != shape
        ]
    if faults:
        raise ValueError(f"checkpoint does not fit itself with {len(grid)} centres: {'; '.join(faults)}")
    return width
