"""Draw the picture of the README: a network trained on samples of exp(sin(πx) + y²), before and after pruning.

python docs/picture.py        (some seconds; needs the extra `plot`)
"""

from functools import partial
from io import BytesIO
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from qkan import QKAN, fit
from qkan.attribution import Sparsity
from qkan.data import create_dataset, named

PICTURE = Path(__file__).parent / "network.png"


def picture() -> Figure:
    """Train with a penalty on edges, draw, prune, train on, and draw again."""
    seed = torch.Generator().manual_seed(0)
    train, test = create_dataset(named("exp-sine-square"), generator=seed, dtype=torch.float64)
    model = QKAN([2, 5, 1], reps=4, scale=True, bias=True, generator=seed, dtype=torch.float64)
    lbfgs = partial(torch.optim.LBFGS, max_iter=20, line_search_fn="strong_wolfe")
    settings = {"optimizer": lbfgs, "loss": torch.nn.functional.mse_loss, "validation": test, "progress": False}
    fit(model, train, epochs=10, sparsity=Sparsity(weight=1e-2), **settings)
    small = model.prune(train)
    history = fit(small, train, epochs=15, **settings)
    names = {"input_names": ["x", "y"], "output_names": ["f"]}
    found = small.plot(train, title=f"pruned: MSE {history.last['test_loss']:.0e}", **names)
    return side_by_side(model.plot(train, title="trained with a penalty on edges", **names), found)


def side_by_side(*drawn: Figure) -> Figure:
    """Return one figure of the pictures of several, all of one height."""
    images = [plt.imread(png(figure)) for figure in drawn]
    widths = [image.shape[1] / image.shape[0] for image in images]
    figure, axes = plt.subplots(1, len(images), figsize=(4 * sum(widths), 4), width_ratios=widths, layout="constrained")
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image)
        axis.axis("off")
    return figure


def png(figure: Figure) -> BytesIO:
    """Return a figure as the content of a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=200)
    content.seek(0)
    return content


def main() -> None:
    """Write the picture."""
    PICTURE.write_bytes(png(picture()).getvalue())


if __name__ == "__main__":
    main()
