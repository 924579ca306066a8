"""Image data sets: tiny files made here, and the real ones where they lie beside the repository."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from qkan.data import Images, load_images

SHARED = Path(__file__).parents[2] / "shared" / "data"


def arrays(height=32, channels=3, classes=100, train=7, test=5):
    """Random images under the names of Keras, in its layout."""
    random = np.random.default_rng(0)
    shape = (height, height, channels) if channels > 1 else (height, height)
    return {
        "x_train": random.integers(0, 256, (train, *shape), dtype=np.uint8),
        "y_train": random.integers(0, classes, train),
        "x_test": random.integers(0, 256, (test, *shape), dtype=np.uint8),
        "y_test": random.integers(0, classes, test),
    }


def write(path, content):
    np.savez(path, **content)
    return path


def write_mnist(root, train, test):
    """Write the four idx files of MNIST: magic number, sizes, bytes."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, (images, labels) in (("train", train), ("t10k", test)):
        header = struct.pack(">4i", 0x803, *images.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">2i", 0x801, len(labels))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.astype(np.uint8).tobytes())
    return root


def test_batches_are_the_images_between_minus_one_and_one():
    images = torch.arange(4 * 3 * 2 * 5, dtype=torch.uint8).reshape(4, 3, 2, 5) * 2
    source = Images(images, torch.arange(4))
    batches = list(source.batches(3))
    assert [x.shape for x, _ in batches] == [(3, 3, 2, 5), (1, 3, 2, 5)]
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert x.dtype is torch.float32
    assert torch.equal((x.double() + 1).mul(127.5).round(), images.double())
    assert y.tolist() == [0, 1, 2, 3]
    extremes = Images(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2), torch.zeros(1, dtype=torch.int64))
    assert next(extremes.batches(1))[0].tolist() == [[[[-1.0, 1.0]]]]


def test_a_generator_shuffles_images_and_labels_together():
    labels = torch.arange(50)
    source = Images(labels.to(torch.uint8).reshape(50, 1, 1, 1), labels)
    first, second = ([y.tolist() for _, y in source.batches(20, torch.Generator().manual_seed(3))] for _ in range(2))
    assert first == second
    order = [label for batch in first for label in batch]
    assert sorted(order) == list(range(50)) != order
    for x, y in source.batches(20, torch.Generator().manual_seed(4)):
        assert torch.equal(((x.flatten() + 1) * 127.5).round().long(), y)


