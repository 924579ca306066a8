"""Parts of a `KANLinear` that its basis decides: one edge as a function, the domain, and the size of its start."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from qkan._checks import check_floating
from qkan.bases import Basis, BSpline, EdgewiseBasis
from qkan.bases.maps import Map
from qkan.precision import compute_dtype, widest_dtype

if TYPE_CHECKING:
    from qkan.layers.kan import KANLinear

__all__ = ["domain", "edge_function", "entropy", "mean_square"]

# Where tanh and the logistic function still move: at the ends they have come to 96 and 98 % of theirs.
_REACH = {"tanh": 2.0, "sigmoid": 4.0, "layer norm": 2.0}
_POINTS = 256


class _Values(nn.Module):
    """The functions of one edge, [*shape, functions], as a module whose tensors can be replaced for a call."""

    def __init__(self, basis: Basis | EdgewiseBasis) -> None:
        super().__init__()
        self.basis = basis

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(-1)
        return self.basis.features(x).squeeze(-2) if isinstance(self.basis, Basis) else self.basis.edges(x).squeeze(-1)


def edge_function(layer: "KANLinear", output: int, input: int) -> Callable[[Tensor], Tensor]:
    """Return what `KANLinear.edge_function` promises; the two numbers are in range."""
    basis = layer.basis
    if not basis.pointwise:
        raise ValueError(
            f"an edge is a function of one input, which map={basis.map!r} does not give: it takes its mean over all "
            "inputs; build the layer with another map, or look at layer.contributions(x)"
        )
    shell = _Values(basis.select([input]) if isinstance(basis, Basis) else basis.select([output], [input]))

    def edge(x: Tensor) -> Tensor:
        check_floating(x)
        dtype = torch.promote_types(x.dtype, layer.spline_weight.dtype)
        exact = compute_dtype(dtype)
        u = x.to(exact)
        columns = functional_call(shell, _tensors(layer.basis, output, input), (u,))
        if layer.base_activation is not None:
            columns = torch.cat([columns, layer.base_activation(u).unsqueeze(-1)], -1)
        y: Tensor = columns @ layer.table(exact)[output, input]
        return y.to(dtype)

    return edge


def _tensors(basis: Basis | EdgewiseBasis, output: int, input: int) -> dict[str, Tensor]:
    """Return the tensors of a basis for one edge, by name in `_Values`, with gradients."""
    per_edge = basis.per_edge if isinstance(basis, EdgewiseBasis) else ()
    found = {}
    for name, tensor in [*basis.named_parameters(), *basis.named_buffers()]:
        part = tensor[output, input].view(1, 1) if name in per_edge else tensor
        found[f"basis.{name}"] = part[[input]] if name in basis.per_input else part
    return found


def domain(basis: Basis | EdgewiseBasis) -> Tensor:
    """Return where the functions of every input are meant to be used, before the map, [in, 2]."""
    if basis.map in _REACH:
        ends = torch.tensor([-_REACH[basis.map], _REACH[basis.map]])
        return ends.expand(basis.in_features, 2)
    if isinstance(basis, BSpline):
        return basis.grid[:, [basis.spline_order, -1 - basis.spline_order]]
    return torch.tensor(basis.domain).expand(basis.in_features, 2)


@torch.no_grad()
def mean_square(basis: Basis | EdgewiseBasis, device: torch.device) -> float:
    """Return the mean square of one function of a basis over its domain, 1 if it is 0 everywhere or on no memory.

    Inputs are spread evenly over the domain; those of a map that takes all numbers are normal, with variance 1.

    >>> from qkan.bases import Chebyshev
    >>> mean_square(Chebyshev(3, degree=1, map="none"), torch.device("cpu"))  # the mean of 1 and of u²
    0.66666...
    """
    if device.type == "meta":
        return 1.0
    exact = widest_dtype(device)
    share = ((torch.arange(_POINTS, dtype=torch.float64, device="cpu") + 0.5) / _POINTS).to(device, exact)
    normal = torch.special.ndtri(share)
    squashed = {"tanh": (1 + normal.tanh()) / 2, "sigmoid": normal.sigmoid()}.get(basis.map, share)
    low, high = basis.domain
    u = normal if basis.map == "layer norm" else low + (high - low) * squashed
    # After the map: a layer norm of the same number for all inputs would be 0.
    mapped = copy.deepcopy(basis)
    mapped.mapping = Map("none", basis.in_features, basis.domain)
    x = u.unsqueeze(-1).expand(_POINTS, basis.in_features)
    values = mapped.features(x) if isinstance(mapped, Basis) else mapped.edges(x)
    # Functions too narrow to be met by any point say nothing of their size.
    return float(values.square().mean()) or 1.0


def entropy(share: Tensor) -> Tensor:
    """Return -Σ p ln p of shares p, with gradient 0 where one is 0."""
    alive = share > 0
    p = torch.where(alive, share, 1)
    return -torch.where(alive, p * p.log(), 0).sum()
