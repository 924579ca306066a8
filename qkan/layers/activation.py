"""`QKANActivation`: circuits in the place of an activation function, one for every feature."""

from typing import Any, Unpack, final

import torch
from torch import Tensor

from qkan._checks import check_keywords
from qkan.layers.edges import Pointwise
from qkan.layers.linear import QKANLinear
from qkan.layers.options import OptionArguments
from qkan.layers.start import reset
from qkan.precision import in_autocast

__all__ = ["QKANActivation"]

_OPTIONS = [name for name in OptionArguments.__annotations__ if name != "bias"]


@final
class QKANActivation(Pointwise):
    r"""Apply y_i = scale_i readout(z_i(x_i)) + base_weight_i σ(x_i), z_i a circuit of its own for every feature.

    A learnable activation of a single qubit between two classical layers, with as few parameters as features times
    angles: the edges of a `QKANLinear` with one output, before they are summed. It starts near σ, the identity by
    default: base weights are 1.

    Args:
        num_features: number of features; any integer type.
        base_activation: σ, see `QKANOptions`; None for the circuits alone.
        init: start of θ, see `QKANOptions`; ``"scaled"`` and ``"xavier"`` are those of one input and one output.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles, on the same device; the global one when None.
        **options: the others of `QKANOptions`, without ``bias``: a constant belongs to the next layer.

    Attributes:
        circuits: the `QKANLinear` with one output that holds the parameters, [1, num_features, ...]: `lower` and the
            check against PennyLane see it inside of models; plots and formulas take it by itself.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for an option out of range.

    Shape:
        x [*batch, num_features] -> [*batch, num_features].

    Example:
        >>> from torch import nn
        >>> head = nn.Sequential(nn.Linear(256, 51), nn.BatchNorm1d(51), QKANActivation(51), nn.Linear(51, 100))
        >>> head(torch.zeros(2, 256)).shape
        torch.Size([2, 100])
        >>> QKANActivation(51, encoding="ternary")
        QKANActivation(
          num_features=51
          (circuits): QKANLinear(
            in_features=51, out_features=1, reps=3, ansatz=pz, solver=fourier (auto), encoding=ternary
            (base_activation): Identity()
          )
        )
    """

    def __init__(
        self,
        num_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        super().__init__()
        check_keywords("QKANActivation", options, _OPTIONS)
        given: dict[str, Any] = {"base_activation": "identity", **options}
        self.circuits = QKANLinear(num_features, 1, device=device, dtype=dtype, generator=generator, **given)
        self.num_features = self.circuits.in_features
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw θ anew, as for one input and one output; base weights start at 1."""
        reset(self.circuits, (1, 1), generator)
        if self.circuits.base_weight is not None:
            self.circuits.base_weight.fill_(1)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, num_features]; generator as in `QKANLinear.forward`.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension is not num_features.
        """
        y = self.circuits.contributions(x, generator).squeeze(-2)
        own = next(self.circuits.parameters()).dtype
        return y if in_autocast(y) else y.to(torch.promote_types(x.dtype, own))

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this module, as plain JSON values."""
        config = self.circuits.config()
        return {"num_features": config.pop("in_features"), **{name: config[name] for name in _OPTIONS}}

    def extra_repr(self) -> str:
        """Return the number of features."""
        return f"num_features={self.num_features}"
