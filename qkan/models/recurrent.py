"""`QKANLSTM`, `QKANGRU` and their cells: torch's recurrent layers, whose linear maps are QKAN layers."""

import abc
from collections.abc import Callable
from typing import Any, Unpack, final

import torch
from torch import Tensor, nn

from qkan._checks import check_input, positive_integer
from qkan.layers.linear import QKANLinear
from qkan.layers.options import OptionArguments

__all__ = ["MakeMap", "QKANGRU", "QKANGRUCell", "QKANLSTM", "QKANLSTMCell"]

MakeMap = Callable[[int, int], nn.Module]
"""(inputs, outputs) -> a module from [*batch, inputs] to [*batch, outputs]."""

State = tuple[Tensor, ...]


class _Cell(nn.Module, abc.ABC):
    """Two maps to the gates, one of the input and one of the state; abstract. Documented with `QKANLSTMCell`."""

    gates: int
    states: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        make_map: MakeMap | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
        **options: Unpack[OptionArguments],
    ) -> None:
        super().__init__()
        self.input_size = positive_integer("input_size", input_size)
        self.hidden_size = positive_integer("hidden_size", hidden_size)
        if make_map is not None and options:
            raise TypeError(f"options are those of QKAN layers, which make_map replaces; got {', '.join(options)}")
        keywords: Any = {"base_activation": "identity", "bias": True} | dict(options)

        def circuits(inputs: int, outputs: int) -> nn.Module:
            return QKANLinear(inputs, outputs, device=device, dtype=dtype, generator=generator, **keywords)

        make = circuits if make_map is None else make_map
        self.input_map = make(self.input_size, self.gates * self.hidden_size)
        self.hidden_map = make(self.hidden_size, self.gates * self.hidden_size)

    @abc.abstractmethod
    def step(self, mapped: Tensor, state: State) -> State:
        """Return the next state for an input that is already mapped [batch, gates · hidden]; the first part is h."""

    def start(self, like: Tensor) -> State:
        """Return the state before the first input, zeros [*batch, hidden] for inputs [*batch, input]."""
        return tuple(like.new_zeros(*like.shape[:-1], self.hidden_size) for _ in range(self.states))

    def extra_repr(self) -> str:
        """Return the widths."""
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}"


