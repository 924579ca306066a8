"""`plan`: what a measurement takes, before it is run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from qkan._checks import positive_integer
from qkan.hardware.settings import CIRCUITS_PER_JOB, Packing, find_layers
from qkan.noise import Noise

__all__ = ["Cost", "LayerPlan", "Plan", "plan"]


class Cost(NamedTuple):
    """Settings (one edge at one angle), the circuits they are packed into, calls of the device, and shots in total."""

    settings: int
    circuits: int
    jobs: int
    shots: int


class LayerPlan(NamedTuple):
    """The cost of one layer, measured once and evaluated sample by sample (None without samples)."""

    name: str
    edges: int
    nodes: int
    once: Cost
    each: Cost | None


@dataclass(frozen=True)
class Plan:
    """What `measure` takes, against evaluating a set of samples one by one on the same device; ``str`` is a table.

    Args:
        layers: the cost of every layer.
        packing: settings per circuit and circuits per job.
        shots: per setting; None for exact expectations, which count as no shots.
        samples: inputs that are evaluated one by one, or None.
    """

    layers: tuple[LayerPlan, ...]
    packing: Packing
    shots: int | None
    samples: int | None

    @property
    def once(self) -> Cost:
        """Cost of measuring every edge at its nodes."""
        return _sum(layer.once for layer in self.layers)

    @property
    def each(self) -> Cost | None:
        """Cost of evaluating every edge for every sample; None without samples."""
        costs = [layer.each for layer in self.layers if layer.each is not None]
        return _sum(costs) if self.samples is not None else None

    @property
    def break_even(self) -> int:
        """The number of samples from which on measuring once takes fewer settings."""
        edges = sum(layer.edges for layer in self.layers)
        return self.once.settings // edges + 1 if edges else 0

    def __str__(self) -> str:
        shots = "exact expectations" if self.shots is None else f"{self.shots:,} shots per circuit"
        wires, jobs = _plural(self.packing.wires, "setting"), _plural(self.packing.circuits_per_job, "circuit")
        nodes, once = [layer.nodes for layer in self.layers], [layer.once for layer in self.layers]
        rows = _rows("measured once", nodes, self.layers, once)
        each = [layer.each for layer in self.layers if layer.each is not None]
        if self.samples is not None:
            title = f"{_plural(self.samples, 'sample')} one by one"
            rows += _rows(title, [self.samples] * len(each), self.layers, each)
        head = f"{shots}; up to {wires} in a circuit, one per wire; up to {jobs} in a job"
        last = f"Measuring once takes fewer settings from {_plural(self.break_even, 'sample')} on."
        return "\n".join([head, *_aligned(rows), last])


def plan(
    model: nn.Module,
    shots: int | None = 1024,
    *,
    max_wires: int = 1,
    circuits_per_job: int = CIRCUITS_PER_JOB,
    noise: Noise | None = None,
    samples: int | None = None,
) -> Plan:
    """Return how many settings, circuits, jobs and shots `measure` takes with these arguments; nothing is run.

    Sample by sample, every edge is a circuit for every sample. The inputs of a layer are then known only once the
    layers before it have run, so that jobs hold circuits of one layer only (as they do in `measure`). A layer that the
    model uses in several places is counted once.

    Args:
        model: a module with `QKANLinear` layers.
        shots: as in `measure`.
        max_wires: likewise.
        circuits_per_job: likewise.
        noise: likewise; channels can bring harmonics back that a circuit does not have without them.
        samples: inputs to compare with, such as the size of a test set; None for no comparison.

    Raises:
        ValueError: as `measure`, or for a number of samples below 1.
        TypeError: likewise.

    Example:
        >>> from qkan import QKAN
        >>> print(plan(QKAN([4, 3, 2]), samples=10_000))
        1,024 shots per circuit; up to 1 setting in a circuit, one per wire; up to 1,024 circuits in a job
        measured once              edges  per edge  settings  circuits  jobs        shots
        layers.0                      12         7        84        84     1       86,016
        layers.1                       6         7        42        42     1       43,008
        total                         18                 126       126     2      129,024
        10,000 samples one by one  edges  per edge  settings  circuits  jobs        shots
        layers.0                      12    10,000   120,000   120,000   118  122,880,000
        layers.1                       6    10,000    60,000    60,000    59   61,440,000
        total                         18             180,000   180,000   177  184,320,000
        Measuring once takes fewer settings from 8 samples on.
    """
    packing = Packing(max_wires, circuits_per_job)
    shots = None if shots is None else positive_integer("shots", shots)
    samples = None if samples is None else positive_integer("samples", samples)

    def cost(settings: int) -> Cost:
        circuits = packing.circuits(settings)
        return Cost(settings, circuits, len(packing.jobs(settings)), circuits * (shots or 0))

    layers = []
    for layer in find_layers(model, noise):
        edges, nodes = layer.count()
        each = None if samples is None else cost(edges * samples)
        layers.append(LayerPlan(layer.name, edges, nodes, cost(edges * nodes), each))
    return Plan(tuple(layers), packing, shots, samples)


def _sum(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(Cost(0, 0, 0, 0), *costs, strict=True)))


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _rows(title: str, per_edge: Sequence[int], layers: Sequence[LayerPlan], costs: Sequence[Cost]) -> list[list[str]]:
    rows = [[title, "edges", "per edge", "settings", "circuits", "jobs", "shots"]]
    for layer, count, cost in zip(layers, per_edge, costs, strict=True):
        rows.append([layer.name, *(f"{n:,}" for n in (layer.edges, count, *cost))])
    edges = sum(layer.edges for layer in layers)
    return [*rows, ["total", f"{edges:,}", "", *(f"{n:,}" for n in _sum(costs))]]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
