"""`QKANLinear`: a linear layer whose every edge is a quantum circuit."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkan import readout as readouts
from qkan._checks import check_input, indices_below, positive_integer
from qkan.layers import activations, parts
from qkan.layers.edges import Expansion, check_edge
from qkan.layers.options import OptionArguments, QKANOptions
from qkan.layers.start import register, reset
from qkan.precision import compute_dtype, in_autocast
from qkan.solvers.base import Weight

__all__ = ["QKANLinear"]


class QKANLinear(nn.Module):
    r"""Apply y_o = bias_o + Σ_i mask_oi (scale_oi readout(z_oi(x_i)) + base_weight_oi σ(x_i)), z_oi an edge circuit.

    Every edge is a single-qubit data re-uploading circuit (a DARUAN) and z its expectation <Z>; QKAN: arXiv 2509.14026.

    Args:
        in_features: number of inputs; any integer type.
        out_features: number of outputs; any integer type.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles, on the same device; the global one when None.
        **options: see `QKANOptions`.

    Attributes:
        theta: [out, in, angles], radians.
        encoding_weight: [out, in, uploads], [in, uploads], or None with fixed integers.
        encoding_bias: shaped like encoding_weight; [out, in, uploads] for an ansatz that always has biases; or None.
        scale: [out, in] or None. base_weight: [out, in] or None. bias: [out] or None.
        mask: [out, in], a buffer; 0 removes an edge.

    Raises:
        TypeError: for an unknown option or a width that is no integer.
        ValueError: for an option out of range.

    Shape:
        x [*batch, in_features] -> [*batch, out_features].

    Example:
        >>> layer = QKANLinear(4, 3)
        >>> layer(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 5, 3])
        >>> layer
        QKANLinear(in_features=4, out_features=3, reps=3, ansatz=pz, solver=fourier (auto), encoding=unit)
    """

    theta: Tensor
    encoding_weight: Tensor | None
    encoding_bias: Tensor | None
    scale: Tensor | None
    base_weight: Tensor | None
    bias: Tensor | None
    mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        super().__init__()
        self.in_features = positive_integer("in_features", in_features)
        self.out_features = positive_integer("out_features", out_features)
        self.options = QKANOptions.parse("QKANLinear", options)
        self.solver = self.options.choose_solver()
        self.base_activation = activations.build(self.options.base_activation)
        if self.base_activation is not None:
            self.base_activation.to(device=device, dtype=dtype)
        register(self, (self.out_features, self.in_features), self.in_features, device, dtype)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw θ anew; scale starts at 1, biases at 0, base weights uniform in ± 1/sqrt(in), the mask stays."""
        reset(self, (self.in_features, self.out_features), generator)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return y [*batch, out_features] for x [*batch, in_features].

        Args:
            x: [*batch, in_features].
            generator: draws the samples of a layer with shots; the global one when None. The PennyLane solver draws
                on its device.

        Raises:
            TypeError: if x is no floating-point tensor.
            ValueError: if its last dimension is not in_features.
        """
        check_input(x, self.in_features)
        dtype = torch.promote_types(x.dtype, self.theta.dtype)
        exact = compute_dtype(dtype)
        if self._sampled:
            y = (self.edges(x, generator) * self.gain(exact)).sum(-1)
        else:
            weight, bias = self.encoding(exact)
            readout = readouts.named(self.options.readout)
            given = (self.options.circuit, x.to(exact), self.theta.to(exact), weight, bias, self.gain(exact), readout)
            y = self.solver.layer(*given)
        if self.base_activation is not None and self.base_weight is not None:
            y = y + F.linear(self.base_activation(x.to(exact)), (self.mask * self.base_weight).to(exact))
        if self.bias is not None:
            y = y + self.bias
        return y if in_autocast(y) else y.to(dtype)

    def edges(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the readout of every edge [*batch, out, in], without scale, mask and base branch.

        Args:
            x: [*batch, in_features].
            generator: as in `forward`.
        """
        check_input(x, self.in_features)
        exact = compute_dtype(torch.promote_types(x.dtype, self.theta.dtype))
        weight, bias = self.encoding(exact)
        readout = readouts.named(self.options.readout)
        z = self.solver.edges(self.options.circuit, x.to(exact), self.theta.to(exact), weight, bias, readout)
        return readouts.sample(z, self.options.shots, generator) if self._sampled and self.options.shots else z

    def contributions(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return what every edge adds to its output, [*batch, out, in]: y is their sum over in, and the bias.

        Args:
            x: [*batch, in_features].
            generator: as in `forward`.
        """
        exact = compute_dtype(torch.promote_types(x.dtype, self.theta.dtype))
        total = self.edges(x, generator) * self.gain(exact)
        if self.base_activation is not None and self.base_weight is not None:
            total = total + self.base_activation(x.to(exact)).unsqueeze(-2) * (self.mask * self.base_weight).to(exact)
        return total

    def edge_function(self, output: int, input: int) -> Callable[[Tensor], Tensor]:
        """Return what one edge adds to its output, φ(x) = mask (scale readout(z(x)) + base_weight σ(x)).

        The function takes x of any shape, follows later changes of the parameters and carries their gradient. It is
        the exact expectation where `forward` would sample binomially.

        Args:
            output: o in 0..out_features - 1.
            input: i in 0..in_features - 1.

        Raises:
            TypeError: if one is no integer.
            ValueError: if one is out of range.

        Example:
            >>> layer = QKANLinear(3, 2, dtype=torch.float64)
            >>> x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
            >>> torch.allclose(layer.edge_function(1, 2)(x[:, 2]), layer.contributions(x)[:, 1, 2])
            True
        """
        return parts.edge_function(self, *check_edge(self, output, input))

    def expansion(self, x: Tensor) -> Expansion | None:
        """Return all edges at x [*batch, in] as linear functions of features, the base branch as one more feature.

        None for the amplitude readout and for trainable weights per edge, which have no features in common.
        """
        return parts.expansion(self, x)

    @torch.no_grad()
    def remove_edges(self, removed: Tensor) -> None:
        """Set the mask of these edges, a boolean [out, in], to 0."""
        self.mask.masked_fill_(removed.to(self.mask.device), 0)

    def subset(self, outputs: Sequence[int], inputs: Sequence[int]) -> "QKANLinear":
        """Return a new layer of these outputs and inputs, with copies of their parameters and of their mask.

        Args:
            outputs: numbers in 0..out_features - 1, in the order of the new layer.
            inputs: numbers in 0..in_features - 1.

        Raises:
            TypeError: for numbers that are no integers.
            ValueError: for one out of range, one twice, or none.

        Example:
            >>> QKANLinear(4, 3).subset([2, 0], [1, 3, 0]).mask.shape
            torch.Size([2, 3])
        """
        rows = indices_below("outputs", outputs, self.out_features)
        return parts.rebuild(self, parts.tensors(self, rows, indices_below("inputs", inputs, self.in_features)))

    @property
    def _sampled(self) -> bool:
        return self.options.shots is not None and not self.solver.samples

    def with_options(self, **changes: Any) -> "QKANLinear":
        """Return a view of this layer that shares its parameters; the options that change must need no others."""
        view = copy.copy(self)
        view.options = replace(self.options, **changes)
        view.solver = view.options.choose_solver()
        return view

    @property
    def param_size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer, as plain JSON values."""
        return {"in_features": self.in_features, "out_features": self.out_features, **self.options.to_json()}

    def extra_repr(self) -> str:
        """Return what `print` shows: widths, circuit, and the solver that was chosen."""
        options = self.options
        solver = f"{self.solver} (auto)" if options.solver == "auto" else str(self.solver)
        shown: dict[str, Any] = {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "reps": options.reps,
            "ansatz": options.circuit.name,
            "solver": solver,
            "encoding": options.encoding,
        }
        extra = {
            "readout": "expectation",
            "init": "scaled",
            "scale": False,
            "bias": False,
            "noise": None,
            "shots": None,
        }
        shown |= {name: getattr(options, name) for name, usual in extra.items() if getattr(options, name) != usual}
        return ", ".join(f"{name}={value}" for name, value in shown.items())

    def encoding(self, dtype: torch.dtype) -> tuple[Weight, Tensor | None]:
        """Return the encoding weights (integers, or a tensor) and biases in the given dtype, as solvers take them."""
        bias = None if self.encoding_bias is None else self.encoding_bias.to(dtype)
        if self.encoding_weight is not None:
            return self.encoding_weight.to(dtype), bias
        return self.options.start_weights, bias

    def gain(self, dtype: torch.dtype) -> Tensor:
        """Return mask · scale [out, in] in the given dtype."""
        return (self.mask if self.scale is None else self.mask * self.scale).to(dtype)
