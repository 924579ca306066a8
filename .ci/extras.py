"""Install the extras of a wheel one after the other into the environment that runs this, and use what each is for.

    python .ci/extras.py WHEEL

Before an extra is installed, what needs it must say which pip line brings it.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

import qkan


def symbolic() -> None:
    """Write a network as a formula."""
    from qkan.symbolic import formula

    print(formula(qkan.QKAN([1, 1], reps=1)))


def plot() -> None:
    """Draw a network."""
    qkan.QKAN([2, 1]).plot().savefig(Path(tempfile.mkdtemp()) / "network.png")


def checkpoint() -> None:
    """Save a model and load it."""
    path = Path(tempfile.mkdtemp()) / "model.safetensors"
    model, x = qkan.HQKAN(4, 3), torch.ones(2, 4)
    qkan.save(model, path)
    if not torch.equal(qkan.load(path)(x), model(x)):
        raise SystemExit("a loaded model has other outputs than the saved one")


def data() -> None:
    """Read the digits and compute a special function."""
    from qkan.data import create_dataset, load_images, named

    images, _, _ = load_images("digits")
    print(len(images.labels), create_dataset(named("jv"))[0][0].shape)


def vision() -> None:
    """Ask for data in a folder that holds none: torchvision is what looks."""
    from qkan.data import load_images

    try:
        load_images("cifar100", tempfile.mkdtemp())
    except FileNotFoundError as error:
        print(error)
    else:
        raise SystemExit("an empty folder holds CIFAR-100")


def pennylane() -> None:
    """Check circuits."""
    qkan_command("check", "3,2", "--samples", "5")


def onnx() -> None:
    """Export a lowered network to ONNX."""
    lowered = qkan.lower(qkan.QKAN([3, 2]).eval())
    torch.onnx.export(lowered, (torch.zeros(1, 3),), Path(tempfile.mkdtemp()) / "model.onnx", dynamo=True)


def report() -> None:
    """Write the page of a model."""
    from qkan.report import write

    print(write(qkan.QKAN([2, 1]), Path(tempfile.mkdtemp()) / "report.html", check=False))


JOB = """
out = {out}
[data]
source = {source}
path = {path}
image_size = 32
samples = 8
classes = 2
[model]
name = "hqkan-44"
[train]
epochs = 1
batch_size = 4
[track]
{track}
"""


def job(track: str = "", source: str = "generated", path: str | None = None) -> Path:
    """Write the configuration of a job of a moment; return its file."""
    folder = Path(tempfile.mkdtemp())
    words = {"out": json.dumps(str(folder / "run")), "source": json.dumps(source), "track": track}
    text = JOB if path else JOB.replace("path = {path}\n", "")
    (folder / "job.toml").write_text(text.format(**words, path=json.dumps(path)))
    return folder / "job.toml"


def qkan_command(*words: str) -> None:
    """Run the command; raise what it says as an ImportError where it fails."""
    done = subprocess.run([sys.executable, "-m", "qkan", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImportError(done.stderr.strip().splitlines()[-1])


def train() -> None:
    """Run a job."""
    qkan_command("train", str(job()))


def tensorboard() -> None:
    """Run a job that TensorBoard follows."""
    qkan_command("train", str(job("tensorboard = true")))


def wandb() -> None:
    """Run a job that Weights & Biases follows without a network."""
    qkan_command("train", str(job('wandb = "offline"')))


def sweep() -> None:
    """Run a study of one trial."""
    config = job()
    told = f"config = {json.dumps(str(config))}\nout = {json.dumps(str(config.parent / 'sweep'))}\ntrials = 1\n"
    told += 'metric = "top1"\n[[parameters]]\nkey = "optimizer.lr"\nlow = 1e-4\nhigh = 1e-2\n'
    (config.parent / "sweep.toml").write_text(told)
    qkan_command("sweep", str(config.parent / "sweep.toml"))


def datasets() -> None:
    """Run a job on a data set on disk."""
    path = Path(tempfile.mkdtemp()) / "set"
    if find_spec("datasets"):
        import numpy as np
        from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
        from PIL import Image as Pillow

        columns = {
            "image": [Pillow.fromarray(np.full((32, 32, 3), 9 * n, np.uint8)) for n in range(8)],
            "label": [0, 1] * 4,
        }
        features = Features({"image": Image(), "label": ClassLabel(names=["a", "b"])})
        part = Dataset.from_dict(columns, features=features)
        DatasetDict({"train": part, "test": part}).save_to_disk(path)
    else:
        path.mkdir()
    qkan_command("train", str(job(source="datasets", path=str(path))))


# extra -> a module that it brings, and what it is for; in an order in which none brings the module of a later one
EXTRAS: dict[str, tuple[str, Callable[[], None]]] = {
    "plot": ("matplotlib", plot),
    "checkpoint": ("safetensors", checkpoint),
    "onnx": ("onnx", onnx),
    "data": ("sklearn", data),
    "pennylane": ("pennylane", pennylane),
    "vision": ("torchvision", vision),
    "symbolic": ("sympy", symbolic),
    "report": ("plotly", report),
    "train": ("accelerate", train),
    "sweep": ("optuna", sweep),
    "tensorboard": ("tensorboard", tensorboard),
    "wandb": ("wandb", wandb),
    "datasets": ("datasets", datasets),
}
SILENT = {"onnx"}  # torch exports, with a message of its own


def main() -> None:
    """Go through the extras."""
    (wheel,) = sys.argv[1:]
    for extra, (module, use) in EXTRAS.items():
        if find_spec(module) is None and extra not in SILENT:
            refused(extra, use)
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", f"{wheel}[{extra}]"], check=True)
        use()
        print(f"{extra}: works")


def refused(extra: str, use: Callable[[], None]) -> None:
    """Make sure that the use of an extra that is missing names it."""
    try:
        use()
    except ImportError as error:
        if not re.search(rf"\[(\w+,)*{extra}(,\w+)*\]", str(error)):
            raise SystemExit(f"without {extra!r} the message names no pip line: {error}") from error
        return
    raise SystemExit(f"{extra!r} is not needed for what it is said to bring")


if __name__ == "__main__":
    main()
