"""Noise: channels after gates and readout error, as affine maps of the Bloch vector.

A single-qubit channel maps v = (x, y, z) to (a x, b y, c z + d), so that a noisy edge is still an exact trigonometric
polynomial and its lowering costs what the noiseless one costs. Parametrisations are PennyLane's.

>>> noise = Noise(depolarizing=0.03, readout_error=(0.01, 0.02))
>>> noise.after_gate("RY", "trainable")
(Channel(name='depolarizing', strengths=(0.03,)),)
>>> compose(noise.after_gate("RY", "trainable"))
Affine(x=0.96, y=0.96, z=0.96, shift=0.0)
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, NamedTuple

from qkan._cached import cached

__all__ = ["Affine", "Channel", "Noise", "compose"]

_CHANNELS = ("depolarizing", "amplitude_damping", "phase_damping", "bit_flip")
_PLACES = ("fixed", "trainable", "encoding", "H", "X", "Y", "Z", "RX", "RY", "RZ")


class Affine(NamedTuple):
    """The map of Bloch vectors (x, y, z) -> (x · x, y · y, z · z + shift)."""

    x: float
    y: float
    z: float
    shift: float

    def then(self, other: "Affine") -> "Affine":
        """Return this map followed by another."""
        return Affine(self.x * other.x, self.y * other.y, self.z * other.z, self.shift * other.z + other.shift)


class Channel(NamedTuple):
    """One channel: a name (those of `Noise`, or ``"readout"``) and its strengths."""

    name: str
    strengths: tuple[float, ...]


@dataclass(frozen=True)
class Noise:
    """Channels after the gates of a circuit, in the order of these arguments, and the error of its measurement.

    PennyLane's own channels round at 1e-14 under a square root, which shows as up to 1e-7 at strengths of 1.

    Args:
        depolarizing: p in [0, 1]; v -> (1 - 4p/3) v: X, Y and Z strike with probability p/3 each.
        amplitude_damping: g in [0, 1]; (√(1-g) x, √(1-g) y, (1-g) z + g): decay to |0>.
        phase_damping: g in [0, 1]; (√(1-g) x, √(1-g) y, z).
        bit_flip: p in [0, 1]; (x, (1-2p) y, (1-2p) z).
        readout_error: probabilities in [0, 0.5] to read 1 for |0> and 0 for |1>; one number stands for both.
        after: the gates that are noisy: kinds (``"trainable"``, ``"encoding"``, ``"fixed"``) or gate names (``"RX"``,
            ...; devices that turn their frame instead of applying RZ leave it out).

    Raises:
        ValueError: for a strength out of range, or an unknown place.
        TypeError: for a strength that is no number.

    Example:
        >>> from qkan import QKANLinear
        >>> QKANLinear(2, 3, noise=Noise(depolarizing=0.01)).solver.name
        'fourier'
    """

    depolarizing: float = 0.0
    amplitude_damping: float = 0.0
    phase_damping: float = 0.0
    bit_flip: float = 0.0
    readout_error: float | tuple[float, float] = 0.0
    after: tuple[str, ...] = ("trainable", "encoding")

    def __post_init__(self) -> None:
        for name in _CHANNELS:
            object.__setattr__(self, name, _probability(name, getattr(self, name), 1.0))
        object.__setattr__(self, "readout_error", _readout_error(self.readout_error))
        one = isinstance(self.after, str) or not isinstance(self.after, Iterable)
        after = (self.after,) if one else tuple(self.after)
        unknown = [place for place in after if place not in _PLACES]
        if unknown:
            raise ValueError(f"after must hold some of {', '.join(_PLACES)}; got {unknown[0]!r}")
        object.__setattr__(self, "after", after)

    def after_gate(self, name: str, kind: str) -> tuple[Channel, ...]:
        """Return the channels that follow a gate of this name and kind (``"fixed"``, ``"trainable"``, ``"encoding"``).

        They are empty where the gate is not noisy.
        """
        if not {name, kind} & set(self.after):
            return ()
        return tuple(Channel(channel, (getattr(self, channel),)) for channel in _CHANNELS if getattr(self, channel))

    def before_measurement(self) -> tuple[Channel, ...]:
        """Return the readout error as a channel; empty where there is none."""
        errors = _readout_error(self.readout_error)
        return (Channel("readout", errors),) if any(errors) else ()

    @property
    def trivial(self) -> bool:
        """Whether nothing happens: no readout error, and no channel or no gate that is noisy."""
        gates = bool(self.after) and any(getattr(self, channel) for channel in _CHANNELS)
        return not gates and not self.before_measurement()

    def to_dict(self) -> dict[str, Any]:
        """Return the noise as plain JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Noise":
        """Return the noise that `to_dict` described.

        Raises:
            ValueError: for an unknown name, or as the constructor.

        >>> Noise.from_dict(Noise(bit_flip=0.1, after="RX").to_dict()) == Noise(bit_flip=0.1, after="RX")
        True
        """
        known = [field.name for field in fields(cls)]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"noise holds {', '.join(known)}; got {unknown[0]!r}")
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)

    def __str__(self) -> str:
        shown = [f"{name}={getattr(self, name):g}" for name in _CHANNELS if getattr(self, name)]
        places = [f"after={'+'.join(self.after)}"] if shown else []
        errors = [f"readout_error={self.readout_error}"] if self.before_measurement() else []
        return f"Noise({', '.join(shown + places + errors)})"


@cached
def compose(channels: tuple[Channel, ...]) -> Affine:
    """Return the map of all of these channels, one after the other."""
    total = Affine(1.0, 1.0, 1.0, 0.0)
    for channel in channels:
        total = total.then(_affine(channel))
    return total


def _affine(channel: Channel) -> Affine:
    p = channel.strengths[0]
    if channel.name == "depolarizing":
        return Affine(1 - 4 * p / 3, 1 - 4 * p / 3, 1 - 4 * p / 3, 0.0)
    if channel.name == "amplitude_damping":
        return Affine((1 - p) ** 0.5, (1 - p) ** 0.5, 1 - p, p)
    if channel.name == "phase_damping":
        return Affine((1 - p) ** 0.5, (1 - p) ** 0.5, 1.0, 0.0)
    if channel.name == "bit_flip":
        return Affine(1.0, 1 - 2 * p, 1 - 2 * p, 0.0)
    # Readout: p(read 0) = (1 - e0) p0 + e1 p1. It acts on z alone; x and y are never read behind it.
    e0, e1 = channel.strengths
    return Affine(1.0, 1.0, 1 - e0 - e1, e1 - e0)


def _probability(name: str, value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number in [0, {most:g}]; got {value!r}")
    if not 0 <= float(value) <= most:  # NaN fails too
        raise ValueError(f"{name} must be in [0, {most:g}]; got {value!r}")
    return float(value)


def _readout_error(value: Any) -> tuple[float, float]:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"readout_error must be one probability or two, for |0> and |1>; got {value!r}")
    return _probability("readout_error", pair[0], 0.5), _probability("readout_error", pair[1], 0.5)
