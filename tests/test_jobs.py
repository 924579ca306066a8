"""Training jobs: data, augmentation, models and schedules of a configuration, and what a job writes."""

import json
import math
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qkan.history import History
from qkan.jobs.augment import mix_of
from qkan.jobs.config import Augment, Config, Data, Model, Optimizer, Penalty, Schedule, Track, Train
from qkan.jobs.data import Task, load
from qkan.jobs.metrics import loss_of, metrics_of
from qkan.jobs.model import build, names
from qkan.jobs.moving import factor, make_optimizer, make_schedule
from qkan.jobs.run import dry, run
from qkan.jobs.sources import Arrays, Place, Samples, drawing_from

for library in ("accelerate", "torchmetrics", "torchvision", "safetensors"):
    pytest.importorskip(library)

GENERATED = Data("generated", image_size=8, samples=20, classes=3, channels=1)
QUICK = Train(epochs=2, batch_size=8, device="cpu", threads=1)


def config(out, **more):
    parts = {"data": GENERATED, "model": Model("QKAN", {"hidden": [3]}), "train": QUICK} | more
    return Config(out=str(out), **parts)


def everything(source, size=8, seed=3):
    batches = list(source.batches(size, torch.Generator().manual_seed(seed)))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


# ---- sources


def pair(count=11, channels=1):
    images = torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(count, channels, 4, 4).contiguous()
    return images, torch.arange(count)


ALONE = Place()


def arrays(place=ALONE, mix=None):
    return Arrays(*pair(), torch.tensor(0.5), torch.tensor(0.25), place, mix)


def samples(place=ALONE, mix=None, workers=0):
    def change(image, target):
        return image.float() + torch.rand(()), target

    images = list(zip(*pair(), strict=True))
    return Samples(images, "image {}".format, change, place, workers, mix)


SOURCES = {"arrays": arrays, "samples": samples}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_read_the_batches_of_one_in_parts(kind, world):
    whole = list(SOURCES[kind]().batches(4, torch.Generator().manual_seed(1)))
    parts = [
        list(SOURCES[kind](Place(rank, world)).batches(4, torch.Generator().manual_seed(1))) for rank in range(world)
    ]
    for number, (inputs, targets) in enumerate(whole):
        rows = [len(part) for part in torch.arange(len(targets)).tensor_split(world)]
        own = [part[number] for part in parts]
        assert [len(y) for _, y in own] == [max(1, count) for count in rows]
        together = [(x[:count], y[:count]) for (x, y), count in zip(own, rows, strict=True)]
        assert torch.equal(torch.cat([x for x, _ in together]), inputs)
        assert torch.equal(torch.cat([y for _, y in together]), targets)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_a_source_begins_in_the_middle(kind, skip):
    mix = mix_of(Augment(mixup=1.0), 11)
    whole, generator = list(SOURCES[kind](mix=mix).batches(4, torch.Generator().manual_seed(1))), torch.Generator()
    rest = list(SOURCES[kind](mix=mix).batches_after(skip, 4, generator.manual_seed(1)))
    assert len(rest) == len(whole) - skip
    for (x, y), (other, target) in zip(rest, whole[skip:], strict=True):
        assert torch.equal(x, other)
        assert torch.equal(y, target)


def test_every_epoch_draws_anew_and_leaves_torchs_own_generator_alone():
    source, generator, before = samples(), torch.Generator().manual_seed(1), torch.get_rng_state()
    first, second = (torch.cat([x for x, _ in source.batches(4, generator)]) for _ in range(2))
    assert not torch.equal(first.frac().sort(0).values, second.frac().sort(0).values)
    assert len(first[:, 0, 0, 0].frac().unique()) == 11, "and every sample"
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_workers_change_nothing():
    for workers in (1, 2):
        assert torch.equal(everything(samples(workers=workers))[0], everything(samples())[0])


@pytest.mark.slow
def test_a_reader_that_dies_is_told():
    import os
    import signal

    def die(image, target):
        os.kill(os.getpid(), signal.SIGKILL)

    source = Samples(list(zip(*pair(), strict=True)), str, die, ALONE, workers=1)
    with pytest.raises(OSError, match=r"a process that reads the data has died \(DataLoader worker.*lower data"):
        everything(source)


def test_every_batch_of_every_epoch_and_process_is_mixed_anew():
    def mix(inputs, targets):
        return torch.rand(()), targets

    drawn = []
    for rank in range(2):
        source, generator = arrays(Place(rank, 2), mix), torch.Generator().manual_seed(0)
        drawn += [x.item() for _ in range(2) for x, _ in source.batches(6, generator)]
    assert len(set(drawn)) == 8


