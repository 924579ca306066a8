"""The training loop: `fit` trains any module on any source of batches, `evaluate` measures it."""

from qkan.history import History as History
from qkan.training.epochs import Callback as Callback
from qkan.training.evaluation import evaluate as evaluate
from qkan.training.evaluation import top_k as top_k
from qkan.training.fitting import fit as fit
from qkan.training.stopping import EarlyStopping as EarlyStopping

__all__ = ["Callback", "EarlyStopping", "History", "evaluate", "fit", "top_k"]
