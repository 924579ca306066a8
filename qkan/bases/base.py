"""The contract of a basis: functions of one variable, the same kind for every input, or one for every edge."""

import abc
import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from qkan._checks import check_floating, check_input, indices_below, positive_integer
from qkan.bases.maps import Map
from qkan.precision import compute_dtype

__all__ = ["Basis", "EdgewiseBasis", "Factory"]


class Factory(TypedDict, total=False):
    """Keywords of every family: where tensors live, their dtype, and the source of what starts at random."""

    device: torch.device | str | None
    dtype: torch.dtype | None
    generator: torch.Generator | None


class _Family(nn.Module, abc.ABC):
    """What both kinds of bases are: a map to a domain, and keywords that build them again."""

    name: ClassVar[str]
    # The keywords beside `map`, each of them an attribute.
    keywords: ClassVar[tuple[str, ...]] = ()

    def __init__(self, in_features: int, domain: tuple[float, float], map: str, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.in_features = positive_integer("in_features", in_features)
        self.domain = domain
        self.map = map
        self.mapping = Map(map, self.in_features, domain, factory.get("device"), factory.get("dtype"))

    @property
    def pointwise(self) -> bool:
        """Whether the functions of an input depend on that input alone: not so after a layer norm."""
        return self.map != "layer norm"

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start all parameters anew; buffers stay."""
        self.mapping.reset_parameters()
        self._start(generator)

    def _start(self, generator: torch.Generator | None) -> None:
        """Set the parameters of the family itself; most have none."""

    def config(self) -> dict[str, Any]:
        """Return the keywords that build this basis again, as JSON values; the widths are not among them."""
        values = {name: getattr(self, name) for name in (*self.keywords, "map")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def extra_repr(self) -> str:
        """Return what `print` shows: the width and the keywords."""
        shown = {"in_features": self.in_features, **self.config()}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)

    def _check_inputs(self, inputs: Sequence[int]) -> list[int]:
        chosen = indices_below("inputs", inputs, self.in_features)
        if not self.pointwise and len(chosen) < self.in_features:
            raise ValueError(
                f"inputs must hold all {self.in_features} inputs in any order, since map='layer norm' takes its mean "
                f"over all of them; got {chosen}"
            )
        return chosen

    def _taken(self, parts: Mapping[str, Any], inputs: list[int]) -> Self:
        """Return a copy with these parts of its own tensors, and of the map's."""
        new = copy.deepcopy(self)
        new.in_features = len(inputs)
        if not self.pointwise:
            _take(new.mapping, {"weight": inputs, "bias": inputs})
        _take(new, parts)
        return new


class Basis(_Family):
    """Functions φ_f of one variable, the same kind for every input: features(x)_if = φ_f(m(x_i)), m the map.

    A family is a final class that defines `name`, the `keywords` of its configuration and `_columns`. Nothing is kept
    of the inputs. Families without tensors take ``device``, ``dtype`` and ``generator`` for the sake of one signature.

    Args:
        in_features: number of inputs, or channels of a convolution; any integer type.
        functions: number of functions per input.
        domain: where the functions are meant to be used, after the map.
        map: name of the map to the domain, see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Attributes:
        name: of the family.
        in_features, functions, domain, map: as given.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.
    """

    # Tensors [in, ...]; all others are shared by the inputs.
    per_input: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, in_features: int, functions: int, domain: tuple[float, float], map: str, **factory: Unpack[Factory]
    ) -> None:
        super().__init__(in_features, domain, map, **factory)
        self.functions = functions

    def features(self, x: Tensor) -> Tensor:
        """Return the values of all functions, in float32 at least.

        Args:
            x: [*batch, in], before the map.

        Returns:
            [*batch, in, functions], in memory [functions, in, batch]: the contraction takes it without a copy.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension is not in_features.
        """
        check_input(x, self.in_features)
        u = self.mapping(x.to(compute_dtype(x.dtype)))
        columns = self._columns(u.reshape(-1, self.in_features).mT.contiguous())
        return columns.movedim(-1, 0).mT.view(*x.shape, self.functions)

    def columns(self, x: Tensor) -> Tensor:
        """Return the same values for channels before points, as convolutions have them.

        Args:
            x: [*images, in, points], before the map.

        Returns:
            [*images, functions, in, points].

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension but one is not in_features.
        """
        check_floating(x)
        if x.dim() < 2 or x.shape[-2] != self.in_features:
            raise ValueError(f"x must be [*images, {self.in_features}, points]; got {tuple(x.shape)}")
        x = x.to(compute_dtype(x.dtype))
        return self._columns(self.mapping(x) if self.pointwise else self.mapping(x.mT).mT)

    @abc.abstractmethod
    def _columns(self, u: Tensor) -> Tensor:
        """Return [*images, functions, in, points] for mapped inputs u [*images, in, points]."""

    def select(self, inputs: Sequence[int]) -> Self:
        """Return a new basis of these inputs alone, with copies of what belongs to them.

        Args:
            inputs: numbers in 0..in_features - 1, in the order of the new basis.

        Raises:
            TypeError: for numbers that are no integers.
            ValueError: for one out of range, one twice, or none; for some inputs of a layer norm over all.
        """
        chosen = self._check_inputs(inputs)
        return self._taken(dict.fromkeys(self.per_input, chosen), chosen)