@final
class QKANLSTMCell(_Cell):
    """One step of an LSTM (Hochreiter and Schmidhuber 1997), as `torch.nn.LSTMCell`, whose gates are QKAN layers.

    (i, f, g, o) = input_map(x) + hidden_map(h); c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c').

    Args:
        input_size: number of inputs.
        hidden_size: of h and of c.
        make_map: makes the two maps in the place of QKAN layers: ``nn.Linear`` gives torch's own cell, and
            ``functools.partial(HQKAN, latent=(4, 4))`` narrow circuits.
        device: where the parameters live.
        dtype: their dtype.
        generator: source of the initial angles; the global one when None.
        **options: of the QKAN layers, see `QKANOptions`. By default they have the identity as their base branch, and
            biases.

    Attributes:
        input_map, hidden_map: the maps, to gates in torch's order, [4 hidden].

    Raises:
        TypeError: for options beside make_map, an unknown option, or a size that is no integer.
        ValueError: for a size below 1, or an option out of range.

    Shape:
        x [*batch, input_size], (h, c) [*batch, hidden_size] each -> (h', c').

    Example:
        >>> h, c = QKANLSTMCell(3, 5)(torch.zeros(2, 3))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    gates, states = 4, 2

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return (h', c') for x and (h, c); zeros when None."""
        check_input(x, self.input_size)
        h, c = self.step(self.input_map(x), self.start(x) if hx is None else hx)
        return h, c

    def step(self, mapped: Tensor, state: State) -> State:
        """Return (h', c') for an input that is already mapped."""
        h, c = state
        i, f, g, o = (mapped + self.hidden_map(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


@final
class QKANGRUCell(_Cell):
    """One step of a GRU (Cho et al. 2014), as `torch.nn.GRUCell`, whose gates are QKAN layers; all as `QKANLSTMCell`.

    (r, z, n) = input_map(x), (r_h, z_h, n_h) = hidden_map(h); h' = (1 - u) tanh(n + σ(r + r_h) n_h) + u h with
    u = σ(z + z_h).

    Shape:
        x [*batch, input_size], h [*batch, hidden_size] -> h'.

    Example:
        >>> QKANGRUCell(3, 5)(torch.zeros(2, 3)).shape
        torch.Size([2, 5])
    """

    gates, states = 3, 1

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return h' for x and h; zeros when None."""
        check_input(x, self.input_size)
        (h,) = self.step(self.input_map(x), self.start(x) if hx is None else (hx,))
        return h

    def step(self, mapped: Tensor, state: State) -> State:
        """Return (h',) for an input that is already mapped."""
        (h,) = state
        r, z, n = mapped.chunk(3, -1)
        r_h, z_h, n_h = self.hidden_map(h).chunk(3, -1)
        update = (z + z_h).sigmoid()
        return ((1 - update) * (n + (r + r_h).sigmoid() * n_h).tanh() + update * h,)


class _Sequence(nn.Module):
    """Cells over sequences, in layers and directions; abstract. Documented with `QKANLSTM`."""

    cell: type[_Cell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__()
        self.num_layers, self.directions = positive_integer("num_layers", num_layers), 2 if bidirectional else 1
        self.batch_first, self.dropout = batch_first, nn.Dropout(dropout)
        sizes = [input_size] + [self.directions * hidden_size] * (num_layers - 1)
        cells = [self.cell(size, hidden_size, **keywords) for size in sizes for _ in range(self.directions)]
        self.cells = nn.ModuleList(cells)
        self.input_size, self.hidden_size = cells[0].input_size, cells[0].hidden_size

    def _run(self, x: Tensor, given: State | None) -> tuple[Tensor, State]:
        """Return the outputs and the last states, each [layers · directions, batch, hidden], of sequences."""
        check_input(x, self.input_size)
        if x.dim() not in (2, 3):
            raise ValueError(
                f"x must be a sequence [length, {self.input_size}] or a batch of them; got {tuple(x.shape)}"
            )
        x, alone = (x.unsqueeze(1), True) if x.dim() == 2 else (x, False)
        x = x.transpose(0, 1) if self.batch_first and not alone else x  # [length, batch, input]
        if given is not None and alone:
            given = tuple(part.unsqueeze(1) for part in given)
        last: list[State] = []
        for layer in range(self.num_layers):
            x = self.dropout(x) if layer else x
            ways = []
            for way in range(self.directions):
                at = layer * self.directions + way
                state = None if given is None else tuple(part[at] for part in given)
                outputs, state = self._one(self.cells[at], x, state, backwards=way == 1)
                ways.append(outputs)
                last.append(state)
            x = torch.cat(ways, -1)
        states = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
        if alone:
            return x.squeeze(1), tuple(part.squeeze(1) for part in states)
        return x.transpose(0, 1) if self.batch_first else x, states

    def _one(self, cell: nn.Module, x: Tensor, state: State | None, backwards: bool) -> tuple[Tensor, State]:
        if not isinstance(cell, _Cell):
            raise TypeError(f"cells must be recurrent cells; got {type(cell).__name__}")
        state = cell.start(x[0]) if state is None else state
        # The inputs of all times are known: one call for all of them.
        mapped, outputs = cell.input_map(x).unbind(0), []
        for row in reversed(mapped) if backwards else mapped:
            state = cell.step(row, state)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs), state

    def extra_repr(self) -> str:
        """Return widths, layers and directions."""
        shown = f"input_size={self.input_size}, hidden_size={self.hidden_size}, num_layers={self.num_layers}"
        return f"{shown}, batch_first={self.batch_first}, bidirectional={self.directions == 2}"


@final
class QKANLSTM(_Sequence):
    """An LSTM over sequences, called as `torch.nn.LSTM`, whose gates are QKAN layers.

    Args:
        input_size: number of inputs.
        hidden_size: of h and of c.
        num_layers: cells on top of one another.
        batch_first: whether sequences are [batch, length, input_size].
        dropout: probability of an output to be 0 in training on its way to the next layer.
        bidirectional: whether a second cell of each layer reads backwards; its output is behind the other's.
        **keywords: of the cells, see `QKANLSTMCell`.

    Attributes:
        cells: layer by layer, forwards and backwards.

    Raises:
        TypeError: for an unknown option, or a size that is no integer.
        ValueError: for a size below 1, or an option out of range.

    Shape:
        x [length, batch, input_size], [batch, length, input_size] with batch_first, or [length, input_size], and
        (h, c) [num_layers · directions, batch, hidden_size] -> outputs like x with directions · hidden_size, (h', c').

    Example:
        >>> outputs, (h, c) = QKANLSTM(3, 5, num_layers=2, batch_first=True)(torch.zeros(4, 7, 3))
        >>> outputs.shape, h.shape
        (torch.Size([4, 7, 5]), torch.Size([2, 4, 5]))
    """

    cell = QKANLSTMCell

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs and (h', c') for sequences and (h, c); zeros when None."""
        outputs, (h, c) = self._run(x, hx)
        return outputs, (h, c)


@final
class QKANGRU(_Sequence):
    """A GRU over sequences, called as `torch.nn.GRU`, whose gates are QKAN layers; all as in `QKANLSTM`.

    Example:
        >>> outputs, h = QKANGRU(3, 5, bidirectional=True)(torch.zeros(7, 4, 3))
        >>> outputs.shape, h.shape
        (torch.Size([7, 4, 10]), torch.Size([2, 4, 5]))
    """

    cell = QKANGRUCell

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs and h' for sequences and h; zeros when None."""
        outputs, (h,) = self._run(x, None if hx is None else (hx,))
        return outputs, h
