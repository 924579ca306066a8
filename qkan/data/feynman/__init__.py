"""The equations of the AI Feynman database as tables: 100 from the Feynman Lectures, 20 from other textbooks."""

from qkan.data.feynman.bonus import BONUS as BONUS
from qkan.data.feynman.dimensionless import DIMENSIONLESS as DIMENSIONLESS
from qkan.data.feynman.fields import FIELDS
from qkan.data.feynman.mechanics import MECHANICS
from qkan.data.feynman.quanta import QUANTA

__all__ = ["BONUS", "DIMENSIONLESS", "FEYNMAN"]

FEYNMAN = (*MECHANICS, *FIELDS, *QUANTA)
