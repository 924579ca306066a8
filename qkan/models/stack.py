"""Layers one after the other: what all such models share, and `QKAN`."""

import abc
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, Unpack

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.layers.edges import EditableLayer
from qkan.layers.linear import QKANLinear
from qkan.layers.options import OptionArguments, QKANOptions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qkan.history import History
    from qkan.symbolic import AutoSymbolic

__all__ = ["QKAN", "Stack", "widths"]


class Stack(nn.Module, abc.ABC):
    """Edge layers one after the other; `QKAN` and `KAN`.

    Args:
        layers: at least one; the outputs of one are the inputs of the next.

    Attributes:
        layers: the layers. width: the number of inputs, then the outputs of every layer.

    Shape:
        x [*batch, width[0]] -> [*batch, width[-1]].
    """

    def __init__(self, layers: Iterable[EditableLayer]) -> None:
        super().__init__()
        found = list(layers)
        self.width = (found[0].in_features, *(layer.out_features for layer in found))
        self.layers = nn.ModuleList(found)  # type: ignore[arg-type]  # an edge layer is a module

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the arguments that build this model, as plain JSON values."""

    @abc.abstractmethod
    def with_layers(self, layers: Iterable[EditableLayer]) -> Self:
        """Return a new model of other layers, with the options and the mode of this one."""

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the output [*batch, width[-1]] for x [*batch, width[0]]; generator as in `QKANLinear.forward`."""
        for layer in self.layers:
            # Without one it is not passed on: a layer may be replaced by any module.
            x = layer(x) if generator is None else layer(x, generator)
        return x

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    # What users of pykan look for on the model; each is a function of its own.

    def fit(self, data: Any, **options: Any) -> "History":
        """Train the model in place: `qkan.fit(model, data, ...)`."""
        from qkan.training import fit

        return fit(self, data, **options)

    def plot(self, data: Any = None, **options: Any) -> "Figure":
        """Draw the network with the curve of every edge: `qkan.plot.network(model, data, ...)`."""
        from qkan.plot import network

        return network(self, data, **options)

    def prune(self, data: Any, **options: Any) -> Self:
        """Return a model without what does not matter: `qkan.surgery.prune(model, data, ...)`."""
        from qkan.surgery import prune

        return prune(self, data, **options)

    def auto_symbolic(self, data: Any, **options: Any) -> "AutoSymbolic[Self]":
        """Return a model whose edges are elementary functions, and a report: `qkan.symbolic.auto_symbolic`."""
        from qkan.symbolic import auto_symbolic

        return auto_symbolic(self, data, **options)


class QKAN(Stack):
    """A stack of `QKANLinear` layers of the given widths (arXiv 2509.14026).

    Args:
        width: at least two widths, the first the number of inputs; any integer type, NumPy's included.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles, on the same device; the global one when None.
        **options: of every layer, see `QKANOptions`.

    Attributes:
        layers: the `QKANLinear` layers.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for fewer than two widths, a width below 1, or an option out of range.

    Shape:
        x [*batch, width[0]] -> [*batch, width[-1]].

    Example:
        >>> model = QKAN([10, 10])
        >>> model.param_size, model(torch.zeros(4, 10)).shape
        (800, torch.Size([4, 10]))
    """

    def __init__(
        self,
        width: Iterable[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        parsed, sizes = QKANOptions.parse("QKAN", options), widths(width)
        super().__init__(
            QKANLinear(n_in, n_out, device=device, dtype=dtype, generator=generator, **options)
            for n_in, n_out in pairwise(sizes)
        )
        self.options = parsed

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this model, as plain JSON values."""
        return {"width": list(self.width), **self.options.to_json()}

    def extend(self, reps: int, encoding: str | Iterable[int] | None = None) -> "QKAN":
        """Return a model of the same function with more repetitions: `qkan.surgery.extend(model, reps)`."""
        from qkan.surgery import extend

        return extend(self, reps, encoding)

    def with_layers(self, layers: Iterable[EditableLayer], options: QKANOptions | None = None) -> "QKAN":
        """Return a new model of other layers, with the mode of this one; options None means those of this one."""
        found = list(layers)
        sizes = [found[0].in_features, *(layer.out_features for layer in found)]
        new = QKAN(sizes, device="meta", **(options or self.options).arguments())
        new.layers = nn.ModuleList(found)  # type: ignore[arg-type]
        return new.train(self.training)


def widths(width: Iterable[int], name: str = "width") -> tuple[int, ...]:
    """Return the widths as a tuple of at least two positive integers; errors call them by the name of the argument.

    Raises:
        TypeError: if it is no sequence of integers.
        ValueError: for fewer than two widths, or one below 1.
    """
    if isinstance(width, str) or not isinstance(width, Iterable):
        raise TypeError(f"{name} must be a sequence of integers such as [in, out]; got {width!r}")
    found = tuple(positive_integer(f"{name}[{i}]", w) for i, w in enumerate(width))
    if len(found) < 2:
        raise ValueError(f"{name} must hold at least two integers, inputs and outputs; got {found}")
    return found
