"""Formulas: of edges and of models, exact, rounded or simplified; and edges that become elementary functions."""

from qkan.elementary import LIBRARY as LIBRARY
from qkan.elementary import Elementary as Elementary
from qkan.symbolic.edges import edge_formula as edge_formula
from qkan.symbolic.evaluation import evaluate as evaluate
from qkan.symbolic.formulas import FormulaError as FormulaError
from qkan.symbolic.formulas import Formulas as Formulas
from qkan.symbolic.formulas import formula as formula
from qkan.symbolic.rounding import rounded as rounded
from qkan.symbolic.simplification import simplified as simplified
from qkan.symbolic.snap import AutoSymbolic as AutoSymbolic
from qkan.symbolic.snap import Snap as Snap
from qkan.symbolic.snap import auto_symbolic as auto_symbolic
from qkan.symbolic.snap import fix_symbolic as fix_symbolic
from qkan.symbolic.suggest import Suggestion as Suggestion
from qkan.symbolic.suggest import suggest as suggest
from qkan.symbolic.suggest import suggest_symbolic as suggest_symbolic

__all__ = [
    "LIBRARY", "AutoSymbolic", "Elementary", "FormulaError", "Formulas", "Snap", "Suggestion", "auto_symbolic",
    "edge_formula", "evaluate", "fix_symbolic", "formula", "rounded", "simplified", "suggest", "suggest_symbolic",
]  # fmt: skip
