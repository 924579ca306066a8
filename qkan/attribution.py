"""Which edges and nodes matter: scores over data, and penalties that make edges vanish, all with a gradient.

The score of an edge is the standard deviation of what it adds to its output. Where the edges of a layer are linear in
shared features with coefficients c, it is sqrt(cᵀ C c), C the covariance of the features of its input: [batch, out, in]
never exists. Penalties: Liu et al. 2024 (KAN, arXiv 2404.19756), equations 2.17 to 2.20, with this score as norm.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qkan.layers.edges import EdgeLayer, Expansion
from qkan.layers.linear import QKANLinear
from qkan.layers.recording import Call, expanded, layer_inputs, variance
from qkan.readout import safe_sqrt

__all__ = ["Attribution", "Sparsity", "attribute", "edge_scores", "layer_scores", "spread", "uniform_scores"]

# Elements of [samples, out, in] at once, for layers without shared features.
_BLOCK = 2**20


def layer_scores(layer: EdgeLayer, x: Tensor) -> Tensor:
    """Return the standard deviation of what every edge of a layer adds, [out, in], over its inputs x [*batch, in].

    It has a gradient, in x and in the parameters; 0 is taken where an edge is constant.

    Raises:
        ValueError: if x holds no samples.

    Example:
        >>> x = torch.randn(100, 4, dtype=torch.float64)
        >>> layer = QKANLinear(4, 3, dtype=torch.float64)
        >>> direct = layer.contributions(x).std(0, correction=0)
        >>> torch.allclose(layer_scores(layer, x), direct)
        True
    """
    if not x.numel():
        raise ValueError(f"x must hold at least one sample; got {tuple(x.shape)}")
    expansion = layer.expansion(x)
    return _root(_variance(layer, x.flatten(0, -2)) if expansion is None else _moments(expansion))


def _root(variance: Tensor) -> Tensor:
    return safe_sqrt(variance.clamp(min=0))  # rounding can leave less than 0


def _moments(expansion: Expansion) -> Tensor:
    """Return the variances [out, in] from the covariances of the features."""
    rows = expansion.columns.flatten(0, -3).permute(1, 2, 0)  # [in, functions, samples]
    centred = rows - rows.mean(-1, keepdim=True)
    covariance = centred @ centred.mT / rows.shape[-1]  # [in, functions, functions]
    table = expansion.coefficients.transpose(0, 1)  # [in, out, functions]
    return (table @ covariance * table).sum(-1).mT


def _variance(layer: EdgeLayer, x: Tensor) -> Tensor:
    """Return the variances [out, in] over x [samples, in] from the edges themselves, block by block."""
    blocks = torch.split(x, max(1, _BLOCK // (layer.out_features * layer.in_features)))
    if len(blocks) == 1:  # more blocks would keep [samples, out, in]
        return variance(layer.contributions(x))
    with torch.no_grad():
        start = layer.contributions(x[:1])  # about it, so that squares of edges that hardly move do not cancel

    def sums(block: Tensor) -> Tensor:
        moved = layer.contributions(block) - start
        return torch.stack([moved.sum(0), (moved * moved).sum(0)])

    run = _checkpointed(sums) if torch.is_grad_enabled() else sums
    moments = _total(run(block) for block in blocks) / len(x)  # [2, out, in]
    return moments[1] - moments[0].square()


def _checkpointed(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: checkpoint(function, x, use_reentrant=False)


def _total(parts: Iterable[Tensor]) -> Tensor:
    total, *others = parts
    for part in others:
        total = total + part
    return total


def uniform_scores(layer: QKANLinear) -> Tensor:
    """Return the standard deviation of every edge, [out, in], for a u that is uniform over a full turn, without data.

    Parseval: Var z = Σ_k (a_k² + b_k²) / 2, times the square of the gain. u is x, or arccos m(x).

    Raises:
        ValueError: where there is no such closed form: trainable encoding weights, an amplitude readout, a base branch.

    Example:
        >>> layer = QKANLinear(4, 3, ansatz="real")  # ± sin(R x + const) for all angles
        >>> bool((uniform_scores(layer) - 0.5**0.5).abs().max() < 1e-6)
        True
    """
    options = layer.options
    held = {
        f"encoding={options.encoding!r}": options.trainable_encoding,
        f"readout={options.readout!r}": options.readout != "expectation",
        "a base branch": layer.base_weight is not None,
    }
    reason = next((name for name, met in held.items() if met), None)
    expansion = None if reason else layer.expansion(layer.theta.new_zeros(1, layer.in_features))
    if expansion is None:
        raise ValueError(
            "a uniform input has closed-form scores only with integer encoding weights, the expectation and no base "
            f"branch; got {reason}; use layer_scores(layer, x) with data"
        )
    return safe_sqrt(expansion.coefficients.square().sum(-1) / 2)


def edge_scores(model: nn.Module, data: Tensor | tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return `layer_scores` of every edge layer of a model, by name, over what enters it for the given data.

    Args:
        model: any module with edge layers; it runs once, in the mode that it has.
        data: inputs [samples, ...], or a pair of inputs and targets, which are not read.

    Raises:
        ValueError: if the model has no edge layer.

    Example:
        >>> from qkan import QKAN
        >>> {name: tuple(s.shape) for name, s in edge_scores(QKAN([3, 2, 1]), torch.randn(50, 3)).items()}
        {'layers.0': (2, 3), 'layers.1': (1, 2)}
    """
    seen = layer_inputs(model, inputs_of(data))
    return {name: layer_scores(_layer(model, name), x) for name, x in seen.items()}


