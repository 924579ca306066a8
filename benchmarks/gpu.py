"""Claim: on CUDA too a QKAN layer beats the peer's solvers, and CUDA graphs take the launches off small batches.

    python benchmarks/gpu.py --peer peer/bin/python

What against_gemm.py, scaling.py, hqkan_step.py, operators.py and against_peer.py measure, on the GPU: times between
CUDA events, memory as the peak of what is allocated. Beside eager and compiled: `graphed`, forward and backward as a
graph each (torch.cuda.make_graphed_callables), and `replay`, the whole run as one torch.cuda.CUDAGraph. The peer's
solvers: exact, flash (Triton), cutn, and the others where they are installed.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import against_gemm
import against_peer
import hqkan_step
import operators
import peer_cases
import scaling
import torch
from harness import Row
from reporting import report, table
from variants import Setup, parse, reason

REFUSAL = "benchmarks/gpu.py needs an NVIDIA GPU and a torch built with CUDA; torch.cuda.is_available() is False here."
PEERS = ("exact", "flash", "cutn", "cute", "cutile")

Part = Callable[[Setup], list[Row]]


def gpu_cases() -> list[peer_cases.Case]:
    """Return the cases of the CPU, with the peer's solvers for GPUs."""
    big = [case for case in peer_cases.CASES if case.peers is peer_cases.SERIOUS]
    return [replace(case, peers=PEERS, pages=False) for case in big]


def parts(python: str) -> dict[str, Part]:
    return {
        "against_gemm": against_gemm.rows,
        "against_peer": lambda setup: against_peer.rows(setup, python, gpu_cases()),
        "operators": operators.rows,
        "hqkan_step": hqkan_step.rows,
        "scaling": scaling.rows,
    }


def measure(parts: dict[str, Part], setup: Setup) -> Iterable[Row]:
    """Yield the rows of every part; one that fails tells why, and the others are measured."""
    for name, rows in parts.items():
        try:
            found = rows(setup)
        except Exception as error:  # told in the table: the machine may be lent for this one run
            found = [{"failed": reason(error)}]
        print(name, table(found), sep="\n", flush=True)
        yield from ({"part": name, **row} for row in found)


def main() -> None:
    setup, options = parse(__doc__, "--peer")
    if not torch.cuda.is_available():
        raise SystemExit(REFUSAL)
    python = os.path.abspath(options.peer)
    versions = against_peer.peer_versions(python)
    rows = list(measure(parts(python), replace(setup, device="cuda")))
    report(str(__doc__).splitlines()[0], rows, quick=setup.quick, peer=versions)


if __name__ == "__main__":
    main()
