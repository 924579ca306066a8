"""`from_peer` against golden files, which the peer's own interpreter wrote (tests/data/peer/generate.py)."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from helpers import error, generator
from torch import nn

from qkan import QKAN, load, lower, save
from qkan.interop import from_peer

FILES = sorted((Path(__file__).parent / "data" / "peer").glob("*.json"))
GOLDEN = {path.stem: json.loads(path.read_text()) for path in FILES}
CASES = [(ansatz, case) for ansatz, content in GOLDEN.items() for case in content["cases"]]
READOUTS = ("amplitude", "expectation")
TENSORS = ("theta", "preacts_weight", "preacts_bias", "postact_weights", "postact_bias", "base_weight", "mask")

TOLERANCE = 1e-12  # the peer's own arithmetic in float64
BFLOAT16 = 0.05  # that of its `real`


def golden(ansatz, case):
    return GOLDEN[ansatz]["cases"][case]


def state(ansatz="pz", case="trainable", dtype=torch.float64):
    """The peer's state dict."""
    return {name: torch.tensor(values, dtype=dtype) for name, values in golden(ansatz, case)["state"].items()}


def inputs(ansatz="pz", case="trainable"):
    return torch.tensor(golden(ansatz, case)["inputs"], dtype=torch.float64)


def outputs(ansatz="pz", case="trainable", readout="expectation", of="outputs"):
    return torch.tensor(golden(ansatz, case)[of][readout], dtype=torch.float64)


def exact_outputs(ansatz, case, readout):
    """What the peer computes in double precision, which its `real` does with a dtype that was put right by hand."""
    return outputs(ansatz, case, readout, "outputs_double" if ansatz == "real" else "outputs")


def converted(ansatz="pz", case="trainable", readout="expectation", checkpoint=None, **more):
    checkpoint = state(ansatz, case) if checkpoint is None else checkpoint
    options = {"base_activation": golden(ansatz, case)["base_activation"], **more}
    return from_peer(checkpoint, ansatz=ansatz, readout=readout, **options)


def changed(checkpoint, **tensors):
    """A state dict with other tensors (``__`` for a dot); None removes one."""
    found = {**checkpoint, **{name.replace("__", "."): tensor for name, tensor in tensors.items()}}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def test_the_files_are_of_the_peer_and_hold_every_kind_of_parameter():
    assert set(GOLDEN) == {"pz", "rpz", "px", "real", "mix"}
    for ansatz, case in CASES:
        assert GOLDEN[ansatz]["versions"]["qkan"] == "0.2.3"
        found = state(ansatz, case)
        assert set(found) == {f"layers.{i}.{name}" for i in (0, 1) for name in TENSORS}
        assert found["layers.0.theta"].shape[:2] == (4, 3)
        assert found["layers.1.theta"].shape[:2] == (2, 4)
        drawn = {name for name in TENSORS if len(found[f"layers.0.{name}"].unique()) > 1}
        if case != "start":
            assert drawn >= {"theta", "postact_weights", "postact_bias", "base_weight", "mask"}
        assert ({"preacts_weight", "preacts_bias"} <= drawn) == (case == "trainable")
        assert error(outputs(ansatz, case, "amplitude"), outputs(ansatz, case, "expectation")) > 0.01


@pytest.mark.parametrize("solver", ["auto", "statevector", "bloch"])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize(("ansatz", "case"), CASES)
def test_outputs_are_those_of_the_peer(ansatz, case, readout, solver):
    model = converted(ansatz, case, readout, solver=solver)
    assert error(model(inputs(ansatz, case)), exact_outputs(ansatz, case, readout)) < TOLERANCE


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("case", ["start", "fixed", "trainable"])
def test_the_real_of_the_peer_differs_by_its_bfloat16(case, readout):
    y = converted("real", case, readout)(inputs("real", case))
    assert 1e-4 < error(y, outputs("real", case, readout)) < BFLOAT16


@pytest.mark.parametrize("name", [f"layers.{i}.{name}" for i in (0, 1) for name in TENSORS])
def test_every_tensor_counts(name):
    checkpoint = state()
    checkpoint[name] = checkpoint[name] * 0.9 + 0.01
    assert error(converted(checkpoint=checkpoint)(inputs()), outputs()) > 1e-3


@pytest.mark.parametrize("alias", ["pz", "rpz", "px"])
def test_the_longer_names_of_ansaetze_are_known(alias):
    given = state(alias, "fixed")
    model = from_peer(given, ansatz=f"{alias}_encoding", readout="amplitude")
    assert error(model(inputs(alias, "fixed")), outputs(alias, "fixed", "amplitude")) < TOLERANCE


