"""Spectra of edges: how much of every harmonic an edge holds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from qkan.ansatz import Ansatz
from qkan.layers.edges import EdgeLayer, check_edge, edge_layers
from qkan.layers.linear import QKANLinear
from qkan.lowering import LoweredLinear
from qkan.plot import sources, style
from qkan.solvers.base import Encoding
from qkan.solvers.fourier import coefficients

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Spectrum", "amplitudes", "spectrum"]


class Spectrum(NamedTuple):
    """The harmonics k >= 1 that the edges of a layer can hold, and how much of each they hold."""

    harmonics: tuple[int, ...]
    amplitudes: Tensor  # [out, in, harmonics]
    symbol: str  # what the edge is a Fourier series of


@torch.no_grad()
def amplitudes(layer: EdgeLayer) -> Spectrum:
    """Return sqrt(a_k² + b_k²) of every edge φ(u) = c_0 + Σ_k a_k cos ku + b_k sin ku + base branch.

    Scale and mask are in it. u is the input x, or arccos m(x). It does not tell the base branch, nor c_0.

    Raises:
        ValueError: for a layer whose edges are no Fourier series: trainable encoding weights, the amplitude readout, or
            another kind of layer; and for one whose encoding weights are all 0.

    Example:
        >>> found = amplitudes(QKANLinear(4, 3, ansatz="real"))  # ± sin(3x + const), whatever the angles
        >>> found.harmonics, bool((found.amplitudes - 1).abs().max() < 1e-6)
        ((3,), True)
    """
    ansatz, encoding, table = _series(layer)
    if isinstance(encoding, str):
        raise ValueError(
            f"encoding={encoding!r} has real frequencies, not harmonics: there is no spectrum in common; use integer "
            "encoding weights, or draw the edges themselves with qkan.plot.edges"
        )
    harmonics = ansatz.harmonics(encoding)
    if not harmonics:
        raise ValueError(f"encoding={encoding} holds no harmonics: every edge is constant")
    cos, sin = table[..., : 2 * len(harmonics)].chunk(2, dim=-1)
    return Spectrum(harmonics, torch.hypot(cos, sin), style.ARGUMENTS[ansatz.arccos_map])


def _series(layer: EdgeLayer) -> tuple[Ansatz, Encoding, Tensor]:
    """Return the circuit, its encoding and the coefficients of the features, [out, in, functions]."""
    if isinstance(layer, LoweredLinear):
        return layer.ansatz, layer.encoding, layer.coefficients
    if not isinstance(layer, QKANLinear):
        raise ValueError(
            f"{type(layer).__name__} has no spectrum: only the edges of QKANLinear and of its lowered form are Fourier "
            "series; draw the edges themselves with qkan.plot.edges"
        )
    options = layer.options
    if options.readout != "expectation":
        raise ValueError(
            f"readout={options.readout!r} is no finite Fourier series and has no spectrum; use readout='expectation', "
            "or draw the edges themselves with qkan.plot.edges"
        )
    if isinstance(options.weights, str):
        return options.circuit, options.weights, layer.theta
    theta = layer.theta.to(torch.promote_types(layer.theta.dtype, torch.float32))
    weight, bias = layer.encoding(theta.dtype)
    series = coefficients(options.circuit, theta, weight, bias)
    return options.circuit, options.weights, series.coefficients * layer.gain(theta.dtype).unsqueeze(-1)


def spectrum(model: nn.Module, edges: Sequence[tuple[int, int]] | None = None, *, layer: int | str = 0) -> "Figure":
    """Draw the amplitude sqrt(a_k² + b_k²) of every harmonic of edges (Schuld, Sweke, Meyer 2021).

    Chosen edges have a panel each. Without a choice, one panel sums up the layer's edges, and a heat map shows each of
    them, the strongest on top.

    Args:
        model: a model with edge layers, or one edge layer.
        edges: (output, input) of the edges to draw; None for all of the layer.
        layer: number or name of the layer.

    Raises:
        ImportError: matplotlib is missing.
        TypeError: for an edge whose numbers are none.
        ValueError: for a layer or an edge that is not there, or a layer that has no spectrum (see `amplitudes`).

    Example:
        >>> figure = spectrum(QKANLinear(4, 3, encoding="ternary"), [(0, 0), (2, 3)])
        >>> [axes.get_title() for axes in figure.axes]
        ['input 0 → output 0', 'input 3 → output 2']
    """
    chosen = sources.choose(list(edge_layers(model)), layer)
    one = list(edge_layers(model).values())[chosen]
    found = amplitudes(one)
    if edges is None:
        return _of_layer(found, chosen)
    pairs = [check_edge(one, output, input) for output, input in edges]
    if not pairs:
        raise ValueError("edges must hold at least one (output, input); None stands for all")
    return _of_edges(found, pairs)


def _of_edges(found: Spectrum, pairs: Sequence[tuple[int, int]]) -> "Figure":
    rows, columns = style.grid(len(pairs))
    figure = style.empty(max(3.6, 2.6 * columns), 2.0 * rows + 0.5)
    top = 1.1 * max(float(found.amplitudes[pair].max()) for pair in pairs)
    for position, (output, input) in enumerate(pairs):
        axes = figure.add_subplot(rows, columns, position + 1)
        heights = style.numbers(found.amplitudes[output, input])
        stem = axes.stem(found.harmonics, heights, basefmt=" ")
        stem.markerline.set(color=style.CURVE, markersize=4.5)
        stem.stemlines.set(color=style.CURVE, linewidth=1.6)
        style.tidy(axes, f"input {input} → output {output}")
        axes.set_ylim(0, top or 1)  # the same for all; an edge that was removed has none
        style.whole(axes)
        axes.grid(axis="y", alpha=0.25)
    figure.supxlabel(_harmonic(found), fontsize=style.TEXT)
    figure.supylabel("amplitude", fontsize=style.TEXT)
    return figure


def _of_layer(found: Spectrum, number: int) -> "Figure":
    table = style.numbers(found.amplitudes.flatten(0, 1))  # [edges, harmonics]
    living = table[(table > 0).any(1)]
    if not len(living):
        raise ValueError(f"layer {number} has no edges left with a harmonic; nothing to draw")
    ordered = living[np.argsort(np.linalg.norm(living, axis=1), kind="stable")]
    figure = style.empty(8.4, 3.8)
    summary, image = figure.subplots(1, 2)
    places = np.arange(len(found.harmonics))
    low, quarter, middle, three, high = np.quantile(living, (0.05, 0.25, 0.5, 0.75, 0.95), axis=0)
    summary.vlines(places, low, high, color=style.GREY, linewidth=1.2, label="5 % to 95 %")
    summary.bar(places, three - quarter, 0.55, bottom=quarter, color=style.COLOURS[5], label="middle half of the edges")
    summary.plot(places, middle, "_", color=style.INK, markersize=11, markeredgewidth=1.8, label="median")
    style.tidy(summary, f"layer {number}: {len(living)} edges", y=r"amplitude $\sqrt{a_k^2 + b_k^2}$")
    summary.set_ylim(bottom=0)
    summary.grid(axis="y", alpha=0.25)
    style.heat_map(image, ordered, "amplitude")
    style.tidy(image, "every edge, the strongest on top", y="edges, by strength")
    for axes in (summary, image):
        step = style.step(len(places))
        axes.set_xticks(places[::step], found.harmonics[::step])
        axes.set_xlabel(_harmonic(found), fontsize=style.TEXT)
    figure.legend(fontsize=style.SMALL, frameon=False, loc="outside lower left", ncols=3)
    return figure


def _harmonic(found: Spectrum) -> str:
    return "harmonic $k$" + ("" if found.symbol == "x" else f" of $u = {found.symbol}$")
