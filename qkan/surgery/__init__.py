"""Surgery: from a model to a new one. Prune, extend, take parts, convert; the model given is never changed."""

from qkan.surgery.extend import extend as extend
from qkan.surgery.parts import remove_edge as remove_edge
from qkan.surgery.parts import remove_node as remove_node
from qkan.surgery.parts import subset as subset
from qkan.surgery.prune import prune as prune
from qkan.surgery.prune import prune_inputs as prune_inputs

__all__ = ["extend", "prune", "prune_inputs", "remove_edge", "remove_node", "subset"]
