"""Base activations: a module, a module class, a function or a name becomes a callable, and goes back to a name."""

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["build", "check", "name_of"]

_MODULES: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
}


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def check(activation: str | Callable[..., Any] | nn.Module | None) -> None:
    """Raise unless it is a known name, a module, a module class, a function or None.

    Raises:
        ValueError: for an unknown name.
        TypeError: for anything that cannot be called.
    """
    if isinstance(activation, str):
        if activation not in _MODULES:
            raise ValueError(f"base_activation must be one of {', '.join(_MODULES)}, or callable; got {activation!r}")
    elif activation is not None and not callable(activation):
        raise TypeError(f"base_activation must be a module, a function, a name or None; got {activation!r}")


def build(activation: str | Callable[..., Any] | nn.Module | None) -> nn.Module | None:
    """Return the activation as a module, or None."""
    check(activation)
    if isinstance(activation, str):
        return _MODULES[activation]()
    if activation is None or isinstance(activation, nn.Module):
        return activation
    if isinstance(activation, type) and issubclass(activation, nn.Module):
        return activation()
    return _Function(activation)


def name_of(activation: str | Callable[..., Any] | nn.Module | None) -> str | None:
    """Return the name that `build` turns into an equal activation.

    Raises:
        ValueError: if no name does.
    """
    if activation is None or isinstance(activation, str):
        return activation
    for name, module in _MODULES.items():
        if activation is module or (type(activation) is module and repr(activation) == repr(module())):
            return name
    raise ValueError(
        f"base_activation {activation!r} has no name, so a file cannot hold it without code; "
        f"build the model with one of {', '.join(_MODULES)}, or keep its state_dict() and build it in code"
    )
