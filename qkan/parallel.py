"""Layers spread over devices: column and row styles for `torch.distributed.tensor.parallel.parallelize_module`.

θ lives on [out, in] as the weight of `nn.Linear` does, and is cut as that is. Parameters become DTensors, which
optimizers, gradient clipping, distributed checkpoints and FSDP2 know; the forward pass computes on the plain tensors of
its own rank, with the solver of the layer. Nothing else of the package imports this module.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from qkan._checks import check_input
from qkan.layers.linear import QKANLinear
from qkan.lowering import LoweredLinear
from qkan.solvers import PennyLane

if not torch.distributed.is_available():
    raise ImportError("qkan.parallel needs torch.distributed, which this build of torch lacks: install one that has it")

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor import parallel as styles

__all__ = ["ColwiseParallel", "RowwiseParallel", "ShardedLoweredLinear", "ShardedQKANLinear", "reset_parameters"]


class ColwiseParallel(styles.ColwiseParallel):
    """Cut a `QKANLinear` or `LoweredLinear` by its outputs; `nn.Linear` and `nn.Embedding` as torch's style does.

    Every rank holds all inputs of some outputs: Shard(0) of what is [out, in, ...] or [out]. An encoding [in, uploads]
    is on every rank; its gradient, and that of x, are summed over the ranks (Megatron-LM, arXiv 1909.08053).

    Args:
        input_layouts: of x [*batch, in]; `Replicate()` when None.
        output_layouts: of y [*batch, out]; `Shard(-1)` when None.
        use_local_output: whether to return the rank's own part of y as a plain tensor, or y as a DTensor.

    Raises:
        TypeError: for another module.
        ValueError: for a layer that cannot be cut, or a mesh that is not of one dimension.
    """

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        if isinstance(module, nn.Linear | nn.Embedding):
            return super()._apply(module, device_mesh)
        return _shard(module, device_mesh, "out", self)


class RowwiseParallel(styles.RowwiseParallel):
    """Cut a `QKANLinear` or `LoweredLinear` by its inputs; `nn.Linear` and `nn.Embedding` as torch's style does.

    Every rank holds some inputs of all outputs: Shard(1) of what is [out, in, ...], Shard(0) of an encoding
    [in, uploads]. The ranks' sums are added up; the bias is on every rank and added once.

    Args:
        input_layouts: of x [*batch, in]; `Shard(-1)` when None.
        output_layouts: of y [*batch, out]; `Replicate()` when None, `Shard(-1)` to scatter the sum.
        use_local_output: whether to return the rank's own part of y as a plain tensor, or y as a DTensor.

    Raises:
        TypeError: for another module.
        ValueError: for a layer that cannot be cut, or a mesh that is not of one dimension.
    """

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        if isinstance(module, nn.Linear | nn.Embedding):
            return super()._apply(module, device_mesh)
        return _shard(module, device_mesh, "in", self)


@dataclass(frozen=True, eq=False)
class _Cut:
    """What a sharded layer knows beside its parameters; no mesh, which could not be copied.

    Args:
        axis: "out" or "in".
        style: says how x and y lie on the mesh.
        part: the layer that a rank computes, on the meta device: every call gives it its tensors.
    """

    axis: str
    style: ColwiseParallel | RowwiseParallel
    part: QKANLinear | LoweredLinear

    def enter(self, x: Tensor, mesh: DeviceMesh, width: int) -> Tensor:
        """Return the inputs that this rank computes on, a plain tensor."""
        if not isinstance(x, DTensor):
            (layout,) = self.style.input_layouts
            split = isinstance(x, Tensor) and _splits_features(layout, x)
            check_input(x, _share(width, mesh) if split else width)
            x = _distributed(x, mesh, layout, width)
        if self.axis == "in":
            return x.redistribute(placements=[Shard(x.dim() - 1)]).to_local()
        return x.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])

    def leave(self, y: Tensor, mesh: DeviceMesh, width: int) -> Tensor:
        """Return y as the style wants it, from what this rank computed."""
        (layout,) = self.style.output_layouts
        if self.axis == "out" and self.style.use_local_output and _splits_features(layout, y):
            return y
        whole = _distributed(y, mesh, Partial() if self.axis == "in" else Shard(-1), width)
        whole = whole.redistribute(placements=[layout])
        # A copy, since FSDP2 warns of modules that return views.
        return whole.to_local().clone() if self.style.use_local_output else whole


class _Sharded(nn.Module):
    """A layer whose tensors are DTensors on a mesh of one dimension, and which computes on its own part of them."""

    in_features: int
    out_features: int
    cut: _Cut

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y for x, laid out as the style says; no layer that can be cut samples: no generator is used."""
        tensors = dict(_tensors(self))
        mesh = next(iter(tensors.values())).device_mesh
        own = {name: _own(name, tensor) for name, tensor in tensors.items()}
        y = functional_call(self.cut.part, own, (self.cut.enter(x, mesh, self.in_features),))
        return self.cut.leave(y, mesh, self.out_features)

    def extra_repr(self) -> str:
        """Return what the layer shows, and what it is cut by."""
        return f"{super().extra_repr()}, cut={self.cut.axis}"


