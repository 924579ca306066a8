"""The zoo: residual, dense, VGG-like and U-shaped networks of any basis, of circuits, and plain."""

from qkan.models.vision.blocks import Convolutions as Convolutions
from qkan.models.vision.densenet import DenseKANet as DenseKANet
from qkan.models.vision.resnet import ResKANet as ResKANet
from qkan.models.vision.u2net import U2KANet as U2KANet
from qkan.models.vision.unet import UKANet as UKANet
from qkan.models.vision.vgg import VGGKAN as VGGKAN

__all__ = ["VGGKAN", "Convolutions", "DenseKANet", "ResKANet", "U2KANet", "UKANet"]
