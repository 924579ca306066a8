"""`save` and `load`: what is written comes back, what is no such file is refused, nothing is half-written."""

import json
import os
import pickle
import sys

import pytest
import torch
from helpers import ANSATZE, MODULES, domain, module, perturb
from torch import nn

from qkan import HQKAN, QKAN, QKANLinear, load, lower, save

safetensors = pytest.importorskip("safetensors.torch")

OPTIONS = {
    "defaults": {},
    "all": {"scale": True, "bias": True, "base_activation": "identity", "readout": "amplitude", "solver": "bloch"},
    "own": {"ansatz": ANSATZE["own"], "reps": 2, "encoding": (1, -2, 0, 3)},
    "clamp": {"ansatz": ANSATZE["px-clamp"], "init": 0.5},
    "trainable": {"encoding": "trainable", "encoding_init": "ternary"},
    "shared": {"encoding": "trainable-shared", "ansatz": "rpz", "init": "xavier"},
    "class": {"base_activation": nn.SiLU},
    "instance": {"base_activation": nn.GELU()},
}
BUILDERS = {
    "QKANLinear": lambda **options: QKANLinear(3, 2, **options),
    "QKAN": lambda **options: QKAN([3, 4, 2], **options),
    "HQKAN": lambda **options: HQKAN(3, 2, latent=(4, 2, 3), **options),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def same(first, second):
    """Whether two models have equal tensors of equal dtypes, and equal options."""
    one, other = first.state_dict(), second.state_dict()
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(tensor, other[name]), name
    assert type(first) is type(second)
    assert repr(first) == repr(second)
    return True


@pytest.mark.parametrize("name", ["pz-unit-fourier", "own-unit-fourier", "pz-trainable-shared-auto", "QKAN", "HQKAN"])
def test_lowered_models_go_round(name, path):
    net, x = lower(module(name)), domain(name, 5, 3)
    save(net, path)
    loaded = load(path)
    assert same(loaded, net)
    assert torch.equal(loaded(x), net(x))
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in net.parameters()]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_goes_round(name, path):
    net, x = module(name), domain(name, 5, 3)
    with torch.no_grad():
        next(b for b in net.buffers())[0, 1] = 0.5
    save(net, path)
    loaded = load(path)
    assert same(loaded, net)
    assert torch.equal(loaded(x), net(x))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in loaded.parameters())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("builder", BUILDERS)
def test_every_option_goes_round(builder, options, path):
    net = perturb(BUILDERS[builder](**OPTIONS[options]))
    save(net, path)
    loaded = load(path)
    assert same(loaded, net)
    assert loaded.config() == net.config()
    x = torch.rand(5, 3)
    assert torch.equal(loaded(x), net(x))
    loaded(x).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes_are_kept(dtype, path):
    net = QKAN([3, 4, 2], bias=True).to(dtype)
    save(net, path)
    assert same(load(path), net)


def test_paths_may_be_text_and_devices_chosen(path):
    net = HQKAN(3, 2, latent=(4, 3))
    save(net, str(path))
    loaded = load(str(path), device="meta")
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"meta"}
    assert loaded(torch.empty(5, 3, device="meta")).shape == (5, 2)


def test_loading_draws_nothing(path):
    save(HQKAN(3, 2, latent=(4, 3), base_activation="silu"), path)
    state = torch.get_rng_state()
    load(path)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_file_is_plain_safetensors_with_json_inside(path):
    net = QKAN([3, 2], ansatz=ANSATZE["own"], reps=1)
    save(net, path)
    tensors = safetensors.load_file(path)
    assert set(tensors) == {"layers.0.theta", "layers.0.encoding_bias", "layers.0.mask"}
    net.load_state_dict(tensors)
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["qkan"])
    assert header["class"] == "QKAN"
    assert header["config"] == json.loads(json.dumps(net.config()))


def test_a_later_training_does_not_reach_the_file(path):
    net = QKAN([3, 2])
    save(net, path)
    before = load(path)
    with torch.no_grad():
        net.layers[0].theta.zero_()
    assert same(load(path), before)


class Mine(QKAN):
    """A subclass, whose code no file holds."""


NOT_SAVED = {
    "another module": (
        lambda: nn.Linear(3, 2), TypeError, r"model must be one of QKANLinear, QKANActivation, .*; got Linear"),
    "subclass": (lambda: Mine([3, 2]), TypeError, r"model must be one of .*; got Mine"),
    "state dict": (lambda: QKAN([3, 2]).state_dict(), TypeError, r"model must be one of .*; got OrderedDict"),
    "function": (lambda: QKAN([3, 2], base_activation=torch.sin), ValueError, r"base_activation .* has no name"),
    "module with arguments": (
        lambda: QKAN([3, 2], base_activation=nn.ELU(alpha=0.3)), ValueError, r"base_activation .*0\.3.* has no name"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_SAVED)
def test_what_is_not_saved_leaves_no_file(name, path):
    build, exception, match = NOT_SAVED[name]
    with pytest.raises(exception, match=match):
        save(build(), path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(call, path, monkeypatch):
    old = QKAN([3, 2])
    save(old, path)

    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="no space left"):
        save(QKAN([3, 2], ansatz="rpz"), path)
    monkeypatch.undo()
    assert os.listdir(path.parent) == [path.name]
    assert same(load(path), old)


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model"])
def test_pickles_are_refused_and_not_executed(name, tmp_path):
    target, path = tmp_path / "executed", tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(ValueError, match="damaged or no safetensors file"):
        load(path)
    torch.save({"theta": Bomb(target)}, path)
    with pytest.raises(ValueError, match=r"damaged or no safetensors file .*weights_only=True"):
        load(path)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 64, b"PK\x03\x04"])