def inputs_of(data: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Return the inputs of a pair (inputs, targets), or the inputs themselves.

    Raises:
        TypeError: for anything else.
    """
    x = data[0] if isinstance(data, tuple | list) and data else data
    if not isinstance(x, Tensor):
        raise TypeError(f"data must be inputs [samples, ...], or a pair (inputs, targets); got {type(data).__name__}")
    return x


class Attribution(NamedTuple):
    """Relevance of the edges and nodes of layers one after the other; each output of the last layer has relevance 1.

    ``edges[l]`` is [out, in] of layer l; ``nodes[l]`` is [in] of layer l, and the last one [out] of the last layer.
    """

    edges: tuple[Tensor, ...]
    nodes: tuple[Tensor, ...]


def attribute(layers: Iterable[EdgeLayer], data: Tensor | tuple[Tensor, Tensor]) -> Attribution:
    """Return the relevance of edges and nodes, handed back from the outputs to the inputs.

    The relevance of a node o is divided among its edges by their standard deviation relative to that of the node,
    edge_oi = node_o std(φ_oi) / std(y_o); a node has what its outgoing edges have, node_i = Σ_o edge_oi (the rule of
    pykan's ``attribute``). Edges into a node that is constant have none. A node can have more than its edges' targets,
    where edges cancel.

    Args:
        layers: edge layers one after the other, such as ``model.layers``.
        data: inputs [samples, in] of the first one, or a pair of inputs and targets, which are not read.

    Example:
        >>> from qkan import QKAN
        >>> found = attribute(QKAN([3, 2, 1]).layers, torch.randn(50, 3))
        >>> [tuple(n.shape) for n in found.nodes], [tuple(e.shape) for e in found.edges]
        ([(3,), (2,), (1,)], [(2, 3), (1, 2)])
    """
    x, scores, spreads = inputs_of(data), [], []
    for layer in layers:
        scores.append(layer_scores(layer, x))
        x = layer(x)  # type: ignore[operator]  # an edge layer is a module
        spreads.append(spread(x))
    nodes = [torch.ones_like(spreads[-1])]
    edges: list[Tensor] = []
    for score, deviation in zip(reversed(scores), reversed(spreads), strict=True):
        moving = deviation > 0
        share = torch.where(moving, nodes[0] / torch.where(moving, deviation, 1), 0)
        edges.insert(0, score * share.unsqueeze(-1))
        nodes.insert(0, edges[0].sum(0))
    return Attribution(tuple(edges), tuple(nodes))


def spread(y: Tensor) -> Tensor:
    """Return the standard deviation [features] of y [*batch, features], with gradient 0 where y is constant."""
    return safe_sqrt(y.flatten(0, -2).var(0, correction=0))


@dataclass(frozen=True)
class Sparsity:
    """A penalty that makes edges vanish: weight · Σ_layers (l1 Σ s + entropy S), s the scores of the edges.

    S = -Σ p ln p with p = s / Σ s is the entropy of a layer: at equal L1 norm it is small when few edges do the work.
    `fit(sparsity=...)` adds it to the loss.

    Args:
        weight: of the whole penalty, at least 0.
        l1: of the L1 norm, at least 0.
        entropy: of the entropy, at least 0.

    Raises:
        ValueError: for a number that is negative or not finite.

    Example:
        >>> from qkan import QKAN
        >>> model, x = QKAN([3, 1]), torch.randn(50, 3)
        >>> sparsity = Sparsity(weight=0.01)
        >>> with sparsity.recording(model) as penalty:
        ...     loss = model(x).square().mean() + penalty()
        >>> loss.backward(), bool(model.layers[0].theta.grad.abs().sum() > 0)
        (None, True)
    """

    weight: float = 1e-3
    l1: float = 1.0
    entropy: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"{field.name} must be a finite number of at least 0; got {value!r}")

    def __call__(self, scores: Mapping[str, Tensor]) -> Tensor:
        """Return the penalty of the scores [out, in] of every layer, as `edge_scores` returns them."""
        return self.weight * _total(self._layer(score) for score in scores.values())

    def _layer(self, score: Tensor) -> Tensor:
        norm = score.sum()
        return self.l1 * norm + self.entropy * _entropy(score, norm)

    @contextmanager
    def recording(self, model: nn.Module) -> Iterator[Callable[[], Tensor]]:
        """Yield a function that returns the penalty over what entered the layers while the block runs.

        So the model runs once for the loss and for the penalty; layers that are a product of features hand these over.
        A compiled model runs without compilation. The function raises a RuntimeError if no layer ran.
        """
        with expanded(model) as calls:
            yield lambda: self({name: _of_calls(_layer(model, name), found) for name, found in _ran(calls).items()})


def _ran(calls: Mapping[str, list[Call]]) -> dict[str, list[Call]]:
    found = {name: made for name, made in calls.items() if made}
    if not found:
        raise RuntimeError(
            "the penalty needs what enters the edge layers, and none of them was called inside the block: run the "
            "model there, and the model that was given"
        )
    return found


def _of_calls(layer: EdgeLayer, calls: list[Call]) -> Tensor:
    """Return the scores over all calls of a layer together."""
    first, *others = calls
    if not others and first.expansion is not None:
        return _root(_moments(first.expansion))
    if not others and first.variance is not None:
        return _root(first.variance)
    return layer_scores(layer, torch.cat([call.x.flatten(0, -2) for call in calls]))


def _entropy(score: Tensor, norm: Tensor) -> Tensor:
    """Return -Σ p ln p, with gradient 0 where a score is 0: it comes from an edge that does not move."""
    alive = score > 0
    p = torch.where(alive, score, 1) / torch.where(norm > 0, norm, 1)
    return -torch.where(alive, p * p.log(), 0).sum()


def _layer(model: nn.Module, name: str) -> EdgeLayer:
    layer = model.get_submodule(name)
    if not isinstance(layer, EdgeLayer):
        raise TypeError(f"{name} must be an edge layer; got {type(layer).__name__}")
    return layer