def test_the_digest_follows_every_byte():
    images, labels = torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    changed = images.clone()
    changed[1, 0, 1, 1] = 1
    digests = [Images(images, labels).digest(), Images(changed, labels).digest(), Images(images, labels + 1).digest()]
    assert len(set(digests)) == 3
    assert digests[0] == Images(images.clone(), labels.clone()).digest()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2).long(), r"images must be uint8 .* got torch.float32 \[2, 1, 2, 2\]"),
        (torch.zeros(2, 2, 2).byte(), torch.zeros(2).long(), r"images must be uint8 .* got torch.uint8 \[2, 2, 2\]"),
        (torch.zeros(2, 1, 2, 2).byte(), torch.zeros(2), r"labels must be int64 \[2\], .* got torch.float32 \[2\]"),
        (
            torch.zeros(2, 1, 2, 2).byte(),
            torch.zeros(3).long(),
            r"labels must be int64 \[2\], .* got torch.int64 \[3\]",
        ),
    ],
)
def test_wrong_tensors(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Images(images, labels)


def test_digits():
    train, test, classes = load_images("digits")
    assert (len(train) + len(test), classes, train.channels) == (1797, 10, 1)
    assert train.images.shape[1:] == test.images.shape[1:] == (1, 32, 32)
    # stratified: a fifth of every class, rounded down
    for label in range(10):
        both = [(part.labels == label).sum().item() for part in (train, test)]
        assert both[1] == sum(both) // 5
    from sklearn.datasets import load_digits

    first = torch.from_numpy(load_digits().images[0])
    assert train.labels[0] == load_digits().target[0]
    for row, column in ((0, 3), (4, 4), (7, 5)):  # every pixel became a block of 4 x 4, 16 became 255
        block = train.images[0, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].double()
        assert (block - first[row, column] * 255 / 16).abs().max() <= 0.5
    with pytest.raises(ValueError, match=r"digits come with scikit-learn and take no path; got 'x\.npz': leave it out"):
        load_images("digits", "x.npz")


def test_npz_of_colour_images(tmp_path):
    content = arrays()
    content["y_train"] = content["y_train"][:, None]  # a column, as in Keras
    train, test, classes = load_images("cifar100", write(tmp_path / "c.npz", content | {"names": np.array(["a"])}))
    assert (classes, train.channels) == (100, 3)
    assert torch.equal(train.images, torch.from_numpy(content["x_train"].transpose(0, 3, 1, 2)))
    assert train.labels.tolist() == content["y_train"][:, 0].tolist()
    assert test.labels.tolist() == content["y_test"].tolist()
    assert len(test) == 5


@pytest.mark.parametrize("layout", ["npz", "npz with a channel", "torchvision"])
def test_mnist_is_padded_with_zeros(tmp_path, layout):
    content = arrays(height=28, channels=1, classes=10)
    if layout == "torchvision":
        pytest.importorskip("torchvision")
        path = write_mnist(tmp_path, (content["x_train"], content["y_train"]), (content["x_test"], content["y_test"]))
    else:
        column = (..., None) if layout == "npz with a channel" else ...
        path = write(tmp_path / "m.npz", content | {key: content[key][column] for key in ("x_train", "x_test")})
    train, test, classes = load_images("mnist", path)
    assert (len(train), len(test), classes) == (7, 5, 10)
    assert train.images.shape == (7, 1, 32, 32)
    assert torch.equal(train.images[:, 0, 2:30, 2:30], torch.from_numpy(content["x_train"]))
    assert train.images.sum() == content["x_train"].sum(dtype=np.int64)
    assert test.labels.tolist() == content["y_test"].tolist()


WRONG = {
    "missing": ({"y_test": None}, r"needs x_train, y_train, x_test, y_test; got x_train, y_train, x_test$"),
    "float": ({"x_train": np.zeros((7, 32, 32, 3))}, r"x_train must be uint8 \[samples, 32, 32, 3\]; got float64 \[7,"),
    "shape": ({"x_test": np.zeros((5, 3, 32, 32), np.uint8)}, r"x_test must be uint8 .* got uint8 \[5, 3, 32, 32\]"),
    "empty": ({"x_test": np.zeros((0, 32, 32, 3), np.uint8)}, r"x_test must be uint8 .* got uint8 \[0, 32, 32, 3\]"),
    "label type": ({"y_train": np.zeros(7)}, r"y_train must be integers \[samples\]; got float64 \[7\]"),
    "label shape": (
        {"y_train": np.zeros((7, 100), int)},
        r"y_train must be integers \[samples\]; got int64 \[7, 100\]",
    ),
    "label 100": ({"y_test": np.array([0, 1, 2, 3, 100])}, r"y_test must lie in 0 \.\. 99; got 0 \.\. 100"),
    "label -1": ({"y_test": np.array([0, 1, 2, 3, -1])}, r"y_test must lie in 0 \.\. 99; got -1 \.\. 3"),
    "lengths": ({"y_test": np.zeros(4, int)}, "x_test and y_test must hold as many samples; got 5 and 4"),
    "objects": ({"y_test": np.array([None] * 5)}, "y_test is not a plain array in an .npz file: write it with"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(tmp_path, case):
    change, message = WRONG[case]
    content = {key: value for key, value in (arrays() | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        load_images("cifar100", write(tmp_path / "c.npz", content))


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "text"])
def test_a_damaged_npz_is_told(tmp_path, damage):
    path = write(tmp_path / "c.npz", arrays())
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[400] ^= 255
    path.write_bytes({"empty": b"", "truncated": whole[:900], "flipped": flipped, "text": b"no"}[damage])
    with pytest.raises(ValueError, match=r"x_train is not a plain array in an \.npz file: write it with numpy\.savez"):
        load_images("cifar100", path)


def test_an_unknown_name_or_path():
    with pytest.raises(ValueError, match="data set must be one of digits, mnist, cifar100; got 'cifar'"):
        load_images("cifar")
    with pytest.raises(FileNotFoundError, match=r"no file at nowhere\.npz"):
        load_images("mnist", "nowhere.npz")


REMEDIES = r'pip install "qkan-torch\[vision\]" .* network, or give \(--data\) a torchvision root, or .* \.npz file'


def test_a_path_without_the_data_names_the_remedies(tmp_path):
    pytest.importorskip("torchvision")
    with pytest.raises(FileNotFoundError, match="is neither a folder"):
        load_images("mnist", tmp_path / "nothing")
    for name in ("MNIST", "CIFAR100"):
        with pytest.raises(FileNotFoundError, match=f"is no torchvision root that holds {name} .*{REMEDIES}"):
            load_images(name.lower(), tmp_path)


def test_a_failed_download_names_the_remedies(tmp_path, monkeypatch):
    datasets = pytest.importorskip("torchvision").datasets

    def offline(root, train, download):
        assert Path(root) == tmp_path / "qkan"
        assert download
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR100", offline)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(OSError, match=f"CIFAR100 could not be downloaded .no route to host.: either {REMEDIES}"):
        load_images("cifar100")


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("torchvision", "mnist", f"MNIST needs torchvision or a file: either {REMEDIES}"),
        ("sklearn.datasets", "digits", r'digits need scikit-learn: pip install "qkan-torch\[data\]"'),
    ],
)
def test_a_missing_package_is_told(monkeypatch, module, name, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=message):
        load_images(name)


def test_the_real_mnist():
    pytest.importorskip("torchvision")
    if not (SHARED / "MNIST").is_dir():
        pytest.skip("no MNIST beside the repository")
    train, test, _ = load_images("mnist", SHARED)
    assert (len(train), len(test)) == (60000, 10000)
    # the published count of each digit in the training set, and the published mean 0.1307 of its pixels
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    mean = train.images.sum(dtype=torch.float64) / (60000 * 28 * 28 * 255)
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)
