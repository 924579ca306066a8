"""`KANConv1d`, `KANConv2d`, `KANConv3d`: convolutions whose every edge is a curve of a classical basis."""

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from qkan import bases
from qkan.bases import Basis, EdgewiseBasis
from qkan.bases.settings import finite_number
from qkan.contraction import contract_conv
from qkan.layers import activations
from qkan.layers.geometry import Geometry
from qkan.layers.kan import KANLinear
from qkan.layers.skeleton import Skeleton, SkeletonArguments
from qkan.precision import compute_dtype, in_autocast

__all__ = ["BaseKANConv", "KANConv1d", "KANConv2d", "KANConv3d"]


class BaseKANConv(nn.Module):
    """What all convolutions of classical bases share; abstract. Documented with `KANConv2d`."""

    dims: ClassVar[int]

    weight: Tensor
    mix_weight: Tensor | None
    base_weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        basis: str | type[Basis] | type[EdgewiseBasis] | Basis = "bspline",
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        padding_of: str = "input",
        base_activation: str | Callable[..., Any] | nn.Module | None = "silu",
        bias: bool = False,
        scale_base: float = 1.0,
        scale_spline: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__()
        around = {name: keywords.pop(name) for name in SkeletonArguments.__annotations__ if name in keywords}
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, padding_of)
        self.geometry = Geometry(self.dims, *sizes)
        self.in_channels, self.out_channels = self.geometry.in_channels, self.geometry.out_channels
        self.scales = finite_number("scale_base", scale_base), finite_number("scale_spline", scale_spline)
        self._base_activation = base_activation
        self.base_activation = activations.build(base_activation)
        if self.base_activation is not None:
            self.base_activation.to(device=device, dtype=dtype)
        widths = (self.in_channels, self.out_channels, self.geometry.groups)
        self.skeleton = Skeleton(self.dims, *widths, **around, device=device, dtype=dtype)
        factory = {"device": device, "dtype": dtype, "generator": generator}
        self.bases = nn.ModuleList(self._bases(basis, keywords, factory))
        self._register(bias, device, dtype)
        self._start(generator)

    def _bases(self, basis: Any, keywords: dict[str, Any], factory: dict[str, Any]) -> list[Basis | EdgewiseBasis]:
        """Return one basis for all groups; or one for each of them, if it has parameters per edge."""
        fan_out, groups = self.geometry.fans[1], self.geometry.groups
        if isinstance(basis, EdgewiseBasis):
            raise TypeError(f"basis must be a name or a class, as each group builds its own edges; got {basis!r}")
        given = {} if isinstance(basis, Basis) else {**keywords, **factory}
        first = bases.build(basis, self.geometry.edges[1], fan_out, **(given or keywords))
        if isinstance(first, Basis):
            return [first]
        return [first, *(bases.build(basis, first.in_features, fan_out, **given) for _ in range(groups - 1))]

    def _register(self, bias: bool, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        def parameter(wanted: bool, *shape: int) -> nn.Parameter | None:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

        edges, basis = self.geometry.edges, self.basis
        mixed = isinstance(basis, EdgewiseBasis)
        if mixed and self.skeleton.dropout_of == "mapped":
            raise ValueError(f"dropout_of='mapped' is not for the basis {basis.name!r}; use 'basis' or 'features'")
        functions = basis.functions if isinstance(basis, Basis) else 1
        self.register_parameter("weight", parameter(True, *edges, functions))
        self.register_parameter("mix_weight", parameter(mixed, self.out_channels, self.geometry.fans[1]))
        self.register_parameter("base_weight", parameter(self.base_activation is not None, *edges))
        self.register_parameter("bias", parameter(bias, self.out_channels))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, and start the basis and the norm again; the bias starts at 0.

        Weights are normal. For inputs of mean 0 and variance 1, each branch has the second moment scale² / branches, so
        that the sum has 1 for every width: std = scale / sqrt(branches · fan_in · Σ_f E φ_f²).
        """
        for basis in self.bases:
            if isinstance(basis, Basis | EdgewiseBasis):
                basis.reset_parameters(generator)
        self.skeleton.reset_parameters()
        self._start(generator)

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        branches = 1 if self.base_weight is None else 2
        scale_base, scale_spline = self.scales
        fan_in, fan_out = self.geometry.fans
        self.weight.normal_(0, scale_spline / math.sqrt(branches * fan_in * self._energy()), generator=generator)
        if self.mix_weight is not None:
            self.mix_weight.normal_(0, fan_out**-0.5, generator=generator)
        if self.base_activation is not None and self.base_weight is not None:
            values = self.base_activation(self._normal_points()[0])
            std = scale_base / math.sqrt(branches * fan_in * _mean_square(values))
            self.base_weight.normal_(0, std, generator=generator)
        if self.bias is not None:
            self.bias.zero_()

    def _energy(self) -> float:
        """Return Σ_f E φ_f(x)² for normal x, the mean over the inputs."""
        points, basis = self._normal_points(), self.basis
        if isinstance(basis, Basis):
            return _mean_square(basis.columns(points)) * basis.functions
        # All edges of an input start alike, and those of one output take little memory.
        return _mean_square(basis.select([0], range(len(points))).edges(points.mT))

    def _normal_points(self) -> Tensor:
        """Return quantiles of the normal distribution, [in/groups, points], in another order for every input."""
        count, inputs, device = 64, self.geometry.edges[1], self.weight.device
        levels = (torch.arange(count, device=device, dtype=compute_dtype(self.weight.dtype)) + 0.5) / count
        quantiles = math.sqrt(2) * torch.erfinv(2 * levels - 1)
        order = torch.arange(count, device=device) + 7 * torch.arange(inputs, device=device).unsqueeze(-1)
        return quantiles[order % count]

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [batch, out, *space] for x [batch, in, *space], or both without batch; no generator is used.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: for another shape, or images that are smaller than the kernel.
        """
        images = self.geometry.images(x)
        dtype = torch.promote_types(x.dtype, self.weight.dtype)
        images = self.skeleton.input(images.to(compute_dtype(dtype)))
        y = self._shared(images) if self.mix_weight is None else self._edgewise(images, self.mix_weight)
        y = y if in_autocast(y) else y.to(dtype)
        y = self.skeleton.output(y)
        return y.squeeze(0) if x.dim() == self.dims + 1 else y

    def _shared(self, images: Tensor) -> Tensor:
        """Return the sum of both branches."""
        y = self._contract(self._features(self._padded(self.skeleton.basis_input(images))), self.weight, self.bias)
        return self._plus_base(y, images)

    def _plus_base(self, y: Tensor, images: Tensor) -> Tensor:
        """Add the base branch, by a convolution of its own: as one more function it would cost a copy of all others."""
        if self.base_activation is None or self.base_weight is None:
            return y
        base = self.base_activation(self._padded(images))
        columns = torch.unflatten(base, 1, (self.geometry.groups, 1, -1))
        return y + self._contract(columns, self.base_weight.unsqueeze(-1))

    def _features(self, x: Tensor) -> Tensor:
        """Return the functions of images, [batch, groups, functions, in/groups, *space]."""
        basis = self.basis
        pixels = torch.unflatten(x, 1, (self.geometry.groups, -1)).flatten(3)
        if not isinstance(basis, Basis):
            raise TypeError(f"basis must be shared by the outputs here; got {type(basis).__name__}")
        columns = self._mapped(basis, pixels) if self.skeleton.dropout_of == "mapped" else basis.columns(pixels)
        return torch.unflatten(self.skeleton.drop(columns, "features"), -1, x.shape[2:])

    def _mapped(self, basis: Basis, pixels: Tensor) -> Tensor:
        u = basis.mapping(pixels) if basis.pointwise else basis.mapping(pixels.mT).mT
        return basis._columns(self.skeleton.drop(u, "mapped"))

    def _edgewise(self, images: Tensor, mix: Tensor) -> Tensor:
        """Return Σ_p mix_op (ψ_p ∗ weight_p) + base branch, p the outputs of the group of o."""
        geometry = self.geometry
        seen = torch.unflatten(self._padded(self.skeleton.basis_input(images)), 1, (geometry.groups, -1))
        parts = []
        for basis, x in zip(self.bases, seen.unbind(1), strict=True):
            if isinstance(basis, EdgewiseBasis):
                edges = basis.edges(x.flatten(2).mT)  # [batch, points, out/groups, in/groups]
                parts.append(torch.unflatten(edges.movedim(1, -1), -1, x.shape[2:]))
        waves = self.skeleton.drop((torch.cat(parts, 1) if parts[1:] else parts[0]).unsqueeze(2), "features", self.dims)
        y = self._contract(waves, self.weight)
        kernel = mix.to(y.dtype).view(*mix.shape, *(1,) * self.dims, 1)
        y = contract_conv(
            torch.unflatten(y, 1, (geometry.groups, 1, -1)),
            kernel,
            None if self.bias is None else self.bias.to(y.dtype),
        )
        return self._plus_base(y, images)

    def _padded(self, x: Tensor) -> Tensor:
        return x if self.geometry.pads_features else self.geometry.pad(x)

    def _contract(self, columns: Tensor, table: Tensor, bias: Tensor | None = None) -> Tensor:
        geometry = self.geometry
        padding = geometry.margins if geometry.pads_features else ()
        place = {"stride": geometry.stride, "dilation": geometry.dilation}
        bias = None if bias is None else bias.to(columns.dtype)
        return contract_conv(columns, table.to(columns.dtype), bias, padding=padding, **place)

    def linear(self, group: int = 0) -> KANLinear:
        """Return the layer that a group applies to its patches, with copies of its parameters, and without a norm.

        Its inputs are the channels of the group, the positions of the kernel changing fastest, as in
        `torch.nn.functional.unfold`: plots, formulas and scores of single edges are there.

        Raises:
            IndexError: if there is no such group.
            ValueError: for wavelets, whose edges are mixed, and for a layer norm over the channels of a pixel.

        Example:
            >>> KANConv1d(4, 6, 3, basis="rbf", groups=2).linear(1).spline_weight.shape
            torch.Size([3, 6, 8])
        """
        basis, (fan_in, fan_out) = self.basis, self.geometry.fans
        if not isinstance(basis, Basis) or not basis.pointwise:
            raise ValueError(f"there is no linear layer of a group with the basis {basis.name!r} and map={basis.map!r}")
        common: dict[str, Any] = {"base_activation": copy.deepcopy(self.base_activation), "bias": self.bias is not None}
        common |= {"enable_standalone_scale_spline": False, "device": "meta"}
        layer = KANLinear(fan_in, fan_out, basis.name, **common, **basis.config())
        tensor: Tensor
        for name, tensor in self.named_parameters(recurse=False):
            own = torch.unflatten(tensor.detach(), 0, (self.geometry.groups, -1))[group]
            value = own.clone() if name == "bias" else own.flatten(1, self.dims + 1).clone()
            setattr(layer, "spline_weight" if name == "weight" else name, nn.Parameter(value, tensor.requires_grad))
        for name, tensor in [*basis.named_parameters(recurse=False), *basis.named_buffers(recurse=False)]:
            positions = math.prod(self.geometry.kernel_size) if name in basis.per_input else 1
            part = tensor.detach().repeat_interleave(positions, 0)
            trained = name in dict(basis.named_parameters(recurse=False))
            setattr(layer.basis, name, nn.Parameter(part, tensor.requires_grad) if trained else part)
        layer.mask = torch.ones_like(layer.mask, device=self.weight.device, dtype=self.weight.dtype)
        return layer.train(self.training)

    @property
    def basis(self) -> Basis | EdgewiseBasis:
        """The basis, that of the first group if each has its own."""
        first = self.bases[0]
        if not isinstance(first, Basis | EdgewiseBasis):
            raise TypeError(f"basis must be a Basis; got {type(first).__name__}")
        return first

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def extra_repr(self) -> str:
        """Return what `print` shows: the geometry and the name of the basis."""
        bias = "" if self.bias is None else ", bias=True"
        return f"{self.geometry}, basis={self.basis.name}{bias}"

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values.

        Raises:
            ValueError: for a norm or an activation without a name.
        """
        return {
            **self.geometry.arguments(),
            "base_activation": activations.name_of(self._base_activation),
            "bias": self.bias is not None,
            "scale_base": self.scales[0],
            "scale_spline": self.scales[1],
            **self.skeleton.arguments(),
            "basis": self.basis.name,
            **self.basis.config(),
        }


@final
class KANConv1d(BaseKANConv):
    """Convolve sequences with curves of a basis; all as in `KANConv2d`.

    Shape:
        x [batch, in_channels, length] or [in_channels, length] -> likewise with out_channels.

    Example:
        >>> KANConv1d(4, 6, 3, basis="chebyshev", degree=4, stride=2)(torch.zeros(2, 4, 9)).shape
        torch.Size([2, 6, 4])
    """

    dims = 1


@final
class KANConv2d(BaseKANConv):
    r"""Apply a linear layer of curves to all patches of images: expand every pixel, then one convolution of torch.

    y_o(p) = bias_o + Σ_i Σ_k (Σ_f weight_oikf φ_f(x_i(q)) + base_weight_oik σ(x_i(q))), with the pixel
    q = stride p + dilation k of the padded image, and i over the input channels of the group of o. Then follow a norm,
    an activation and a dropout of channels, where they are asked for. The groups share one basis.

    Wavelets have a scale and a shift for every pair of channels. As in torch-conv-kan, every output convolves waves of
    its own, and a 1x1 convolution mixes the results: y_o = Σ_p mix_op Σ_i Σ_k weight_pik ψ_pi(x_i(q)) + base branch.

    Args:
        in_channels: number of input channels; any integer type.
        out_channels: number of output channels; any integer type.
        kernel_size: an integer, or one per dimension, as are stride, padding and dilation.
        basis: name of a family, class, or basis of in_channels / groups inputs; see `qkan.bases.build`.
        stride: between positions of the kernel.
        padding: pixels on both sides, ``"valid"`` or ``"same"``.
        dilation: distance of pixels under the kernel.
        groups: parts of the channels that do not mix.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        padding_of: ``"input"``: a pixel around is one with the value 0, and adds φ(0). ``"features"``: it adds nothing,
            as in torch-conv-kan. See `qkan.layers.geometry.Geometry`.
        base_activation: σ, a name, module, class or function; None for no base branch.
        bias: whether a number is added to every output channel.
        scale_base: multiplies the initial weights of the base branch.
        scale_spline: multiplies those of the basis.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial weights, on the same device; the global one when None.
        **keywords: ``norm_layer``, ``norm_of``, ``norm_options``, ``dropout``, ``dropout_of`` and ``activation`` of
            `qkan.layers.skeleton.Skeleton`; all others are those of the basis.

    Attributes:
        weight: [out, in/groups, *kernel, functions]. base_weight: [out, in/groups, *kernel] or None.
        mix_weight: [out, out/groups] for wavelets, or None. bias: [out] or None.
        bases: the basis of all groups, or one wavelet basis for each of them.
        geometry: channels, kernel, stride, padding, dilation, groups.

    Raises:
        TypeError: for a keyword that neither the layer nor the basis has, or a size that is no integer.
        ValueError: for a keyword or size out of range.

    Shape:
        x [batch, in_channels, height, width] or [in_channels, height, width] -> likewise with out_channels.

    Example:
        >>> layer = KANConv2d(4, 6, 3, padding=1, groups=2, grid_size=4, norm_layer="batch")
        >>> layer(torch.zeros(5, 4, 8, 9)).shape
        torch.Size([5, 6, 8, 9])
        >>> layer.weight.shape
        torch.Size([6, 2, 3, 3, 7])
    """

    dims = 2


@final
class KANConv3d(BaseKANConv):
    """Convolve volumes with curves of a basis; all as in `KANConv2d`.

    Shape:
        x [batch, in_channels, depth, height, width] or without batch -> likewise with out_channels.

    Example:
        >>> KANConv3d(4, 6, (1, 3, 3), padding="same", basis="rbf")(torch.zeros(2, 4, 3, 5, 6)).shape
        torch.Size([2, 6, 3, 5, 6])
    """

    dims = 3


def _mean_square(values: Tensor) -> float:
    # Nothing is drawn on the meta device, and there is nothing to measure.
    return 1.0 if values.is_meta else float(values.square().mean()) or 1.0
