"""What a device has to run: for every edge of a layer, the angles of its gates at every node."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.ansatz import Ansatz, Operation
from qkan.layers.linear import QKANLinear
from qkan.noise import Noise
from qkan.solvers.auto import evaluations
from qkan.solvers.lowering.nodes import nodes
from qkan.solvers.pennylane import rotations

__all__ = ["CIRCUITS_PER_JOB", "LayerSettings", "Packing", "find_layers"]

# A simulator gains nothing from more (from about a thousand on, default.qubit takes as long per circuit), a measurement
# that is interrupted loses little, and with 8192 shots a job is within the 10 million executions that IBM allows
# (quantum.cloud.ibm.com/docs/guides/job-limits).
CIRCUITS_PER_JOB = 1024


@dataclass(frozen=True)
class Packing:
    """How settings share circuits and circuits share jobs: one setting per wire, one call of the device per job.

    Args:
        wires: settings side by side on the wires of one circuit, at most.
        circuits_per_job: circuits in one call of the device, at most.

    Raises:
        ValueError: for a number below 1.
        TypeError: for no integer.

    >>> packing = Packing(wires=2, circuits_per_job=3)
    >>> packing.circuits(13), packing.jobs(13)
    (7, [slice(0, 6, None), slice(6, 12, None), slice(12, 13, None)])
    """

    wires: int = 1
    circuits_per_job: int = CIRCUITS_PER_JOB

    def __post_init__(self) -> None:
        object.__setattr__(self, "wires", positive_integer("max_wires", self.wires))
        object.__setattr__(self, "circuits_per_job", positive_integer("circuits_per_job", self.circuits_per_job))

    def circuits(self, settings: int) -> int:
        """Return the number of circuits that so many settings take."""
        return -(-settings // self.wires)

    def jobs(self, settings: int, done: int = 0) -> list[slice]:
        """Return the settings of every job, without those that are done."""
        step = self.wires * self.circuits_per_job
        return [slice(start, min(start + step, settings)) for start in range(done, settings, step)]


@dataclass(frozen=True, eq=False)
class LayerSettings:
    """One layer as a device runs it.

    Args:
        path: of the layer in its model, as in ``named_modules``; empty for the model itself.
        layer: a view of it whose options hold the noise of the circuits that are run, and no other.
    """

    path: str
    layer: QKANLinear

    @property
    def name(self) -> str:
        """The path, or the class where the layer is the whole model."""
        return self.path or type(self.layer).__name__

    @property
    def ansatz(self) -> Ansatz:
        """The circuit of an edge, with the noise that is run."""
        return self.layer.options.circuit

    @property
    def circuit(self) -> tuple[Operation, ...]:
        """The same, unrolled."""
        return self.ansatz.circuit(self.layer.options.reps)

    @property
    def active(self) -> Tensor:
        """Which edges are run, [out, in]: those whose mask is not 0."""
        return self.layer.mask.detach().to("cpu") != 0

    def nodes(self) -> tuple[Tensor, Tensor]:
        """Return the angles of the uploads [uploads, nodes] and the transform [nodes, 1 + functions], in float64."""
        weight, _ = self.layer.encoding(torch.float32)  # of a tensor only the shape matters
        return nodes(self.ansatz, weight, torch.empty((), dtype=torch.float64))

    def count(self) -> tuple[int, int]:
        """Return the number of edges that are run, and of nodes of each."""
        options = self.layer.options
        count = evaluations(self.ansatz, options.reps, options.weights)
        # Weights per edge take the grid of angles that shared ones take.
        nodes = 3 ** self.ansatz.uploads(options.reps) if options.trainable_encoding else int(count)
        return int(self.active.sum()), nodes

    def angles(self) -> Tensor:
        """Return the angle of every rotation in every setting, [rotations, settings], nodes before edges."""
        uploads = self.nodes()[0].mT[:, None, None]  # [nodes, 1, 1, uploads]
        # The grid of trained weights is one of the angles themselves, and the features hold weights and biases.
        trained = self.layer.options.trainable_encoding
        bias = None if trained or self.layer.encoding_bias is None else _double(self.layer.encoding_bias)
        theta = _double(self.layer.theta)
        shape = (len(uploads), *theta.shape[:-1])
        angles = rotations(self.circuit, torch.ones((), dtype=torch.float64), theta, uploads, bias)
        return torch.stack([angle.expand(shape)[:, self.active].flatten() for angle in angles])

    def values(self, measured: Tensor) -> Tensor:
        """Return [nodes, out, in] from what was measured, [settings], with 0 for edges that are not run."""
        active = self.active
        z = measured.new_zeros(self.count()[1], *active.shape)
        z[:, active] = measured.view(len(z), -1)
        return z


def find_layers(model: nn.Module, noise: Noise | None) -> list[LayerSettings]:
    """Return the layers of a model as a device runs them, each once, in the order of ``named_modules``.

    Raises:
        ValueError: without such layers, or for one with a readout other than the expectation.
        TypeError: if model is no module, or noise no `Noise`.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module with QKAN layers; got {type(model).__name__}")
    found = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, QKANLinear)]
    if not found:
        raise ValueError(
            f"model has no QKANLinear layer to measure; got {type(model).__name__}. A lowered model is classical "
            "already: give the model that it was made from"
        )
    _check_readouts(found)
    exact = {"solver": "auto", "shots": None}
    return [LayerSettings(path, layer.with_options(noise=noise, **exact)) for path, layer in found]


def _double(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu").to(torch.float64)


def _check_readouts(layers: Iterable[tuple[str, QKANLinear]]) -> None:
    for path, layer in layers:
        readout = layer.options.readout
        if readout != "expectation":
            raise ValueError(
                f"layer {path or type(layer).__name__} has readout={readout!r}, whose square root of a measured mean "
                "is biased; train and measure a model with readout='expectation'"
            )
