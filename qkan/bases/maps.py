"""Maps of the inputs to the domain of a basis, by name."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MAPS", "Map"]

MAPS = ("tanh", "sigmoid", "clamp", "layer norm", "none")


class Map(nn.Module):
    """Map inputs to a domain [low, high].

    * ``"tanh"``: (low + high)/2 + (high - low)/2 tanh x.
    * ``"sigmoid"``: low + (high - low) sigmoid x.
    * ``"clamp"``: x where it lies in the domain, its nearer end elsewhere, with the gradient 0.
    * ``"layer norm"``: weight_i (x_i - mean)/std + bias_i over the inputs of one sample (Ba et al. 2016, arXiv
      1607.06450): the features of an input depend on all inputs. It is not bounded by the domain. Both parameters are
      trained, as in fast-kan.
    * ``"none"``: x.

    Args:
        name: one of these.
        in_features: number of inputs.
        domain: (low, high).
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        ValueError: for another name, and for the layer norm of a single input, which is constant.

    Example:
        >>> Map("tanh", 2, (0.0, 4.0))(torch.tensor([-50.0, 0.0]))
        tensor([0., 2.])
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        name: str,
        in_features: int,
        domain: tuple[float, float],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if name not in MAPS:
            raise ValueError(f"map must be one of {', '.join(MAPS)}; got {name!r}")
        normed = name == "layer norm"
        if normed and in_features == 1:
            raise ValueError("map='layer norm' makes a constant of a single input; choose another map")
        self.name, self.domain = name, domain
        for parameter in ("weight", "bias"):
            value = nn.Parameter(torch.empty(in_features, device=device, dtype=dtype)) if normed else None
            self.register_parameter(parameter, value)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None and self.bias is not None:
            self.weight.fill_(1)
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the mapped inputs, for x [*batch, in]."""
        low, high = self.domain
        if self.name == "tanh":
            u = torch.tanh(x)
            return u if (low, high) == (-1, 1) else (low + high) / 2 + (high - low) / 2 * u
        if self.name == "sigmoid":
            u = torch.sigmoid(x)
            return u if (low, high) == (0, 1) else low + (high - low) * u
        if self.name == "clamp":
            return x.clamp(low, high)
        return self._normed(x)

    def _normed(self, x: Tensor) -> Tensor:
        if self.weight is None or self.bias is None:
            return x
        dtype = torch.promote_types(x.dtype, self.weight.dtype)
        return F.layer_norm(x.to(dtype), x.shape[-1:], self.weight.to(dtype), self.bias.to(dtype))

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return repr(self.name)
