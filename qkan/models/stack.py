"""`QKAN`: layers one after the other."""

from collections.abc import Iterable
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.layers.linear import QKANLinear
from qkan.layers.options import OptionArguments, QKANOptions

__all__ = ["QKAN", "widths"]


class QKAN(nn.Module):
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
        super().__init__()
        self.options = QKANOptions.parse("QKAN", options)
        self.width = widths(width)
        self.layers = nn.ModuleList(
            QKANLinear(n_in, n_out, device=device, dtype=dtype, generator=generator, **options)
            for n_in, n_out in zip(self.width[:-1], self.width[1:], strict=True)
        )

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

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this model, as plain JSON values."""
        return {"width": list(self.width), **self.options.to_json()}


def widths(width: Iterable[int]) -> tuple[int, ...]:
    """Return the widths as a tuple of at least two positive integers.

    Raises:
        TypeError: if it is no sequence of integers.
        ValueError: for fewer than two widths, or one below 1.
    """
    if isinstance(width, str) or not isinstance(width, Iterable):
        raise TypeError(f"width must be a sequence of integers such as [in, out]; got {width!r}")
    found = tuple(positive_integer(f"width[{i}]", w) for i, w in enumerate(width))
    if len(found) < 2:
        raise ValueError(f"width must hold at least two integers, inputs and outputs; got {found}")
    return found
