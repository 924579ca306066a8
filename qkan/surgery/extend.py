"""Layer extension: more repetitions of the circuits, the same function, so that training goes on with more harmonics.

The rules are exact. Behind the last gate, rotations about Z are not seen by <Z>: blocks with zero angles are appended
whose uploads are RZ (pz, rpz). In front, |+> is not moved by RX: blocks with zero angles are prepended whose uploads
are RX (px). With uploads RY before a last RX (mix), that RX is taken back by π/2, which turns z onto y, the appended
uploads turn about y, and the new last RX of π/2 turns y back.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.ansatz import Ansatz, Gate, H
from qkan.layers import parts
from qkan.layers.linear import QKANLinear
from qkan.layers.options import QKANOptions
from qkan.lowering import replace_layers
from qkan.models.stack import QKAN

__all__ = ["extend"]

M = TypeVar("M", bound=nn.Module)
Rule = Literal["append", "prepend", "append between"]


@torch.no_grad()
def extend(model: M, reps: int, encoding: str | Iterable[int] | None = None) -> M:
    """Return a model of the same function whose circuits have more repetitions; new blocks start invisible.

    Args:
        model: any module; each `QKANLinear` inside is extended.
        reps: the new number of repetitions, at least the old one.
        encoding: that of the new model: needed where the old one is a tuple of integers, whose order has to be kept;
            None keeps ``"unit"``, ``"ternary"`` and the trainable ones. New trainable weights start as `encoding_init`
            says, new biases at 0.

    Raises:
        TypeError: if reps is no integer.
        ValueError: if there is nothing to extend, reps is less than before, or the function would change: `real`, most
            ansätze of one's own, noise behind the new gates, or an encoding whose weights would change places.

    Example:
        >>> from qkan import QKAN
        >>> model, x = QKAN([3, 2], reps=2, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
        >>> larger = extend(model, 5)
        >>> larger.param_size, torch.allclose(larger(x), model(x), rtol=0, atol=1e-14)
        (72, True)
    """
    found = {name: layer for name, layer in model.named_modules() if isinstance(layer, QKANLinear)}
    if not found:
        raise ValueError(f"model must hold a QKANLinear; got {type(model).__name__}")
    weights = encoding if encoding is None or isinstance(encoding, str) else tuple(encoding)
    new = replace_layers(model, {name: _extended(layer, reps, weights) for name, layer in found.items()})
    for module in new.modules():
        if isinstance(module, QKAN):
            module.options = _options(module.options, reps, weights)
    return new  # type: ignore[return-value]


def _extended(layer: QKANLinear, reps: int, encoding: str | tuple[int, ...] | None) -> QKANLinear:
    options = _options(layer.options, reps, encoding)
    rule, more = _rule(options.circuit), reps - layer.options.reps
    tensors = parts.tensors(layer, range(layer.out_features), range(layer.in_features))
    if not more:
        return parts.rebuild(layer, tensors)
    tensors["theta"] = _angles(tensors["theta"], rule, options.circuit, more)
    start = options.start_weights
    uploads = len(start) - layer.options.circuit.uploads(layer.options.reps)
    first = rule == "prepend"
    for name, values in (
        ("encoding_weight", start[:uploads] if first else start[-uploads:]),
        ("encoding_bias", (0,) * uploads),
    ):
        if name in tensors:
            tensors[name] = _joined(tensors[name], tensors[name].new_tensor(values), first)
    return parts.rebuild(layer, tensors, options)


def _options(options: QKANOptions, reps: int, encoding: str | tuple[int, ...] | None) -> QKANOptions:
    """Return the options of the extended layer, after all reasons to refuse."""
    reps = positive_integer("reps", reps)
    if reps < options.reps:
        raise ValueError(f"reps must be at least {options.reps}, what the model has; got {reps}")
    if reps == options.reps and encoding is None:
        return options
    circuit, old = options.circuit, options.weights
    rule = _rule(circuit)
    if circuit.noise is not None and any(op.source == "channel" for op in circuit.circuit(1)[:-1]):
        raise ValueError(
            f"noise={circuit.noise} acts behind gates, so that new ones change the function; extend a model without "
            "noise, or with a readout error alone, and train it with noise from there"
        )
    if encoding is None and isinstance(options.encoding, tuple):
        raise ValueError(
            f"encoding={options.encoding} says nothing of the new uploads; give encoding= with "
            f"{circuit.uploads(reps)} integers that {'end' if rule == 'prepend' else 'start'} with these"
        )
    new = replace(options, reps=reps, encoding=options.encoding if encoding is None else encoding)
    _check_weights(old, new.weights, rule, circuit.name)
    return new


def _check_weights(old: str | tuple[int, ...], new: str | tuple[int, ...], rule: Rule, name: str) -> None:
    if isinstance(old, str) or isinstance(new, str):
        if old != new:
            raise ValueError(f"encoding must stay {old!r} when a layer is extended; got {new!r}")
    elif (new[-len(old) :] if rule == "prepend" else new[: len(old)]) != old:
        where = "prepended" if rule == "prepend" else "appended"
        raise ValueError(
            f"the blocks of {name} are {where}, and the old encoding weights {old} would change places among {new}; "
            f"give encoding= with integers that {'end' if rule == 'prepend' else 'start'} with {old}"
        )


def _rule(ansatz: Ansatz) -> Rule:
    """Return how blocks that change nothing are added, by the structure of the circuit."""
    encodings = [gate for gate in ansatz.block if gate.source == "encoding"]
    trainable = tuple(gate for gate in ansatz.block if gate.source == "trainable")
    kinds = {gate.name for gate in encodings}
    # The old final gates become the first ones of the new block.
    ends = ansatz.block == ansatz.final + tuple(encodings) and all(g.source == "trainable" for g in ansatz.final)
    if ends and kinds == {"RZ"}:
        return "append"
    if ends and kinds == {"RY"} and ansatz.final[-1:] == (Gate("RX", "trainable"),):
        return "append between"
    if ansatz.prepare == (H,) and kinds == {"RX"} and len(encodings) + len(trainable) == len(ansatz.block):
        return "prepend"
    reason = "all of its rotations share one axis, and uploads cannot be added unseen"
    raise ValueError(
        f"ansatz {ansatz.name!r} cannot be extended: "
        f"{reason if ansatz.name == 'real' else 'no rule adds blocks that change nothing to this circuit'}; "
        "build a model with more reps and train it anew"
    )


def _angles(theta: Tensor, rule: Rule, ansatz: Ansatz, more: int) -> Tensor:
    """Return theta [out, in, angles] with the angles of new blocks that change nothing."""
    per_block = ansatz.angles(2) - ansatz.angles(1)
    zeros = theta.new_zeros(more * per_block)
    if rule != "append between":
        return _joined(theta, zeros, rule == "prepend")
    zeros[-1] = math.pi / 2
    last = theta.clone()
    last[..., -1] -= math.pi / 2
    return _joined(last, zeros, False)


def _joined(tensor: Tensor, more: Tensor, first: bool) -> Tensor:
    """Return tensor [..., n] with values [m] before or behind."""
    rest = more.expand(*tensor.shape[:-1], len(more))
    return torch.cat([rest, tensor] if first else [tensor, rest], -1)
