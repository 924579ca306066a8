"""Exponential moving averages of weights."""

import math

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["averaged"]


def averaged(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Return a copy of a model that follows it: every update moves its weights by 1 - decay of the way, buffers too.

    Args:
        model: what to follow.
        decay: between 0 and 1; None follows nothing.

    Raises:
        TypeError: the decay is no number.
        ValueError: it is not between 0 and 1.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> copy = averaged(model, 0.75)
        >>> for value in (0.0, 4.0):
        ...     _ = nn.init.constant_(model.weight, value)
        ...     copy.update_parameters(model)
        >>> copy.module.weight.item()
        1.0
    """
    if decay is None:
        return None
    if not isinstance(decay, (int, float)) or isinstance(decay, bool):
        raise TypeError(f"average_decay must be a number, or None; got {decay!r}")
    if not 0 < decay < 1 or math.isnan(decay):
        raise ValueError(f"average_decay is between 0 and 1, both excluded, such as 0.999; got {decay}")
    follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    copy = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    return copy.requires_grad_(False)
