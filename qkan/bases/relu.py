"""The family of bumps that two ReLUs make."""

from typing import Unpack, final

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.bases.base import Basis, Factory
from qkan.bases.settings import nonnegative_integer

__all__ = ["ReLUBumps"]


@final
class ReLUBumps(Basis):
    """Bumps [relu(x - s_j) relu(e_j - x) 4 g²/(k + 1)²]², of height 1 at the start, for j = 0 .. g + k - 1.

    They start at s_j = (j - k)/g and end at e_j = s_j + (k + 1)/g (Qiu et al. 2024, ReLU-KAN, arXiv 2406.02075), for
    every input by itself where they are trained.

    Args:
        in_features: number of inputs.
        g: number of intervals of [0, 1].
        k: how many further ones a bump covers, from 0.
        train_ab: whether starts and ends are parameters, or buffers.
        map: of the inputs to [0, 1], see `qkan.bases.maps.Map`.
        **factory: ``device``, ``dtype``, ``generator``.

    Attributes:
        phase_low: starts s, [in, g + k]. phase_high: ends e, [in, g + k].

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a value out of range.

    Example:
        >>> ReLUBumps(1, g=2, k=0).features(torch.tensor([[0.25]]))
        tensor([[[1., 0.]]], grad_fn=<ViewBackward0>)
    """

    name = "relu"
    keywords = ("g", "k", "train_ab")
    per_input = ("phase_low", "phase_high")
    phase_low: Tensor
    phase_high: Tensor

    def __init__(
        self,
        in_features: int,
        g: int = 5,
        k: int = 3,
        train_ab: bool = True,
        map: str = "none",
        **factory: Unpack[Factory],
    ) -> None:
        intervals, more = positive_integer("g", g), nonnegative_integer("k", k)
        super().__init__(in_features, intervals + more, (0.0, 1.0), map, **factory)
        if not isinstance(train_ab, bool):
            raise TypeError(f"train_ab must be True or False; got {train_ab!r}")
        self.g, self.k, self.train_ab = intervals, more, train_ab
        for name in self.per_input:
            phases = torch.empty(
                self.in_features, self.functions, device=factory.get("device"), dtype=factory.get("dtype")
            )
            if train_ab:
                self.register_parameter(name, nn.Parameter(phases))
            else:
                self.register_buffer(name, phases)
        self._start(factory.get("generator"))

    @torch.no_grad()
    def _start(self, generator: torch.Generator | None) -> None:
        starts = torch.arange(-self.k, self.g, device=self.phase_low.device, dtype=self.phase_low.dtype) / self.g
        self.phase_low.copy_(starts)
        self.phase_high.copy_(starts + (self.k + 1) / self.g)

    def _columns(self, u: Tensor) -> Tensor:
        # Turned round in memory, small as they are: the result follows them.
        low, high = (t.mT.contiguous().unsqueeze(-1) for t in (self.phase_low, self.phase_high))  # [functions, in, 1]
        x = u.unsqueeze(-3)
        bump = torch.relu(x - low) * torch.relu(high - x) * (2 * self.g / (self.k + 1)) ** 2
        return bump * bump
