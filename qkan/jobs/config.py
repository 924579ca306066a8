"""The configuration of a training job: what a TOML file may say, and what is taken where it says nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from qkan.jobs.typed import Above, Between, from_toml

__all__ = ["Augment", "Config", "Data", "Model", "Optimizer", "Penalty", "Schedule", "Track", "Train", "read"]

Positive = Annotated[float, Above(0)]
Count = Annotated[int, Between(1, 2**31 - 1)]
Share = Annotated[float, Above(0, 1)]
NotNegative = Annotated[float, Between(0)]


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        source: `digits` come with scikit-learn; `torchvision` is a class of its data sets; `folder` holds `train` and
            `val` (or `test`) with a folder of images per class; `npz` holds `x_train`, `y_train`, `x_test`, `y_test`;
            `datasets` is a data set of Hugging Face; `generated` are random images, to try a job out.
        name: of the torchvision class, such as `CIFAR10`, or the data set of Hugging Face.
        path: of the folder or file; for torchvision its root, for Hugging Face a data set saved to disk.
        download: whether torchvision and Hugging Face may use the network.
        validation: the fraction held out of the training part, where there is no other part.
        image_size: height and width that images are brought to; needed for folders.
        mean: per channel, subtracted from values in 0 .. 1; one number serves all channels.
        std: per channel, divided by.
        samples: of generated data, in each of both parts.
        classes: of generated data.
        channels: of generated data.
        workers: processes that read and augment images; 0 leaves that to the process that trains.
    """

    source: Literal["digits", "torchvision", "folder", "npz", "datasets", "generated"] = "digits"
    name: str | None = None
    path: str | None = None
    download: bool = False
    validation: Share | None = None
    image_size: Annotated[int, Between(1, 8192)] | None = None
    mean: tuple[float, ...] = (0.5,)
    std: Annotated[tuple[float, ...], Above(0)] = (0.5,)
    samples: Annotated[int, Between(1, 10**7)] = 64
    classes: Annotated[int, Between(1, 10**6)] = 10
    channels: Annotated[int, Between(1, 64)] = 3
    workers: Annotated[int, Between(0, 256)] = 0

    def __post_init__(self) -> None:
        if self.source == "torchvision" and self.name is None:
            raise ValueError("name is missing: which class of torchvision.datasets?")
        if self.source == "datasets" and self.name is None and self.path is None:
            raise ValueError("name is missing: which data set of Hugging Face? (or path: of one saved to disk)")
        if self.source in ("folder", "npz") and self.path is None:
            raise ValueError(f"path is missing: where is the {self.source}?")
        if self.source in ("folder", "datasets", "generated") and self.image_size is None:
            raise ValueError("image_size is missing: which size are images brought to?")


@dataclass(frozen=True)
class Augment:
    """How training images are changed; every draw depends on the seed, the epoch and the number of the sample alone.

    Args:
        crop: `pad` moves the image by up to `padding` pixels; `resized` cuts out a random part and enlarges it.
        padding: of `pad`.
        flip: whether half of the images are mirrored.
        policy: of torchvision.
        operations: of `randaugment`, how many.
        magnitude: of `randaugment`.
        erase: the probability of a rectangle without content.
        mixup: alpha of MixUp; 0 leaves it out.
        cutmix: alpha of CutMix; with both, every batch draws one of the two.
        label_smoothing: the probability that is spread over all classes.
    """

    crop: Literal["none", "pad", "resized"] = "none"
    padding: Annotated[int, Between(1, 1024)] = 4
    flip: bool = False
    policy: Literal["none", "randaugment", "trivialaugment", "autoaugment", "augmix"] = "none"
    operations: Annotated[int, Between(1, 32)] = 2
    magnitude: Annotated[int, Between(0, 30)] = 9
    erase: Annotated[float, Between(0, 1)] = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    label_smoothing: Annotated[float, Between(0, 1)] = 0.0


