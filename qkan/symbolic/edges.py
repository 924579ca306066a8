"""The exact formula of one edge, from its Fourier coefficients."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qkan.ansatz import ArccosMap
from qkan.elementary import LIBRARY, import_sympy
from qkan.layers import activations
from qkan.layers.edges import EdgeLayer, EditableLayer, check_edge
from qkan.layers.linear import QKANLinear
from qkan.layers.snapped import SnappedLinear
from qkan.lowering import LoweredLinear
from qkan.solvers.base import Encoding
from qkan.solvers.fourier import coefficients
from qkan.symbolic.rounding import Expr, rounded

__all__ = ["activation_formula", "edge_formula", "edge_size", "exact_edge"]


def edge_formula(
    layer: EdgeLayer, output: int, input: int, variable: Expr | str | None = None, digits: int | None = None
) -> Expr:
    """Return what one edge adds to its output as a SymPy expression.

    A circuit gives constant + Σ a_k cos(k u) + b_k sin(k u), u = x or arccos of the map of x, with the exact
    coefficients, in float64; with trainable encoding weights the products of 1, cos(w_r u + b_r) and sin(w_r u + b_r).
    Noise, scale and mask are in the numbers; the amplitude readout and the base branch are written out. A snapped edge
    is d + c f(a x + b). A layer with shots has the formula of its expectation.

    Args:
        layer: a `QKANLinear`, `LoweredLinear` or `SnappedLinear`.
        output: o in 0..out_features - 1.
        input: i in 0..in_features - 1.
        variable: x, a SymPy expression or a name; None for the symbol x.
        digits: round all numbers to so many decimals, see `rounded`; None for all digits that they have.

    Raises:
        TypeError: for a number that is no integer.
        ValueError: for one out of range, an edge without a formula, or a base activation without a name.
        ImportError: without SymPy.

    Example:
        >>> layer = QKANLinear(2, 1, ansatz="real", reps=1)
        >>> with torch.no_grad():
        ...     _ = layer.theta.zero_()
        >>> edge_formula(layer, 0, 1, digits=6)  # H, X and Z make |->, which RY(x) turns to z = sin x
        sin(x)
    """
    sympy = import_sympy()
    output, input = check_edge(layer, output, input)
    x = sympy.Symbol("x") if variable is None else sympy.Symbol(variable) if isinstance(variable, str) else variable
    found = exact_edge(layer, output, input)(x)
    return found if digits is None else rounded(found, digits)


def exact_edge(layer: EdgeLayer, output: int, input: int) -> Callable[[Expr], Expr]:
    """Return the formula of an edge as a function of the SymPy expression of its input.

    Raises:
        ValueError: if the edge has none.
    """
    if isinstance(layer, SnappedLinear):
        number = layer.number_of(output, input)
        if number is None:
            return exact_edge(layer.inner, output, input)
        return _snapped(layer, number)
    if isinstance(layer, EditableLayer) and float(layer.mask[output, input]) == 0:
        return lambda x: import_sympy().Integer(0)
    if isinstance(layer, QKANLinear):
        return _of_circuit(layer, output, input)
    if isinstance(layer, LoweredLinear):
        return _of_lowered(layer, output, input)
    raise ValueError(
        f"edge {input} -> {output} of a {type(layer).__name__} has no formula; snap it to an elementary function, "
        "with fix_symbolic or auto_symbolic"
    )


def edge_size(layer: EdgeLayer, output: int, input: int) -> int:
    """Return how often the variable stands in the formula of an edge, about: without building it."""
    if isinstance(layer, SnappedLinear):
        number = layer.number_of(output, input)
        if number is None:
            return edge_size(layer.inner, output, input)
        return int(float(layer.snapped_mask[number]) != 0 and layer.edges[number].function != "0")
    if isinstance(layer, EditableLayer) and float(layer.mask[output, input]) == 0:
        return 0
    if isinstance(layer, QKANLinear):
        circuit, weights = layer.options.circuit, layer.options.weights
        twice = 2 if layer.options.readout == "amplitude" else 1
        return twice * _functions(weights, circuit.uploads(layer.options.reps), circuit.harmonics) + (
            layer.base_weight is not None
        )
    return layer.coefficients.shape[-1] if isinstance(layer, LoweredLinear) else 1


def _functions(weights: Encoding, uploads: int, harmonics: Callable[[Sequence[int]], Sequence[int]]) -> int:
    return int(3**uploads) if isinstance(weights, str) else 2 * len(harmonics(weights))


@dataclass(frozen=True)
class _Series:
    """constant + Σ_f coefficients_f functions_f(x), in plain numbers.

    The functions are cos k u and sin k u for harmonics k, or the products for (weights, biases) of the uploads.
    """

    arccos_map: ArccosMap | None
    constant: float
    coefficients: list[float]
    harmonics: Sequence[int] = ()
    uploads: Sequence[tuple[float, float]] = ()

    def __call__(self, x: Expr) -> Expr:
        sympy = import_sympy()
        functions = self._products(self._argument(x)) if self.uploads else self._waves(self._argument(x))
        # Zeros are dropped; what rounding left of them is not: the formula is exact.
        terms = [sympy.Float(a) * f for a, f in zip(self.coefficients, functions, strict=True) if a]
        return sympy.Add(sympy.Float(self.constant) if self.constant else 0, *terms)

    def _argument(self, x: Expr) -> Expr:
        sympy = import_sympy()
        if self.arccos_map is None:
            return x
        mapped = {"tanh": sympy.tanh(x), "clamp": sympy.Max(-1, sympy.Min(1, x)), "none": x}
        return sympy.acos(mapped[self.arccos_map])

    def _waves(self, u: Expr) -> list[Expr]:
        sympy = import_sympy()
        return [wave(k * u) for wave in (sympy.cos, sympy.sin) for k in self.harmonics]

    def _products(self, u: Expr) -> list[Expr]:
        sympy = import_sympy()
        angles = [sympy.Float(weight) * u + (sympy.Float(bias) if bias else 0) for weight, bias in self.uploads]
        factors = [(1, sympy.cos(angle), sympy.sin(angle)) for angle in angles]
        return [sympy.Mul(*some) for some in itertools.product(*factors)][1:]


@torch.no_grad()
def _of_circuit(layer: QKANLinear, output: int, input: int) -> Callable[[Expr], Expr]:
    one = layer.subset([output], [input]).to("cpu", torch.float64)
    options, (weight, bias) = one.options, one.encoding(torch.float64)
    gain = float(one.gain(torch.float64))
    if isinstance(weight, torch.Tensor):
        weight = weight.view(1, -1)  # of one edge: weights per edge are shared, and the products hold the biases
        series = coefficients(options.circuit, one.theta, weight)
        shifts = torch.zeros_like(weight) if bias is None else bias.view(1, -1)
        spectrum: dict[str, Any] = {"uploads": list(zip(weight[0].tolist(), shifts[0].tolist(), strict=True))}
    else:
        series = coefficients(options.circuit, one.theta, weight, bias)
        spectrum = {"harmonics": options.circuit.harmonics(weight)}
    amplitude = options.readout == "amplitude"
    factor = 1.0 if amplitude else gain
    z = _Series(
        options.circuit.arccos_map,
        factor * float(series.constant),
        [factor * value for value in series.coefficients.flatten().tolist()],
        **spectrum,
    )
    base = None if one.base_weight is None else float(one.base_weight * one.mask)
    return _edge(z, gain if amplitude else None, base, one.base_activation)


def _of_lowered(layer: LoweredLinear, output: int, input: int) -> Callable[[Expr], Expr]:
    row = layer.coefficients[output, input].double().tolist()
    base = row.pop() if layer.base_activation is not None else None
    if isinstance(layer.encoding, str):
        own = (layer.encoding_weight, layer.encoding_bias)
        weight, bias = (
            tensor if tensor is None else tensor[input if tensor.dim() == 2 else (output, input)] for tensor in own
        )
        pairs = [] if weight is None or bias is None else zip(weight.tolist(), bias.tolist(), strict=True)
        spectrum: dict[str, Any] = {"uploads": list(pairs)}
    else:
        spectrum = {"harmonics": layer.ansatz.harmonics(layer.encoding)}
    z = _Series(layer.ansatz.arccos_map, float(layer.constant[output, input]), row, **spectrum)
    return _edge(z, None, base, layer.base_activation)


def _edge(z: _Series, gain: float | None, base: float | None, activation: nn.Module | None) -> Callable[[Expr], Expr]:
    """Return z, or gain times its amplitude, and the base branch."""

    def formula(x: Expr) -> Expr:
        sympy = import_sympy()
        total = z(x)
        if gain is not None:
            # Max: rounding may take |z| above 1, where the root would be no real number.
            total = sympy.Float(gain) * total / sympy.sqrt(1 + sympy.sqrt(sympy.Max(0, 1 - total**2)))
        return total if not base else total + sympy.Float(base) * activation_formula(activation, x)

    return formula


def _snapped(layer: SnappedLinear, number: int) -> Callable[[Expr], Expr]:
    mask = float(layer.snapped_mask[number])
    a, b, c, d = layer.affine[number].tolist()
    build = LIBRARY[layer.edges[number].function].build

    def formula(x: Expr) -> Expr:
        number = import_sympy().Float
        inner = (x if a == 1 else number(a) * x) + (number(b) if b else 0)
        return (number(mask * d) if mask * d else 0) + number(mask * c) * build(inner)

    return formula


def activation_formula(activation: nn.Module | None, x: Expr) -> Expr:
    """Return a base activation that has a name, as a SymPy expression.

    Raises:
        ValueError: if it has no name.
    """
    sympy = import_sympy()
    zero = sympy.Integer(0)
    formulas: dict[str | None, Callable[[], Expr]] = {
        None: lambda: zero,
        "identity": lambda: x,
        "silu": lambda: x / (1 + sympy.exp(-x)),
        "relu": lambda: sympy.Max(zero, x),
        "gelu": lambda: x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2,
        "tanh": lambda: sympy.tanh(x),
        "sigmoid": lambda: 1 / (1 + sympy.exp(-x)),
        "softplus": lambda: sympy.log(1 + sympy.exp(x)),
        "elu": lambda: sympy.Piecewise((x, x > 0), (sympy.exp(x) - 1, True)),
    }
    return formulas[activations.name_of(activation)]()
