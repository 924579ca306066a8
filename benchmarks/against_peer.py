"""Claim: a QKAN layer, forward and backward on a CPU, is over 100 times faster than the exact solver of qkan 0.2.3.

    python -m venv peer && peer/bin/pip install torch tqdm matplotlib numpy sympy qkan==0.2.3
    python benchmarks/against_peer.py --peer peer/bin/python

The peer runs in an interpreter of its own, with the same θ, inputs and threads, in turn with this package; its outputs
are compared with ours before anything is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
from harness import interleaved, report

from qkan import QKANLinear

CASES = [  # in, out, batch, readout, solver of the peer, calls per round
    (32, 28, 1000, "expectation", "exact", 3),
    (32, 28, 1000, "amplitude", "exact", 3),
    (784, 64, 128, "expectation", "exact", 1),
]


class Peer:
    """The worker process."""

    def __init__(self, python: str, folder: Path, request: dict[str, object]) -> None:
        worker = Path(__file__).with_name("peer_worker.py")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [python, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
        )
        self.ask(request)

    def ask(self, request: dict[str, object]) -> object:
        """Send a request and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the peer's process ended with status {self.process.wait()}")
        return json.loads(answer)


def measure(python: str, n_in: int, n_out: int, batch: int, readout: str, solver: str, calls: int) -> dict[str, object]:
    layer = QKANLinear(n_in, n_out, readout=readout)
    x, upstream = torch.randn(batch, n_in, requires_grad=True), torch.randn(batch, n_out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs, outputs = folder / "inputs.pt", folder / "outputs.pt"
        torch.save({"theta": layer.theta.detach(), "x": x.detach(), "upstream": upstream}, inputs)
        request = {"inputs": str(inputs), "outputs": str(outputs), "solver": solver, "threads": torch.get_num_threads()}
        peer = Peer(python, folder, {**request, "amplitude": readout == "amplitude"})
        difference = (torch.load(outputs, weights_only=True) - layer(x)).abs().max().item()
        if difference > 1e-4 * n_in**0.5:
            raise SystemExit(f"the sides compute different functions: outputs differ by {difference:.2g}")
        ours, theirs = [], []
        for _ in range(5):
            side = {"layer": lambda: torch.autograd.grad(layer(x), [x, layer.theta], upstream)}
            ours += interleaved(side, rounds=1, calls=20)["layer"]
            theirs.append(float(str(peer.ask({"calls": calls}))))
        peer.process.stdin.close()  # type: ignore[union-attr]
        peer.process.wait()
    return {
        "in": n_in,
        "out": n_out,
        "batch": batch,
        "readout": readout,
        "peer solver": solver,
        "ours ms": statistics.median(ours),
        "peer ms": statistics.median(theirs),
        "ratio": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "difference": difference,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="an interpreter that has qkan 0.2.3 installed")
    python = os.path.abspath(parser.parse_args().peer)
    torch.manual_seed(0)
    report(str(__doc__).splitlines()[0], [measure(python, *case) for case in CASES])
