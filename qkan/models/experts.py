"""Mixtures of experts: every sample takes the few of several modules that a noisy gate chooses for it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan._checks import positive_integer

__all__ = ["BalanceLoss", "MixtureOfExperts", "auxiliary_loss"]

_LEAST_NOISE = 1e-2


class MixtureOfExperts(nn.Module):
    """Return Σ_e gate_e(x) expert_e(x), where all but a few gates of a sample are 0 (Shazeer et al. 2017, section 2).

    The gate sees the mean over space: clean = mean(x) W, and in training clean + N(0, 1) (softplus(mean(x) V) + 0.01).
    The gates are the softmax of that over the experts, the largest of them divided by their sum. W and V start at 0.

    In training the loss is scale (CV²(importance) + CV²(load)), CV² = variance / mean², the importance of an expert
    the sum of its gates over the batch, and its load how many samples it takes, or is likely to with the noise drawn
    anew (their equations 6 to 11). It is small where the experts have equally much to do.

    Args:
        experts: modules with outputs of one shape; each has the start that it comes with.
        features: size 1 of the inputs.
        chosen: experts per sample.
        noisy: whether the gates are noisy in training.
        scale: of the loss.
        sparse: whether an expert computes its samples alone, which `torch.compile` and `torch.export` do not take into
            one graph; otherwise it computes all of them, and counts for its own. In training, batch norms see what
            their expert computes.
        device: where the parameters of the gate live.
        dtype: their dtype.

    Attributes:
        experts: the modules. gate_weight: [features, experts]. noise_weight: likewise, or None.
        loss: of the last forward pass in training, with its gradient; None before the first one.

    Raises:
        ValueError: for more experts to choose than there are, or none.
        TypeError: for a number that is no integer.

    Shape:
        x [batch, features, *space] -> the experts' shape.

    Example:
        >>> mixture = MixtureOfExperts([nn.Linear(3, 2) for _ in range(4)], 3)
        >>> mixture(torch.zeros(5, 3)).shape, mixture.loss.shape
        (torch.Size([5, 2]), torch.Size([]))
    """

    noise_weight: Tensor | None
    loss: Tensor | None

    def __init__(
        self,
        experts: Iterable[nn.Module],
        features: int,
        *,
        chosen: int = 2,
        noisy: bool = True,
        scale: float = 1e-2,
        sparse: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.chosen = positive_integer("chosen", chosen)
        if not self.chosen <= len(self.experts):
            raise ValueError(f"chosen must be at most the number of experts, {len(self.experts)}; got {chosen}")
        shape = positive_integer("features", features), len(self.experts)
        self.scale, self.sparse = scale, sparse
        self.gate_weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        noise = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype)) if noisy else None
        self.register_parameter("noise_weight", noise)
        self.loss = None

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the mixture for x; the generator draws the noise of the gates, the global one when None."""
        gates = self.gates(x, generator)  # [batch, experts]
        return self._sparse(x, gates) if self.sparse else self._dense(x, gates)

    def gates(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the gates [batch, experts] of x, and in training set the loss."""
        means = x.flatten(2).mean(-1) if x.dim() > 2 else x
        clean = means @ self.gate_weight.to(means.dtype)
        if not self.training or self.noise_weight is None:
            gates = self._largest(clean)
            if self.training:
                self._set_loss(gates, (gates > 0).to(gates.dtype).sum(0))
            return gates
        std = F.softplus(means @ self.noise_weight.to(means.dtype)) + _LEAST_NOISE
        noise = torch.empty_like(clean).normal_(generator=generator)
        noisy = clean + noise * std
        gates = self._largest(noisy)
        self._set_loss(gates, self._load(clean, noisy, std))
        return gates

    def _largest(self, logits: Tensor) -> Tensor:
        shares = logits.softmax(-1)
        values, places = shares.topk(self.chosen, -1)
        return torch.zeros_like(shares).scatter(-1, places, values / values.sum(-1, keepdim=True))

    def _load(self, clean: Tensor, noisy: Tensor, std: Tensor) -> Tensor:
        """Return how many samples each expert is likely to take if its noise alone is drawn anew, [experts]."""
        if self.chosen == len(self.experts):
            return clean.new_full((len(self.experts),), len(clean))
        best = noisy.topk(self.chosen + 1, -1).values
        last, next_one = best[:, -2:-1], best[:, -1:]
        threshold = torch.where(noisy >= last, next_one, last)  # the k-th largest of the others
        load: Tensor = torch.special.ndtr((clean - threshold) / std).sum(0)
        return load

    def _set_loss(self, gates: Tensor, load: Tensor) -> None:
        self.loss = self.scale * (_variation(gates.sum(0)) + _variation(load))

    def _dense(self, x: Tensor, gates: Tensor) -> Tensor:
        results = torch.stack([expert(x) for expert in self.experts])  # [experts, batch, ...]
        weights = gates.mT.reshape(*gates.mT.shape, *(1,) * (results.dim() - 2))
        mixed: Tensor = (weights.to(results.dtype) * results).sum(0)
        return mixed

    def _sparse(self, x: Tensor, gates: Tensor) -> Tensor:
        total: Tensor | None = None
        for expert, gate in zip(self.experts, gates.unbind(-1), strict=True):
            rows = gate.nonzero().squeeze(-1)
            if not len(rows):
                continue
            y = expert(x[rows])
            total = y.new_zeros(len(x), *y.shape[1:]) if total is None else total
            total = total.index_add(0, rows, y * gate[rows].to(y.dtype).view(-1, *(1,) * (y.dim() - 1)))
        return self.experts[0](x) if total is None else total  # an empty batch

    def __getstate__(self) -> dict[str, Any]:
        # A loss with a history can be neither copied nor written.
        return self.__dict__ | {"loss": None}

    def extra_repr(self) -> str:
        """Return what `print` shows: how many experts count."""
        return f"chosen={self.chosen}, noisy={self.noise_weight is not None}, sparse={self.sparse}"


def _variation(amounts: Tensor) -> Tensor:
    """Return the squared coefficient of variation, 0 for one number."""
    if len(amounts) == 1:
        return amounts.new_zeros(())
    return amounts.var() / (amounts.mean().square() + 1e-10)


def auxiliary_loss(model: nn.Module) -> Tensor:
    """Return the sum of the losses of all mixtures in a model after a forward pass in training, with its gradient.

    Raises:
        ValueError: if there is none, or no forward pass in training was made.

    Example:
        >>> mixture = MixtureOfExperts([nn.Linear(3, 2) for _ in range(4)], 3)
        >>> _ = mixture(torch.zeros(5, 3))
        >>> bool(auxiliary_loss(nn.Sequential(mixture)) == mixture.loss)
        True
    """
    losses = [part.loss for part in model.modules() if isinstance(part, MixtureOfExperts) and part.loss is not None]
    if not losses:
        raise ValueError("no mixture of experts in the model has a loss: call the model in training mode first")
    return torch.stack(losses).sum()


class BalanceLoss:
    """The losses of all mixtures as a penalty of `qkan.fit`: ``fit(model, data, sparsity=BalanceLoss(), ...)``.

    Args:
        weight: that it is multiplied with.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    @contextmanager
    def recording(self, model: nn.Module) -> Iterator[Callable[[], Tensor]]:
        """Yield a function that returns the penalty of the last forward pass within the context."""
        yield lambda: self.weight * auxiliary_loss(model)
