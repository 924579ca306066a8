"""The dtype of the computation: angles and trigonometry in float32 at least, autocast for the contraction alone."""

import contextlib

import torch
from torch import Tensor

__all__ = ["compute_dtype", "full_precision", "in_autocast", "widest_dtype"]


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of angles and trigonometry: float32 at least, since bfloat16 has 3 digits of a phase."""
    return torch.promote_types(dtype, torch.float32)


def widest_dtype(device: torch.device) -> torch.dtype:
    """Return float64 where the device has it, otherwise float32."""
    return torch.float32 if device.type == "mps" else torch.float64


def in_autocast(tensor: Tensor) -> bool:
    """Return whether autocast decides on dtypes where this tensor lives."""
    device = tensor.device.type
    return device != "meta" and torch.is_autocast_enabled(device)


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context in which autocast leaves the dtype of products alone."""
    return torch.autocast(like.device.type, enabled=False) if in_autocast(like) else contextlib.nullcontext()