def test_the_base_activation_is_the_one_given():
    assert error(converted(base_activation="silu")(inputs()), outputs()) > 1e-3
    for same in (nn.GELU, nn.GELU(), nn.functional.gelu):
        assert error(converted(base_activation=same)(inputs()), outputs()) < TOLERANCE


NEUTRAL = {"preacts_weight": 1, "preacts_bias": 0, "postact_weights": 1, "postact_bias": 0, "base_weight": 0}
OPTIONS = {
    "nothing": ({}, {}),
    "preacts_weight": ({"preacts_weight": 2.0}, {"encoding": "trainable"}),
    "preacts_bias": ({"preacts_bias": 0.3}, {"encoding": "trainable"}),
    "postact_weights": ({"postact_weights": 2.0}, {"scale": True}),
    "postact_bias": ({"postact_bias": 0.3}, {"bias": True}),
    "base_weight": ({"base_weight": 0.3}, {"base_activation": "gelu"}),
    "mask": ({"mask": 0.0}, {}),
}


def with_one_value(ansatz, values):
    """A checkpoint of neutral values, but for one edge of the last layer."""
    checkpoint = state(ansatz, "trainable")
    for name, value in NEUTRAL.items():
        for i in (0, 1):
            checkpoint[f"layers.{i}.{name}"].fill_(value)
    for name, value in values.items():
        checkpoint[f"layers.1.{name}"][1, 2] = value
    return checkpoint


@pytest.mark.parametrize("name", OPTIONS)
def test_only_parts_that_are_not_neutral_become_parameters(name):
    values, wanted = OPTIONS[name]
    options = converted(checkpoint=with_one_value("pz", values)).options
    found = {"encoding": "unit", "scale": False, "bias": False, "base_activation": None} | wanted
    assert found == {key: getattr(options, key) for key in found}
    assert (options.reps, options.readout, options.ansatz.name) == (3, "expectation", "pz")


def test_the_biases_of_rpz_need_no_trainable_weights():
    model = converted("rpz", checkpoint=with_one_value("rpz", {"preacts_bias": 0.3}))
    assert model.options.encoding == "unit"
    assert model.layers[1].encoding_bias[1, 2].tolist() == [0.3] * 3
    weighted = with_one_value("rpz", {"preacts_weight": 2.0})
    for told in (None, False, True):  # the peer reads them whatever it was told
        assert converted("rpz", checkpoint=weighted, preact_trainable=told).options.encoding == "trainable"


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix"])
def test_trainable_encodings_on_demand_are_the_same_function(ansatz):
    model = converted(ansatz, "fixed", preact_trainable=True)
    assert model.options.encoding == "trainable"
    assert model.layers[0].encoding_weight.requires_grad
    assert error(model(inputs(ansatz, "fixed")), exact_outputs(ansatz, "fixed", "expectation")) < TOLERANCE


@pytest.mark.parametrize("ansatz", ["pz", "real", "mix"])
def test_weights_that_the_peer_did_not_read_are_not_read_on_demand(ansatz):
    """Its preact_init=True without preact_trainable leaves random weights in the checkpoint."""
    other = state(ansatz, "fixed")
    for i in (0, 1):
        other[f"layers.{i}.preacts_weight"].uniform_(0.5, 2, generator=generator())
        other[f"layers.{i}.preacts_bias"].uniform_(-1, 1, generator=generator(1))
    x, want = inputs(ansatz, "fixed"), exact_outputs(ansatz, "fixed", "expectation")
    model = converted(ansatz, "fixed", checkpoint=other, preact_trainable=False)
    assert model.options.encoding == "unit"
    assert error(model(x), want) < TOLERANCE
    assert error(converted(ansatz, "fixed", checkpoint=other)(x), want) > 1e-3


