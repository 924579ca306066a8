"""Surgery: from a model to a new one. Prune, extend, take parts, convert; the model given is never changed."""

from qkan.surgery.convert import to_kan as to_kan
from qkan.surgery.convert import to_qkan as to_qkan
from qkan.surgery.extend import extend as extend
from qkan.surgery.parts import remove_edge as remove_edge
from qkan.surgery.parts import remove_node as remove_node
from qkan.surgery.parts import subset as subset
from qkan.surgery.prune import prune as prune
from qkan.surgery.prune import prune_inputs as prune_inputs
from qkan.surgery.reports import Conversion as Conversion
from qkan.surgery.signal_processing import angles as angles

__all__ = [
    "Conversion", "angles", "extend", "prune", "prune_inputs", "remove_edge", "remove_node", "subset", "to_kan",
    "to_qkan",
]  # fmt: skip
