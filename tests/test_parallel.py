"""Layers on two processes equal one process: values, gradients, steps and states, for every way to cut them."""

import copy
import re
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers import error, generator, layers_of, masked, perturb
from torch import multiprocessing, nn
from torch.distributed.checkpoint import state_dict as states
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import parallelize_module

from qkan import HQKAN, QKAN, QKANLinear, load, lower
from qkan.noise import Noise
from qkan.parallel import ColwiseParallel, RowwiseParallel, reset_parameters
from qkan.solvers import Fourier, PennyLane

PAGE = Path(__file__).parent.parent / "docs" / "parallel.md"
TOLERANCE = 1e-12
LIMIT = 120  # seconds, after which two processes count as stuck

# Options of the layers; a base activation, a bias or a trainable encoding each are cut in their own way.
ROWS = {
    "plain": {},
    "all": {"scale": True, "bias": True, "base_activation": nn.SiLU},
    "trainable": {"encoding": "trainable", "bias": True},
    "trainable-shared": {"encoding": "trainable-shared", "reps": 2, "bias": True},
    "amplitude": {"readout": "amplitude", "scale": True},
    "rpz": {"ansatz": "rpz", "encoding": "ternary", "reps": 2},
    "noise": {"noise": Noise(depolarizing=0.02), "bias": True},
}
WIDTHS = {"even": (6, 10, 4), "uneven": (5, 7, 3)}
PLANS = {
    "column": {"layers.*": lambda: ColwiseParallel(output_layouts=Replicate())},
    "row": {"layers.*": lambda: RowwiseParallel(input_layouts=Replicate())},
    "column-row": {"layers.0": ColwiseParallel, "layers.1": RowwiseParallel},
    "row-column": {
        "layers.0": lambda: RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(-1)),
        "layers.1": lambda: ColwiseParallel(input_layouts=Shard(-1), output_layouts=Replicate()),
    },
    "batch": {
        "layers.0": lambda: ColwiseParallel(use_local_output=False),
        "layers.1": lambda: RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate()),
    },
}
TENSOR_PARALLEL = [f"{plan}/{row}/even" for plan in PLANS for row in ROWS] + [
    f"{plan}/{row}/uneven" for plan in PLANS for row in ("all", "trainable-shared")
]
SHARDED_DATA = [f"{mesh}/{row}" for mesh in ("fsdp", "1x2", "2x1") for row in ("all", "trainable", "trainable-shared")]


def model_of(row, widths="even"):
    return masked(perturb(QKAN(WIDTHS[widths], dtype=torch.float64, **ROWS[row])))


def cut(model, mesh, plan):
    return parallelize_module(copy.deepcopy(model), mesh, {name: style() for name, style in plan.items()})


