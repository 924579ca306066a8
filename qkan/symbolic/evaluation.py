"""Values of SymPy expressions at tensors."""

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from qkan._checks import check_input
from qkan.elementary import import_sympy
from qkan.symbolic.rounding import Expr

__all__ = ["evaluate"]


def evaluate(expressions: Sequence[Expr], variables: Sequence[Expr], x: Tensor) -> Tensor:
    """Return the values of expressions [*batch, expressions] at x [*batch, variables], in float64 on the CPU.

    Where an expression is not real or not defined, the value is NaN or infinite.

    Args:
        expressions: SymPy expressions of the variables.
        variables: SymPy symbols, in the order of the last dimension of x.
        x: a floating-point tensor.

    Raises:
        ValueError: for an x of another width, or an expression with other variables.
        TypeError: if x is no floating-point tensor.
        ImportError: without SymPy.

    Example:
        >>> import sympy
        >>> a, b = sympy.symbols("a b")
        >>> evaluate([a * b, sympy.sin(a)], [a, b], torch.tensor([[0.0, 5.0], [2.0, 3.0]]))
        tensor([[0.0000, 0.0000],
                [6.0000, 0.9093]], dtype=torch.float64)
    """
    sympy = import_sympy()
    check_input(x, len(variables))
    others = set().union(*(expression.free_symbols for expression in expressions)) - set(variables)
    if others:
        raise ValueError(f"expressions must hold the variables {tuple(variables)} alone; got {others} as well")
    columns = x.detach().to("cpu", torch.float64).unbind(-1)
    modules = [{"erf": np.vectorize(math.erf, otypes=[float])}, "numpy"]  # NumPy has no erf
    function = sympy.lambdify(list(variables), list(map(_pairwise, expressions)), modules=modules, cse=True)
    with np.errstate(all="ignore"):  # what is not defined is NaN
        values = function(*(column.numpy() for column in columns))
    return torch.stack([_real(value, columns[0]) for value in values], -1)


def _pairwise(expression: Expr) -> Expr:
    """Return the expression with NumPy's maximum and minimum of two: before SymPy 1.14 its own take no numbers."""
    sympy = import_sympy()
    maximum, minimum = sympy.Function("maximum"), sympy.Function("minimum")
    without = expression.replace(sympy.Max, lambda *parts: reduce(maximum, parts))
    return without.replace(sympy.Min, lambda *parts: reduce(minimum, parts))


def _real(value: object, like: Tensor) -> Tensor:
    """Return values in the shape of the batch; constants have none of their own."""
    array = np.asarray(value)
    if np.iscomplexobj(array):
        array = np.where(array.imag == 0, array.real, np.nan)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)).expand(like.shape)
