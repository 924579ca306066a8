"""What the tools of a KAN (attribution, surgery, formulas, plots) ask of a layer.

A layer with these methods gets every tool: its edges one by one, all at once, and, where it has a shared basis, as
linear functions of features.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from qkan._checks import index_below

__all__ = ["EdgeLayer", "EditableLayer", "Expansion", "Pointwise", "check_edge", "edge_layers"]


class Expansion(NamedTuple):
    """Edges as linear functions of features: constant_oi + Σ_f coefficients_oif columns_if is what edge oi adds."""

    columns: Tensor  # [*batch, in, functions]
    coefficients: Tensor  # [out, in, functions]
    constant: Tensor  # [out, in]


@runtime_checkable
class EdgeLayer(Protocol):
    """A layer y_o = bias_o + Σ_i φ_oi(x_i) that shows its edges φ_oi: gain, mask and base branch included."""

    in_features: int
    out_features: int

    def edge_function(self, output: int, input: int) -> Callable[[Tensor], Tensor]:
        """Return φ_oi as a function of tensors of any shape, which follows the parameters and has their gradient."""

    def contributions(self, x: Tensor) -> Tensor:
        """Return φ_oi(x_i) of every edge, [*batch, out, in], for x [*batch, in]."""

    def expansion(self, x: Tensor) -> Expansion | None:
        """Return all edges at x [*batch, in] without [*batch, out, in], or None if they share no features."""


@runtime_checkable
class EditableLayer(EdgeLayer, Protocol):
    """An `EdgeLayer` that surgery can work on."""

    @property
    def bias(self) -> Tensor | None:
        """What is added to the outputs, [out], or None."""

    @property
    def mask(self) -> Tensor:
        """What every edge is multiplied with, [out, in]; 0 where it was removed."""

    def remove_edges(self, removed: Tensor) -> None:
        """Remove edges, in place and for good: removed is a boolean [out, in]."""

    def subset(self, outputs: Sequence[int], inputs: Sequence[int]) -> Self:
        """Return a new layer of these outputs and inputs, with copies of their parameters."""


class Pointwise(nn.Module):
    """A module that takes the edges of a layer inside one by one: no sums, so that tools for layers pass it by."""


def edge_layers(model: nn.Module) -> dict[str, EdgeLayer]:
    """Return the edge layers of a model by name, in the order of its modules.

    Parts of an edge layer are not told, nor what a `Pointwise` module holds.

    Raises:
        ValueError: if there is none.

    Example:
        >>> from qkan import HQKAN
        >>> list(edge_layers(HQKAN(8, 3, latent=(4, 3, 2))))
        ['core.layers.0', 'core.layers.1']
    """
    found = dict(_walk("", model, set()))
    if not found:
        raise ValueError(f"model must hold a layer with edges, such as QKANLinear; got {type(model).__name__}")
    return found


def _walk(name: str, module: nn.Module, seen: set[nn.Module]) -> list[tuple[str, EdgeLayer]]:
    if module in seen:
        return []
    seen.add(module)
    if isinstance(module, EdgeLayer):
        return [(name, module)]
    if isinstance(module, Pointwise):
        return []
    children = [(f"{name}.{child}" if name else child, part) for child, part in module.named_children()]
    return [found for child, part in children for found in _walk(child, part, seen)]


def check_edge(layer: EdgeLayer, output: int, input: int) -> tuple[int, int]:
    """Return the two as integers that number an edge of the layer.

    Raises:
        TypeError: for one that is no integer.
        ValueError: for one out of range.
    """
    return index_below("output", output, layer.out_features), index_below("input", input, layer.in_features)
