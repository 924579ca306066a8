"""The training loop: `fit` trains any module on any source of batches, `evaluate` measures it."""

from qkan.history import History as History
from qkan.training.engine import Engine as Engine
from qkan.training.epochs import Callback as Callback
from qkan.training.evaluation import evaluate as evaluate
from qkan.training.evaluation import top_k as top_k
from qkan.training.fitting import fit as fit
from qkan.training.penalties import ActivationPenalty as ActivationPenalty
from qkan.training.stopping import EarlyStopping as EarlyStopping
from qkan.training.stores import Store as Store

__all__ = [
    "ActivationPenalty", "Callback", "EarlyStopping", "Engine", "History", "Store", "evaluate", "fit", "top_k",
]  # fmt: skip
