"""Small training runs that several test files share."""

import torch
from torch import nn


def generator(seed=7):
    return torch.Generator().manual_seed(seed)


def classes(samples=23, seed=1):
    """Points in the plane, labelled by the larger coordinate: an easy task with a ragged last batch."""
    inputs = torch.randn(samples, 2, generator=generator(seed))
    return inputs, inputs.argmax(dim=1)


def network(dropout=0.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, 3))


def same(one, other):
    return all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def without_seconds(history):
    return {name: values for name, values in history.to_dict().items() if not name.endswith("seconds")}


class Interrupted:
    """A source of batches that fails in the middle of one epoch, as a killed process does."""

    def __init__(self, pair, epoch):
        self.inputs, self.targets = pair
        self.epoch, self.started = epoch, 0

    def __len__(self):
        return len(self.inputs)

    def batches(self, batch_size, generator=None):
        self.started += 1
        order = torch.randperm(len(self), generator=generator)
        for number, index in enumerate(order.split(batch_size)):
            if self.started == self.epoch and number == 1:
                raise KeyboardInterrupt
            yield self.inputs[index], self.targets[index]


class Squares:
    """A penalty of the outputs: weight times their mean square, gathered by a hook."""

    def __init__(self, weight):
        self.weight = weight

    def __repr__(self):
        return f"Squares({self.weight})"

    def recording(self, model):
        return _Recording(self.weight, model)


class _Recording:
    def __init__(self, weight, model):
        self.weight, self.model, self.seen = weight, model, []

    def __enter__(self):
        self.handle = self.model.register_forward_hook(lambda module, args, output: self.seen.append(output))
        return lambda: self.weight * sum(output.square().mean() for output in self.seen)

    def __exit__(self, *error):
        self.handle.remove()