def test_bytes_are_scaled_and_digests_tell_samples_apart():
    inputs, _ = next(arrays().batches(11))
    torch.testing.assert_close(inputs[10, 0, 0, 0], torch.tensor((10 / 255 - 0.5) / 0.25))
    images, labels = pair()
    other = Arrays(images, labels.flip(0), torch.tensor(0.5), torch.tensor(0.25), Place())
    assert arrays().digest() == arrays().digest() != other.digest()
    assert samples().digest() == samples().digest()


def test_seeds_of_neighbours_are_unlike():
    found = []
    for seed in (0, 1, 2, 2**62):
        with drawing_from(seed):
            found.append(torch.rand(1000))
    assert max(abs(torch.corrcoef(torch.stack(found)) - torch.eye(4)).reshape(-1)) < 0.15


# ---- data


def png(path, colour, size=(10, 12)):
    """Write a picture of one colour, by hand."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + bytes(colour) * size[1]) * size[0]
    head = struct.pack(">IIBBBBB", size[1], size[0], 8, 2, 0, 0, 0)
    picture = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + picture)


@pytest.fixture
def folder(tmp_path):
    for part, count in (("train", 3), ("val", 2)):
        for label, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
            for number in range(count):
                png(tmp_path / "images" / part / label / f"{number}.png", colour)
    return tmp_path / "images"


def test_folders_of_images_are_read(folder):
    loaded = load(Config(data=Data("folder", path=str(folder), image_size=8, mean=(0.0,), std=(1.0,))), Place())
    assert loaded.task == Task("classes", 2, (3, 8, 8))
    assert (len(loaded.training), len(loaded.validation)) == (6, 4)
    inputs, targets = everything(loaded.training)
    for image, target in zip(inputs, targets, strict=True):
        wanted = torch.tensor([1.0, 0, 0] if target == 0 else [0, 0, 1.0])
        torch.testing.assert_close(image, wanted[:, None, None].expand(3, 8, 8), atol=0.02, rtol=0)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_image_that_cannot_be_read_is_named(folder, workers):
    broken = folder / "train" / "b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    data = Data("folder", path=str(folder), image_size=8, workers=workers)
    with pytest.raises(ValueError, match=r"train.b.1\.png cannot be read \(.*\): repair it, or take it out"):
        everything(load(Config(data=data), Place()).training)


def npz(path, x, y, **more):
    np.savez(path, x_train=x, y_train=y, **more)
    return str(path)


def test_npz_files_hold_images_numbers_and_maps(tmp_path):
    bytes_ = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)
    labels = np.array([[0], [1], [2], [1], [0]])
    path = npz(tmp_path / "a.npz", bytes_, labels, x_test=bytes_[:2], y_test=labels[:2])
    loaded = load(Config(data=Data("npz", path=path, mean=(0.0,), std=(1.0,))), Place())
    assert loaded.task == Task("classes", 3, (3, 4, 6))
    inputs, targets = next(loaded.validation.batches(2))
    torch.testing.assert_close(inputs, torch.from_numpy(bytes_[:2]).permute(0, 3, 1, 2) / 255)
    assert targets.tolist() == [0, 1]
    numbers = np.random.default_rng(0).normal(size=(10, 4))
    path = npz(tmp_path / "b.npz", numbers, numbers[:, :2])
    loaded = load(Config(data=Data("npz", path=path, validation=0.3)), Place(), torch.float64)
    assert loaded.task == Task("numbers", 2, (4,))
    assert (len(loaded.training), len(loaded.validation)) == (7, 3)
    inputs, targets = everything(loaded.training)
    assert torch.equal(inputs[:, :2], targets)
    path = npz(tmp_path / "c.npz", bytes_, np.zeros((5, 4, 6), dtype=np.int64) + np.arange(5)[:, None, None])
    assert load(Config(data=Data("npz", path=path)), Place()).task == Task("map", 5, (3, 4, 6))


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((3, 2)), np.zeros(2, dtype=int), "as many samples; got 3, 2"),
        (np.zeros((3, 2)) * np.nan, np.zeros(3, dtype=int), "finite numbers"),
        (np.zeros((3, 2), dtype=object), np.zeros(3, dtype=int), "not a plain array"),
        (np.zeros((3, 2), dtype=complex), np.zeros(3, dtype=int), "x_train must be uint8"),
        (np.zeros((3, 2)), -np.ones(3, dtype=int), "y_train must be classes from 0"),
        (np.zeros((3, 2)), np.array(["a", "b", "c"]), "y_train must be classes"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "must hold as many samples; got 0"),
    ],
)
def test_npz_files_are_refused_with_the_array(tmp_path, x, y, match):
    path = npz(tmp_path / "a.npz", x, y)
    with pytest.raises(ValueError, match=match):
        load(Config(data=Data("npz", path=path)), Place())


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"no archive"])
def test_a_damaged_npz_file_is_refused_by_its_name(tmp_path, damage):
    path = tmp_path / "a.npz"
    npz(path, np.zeros((4, 3)), np.zeros((4, 1)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"data.path: .*a.npz is no .npz file of plain arrays: write it with numpy"):
        load(Config(data=Data("npz", path=str(path))), Place())


@pytest.mark.slow
def test_data_sets_of_hugging_face_are_read_from_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    image = pytest.importorskip("PIL.Image")
    pictures = [image.new("RGB", (9, 9), (255, 0, 0)), image.new("RGB", (9, 9), (0, 255, 0))] * 2
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["red", "green"])})
    part = datasets.Dataset.from_dict({"img": pictures, "label": [0, 1, 0, 1]}, features=features)
    datasets.DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "saved")
    data = Data("datasets", path=str(tmp_path / "saved"), image_size=8, mean=(0.0,), std=(1.0,))
    loaded = load(Config(data=data), Place())
    assert loaded.task == Task("classes", 2, (3, 8, 8))
    inputs, targets = everything(loaded.training)
    assert torch.equal(inputs[:, :2, 0, 0].argmax(1), targets)


def test_sets_of_torchvision_are_read_from_their_files(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 6), ("t10k", 4)):
        images = np.arange(count * 784, dtype=np.uint32).astype(np.uint8)
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        labels = bytes(range(count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
    data = Data("torchvision", name="FashionMNIST", path=str(tmp_path), mean=(0.0,), std=(1.0,))
    loaded = load(Config(data=data), Place())
    assert loaded.task == Task("classes", 10, (1, 28, 28))
    assert (len(loaded.training), len(loaded.validation)) == (6, 4)
    inputs, targets = next(loaded.training.batches(6))
    torch.testing.assert_close(inputs[0, 0].reshape(-1)[:4], torch.arange(4) / 255)
    assert targets.tolist() == list(range(6))
    resized = load(Config(data=replace(data, image_size=14)), Place())
    assert everything(resized.training)[0].shape == (6, 1, 14, 14)


REFUSED = {
    "no set": (Data("torchvision", name="Nothing"), Augment(), ValueError, "data.name must be a class of torchvision"),
    "no files": (
        Data("torchvision", name="MNIST", path="none"),
        Augment(),
        FileNotFoundError,
        "data.path: no MNIST at",
    ),
    "no file": (Data("npz", path="none.npz"), Augment(), FileNotFoundError, "data.path: no file at none.npz"),
    "no folder": (Data("folder", path="no", image_size=8), Augment(), FileNotFoundError, "data.path: no must hold a"),
    "a fraction": (replace(GENERATED, validation=0.2), Augment(), ValueError, "data.validation holds samples out"),
    "colours": (replace(GENERATED, mean=(0.1, 0.2)), Augment(), ValueError, "data.mean must hold 1 or 1 numbers"),
    "channels": (replace(GENERATED, channels=5), Augment(flip=True), ValueError, "1 or 3 channels; these have 5"),
    "network": (Data("datasets", name="x", image_size=8), Augment(), ValueError, "data.download is false"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_data_are_refused_with_the_key(case):
    data, augment, kind, match = REFUSED[case]
    with pytest.raises(kind, match=match):
        load(Config(data=data, augment=augment), Place())


def test_tables_of_numbers_are_not_augmented(tmp_path):
    path = npz(tmp_path / "b.npz", np.zeros((4, 3)), np.zeros((4, 1)))
    for augment, match in ((Augment(flip=True), "are for images"), (Augment(mixup=1.0), "augment.mixup is for images")):
        with pytest.raises(ValueError, match=match):
            load(Config(data=Data("npz", path=path), augment=augment), Place())


# ---- augmentation


@pytest.mark.parametrize("policy", ["none", "randaugment", "trivialaugment", "autoaugment", "augmix"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_augmented_by_their_number_alone(policy, channels):
    augment = Augment(crop="pad", padding=2, flip=True, policy=policy, erase=0.5)
    data = replace(GENERATED, channels=channels)
    first, second = (load(Config(data=data, augment=augment), Place()) for _ in range(2))
    one, other = everything(first.training), everything(second.training, size=3)
    assert torch.equal(one[0], other[0]), "the size of the batches changes nothing"
    plain = everything(load(Config(data=data), Place()).training)
    assert one[0].shape == plain[0].shape
    assert not torch.equal(one[0], plain[0])
    assert torch.equal(everything(first.validation)[0], everything(load(Config(data=data), Place()).validation)[0])


def test_maps_of_classes_move_with_their_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 2, (6, 8, 8), dtype=np.uint8)
    path = npz(tmp_path / "a.npz", images * 255, images.astype(np.int64))
    data = Data("npz", path=path, mean=(0.0,), std=(1.0,))
    loaded = load(Config(data=data, augment=Augment(crop="pad", flip=True)), Place())
    inputs, targets = everything(loaded.training)
    assert torch.equal(inputs[:, 0].round().long(), targets)
    assert not torch.equal(targets, everything(load(Config(data=data), Place()).training)[1])


def test_mixed_targets_tell_the_parts_of_a_mixed_image():
    images = torch.eye(4).reshape(4, 4, 1, 1).expand(4, 4, 8, 8).contiguous()
    with drawing_from(1):
        inputs, targets = mix_of(Augment(mixup=1.0), 4)(images, torch.arange(4))
    torch.testing.assert_close(inputs[:, :, 0, 0], targets)
    with drawing_from(1):
        inputs, targets = mix_of(Augment(cutmix=1.0), 4)(images, torch.arange(4))
    torch.testing.assert_close(inputs.mean((2, 3)), targets)
    smooth = mix_of(Augment(label_smoothing=0.2), 4)(images, torch.arange(4))[1]
    torch.testing.assert_close(smooth, 0.8 * torch.eye(4) + 0.05)
    assert mix_of(Augment(), 4) is None


# ---- models, optimizers, metrics


IMAGES, TABLE = Task("classes", 5, (3, 32, 32)), Task("numbers", 2, (4,))


@pytest.mark.parametrize(
    ("model", "task"),
    [
        *((Model(name), IMAGES) for name in names() if name not in ("QKAN", "KAN", "HQKAN")),
        (Model("KAN", {"hidden": [3], "basis": "fourier"}), TABLE), (Model("QKAN", {"reps": 2}), TABLE),
        (Model("HQKAN", {"latent": [3, 3]}), IMAGES), (Model("hqkan", {"ansatz": "rpz"}), IMAGES),
        (Model("qkan.models.baselines:baseline", {"model": "SimpleConv"}), IMAGES),
    ],
    ids=lambda value: value.name if isinstance(value, Model) else "",
)  # fmt: skip
def test_models_are_built_by_name_from_a_seed(model, task):
    if model.name.startswith("Simple"):
        model = replace(model, options={"channels": [4, 4], "halving": [1], "groups": 1, **model.options})
    first, second, third = (build(model, task, seed) for seed in (0, 0, 1))
    outputs = first(torch.zeros(2, *task.shape))
    assert outputs.shape == (2, task.outputs)
    weights = [torch.cat([p.reshape(-1) for p in made.parameters()]) for made in (first, second, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Model("qkann"), r"model\.name must be one of hqkan, .*, or module:function; got 'qkann'"),
        (Model("os:system"), r"model\.name: os:system is code outside of qkan\.models: .* --trust-code"),
        (Model("qkan.files:write_json"), r"is code outside of qkan\.models"),
        (Model("qkan.models.study:torch"), "is no function that builds a model"),
        (Model("qkan.models.study:nothing"), "there is no qkan.models.study:nothing"),
        (Model("qkan.models.none:x"), "there is no qkan.models.none:x"),
        (Model("KAN", {"hidden": 3}), r"model\.options\.hidden must be a list of widths; got 3"),
        (Model("KAN", {"depth": 3}), r"model\.options: KAN cannot be built \(.*depth"),
        (Model("hqkan", {"reps": -1}), r"model\.options: hqkan cannot be built \(.*reps"),
    ],
)
def test_models_are_refused_with_the_key(model, match):
    with pytest.raises(ValueError, match=match):
        build(model, IMAGES, 0)


def test_a_trusted_builder_may_come_from_elsewhere():
    assert isinstance(build(Model("torch.nn:Flatten"), TABLE, 0, trust=True), nn.Flatten)
    with pytest.raises(ValueError, match="must return a torch module; got dict"):
        build(Model("builtins:dict"), TABLE, 0, trust=True)


def test_optimizers_are_those_of_torch():
    model = nn.Linear(2, 2)
    made = make_optimizer(Optimizer("SGD", 0.1, {"momentum": 0.9}), model)
    assert type(made) is torch.optim.SGD
    assert made.param_groups[0]["momentum"] == 0.9
    assert type(make_optimizer(Optimizer("AdamW", 0.1, {"betas": [0.8, 0.9]}), model)) is torch.optim.AdamW
    for optimizer, match in [
        (Optimizer("Adamw"), r"optimizer\.name must be a class of torch\.optim, .* got 'Adamw'"),
        (Optimizer("Optimizer"), r"optimizer\.name must be a class"),
        (Optimizer("SGD", options={"moment": 1}), r"optimizer\.options: SGD cannot be made"),
        (Optimizer("SGD", options={"lr": 1}), r"optimizer\.options\.lr: the learning rate is optimizer\.lr"),
    ]:
        with pytest.raises(ValueError, match=match):
            make_optimizer(optimizer, model)


def test_rates_warm_up_and_fall():
    cosine = Schedule("cosine", warmup=2, final=0.1)
    found = [factor(cosine, step, 4, 12) for step in range(13)]
    assert found[0] == 0.01
    assert found[4] == 1.0
    assert found[12] == pytest.approx(0.1)
    assert found[8] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert factor(Schedule("polynomial", power=2.0), 3, 0, 4) == pytest.approx(1 / 16)
    assert factor(Schedule("constant", warmup=1), 9, 4, 12) == 1
    assert make_schedule(Schedule(), 3, 4) is None
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    make_schedule(cosine, 6, 2)(optimizer)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02)


def test_metrics_are_those_of_their_definition():
    outputs, labels = torch.randn(40, 7), torch.randint(7, (40,))
    found = metrics_of(Train(), Task("classes", 7, (3, 8, 8)))
    ranks = (outputs > outputs.gather(1, labels[:, None])).sum(1)
    assert found["top1"](outputs, labels).item() == pytest.approx((ranks < 1).float().mean().item())
    assert found["top5"](outputs, labels).item() == pytest.approx((ranks < 5).float().mean().item())
    outputs, target = torch.randn(3, 2, 5, 5), torch.randint(2, (3, 5, 5))
    dice, chosen = metrics_of(Train(), Task("map", 2, (1, 5, 5)))["dice"], outputs.argmax(1)
    wanted = [
        2 * ((a == c) & (b == c)).sum() / ((a == c).sum() + (b == c).sum())
        for a, b in zip(chosen, target, strict=True)
        for c in range(2)
    ]
    assert dice(outputs, target).item() == pytest.approx(torch.stack(wanted).mean().item())
    assert metrics_of(Train(metrics=("mae",)), TABLE)["mae"](torch.ones(3, 2), torch.zeros(3, 2)).item() == 1


def test_metrics_and_losses_are_refused_with_the_key():
    with pytest.raises(ValueError, match=r"train\.metrics must be among top1, top5 for this data; got 'dice'"):
        metrics_of(Train(metrics=("dice",)), IMAGES)
    with pytest.raises(ValueError, match=r"train\.loss must be cross_entropy \(or auto\) for this data; got mse"):
        loss_of(Train(loss="mse"), IMAGES)


# ---- jobs


def test_a_job_writes_its_results(tmp_path):
    result = run(config(tmp_path / "a", track=Track(tensorboard=False)))
    written = json.loads((tmp_path / "a" / "results.json").read_text())
    assert written["parameters"] == sum(p.numel() for p in result.model.parameters())
    assert written["task"] == {"kind": "classes", "outputs": 3, "shape": [1, 8, 8]}
    assert written["last"] == dict(result.history.last)
    rows = (tmp_path / "a" / "history.csv").read_text().splitlines()
    assert rows[0].split(",") == list(result.history.names)
    assert len(rows) == 3
    assert History.load(tmp_path / "a" / "history.json") == result.history
    from qkan import load as load_model

    inner, x = load_model(tmp_path / "a" / "model.safetensors"), torch.rand(2, 64)
    assert torch.equal(inner(x), result.model[1](x))
    with pytest.raises(ValueError, match="already holds a job: go on with --resume, or name another folder as out"):
        run(config(tmp_path / "a"))


def test_a_job_is_the_loop_of_fit(tmp_path):
    from qkan.training import fit, top_k

    given = config(tmp_path / "a", train=replace(QUICK, precision="double"))
    result = run(given)
    loaded = load(given, Place(), torch.float64)
    model = build(given.model, loaded.task, 0).double()
    history = fit(
        model, loaded.training, validation=loaded.validation, epochs=2, batch_size=8, metrics={"top1": top_k(1)},
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), result.model.parameters(), strict=True))
    assert history["train_loss"] == result.history["train_loss"]
    assert history["top1"] == pytest.approx(result.history["top1"])


def test_a_job_goes_on_to_more_epochs_and_refuses_other_settings(tmp_path):
    run(config(tmp_path / "a"))
    whole = run(config(tmp_path / "b", train=replace(QUICK, epochs=3)))
    longer = run(config(tmp_path / "a", train=replace(QUICK, epochs=3)), resume=True)
    assert longer.history["train_loss"] == whole.history["train_loss"]
    assert len((tmp_path / "a" / "history.csv").read_text().splitlines()) == 4
    with pytest.raises(ValueError, match=r"other settings \(.*optimizer\.lr: was 0\.001, now 0\.5\)"):
        run(config(tmp_path / "a", optimizer=Optimizer(lr=0.5)), resume=True)


def test_lbfgs_fits_numbers_in_double_precision(tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    path = npz(tmp_path / "f.npz", x, np.sin(x[:, :1]) * 0.4)
    train = Train(epochs=4, batch_size=40, precision="double", device="cpu", metrics=("mae",))
    given = config(
        tmp_path / "a", data=Data("npz", path=path, validation=0.25), train=train,
        optimizer=Optimizer("LBFGS", 1.0, {"line_search_fn": "strong_wolfe"}), model=Model("KAN", {"hidden": [3]}),
    )  # fmt: skip
    history = run(given).history
    assert history["train_loss"][-1] < history["train_loss"][0] / 100
    assert history.names[-2:] == ("mae", "test_seconds")


def test_mixed_precision_penalties_and_mixing_train(tmp_path):
    given = config(
        tmp_path / "a", train=replace(QUICK, precision="bf16", average_decay=0.5, accumulate=3), penalty=Penalty(1e-3),
        augment=Augment(mixup=0.2, label_smoothing=0.1), schedule=Schedule("cosine", 0.5),
    )  # fmt: skip
    result = run(given)
    assert {"penalty", "lr", "top1"} <= set(result.history.names)
    assert next(result.model.parameters()).dtype is torch.float32
    assert "forward" not in vars(result.model), "the model is left as it was built"


def test_a_job_that_diverges_keeps_no_bad_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError, match="training diverged in epoch 1"):
        run(config(tmp_path / "a", model=Model("HQKAN"), optimizer=Optimizer("SGD", 1e30)))
    assert not list((tmp_path / "a").glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"train": replace(QUICK, strategy="fsdp", patience=3)}, r'train\.strategy = "fsdp" cuts the weights'),
        ({"optimizer": Optimizer("LBFGS"), "schedule": Schedule("cosine")}, "LBFGS finds the length of its steps"),
        ({"train": replace(QUICK, precision="fp16")}, r"train\.precision is fp16, which needs a GPU"),
        ({"data": replace(GENERATED, validation=0.5)}, r"data\.validation holds samples out"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        run(config(tmp_path / "a", **changes))
    assert not (tmp_path / "a").exists()


def test_a_dry_run_keeps_the_model_and_the_size_of_the_images(tmp_path):
    given = config(tmp_path / "never", data=Data("folder", path="none", image_size=16, classes=7), model=Model("HQKAN"))
    result = run(dry(given, str(tmp_path / "dry")))
    assert result.task == Task("classes", 7, (3, 16, 16))
    assert len(result.history) == 1
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the trackers themselves
def test_trackers_get_every_epoch(tmp_path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    run(config(tmp_path / "a", track=Track(tensorboard=True, wandb="offline")))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (tmp_path / "a" / "qkan").glob("events*")
    read = EventAccumulator(str(events))
    read.Reload()
    assert [event.step for event in read.Scalars("train_loss")] == [1, 2]
    assert list((tmp_path / "a" / "wandb").glob("offline-run-*/*.wandb"))
