"""What the benchmarks share: sides timed in turn, and memory."""

import gc
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Row = dict[str, Any]
Run = Callable[[], object]
Timer = Callable[[Run, int], float]

ROUND_MS = 200.0


def wall_ms(run: Run, calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median milliseconds of the calls, each by itself."""
    times = []
    for _ in range(calls):
        start = clock()
        run()
        times.append((clock() - start) * 1e3)
    return statistics.median(times)


def event_ms(run: Run, calls: int, event: Callable[[], Any] | None = None) -> float:
    """Return the median milliseconds of the calls between CUDA events, queued without waiting in between."""
    new = event or partial(torch.cuda.Event, enable_timing=True)
    pairs = [(new(), new()) for _ in range(calls)]
    for start, end in pairs:
        start.record()
        run()
        end.record()
    pairs[-1][1].synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in pairs)


def timer_of(device: str) -> Timer:
    return event_ms if device == "cuda" else wall_ms


def calls_of(run: Run, timer: Timer) -> int:
    """Warm up, and return how many calls fill a round of about 0.2 s."""
    run()
    run()
    return max(1, min(100, int(ROUND_MS / max(timer(run, 1), 1e-3))))


def in_turn(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return what each side measures in every round, the sides in turn."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            measured[name].append(measure())
    return measured


def interleaved(
    sides: Mapping[str, Run], rounds: int, calls: int | None = None, timer: Timer = wall_ms
) -> dict[str, list[float]]:
    """Return, per side, the median milliseconds of its calls in each of the rounds, the sides in turn."""
    counts = {name: calls_of(run, timer) for name, run in sides.items()}
    return in_turn({name: partial(timer, run, calls or counts[name]) for name, run in sides.items()}, rounds)


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float | None:
    """Return the median over the rounds of one side's time by the other's; None if one was not measured."""
    if one not in times or other not in times:
        return None
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def median(times: Mapping[str, list[float]], name: str) -> float | None:
    return statistics.median(times[name]) if name in times else None


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    held = [t.untyped_storage() for t in tensors if t.device.type != "meta"]
    return {storage.data_ptr(): storage.nbytes() for storage in held}


def _alive() -> dict[int, int]:
    gc.collect()
    plain = (o for o in gc.get_objects() if type(o) in (Tensor, torch.nn.Parameter))
    return _storages(t for t in plain if not torch._C._functorch.is_functorch_wrapped_tensor(t))


def saved_for_backward(run: Callable[[], Tensor], known: Iterable[Tensor]) -> float:
    """Return the MiB of unique storage that is kept for backward, without that of the known tensors.

    Counted are tensors that autograd saves, and those that only Python holds (as checkpointing does) but the result.
    """
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    before = _alive()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    after = {pointer: size for pointer, size in _alive().items() if pointer not in _storages([result])}
    excluded = before | _storages(known)
    return sum(size for pointer, size in (after | _storages(kept)).items() if pointer not in excluded) / 2**20


def peak_mib(run: Run, device: str = "cpu") -> float | None:
    """Return by how many MiB two runs raise the peak resident size (on CUDA: the peak of allocated memory)."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    _forget_peak()
    before_kib = _status("VmRSS")
    run()
    run()
    peak = _status("VmHWM")
    return None if before_kib is None or peak is None else (peak - before_kib) / 1024


def _forget_peak() -> None:
    """Let the peak resident size start anew (Linux)."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def _status(name: str) -> int | None:
    """Return a size of this process in KiB; unlike getrusage's it does not start at the parent's."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s+(\d+)", path.read_text(), re.MULTILINE) if path.exists() else None
    return int(found[1]) if found else None
