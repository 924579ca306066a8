"""Formulas of whole models: written out exactly, evaluated, rounded with the error that this causes, as LaTeX."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.elementary import import_sympy
from qkan.layers import activations
from qkan.layers.edges import EdgeLayer, EditableLayer
from qkan.lowering import LoweredLinear
from qkan.models.hybrid import HQKAN
from qkan.models.stack import Stack
from qkan.symbolic.edges import activation_formula, edge_size, exact_edge
from qkan.symbolic.evaluation import evaluate
from qkan.symbolic.rounding import Expr, rounded
from qkan.symbolic.simplification import simplified

__all__ = ["FormulaError", "Formulas", "formula"]


class FormulaError(NamedTuple):
    """How far a formula is off over some data: the largest difference, and the root of the mean square."""

    largest: float
    rms: float


@dataclass(frozen=True)
class Formulas:
    """The outputs of a model as SymPy expressions of its inputs.

    Args:
        variables: the symbols of the inputs.
        expressions: one for every output.
        exact: the expressions before any rounding.

    Example:
        >>> from qkan import QKAN
        >>> found = formula(QKAN([2, 1], ansatz="real", reps=1, init=0.0, dtype=torch.float64), names=["x", "y"])
        >>> print(found.rounded(2))
        sin(x) + sin(y)
        >>> x = torch.rand(100, 2, dtype=torch.float64)
        >>> found.rounded(2).error(x)[0].largest < 1e-12
        True
    """

    variables: tuple[Expr, ...]
    expressions: tuple[Expr, ...]
    exact: tuple[Expr, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the values [*batch, outputs] at x [*batch, inputs], in float64 on the CPU."""
        return evaluate(self.expressions, self.variables, x)

    def __getitem__(self, output: int) -> Expr:
        return self.expressions[output]

    def __len__(self) -> int:
        return len(self.expressions)

    def __iter__(self) -> Iterator[Expr]:
        return iter(self.expressions)

    def __str__(self) -> str:
        """Return one line for every output, as SymPy prints it and reads it again."""
        return "\n".join(map(str, self.expressions))

    def latex(self, names: Mapping[str, str] | None = None) -> list[str]:
        r"""Return every expression as LaTeX.

        Args:
            names: LaTeX of variables by their names; SymPy's own (x1 as x_{1}, alpha as \alpha) for the others.

        Raises:
            ValueError: for a name that is no variable.
        """
        known = {str(variable): variable for variable in self.variables}
        unknown = set(names or {}) - set(known)
        if unknown:
            raise ValueError(f"names must be of variables, {', '.join(known)}; got {', '.join(sorted(unknown))}")
        chosen = {known[name]: text for name, text in (names or {}).items()}
        return [import_sympy().latex(expression, symbol_names=chosen) for expression in self.expressions]

    def rounded(self, digits: int) -> "Formulas":
        """Return them with all numbers rounded to so many decimals, see `qkan.symbolic.rounded`; ask for `error`."""
        return replace(self, expressions=tuple(rounded(expression, digits) for expression in self.expressions))

    def simplified(self, digits: int = 2, constants: Sequence[str] = ("pi",)) -> "Formulas":
        """Return them tidied and rounded, with π where a number is one; see `qkan.symbolic.simplified`."""
        new = tuple(simplified(expression, digits, constants) for expression in self.expressions)
        return replace(self, expressions=new)

    def error(self, x: Tensor, reference: Callable[[Tensor], Tensor] | None = None) -> list[FormulaError]:
        """Return, for every output, how far it is off at x [*batch, inputs].

        Args:
            x: inputs.
            reference: what to compare with, such as the model; None for the exact formulas, so that the difference is
                what rounding and simplification caused.
        """
        want = evaluate(self.exact, self.variables, x) if reference is None else reference(x)
        off = (self(x) - want.detach().to("cpu", torch.float64)).flatten(0, -2)
        return [FormulaError(float(one.abs().max()), float(one.square().mean().sqrt())) for one in off.unbind(-1)]


