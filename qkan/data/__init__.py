"""Data sets and sources of batches."""

from qkan.data.batches import Batches as Batches
from qkan.data.batches import Pairs as Pairs
from qkan.data.batches import as_batches as as_batches
from qkan.data.images import Images as Images
from qkan.data.images import load_images as load_images

__all__ = ["Batches", "Images", "Pairs", "as_batches", "load_images"]
