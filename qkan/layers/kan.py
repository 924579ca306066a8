"""`KANLinear`: a linear layer whose every edge is a sum of basis functions, beside the quantum one."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan import bases
from qkan._checks import check_input, indices_below, positive_integer
from qkan.bases import Basis, BSpline, EdgewiseBasis
from qkan.bases.projection import least_squares
from qkan.bases.settings import finite_number
from qkan.contraction import contract_linear
from qkan.layers import activations, grids, kan_parts
from qkan.layers.edges import Expansion, check_edge
from qkan.layers.kan_options import KANArguments, KANOptions
from qkan.precision import compute_dtype, in_autocast

__all__ = ["KANLinear"]


class KANLinear(nn.Module):
    r"""Apply y_o = bias_o + Σ_i mask_oi (base_weight_oi σ(x_i) + spline_scaler_oi Σ_f spline_weight_oif B_if(x_i)).

    B are the functions of a basis; by default the B-splines of a grid per input, 0 outside of its extended knots (Liu
    et al. 2024, KAN, arXiv 2404.19756). Wavelets are functions of their own for every edge: one B_oi, so functions is
    1. With B-splines, parameters have the names and shapes of efficient-kan, whose state dicts load.

    Args:
        in_features: number of inputs; any integer type.
        out_features: number of outputs; any integer type.
        basis: name of a family, one of `qkan.bases.names()`.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights, on the same device; the global one when None.
        **options: keywords of the family and options of all families, see `KANOptions`.

    Attributes:
        basis: the `Basis` or `EdgewiseBasis`; it holds the tensors of the family.
        base_weight: [out, in] or None. spline_weight: [out, in, functions]. spline_scaler: [out, in], by default of
            B-splines alone, or None. bias: [out] or None.
        grid: of B-splines: knots, [in, grid_size + 2 spline_order + 1], a buffer; ``grid`` in the state dict too.
        mask: [out, in], a buffer; 0 removes an edge.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for an option out of range, or an unknown basis.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].

    Example:
        >>> layer = KANLinear(4, 3)
        >>> layer(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 5, 3])
        >>> KANLinear(4, 3, "chebyshev", degree=5)
        KANLinear(
          in_features=4, out_features=3
          (base_activation): SiLU()
          (basis): Chebyshev(
            in_features=4, degree=5, map='tanh'
            (mapping): Map('tanh')
          )
        )
    """

    base_weight: Tensor | None
    spline_weight: Tensor
    spline_scaler: Tensor | None
    bias: Tensor | None
    mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        basis: str = "bspline",
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[KANArguments],
    ) -> None:
        super().__init__()
        self.in_features = positive_integer("in_features", in_features)
        self.out_features = positive_integer("out_features", out_features)
        self.options = KANOptions.parse("KANLinear", basis, options)
        self.base_activation = activations.build(self.options.base_activation)
        if self.base_activation is not None:
            self.base_activation.to(device=device, dtype=dtype)
        self.basis = bases.build(
            self.options.basis,
            self.in_features,
            self.out_features,
            **self.options.basis_options,
            device=device,
            dtype=dtype,
            generator=generator,
        )
        self._register(device, dtype)
        self.register_state_dict_post_hook(_grid_outside)  # type: ignore[no-untyped-call]  # torch's
        self.reset_parameters(generator)

    def _register(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        def parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

        options, edges = self.options, (self.out_features, self.in_features)
        functions = self.basis.functions if isinstance(self.basis, Basis) else 1
        self.register_parameter("base_weight", parameter(self.base_activation is not None, *edges))
        self.register_parameter("spline_weight", parameter(True, *edges, functions))
        self.register_parameter("spline_scaler", parameter(options.enable_standalone_scale_spline, *edges))
        self.register_parameter("bias", parameter(options.bias, self.out_features))
        self.register_buffer("mask", torch.ones(edges, device=device, dtype=dtype))

    @property
    def grid(self) -> Tensor:
        """The knots of B-splines, [in, grid_size + 2 spline_order + 1]; other families have none here."""
        if not isinstance(self.basis, BSpline):
            raise AttributeError(f"the basis {self.basis.name!r} has no knots; look at layer.basis")
        return self.basis.grid

    @grid.setter
    def grid(self, knots: Tensor) -> None:
        self._splines("grid").grid = knots

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew; the bias starts at 0; grid and mask stay.

        Base weights are uniform in ± scale_base/sqrt(in). B-splines start as in efficient-kan, but for the multiplier,
        which multiplies here: they fit noise, uniform in ± scale_noise/(2 G), at the points of the grid, and scalers
        are uniform in ± scale_spline/sqrt(in). Weights of all other functions are normal, such that the basis branch
        has the variance scale_spline² whatever the width, on average over its domain.
        """
        options, bound = self.options, self.in_features**-0.5
        self.basis.reset_parameters(generator)
        for weights, scale in ((self.base_weight, options.scale_base), (self.spline_scaler, self._scaler)):
            if weights is not None:
                weights.uniform_(-bound * scale, bound * scale, generator=generator)
        # Without a scaler the weights have its size.
        size = options.scale_spline * bound if self.spline_scaler is None else 1.0
        if isinstance(self.basis, BSpline):
            order = self.basis.spline_order
            points = self.grid[:, order:-order].mT  # [G + 1, in]
            noise = points.new_empty(*points.shape, self.out_features).uniform_(-0.5, 0.5, generator=generator)
            noise *= size * options.scale_noise / self.basis.grid_size
            self.spline_weight.copy_(self._fitted(points, noise))
        else:
            square = kan_parts.mean_square(self.basis, self.spline_weight.device)
            std = size * (self.spline_weight.shape[-1] * square) ** -0.5
            self.spline_weight.normal_(std=std, generator=generator)
        if self.bias is not None:
            self.bias.zero_()

    @property
    def _scaler(self) -> float:
        # Of splines as in efficient-kan; of others such that the scaler has the variance scale_spline²/in.
        return self.options.scale_spline * (1 if isinstance(self.basis, BSpline) else 3**0.5)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features]; nothing is sampled: no generator is used.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension is not in_features.
        """
        check_input(x, self.in_features)
        dtype = torch.promote_types(x.dtype, self.spline_weight.dtype)
        exact = compute_dtype(dtype)
        bias, x = None if self.bias is None else self.bias.to(exact), x.to(exact)
        if isinstance(self.basis, Basis):
            y = contract_linear(self.basis.features(x), self._weights(exact), bias)
        else:
            y = (self.basis.edges(x) * self._weights(exact)[..., 0]).sum(-1)
            y = y if bias is None else y + bias
        if self.base_activation is not None and self.base_weight is not None:
            # A product of its own: as one more function, σ(x) would cost a copy of all features.
            y = y + F.linear(self.base_activation(x), self._masked(self.base_weight, exact))
        return y if in_autocast(y) else y.to(dtype)

    def _columns(self, basis: Basis, x: Tensor) -> Tensor:
        """Return the functions, and σ(x) as one more where there is a base branch, [*batch, in, functions]."""
        columns = basis.features(x)
        return columns if self.base_activation is None else bases.append(columns, self.base_activation(x))

    def _weights(self, dtype: torch.dtype) -> Tensor:
        """Return what the functions are multiplied with, [out, in, functions]."""
        gain = self.mask.to(dtype) if self.spline_scaler is None else self._masked(self.spline_scaler, dtype)
        return self.spline_weight.to(dtype) * gain.unsqueeze(-1)

    def _masked(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        return self.mask.to(dtype) * weight.to(dtype)

    def table(self, dtype: torch.dtype) -> Tensor:
        """Return what the functions, and σ as the last one, are multiplied with: [out, in, functions (+ 1)]."""
        weights = self._weights(dtype)
        if self.base_weight is None:
            return weights
        return torch.cat([weights, self._masked(self.base_weight, dtype).unsqueeze(-1)], -1)

    def contributions(self, x: Tensor) -> Tensor:
        """Return what every edge adds to its output, [*batch, out, in]: y is their sum over in, and the bias."""
        check_input(x, self.in_features)
        exact = compute_dtype(torch.promote_types(x.dtype, self.spline_weight.dtype))
        x = x.to(exact)
        if isinstance(self.basis, Basis):
            return torch.einsum("...if,oif->...oi", self._columns(self.basis, x), self.table(exact))
        edges = self.basis.edges(x) * self._weights(exact)[..., 0]
        if self.base_activation is not None and self.base_weight is not None:
            edges = edges + self.base_activation(x).unsqueeze(-2) * self._masked(self.base_weight, exact)
        return edges

    def edge_function(self, output: int, input: int) -> Callable[[Tensor], Tensor]:
        """Return what one edge adds to its output, as a function of tensors of any shape.

        It follows later changes of the parameters and carries their gradient.

        Raises:
            TypeError: if a number is no integer.
            ValueError: if one is out of range; for the map ``"layer norm"``, after which edges depend on all inputs.

        Example:
            >>> layer = KANLinear(3, 2, dtype=torch.float64)
            >>> x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
            >>> torch.allclose(layer.edge_function(1, 2)(x[:, 2]), layer.contributions(x)[:, 1, 2])
            True
        """
        return kan_parts.edge_function(self, *check_edge(self, output, input))

    def expansion(self, x: Tensor) -> Expansion | None:
        """Return all edges at x [*batch, in] as linear functions of the basis, σ(x) as one more function.

        None for families with a function of its own per edge.
        """
        check_input(x, self.in_features)
        if isinstance(self.basis, EdgewiseBasis):
            return None
        exact = compute_dtype(torch.promote_types(x.dtype, self.spline_weight.dtype))
        table = self.table(exact)
        return Expansion(self._columns(self.basis, x.to(exact)), table, table.new_zeros(table.shape[:2]))

    def domain(self) -> Tensor:
        """Return where the functions of every input are meant to be used, [in, 2]: of B-splines, the ends of grids.

        Where a map takes all numbers, it is the interval in which the map still moves.
        """
        return kan_parts.domain(self.basis)

    @torch.no_grad()
    def remove_edges(self, removed: Tensor) -> None:
        """Set the mask of these edges, a boolean [out, in], to 0."""
        self.mask.masked_fill_(removed.to(self.mask.device), 0)

    def subset(self, outputs: Sequence[int], inputs: Sequence[int]) -> "KANLinear":
        """Return a new layer of these outputs and inputs, with copies of their parameters, buffers and mask.

        Args:
            outputs: numbers in 0..out_features - 1, in the order of the new layer.
            inputs: numbers in 0..in_features - 1.

        Raises:
            TypeError: for numbers that are no integers.
            ValueError: for one out of range, one twice, or none; for some inputs of a layer norm over all.

        Example:
            >>> KANLinear(4, 3).subset([2, 0], [1, 3, 0]).grid.shape
            torch.Size([3, 12])
        """
        rows, columns = (
            indices_below("outputs", outputs, self.out_features),
            indices_below("inputs", inputs, self.in_features),
        )
        new = self._shell(len(columns), len(rows), self.options)
        basis = self.basis
        new.basis = basis.select(columns) if isinstance(basis, Basis) else basis.select(rows, columns)
        for name, tensor in self.named_parameters(recurse=False):
            part = tensor[rows] if name == "bias" else tensor[rows][:, columns]
            setattr(new, name, nn.Parameter(part.detach().clone(), tensor.requires_grad))
        new.mask = self.mask[rows][:, columns].clone()
        return new

    def _shell(self, in_features: int, out_features: int, options: KANOptions) -> "KANLinear":
        """Return a layer without memory, with the mode and a copy of the base activation of this one."""
        new = KANLinear(in_features, out_features, device="meta", **options.arguments())
        new.base_activation = copy.deepcopy(self.base_activation)
        return new.train(self.training)

    @torch.no_grad()
    def curve2coeff(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the coefficients of the functions that come closest to curves, by least squares of any rank.

        Args:
            x: points, [points, in].
            y: values of the curves, [points, in, out].

        Returns:
            [out, in, functions], finite, of smallest norm where the points leave a choice.

        Raises:
            ValueError: for other shapes, or values that are not finite; for a family with a function per edge.
        """
        if x.dim() != 2 or y.shape != (*x.shape, self.out_features) or x.shape[1] != self.in_features:
            expected = f"[points, {self.in_features}] and [points, {self.in_features}, {self.out_features}]"
            raise ValueError(f"x and y must be {expected}; got {tuple(x.shape)} and {tuple(y.shape)}")
        if not (x.isfinite().all() and y.isfinite().all()):
            raise ValueError("x and y must be finite for a fit; got NaN or infinity")
        return self._fitted(x, y)

    def _fitted(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.basis, EdgewiseBasis):
            raise ValueError(
                f"curves are fitted with functions that all outputs share; the basis {self.basis.name!r} has a "
                "function of its own on every edge: train it instead"
            )
        design = self.basis.features(x.to(torch.promote_types(x.dtype, self.spline_weight.dtype)))
        return least_squares(design.transpose(0, 1), y.transpose(0, 1)).permute(2, 0, 1)

    @torch.no_grad()
    def update_grid(self, x: Tensor, margin: float = 0.01, grid_eps: float = 0.02) -> None:
        """Move the knots of B-splines to where inputs are, in place; the function between the new ends stays.

        New knots are (1 - grid_eps) times the quantiles of x and grid_eps times uniform ones, as in efficient-kan. The
        splines are projected by least squares at points in all new intervals, so that repeated and constant inputs
        give finite weights; what changes is the error of this projection. An optimiser keeps its state.

        Args:
            x: inputs of this layer, [*batch, in], at least one sample.
            margin: by how much uniform knots reach beyond the inputs, above 0.
            grid_eps: share of the uniform knots, above 0, at most 1.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: for another basis; for an argument out of range; for inputs that are none or not finite.
        """
        basis = self._splines("update_grid")
        margin, share = finite_number("margin", margin, above=0), finite_number("grid_eps", grid_eps, above=0)
        if share > 1:
            raise ValueError(f"grid_eps must be above 0 and at most 1; got {grid_eps!r}")
        check_input(x, self.in_features)
        if not x.numel() or not x.isfinite().all():
            raise ValueError(f"x must hold finite samples, at least one, to place knots; got {tuple(x.shape)}")
        u = basis.mapping(x.to(compute_dtype(x.dtype))).reshape(-1, self.in_features)
        digits = torch.finfo(basis.grid.dtype).eps
        knots = grids.adapted(u, basis.grid_size, basis.spline_order, margin, share, digits).to(basis.grid)
        self.spline_weight.copy_(grids.carried(self.spline_weight, basis.grid, knots, basis.spline_order))
        basis.grid.copy_(knots)

    @torch.no_grad()
    def refine(self, grid_size: int) -> "KANLinear":
        """Return a new layer with another number of intervals between the ends of its grids, and the same function.

        Splines are projected by least squares. Where old knots are new ones too, as for a multiple of grid_size, the
        function between the ends stays as it is; elsewhere up to the error of the projection.

        Args:
            grid_size: number of intervals of the new grids.

        Raises:
            TypeError: if it is no integer.
            ValueError: if it is below 1; for another basis than B-splines.

        Example:
            >>> layer, x = KANLinear(3, 2, dtype=torch.float64), torch.rand(9, 3, dtype=torch.float64)
            >>> torch.allclose(layer.refine(10)(x), layer(x), rtol=0, atol=1e-12)
            True
        """
        basis, size = self._splines("refine"), positive_integer("grid_size", grid_size)
        options = KANOptions(**self.options.arguments() | {"grid_size": size})
        new = self._shell(self.in_features, self.out_features, options)
        knots = grids.refined(basis.grid, size, basis.spline_order)
        weights = grids.carried(self.spline_weight, basis.grid, knots, basis.spline_order)
        for name, tensor in self.named_parameters(recurse=False):
            value = weights if name == "spline_weight" else tensor.detach().clone()
            setattr(new, name, nn.Parameter(value, tensor.requires_grad))
        new.basis.mapping = copy.deepcopy(basis.mapping)
        new.grid, new.mask = knots, self.mask.clone()
        return new

    def _splines(self, method: str) -> BSpline:
        if not isinstance(self.basis, BSpline):
            raise ValueError(f"{method} needs a grid of knots, that is, basis='bspline'; got {self.basis.name!r}")
        return self.basis

    def regularization_loss(self, regularize_activation: float = 1.0, regularize_entropy: float = 1.0) -> Tensor:
        """Return a penalty on the weights of the basis branch, as efficient-kan's; removed edges do not count.

        With s_oi the mean of |spline_weight_oif| over f: activation · Σ s - entropy · Σ p ln p, p = s/Σ s. For scores
        of what edges do with data see `qkan.attribution.Sparsity`.

        Args:
            regularize_activation: multiplies the sum.
            regularize_entropy: multiplies the entropy; its gradient is 0 for edges whose weights are all 0.

        Returns:
            A scalar.
        """
        size = (self.spline_weight.abs().mean(-1) * self.mask).to(compute_dtype(self.spline_weight.dtype))
        total = size.sum()
        share = size / torch.where(total > 0, total, 1)
        return regularize_activation * total + regularize_entropy * kan_parts.entropy(share)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # A state dict of efficient-kan has no mask: all of its edges are there.
        weights = state_dict.get(f"{prefix}spline_scaler")
        if weights is not None:
            state_dict.setdefault(f"{prefix}mask", torch.ones_like(weights, dtype=self.mask.dtype))
        if isinstance(self.basis, BSpline) and f"{prefix}grid" in state_dict:
            state_dict[f"{prefix}basis.grid"] = state_dict.pop(f"{prefix}grid")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values."""
        return {"in_features": self.in_features, "out_features": self.out_features, **self.options.to_json()}

    def extra_repr(self) -> str:
        """Return what `print` shows: the widths, and what differs from the defaults; the basis shows itself."""
        shown: Mapping[str, Any] = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            **({"bias": True} if self.options.bias else {}),
        }
        return ", ".join(f"{name}={value}" for name, value in shown.items())


def _grid_outside(module: nn.Module, state_dict: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Give the grid of B-splines the name that it has in efficient-kan."""
    if f"{prefix}basis.grid" in state_dict and isinstance(module, KANLinear) and isinstance(module.basis, BSpline):
        state_dict[f"{prefix}grid"] = state_dict.pop(f"{prefix}basis.grid")
