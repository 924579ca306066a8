"""Outputs of a layer and the variances of its edges from one pass over them: what the two share, packed in one tensor.

Variances come from sums over the samples of a - s and of (a - s)², a the readout of an edge and s that of the first
sample: about it, squares of edges that hardly move do not cancel.
"""

import torch
from torch import Tensor

__all__ = ["joined", "room", "split", "variance"]


def room(samples: int, gain: Tensor) -> Tensor:
    """Return zeros with room for outputs [samples, out] and two sums [out, in], gain [out, in]."""
    return gain.new_zeros(samples * len(gain) + 2 * gain.numel())


def split(found: Tensor, samples: int, gain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return views of the outputs [samples, out] and of the two sums [out, in]."""
    y, first, second = torch.split_with_sizes(found, [samples * len(gain), gain.numel(), gain.numel()])
    return y.view(samples, len(gain)), first.view(gain.shape), second.view(gain.shape)


def joined(values: Tensor, gain: Tensor, start: Tensor) -> Tensor:
    """Return what `split` takes apart, by plain operations, from readouts [samples, out, in]."""
    moved = values - start
    parts = ((values * gain).sum(-1), moved.sum(0), moved.square().sum(0))
    return torch.cat([part.flatten() for part in parts])


def variance(first: Tensor, second: Tensor, samples: int) -> Tensor:
    """Return the variance [out, in] over so many samples."""
    return second / samples - (first / samples).square()
