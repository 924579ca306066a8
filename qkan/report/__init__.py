"""Reports: one page, self-contained, that shows a model edge by edge."""

from qkan.report.writing import Written as Written
from qkan.report.writing import write as write

__all__ = ["Written", "write"]