def full(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def data(model, batch=6):
    return torch.rand(batch, layers_of(model)[0].in_features, generator=generator(3), dtype=torch.float64) * 4 - 2


def step(model, x, factor=1.0):
    """Output, gradients of x and of the parameters, their norm, and the state after a clipped step of Adam, all whole.

    The gradients are those of the loss times `factor`, but for that of x.
    """
    x = x.clone().requires_grad_()
    y = model(x)
    weights = torch.linspace(-1, 2, y.shape[-1], dtype=y.dtype)
    ((y + weights).square().sum() * factor).backward()
    parameters = dict(model.named_parameters())
    for p in parameters.values():
        assert not isinstance(p, DTensor) or p.grad.placements == p.placements
    found = {"y": y.detach(), "x": x.grad / factor}
    found |= {f"gradient of {name}": full(p.grad).clone() for name, p in parameters.items()}
    found["norm"] = full(nn.utils.clip_grad_norm_(parameters.values(), 1.0))
    torch.optim.Adam(parameters.values(), lr=0.1, eps=1e-2).step()
    return found | {name: full(tensor).clone() for name, tensor in model.state_dict().items()}


def compare(got, want):
    assert set(got) == set(want)
    errors = {name: error(got[name], want[name]) for name in want}
    assert max(errors.values()) < TOLERANCE, {name: value for name, value in errors.items() if value >= TOLERANCE}
    assert all(tensor.abs().max() > 0 for name, tensor in want.items() if "bias" not in name), "nothing was compared"


# What two processes do, by case. Every process computes the whole model too, which is what one process computes.


def tensor_parallel(rank, mesh, plan, row, widths):
    model = model_of(row, widths)
    sharded = cut(model, mesh, PLANS[plan])
    assert all(type(tensor.data) is DTensor for tensor in sharded.state_dict().values())
    x = data(model)
    compare(step(sharded, x), step(model, x))


def sharded_data(rank, mesh, shape, row):
    """FSDP2, and on a mesh of two dimensions on top of a cut: the processes share the batch, or do not."""
    from torch.distributed.fsdp import fully_shard  # since torch 2.6

    model = model_of(row)
    sharded, split = copy.deepcopy(model), 2 if shape == "fsdp" else int(shape[0])
    if shape != "fsdp":
        grid = init_device_mesh("cpu", (split, 2 // split), mesh_dim_names=("dp", "tp"))
        sharded, mesh = cut(model, grid["tp"], PLANS["column-row"]), grid["dp"]
    for layer in sharded.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    x, part = data(model), slice(None) if split == 1 else slice(3 * rank, 3 * rank + 3)
    want = step(model, x)
    # FSDP2 averages gradients over the processes, and a loss is a sum here.
    compare(step(sharded, x[part], factor=split), want | {"y": want["y"][part], "x": want["x"][part]})


def hqkan(rank, mesh):
    """One plan for linear and quantum layers: torch's own styles are in these."""
    model = perturb(HQKAN(6, 4, latent=(8, 6, 4), dtype=torch.float64, **ROWS["all"]))
    plan = {
        "encoder": ColwiseParallel,
        "core.layers.0": RowwiseParallel,
        "core.layers.1": ColwiseParallel,
        "decoder": RowwiseParallel,
    }
    x = torch.rand(5, 6, generator=generator(3), dtype=torch.float64)
    compare(step(cut(model, mesh, plan), x), step(model, x))


def part_of_a_model(rank, mesh):
    """A cut core between linear layers that every process holds whole."""
    model = perturb(HQKAN(5, 4, latent=(7, 6, 3), dtype=torch.float64, **ROWS["all"]))
    sharded = cut(model, mesh, {"core.layers.0": ColwiseParallel, "core.layers.1": RowwiseParallel})
    x = torch.rand(5, 5, generator=generator(3), dtype=torch.float64)
    results = []
    for net in (sharded, model):
        net(x).square().sum().backward()
        results.append({name: full(p.grad) for name, p in net.named_parameters()})
    compare(*results)


def lowered(rank, mesh):
    for row in ("all", "rpz", "trainable-shared"):
        model = lower(model_of(row, "uneven"))
        x = torch.rand(4, 5, generator=generator(3), dtype=torch.float64)
        for plan in PLANS.values():
            assert error(cut(model, mesh, plan)(x), model(x)) < TOLERANCE


def communication(rank, mesh):
    """Column then row: one sum of y in the forward pass, one of the gradient of x, and none between the layers."""
    model = model_of("all")
    sharded, x = cut(model, mesh, PLANS["column-row"]), data(model).requires_grad_()
    with CommDebugMode() as forward:
        y = sharded(x)
    with CommDebugMode() as backward:
        y.sum().backward()
    # The backward pass sums also the gradient of the row layer's bias.
    assert [sum(mode.get_comm_counts().values()) for mode in (forward, backward)] == [1, 2]
    assert all("all_reduce" in str(name) for mode in (forward, backward) for name in mode.get_comm_counts())


def plain_tensors(rank, mesh):
    """The solver gets tensors, not DTensors, so that its fast ways are open."""
    seen, usual = [], Fourier.layer

    def spy(self, *given):
        seen.extend(type(tensor) for tensor in given if isinstance(tensor, torch.Tensor))
        return usual(self, *given)

    model = model_of("trainable-shared")
    Fourier.layer = spy
    try:
        for plan in PLANS.values():
            cut(model, mesh, plan)(data(model).requires_grad_())
    finally:
        Fourier.layer = usual
    assert len(seen) >= 4 * 2 * len(PLANS)
    assert set(seen) == {torch.Tensor}


def shards(rank, mesh):
    """What a process holds, and the part of y that it returns."""
    model = model_of("trainable-shared", "uneven")
    x, sharded = data(model), cut(model, mesh, {"layers.0": ColwiseParallel, "layers.1": RowwiseParallel})
    column, row = sharded.layers
    assert error(column(x), model.layers[0](x).chunk(2, -1)[rank]) < TOLERANCE
    want = {"theta": Shard(0), "mask": Shard(0), "bias": Shard(0), "encoding_weight": Replicate()}
    assert {name: column.get_parameter(name).placements[0] for name in want if name != "mask"} | {
        "mask": column.mask.placements[0]
    } == want
    want = {"theta": Shard(1), "bias": Replicate(), "encoding_weight": Shard(0)}
    assert {name: row.get_parameter(name).placements[0] for name in want} == want
    assert row.theta.to_local().shape[:2] == (3, [4, 3][rank])
    assert "cut=in" in repr(row)
    assert row.config() == model.layers[1].config()
    whole = cut(model.layers[0], mesh, {"": lambda: ColwiseParallel(use_local_output=False)})(x)
    assert error(whole.full_tensor(), model.layers[0](x)) < TOLERANCE
    assert whole.placements == (Shard(1),)
    assert error(column(distribute_tensor(x, mesh, [Shard(0)])), column(x)) < TOLERANCE
    assert column(x[:0]).shape == (0, [4, 3][rank])
    assert column(x[0]).shape == ([4, 3][rank],)
    for got, text in ((x[:, 1:], r"\[\*batch, 5\]"), (distribute_tensor(x[:, 1:], mesh), r"\[\*batch, 5\]")):
        with pytest.raises(ValueError, match=text):
            column(got)
    with pytest.raises(ValueError, match=rf"\[\*batch, {[4, 3][rank]}\]"):
        row(torch.zeros(2, 7, dtype=x.dtype))
    with pytest.raises(TypeError, match="floating-point"):
        column(None)


def state(rank, mesh):
    """States go both ways: from a whole model to a cut one, and back."""
    model, other = model_of("all", "uneven"), perturb(model_of("all", "uneven"), seed=5)
    for plan in ("column", "row", "column-row"):
        sharded = cut(model, mesh, PLANS[plan])
        options = states.StateDictOptions(full_state_dict=True)
        found = states.get_model_state_dict(sharded, options=options)
        if rank == 0:
            compare(found, model.state_dict())
        states.set_model_state_dict(sharded, other.state_dict(), options=options)
        compare({name: full(tensor) for name, tensor in sharded.state_dict().items()}, other.state_dict())
        again = cut(model, mesh, PLANS[plan])
        again.load_state_dict(sharded.state_dict())
        assert error(again(data(model)), other(data(model))) < TOLERANCE


def frozen(rank, mesh):
    """What is not trained stays so."""
    model = model_of("all")
    model.layers[0].theta.requires_grad_(False)
    for net in (model, lower(model)):
        sharded = cut(net, mesh, PLANS["column-row"])
        assert {name: p.requires_grad for name, p in sharded.named_parameters()} == {
            name: p.requires_grad for name, p in net.named_parameters()
        }


def copies(rank, mesh):
    model = model_of("all")
    sharded = cut(model, mesh, PLANS["column-row"])
    assert torch.equal(copy.deepcopy(sharded)(data(model)), sharded(data(model)))
    assert torch.equal(sharded.eval()(data(model)), sharded(data(model)))


def huge(rank, mesh):
    """10^9 edges, of which no process holds any: where every tensor would lie."""
    layer = QKANLinear(32768, 32768, bias=True, device="meta")
    parallelize_module(layer, mesh, RowwiseParallel())
    assert layer.theta.numel() > 8e9
    assert layer.theta.to_local().shape == (32768, 16384, 8)
    assert layer.mask.to_local().shape == (32768, 16384)
    assert {tensor.device.type for tensor in layer.state_dict().values()} == {"meta"}


def start(rank, mesh):
    """From the meta device to a start: the parts are drawn apart, by the widths of the whole layer."""
    from torch.distributed.fsdp import fully_shard

    options = {"device": "meta", "dtype": torch.float64, **ROWS["all"]}
    for plan in ("column", "row", "fsdp"):
        model = QKAN([60, 40, 20], **options)
        if plan == "fsdp":
            for layer in model.layers:
                fully_shard(layer, mesh=mesh)
        else:
            model = cut(model, mesh, PLANS[plan])
        model.to_empty(device="cpu")
        reset_parameters(model, generator(rank))
        whole = QKAN([60, 40, 20], dtype=torch.float64, **ROWS["all"])
        x = torch.rand(4, 60, generator=generator(3), dtype=torch.float64)
        for layer, usual in zip(model.layers, whole.layers, strict=True):
            theta = layer.theta.detach().full_tensor()
            assert float(theta.std()) == pytest.approx(float(usual.theta.detach().std()), rel=0.05)
            halves = theta.chunk(2, 1 if plan == "row" else 0)
            assert not torch.equal(*halves)
            assert full(layer.mask).eq(1).all()
            assert layer.scale.full_tensor().eq(1).all()
            assert float(layer.base_weight.detach().full_tensor().abs().max()) == pytest.approx(
                layer.in_features**-0.5, rel=0.05
            )
        whole.load_state_dict({name: full(tensor) for name, tensor in model.state_dict().items()})
        assert error(model(x), whole(x)) < TOLERANCE


def refusals(rank, mesh):
    model = model_of("all")
    sharded = cut(model, mesh, PLANS["column"])
    with pytest.raises(TypeError, match=r"once and before fully_shard; got ShardedQKANLinear"):
        parallelize_module(sharded.layers[0], mesh, RowwiseParallel())
    with pytest.raises(ValueError, match="seeded differently on every rank"):
        sharded.layers[0].reset_parameters()
    with pytest.raises(ValueError, match="change shots before it is sharded"):
        sharded.layers[0].with_options(shots=10)
    with pytest.raises(ValueError, match=r"out_features=1 leaves a rank of 2 without any .* fewer ranks"):
        parallelize_module(QKANLinear(3, 1), mesh, ColwiseParallel())
    with pytest.raises(ValueError, match="in_features=1 leaves"):
        parallelize_module(QKANLinear(1, 3), mesh, RowwiseParallel())
    with pytest.raises(ValueError, match=r"one dimension; got 2: .*mesh\['tp'\]"):
        parallelize_module(QKANLinear(3, 3), init_device_mesh("cpu", (1, 2)), RowwiseParallel())


OTHERS = {
    f.__name__: f
    for f in (
        hqkan,
        part_of_a_model,
        lowered,
        communication,
        plain_tensors,
        shards,
        state,
        frozen,
        copies,
        huge,
        start,
        refusals,
    )
}
CASES = (
    {f"cut {name}": (tensor_parallel, *name.split("/")) for name in TENSOR_PARALLEL}
    | {f"data {name}": (sharded_data, *name.split("/")) for name in SHARDED_DATA}
    | {name: (function,) for name, function in OTHERS.items()}
)


def work(rank, folder):
    """One of the processes: run all cases, and write down what failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mesh, failed = init_device_mesh("cpu", (2,)), {}
    for name, (function, *arguments) in CASES.items():
        try:
            torch.manual_seed(0)
            function(rank, mesh, *arguments)
        except Exception:
            failed[name] = traceback.format_exc()
    torch.save((list(CASES), failed), f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What failed, by case, on the two processes."""
    folder = tmp_path_factory.mktemp("processes")
    context = multiprocessing.start_processes(work, (str(folder),), nprocs=2, join=False, start_method="spawn")
    deadline = time.monotonic() + LIMIT
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, f"two processes did not end within {LIMIT} s"
    finally:
        for process in context.processes:
            process.kill()
    found = [torch.load(folder / str(rank), weights_only=True) for rank in range(2)]
    assert all(ran == list(CASES) for ran, _ in found)
    return [failed for _, failed in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(outcome, name):
    for rank, failed in enumerate(outcome):
        assert name not in failed, f"process {rank}: {failed[name]}"


def run(folder, *command):
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout


# The program as it stands, but for the end of its interpreter: gloo's threads now and then abort there.
RUN = "import os, runpy, sys; runpy.run_path('train.py', run_name='__main__'); sys.stdout.flush(); os._exit(0)"


@pytest.mark.slow
@pytest.mark.parametrize("ranks_per_cut", ["2", "1"])
def test_the_page_runs(tmp_path, ranks_per_cut):
    program, reading = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "train.py").write_text(program, encoding="utf-8")
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    (tmp_path / "read.py").write_text(reading, encoding="utf-8")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    shown = run(tmp_path, *launch, "run.py", "64", ranks_per_cut)
    first, last = (float(loss) for loss in re.findall(r"8192 edges, step \d+, loss (.+)", shown))
    assert last < 0.5 * first
    run(tmp_path, "read.py")
    x = torch.rand(32, 64)
    assert (load(tmp_path / "model.safetensors")(x) - x.sin()).square().mean() < 0.5 * first


@pytest.mark.slow
def test_the_memory_that_the_page_counts():
    """Bytes per edge of the table, from a layer and its optimizer."""
    layer = QKANLinear(6, 5)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.rand(2, 6)).sum().backward()
    optimizer.step()
    moments = optimizer.state[layer.theta]
    held = (layer.theta, layer.mask, layer.theta.grad, moments["exp_avg"], moments["exp_avg_sq"])
    assert sum(tensor.nbytes for tensor in held) == 132 * 30


# Refusals that need no process: the checks come before the mesh is used.


@pytest.mark.parametrize("style", [ColwiseParallel, RowwiseParallel])
def test_other_modules_are_refused_by_name(style):
    with pytest.raises(TypeError, match=rf"{style.__name__} cuts a QKANLinear.*got QKAN: .*'layers.0'"):
        style()._apply(QKAN([3, 2]), None)


class Mesh:
    """As much of a mesh of two processes as checks look at."""

    ndim = 1

    def size(self):
        return 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 10}, r"shots=10 and .* cannot be cut.*use shots=None"),
        ({"solver": PennyLane("default.qubit", shots=7)}, "cannot be cut.*another solver"),
        ({"solver": "pennylane"}, "solver=pennylane cannot be cut.*another solver"),
        ({"base_activation": nn.PReLU()}, "base_activation PReLU has parameters.*fully_shard alone"),
    ],
)
def test_layers_that_cannot_be_cut_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ColwiseParallel()._apply(QKANLinear(4, 4, **options), Mesh())


def test_importing_the_package_does_not_import_it():
    code = "import sys, qkan; print('qkan.parallel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_torch_distributed_it_says_so():
    code = "import torch; torch.distributed.is_available = lambda: False; import qkan.parallel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: qkan.parallel needs torch.distributed" in done.stderr
