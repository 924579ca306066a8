"""Draw the pictures of the README: a network trained on samples of exp(sin(πx) + y²), before and after pruning, and
its report in a browser.

python docs/picture.py        (some seconds; needs the extras `plot` and `report`, and Chromium)
"""

import subprocess
import tempfile
from functools import partial
from io import BytesIO
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from qkan import QKAN, fit
from qkan.attribution import Sparsity
from qkan.data import create_dataset, named
from qkan.report import write

PICTURES = Path(__file__).parent
SIZE = "1200,760"  # of the window of the browser, in pixels


def draw() -> None:
    """Train with a penalty on edges, prune, train on; draw the network before and after, and its report before."""
    seed = torch.Generator().manual_seed(0)
    train, test = create_dataset(named("exp-sine-square"), generator=seed, dtype=torch.float64)
    model = QKAN([2, 5, 1], reps=4, scale=True, bias=True, generator=seed, dtype=torch.float64)
    lbfgs = partial(torch.optim.LBFGS, max_iter=20, line_search_fn="strong_wolfe")
    settings = {"optimizer": lbfgs, "loss": torch.nn.functional.mse_loss, "validation": test, "progress": False}
    before = fit(model, train, epochs=10, sparsity=Sparsity(weight=1e-2), **settings)
    small = model.prune(train)
    after = fit(small, train, epochs=15, **settings)
    names = {"input_names": ["x", "y"], "output_names": ["f"]}
    drawn = model.plot(train, title="trained with a penalty on edges", **names)
    found = small.plot(train, title=f"pruned: MSE {after.last['test_loss']:.0e}", **names)
    (PICTURES / "network.png").write_bytes(png(side_by_side(drawn, found)).getvalue())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        write(model, page, data=train, history=before, title="exp(sin(πx) + y²)", **names)
        photograph(page, PICTURES / "report.png")


def photograph(page: Path, picture: Path) -> None:
    """Take a picture of a page in Chromium."""
    options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=20000"]
    words = [*options, f"--window-size={SIZE}", f"--screenshot={picture}", page.as_uri()]
    subprocess.run(["chromium", *words], check=True, capture_output=True)


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


if __name__ == "__main__":
    draw()