class ShardedQKANLinear(_Sharded, QKANLinear):
    """What a style makes of a `QKANLinear`."""

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the rank's own part of θ anew, see `qkan.parallel.reset_parameters`.

        Raises:
            ValueError: without a generator: ranks that start from one seed would draw equal parts.
        """
        if generator is None:
            raise ValueError("generator must be given, seeded differently on every rank: the ranks hold other edges")
        reset_parameters(self, generator)

    def with_options(self, **changes: Any) -> QKANLinear:
        """Refuse: the parts are built.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"a sharded layer keeps its options; change {', '.join(changes)} before it is sharded")


class ShardedLoweredLinear(_Sharded, LoweredLinear):
    """What a style makes of a `LoweredLinear`."""


_SHARDED: dict[type[nn.Module], type[_Sharded]] = {QKANLinear: ShardedQKANLinear, LoweredLinear: ShardedLoweredLinear}


@torch.no_grad()
def reset_parameters(model: nn.Module, generator: torch.Generator) -> None:
    """Start every `QKANLinear` of a model, sharded by a style, by FSDP2, or not at all; masks become 1.

    Every rank draws its own part: no rank ever holds a whole layer, which was built on the meta device.

    Args:
        model: the module; after ``model.to_empty(device=...)``.
        generator: on the same device; seeded differently on every rank that holds other edges.

    Example:
        >>> model = QKANLinear(3, 2, device="meta").to_empty(device="cpu")
        >>> reset_parameters(model, torch.Generator().manual_seed(0))
        >>> model.mask.sum()
        tensor(6.)
    """
    for layer in model.modules():
        if isinstance(layer, QKANLinear):
            part = _like(layer, layer.in_features, layer.out_features)  # the width decides how θ starts
            for name, tensor in _tensors(layer):
                own = tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()
                setattr(part, name, nn.Parameter(own) if isinstance(tensor, nn.Parameter) else own)
            part.mask.fill_(1)
            part.reset_parameters(generator)


def _shard(layer: Any, mesh: DeviceMesh, axis: str, style: ColwiseParallel | RowwiseParallel) -> nn.Module:
    if type(layer) not in _SHARDED:
        raise TypeError(
            f"{type(style).__name__} cuts a QKANLinear, LoweredLinear, nn.Linear or nn.Embedding, once and before "
            f"fully_shard; got {type(layer).__name__}: name such layers inside of it in the plan, as in 'layers.0'"
        )
    _require_cuttable(layer, mesh, axis)
    # 0 is the default; torch 2.5 knows no other.
    source = {} if getattr(style, "src_data_rank", 0) == 0 else {"src_data_rank": style.src_data_rank}
    for name, tensor in list(_tensors(layer)):
        axes = _axes(name, tensor)
        placement = Shard(axes.index(axis)) if axis in axes else Replicate()
        placed = distribute_tensor(tensor.detach(), mesh, [placement], **source)
        parameter = isinstance(tensor, nn.Parameter)
        setattr(layer, name, nn.Parameter(placed, requires_grad=tensor.requires_grad) if parameter else placed)
    n_out, n_in = next(tensor.to_local().shape[:2] for _, tensor in _tensors(layer))
    layer.cut = _Cut(axis, style, _like(layer, n_in, n_out))
    layer.__class__ = _SHARDED[type(layer)]
    sharded: nn.Module = layer
    return sharded


