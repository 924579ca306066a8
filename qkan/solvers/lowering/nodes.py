"""Nodes of the lowering: where an edge has to be known to be known everywhere, and its series from its values there."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from qkan.ansatz import Ansatz
from qkan.solvers.base import Weight
from qkan.solvers.lowering.plan import Plan
from qkan.solvers.lowering.recursion import Constants

__all__ = ["Nodes", "Series", "constants", "interpolate", "nodes", "trigonometry"]


class Series(NamedTuple):
    """Edges as linear functions of features: z = constant + Σ_f coefficients_f features_f."""

    constant: Tensor  # [out, in]
    coefficients: Tensor  # [out, in, functions]


class Nodes(NamedTuple):
    """The nodes of one kind of edge, without tensors: of integer weights, or of weights shared by the outputs."""

    uploads: int
    weights: tuple[int, ...] | None
    harmonics: tuple[int, ...]

    @classmethod
    def of(cls, ansatz: Ansatz, weight: Weight) -> "Nodes":
        """Return the nodes for integer weights, or for a tensor whose last dimension are the uploads."""
        if isinstance(weight, Tensor):
            return cls(weight.shape[-1], None, ())
        return cls(len(weight), weight, ansatz.harmonics(weight))

    @property
    def number(self) -> int:
        """How many there are of integer weights."""
        return 2 * max(self.harmonics, default=0) + 1


def nodes(ansatz: Ansatz, weight: Weight, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angles of the uploads at the nodes of an edge, and what makes a `Series` of its values there.

    The nodes of integer weights are u_j = 2πj/N, where the r-th upload turns by w_r u_j (biases are to be added);
    tensor weights need the 3^R grid {0, 2π/3, 4π/3}^R of the angles themselves (the features hold weights and biases).

    Args:
        ansatz: the circuit.
        weight: integers, one per upload, or a tensor whose last dimension are the uploads.
        like: gives dtype and device.

    Returns:
        angles [uploads, nodes] of the uploads, radians, and the transform [nodes, 1 + functions] for `interpolate`.

    Example:
        >>> from qkan.ansatz import PZ
        >>> angles, transform = nodes(PZ, (1, 3), torch.zeros(()))
        >>> angles.shape, transform.shape
        (torch.Size([2, 9]), torch.Size([9, 9]))
    """
    where = Nodes.of(ansatz, weight)
    return _angles(where, like), _transform(where, like)


def interpolate(z: Tensor, transform: Tensor) -> Series:
    """Return the series of edges with values z [nodes, out, in]; the transform [nodes, 1 + functions] as in `nodes`."""
    table = torch.einsum("noi,nf->foi", z, transform)
    return Series(table[0], table[1:].permute(1, 2, 0))


def trigonometry(where: Nodes, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cos and sin [uploads, nodes, 1, 1] of the uploads at the nodes, and the transform of `nodes`."""
    if where.weights is None:  # without rounding the angles
        cos, sin = (_grid(values, where.uploads)[..., None, None] for values in _thirds(like))
    else:
        angles = _angles(where, like)[..., None, None]
        cos, sin = angles.cos(), angles.sin()
    return cos, sin, _transform(where, like)


@lru_cache(maxsize=256)
def constants(where: Nodes, plan: Plan, dtype: torch.dtype, device: torch.device) -> Constants:
    """Return what the recursion multiplies amplitudes with, computed in float64.

    The same tensors for all layers of one kind: they hold no parameters.
    """
    like = torch.empty(0, dtype=torch.float64, device="cpu")
    if where.weights is None:
        powers = torch.tensor(plan.powers, dtype=torch.float64, device="cpu")
        angles = (powers @ _angles(where, like)).mT  # [nodes, rows]
    else:
        angles = _turns(where, tuple(power for (power,) in plan.powers), like)
    cos, sin = angles.cos(), angles.sin()
    evaluate = torch.cat([torch.cat([cos, -sin], -1), torch.cat([sin, cos], -1)])
    transform = (-2 * plan.sign * _transform(where, like)).mT.repeat(1, 2)
    scales = torch.tensor(plan.scales, dtype=torch.float64, device="cpu").unsqueeze(-1)
    return Constants(*(tensor.to(device, dtype).contiguous() for tensor in (scales, evaluate, transform)))


def _angles(where: Nodes, like: Tensor) -> Tensor:
    """Return the angles [uploads, nodes] at the nodes."""
    if where.weights is not None:
        return _turns(where, where.weights, like).mT
    third = 2 * math.pi / 3
    return _grid(like.new_tensor([0.0, third, 2 * third]), where.uploads)


def _turns(where: Nodes, multiples: tuple[int, ...], like: Tensor) -> Tensor:
    """Return multiples of the nodes u_j, [nodes, multiples], less whole turns."""
    # k j mod N in integers, centred: the angle is exact and at most π before it is rounded.
    index = torch.arange(where.number, device=like.device)
    k = torch.tensor(multiples, dtype=torch.int64, device=like.device)
    step = torch.remainder(index.unsqueeze(-1) * k + where.number // 2, where.number) - where.number // 2
    return step.to(like.dtype) * (2 * math.pi / where.number)


def _transform(where: Nodes, like: Tensor) -> Tensor:
    if where.weights is not None:
        angles = _turns(where, where.harmonics, like)
        return torch.cat([angles.new_ones(where.number, 1), 2 * angles.cos(), 2 * angles.sin()], -1) / where.number
    cos, sin = _thirds(like)
    one = torch.stack([torch.ones_like(cos), 2 * cos, 2 * sin], -1) / 3  # [3 nodes, 3 functions]
    transform = like.new_ones(1, 1)
    for _ in range(where.uploads):
        transform = torch.kron(transform, one)
    return transform


def _thirds(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin [3] of 0, 2π/3, 4π/3, without rounding these angles."""
    return like.new_tensor([1.0, -0.5, -0.5]), like.new_tensor([0.0, 0.75**0.5, -(0.75**0.5)])


def _grid(values: Tensor, uploads: int) -> Tensor:
    """Return three values [3] of each upload on the grid of all, [uploads, 3^uploads], the last upload fastest."""
    shapes = [(3**r, 3, 3 ** (uploads - r - 1)) for r in range(uploads)]
    return torch.stack([values.view(1, 3, 1).expand(shape).reshape(-1) for shape in shapes])