class EdgewiseBasis(_Family):
    """One function per edge: edges(x)_oi = φ_oi(m(x_i)), m the map; its parameters are [out, in].

    Args:
        in_features: number of inputs; any integer type.
        out_features: number of outputs; any integer type.
        domain: where the functions are meant to be used, after the map.
        map: name of the map to the domain, see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.
    """

    # Tensors [out, in], and tensors [in].
    per_edge: ClassVar[tuple[str, ...]] = ()
    per_input: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, in_features: int, out_features: int, domain: tuple[float, float], map: str, **factory: Unpack[Factory]
    ) -> None:
        super().__init__(in_features, domain, map, **factory)
        self.out_features = positive_integer("out_features", out_features)

    def edges(self, x: Tensor) -> Tensor:
        """Return the value of every edge, in float32 at least.

        Args:
            x: [*batch, in], before the map.

        Returns:
            [*batch, out, in].

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension is not in_features.
        """
        check_input(x, self.in_features)
        return self._edges(self.mapping(x.to(compute_dtype(x.dtype))))

    @abc.abstractmethod
    def _edges(self, u: Tensor) -> Tensor:
        """Return [*batch, out, in] for mapped inputs u [*batch, in]."""

    def select(self, outputs: Sequence[int], inputs: Sequence[int]) -> Self:
        """Return a new basis of these outputs and inputs alone, with copies of their parameters.

        Args:
            outputs: numbers in 0..out_features - 1, in the order of the new basis.
            inputs: numbers in 0..in_features - 1.

        Raises:
            TypeError: for numbers that are no integers.
            ValueError: for one out of range, one twice, or none; for some inputs of a layer norm over all.
        """
        rows = torch.tensor(indices_below("outputs", outputs, self.out_features)).unsqueeze(-1)
        chosen = self._check_inputs(inputs)
        new = self._taken(dict.fromkeys(self.per_edge, (rows, chosen)) | dict.fromkeys(self.per_input, chosen), chosen)
        new.out_features = len(rows)
        return new

    def extra_repr(self) -> str:
        """Return what `print` shows: the widths and the keywords."""
        return f"out_features={self.out_features}, {super().extra_repr()}"


def _take(module: nn.Module, parts: Mapping[str, Any]) -> None:
    """Replace tensors of a module by parts of them."""
    for name, part in parts.items():
        tensor = getattr(module, name)
        if tensor is None:
            continue
        taken = tensor.detach()[part]  # a copy, as the part is a list of numbers
        setattr(module, name, nn.Parameter(taken, tensor.requires_grad) if name in module._parameters else taken)