@dataclass(frozen=True)
class Model:
    """What is trained: see `qkan.jobs.model`.

    Args:
        name: of a model, or `module:function` of a builder.
        options: its arguments.
    """

    name: str = "hqkan-44"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Optimizer:
    """How weights move.

    Args:
        name: a class of `torch.optim`.
        lr: learning rate.
        options: its other arguments, such as `weight_decay`.
    """

    name: str = "AdamW"
    lr: Positive = 1e-3
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes, after every step.

    Args:
        kind: after the warm-up.
        warmup: epochs in which it grows from 1 % in equal steps.
        final: the part of it that is left at the end.
        power: of `polynomial`.
    """

    kind: Literal["constant", "cosine", "polynomial"] = "constant"
    warmup: NotNegative = 0.0
    final: Annotated[float, Between(0, 1)] = 0.0
    power: Positive = 1.0


@dataclass(frozen=True)
class Penalty:
    """Penalties of what layers put out: see `qkan.training.penalties.ActivationPenalty`."""

    l1: NotNegative = 0.0
    l2: NotNegative = 0.0


@dataclass(frozen=True)
class Train:
    """How long and in what steps.

    Args:
        epochs: how often to go through the data.
        batch_size: samples of a step, those of all processes together.
        accumulate: how many parts a process takes its share of a batch in, to save memory.
        loss: `auto` is cross-entropy for classes and mean squared error for numbers.
        metrics: `auto` is `top1` and `top5` for classes; `dice` is for maps of classes.
        clip_norm: the largest norm of the gradient.
        average_decay: of moving averages of the weights, which are measured and kept.
        patience: epochs without a lower validation loss that end the job; the best weights are kept.
        checkpoint_steps: steps between checkpoints within an epoch.
        precision: of the forward pass in training; weights are in single precision, or all is in `double`.
        strategy: how several processes share the work: `ddp` copies the model, `fsdp` cuts it (FSDP2).
        device: `auto` is a GPU if there is one.
        threads: of a process on a CPU; by default torch's choice.
        seed: of the initial weights, the order of the samples, dropout and augmentation.
    """

    epochs: Count = 10
    batch_size: Count = 100
    accumulate: Count = 1
    loss: Literal["auto", "cross_entropy", "mse"] = "auto"
    metrics: tuple[str, ...] = ("auto",)
    clip_norm: Positive | None = None
    average_decay: Share | None = None
    patience: Count | None = None
    checkpoint_steps: Count | None = None
    precision: Literal["single", "double", "bf16", "fp16"] = "single"
    strategy: Literal["ddp", "fsdp"] = "ddp"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Between(1, 4096)] | None = None
    seed: Annotated[int, Between(0, 2**62)] = 0


@dataclass(frozen=True)
class Track:
    """Where the numbers of every epoch go, besides the table `history.csv`.

    Args:
        tensorboard: whether TensorBoard gets them.
        wandb: whether Weights & Biases gets them; `offline` keeps them in the folder of the job.
        project: the name of the project there.
    """

    tensorboard: bool = False
    wandb: Literal["off", "offline", "online"] = "off"
    project: str = "qkan"


@dataclass(frozen=True)
class Config:
    """A training job.

    Args:
        out: the folder that it writes.
        data: what is trained on.
        augment: how that is changed.
        model: what is trained.
        optimizer: how weights move.
        schedule: how the learning rate changes.
        penalty: what is added to the loss.
        train: how long and in what steps.
        track: where the numbers go.

    Example:
        >>> Config().model.name, Config().train.epochs
        ('hqkan-44', 10)
    """

    out: str = "runs/train"
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    model: Model = field(default_factory=Model)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    penalty: Penalty = field(default_factory=Penalty)
    train: Train = field(default_factory=Train)
    track: Track = field(default_factory=Track)

    def __post_init__(self) -> None:
        if not self.out:
            raise ValueError("out must be the name of a folder; got ''")
        if self.schedule.warmup > self.train.epochs:
            raise ValueError(
                f"schedule.warmup must be at most train.epochs, {self.train.epochs}; got {self.schedule.warmup}"
            )


def read(path: Path, changes: Sequence[str] = ()) -> Config:
    """Read a configuration; `changes` are texts `key=value`.

    Raises:
        ValueError: naming the file and the key at fault.
    """
    return from_toml(Config, path, changes)