@pytest.mark.parametrize(("ansatz", "case"), [pair for pair in CASES if pair[1] != "start"])
def test_pruned_edges_are_masked_and_stay_so(ansatz, case, tmp_path):
    pytest.importorskip("safetensors")
    x = inputs(ansatz, case)
    net = converted(ansatz, case)
    save(net, tmp_path / "model.safetensors")
    for model in (net, load(tmp_path / "model.safetensors")):
        for i, (o, j) in enumerate([(1, 2), (0, 3)]):
            layer = model.layers[i]
            assert layer.mask[o, j] == 0
            assert layer.mask.sum() == layer.mask.numel() - 1
            hidden = torch.rand(5, layer.in_features, dtype=torch.float64)
            assert not layer.contributions(hidden)[:, o, j].any()
            with torch.no_grad():  # nothing of a pruned edge is left to change the output
                for parameter in (layer.theta, layer.scale, layer.base_weight):
                    parameter[o, j] += 1
        assert error(model(x), exact_outputs(ansatz, case, "expectation")) < TOLERANCE


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize(("ansatz", "case"), CASES)
def test_the_model_is_saved_and_loaded(ansatz, case, readout, tmp_path):
    pytest.importorskip("safetensors")
    model, x = converted(ansatz, case, readout), inputs(ansatz, case)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert torch.equal(loaded(x), model(x))
    assert repr(loaded) == repr(model)


@pytest.mark.parametrize(("ansatz", "case"), [pair for pair in CASES if pair[1] != "trainable"])
def test_the_model_is_lowered(ansatz, case):
    lowered = lower(converted(ansatz, case))
    assert error(lowered(inputs(ansatz, case)), exact_outputs(ansatz, case, "expectation")) < TOLERANCE


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_the_dtype_is_kept(dtype, close):
    model = converted(checkpoint=state(dtype=dtype))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {dtype}
    assert error(model(inputs().to(dtype)), outputs()) < close


def test_biases_are_summed_in_double_precision():
    """Three postact biases that cancel, at a size where float32 holds no fraction of the rest."""
    checkpoint = {name: tensor.float() for name, tensor in with_one_value("pz", {}).items()}
    checkpoint["layers.0.postact_bias"][0] = torch.tensor([2.0**25, 0.5, -(2.0**25)])
    assert converted(checkpoint=checkpoint).layers[0].bias[0] == 0.5


def test_the_model_shares_nothing_with_the_checkpoint_and_trains():
    checkpoint = state()
    before = {name: tensor.clone() for name, tensor in checkpoint.items()}
    model = converted(checkpoint=checkpoint)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    model(inputs()).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    optimizer.step()
    assert all(torch.equal(checkpoint[name], tensor) for name, tensor in before.items())


def test_nothing_is_drawn_from_the_global_generator():
    before = torch.get_rng_state()
    converted()
    assert torch.equal(torch.get_rng_state(), before)


class Peer(nn.Module):
    """A module whose state dict is the given one, metadata included, as the peer's `save_ckpt` writes it."""

    def __init__(self, tensors):
        super().__init__()
        for name, tensor in tensors.items():
            *parts, last = name.split(".")
            module = self
            for part in parts:
                if part not in dict(module.named_children()):
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(last, nn.Parameter(tensor, requires_grad=last == "theta"))


@pytest.mark.parametrize("as_path", [Path, str])
def test_files_with_a_state_dict_are_read(as_path, tmp_path):
    path = tmp_path / "ckpt"
    torch.save(Peer(state()).state_dict(), path)
    assert error(converted(checkpoint=as_path(path))(inputs()), outputs()) < TOLERANCE


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


REMEDY = r"damaged, or holds more than tensors.* save the state dict: torch\.save\(model\.state_dict\(\), path\)"