def test_other_files_are_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or no safetensors file"):
        load(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(kept, path):
    save(QKAN([30, 20]), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match="damaged or no safetensors file"):
        load(path)


def test_a_missing_file_and_a_folder_say_so(path):
    with pytest.raises(FileNotFoundError, match=r"no file at .*model\.safetensors"):
        load(path)
    with pytest.raises(FileNotFoundError, match="no file at"):
        load(path.parent)
    with pytest.raises(OSError, match="missing"):
        save(QKAN([3, 2]), path.parent / "missing" / "model.safetensors")


def test_a_bare_state_dict_says_what_is_missing(path):
    net = QKAN([3, 2])
    safetensors.save_file(net.state_dict(), path)
    with pytest.raises(ValueError, match=r"bare state dict: it holds .*layers\.0\.theta \(2, 3, 8\).*no configuration"):
        load(path)


def rewritten(path, header=None, **tensors):
    """Save a small model, then replace parts of its header and tensors; None removes a tensor."""
    net = QKAN([3, 2])
    save(net, path)
    with safetensors.safe_open(path, framework="pt") as file:
        found = json.loads(file.metadata()["qkan"])
    state = {**net.state_dict(), **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
    text = header if isinstance(header, str) else json.dumps({**found, **(header or {})})
    safetensors.save_file({k: t for k, t in state.items() if t is not None}, path, metadata={"qkan": text})


DAMAGED = {
    "no JSON": ({"header": "{"}, r"damaged configuration"),
    "no object": ({"header": "[1]"}, r"damaged configuration"),
    "a version to come": ({"header": {"version": 99}}, r"format version 99, .*upgrade"),
    "unknown class": (
        {"header": {"class": "KAN9"}}, r"holds a 'KAN9'; this package builds QKANLinear, QKANActivation, "),
    "a class with a path": ({"header": {"class": "os.system"}}, r"holds a 'os\.system'"),
    "a class that is no text": ({"header": {"class": ["QKAN"]}}, r"holds a \['QKAN'\]|damaged configuration"),
    "config is no object": ({"header": {"config": [3, 2]}}, r"damaged|holds a"),
    "unknown option": ({"header": {"config": {"width": [3, 2], "repz": 3}}}, r"builds no QKAN: .*'repz'"),
    "wrong option": ({"header": {"config": {"width": [3, 2], "reps": 0}}}, r"builds no QKAN: reps must be"),
    "no width": ({"header": {"config": {}}}, r"builds no QKAN: .*width"),
    "activation with a path": (
        {"header": {"config": {"width": [3, 2], "base_activation": "os.system"}}}, r"builds no QKAN: base_activation"),
    "damaged ansatz": (
        {"header": {"config": {"width": [3, 2], "ansatz": {"name": "a", "block": [{"name": "T"}]}}}}, r"builds no"),
    "ansatz of gates that are none": (
        {"header": {"config": {"width": [3, 2], "ansatz": {"name": "a", "block": [3]}}}}, r"builds no QKAN"),
    "lowered layers that are no object": ({"header": {"lowered": [3]}}, r"holds a 'QKAN'"),
    "a lowered layer nowhere": (
        {"header": {"lowered": {"layers.7": lower(QKANLinear(3, 2)).config()}}}, r"layers\.7\.constant is missing"),
    "a lowered layer of another kind": ({"header": {"lowered": {"layers.0": {"in_features": 3}}}}, r"builds no QKAN"),
    "widths beyond memory": ({"header": {"config": {"width": [3, 2**62]}}}, r"builds no QKAN|shape"),
    "missing tensor": ({"layers__0__theta": None}, r"does not fit .*layers\.0\.theta is missing"),
    "more tensors": ({"layers__1__theta": torch.zeros(2)}, r"layers\.1\.theta is not of this model"),
    "wrong shape": (
        {"layers__0__theta": torch.zeros(3, 2, 8)}, r"layers\.0\.theta has shape \(3, 2, 8\), not \(2, 3, 8\)"),
    "another width": ({"header": {"config": {"width": [3, 4]}}}, r"theta has shape \(2, 3, 8\), not \(4, 3, 8\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_do_not_fit_themselves_are_refused(name, path):
    change, match = DAMAGED[name]
    rewritten(path, **change)
    with pytest.raises(ValueError, match=match):
        load(path)


def test_all_faults_of_a_file_are_listed_at_once(path):
    rewritten(path, layers__0__theta=None, other=torch.zeros(1), layers__0__mask=torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"theta is missing; other is not of this model; layers\.0\.mask has"):
        load(path)


def test_without_safetensors_the_remedy_is_named(path, monkeypatch):
    save(QKAN([3, 2]), path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda: load(path), lambda: save(QKAN([3, 2]), path)):
        with pytest.raises(ImportError, match=r"pip install .*qkan-torch\["):
            call()
