"""`KANLinear`: a linear layer whose every edge is a spline, beside the quantum one: the same two lines of work."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from qkan import bases
from qkan._checks import check_floating, check_input, indices_below, positive_integer
from qkan.bases import bspline
from qkan.bases.projection import least_squares
from qkan.contraction import contract_linear
from qkan.layers import activations
from qkan.layers.edges import Expansion, check_edge
from qkan.layers.kan_options import KANArguments, KANOptions
from qkan.precision import compute_dtype, in_autocast

__all__ = ["KANLinear"]


class KANLinear(nn.Module):
    r"""Apply y_o = bias_o + Σ_i mask_oi (base_weight_oi σ(x_i) + spline_scaler_oi Σ_f spline_weight_oif B_if(x_i)).

    B are the B-splines of a grid per input, 0 outside of its extended knots (Liu et al. 2024, KAN, arXiv 2404.19756).
    Parameters have the names and shapes of efficient-kan, whose state dicts load.

    Args:
        in_features: number of inputs; any integer type.
        out_features: number of outputs; any integer type.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights, on the same device; the global one when None.
        **options: see `KANOptions`.

    Attributes:
        base_weight: [out, in] or None. spline_weight: [out, in, functions]. spline_scaler: [out, in]. bias: [out] or
            None.
        grid: knots, [in, grid_size + 2 spline_order + 1], a buffer. mask: [out, in], a buffer; 0 removes an edge.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for an option out of range.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].

    Example:
        >>> layer = KANLinear(4, 3)
        >>> layer(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 5, 3])
        >>> layer
        KANLinear(
          in_features=4, out_features=3, grid_size=5, spline_order=3, grid_range=(-1.0, 1.0)
          (base_activation): SiLU()
        )
    """

    base_weight: Tensor | None
    spline_weight: Tensor
    spline_scaler: Tensor
    bias: Tensor | None
    grid: Tensor
    mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[KANArguments],
    ) -> None:
        super().__init__()
        self.in_features = positive_integer("in_features", in_features)
        self.out_features = positive_integer("out_features", out_features)
        self.options = KANOptions.parse("KANLinear", options)
        self.base_activation = activations.build(self.options.base_activation)
        if self.base_activation is not None:
            self.base_activation.to(device=device, dtype=dtype)
        self._register(device, dtype)
        self.reset_parameters(generator)

    def _register(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        def parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

        options, edges = self.options, (self.out_features, self.in_features)
        self.register_parameter("base_weight", parameter(self.base_activation is not None, *edges))
        self.register_parameter("spline_weight", parameter(True, *edges, options.functions))
        self.register_parameter("spline_scaler", parameter(True, *edges))
        self.register_parameter("bias", parameter(options.bias, self.out_features))
        row = bspline.knots(options.grid_size, options.spline_order, *options.grid_range, device=device, dtype=dtype)
        self.register_buffer("grid", row.repeat(self.in_features, 1))
        self.register_buffer("mask", torch.ones(edges, device=device, dtype=dtype))

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew; the bias starts at 0; grid and mask stay.

        As in efficient-kan, but for the multipliers, which multiply here: base weights and spline scalers are uniform
        in ± 1/sqrt(in), and the splines fit noise, uniform in ± scale_noise / (2 G), at the points of the grid.
        """
        options, bound = self.options, self.in_features**-0.5
        for weights, scale in ((self.base_weight, options.scale_base), (self.spline_scaler, options.scale_spline)):
            if weights is not None:
                weights.uniform_(-bound * scale, bound * scale, generator=generator)
        points = self.grid[:, options.spline_order : -options.spline_order].mT  # [G + 1, in]
        noise = points.new_empty(*points.shape, self.out_features).uniform_(-0.5, 0.5, generator=generator)
        self.spline_weight.copy_(self._fitted(points, noise * (options.scale_noise / options.grid_size)))
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features]; nothing is sampled: no generator is used.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension is not in_features.
        """
        check_input(x, self.in_features)
        dtype = torch.promote_types(x.dtype, self.spline_weight.dtype)
        exact = compute_dtype(dtype)
        bias = None if self.bias is None else self.bias.to(exact)
        y = contract_linear(self._columns(x.to(exact), self.grid), self._table(exact), bias)
        return y if in_autocast(y) else y.to(dtype)

    def _columns(self, x: Tensor, grid: Tensor) -> Tensor:
        """Return the splines, and σ(x) as one more function where there is a base branch, [*batch, in, functions]."""
        columns = bspline.features(x, grid.to(x.dtype), self.options.spline_order)
        return columns if self.base_activation is None else bases.append(columns, self.base_activation(x))

    def _table(self, dtype: torch.dtype) -> Tensor:
        """Return what the functions are multiplied with, [out, in, functions], in the given dtype."""
        table = self.spline_weight.to(dtype) * self.spline_scaler.to(dtype).unsqueeze(-1)
        if self.base_weight is not None:
            table = torch.cat([table, self.base_weight.to(dtype).unsqueeze(-1)], -1)
        return table * self.mask.to(dtype).unsqueeze(-1)

    def contributions(self, x: Tensor) -> Tensor:
        """Return what every edge adds to its output, [*batch, out, in]: y is their sum over in, and the bias."""
        check_input(x, self.in_features)
        exact = compute_dtype(torch.promote_types(x.dtype, self.spline_weight.dtype))
        return torch.einsum("...if,oif->...oi", self._columns(x.to(exact), self.grid), self._table(exact))

    def edge_function(self, output: int, input: int) -> Callable[[Tensor], Tensor]:
        """Return what one edge adds to its output, as a function of tensors of any shape.

        It follows later changes of the parameters and carries their gradient.

        Raises:
            TypeError: if a number is no integer.
            ValueError: if one is out of range.

        Example:
            >>> layer = KANLinear(3, 2, dtype=torch.float64)
            >>> x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
            >>> torch.allclose(layer.edge_function(1, 2)(x[:, 2]), layer.contributions(x)[:, 1, 2])
            True
        """
        o, i = check_edge(self, output, input)

        def edge(x: Tensor) -> Tensor:
            check_floating(x)
            dtype = torch.promote_types(x.dtype, self.spline_weight.dtype)
            exact = compute_dtype(dtype)
            columns = self._columns(x.unsqueeze(-1).to(exact), self.grid[[i]]).squeeze(-2)
            return (columns @ self._table(exact)[o, i]).to(dtype)

        return edge

    def expansion(self, x: Tensor) -> Expansion:
        """Return all edges at x [*batch, in] as linear functions of the splines, σ(x) as one more function."""
        check_input(x, self.in_features)
        exact = compute_dtype(torch.promote_types(x.dtype, self.spline_weight.dtype))
        table = self._table(exact)
        return Expansion(self._columns(x.to(exact), self.grid), table, table.new_zeros(table.shape[:2]))

    @torch.no_grad()
    def remove_edges(self, removed: Tensor) -> None:
        """Set the mask of these edges, a boolean [out, in], to 0."""
        self.mask.masked_fill_(removed.to(self.mask.device), 0)

    def subset(self, outputs: Sequence[int], inputs: Sequence[int]) -> "KANLinear":
        """Return a new layer of these outputs and inputs, with copies of their parameters, grids and mask.

        Args:
            outputs: numbers in 0..out_features - 1, in the order of the new layer.
            inputs: numbers in 0..in_features - 1.

        Raises:
            TypeError: for numbers that are no integers.
            ValueError: for one out of range, one twice, or none.

        Example:
            >>> KANLinear(4, 3).subset([2, 0], [1, 3, 0]).grid.shape
            torch.Size([3, 12])
        """
        rows, columns = (
            indices_below("outputs", outputs, self.out_features),
            indices_below("inputs", inputs, self.in_features),
        )
        new = KANLinear(len(columns), len(rows), device="meta", **self.options.arguments())
        new.base_activation = copy.deepcopy(self.base_activation)
        for name, tensor in self.named_parameters(recurse=False):
            part = tensor[rows] if name == "bias" else tensor[rows][:, columns]
            setattr(new, name, nn.Parameter(part.detach().clone(), tensor.requires_grad))
        new.grid, new.mask = self.grid[columns].clone(), self.mask[rows][:, columns].clone()
        return new.train(self.training)

    @torch.no_grad()
    def curve2coeff(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the coefficients of the splines that come closest to curves, by least squares of any rank.

        Args:
            x: points, [points, in].
            y: values of the curves, [points, in, out].

        Returns:
            [out, in, functions], finite, of smallest norm where the points leave a choice.

        Raises:
            ValueError: for other shapes, or values that are not finite.
        """
        if x.dim() != 2 or y.shape != (*x.shape, self.out_features) or x.shape[1] != self.in_features:
            expected = f"[points, {self.in_features}] and [points, {self.in_features}, {self.out_features}]"
            raise ValueError(f"x and y must be {expected}; got {tuple(x.shape)} and {tuple(y.shape)}")
        if not (x.isfinite().all() and y.isfinite().all()):
            raise ValueError("x and y must be finite for a fit; got NaN or infinity")
        return self._fitted(x, y)

    def _fitted(self, x: Tensor, y: Tensor) -> Tensor:
        exact = compute_dtype(torch.promote_types(x.dtype, self.grid.dtype))
        design = bspline.features(x.to(exact), self.grid.to(exact), self.options.spline_order)
        return least_squares(design.transpose(0, 1), y.transpose(0, 1)).permute(2, 0, 1)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # A state dict of efficient-kan has no mask: all of its edges are there.
        weights = state_dict.get(f"{prefix}spline_scaler")
        if weights is not None:
            state_dict.setdefault(f"{prefix}mask", torch.ones_like(weights, dtype=self.mask.dtype))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values."""
        return {"in_features": self.in_features, "out_features": self.out_features, **self.options.to_json()}

    def extra_repr(self) -> str:
        """Return what `print` shows: widths and grid."""
        options = self.options
        shown: Mapping[str, Any] = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "grid_size": options.grid_size,
            "spline_order": options.spline_order,
            "grid_range": options.grid_range,
            **({"bias": True} if options.bias else {}),
        }
        return ", ".join(f"{name}={value}" for name, value in shown.items())