def test_files_that_need_code_are_refused_and_not_executed(tmp_path):
    path, target = tmp_path / "ckpt", tmp_path / "executed"
    torch.save(Peer(state()), path)
    with pytest.raises(ValueError, match=REMEDY):
        converted(checkpoint=path)
    for write in (torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=2))):
        write(Bomb(target), path)
        with pytest.raises(ValueError, match=REMEDY):
            converted(checkpoint=path)
    assert not target.exists()


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_damaged_files_are_refused(kept, tmp_path):
    path = tmp_path / "ckpt"
    torch.save(state(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=REMEDY):
        converted(checkpoint=path)


def test_missing_files_and_folders_say_so(tmp_path):
    for path in (tmp_path / "ckpt", str(tmp_path)):
        with pytest.raises(FileNotFoundError, match=r"no file at .*save_ckpt wrote"):
            converted(checkpoint=path)


def flat(checkpoint):
    """The checkpoint as p_dim=2 stores it: edges in one dimension, angles in another."""
    edges = {name: t.flatten(0, 1) for name, t in checkpoint.items()}
    return {name: t.flatten(1) if name.endswith("theta") else t for name, t in edges.items()}


def grouped(checkpoint, group=2):
    """The checkpoint of layers with an integer group: the first dimension of circuits is gone."""
    shared = ("theta", "preacts_weight", "preacts_bias")
    return {name: t[0, :group] if name.endswith(shared) else t for name, t in checkpoint.items()}


def one():
    return torch.ones(1, dtype=torch.float64)


REFUSED = {
    "missing tensor": (lambda s: changed(s, layers__1__mask=None), r"checkpoint lacks layers\.1\.mask; give the whole"),
    "missing tensors": (
        lambda s: {"layers.0.theta": s["layers.0.theta"]},
        r"lacks layers\.0\.preacts_weight, .* and 2 more; give the whole state dict"),
    "missing layer": (
        lambda s: {name.replace("layers.1", "layers.2"): t for name, t in s.items()},
        r"lacks layers\.1\.theta, layers\.1\.preacts_weight, .* and 3 more"),
    "nothing": (lambda s: {}, r"no names such as layers\.0\.theta; got nothing\. Give"),
    "a prefix": (
        lambda s: {f"head.{name}": t for name, t in s.items()},
        r"no names such as layers\.0\.theta; got head\.layers\.0\.theta, .* and 10 more.* without their prefix"),
    "our own checkpoint": (
        lambda s: QKAN([3, 2]).state_dict(), r"lacks layers\.0\.preacts_weight"),
    "unknown name": (
        lambda s: changed(s, layers__0__phase=one()), r"holds layers\.0\.phase, that is, unknown parameters, which"),
    "batch normalisation": (
        lambda s: changed(s, layers__0__bn__weight=one(), layers__0__bn__num_batches_tracked=one().long()),
        r"holds layers\.0\.bn\.weight, .*that is, batch normalisation \(is_batchnorm=True\), which .*leave these"),
    "linear layers": (
        lambda s: changed(s, layers__2__weight=one(), layers__2__bias=one(), layers__4__weight=one()),
        r"that is, linear layers \(is_map=True\), which from_peer does not convert; leave these entries out"),
    "base activation with parameters": (
        lambda s: changed(s, base_activation__weight=one(), layers__0__base_activation__weight=one()),
        r"that is, a base activation with parameters \(give the module as base_activation\), which"),
    "two reasons": (
        lambda s: changed(s, layers__0__bn__bias=one(), x=one()),
        r"batch normalisation \(is_batchnorm=True\) and unknown parameters"),
    "group": (grouped, r"layers with group, .*layers\.0\.theta is \(2, 4, 2\); from_peer converts group=-1"),
    "p_dim=2": (flat, r"stored with p_dim=2, .*load it into the same QKAN with p_dim=4"),
    "p_dim=2 masks alone": (
        lambda s: changed(s, layers__0__mask=s["layers.0.mask"].flatten()), r"stored with p_dim=2"),
    "dimensions": (
        lambda s: changed(s, layers__0__preacts_weight=one()),
        r"layers\.0 must have theta \[out, in, blocks, angles\], .*got \(4, 3, 4, 2\), \(1,\), \(4, 3\)"),
    "no repetitions": (
        lambda s: changed(s, layers__0__preacts_weight=s["layers.0.preacts_weight"][..., :0]),
        r"layers\.0 must have .*got \(4, 3, 4, 2\), \(4, 3, 0\), \(4, 3\)"),
    "transposed theta": (
        lambda s: changed(s, layers__0__theta=s["layers.0.theta"].transpose(0, 1)),
        r"does not fit itself with reps=3: layers\.0\.theta has shape \(3, 4, 4, 2\), not \(4, 3, 4, 2\)"),
    "transposed biases": (
        lambda s: changed(s, layers__1__postact_bias=s["layers.1.postact_bias"].T),
        r"layers\.1\.postact_bias has shape \(4, 2\), not \(2, 4\)"),
    "widths that do not follow": (
        lambda s: {name.translate(str.maketrans("01", "10")): t for name, t in s.items()},
        r"layers\.1\.theta has shape \(4, 3, 4, 2\), not \(4, 2, 4, 2\); layers\.1\.preacts_weight has"),
    "a mask that is a number": (
        lambda s: changed(s, layers__1__mask=one()[0]), r"layers\.1\.mask has shape \(\), not \(0, 4\)"),
    "layers of different reps": (
        lambda s: {name: t[..., :2] if "1.preacts" in name else t for name, t in s.items()},
        r"layers\.1\.preacts_weight has shape \(2, 4, 2\), not \(2, 4, 3\)"),
    "dtypes": (
        lambda s: changed(s, layers__1__mask=s["layers.1.mask"].float()),
        r"one floating-point dtype; got torch\.float64, torch\.float32: convert"),
    "integers": (
        lambda s: {name: t.int() for name, t in s.items()}, r"one floating-point dtype; got torch\.int32: convert"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_checkpoints_without_a_counterpart_are_refused(name):
    change, match = REFUSED[name]
    with pytest.raises(ValueError, match=match):
        converted(checkpoint=change(state()))


MISFITS = {
    (
        "pz",
        "rpz",
    ): r"ansatz='rpz' with reps=3 has layers\.0\.theta \[out, in, 4, 1\]; got \(4, 3, 4, 2\), as pz and mix",
    ("mix", "px"): r"ansatz='px' .*as pz and mix would have it",
    ("rpz", "real"): r"ansatz='real' with reps=3 has .*\[out, in, 3, 1\]; got \(4, 3, 4, 1\), as rpz and px would",
    ("real", "px"): r"ansatz='px' with reps=3 has .*\[out, in, 4, 1\]; got \(4, 3, 3, 1\), as real would",
    ("px", "mix"): r"ansatz='mix' .*as rpz and px would",
}


@pytest.mark.parametrize(("stored_as", "ansatz"), MISFITS)
def test_an_ansatz_that_does_not_fit_is_refused_with_those_that_do(stored_as, ansatz):
    with pytest.raises(ValueError, match=MISFITS[stored_as, ansatz]):
        from_peer(state(stored_as, "start"), ansatz=ansatz, readout="amplitude")


def test_angles_of_no_ansatz_are_refused():
    odd = {name: t[..., :1, :] if name.endswith("theta") else t for name, t in state().items()}
    with pytest.raises(ValueError, match=r"got \(4, 3, 1, 2\), as no ansatz of the peer would have it"):
        from_peer(odd, ansatz="pz", readout="amplitude")


@pytest.mark.parametrize("name", ["preacts_weight", "preacts_bias"])
@pytest.mark.parametrize("preact_trainable", [None, False, True])
def test_px_with_weights_is_refused(name, preact_trainable):
    checkpoint = state("px", "fixed")
    checkpoint[f"layers.1.{name}"][0, 1, 1] = 0.5
    with pytest.raises(ValueError, match=r"ansatz='px' of the peer encodes arccos\(w x \+ b\), .*no model here"):
        converted("px", "fixed", checkpoint=checkpoint, preact_trainable=preact_trainable)


@pytest.mark.parametrize(("stored_as", "ansatz"), [("pz", "mix"), ("mix", "pz"), ("px", "rpz")])
def test_the_ansatz_has_to_be_named_since_some_share_their_shapes(stored_as, ansatz):
    model = from_peer(state(stored_as, "start"), ansatz=ansatz, readout="expectation")
    assert error(model(inputs(stored_as, "start")), outputs(stored_as, "start")) > 0.1


ARGUMENTS = {
    "ansatz": ({"ansatz": "PZ"}, ValueError, r"ansatz must be a name of the peer's, one of pz, .*; got 'PZ'"),
    "ansatz that is no text": ({"ansatz": ["pz"]}, ValueError, r"ansatz must be a name of the peer's.*got \['pz'\]"),
    "readout": ({"readout": "fast"}, ValueError, r"readout must be one of expectation, amplitude; got 'fast'"),
    "preact_trainable": ({"preact_trainable": 1}, TypeError, r"preact_trainable must be True, False or None; got 1"),
    "base_activation": ({"base_activation": "swish"}, ValueError, r"base_activation must be one of .*'swish'"),
    "solver": ({"solver": "exact"}, ValueError, r"solver must be .*'exact'"),
    "module": ({"checkpoint": nn.Linear(2, 3)}, TypeError, r"got Linear: give model\.state_dict\(\)"),
    "list": ({"checkpoint": [1]}, TypeError, r"checkpoint must be a state dict .*got list"),
    "dict of dicts": (
        {"checkpoint": {"model": OrderedDict(), "epoch": 3}}, TypeError,
        r"'model' is a OrderedDict\. If the state dict is an entry"),
    "numbers as names": ({"checkpoint": {0: torch.ones(1)}}, TypeError, r"must map names to tensors; 0 is a Tensor"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_checked(name):
    given, exception, match = ARGUMENTS[name]
    with pytest.raises(exception, match=match):
        from_peer(**{"checkpoint": state(), "ansatz": "pz", "readout": "expectation"} | given)


def test_what_a_checkpoint_does_not_say_has_to_be_given():
    with pytest.raises(TypeError, match=r"missing 2 required keyword-only arguments: 'ansatz' and 'readout'"):
        from_peer(state())
