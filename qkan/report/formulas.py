"""Formulas that the page does not write itself: of snapped edges, and what comes close to classical ones."""

from collections.abc import Callable
from typing import Any

import torch

from qkan.elementary import LIBRARY, import_sympy
from qkan.layers.edges import EdgeLayer
from qkan.layers.kan import KANLinear
from qkan.layers.snapped import SnappedLinear
from qkan.report.ranges import Range
from qkan.report.series import Edges
from qkan.symbolic import edge_formula, rounded, suggest

__all__ = ["formulas"]

_WRITTEN = 40  # snapped layers: edges whose formula is written out, which takes some 10 ms each
_SOUGHT = 8  # classical layers: edges for which elementary functions are sought, which takes 0.2 s each
_POINTS = 129
_DIGITS = 4


def formulas(layer: EdgeLayer, edges: Edges, span: Range) -> dict[str, Any]:
    """Return formulas of the first edges as text, and what to say of the others; nothing for layers of series.

    Args:
        layer: in double precision.
        edges: (output, input), the strongest first.
        span: over which x classical edges are compared with elementary functions.
    """
    if isinstance(layer, SnappedLinear):
        note = (
            f"Formulas are written out for the {_WRITTEN} strongest edges of the layer; ask qkan.symbolic for others."
        )
        return _texts(lambda edge: _exact(layer, edge), edges[:_WRITTEN], note)
    if isinstance(layer, KANLinear) and layer.basis.pointwise:
        note = (
            "A combination of the functions of its basis, with the coefficients above. Elementary functions that come "
            f"close were sought for the {_SOUGHT} strongest edges of the layer; ask qkan.symbolic for others."
        )
        return _texts(lambda edge: _near(layer, edge, span), edges[:_SOUGHT], note)
    return {}


def _texts(text: Callable[[tuple[int, int]], str], edges: Edges, note: str) -> dict[str, Any]:
    try:
        return {"formulas": [text(edge) for edge in edges], "formulas_note": note}
    except ImportError as error:
        return {"formulas": [], "formulas_note": f"Not written out: {error}."}


def _exact(layer: SnappedLinear, edge: tuple[int, int]) -> str:
    try:
        return f"φ(x) = {edge_formula(layer, *edge, digits=_DIGITS)}"
    except ValueError as error:
        return f"none: {error}"


@torch.no_grad()
def _near(layer: KANLinear, edge: tuple[int, int], span: Range) -> str:
    """Return the elementary function that fits best over what is drawn, with how well it does."""
    sympy = import_sympy()
    x = span.points(edge[1], _POINTS)
    found = suggest(x, layer.edge_function(*edge)(x), top=1)[0]
    a, b, c, d = map(sympy.Float, found.affine)
    expression = rounded(d + c * LIBRARY[found.name].build(a * sympy.Symbol("x") + b), _DIGITS)
    return f"φ(x) ≈ {expression}" + ("" if found.r2 is None else f", R² = {found.r2:.4f}")