def _require_cuttable(layer: QKANLinear | LoweredLinear, mesh: DeviceMesh, axis: str) -> None:
    if mesh.ndim != 1:
        raise ValueError(f"device_mesh must have one dimension; got {mesh.ndim}: take one of them, as in mesh['tp']")
    if isinstance(layer, QKANLinear) and (layer.options.shots is not None or isinstance(layer.solver, PennyLane)):
        raise ValueError(
            f"a layer with shots={layer.options.shots} and solver={layer.solver} cannot be cut: the draws of the ranks "
            "would not be independent, nor is a PennyLane device shared; use shots=None and another solver"
        )
    activation = layer.base_activation
    if activation is not None and activation.state_dict():
        raise ValueError(
            f"base_activation {type(activation).__name__} has parameters or buffers, which are not cut; "
            "use an activation without, or fully_shard alone"
        )
    width = layer.out_features if axis == "out" else layer.in_features
    if math.ceil(width / mesh.size()) * (mesh.size() - 1) >= width:
        raise ValueError(
            f"{axis}_features={width} leaves a rank of {mesh.size()} without any (the parts are as of torch.chunk); "
            "use fewer ranks, or cut the other axis"
        )


def _tensors(layer: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layer's own parameters and buffers, the first of them [out, in, ...]."""
    yield from layer.named_parameters(recurse=False)
    yield from layer.named_buffers(recurse=False)


def _axes(name: str, tensor: Tensor) -> tuple[str, ...]:
    if name == "bias":
        return ("out",)
    shared = name.startswith("encoding") and tensor.dim() == 2
    return ("in",) if shared else ("out", "in")


def _own(name: str, tensor: DTensor) -> Tensor:
    """Return this rank's part, with the gradient's layout."""
    if not tensor.placements[0].is_replicate():
        return tensor.to_local()
    # The first redistribution moves nothing; its backward sums the gradients of the ranks.
    whole = tensor.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
    # A bias on every rank belongs to a sum over ranks, which must hold it once.
    return whole * (tensor.device_mesh.get_local_rank() == 0) if name == "bias" else whole


def _like(layer: QKANLinear | LoweredLinear, n_in: int, n_out: int) -> Any:
    """Return an equal layer of other widths on the meta device; the base activation is the same module."""
    stand_in = None if layer.base_activation is None else "identity"  # one given as a module would move to meta
    if isinstance(layer, QKANLinear):
        options = replace(layer.options, base_activation=stand_in)
        given = {field.name: getattr(options, field.name) for field in fields(options)}
        other: QKANLinear | LoweredLinear = QKANLinear(n_in, n_out, device="meta", **given)
    else:
        given = {"ansatz": layer.ansatz, "reps": layer.reps, "encoding": layer.encoding, "base_activation": stand_in}
        other = LoweredLinear(n_in, n_out, device="meta", **given)
    other.base_activation = layer.base_activation
    return other


def _share(width: int, mesh: DeviceMesh) -> int:
    """Return how many of `width` features lie on this rank, as torch.chunk parts them."""
    chunk = math.ceil(width / mesh.size())
    return max(0, min(chunk, width - chunk * mesh.get_local_rank()))


def _splits_features(layout: Placement, x: Tensor) -> bool:
    return isinstance(layout, Shard) and layout.dim in (-1, x.dim() - 1)


def _distributed(local: Tensor, mesh: DeviceMesh, layout: Placement, width: int) -> DTensor:
    """Return the DTensor [*batch, width] of which every rank gives its part."""
    if not _splits_features(layout, local):
        return DTensor.from_local(local, mesh, [layout], run_check=False)
    # Uneven parts do not tell the shape of the whole.
    whole = local.new_empty((*local.shape[:-1], width), device="meta")
    return DTensor.from_local(local, mesh, [layout], run_check=False, shape=whole.shape, stride=whole.stride())
