"""Models made of layers."""

from qkan.models.attention import KANAttention as KANAttention
from qkan.models.experts import BalanceLoss as BalanceLoss
from qkan.models.experts import MixtureOfExperts as MixtureOfExperts
from qkan.models.experts import auxiliary_loss as auxiliary_loss
from qkan.models.focal import KANFocalModulation as KANFocalModulation
from qkan.models.hybrid import HQKAN as HQKAN
from qkan.models.kan import KAN as KAN
from qkan.models.recurrent import QKANGRU as QKANGRU
from qkan.models.recurrent import QKANLSTM as QKANLSTM
from qkan.models.recurrent import QKANGRUCell as QKANGRUCell
from qkan.models.recurrent import QKANLSTMCell as QKANLSTMCell
from qkan.models.stack import QKAN as QKAN
from qkan.models.transformer import TransformerBlock as TransformerBlock
from qkan.models.vision import VGGKAN as VGGKAN
from qkan.models.vision import Convolutions as Convolutions
from qkan.models.vision import DenseKANet as DenseKANet
from qkan.models.vision import ResKANet as ResKANet
from qkan.models.vision import U2KANet as U2KANet
from qkan.models.vision import UKANet as UKANet

__all__ = [
    "HQKAN", "KAN", "QKAN",
    "DenseKANet", "ResKANet", "U2KANet", "UKANet", "VGGKAN", "Convolutions",
    "KANAttention", "KANFocalModulation", "MixtureOfExperts", "BalanceLoss", "auxiliary_loss",
    "QKANGRU", "QKANGRUCell", "QKANLSTM", "QKANLSTMCell", "TransformerBlock",
]  # fmt: skip
