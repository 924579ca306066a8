"""What every benchmark times of a module: eager, compiled, and on CUDA as graphs; and the options of the scripts."""

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from harness import Run, Timer, timer_of
from reporting import report
from torch import Tensor, nn

Step = Callable[[Callable[[Tensor], Tensor], Sequence[Tensor]], Run]


@dataclass(frozen=True)
class Setup:
    """Where and how thoroughly to measure; quick is for trying the scripts out, its numbers mean nothing."""

    device: str = "cpu"
    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often every side has its turn."""
        return 1 if self.quick else 7

    @property
    def calls(self) -> int | None:
        """Calls per turn; None for as many as fill 0.2 s."""
        return 1 if self.quick else None

    @property
    def timer(self) -> Timer:
        """The clock of the device."""
        return timer_of(self.device)

    def batch(self, size: int) -> int:
        """Return the size of a batch, smaller where it is quick."""
        return max(2, size // 16) if self.quick else size


def parse(doc: str | None, *required: str) -> tuple[Setup, argparse.Namespace]:
    """Return the setup and all options of a script: --quick, --device, and those that it requires."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of small batches: to try the script out")
    for name in required:
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    return Setup(quick=options.quick), options


def main(doc: str | None, rows: Callable[[Setup], list[dict[str, Any]]]) -> None:
    """Measure on the CPU and report."""
    setup, _ = parse(doc)
    report(str(doc).splitlines()[0], rows(setup), quick=setup.quick)


def compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the compiled module: one graph, its shapes fixed, and an error where torch would silently stay eager."""
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    function: Callable[[Tensor], Tensor] = torch.compile(module, fullgraph=True, dynamic=False)
    return function


def step(x: Tensor, upstream: Tensor) -> Step:
    """Return what makes a forward and backward pass of a function, with gradients of x and all parameters."""

    def build(function: Callable[[Tensor], Tensor], parameters: Sequence[Tensor]) -> Run:
        return lambda: torch.autograd.grad(function(x), [x, *parameters], upstream)

    return build


def inference(x: Tensor) -> Step:
    """Return what makes a forward pass without gradients."""

    def build(function: Callable[[Tensor], Tensor], _parameters: Sequence[Tensor]) -> Run:
        return lambda: _without_gradients(function, x)

    return build


@torch.no_grad()
def _without_gradients(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return function(x)


def variants(module: nn.Module, build: Step, setup: Setup, x: Tensor) -> tuple[dict[str, Run], dict[str, str]]:
    """Return the module's runs by name, and why those that there are not are missing."""
    makers: dict[str, Callable[[], Run]] = {
        "eager": lambda: build(module, trainable(module)),
        "compiled": lambda: build(compiled(module), trainable(module)),
    }
    if setup.device == "cuda":
        makers["graphed"] = lambda: _graphed(module, build, x)
        makers["replay"] = lambda: replay(build(module, trainable(module)))
    runs, reasons = {}, {}
    for name, make in makers.items():
        try:
            runs[name] = make()
            runs[name]()
        except Exception as error:  # whatever it is, it is told in the table
            runs.pop(name, None)
            reasons[name] = reason(error)
    return runs, reasons


def trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _graphed(module: nn.Module, build: Step, x: Tensor) -> Run:
    """Forward and backward as one CUDA graph each."""
    copied = copy.deepcopy(module)  # make_graphed_callables changes the module that it is given
    sample = x.detach().clone().requires_grad_(x.requires_grad)
    return build(torch.cuda.make_graphed_callables(copied, (sample,)), trainable(copied))


def replay(run: Run) -> Run:
    """Return the replay of the whole run, captured as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def reason(error: BaseException) -> str:
    """Return what went wrong, in one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:160]
