"""An engine on Hugging Face Accelerate: one process or many, copies or parts of the model, mixed precision."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from qkan.jobs.config import Train
from qkan.training.engine import Engine
from qkan.training.fitness import check_alike

if TYPE_CHECKING:
    from accelerate import Accelerator  # type: ignore[import-untyped]

__all__ = ["Accelerated", "make_accelerator"]


def make_accelerator(train: Train, out: str | None = None, trackers: Sequence[str] = ()) -> "Accelerator":
    """Return the accelerator of a job, for the processes that its launcher has started.

    Args:
        train: device and precision.
        out: a folder for trackers.
        trackers: by the names of Accelerate.

    Raises:
        ValueError: a device or a precision that is not to be had.
        ImportError: without Accelerate.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, PartialState  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError('qkan train needs Accelerate: pip install "qkan-torch[train]"') from error
    available = torch.cuda.is_available()
    if train.device == "cuda" and not available:
        raise ValueError("train.device is cuda, but torch finds no GPU: use cpu")
    cpu = train.device == "cpu" or not available
    if train.precision == "fp16" and cpu:
        raise ValueError("train.precision is fp16, which needs a GPU: use bf16 or single")
    if not torch.distributed.is_initialized():
        # it keeps the settings of the first job of a process, and refuses those of the next
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
    mixed = train.precision if train.precision in ("bf16", "fp16") else "no"
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        # it tells of threads that it gives to each of several processes; how many they are is for the job to say
        warnings.filterwarnings("ignore", "OMP_NUM_THREADS/MKL_NUM_THREADS unset")
        accelerator = Accelerator(cpu=cpu, mixed_precision=mixed, log_with=list(trackers) or None, project_dir=out)
    torch.set_num_threads(threads)
    return accelerator


class _Call(nn.Module):
    """Stands between Accelerate and a model: what Accelerate does to `forward` leaves the model alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Any:
        return self.model(inputs)


@final
class Accelerated(Engine):
    """Runs steps through an accelerator.

    Args:
        accelerator: of this process.
        strategy: "ddp" or "fsdp".
    """

    def __init__(self, accelerator: "Accelerator", strategy: str = "ddp") -> None:
        self.accelerator = accelerator
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.cut = strategy == "fsdp" and self.world > 1
        self._scaled: Optimizer | None = None

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> nn.Module:
        """Return the model as Accelerate calls it; FSDP2 cuts the model itself.

        Raises:
            ValueError: L-BFGS with gradients scaled for fp16.
        """
        if self.cut:
            _cut(model, optimizer, self.world)
        forward = self.accelerator.prepare_model(_Call(model), device_placement=False, evaluation_mode=self.cut)
        if self.accelerator.scaler is not None:
            if isinstance(optimizer, LBFGS):
                raise ValueError("train.precision fp16 scales gradients, which LBFGS does not expect: use single")
            self._scaled = self.accelerator.prepare_optimizer(optimizer, device_placement=False)
        made: nn.Module = forward
        return made

    def backward(self, loss: Tensor) -> None:
        """Add to the gradients."""
        self.accelerator.backward(loss)

    def alone(self, forward: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which gradients stay with their process; parts of a model always meet."""
        if self.cut:
            return nullcontext()
        context: AbstractContextManager[Any] = self.accelerator.no_sync(forward)
        return context

    def clip(self, parameters: Sequence[Tensor], norm: float) -> None:
        """Shorten the gradients together to a Euclidean norm."""
        self.accelerator.clip_grad_norm_(parameters, norm)

    def step(self, optimizer: Optimizer, closure: Callable[[], Tensor]) -> None:
        """Take a step of the optimizer; of scaled gradients, one that overflowed is left out."""
        if self._scaled is None:
            optimizer.step(closure)  # type: ignore[arg-type]  # torch annotates float
        else:
            closure()
            self._scaled.step()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes."""
        if self.world == 1:
            return values
        total: Tensor = self.accelerator.reduce(values.to(self.accelerator.device), "sum")
        return total.to(values.device)

    def agree(self, model: nn.Module) -> None:
        """Give every process the buffers of the first."""
        if self.world > 1:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every process."""
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, value)
        return found

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor whole."""
        if not self.cut:
            return tensor
        from torch.distributed.tensor import DTensor

        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def part(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Return this process's part of a tensor."""
        if not self.cut:
            return tensor
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return tensor
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)

    def state(self) -> dict[str, Any]:
        """Return the state of the scaler of gradients."""
        scaler = self.accelerator.scaler
        return {} if scaler is None else {"scaler": scaler.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        check_alike(state, self.state())
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])


def _cut(model: nn.Module, optimizer: Optimizer, world: int) -> None:
    """Cut the parameters with `fully_shard`, and give the optimizer the parts."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model.to(memory_format=torch.contiguous_format)  # no other can be cut
    before = dict(model.named_parameters())
    mesh = init_device_mesh(next(iter(before.values())).device.type, (world,))
    for unit in _units(model):
        fully_shard(unit, mesh=mesh)
    fully_shard(model, mesh=mesh)
    after = dict(model.named_parameters())
    parts = {id(parameter): after[name] for name, parameter in before.items()}
    for group in optimizer.param_groups:
        group["params"] = [parts[id(parameter)] for parameter in group["params"]]


def _units(module: nn.Module) -> list[nn.Module]:
    """Return what is gathered for its own forward pass: the members of sequences, which are called as they are."""
    found: list[nn.Module] = []
    for child in module.children():
        if type(module) is nn.Sequential and any(True for _ in child.parameters()):
            found.append(child)
        else:
            found += _units(child)
    return found
