"""Orthogonal polynomials: one three-term recurrence serves all families.

p_0 = 1, p_1 = a_0 u + b_0, p_n+1 = (a_n u + b_n) p_n - c_n p_n-1: no arccos, so gradients are finite at the ends too.
"""

import abc
from collections.abc import Sequence
from typing import Unpack, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.bases.base import Basis, Factory
from qkan.bases.settings import check_compat, finite_number, nonnegative_integer
from qkan.precision import compute_dtype

__all__ = ["Chebyshev", "Gram", "Jacobi", "Legendre", "recurrence"]

Step = tuple[float, float, float | Tensor]
"""The numbers a_n, b_n, c_n of one step."""


def recurrence(u: Tensor, steps: Sequence[Step]) -> list[Tensor]:
    """Return p_0 .. p_d at u, of any shape, for d steps (a_n, b_n, c_n); c_0 is not used.

    >>> recurrence(torch.tensor(0.5), [(1, 0, 0), (2, 0, 1)])[2]
    tensor(-0.5000)
    """
    values = [1 + 0 * u]  # not ones: a NaN stays visible, and degree 0 has a gradient too
    for n, (a, b, c) in enumerate(steps):
        factor = a * u + b if b else a * u
        values.append(factor * values[-1] - c * values[-2] if n else factor)
    return values


class _Polynomials(Basis):
    """All polynomials up to a degree, on [-1, 1]."""

    def __init__(self, in_features: int, degree: int, map: str, **factory: Unpack[Factory]) -> None:
        highest = nonnegative_integer("degree", degree)
        super().__init__(in_features, highest + 1, (-1.0, 1.0), map, **factory)
        self.degree = highest

    @abc.abstractmethod
    def _step(self, n: int) -> Step:
        """Return a_n, b_n, c_n."""

    def _columns(self, u: Tensor) -> Tensor:
        return torch.stack(recurrence(u, [self._step(n) for n in range(self.degree)]), -3)


@final
class Chebyshev(_Polynomials):
    """Chebyshev polynomials of the first kind, T_n+1 = 2u T_n - T_n-1, for n = 0 .. degree (DLMF 18.9).

    Args:
        in_features: number of inputs.
        degree: the highest one, from 0.
        map: of the inputs to [-1, 1], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> Chebyshev(1, degree=2, map="none").features(torch.tensor([[0.5]]))
        tensor([[[ 1.0000,  0.5000, -0.5000]]])
    """

    name = "chebyshev"
    keywords = ("degree",)

    def __init__(self, in_features: int, degree: int = 3, map: str = "tanh", **factory: Unpack[Factory]) -> None:
        super().__init__(in_features, degree, map, **factory)

    def _step(self, n: int) -> Step:
        return (2, 0, 1) if n else (1, 0, 0)


@final
class Legendre(_Polynomials):
    """Legendre polynomials, (n+1) P_n+1 = (2n+1) u P_n - n P_n-1, for n = 0 .. degree (DLMF 18.9).

    The inputs are mapped one by one. torch-conv-kan maps by the smallest and the largest value of the whole batch, so
    that a sample depends on the others and a constant batch gives NaN; that is not offered.

    Args:
        in_features: number of inputs.
        degree: the highest one, from 0.
        map: of the inputs to [-1, 1], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> Legendre(1, degree=2, map="none").features(torch.tensor([[0.5]]))
        tensor([[[ 1.0000,  0.5000, -0.1250]]])
    """

    name = "legendre"
    keywords = ("degree",)

    def __init__(self, in_features: int, degree: int = 3, map: str = "tanh", **factory: Unpack[Factory]) -> None:
        super().__init__(in_features, degree, map, **factory)

    def _step(self, n: int) -> Step:
        return (2 * n + 1) / (n + 1), 0, n / (n + 1)


