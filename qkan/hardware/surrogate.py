"""`Surrogate`: the classical model that a measurement gives, and how far its coefficients and outputs can be off."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from qkan._checks import check_floating, positive_integer
from qkan.contraction import contract_linear
from qkan.lowering import LoweredLinear
from qkan.models.stack import QKAN
from qkan.precision import compute_dtype, full_precision
from qkan.readout import sample
from qkan.solvers.base import Weight
from qkan.solvers.fourier import features
from qkan.solvers.lowering.nodes import Series, interpolate

__all__ = ["Measured", "Surrogate"]

Method = Literal["auto", "analytic", "bootstrap"]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of one layer: means z_j of outcomes ±1 at the nodes of its edges, all on the CPU in float64.

    The variance of a mean is estimated as (1 - c²)/shots, with c = z shots/(shots + 1) the centre of Wilson's interval
    at one standard error (Wilson 1927; it adds half a count to each of both outcomes). Over all expectations in [-1, 1]
    it is right on average up to 1 + 1/(2 (shots + 1)²); it is about 2/shots² and not 0 where all outcomes are equal,
    and takes a single shot. The plain (1 - z²)/(shots - 1) vanishes there, and the squared half-width of the same
    interval, (shots (1 - z²) + 1)/(shots + 1)², is too small by 1.5/shots on average.

    Args:
        z: [nodes, out, in]; 0 for edges that were not run.
        shots: outcomes behind every mean; None for exact expectations, whose variance is 0.
        active: the edges that were run, [out, in].
        gain: mask · scale of the edges, [out, in].
        transform: [nodes, 1 + functions], from z to the constant and the coefficients.
    """

    z: Tensor
    shots: int | None
    active: Tensor
    gain: Tensor
    transform: Tensor

    @property
    def centre(self) -> Tensor:
        """The centre of Wilson's interval, [nodes, out, in]; z itself if it is exact."""
        if self.shots is None:
            return self.z
        return self.z.clamp(-1, 1) * (self.shots / (self.shots + 1))

    @property
    def variance(self) -> Tensor:
        """The variance of every mean, [nodes, out, in]."""
        if self.shots is None:
            return torch.zeros_like(self.z)
        return (1 - self.centre.square()) / self.shots * self.active

    @property
    def series(self) -> Series:
        """The edges as Fourier series, without scale and mask; of products where encoding weights are trained."""
        return interpolate(self.z, self.transform)

    @property
    def covariance(self) -> Tensor:
        """Covariance of (constant, coefficients) of every edge, [out, in, 1 + functions, 1 + functions].

        It is T' diag(variance) T with T the transform; not diagonal, since the variance differs from node to node.
        Different edges are independent.
        """
        return torch.einsum("nf,noi,ng->oifg", self.transform, self.variance, self.transform)

    def redraw(self, generator: torch.Generator | None = None) -> Series:
        """Return the series of another measurement, drawn as if the centres were the expectations."""
        z = self.z if self.shots is None else sample(self.centre, self.shots, generator)
        return interpolate(z, self.transform)


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A model measured on a device, as a classical network.

    Args:
        model: the classical network, of the structure of `qkan.lower`.
        measured: what was measured, by the name of the layer (as in ``named_modules``; the class of a model that is a
            layer itself).
    """

    model: nn.Module
    measured: Mapping[str, Measured]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that were measured."""
        return tuple(self.measured)

    def series(self, name: str | None = None) -> Series:
        """Return the coefficients of the edges of a layer: constant [out, in], coefficients [out, in, functions].

        Args:
            name: of the layer; may be left out where there is only one.

        Raises:
            ValueError: for an unknown name.
        """
        return self._find(name).series

    def covariance(self, name: str | None = None) -> Tensor:
        """Return the covariance of (constant, coefficients) of each edge, [out, in, 1 + functions, 1 + functions].

        Args:
            name: as in `series`.

        Raises:
            ValueError: for an unknown name.
        """
        return self._find(name).covariance

    @torch.no_grad()
    def standard_error(
        self,
        x: Tensor,
        *,
        repeats: int = 200,
        generator: torch.Generator | None = None,
        method: Method = "auto",
    ) -> Tensor:
        r"""Return the standard error of every output that the finite number of shots leaves.

        A single layer is linear in what was measured: Var y_o(x) = Σ_i gain_oi² Σ_j h_j(x_i)² variance_oij, with
        h_j(x) = Σ_f T_jf φ_f(x) the interpolation kernel (``"analytic"``). Other models are rebuilt from redrawn counts
        (a parametric bootstrap; Efron 1979), and the standard deviation of their outputs is returned, in evaluation
        mode (``"bootstrap"``). Errors of the device itself are not in it: its noise, its drift.

        Args:
            x: [*batch, in], as the model takes it.
            repeats: models drawn for the bootstrap, at least 2; the result is off by about 1/sqrt(2 repeats) of itself.
            generator: draws them, on the CPU; the global one when None.
            method: ``"analytic"``, ``"bootstrap"``, or ``"auto"``: analytic where it applies.

        Returns:
            [*batch, out].

        Raises:
            ValueError: for an unknown method, an analytic one of more than one layer, or less than 2 repeats.
            TypeError: if x is no floating-point tensor.
        """
        check_floating(x)
        if method not in ("auto", "analytic", "bootstrap"):
            raise ValueError(f"method must be 'auto', 'analytic' or 'bootstrap'; got {method!r}")
        single = _single(self.model)
        if method == "analytic" and single is None:
            raise ValueError(
                f"method='analytic' takes a single layer; got a {type(self.model).__name__} of more, whose outputs are "
                "not linear in what was measured; use method='bootstrap' (or 'auto')"
            )
        if single is not None and method != "bootstrap":
            return _analytic(single, self._find(None), x)
        if positive_integer("repeats", repeats) < 2:
            raise ValueError(f"repeats must be at least 2 for a standard deviation; got {repeats}")
        return self._bootstrap(x, repeats, generator)

    def _find(self, name: str | None) -> Measured:
        if name is None and len(self.measured) == 1:
            return next(iter(self.measured.values()))
        if name is None or name not in self.measured:
            raise ValueError(f"name must be one of the layers measured, {', '.join(self.measured)}; got {name!r}")
        return self.measured[name]

    def _bootstrap(self, x: Tensor, repeats: int, generator: torch.Generator | None) -> Tensor:
        model = copy.deepcopy(self.model).eval()
        y = model(x)
        mean = torch.zeros_like(y, dtype=compute_dtype(y.dtype))
        squares = torch.zeros_like(mean)
        for count in range(1, repeats + 1):  # running mean and sum of squares (Welford 1962)
            self._redraw(model, generator)
            step = model(x) - mean
            mean += step / count
            squares += step.square() * ((count - 1) / count)
        return (squares / (repeats - 1)).sqrt().to(y.dtype)

    def _redraw(self, model: nn.Module, generator: torch.Generator | None) -> None:
        """Draw the measured layers of a copy of the model anew."""
        # In place: functional_call leaves a module that is used in several places with the tensors it was lent.
        for name, measured in self.measured.items():
            layer = model if isinstance(model, LoweredLinear) else model.get_submodule(name)
            series, gain = measured.redraw(generator), measured.gain
            layer.get_parameter("constant").copy_(series.constant * gain)
            table = series.coefficients * gain.unsqueeze(-1)
            layer.get_parameter("coefficients")[..., : table.shape[-1]].copy_(table)  # behind it, the base branch


