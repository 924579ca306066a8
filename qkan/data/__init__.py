"""Data sets, sources of batches, and functions to fit."""

from qkan.data.batches import Batches as Batches
from qkan.data.batches import Pairs as Pairs
from qkan.data.batches import as_batches as as_batches
from qkan.data.catalogue import feynman as feynman
from qkan.data.catalogue import feynman_names as feynman_names
from qkan.data.catalogue import function_names as function_names
from qkan.data.catalogue import named as named
from qkan.data.functions import Function as Function
from qkan.data.functions import Variable as Variable
from qkan.data.functions import create_dataset as create_dataset
from qkan.data.images import Images as Images
from qkan.data.images import load_images as load_images
from qkan.data.reading import split as split

__all__ = [
    "Batches", "Function", "Images", "Pairs", "Variable", "as_batches", "create_dataset", "feynman", "feynman_names",
    "function_names", "load_images", "named", "split",
]  # fmt: skip
