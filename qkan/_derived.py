"""Functions whose first derivative is derived by hand, and all others from a plain version of the same function."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Rule", "Tensors", "apply"]

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Rule:
    """One function, several times.

    Args:
        plain: tensors -> result, of differentiable operations: for subclasses of tensors, and what vmap, forward mode
            and second derivatives differentiate.
        run: the same, any way that is fast: tensors -> (result, what `pull` wants to have kept).
        pull: (tensors, what was kept, gradient of the result, which are needed) -> gradients of the tensors; what is
            not needed may be anything.
        keeps_result: whether `pull` wants to have the result kept too, before all else.
        compiled: tensors -> result, for the compiler, which derives and fuses a backward; None for `plain`.
    """

    plain: Callable[..., Tensor]
    run: Callable[..., tuple[Tensor, Tensors]]
    pull: Callable[[Tensors, Tensors, Tensor, tuple[bool, ...]], Tensors]
    keeps_result: bool = False
    compiled: Callable[..., Tensor] | None = None

    def gradients(self, gradient: Tensor, *tensors: Tensor) -> Tensors:
        """Return the gradients of all tensors, by differentiating the plain version."""
        found: Tensors = torch.func.vjp(self.plain, *tensors)[1](gradient)
        return found


def apply(rule: Rule, *tensors: Tensor) -> Tensor:
    """Return the function of these tensors, differentiable as often as its plain version."""
    if torch.compiler.is_compiling():
        result: Tensor = _Recomputed.apply(rule.compiled or rule.plain, *tensors)
        return result
    # Fake and distributed tensors take plain operations.
    if any(type(t) not in (Tensor, torch.nn.Parameter) for t in tensors):
        return rule.plain(*tensors)
    value: Tensor = _Value.apply(rule, *tensors)[0]
    return value


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(rule: Rule, *tensors: Tensor) -> Tensors:
        value, kept = rule.run(*tensors)
        return value, *kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.rule, *tensors = inputs
        ctx.count, ctx.kept = len(tensors), len(output) - 1
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[0 if ctx.rule.keeps_result else 1 :])
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradients[0] is None:
            return None, *(None for _ in range(ctx.count))
        needed = ctx.needs_input_grad[1:]
        found = _Gradients.apply(ctx.rule, needed, gradients[0], *ctx.saved_tensors)
        return None, *(one if wanted else None for one, wanted in zip(found, needed, strict=True))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], rule: Rule, *tensors: Tensor) -> tuple[Tensors, tuple[int, ...]]:
        # Nothing is kept: its gradients take the plain version too.
        return (torch.vmap(rule.plain, in_dims[1:], randomness=info.randomness)(*tensors),), (0,)

    @staticmethod
    def jvp(ctx: Any, _rule: None, *tangents: Tensor | None) -> Any:
        at = ctx.saved_tensors
        return _push(ctx.rule.plain, at, _filled(tangents, at)), *(None for _ in range(ctx.kept))


class _Gradients(torch.autograd.Function):
    """The gradients of `_Value`, themselves differentiable; what was kept follows the tensors."""

    @staticmethod
    def forward(rule: Rule, needed: tuple[bool, ...], gradient: Tensor, *tensors: Tensor) -> Tensors:
        count = len(needed)
        return rule.pull(tensors[:count], tensors[count:], gradient, needed)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        ctx.rule, needed, *tensors = inputs
        ctx.more = len(tensors) - 1 - len(needed)
        at = tensors[: 1 + len(needed)]
        ctx.save_for_backward(*at)
        ctx.save_for_forward(*at)

    @staticmethod
    def backward(ctx: Any, *adjoints: Tensor) -> tuple[Tensor | None, ...]:
        found = torch.func.vjp(ctx.rule.gradients, *ctx.saved_tensors)[1](adjoints)
        return None, None, *found, *(None for _ in range(ctx.more))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], rule: Rule, needed: tuple[bool, ...], *tensors: Tensor
    ) -> tuple[Tensors, tuple[int, ...]]:
        count = 1 + len(needed)
        gradients = torch.vmap(rule.gradients, in_dims[2 : 2 + count], randomness=info.randomness)
        found: Tensors = gradients(*tensors[:count])
        return found, (0,) * len(found)

    @staticmethod
    def jvp(ctx: Any, _rule: None, _needed: None, *tangents: Tensor | None) -> Tensors:
        at = ctx.saved_tensors
        found: Tensors = _push(ctx.rule.gradients, at, _filled(tangents[: len(at)], at))
        return found


class _Recomputed(torch.autograd.Function):
    """For the compiler: keeps nothing but the arguments; the backward runs the function again, fused with its own."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch.func.vjp(ctx.function, *ctx.saved_tensors)[1](gradient)


def _filled(tangents: tuple[Tensor | None, ...], at: Tensors) -> Tensors:
    return tuple(torch.zeros_like(t) if d is None else d for d, t in zip(tangents, at, strict=True))


def _push(function: Callable[..., Any], at: Tensors, tangents: Tensors) -> Any:
    """Return the derivative of a function in the direction of tangents.

    As the transpose of its transpose: torch refuses forward mode inside of forward mode.
    """
    value, pull = torch.func.vjp(function, *at)[:2]
    zeros = torch.zeros_like(value) if isinstance(value, Tensor) else tuple(map(torch.zeros_like, value))
    return torch.func.vjp(pull, zeros)[1](tangents)[0]


# `Function.apply` asks for the signature at every call, which takes longer than a small layer's product.
for _function in (_Value, _Gradients):
    setattr(_function.forward, "__signature__", inspect.signature(_function.forward))  # noqa: B010
