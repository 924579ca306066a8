"""`measure`: run the settings of a model on a PennyLane device."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.hardware.records import Record, digest
from qkan.hardware.settings import CIRCUITS_PER_JOB, LayerSettings, Packing, find_layers
from qkan.hardware.surrogate import Measured, Surrogate
from qkan.layers.linear import QKANLinear
from qkan.lowering import LoweredLinear, lowered_layer, replace_layers
from qkan.noise import Noise
from qkan.precision import widest_dtype
from qkan.solvers.lowering.nodes import Series
from qkan.solvers.pennylane import Execute, PennyLane, checked_keywords, executor, open_device, require_pennylane

if TYPE_CHECKING:
    from tqdm import tqdm  # type: ignore[import-untyped]

__all__ = ["measure"]


def measure(
    model: nn.Module,
    device: Any = None,
    shots: int | None = 1024,
    *,
    max_wires: int = 1,
    keywords: Mapping[str, Any] | None = None,
    noise: Noise | None = None,
    circuits_per_job: int = CIRCUITS_PER_JOB,
    record: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Surrogate:
    """Measure every edge of a model at its nodes on a quantum device, and return the model as a classical network.

    <Z> of an edge of degree D is known everywhere once it is known at u_j = 2πj/N, N = 2D + 1 (with trained weights: at
    the 3^R angles {0, 2π/3, 4π/3}^R of its uploads); px is driven in u, over the full turn. Exact but for shots and for
    what the device does wrong. Gains, masks, biases and base branches are computed classically.

    The circuits run as they are: **noise in the options of the model is left out**, since a device brings its own;
    ``noise=model.options.noise`` simulates it. Harmonics that the circuits do not have, but that the noise of a device
    may bring (`real` is such a circuit), are not fitted, and those above the degree fold onto those that are.

    Args:
        model: a module with `QKANLinear` layers; a layer that is used in several places is measured once, edges whose
            mask is 0 are not measured.
        device: name of a PennyLane device, or such a device; None is ``"default.qubit"``, and ``"default.mixed"`` with
            noise. A job is one call of it with many circuits; what cannot broadcast runs them one by one.
        shots: outcomes per setting; None for exact expectations, with which the result equals `qkan.lower` (without
            the noise of the model).
        max_wires: settings that share a circuit, on one wire each. For a simulator memory grows as 2^wires (4^wires for
            mixed states): leave it at 1. A quantum computer needs so many fewer circuits.
        keywords: of a device given by name. With ``{"seed": ...}`` a measurement that resumes starts the random numbers
            again.
        noise: channels and readout error that are put into the circuits, for devices that simulate mixed states.
        circuits_per_job: at most so many circuits per call of the device, after which the record is written. From about
            a thousand on a simulator gains nothing, and 1024 circuits with 8192 shots are within the 10 million
            executions per job that IBM allows.
        record: a file that holds what was measured after every job. A measurement that was interrupted resumes from it,
            and one that is complete runs nothing. ``max_wires``, ``circuits_per_job`` and a seed may change in between.
            Of a live device only the name is compared.
        progress: show a tqdm bar.

    Raises:
        ValueError: for a model without such layers, or one with an amplitude readout (biased), a number out of range, a
            device that does not fit shots, wires or noise, values that are not finite, or a record that is damaged or
            of another measurement.
        TypeError: for an argument of the wrong type.
        ImportError: without PennyLane.

    Example:
        >>> from qkan import QKAN
        >>> surrogate = measure(QKAN([2, 3]), shots=100)
        >>> surrogate.model(torch.zeros(5, 2)).shape, surrogate.standard_error(torch.zeros(5, 2)).shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    layers = find_layers(model, noise)
    shots = None if shots is None else positive_integer("shots", shots)
    packing = Packing(max_wires, circuits_per_job)
    opened = _open(device, keywords, layers, packing, shots)
    angles = [layer.angles() for layer in layers]
    journal = Record(record, _facts(layers, angles, opened, shots, noise, keywords))
    z = _run(layers, angles, opened, shots, packing, journal, progress)
    pieces = torch.split(z, [a.shape[1] for a in angles])
    values = [layer.values(piece) for layer, piece in zip(layers, pieces, strict=True)]
    return _surrogate(model, layers, values, shots)


