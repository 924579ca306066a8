"""`write`: from a model to a page."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan._checks import positive_integer
from qkan.files import replace_atomically
from qkan.history import History
from qkan.layers.activation import QKANActivation
from qkan.plot.sources import Data, alive, given_scores, spreads
from qkan.report.blob import Blob
from qkan.report.checks import checked
from qkan.report.details import chosen
from qkan.report.drawing import drawing
from qkan.report.inputs import Seen, prepared, seen
from qkan.report.layers import Part, layer_of, other_modules
from qkan.report.page import page, plotly
from qkan.report.training import training

__all__ = ["Written", "write"]


class Written(NamedTuple):
    """What a page holds: its size in bytes, its edges that are left, and of how many of them it has the details."""

    size: int
    edges: int
    detailed: int


def write(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    data: Data | None = None,
    history: History | None = None,
    edges: int | None = None,
    samples: int = 1000,
    check: bool = True,
    title: str | None = None,
    notes: Sequence[str] = (),
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Written:
    """Write a page that shows a model: one HTML file that needs no network, atomically.

    It shows the network with its edges weighted by score (the standard deviation of what an edge adds to its output),
    the scores of all edges, and of every edge that is clicked the curve over the density of its input, the circuit,
    the angles, the spectrum and the formula; the layers, the training and a check against PennyLane. Drawn by Plotly.

    Args:
        model: any module with edge layers; it is not changed.
        path: of the page, by custom ``*.html``.
        data: inputs [samples, ...] of the model, or a pair of inputs and targets, which are not read. None draws inputs
            from a distribution that the page tells.
        history: what `qkan.fit` returned.
        edges: of how many edges per layer, the strongest, the page holds curve, angles and formula; None for as many
            as fit, 50 816 of a QKAN [784, 64, 10]. The scores of all edges are always there.
        samples: of the data at most, evenly over it.
        check: whether circuits run through PennyLane, if it is installed.
        title: of the page; None for the name of the model's class.
        notes: sentences at the top of the page, such as where the model comes from.
        input_names: one per input of the first edge layer; None for numbers.
        output_names: one per output of the last edge layer.

    Raises:
        ImportError: without Plotly.
        TypeError: if edges or samples is no integer, or data neither inputs nor a pair.
        ValueError: if the model has no edge layer, if data does not fit it, is not finite or is missing where inputs
            cannot be drawn, for a number below 1, or for names of another number.
        OSError: if the folder of the path does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> from qkan import QKAN
        >>> path = Path(tempfile.mkdtemp()) / "report.html"
        >>> found = write(QKAN([3, 2, 1]), path, data=torch.randn(100, 3), check=False)
        >>> found.edges, found.detailed, path.stat().st_size == found.size
        (8, 8, True)
    """
    target, limit = Path(path), None if edges is None else positive_integer("edges", edges)
    if not target.absolute().parent.is_dir() or target.is_dir():
        raise FileNotFoundError(f"{target} must be a file in a folder that exists: create the folder, or name another")
    plotly()  # it is missing now, or not at all
    own = model.circuits if isinstance(model, QKANActivation) else model
    views = seen(prepared(own), data, samples)
    names = _names(views, input_names, output_names)
    tables = given_scores(views.layers, None, lambda: spreads(views.layers))
    scores = {one.name: table for one, table in zip(views.layers, tables, strict=True)}
    blob = Blob()
    shown = _layers(own, views, tables, limit, blob) | {
        "title": type(model).__name__ if title is None else title,
        "notes": [str(note) for note in notes],
        "model": type(model).__name__,
        "inputs": views.text,
        "names": names,
        "training": training(history),
        "check": checked(own, scores) if check else {"rows": [], "note": "Not asked for."},
    }
    done = page(shown["title"], shown, blob.text())
    with replace_atomically(target) as file:
        file.write(done)
    counts = [(layer["summary"]["edges"], layer["details"]["count"]) for layer in shown["layers"]]
    return Written(len(done), sum(total for total, _ in counts), sum(held for _, held in counts))


def _layers(model: nn.Module, views: Seen, tables: list[Tensor], limit: int | None, blob: Blob) -> dict[str, Any]:
    """Return what the page tells of layers and network."""
    found = views.layers
    living = [alive(one) for one in found]
    tables = [torch.where(left, table, 0) for table, left in zip(tables, living, strict=True)]
    edges = chosen([one.layer for one in found], tables, living, limit)
    originals = [model.get_submodule(one.name) for one in found]
    parts = map(Part, found, originals, tables, living, edges)
    return {
        "layers": [layer_of(part, views.given, blob) for part in parts],
        "others": other_modules(model, [one.name for one in found]),
        "drawing": drawing(found, tables, living),
    }


def _names(views: Seen, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> dict[str, list[str] | None]:
    first, last = views.layers[0].layer.in_features, views.layers[-1].layer.out_features
    for argument, given, size in (("input_names", inputs, first), ("output_names", outputs, last)):
        if given is not None and len(given) != size:
            raise ValueError(f"{argument} must hold {size} names; got {len(given)}")
    named = {"inputs": inputs, "outputs": outputs}
    return {key: None if given is None else [str(name) for name in given] for key, given in named.items()}
