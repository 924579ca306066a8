"""Models made of layers."""

from qkan.models.hybrid import HQKAN as HQKAN
from qkan.models.kan import KAN as KAN
from qkan.models.stack import QKAN as QKAN

__all__ = ["HQKAN", "KAN", "QKAN"]