@final
class Jacobi(_Polynomials):
    """Jacobi polynomials P_n^(a, b), orthogonal for the weight (1 - u)^a (1 + u)^b, for n = 0 .. degree (DLMF 18.9).

    Args:
        in_features: number of inputs.
        degree: the highest one, from 0.
        a: exponent above -1.
        b: exponent above -1.
        map: of the inputs to [-1, 1], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> Jacobi(1, degree=2, map="none").features(torch.tensor([[0.5]]))
        tensor([[[1.0000, 1.0000, 0.1875]]])
    """

    name = "jacobi"
    keywords = ("degree", "a", "b")

    def __init__(
        self,
        in_features: int,
        degree: int = 3,
        a: float = 1.0,
        b: float = 1.0,
        map: str = "tanh",
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(in_features, degree, map, **factory)
        self.a, self.b = finite_number("a", a, above=-1), finite_number("b", b, above=-1)

    def _step(self, n: int) -> Step:
        a, b = self.a, self.b
        if n == 0:
            return (a + b + 2) / 2, (a - b) / 2, 0
        s = 2 * n + a + b
        share = 2 * (n + 1) * (n + a + b + 1) * s
        return (
            s * (s + 1) * (s + 2) / share,
            (a - b) * (a + b) * (s + 1) / share,
            2 * (n + a) * (n + b) * (s + 2) / share,
        )


@final
class Gram(_Polynomials):
    """Monic Gram polynomials, q_n+1 = u q_n - β_n q_n-1, β_n = n² (m² - n²)/(m² (4n² - 1)), for n = 0 .. degree.

    They are orthogonal over m equidistant nodes u_j = (2j + 1)/m - 1, the middles of m cells of [-1, 1] (Gautschi
    2004, Orthogonal Polynomials: discrete Chebyshev polynomials); with m they tend to monic Legendre polynomials.

    ``compat="torch-conv-kan"`` is that package's basis instead, which carries a slip in the brackets of β:
    β_n = w_n (2n + 1) n² (4n² - 1)/(n + 1)² with trained w [degree + 1], of which w_0 and w_degree are not used. It
    starts with small w, that is, near the monomials u^n. SiLU is applied to every value: it is part of the features.

    Args:
        in_features: number of inputs.
        degree: the highest one, from 0.
        nodes: their number m > degree; None for (degree + 1)², of which polynomials stay small between the nodes too.
            Not with compat.
        compat: None or ``"torch-conv-kan"``.
        map: of the inputs to [-1, 1], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Attributes:
        beta_weights: w, [degree + 1], a parameter; None without compat.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> Gram(1, degree=2, nodes=4, map="none").features(torch.tensor([[0.5]]))
        tensor([[[ 1.0000,  0.5000, -0.0625]]])
    """

    name = "gram"
    keywords = ("degree", "nodes", "compat")
    beta_weights: Tensor | None

    def __init__(
        self,
        in_features: int,
        degree: int = 3,
        nodes: int | None = None,
        compat: str | None = None,
        map: str = "tanh",
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(in_features, degree, map, **factory)
        self.compat = check_compat(compat)
        self.nodes = None if nodes is None else positive_integer("nodes", nodes)
        if self.nodes is not None and (self.compat or self.nodes <= self.degree):
            reason = "not be given with compat" if self.compat else f"be more than the degree, {self.degree}"
            raise ValueError(f"nodes must {reason}; got {self.nodes}")
        weights = torch.empty(self.functions, device=factory.get("device"), dtype=factory.get("dtype"))
        self.register_parameter("beta_weights", nn.Parameter(weights) if self.compat else None)
        self._start(factory.get("generator"))

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        if self.beta_weights is not None:
            self.beta_weights.normal_(std=1 / (self.in_features * self.functions), generator=generator)

    def _step(self, n: int) -> Step:
        if self.beta_weights is not None:
            weight = self.beta_weights[n].to(compute_dtype(self.beta_weights.dtype))
            return 1, 0, weight * ((2 * n + 1) * n**2 * (4 * n**2 - 1) / (n + 1) ** 2)
        squared = ((self.degree + 1) ** 2 if self.nodes is None else self.nodes) ** 2
        return 1, 0, n**2 * (squared - n**2) / (squared * (4 * n**2 - 1))

    def _columns(self, u: Tensor) -> Tensor:
        if self.beta_weights is None:
            return super()._columns(u)
        return F.silu(super()._columns(u.to(torch.promote_types(u.dtype, self.beta_weights.dtype))))
