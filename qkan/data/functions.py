"""Functions to fit: a formula, a torch callable and the ranges of the variables; and data sets drawn from them."""

import keyword
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkan.data import formulas

if TYPE_CHECKING:
    import sympy  # type: ignore[import-untyped]

__all__ = ["Function", "Pair", "Variable", "create_dataset", "define"]

Pair = tuple[Tensor, Tensor]
"""Inputs [samples, variables] and targets [samples, outputs]: what `qkan.fit` takes as `data`."""


@dataclass(frozen=True)
class Variable:
    """An input of a function and the range to draw it from.

    Raises:
        ValueError: the name is no name of Python, or the range is empty or not finite.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or keyword.iskeyword(self.name):
            raise ValueError(f"name of a variable must be a name of Python, so that formulas can hold it; got {self!r}")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"range of a variable must be finite with low < high; got {self!r}")


@dataclass(frozen=True)
class Function:
    """A function of several variables: its formula as text, and the same written by hand with torch operations.

    The formula is kept as text, so that SymPy is loaded only by `expression`. The callable is not made from it: the
    tests compare the two.

    Args:
        name: for look-up.
        variables: in the order of the columns of x.
        formula: in SymPy's notation, see `qkan.data.formulas.parse`.
        function: of one tensor [*batch] per variable, returns [*batch].
        description: what the function is.
        source: where it comes from.
        differentiable: whether gradients flow through it.

    Raises:
        ValueError: no variables, or two of one name.

    Example:
        >>> f = define("energy", "of a spring", "k*x**2/2", lambda k, x: k * x**2 / 2, ("k", 1, 5), ("x", -1, 1))
        >>> f(torch.tensor([[4.0, 0.5]])), f.ranges
        (tensor([0.5000]), ((1, 5), (-1, 1)))
        >>> f.expression()
        k*x**2/2
    """

    name: str
    variables: tuple[Variable, ...]
    formula: str
    function: Callable[..., Tensor] = field(repr=False)
    description: str = ""
    source: str = ""
    differentiable: bool = True

    def __post_init__(self) -> None:
        names = [variable.name for variable in self.variables]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"variables must be at least one, each with a name of its own; got {names}")

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """The lowest and the highest value of each variable."""
        return tuple((variable.low, variable.high) for variable in self.variables)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the values [*batch] at x [*batch, variables], in its dtype and on its device.

        Raises:
            TypeError: x is no floating-point tensor.
            ValueError: x has another last size, or it needs a gradient that the function does not have.
        """
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"x must be a floating-point tensor; got {getattr(x, 'dtype', type(x).__name__)}")
        if x.dim() == 0 or x.shape[-1] != len(self.variables):
            names = ", ".join(variable.name for variable in self.variables)
            raise ValueError(
                f"x must be [*batch, {len(self.variables)}] with the columns {names}; got {tuple(x.shape)}"
            )
        if x.requires_grad and not self.differentiable and torch.is_grad_enabled():
            raise ValueError(f"{self.name} is evaluated without a gradient: give x.detach(), or use torch.no_grad()")
        return self.function(*x.unbind(-1))

    def symbols(self) -> "tuple[sympy.Symbol, ...]":
        """Return the SymPy symbols of the variables: real, and positive or nonnegative where the range is.

        Raises:
            ImportError: SymPy is missing.
        """
        return tuple(formulas.symbol(variable.name, variable.low) for variable in self.variables)

    def expression(self) -> "sympy.Expr":
        """Return the formula as a SymPy expression in `symbols()`.

        Raises:
            ValueError: the formula holds something else.
            ImportError: SymPy is missing.
        """
        return formulas.parse(self.formula, self.symbols())

    def sample(
        self,
        samples: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return inputs [samples, variables], uniform in the ranges.

        Args:
            samples: how many; 0 is allowed.
            generator: source of randomness; the points do not depend on `device`, for they are drawn where it lives.
            device: where to put them; by default where they are drawn.
            dtype: by default torch's.

        Raises:
            TypeError: `samples` is no integer.
            ValueError: it is negative.
        """
        return _uniform(self.ranges, _count("samples", samples, 0), generator, device, dtype)


def define(
    name: str,
    description: str,
    formula: str,
    function: Callable[..., Tensor],
    *variables: tuple[str, float, float],
    source: str = "",
    differentiable: bool = True,
) -> Function:
    """Return a `Function` from a short notation: variables are (names with spaces, low, high).

    Example:
        >>> define("xy", "product", "x*y", lambda x, y: x * y, ("x y", -1, 1)).variables
        (Variable(name='x', low=-1, high=1), Variable(name='y', low=-1, high=1))
    """
    each = tuple(Variable(part, low, high) for names, low, high in variables for part in names.split())
    return Function(name, each, formula, function, description, source, differentiable)


def create_dataset(
    f: Callable[[Tensor], Tensor],
    n_var: int | None = None,
    ranges: Sequence[float] | Sequence[Sequence[float]] | None = None,
    train_num: int = 1000,
    test_num: int = 1000,
    *,
    noise: float = 0.0,
    normalize_input: bool = False,
    normalize_label: bool = False,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Pair, Pair]:
    """Draw training and test data of a function, uniform in the ranges, as pairs (inputs, targets).

    The arguments have the names of pykan's function. What comes back is two pairs as `qkan.fit` takes them, not a
    dictionary, and randomness comes from `generator`, not from a seed.

    Args:
        f: a `Function`, or anything from x [samples, variables] to [samples] or [samples, outputs].
        n_var: the number of variables; a `Function` knows it.
        ranges: (low, high) for all variables, or one such pair each; those of a `Function`, or (-1, 1).
        train_num: number of training samples.
        test_num: number of test samples.
        noise: standard deviation of Gaussian noise on the training targets, in units of that of the targets themselves.
            Test targets stay exact, so that the test error measures the function.
        normalize_input: shift and scale inputs so that the training inputs have mean 0 and standard deviation 1.
        normalize_label: the same for targets.
        generator: source of randomness; torch's own by default. The inputs do not depend on `noise`.
        device: where to put the data; by default where the generator lives.
        dtype: of inputs and targets; torch's default.

    Returns:
        (x_train [train_num, variables], y_train [train_num, outputs]), (x_test, y_test).

    Raises:
        TypeError: a number is no integer, or `f` returns no tensor.
        ValueError: a number or a range out of range, `n_var` missing, targets of another shape or not finite, or
            nothing to normalize by.

    Example:
        >>> def f(x):
        ...     return torch.exp(torch.sin(torch.pi * x[:, 0]) + x[:, 1] ** 2)
        >>> train, test = create_dataset(f, n_var=2, train_num=100, test_num=50)
        >>> [tuple(part.shape) for part in (*train, *test)]
        [(100, 2), (100, 1), (50, 2), (50, 1)]
    """
    train_num, test_num = _count("train_num", train_num, 1), _count("test_num", test_num, 1)
    if not (math.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise must be a finite number of at least 0; got {noise!r}")
    bounds = _bounds(f, n_var, ranges)
    inputs = [_uniform(bounds, number, generator, device, dtype) for number in (train_num, test_num)]
    targets = [_targets(f, x) for x in inputs]
    if noise:
        targets[0] = targets[0] + noise * targets[0].std(0, correction=0) * _normal(targets[0], generator)
    if normalize_input:
        inputs = _normalized("input", *inputs)
    if normalize_label:
        targets = _normalized("label", *targets)
    return (inputs[0], targets[0]), (inputs[1], targets[1])


def _count(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer; got {value!r} of type {type(value).__name__}") from None
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    return number


def _bounds(f: Any, n_var: int | None, ranges: Any) -> Sequence[Sequence[float]]:
    """Return one (low, high) per variable."""
    known = isinstance(f, Function)
    if n_var is None and not known:
        raise ValueError("n_var is the number of variables: give it, unless f is a Function")
    number = len(f.variables) if n_var is None else _count("n_var", n_var, 1)
    if known and number != len(f.variables):
        raise ValueError(f"n_var must be {len(f.variables)}, the number of variables of {f.name}; got {n_var}")
    if ranges is None:
        return f.ranges if known else [(-1.0, 1.0)] * number
    table = torch.as_tensor(ranges, dtype=torch.float64)
    table = table.expand(number, 2) if table.shape == (2,) else table
    if table.shape != (number, 2) or not table.isfinite().all() or not (table[:, 0] < table[:, 1]).all():
        raise ValueError(f"ranges must be (low, high) with low < high, or {number} such pairs; got {ranges!r}")
    return table.tolist()


def _uniform(
    ranges: Sequence[Sequence[float]],
    samples: int,
    generator: torch.Generator | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Tensor:
    source = device if generator is None else generator.device
    unit = torch.rand(samples, len(ranges), generator=generator, device=source, dtype=dtype).to(device)
    low, high = torch.tensor(ranges, dtype=unit.dtype, device=unit.device).unbind(-1)
    return torch.lerp(low, high, unit)  # unlike low + (high - low) unit, it never rounds to beyond an end


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    source = like.device if generator is None else generator.device
    return torch.randn(like.shape, generator=generator, device=source, dtype=like.dtype).to(like.device)


@torch.no_grad()
def _targets(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    y = f(x)
    if not isinstance(y, Tensor):
        raise TypeError(f"f must return a tensor; got {type(y).__name__}")
    if y.dim() not in (1, 2) or len(y) != len(x):
        raise ValueError(f"f must return [{len(x)}] or [{len(x)}, outputs]; got {tuple(y.shape)}")
    bad = int((~y.isfinite()).sum())
    if bad:
        raise ValueError(f"f is not finite at {bad} of {y.numel()} values: give ranges inside which it is")
    return y.reshape(len(x), -1)


def _normalized(name: str, train: Tensor, test: Tensor) -> list[Tensor]:
    mean, width = train.mean(0), train.std(0, correction=0)
    if not (width > 0).all():
        raise ValueError(f"normalize_{name} divides by the standard deviation, which is 0: leave it out")
    return [(part - mean) / width for part in (train, test)]