@torch.no_grad()
def _run(
    layers: Sequence[LayerSettings],
    angles: Sequence[Tensor],
    device: Any,
    shots: int | None,
    packing: Packing,
    record: Record,
    progress: bool,
) -> Tensor:
    """Return the values of all settings, layer after layer, those in the record included."""
    z = record.load(most=sum(a.shape[1] for a in angles))
    done = len(z)
    todo = []
    for layer, a in zip(layers, angles, strict=True):
        todo += [(layer, a[:, job]) for job in packing.jobs(a.shape[1], min(done, a.shape[1]))]
        done = max(0, done - a.shape[1])
    with _bar(len(todo), progress) as bar:
        for layer, a in todo:
            z = torch.cat([z, _job(executor(layer.circuit, device, shots), a, packing)])
            record.save(z)
            bar.update()
    return z


def _job(execute: Execute, angles: Tensor, packing: Packing) -> Tensor:
    """Return the values of the settings [rotations, settings] of one job; wires left over in the last circuit idle."""
    count = angles.shape[1]
    wires = min(packing.wires, count)
    angles = nn.functional.pad(angles, (0, -count % wires))
    z = execute(angles.view(len(angles), -1, wires)).flatten()[:count]
    if not z.isfinite().all():
        raise ValueError(f"the device returned {z[~z.isfinite()][0]} for an expectation: it must be a finite number")
    return z


def _surrogate(
    model: nn.Module, layers: Sequence[LayerSettings], values: Sequence[Tensor], shots: int | None
) -> Surrogate:
    measured, lowered = {}, {}
    for part, z in zip(layers, values, strict=True):
        layer = part.layer
        gain = layer.gain(layer.mask.dtype).detach().to("cpu").double().clone()
        measured[part.name] = Measured(z, shots, part.active, gain, part.nodes()[1])
        lowered[part.path] = _lowered(layer, measured[part.name].series)
    return Surrogate(replace_layers(model, lowered), measured)


def _lowered(layer: QKANLinear, series: Series) -> LoweredLinear:
    device = layer.theta.device
    return lowered_layer(layer, Series(*(tensor.to(device, widest_dtype(device)) for tensor in series)))


def _facts(
    layers: Sequence[LayerSettings],
    angles: Sequence[Tensor],
    device: Any,
    shots: int | None,
    noise: Noise | None,
    keywords: Mapping[str, Any] | None,
) -> dict[str, str]:
    """Return what makes a measurement the one it is, as texts by name."""
    shapes = [f"{layer.name} {a.shape[1]} settings" for layer, a in zip(layers, angles, strict=True)]
    return {
        "layers": ", ".join(shapes),
        "circuits": digest(layer.circuit for layer in layers),
        "angles": digest([*angles, *(layer.active for layer in layers)]),
        "shots": str(shots),
        "device": str(device.name),
        "keywords": str(sorted((name, value) for name, value in (keywords or {}).items() if name != "seed")),
        "noise": str(noise),
    }


def _open(
    device: Any,
    keywords: Mapping[str, Any] | None,
    layers: Sequence[LayerSettings],
    packing: Packing,
    shots: int | None,
) -> Any:
    """Return a live device that can run these settings."""
    noisy = [layer.ansatz.noise is not None for layer in layers]
    if device is None:
        device = "default.mixed" if any(noisy) else "default.qubit"
    qml = require_pennylane("measuring")
    if isinstance(device, str):
        own = {"wires": "give max_wires=", "shots": "give shots="}
        given = {} if keywords is None else checked_keywords(keywords, own)
        device = open_device(device, packing.wires, given)
    elif keywords is not None:
        raise TypeError("keywords are for a device given by its name; build the device with them, or give its name")
    elif isinstance(device, qml.devices.LegacyDevice):
        device = qml.devices.LegacyDeviceFacade(device)
    elif not isinstance(device, qml.devices.Device):
        raise TypeError(f"device must be the name of a PennyLane device, or a device; got {device!r}")
    _check_device(device, layers, packing, shots)
    return device


def _check_device(device: Any, layers: Sequence[LayerSettings], packing: Packing, shots: int | None) -> None:
    for layer in layers:
        options = layer.layer.options
        reason = PennyLane(device.name).refusal(layer.ansatz, options.reps, options.weights)
        if reason:
            raise ValueError(f"noise cannot be simulated: {reason}")
    if device.wires and len(device.wires) < packing.wires:
        raise ValueError(f"max_wires must be at most the {len(device.wires)} wires of the device; got {packing.wires}")
    own = device.shots.total_shots
    if own is not None and own != shots:
        raise ValueError(f"shots must be those of the device, {own}, or the device without shots; got {shots}")


def _bar(jobs: int, progress: bool) -> "tqdm[Any]":
    from tqdm import tqdm

    return tqdm(total=jobs, unit="job", disable=not progress)
