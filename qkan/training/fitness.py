"""Whether a saved state fits what it is to be loaded into: the same names, shapes, types and lengths."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["check_alike", "check_optimizer", "check_tensors"]


def check_tensors(saved: Any, wanted: Mapping[str, Any]) -> None:
    """Raise unless a state holds the tensors of a model.

    Raises:
        ValueError: naming the first key at fault.
    """
    if not isinstance(saved, Mapping):
        raise ValueError(f"must be a dictionary; got {type(saved).__name__}")
    for key in sorted({*saved, *wanted}, key=str):
        if key not in saved:
            raise ValueError(f"{key} is missing")
        if key not in wanted:
            raise ValueError(f"{key} is not of this model")
        _check_tensor(key, saved[key], wanted[key])


def _check_tensor(key: object, saved: Any, wanted: Any) -> None:
    if isinstance(wanted, Tensor) != isinstance(saved, Tensor):
        raise ValueError(f"{key} must be a {type(wanted).__name__}; got {type(saved).__name__}")
    if isinstance(wanted, Tensor) and (saved.shape, saved.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(f"{key} must be {wanted.dtype} {list(wanted.shape)}; got {saved.dtype} {list(saved.shape)}")


def check_alike(saved: Any, wanted: Any, key: str = "") -> None:
    """Raise unless plain values have the same build: names, lengths and types; None stands for anything.

    Raises:
        ValueError: naming the first key at fault.
    """
    if saved is None or wanted is None:
        return
    if _kind(saved) is not _kind(wanted):
        raise ValueError(f"{key or 'it'} must be {_kind(wanted).__name__}; got {_kind(saved).__name__}")
    if isinstance(wanted, Mapping):
        odd = sorted({*map(str, saved)} ^ {*map(str, wanted)})
        if odd:
            raise ValueError(f"{key}{'.' if key else ''}{odd[0]} is missing, or not of this run")
        for name in wanted:
            check_alike(saved[name], wanted[name], f"{key}.{name}" if key else str(name))
    elif isinstance(wanted, (list, tuple)):
        if len(saved) != len(wanted):
            raise ValueError(f"{key} must hold {len(wanted)} values; got {len(saved)}")
        for number, (one, other) in enumerate(zip(saved, wanted, strict=True)):
            check_alike(one, other, f"{key}[{number}]")


def _kind(value: Any) -> type:
    """Return the type, where integers and other numbers, and lists and tuples, are the same."""
    for kind in (bool, Mapping):
        if isinstance(value, kind):
            return kind
    if isinstance(value, (int, float)):
        return float
    return list if isinstance(value, (list, tuple)) else type(value)


def check_optimizer(saved: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Raise unless a state is one of this optimizer.

    Raises:
        ValueError: naming the first key at fault.
    """
    check_alike(saved.get("param_groups", ()), optimizer.state_dict()["param_groups"], "param_groups")
    if [group["params"] for group in saved["param_groups"]] != [
        group["params"] for group in optimizer.state_dict()["param_groups"]
    ]:
        raise ValueError("param_groups.params must number the parameters of the model in their order")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = saved.get("state")
    if not isinstance(state, Mapping):
        raise ValueError(f"state must be a dictionary; got {type(state).__name__}")
    wanted = _after_a_step(optimizer)
    total = sum(parameter.numel() for parameter in parameters)
    for index, values in state.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(values, Mapping):
            raise ValueError(f"state.{index} is of no parameter")
        if wanted is not None and values and {*values} != {*wanted[index]}:
            raise ValueError(f"state.{index} must hold {sorted(wanted[index])}; got {sorted(map(str, values))}")
        for name, value in values.items():
            example = None if wanted is None else wanted[index].get(name)
            _check_moment(f"state.{index}.{name}", value, parameters[index], total, example)


def _check_moment(key: str, value: Any, parameter: Tensor, total: int, example: Any) -> None:
    """Check what an optimizer keeps for a parameter: by an example, or else by what it could be."""
    if isinstance(example, Tensor):
        if not isinstance(value, Tensor) or (value.shape, value.dtype) != (example.shape, example.dtype):
            raise ValueError(f"{key} must be {example.dtype} {list(example.shape)}; got {_told(value)}")
        return
    tensors = value if isinstance(value, (list, tuple)) else [value]
    for tensor in tensors:
        if isinstance(tensor, Tensor) and tensor.dim() and tensor.shape != (total,):
            try:
                tensor.expand(parameter.shape)
            except RuntimeError:
                raise ValueError(f"{key} must fit {list(parameter.shape)}; got {_told(tensor)}") from None
        elif not isinstance(tensor, (Tensor, int, float, type(None))):
            raise ValueError(f"{key} must be tensors and numbers; got {_told(tensor)}")


def _told(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _after_a_step(optimizer: Optimizer) -> list[Mapping[str, Any]] | None:
    """Return what the optimizer keeps per parameter after a step, tried on tensors without content.

    None where that is not told so: by a fused step, one that reads numbers, or a line search.
    """
    groups = []
    for group in optimizer.param_groups:
        empty = [torch.empty(p.shape, dtype=p.dtype, device="meta", requires_grad=True) for p in group["params"]]
        for parameter in empty:
            parameter.grad = torch.empty_like(parameter)
        groups.append({**group, "params": empty})
    try:
        make: Callable[[Any], Optimizer] = type(optimizer)
        trial = make(groups)
        trial.step()
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    return [trial.state[parameter] for group in groups for parameter in group["params"]]
