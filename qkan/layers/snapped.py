"""`SnappedLinear`: an edge layer whose chosen edges are elementary functions, d + c f(a x + b)."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import check_floating, check_input, indices_below
from qkan.elementary import LIBRARY, named
from qkan.layers.edges import EdgeLayer, EditableLayer, Expansion, check_edge
from qkan.precision import compute_dtype, in_autocast

__all__ = ["SnappedEdge", "SnappedLinear", "snapped"]


class SnappedEdge(NamedTuple):
    """Where a snapped edge is, and the name of its function."""

    output: int
    input: int
    function: str


class SnappedLinear(nn.Module):
    """Compute some edges as mask (d + c f(a x + b)), f from `qkan.elementary.LIBRARY`, and all others by another layer.

    The inner layer stays whole; its edges in the places of snapped ones are removed, for good. `snapped` makes such
    layers with the constants set. Outside the domain of f an edge is NaN or infinite: training that drives it there
    stops with the FloatingPointError of `qkan.fit`, instead of going on with a function that is none of the formula's.

    Args:
        inner: any `EditableLayer`; it is changed: its edges in these places are removed.
        edges: (output, input, name of the function) of every snapped edge, each place once.

    Attributes:
        inner: the layer of all other edges.
        edges: the snapped edges.
        affine: [edges, 4], the constants a, b, c, d of each: trainable. They start at 1, 0, 1, 0.
        snapped_mask: [edges], a buffer; 0 removes an edge.

    Raises:
        ValueError: for an edge out of range, one twice, or an unknown function.
        TypeError: for an inner layer without edges that can be edited.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].

    Example:
        >>> from qkan import QKANLinear
        >>> layer = SnappedLinear(QKANLinear(3, 2), [(0, 1, "sin"), (1, 2, "x^2")])
        >>> layer.edge_function(1, 2)(torch.tensor([3.0]))
        tensor([9.], grad_fn=<MulBackward0>)
    """

    affine: Tensor
    snapped_mask: Tensor

    def __init__(self, inner: EditableLayer, edges: Iterable[Sequence[Any]]) -> None:
        super().__init__()
        if not isinstance(inner, nn.Module) or not isinstance(inner, EdgeLayer):
            raise TypeError(f"inner must be a layer with edges, such as QKANLinear; got {type(inner).__name__}")
        self.inner = inner
        self.in_features, self.out_features = inner.in_features, inner.out_features
        self.edges = _checked(inner, edges)
        like = next(inner.parameters())
        start = torch.tensor([1.0, 0.0, 1.0, 0.0], device=like.device, dtype=like.dtype)
        self.affine = nn.Parameter(start.repeat(len(self.edges), 1))
        self.register_buffer("snapped_mask", torch.ones(len(self.edges), device=like.device, dtype=like.dtype))
        if isinstance(inner, EditableLayer):  # a lowered layer was emptied before it was lowered
            places = torch.zeros(self.out_features, self.in_features, dtype=torch.bool, device="cpu")
            places[self._where(places)] = True
            inner.remove_edges(places)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features]; generator as in `QKANLinear.forward`."""
        inner: Any = self.inner
        y: Tensor = inner(x) if generator is None else inner(x, generator)
        values = self._values(x)
        total = y.to(values.dtype).index_add(-1, _index([edge.output for edge in self.edges], x), values)
        return total if in_autocast(total) else total.to(torch.promote_types(y.dtype, self.affine.dtype))

    def _values(self, x: Tensor) -> Tensor:
        """Return what the snapped edges add, [*batch, edges], in their order."""
        check_input(x, self.in_features)
        exact = compute_dtype(torch.promote_types(x.dtype, self.affine.dtype))
        x, affine, mask = x.to(exact), self.affine.to(exact), self.snapped_mask.to(exact)
        parts: list[Tensor] = [x[..., :0]]
        order: list[int] = []
        for name, numbers in _by_function(self.edges).items():
            chosen, rows = _index([self.edges[n].input for n in numbers], x), _index(numbers, x)
            parts.append(_apply(name, affine[rows], mask[rows], x.index_select(-1, chosen)))
            order += numbers
        back = sorted(range(len(order)), key=order.__getitem__)
        return torch.cat(parts, -1).index_select(-1, _index(back, x))

    def contributions(self, x: Tensor) -> Tensor:
        """Return what every edge adds to its output, [*batch, out, in]."""
        others = self.inner.contributions(x)
        where = _index([edge.output * self.in_features + edge.input for edge in self.edges], x)
        values = self._values(x)
        return others.to(values.dtype).flatten(-2).index_add(-1, where, values).view(others.shape)

    def edge_function(self, output: int, input: int) -> Callable[[Tensor], Tensor]:
        """Return what one edge adds to its output, as a function of tensors of any shape.

        Raises:
            TypeError: if a number is no integer.
            ValueError: if one is out of range.
        """
        output, input = check_edge(self, output, input)
        number = self.number_of(output, input)
        if number is None:
            return self.inner.edge_function(output, input)
        name = self.edges[number].function

        def edge(x: Tensor) -> Tensor:
            check_floating(x)
            dtype = torch.promote_types(x.dtype, self.affine.dtype)
            exact = compute_dtype(dtype)
            affine, mask = self.affine[number].to(exact), self.snapped_mask[number].to(exact)
            return _apply(name, affine, mask, x.to(exact)).to(dtype)

        return edge

    def number_of(self, output: int, input: int) -> int | None:
        """Return the position of an edge in `edges`; None for one that is not snapped."""
        return next((n for n, edge in enumerate(self.edges) if edge[:2] == (output, input)), None)

    def expansion(self, x: Tensor) -> Expansion | None:
        """Return None: snapped edges share no features, and `contributions` costs no more than theirs would."""
        return None

    @property
    def mask(self) -> Tensor:
        """What every edge is multiplied with, [out, in]; a copy, changed by `remove_edges` alone."""
        mask: Tensor = self.inner.mask.clone()
        mask[self._where(mask)] = self.snapped_mask.to(mask.dtype)
        return mask

    @property
    def bias(self) -> Tensor | None:
        """What is added to the outputs, [out], or None: that of the inner layer."""
        bias: Tensor | None = self.inner.bias
        return bias

    @torch.no_grad()
    def remove_edges(self, removed: Tensor) -> None:
        """Set the mask of these edges, a boolean [out, in], to 0."""
        self.inner.remove_edges(removed)
        self.snapped_mask.masked_fill_(removed[self._where(removed)].to(self.snapped_mask.device), 0)

    def _where(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the inputs of the snapped edges, each [edges]."""
        return _index([edge.output for edge in self.edges], like), _index([edge.input for edge in self.edges], like)

    def subset(self, outputs: Sequence[int], inputs: Sequence[int]) -> "SnappedLinear":
        """Return a new layer of these outputs and inputs, with copies of their parameters.

        Args:
            outputs: numbers in 0..out_features - 1, in the order of the new layer.
            inputs: numbers in 0..in_features - 1.

        Raises:
            TypeError: for numbers that are no integers.
            ValueError: for one out of range, one twice, or none.
        """
        rows = indices_below("outputs", outputs, self.out_features)
        columns = indices_below("inputs", inputs, self.in_features)
        inner = self.inner.subset(rows, columns)
        kept = [n for n, edge in enumerate(self.edges) if edge.output in rows and edge.input in columns]
        edges = [(rows.index(o), columns.index(i), name) for o, i, name in (self.edges[n] for n in kept)]
        return _filled(inner, edges, self.affine[kept], self.snapped_mask[kept], self)

    def with_inner(self, inner: EditableLayer) -> "SnappedLinear":
        """Return a new layer with the same snapped edges, and all others by another layer of the same widths."""
        return _filled(inner, self.edges, self.affine, self.snapped_mask, self)

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values; inner is a class and its arguments."""
        inner: Any = self.inner
        described = {"class": type(inner).__name__, "config": inner.config()}
        return {"inner": described, "edges": [list(edge) for edge in self.edges]}

    def extra_repr(self) -> str:
        """Return the snapped edges, as "function of input to output"."""
        shown = [f"{edge.function}: {edge.input} -> {edge.output}" for edge in self.edges[:6]]
        return ", ".join(shown) + (f" and {len(self.edges) - 6} more" if len(self.edges) > 6 else "")


def snapped(layer: EditableLayer, edges: Mapping[tuple[int, int], tuple[str, Sequence[float]]]) -> SnappedLinear:
    """Return a copy of a layer in which some edges are elementary functions; edges that were snapped before stay so.

    Args:
        layer: any `EditableLayer`, a `SnappedLinear` included.
        edges: by (output, input): the name of the function and its constants (a, b, c, d).

    Raises:
        ValueError: as `SnappedLinear`.
        TypeError: likewise.

    Example:
        >>> from qkan import QKANLinear
        >>> layer = snapped(QKANLinear(3, 2), {(0, 1): ("sin", (3.0, 0.5, 2.0, -1.0))})
        >>> layer.affine.tolist(), int((layer.inner.mask == 0).sum())
        ([[3.0, 0.5, 2.0, -1.0]], 1)
    """
    found = {tuple(place): (name, tuple(affine), 1.0) for place, (name, affine) in edges.items()}
    inner: Any = layer
    if isinstance(layer, SnappedLinear):
        inner = layer.inner
        old = zip(layer.edges, layer.affine.tolist(), layer.snapped_mask.tolist(), strict=True)
        found = {(o, i): (name, tuple(affine), mask) for (o, i, name), affine, mask in old} | found
    new = SnappedLinear(copy.deepcopy(inner), [(*place, name) for place, (name, _, _) in found.items()])
    with torch.no_grad():
        values = torch.tensor([[*affine, mask] for _, affine, mask in found.values()], dtype=torch.float64)
        new.affine.copy_(values.view(-1, 5)[:, :4])
        new.snapped_mask.copy_(values.view(-1, 5)[:, 4])
    return new.train(inner.training)


def _filled(
    inner: EditableLayer, edges: Iterable[Sequence[Any]], affine: Tensor, mask: Tensor, like: SnappedLinear
) -> SnappedLinear:
    """Return a layer with copies of these values of its snapped edges."""
    new = SnappedLinear(inner, edges)
    new.affine = nn.Parameter(affine.detach().clone(), like.affine.requires_grad)
    new.snapped_mask = mask.detach().clone()
    return new.train(like.training)


def _checked(inner: EdgeLayer, edges: Iterable[Sequence[Any]]) -> tuple[SnappedEdge, ...]:
    found = [SnappedEdge(*check_edge(inner, output, input), name) for output, input, name in edges]
    if found:
        named([edge.function for edge in found])
    if len({edge[:2] for edge in found}) < len(found):
        raise ValueError(f"edges must hold every place (output, input) once; got {[tuple(edge) for edge in found]}")
    return tuple(found)


def _apply(name: str, affine: Tensor, mask: Tensor, x: Tensor) -> Tensor:
    """Return mask (d + c f(a x + b)) for affine [..., 4]; a removed edge is 0 outside the domain of f too."""
    a, b, c, d = affine.unbind(-1)
    # 0.5 is in every domain: 0 times NaN would be NaN, in the gradient too.
    inside = torch.where(mask != 0, a * x + b, 0.5)
    return (d + c * LIBRARY[name](inside)) * mask


def _by_function(edges: Sequence[SnappedEdge]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for number, edge in enumerate(edges):
        groups.setdefault(edge.function, []).append(number)
    return groups


def _index(numbers: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64, device=like.device)
