"""Runs in the peer's own interpreter (both packages import as `qkan`): times its layer at the word of the other side.

Reads JSON lines: first {"inputs": file, "solver": ..., "amplitude": ..., "outputs": file}, then {"calls": n} as often
as wanted; answers each with a JSON line.
"""

import json
import statistics
import sys
import time

import torch

from qkan import QKAN


def main() -> None:
    request = json.loads(sys.stdin.readline())
    data = torch.load(request["inputs"], weights_only=True)
    torch.set_num_threads(request["threads"])
    theta, x, upstream = data["theta"], data["x"].requires_grad_(), data["upstream"]
    n_out, n_in, angles = theta.shape
    model = QKAN([n_in, n_out], reps=angles // 2 - 1, solver=request["solver"], fast_measure=request["amplitude"])
    own = model.layers[0].theta
    own.data = theta.view_as(own).clone()
    torch.save(model(x).detach(), request["outputs"])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(json.loads(line)["calls"]):
            start = time.perf_counter()
            torch.autograd.grad(model(x), [x, own], upstream)
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(statistics.median(times)), flush=True)


if __name__ == "__main__":
    main()