def formula(
    model: nn.Module, names: Sequence[Any] | None = None, digits: int | None = None, limit: int = 10_000
) -> Formulas:
    """Return the exact formulas of the outputs of a small model.

    Args:
        model: an edge layer with formulas (see `edge_formula`), a `QKAN`, `HQKAN`, or `nn.Sequential` of these,
            `nn.Linear` and activations that have names.
        names: of the inputs, texts or SymPy symbols; None for x1, x2, ...
        digits: round all numbers to so many decimals; None for all digits.
        limit: the largest number of places where a variable may stand in one of them. SymPy needs seconds for a
            thousand of them, and no one reads so many.

    Raises:
        ValueError: for formulas that would be longer, edges without formulas, or another number of names.
        TypeError: for another kind of module.
        ImportError: without SymPy.

    Example:
        >>> from qkan import QKAN
        >>> len(formula(QKAN([2, 3, 1], reps=1)))
        1
    """
    sympy, width, steps = import_sympy(), _width(model), _steps("", model)
    _check_size(steps, width, positive_integer("limit", limit))
    given = [f"x{n + 1}" for n in range(width)] if names is None else list(names)
    if len(given) != width:
        raise ValueError(f"names must be {width}, one for every input; got {len(given)}")
    variables = tuple(sympy.Symbol(name) if isinstance(name, str) else name for name in given)
    values = list(variables)
    for _, module in steps:
        values = _apply(module, values)
    found = Formulas(variables, tuple(values), tuple(values))
    return found if digits is None else found.rounded(digits)


def _width(model: nn.Module) -> int:
    """Return the number of inputs."""
    for _, module in _steps("", model):
        if isinstance(module, nn.Linear | EdgeLayer):
            return module.in_features
    raise ValueError(f"model must hold a layer with widths, such as QKANLinear; got {type(model).__name__}")


def _steps(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the modules that a model applies one after the other, by name."""
    if isinstance(module, nn.Linear | EdgeLayer):
        return [(name, module)]
    if isinstance(module, HQKAN | Stack | nn.Sequential):
        return [
            step for child, part in _children(module) for step in _steps(f"{name}.{child}" if name else child, part)
        ]
    try:
        activations.name_of(module)
    except ValueError:
        raise TypeError(
            f"{name or 'model'} must be made of edge layers, nn.Linear, nn.Sequential and named activations; got "
            f"{type(module).__name__}; take the formula of a part, or of one edge with edge_formula"
        ) from None
    return [(name, module)]


def _children(module: HQKAN | Stack | nn.Sequential) -> list[tuple[str, nn.Module]]:
    """Return the parts of a model in the order in which they run, those in several places several times."""
    if isinstance(module, HQKAN):
        return [("encoder", module.encoder), ("core", module.core), ("decoder", module.decoder)]
    if isinstance(module, Stack):
        return [(f"layers.{number}", layer) for number, layer in enumerate(module.layers)]
    return [(str(number), part) for number, part in enumerate(module)]


def _check_size(steps: list[tuple[str, nn.Module]], width: int, limit: int) -> None:
    """Raise if a formula would be too long: count the places of variables, layer by layer."""
    sizes = [1] * width
    for name, module in steps:
        if isinstance(module, EdgeLayer):
            counts = [[edge_size(module, o, i) for i in range(len(sizes))] for o in range(module.out_features)]
            sizes = [sum(count * size for count, size in zip(row, sizes, strict=True)) for row in counts]
        elif isinstance(module, nn.Linear):
            sizes = [sum(sizes)] * module.out_features
        if max(sizes) > limit:
            where = f"layer {name}" if name else "the layer"
            raise ValueError(
                f"the formula would hold a variable in {max(sizes)} places after {where}, more than limit={limit}: "
                "prune the model or snap its edges (auto_symbolic) first, take a smaller part, or give a larger limit"
            )


def _apply(module: nn.Module, values: list[Expr]) -> list[Expr]:
    sympy = import_sympy()
    if isinstance(module, nn.Linear):
        table = module.weight.tolist()
        rows = [[sympy.Float(w) * value for w, value in zip(row, values, strict=True)] for row in table]
    elif isinstance(module, EdgeLayer):
        outputs = range(module.out_features)
        rows = [[exact_edge(module, o, i)(value) for i, value in enumerate(values)] for o in outputs]
    else:
        return [activation_formula(module, value) for value in values]
    bias = _bias(module)
    return [sympy.Add(*row, sympy.Float(b) if b else 0) for row, b in zip(rows, bias, strict=True)]


def _bias(module: nn.Linear | EdgeLayer) -> list[float]:
    bias = module.bias if isinstance(module, nn.Linear | EditableLayer | LoweredLinear) else None
    return [0.0] * module.out_features if bias is None else list(map(float, bias.tolist()))
