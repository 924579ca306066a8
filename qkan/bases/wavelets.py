"""The families of wavelets: one wave, with a scale and a shift of its own on every edge."""

import abc
import math
from typing import ClassVar, Unpack, final

import torch
from torch import Tensor, nn

from qkan.bases.base import EdgewiseBasis, Factory
from qkan.bases.settings import check_compat

__all__ = ["DoG", "MexicanHat", "Meyer", "Morlet", "Shannon", "Wavelet"]

# exp(-40²/2) is 0 in double precision: beyond it nothing changes, and no square overflows.
_FAR = 40.0


class Wavelet(EdgewiseBasis):
    """ψ((x_i - translation_oi)/scale_oi) for every edge (Bozorgasl and Chen 2024, Wav-KAN, arXiv 2405.12832).

    Scales start at 1, translations at 0. No scale is kept from 0, where the function is not defined.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        map: of the inputs to the domain, see `qkan.bases.maps.Map`.
        compat: None, or ``"torch-conv-kan"`` for that package's function, where it is another.
        **factory: ``device``, ``dtype``, ``generator``.

    Attributes:
        scale: [out, in], a parameter. translation: [out, in], a parameter.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.
    """

    keywords = ("compat",)
    per_edge = ("scale", "translation")
    reach: ClassVar[float] = 4.0
    scale: Tensor
    translation: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        map: str = "none",
        compat: str | None = None,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(in_features, out_features, (-self.reach, self.reach), map, **factory)
        self.compat = check_compat(compat)
        for name in self.per_edge:
            shape = (self.out_features, self.in_features)
            values = torch.empty(shape, device=factory.get("device"), dtype=factory.get("dtype"))
            self.register_parameter(name, nn.Parameter(values))
        self._start(factory.get("generator"))

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        self.scale.fill_(1)
        self.translation.zero_()

    def _edges(self, u: Tensor) -> Tensor:
        return self._wave((u.unsqueeze(-2) - self.translation) / self.scale)

    @abc.abstractmethod
    def _wave(self, z: Tensor) -> Tensor:
        """Return ψ(z), [*batch, out, in]."""


@final
class MexicanHat(Wavelet):
    """ψ(z) = 2/(√3 π^(1/4)) (1 - z²) exp(-z²/2), the negative second derivative of a Gaussian; see `Wavelet`.

    With ``compat="torch-conv-kan"`` the sign is the opposite.

    Example:
        >>> MexicanHat(1, 1).edges(torch.tensor([[0.0], [1.0]])).flatten().detach()
        tensor([0.8673, 0.0000])
    """

    name = "mexican_hat"

    def _wave(self, z: Tensor) -> Tensor:
        squared = z.clamp(-_FAR, _FAR).square()
        height = 2 / (math.sqrt(3) * math.pi**0.25)
        value: Tensor = (-height if self.compat else height) * (1 - squared) * torch.exp(-squared / 2)
        return value


@final
class Morlet(Wavelet):
    """ψ(z) = cos(5z) exp(-z²/2); see `Wavelet`. ``compat`` changes nothing.

    Example:
        >>> Morlet(1, 1).edges(torch.tensor([[0.0], [1.0]])).flatten().detach()
        tensor([1.0000, 0.1720])
    """

    name = "morlet"

    def _wave(self, z: Tensor) -> Tensor:
        near = z.clamp(-_FAR, _FAR)
        return torch.cos(5 * near) * torch.exp(-near.square() / 2)


@final
class DoG(Wavelet):
    """ψ(z) = -z exp(-z²/2), the derivative of a Gaussian; see `Wavelet`. ``compat`` changes nothing.

    Example:
        >>> DoG(1, 1).edges(torch.tensor([[2.0], [-1.0]])).flatten().detach()
        tensor([-0.2707,  0.6065])
    """

    name = "dog"

    def _wave(self, z: Tensor) -> Tensor:
        near = z.clamp(-_FAR, _FAR)
        return -near * torch.exp(-near.square() / 2)


@final
class Meyer(Wavelet):
    """ψ(z) = sin(π|z|) cos(π/2 ν(2|z| - 1)), with ν(t) = t⁴ (35 - 84t + 70t² - 20t³) on [0, 1]; see `Wavelet`.

    ν is 0 below and 1 above: ψ is 0 from |z| = 1. This is the function of Wav-KAN, with the ν that the spectrum of
    Meyer's wavelet has. At z = 0 it has a kink, and the gradient 0. ``compat`` changes nothing.

    Example:
        >>> Meyer(1, 1).edges(torch.tensor([[0.0], [-0.5], [1.5]])).flatten().detach().abs().round(decimals=4)
        tensor([0., 1., 0.])
    """

    name = "meyer"
    reach = 1.0

    def _wave(self, z: Tensor) -> Tensor:
        r = z.abs().clamp(max=1)
        t = (2 * r - 1).clamp(min=0)
        rise: Tensor = t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)
        return torch.sin(math.pi * r) * torch.cos(math.pi / 2 * rise)


@final
class Shannon(Wavelet):
    """ψ(z) = sin(z)/z (0.54 + 0.46 cos(z/3)) for |z| < 3π, and 0 elsewhere; see `Wavelet`.

    The Hamming window ends with the third zero of the sine on either side. With ``compat="torch-conv-kan"`` it is
    taken over the numbers of the inputs instead: sin(z)/z, times a constant per input, kept in the buffer ``window``.

    Attributes:
        window: [in], a buffer; None without compat.

    Example:
        >>> Shannon(1, 1).edges(torch.tensor([[0.0], [1.0]])).flatten().detach()
        tensor([1.0000, 0.8202])
    """

    name = "shannon"
    per_input = ("window",)
    reach = 3 * math.pi
    window: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        map: str = "none",
        compat: str | None = None,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(in_features, out_features, map, compat, **factory)
        window = torch.hamming_window(
            self.in_features, periodic=False, device=self.scale.device, dtype=self.scale.dtype
        )
        self.register_buffer("window", window if self.compat else None)

    def _wave(self, z: Tensor) -> Tensor:
        if self.window is not None:
            return torch.sinc(z / math.pi) * self.window
        turns = (z / math.pi).clamp(-3, 3)
        return torch.sinc(turns) * (0.54 + 0.46 * torch.cos(math.pi / 3 * turns))
