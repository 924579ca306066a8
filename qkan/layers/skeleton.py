"""What surrounds the edges of a convolution: a norm, a dropout of channels, and an activation."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan.bases.settings import finite_number
from qkan.layers import activations

__all__ = ["NormLayer", "Skeleton", "SkeletonArguments"]

NormLayer = str | Callable[..., nn.Module] | None

_NORMS: dict[str, tuple[type[nn.Module], ...]] = {
    "instance": (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
}
_NORM_PLACES = ("output", "input")
_DROPOUT_PLACES = ("output", "input", "basis", "mapped", "features")


class SkeletonArguments(TypedDict, total=False):
    """Keywords of `Skeleton` that layers pass on."""

    norm_layer: NormLayer
    norm_of: str
    norm_options: Mapping[str, Any] | None
    dropout: float
    dropout_of: str
    activation: str | Callable[..., Any] | nn.Module | None


class Skeleton(nn.Module):
    """A norm, a dropout of whole channels, and an activation, each at a place with a name.

    Args:
        dims: number of dimensions of space.
        in_channels: of the images.
        out_channels: of the result.
        groups: of the convolution; ``activation="prelu"`` has one slope each.
        norm_layer: ``"instance"``, ``"batch"``, a class or function of the number of channels, or None. One norm serves
            all groups.
        norm_of: ``"output"``, or ``"input"``: of what the basis sees, before the padding; the base branch sees the
            images as they are.
        norm_options: keywords of the norm, such as ``{"affine": True}``.
        dropout: probability of a channel to be 0 in training.
        dropout_of: ``"output"``, after the activation; ``"input"``; ``"basis"``, the input of the basis, before a norm
            of the input; ``"mapped"``, the input in the domain of the basis; ``"features"``, each for itself.
        activation: after the norm: ``"prelu"``, a name of `qkan.layers.activations`, a module, a function, or None.
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> Skeleton(2, 3, 4, norm_layer="batch", activation="prelu").output(torch.ones(2, 4, 5, 5)).shape
        torch.Size([2, 4, 5, 5])
    """

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        groups: int = 1,
        *,
        norm_layer: NormLayer = None,
        norm_of: str = "output",
        norm_options: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
        dropout_of: str = "output",
        activation: str | Callable[..., Any] | nn.Module | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.dims, self.groups = dims, groups
        self.norm_of = _place("norm_of", norm_of, _NORM_PLACES)
        self.dropout, self.dropout_of = _probability(dropout), _place("dropout_of", dropout_of, _DROPOUT_PLACES)
        channels = out_channels if norm_of == "output" else in_channels
        self.norm_options = dict(norm_options or {})
        norm = _norm(norm_layer, dims, channels, self.norm_options)
        self.norm = None if norm is None else norm.to(device=device, dtype=dtype)
        slopes = activation == "prelu"
        after = nn.PReLU(groups) if slopes else activations.build(activation)
        self.activation = None if after is None else after.to(device=device, dtype=dtype)
        self.slopes = slopes
        self._given = norm_layer, activation

    def reset_parameters(self) -> None:
        """Start the norm and the activation anew, where they can."""
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase | nn.PReLU):
                module.reset_parameters()

    def drop(self, x: Tensor, place: str, dims: int = 1) -> Tensor:
        """Return x with some channels 0, if this is the place for it; the last dims dimensions are one channel."""
        if place != self.dropout_of or not self.dropout or not self.training:
            return x
        rows = x.flatten(-dims)
        return F.dropout1d(rows.reshape(1, -1, rows.shape[-1]), self.dropout).view(x.shape)

    def input(self, x: Tensor) -> Tensor:
        """Return what both branches see of images [batch, in, *space]."""
        return self.drop(x, "input", self.dims)

    def basis_input(self, x: Tensor) -> Tensor:
        """Return what the basis sees of it."""
        x = self.drop(x, "basis", self.dims)
        return _own_dtype(self.norm, x) if self.norm is not None and self.norm_of == "input" else x

    def output(self, y: Tensor) -> Tensor:
        """Return the layer's result, from the sum of its branches [batch, out, *space]."""
        if self.norm is not None and self.norm_of == "output":
            y = _own_dtype(self.norm, y)
        if self.activation is not None and self.slopes:
            y = _own_dtype(self.activation, torch.unflatten(y, 1, (self.groups, -1))).flatten(1, 2)
        elif self.activation is not None:
            y = _own_dtype(self.activation, y)
        return self.drop(y, "output", self.dims)

    def arguments(self) -> dict[str, Any]:
        """Return the keywords that build it again, as plain JSON values.

        Raises:
            ValueError: for a norm or an activation without a name.
        """
        norm, activation = self._given
        return {
            "norm_layer": _norm_name(norm, self.dims),
            "norm_of": self.norm_of,
            "norm_options": dict(self.norm_options),
            "dropout": self.dropout,
            "dropout_of": self.dropout_of,
            "activation": activation if self.slopes else activations.name_of(activation),
        }

    def extra_repr(self) -> str:
        """Return what `print` shows: places, where there is something to place."""
        shown = [f"norm_of={self.norm_of}"] if self.norm is not None else []
        shown += [f"dropout={self.dropout}, dropout_of={self.dropout_of}"] if self.dropout else []
        return ", ".join(shown)


def _place(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    return value


def _probability(value: Any) -> float:
    number = finite_number("dropout", value)
    if not 0 <= number < 1:
        raise ValueError(f"dropout must be a probability from 0, below 1; got {value!r}")
    return number


def _norm(layer: NormLayer, dims: int, channels: int, options: Mapping[str, Any]) -> nn.Module | None:
    if layer is None:
        if options:
            raise TypeError(f"norm_options need a norm_layer; got {', '.join(options)} and norm_layer=None")
        return None
    if isinstance(layer, str):
        if layer not in _NORMS:
            raise ValueError(f"norm_layer must be one of {', '.join(_NORMS)}, a class or None; got {layer!r}")
        return _NORMS[layer][dims - 1](channels, **options)
    norm = layer(channels, **options) if callable(layer) else None
    if not isinstance(norm, nn.Module):
        raise TypeError(f"norm_layer must be a name, a class of modules or a function that makes one; got {layer!r}")
    return norm


def _norm_name(layer: NormLayer, dims: int) -> str | None:
    if layer is None or isinstance(layer, str):
        return layer
    for name, classes in _NORMS.items():
        if layer is classes[dims - 1]:
            return name
    raise ValueError(f"norm_layer {layer!r} has no name, so a file cannot hold it; use one of {', '.join(_NORMS)}")


def _own_dtype(module: nn.Module, x: Tensor) -> Tensor:
    """Return a module's result in the dtype of x, computed in the module's dtype: most of torch's take no other."""
    own = next((t.dtype for t in itertools.chain(module.parameters(), module.buffers())), x.dtype)
    y: Tensor = module(x.to(own))
    return y.to(x.dtype)