def _single(model: nn.Module) -> LoweredLinear | None:
    """Return the layer of a model that is one layer."""
    if isinstance(model, QKAN) and len(model.layers) == 1:
        model = model.layers[0]
    return model if isinstance(model, LoweredLinear) else None


def _analytic(layer: LoweredLinear, measured: Measured, x: Tensor) -> Tensor:
    dtype = torch.promote_types(x.dtype, layer.coefficients.dtype)
    x = x.to(compute_dtype(dtype))
    variance = (measured.gain.square() * measured.variance).to(x).permute(1, 2, 0)  # [out, in, nodes]
    weight, bias = (None if t is None else t.to(x) for t in (layer.encoding_weight, layer.encoding_bias))

    def total(weight: Weight, bias: Tensor | None, variance: Tensor) -> Tensor:
        # h_j(x_i), [*batch, in, nodes]: what the value at node j adds to an edge at x_i
        transform = measured.transform.to(x)
        kernel = features(layer.ansatz, x, weight, bias) @ transform[:, 1:].mT + transform[:, 0]
        return contract_linear(kernel.square(), variance)

    with full_precision(x):
        if weight is None or bias is None:
            y = total(tuple(map(int, layer.encoding)), None, variance)
        elif weight.dim() == 2:
            y = total(weight, bias, variance)
        else:  # features per edge: one output at a time bounds memory
            y = torch.cat([total(weight[o], bias[o], variance[o : o + 1]) for o in range(len(weight))], dim=-1)
    return y.sqrt().to(dtype)
