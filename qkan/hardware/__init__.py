"""Quantum devices: measure every edge once, and keep the whole model as a classical network with standard errors.

An edge of degree D is known everywhere once its values at 2D + 1 angles are known (at 3^R angles where the encoding
weights are trained). `plan` says beforehand what that takes, `measure` runs it on a PennyLane device, and the
`Surrogate` it returns holds the lowered model, and the standard errors of its coefficients and outputs.
"""

from qkan.hardware.costs import Cost as Cost
from qkan.hardware.costs import LayerPlan as LayerPlan
from qkan.hardware.costs import Plan as Plan
from qkan.hardware.costs import plan as plan
from qkan.hardware.measurement import measure as measure
from qkan.hardware.surrogate import Measured as Measured
from qkan.hardware.surrogate import Surrogate as Surrogate

__all__ = ["Cost", "LayerPlan", "Measured", "Plan", "Surrogate", "measure", "plan"]
