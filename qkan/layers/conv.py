"""`QKANConv1d`, `QKANConv2d`, `QKANConv3d`: convolutions whose every edge is a quantum circuit."""

import math
from dataclasses import fields
from typing import Any, ClassVar, Unpack, final

import torch
from torch import Tensor, nn

from qkan import readout as readouts
from qkan.layers import activations
from qkan.layers.expanded import contract_base, contract_series
from qkan.layers.geometry import Geometry
from qkan.layers.linear import QKANLinear
from qkan.layers.options import OptionArguments, QKANOptions
from qkan.layers.start import register, reset
from qkan.precision import compute_dtype, full_precision, in_autocast
from qkan.solvers.base import Weight
from qkan.solvers.fourier import Fourier, coefficients
from qkan.solvers.lowering.nodes import Series

__all__ = ["QKANConv1d", "QKANConv2d", "QKANConv3d"]


class _QKANConv(nn.Module):
    """What the three classes share; abstract. Documented with `QKANConv2d`."""

    dims: ClassVar[int]

    theta: Tensor
    encoding_weight: Tensor | None
    encoding_bias: Tensor | None
    scale: Tensor | None
    base_weight: Tensor | None
    bias: Tensor | None
    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        padding_of: str = "input",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, padding_of)
        self.geometry = Geometry(self.dims, *sizes)
        self.in_channels, self.out_channels = self.geometry.in_channels, self.geometry.out_channels
        self.options = QKANOptions.parse(type(self).__name__, options)
        self.solver = self.options.choose_solver()
        self.base_activation = activations.build(self.options.base_activation)
        if self.base_activation is not None:
            self.base_activation.to(device=device, dtype=dtype)
        register(self, self.geometry.edges, self.in_channels, device, dtype)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw θ anew; scale starts at 1, biases at 0, base weights uniform in ± 1/sqrt(fan_in), the mask stays.

        All start as in the `QKANLinear` of the patches of one group: fan_in = in/groups · prod(kernel) inputs,
        fan_out = out/groups outputs, θ ~ N(0, 2 / ((fan_in + fan_out) angles)).
        """
        reset(self, self.geometry.fans, generator)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [batch, out, *space] for x [batch, in, *space], or both without batch.

        Args:
            x: images.
            generator: draws the samples of a layer with shots; the global one when None.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: for another shape, or images that are smaller than the kernel.
        """
        images = self.geometry.images(x)
        dtype = torch.promote_types(x.dtype, self.theta.dtype)
        images = images.to(compute_dtype(dtype))
        if isinstance(self.solver, Fourier) and self.options.readout == "expectation" and not self._sampled:
            y = self._expanded(images)
        else:
            y = self._unfolded(images, generator)
        if self.base_activation is not None and self.base_weight is not None:
            y = y + contract_base(self.geometry, images, self.base_activation, self.mask * self.base_weight)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype).view(-1, *(1,) * self.dims)
        y = y if in_autocast(y) else y.to(dtype)
        return y.squeeze(0) if x.dim() == self.dims + 1 else y

    def _expanded(self, x: Tensor) -> Tensor:
        """Return the quantum part as a convolution of features, each computed once per pixel."""
        weight, bias = self.encoding(x.dtype)
        with full_precision(x):
            own = bias if bias is None or isinstance(weight, Tensor) else self._flat(bias)
            series = coefficients(self.options.circuit, self._flat(self.theta).to(x.dtype), weight, own)
            gain = self._flat(self.gain(x.dtype))
            series = Series(series.constant * gain, series.coefficients * gain.unsqueeze(-1))
        return contract_series(self.geometry, self.options.circuit, x, series, weight, bias)

    def _unfolded(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the quantum part by its definition, a layer of the patches: for solvers without features."""
        geometry = self.geometry
        patches = geometry.patches(geometry.pad(x))  # [batch, groups, *space, fan_in]
        there = None
        if geometry.pads_features:
            one = geometry.patches(geometry.pad(x.new_ones(1, 1, *x.shape[2:]))).squeeze(1)
            there = one.repeat(*(1,) * (one.dim() - 1), geometry.edges[1]).unsqueeze(-2)  # [1, *space, 1, fan_in]
        parts = [self._group(number, rows, there, generator) for number, rows in enumerate(patches.unbind(1))]
        return torch.cat(parts, -1).movedim(-1, 1)

    def _group(self, number: int, x: Tensor, there: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """Return the quantum part of one group, [batch, *space, out/groups], for its patches."""
        weight, bias = (self._of_group(part, number) for part in self.encoding(x.dtype))
        theta, gain = (self._of_group(part, number) for part in (self.theta.to(x.dtype), self.gain(x.dtype)))
        readout = readouts.named(self.options.readout)
        if there is None and not self._sampled:
            y: Tensor = self.solver.layer(self.options.circuit, x, theta, weight, bias, gain, readout)
            return y
        z = self.solver.edges(self.options.circuit, x, theta, weight, bias, readout)
        if self._sampled and self.options.shots:
            z = readouts.sample(z, self.options.shots, generator)
        total: Tensor = z * gain if there is None else z * gain * there
        return total.sum(-1)

    def _of_group(self, part: Any, number: int) -> Any:
        """Return what a tensor holds of the edges of one group, [out/groups, fan_in, ...]; all else as it is."""
        if not isinstance(part, Tensor):
            return part
        if part.dim() == 2:  # shared by the outputs: one per channel
            channels = torch.unflatten(part, 0, (self.geometry.groups, -1))[number]
            return channels.repeat_interleave(math.prod(self.geometry.kernel_size), 0)
        return torch.unflatten(self._flat(part), 0, (self.geometry.groups, -1))[number]

    def _flat(self, tensor: Tensor) -> Tensor:
        """Return a tensor [out, in/groups, *kernel, ...] as [out, fan_in, ...], in the order of patches."""
        return tensor.flatten(1, 1 + self.dims)

    def linear(self, group: int = 0) -> QKANLinear:
        """Return the layer that a group applies to its patches, with copies of its parameters and its mask.

        Its inputs are the channels of the group, the positions of the kernel changing fastest, as in
        `torch.nn.functional.unfold`: plots, formulas and scores of single edges are there.

        Raises:
            IndexError: if there is no such group.
        """
        fan_in, fan_out = self.geometry.fans
        layer = QKANLinear(fan_in, fan_out, device="meta", **self.options.arguments())
        for name, tensor in [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]:
            own = tensor.chunk(self.geometry.groups)[group] if name == "bias" else self._of_group(tensor, group)
            value = own.detach().clone()
            setattr(layer, name, value if name == "mask" else nn.Parameter(value, tensor.requires_grad))
        return layer.train(self.training)

    @property
    def _sampled(self) -> bool:
        return self.options.shots is not None and not self.solver.samples

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values."""
        return self.geometry.arguments() | self.options.to_json()

    def extra_repr(self) -> str:
        """Return what `print` shows: geometry, circuit and the solver that was chosen."""
        options = self.options
        solver = f"{self.solver} (auto)" if options.solver == "auto" else str(self.solver)
        shown: dict[str, Any] = {"reps": options.reps, "ansatz": options.circuit.name, "solver": solver}
        shown["encoding"] = options.encoding
        for field in fields(options):
            if field.name not in (*shown, "base_activation", "encoding_init"):
                value = getattr(options, field.name)
                shown |= {field.name: value} if value != field.default else {}
        return f"{self.geometry}, " + ", ".join(f"{name}={value}" for name, value in shown.items())

    def encoding(self, dtype: torch.dtype) -> tuple[Weight, Tensor | None]:
        """Return the encoding weights (integers, or a tensor) and biases in the given dtype."""
        bias = None if self.encoding_bias is None else self.encoding_bias.to(dtype)
        if self.encoding_weight is not None:
            return self.encoding_weight.to(dtype), bias
        return self.options.start_weights, bias

    def gain(self, dtype: torch.dtype) -> Tensor:
        """Return mask · scale [out, in/groups, *kernel] in the given dtype."""
        return (self.mask if self.scale is None else self.mask * self.scale).to(dtype)


@final
class QKANConv1d(_QKANConv):
    """Apply `QKANLinear` to all patches of sequences; all as in `QKANConv2d`.

    Shape:
        x [batch, in_channels, length] or [in_channels, length] -> [batch, out_channels, length] or without batch.

    Example:
        >>> QKANConv1d(4, 6, 5, stride=2)(torch.zeros(3, 4, 9)).shape
        torch.Size([3, 6, 3])
    """

    dims = 1


@final
class QKANConv2d(_QKANConv):
    r"""Apply `QKANLinear` to all patches of images: every (output, input, position in the kernel) is an edge.

    y_o(p) = bias_o + Σ_i Σ_k mask_oik (scale_oik readout(z_oik(x_i(q))) + base_weight_oik σ(x_i(q))), with the pixel
    q = stride p + dilation k of the padded image, i over the input channels of the group of o, z_oik the expectation of
    an edge circuit. With the Fourier solver, features are computed once per pixel, and the layer is one convolution of
    torch; other solvers, the amplitude readout, shots, and ``encoding="trainable"`` compute every edge of every patch.

    Args:
        in_channels: number of input channels; any integer type.
        out_channels: number of output channels; any integer type.
        kernel_size: an integer, or one per dimension, as are stride, padding and dilation.
        stride: between positions of the kernel.
        padding: pixels on both sides, ``"valid"`` or ``"same"``.
        dilation: distance of pixels under the kernel.
        groups: parts of the channels that do not mix.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        padding_of: ``"input"``: a pixel around is one with the value 0, and adds φ(0) (cos 0 = 1). ``"features"``: it
            adds nothing. See `qkan.layers.geometry.Geometry`.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles, on the same device; the global one when None.
        **options: see `QKANOptions`. ``encoding="trainable-shared"`` has weights per input channel.

    Attributes:
        theta: [out, in/groups, *kernel, angles], radians.
        encoding_weight: [out, in/groups, *kernel, uploads], [in, uploads], or None with fixed integers.
        encoding_bias: like encoding_weight; or per edge for an ansatz that always has biases; or None.
        scale: [out, in/groups, *kernel] or None. base_weight: likewise. bias: [out] or None.
        mask: [out, in/groups, *kernel], a buffer; 0 removes an edge.
        geometry: channels, kernel, stride, padding, dilation, groups.

    Raises:
        TypeError: for an unknown option or a size that is no integer.
        ValueError: for an option or size out of range.

    Shape:
        x [batch, in_channels, height, width] or [in_channels, height, width] -> likewise with out_channels.

    Example:
        >>> layer = QKANConv2d(4, 6, 3, padding=1, groups=2)
        >>> layer(torch.zeros(5, 4, 8, 9)).shape
        torch.Size([5, 6, 8, 9])
        >>> patches = torch.nn.functional.unfold(torch.zeros(1, 2, 8, 9), 3, padding=1).mT
        >>> layer.linear(group=1)(patches).shape
        torch.Size([1, 72, 3])
    """

    dims = 2


@final
class QKANConv3d(_QKANConv):
    """Apply `QKANLinear` to all patches of volumes; all as in `QKANConv2d`.

    Shape:
        x [batch, in_channels, depth, height, width] or without batch -> likewise with out_channels.

    Example:
        >>> QKANConv3d(4, 6, (1, 3, 3), padding="same")(torch.zeros(2, 4, 3, 5, 6)).shape
        torch.Size([2, 6, 3, 5, 6])
    """

    dims = 3
