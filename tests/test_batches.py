"""Sources of batches: tensors, data sets and loaders in the same order, without touching torch's own generator."""

import pytest
import torch
from runs import classes, generator, network, same, without_seconds
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from qkan.data.batches import Loader, Pairs, Samples, as_batches
from qkan.data.images import Images
from qkan.data.reading import Reading, divide, hold_out, split
from qkan.training import evaluate, fit


class Points(Dataset):
    """A data set that gives plain pairs, the label as a number."""

    def __init__(self, samples=23):
        self.inputs, self.targets = classes(samples)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, number):
        return self.inputs[number], self.targets[number].item()


class Noisy(Points):
    """The same with a random change of every sample, drawn from torch's own generator."""

    def __getitem__(self, number):
        return self.inputs[number] + 0.1 * torch.randn(2), self.targets[number]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Points())


class Sized(Stream):
    def __len__(self):
        return 23


class Endless(Dataset):
    def __getitem__(self, number):
        return torch.ones(2), 0


def listed(batches):
    return [(inputs.tolist(), targets.tolist()) for inputs, targets in batches]


KINDS = {
    "data set": Points,
    "tensor data set": lambda: TensorDataset(*classes()),
    "own source": lambda: Pairs(*classes()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shuffled", [True, False])
def test_every_kind_has_the_order_of_tensors(kind, shuffled):
    def read(data):
        source = generator() if shuffled else None
        found = as_batches(data)
        return [listed(found.batches(8, source)) for _ in range(2)], source and source.get_state().tolist()

    before = torch.get_rng_state()
    assert read(KINDS[kind]()) == read(classes())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"batch_size": 8}, {"batch_size": 8, "validation": 0.3}])
def test_every_kind_trains_as_tensors_do(kind, more):
    def train(data):
        model = network()
        return model, fit(model, data, epochs=3, generator=generator(), **more)

    (model, history), (other, by_tensors) = train(KINDS[kind]()), train(classes())
    assert same(model, other)
    assert without_seconds(history) == without_seconds(by_tensors)


def test_a_tensor_data_set_is_read_without_collating():
    assert isinstance(as_batches(TensorDataset(*classes())), Pairs)


def test_batches_are_copies():
    inputs, targets = classes()
    for source in (None, generator()):
        for batch, labels in Pairs(inputs, targets).batches(23, source):
            batch.zero_()
            labels.zero_()
    assert torch.equal(inputs, classes()[0])
    assert torch.equal(targets, classes()[1])


def test_all_samples_in_one_step_draw_nothing_and_keep_their_order():
    source, before = generator(), generator().get_state()
    assert listed(Reading(as_batches(classes()), None).epoch(source)) == listed([classes()])
    assert torch.equal(source.get_state(), before)
    assert Reading(as_batches(Points()), None).steps == 1


def loader(dataset=Points, **options):
    return DataLoader(dataset(), **({"batch_size": 8, "shuffle": True} | options))


LOADERS = {
    "shuffled": loader,
    "shuffled by its own": lambda: loader(generator=generator(3)),
    "random samples": lambda: loader(Noisy),
    "random samples, own order": lambda: loader(Noisy, generator=generator(3)),
    "own sampler": lambda: loader(shuffle=None, sampler=RandomSampler(Points(), generator=generator(3))),
    "own batches": lambda: loader(
        batch_size=1,
        shuffle=None,
        batch_sampler=BatchSampler(RandomSampler(Points(), generator=generator(3)), 8, drop_last=True),
    ),
    "in order": lambda: loader(shuffle=False),
    "in a worker": lambda: loader(Noisy, num_workers=1),
}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_loader_is_deterministic_under_a_generator(kind):
    def train(seed=7):
        model, before = network(), torch.get_rng_state()
        fit(model, LOADERS[kind](), epochs=2, generator=generator(seed), validation=LOADERS[kind]())
        assert torch.equal(torch.get_rng_state(), before)
        return model

    first = train()
    torch.manual_seed(99)
    assert same(first, train())
    drawn = kind in ("shuffled", "random samples", "random samples, own order", "in a worker")
    assert same(first, train(seed=8)) is not drawn


@pytest.mark.parametrize("kind", ["shuffled", "in a worker", "random samples"])
def test_a_loader_draws_anew_every_epoch(kind):
    source, found = generator(), as_batches(LOADERS[kind]())
    first, second = (listed(found.batches(8, source)) for _ in range(2))
    assert first != second
    assert first == listed(found.batches(8, generator()))


def test_a_loader_without_a_generator_draws_from_torchs_own():
    def train():
        model = network()
        fit(model, loader(), epochs=2)
        return model

    torch.manual_seed(1)
    first = train()
    assert not same(first, train())
    torch.manual_seed(1)
    assert same(first, train())


def test_a_loader_has_its_own_batches():
    sizes = [len(targets) for _, targets in as_batches(loader()).batches(1)]
    assert sizes == [8, 8, 7]
    assert Reading(Loader(loader(drop_last=True)), None).steps == 2
    assert evaluate(network(), loader(shuffle=False)) == pytest.approx(evaluate(network(), classes()), rel=1e-6)


def test_generators_of_a_loader():
    own = generator(3)
    assert Loader(loader(generator=own)).generators == [own]
    assert Loader(LOADERS["own batches"]()).generators[0].get_state().equal(own.get_state())
    assert Loader(loader()).generators == []
    assert Loader(loader(generator=torch.default_generator)).generators == []


def test_validation_beside_a_loader_is_read_in_its_batches():
    class Sizes:
        def __init__(self):
            self.inputs, self.targets = classes()
            self.asked = []

        def __len__(self):
            return 23

        def batches(self, batch_size, generator=None):
            self.asked.append(batch_size)
            yield self.inputs, self.targets

    for data, batch_size, asked in [(loader(), None, 8), (classes(), 5, 5), (classes(), None, 23)]:
        held_out = Sizes()
        fit(network(), data, epochs=1, batch_size=batch_size, validation=held_out)
        assert held_out.asked == [asked]
    fit(network(), classes(), epochs=1, batch_size=5, validation=loader())


def test_a_held_out_part_and_the_rest_are_the_whole():
    inputs = torch.arange(10.0).unsqueeze(1)
    index = hold_out(Pairs(inputs, inputs), 0.3, generator())
    assert index.tolist() == sorted(torch.randperm(10, generator=generator())[:3].tolist())
    for data in ((inputs, -inputs), TensorDataset(inputs, -inputs), Samples(TensorDataset(inputs, -inputs))):
        rest, held = divide(as_batches(data), index)
        ((first, target),) = rest.batches(10)
        ((second, _),) = held.batches(10)
        assert second.squeeze(1).tolist() == index.tolist()
        assert sorted([*first.squeeze(1).tolist(), *second.squeeze(1).tolist()]) == list(range(10))
        assert torch.equal(target, -first)
        assert (len(rest), len(held)) == (7, 3)


def test_a_fraction_is_split_by_the_generator():
    first, second = (network() for _ in range(2))
    history = fit(first, classes(), epochs=2, batch_size=8, validation=0.2, generator=generator())
    source = generator()
    training, held_out = split(classes(), 0.2, source)
    assert (len(training), len(held_out)) == (18, 5)
    again = fit(second, training, epochs=2, batch_size=8, validation=held_out, generator=source)
    assert same(first, second)
    assert without_seconds(history) == without_seconds(again)
    assert evaluate(first, held_out)["loss"] == pytest.approx(history.last["test_loss"], rel=1e-6)


def test_images_are_held_out_by_number():
    images = Images(torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1), torch.arange(10))
    training, held_out = split(images, 0.3, generator())
    drawn = sorted(torch.randperm(10, generator=generator())[:3].tolist())
    ((pixels, labels),) = held_out.batches(10)
    assert labels.tolist() == drawn
    assert torch.equal(pixels.flatten(), torch.tensor(drawn) / 127.5 - 1)
    ((_, rest),) = training.batches(10)
    assert rest.tolist() == sorted(set(range(10)) - set(drawn))


class Whole:
    """A source of batches without single samples."""

    def __len__(self):
        return 3

    def batches(self, batch_size, generator=None):
        yield torch.ones(3, 2), torch.zeros(3, dtype=torch.int64)


def test_a_source_without_single_samples_cannot_be_divided():
    with pytest.raises(TypeError, match=r"a fraction is held out of .* a source with take\(index\); got Whole"):
        divide(Whole(), torch.tensor([0]))


class Triples(Points):
    def __getitem__(self, number):
        return (*super().__getitem__(number), 1)


class Named(Points):
    def __getitem__(self, number):
        return {"x": self.inputs[number]}


WRONG = {
    "list": ({"data": [1, 2, 3]}, TypeError, "data must be a pair of tensors .*, a Dataset, a DataLoader, .* got list"),
    "stream": ({"data": Stream()}, TypeError, "data must hold its samples by number: Stream has no length or no order"),
    "sized stream": ({"data": Sized()}, TypeError, "Sized has no length .* give a map-style Dataset, or an object"),
    "loader of a stream": ({"data": DataLoader(Stream())}, TypeError, "data must hold its samples .* Stream has no"),
    "no length": ({"validation": Endless()}, TypeError, "validation must hold its samples by number: Endless has no"),
    "single samples": (
        {"data": loader(batch_size=None, shuffle=False)},
        ValueError,
        "batch_size=None yields single samples: give the DataLoader a batch size",
    ),
    "two batch sizes": (
        {"data": loader(), "batch_size": 4},
        ValueError,
        "a DataLoader has a batch size of its own: leave out batch_size=4, or give the Dataset instead",
    ),
    "triples": ({"data": Triples()}, TypeError, "a batch must be .* got list of Tensor, Tensor, Tensor: let the Data"),
    "dicts": ({"data": loader(Named)}, TypeError, "a batch must be a pair .* got dict: .* a collate_fn that makes"),
    "empty": ({"data": TensorDataset(torch.ones(0, 2), torch.ones(0))}, ValueError, "data holds no samples"),
    "no batch": ({"data": loader(batch_size=50, drop_last=True)}, ValueError, "has samples but yielded no batch"),
    "fraction of a loader": (
        {"data": loader(), "validation": 0.2},
        TypeError,
        r"a fraction is held out of .* with take\(index\); got DataLoader: give the validation data themselves",
    ),
    "fraction of a source": (
        {"data": Whole(), "validation": 0.5},
        TypeError,
        "a fraction is held out of .*; got Whole",
    ),
    "fraction 1": ({"validation": 1.0}, ValueError, "for validation is between 0 and 1, both excluded; got 1.0"),
    "fraction 0": ({"validation": 0}, ValueError, "is between 0 and 1, both excluded; got 0"),
    "fraction nan": ({"validation": float("nan")}, ValueError, "is between 0 and 1, both excluded; got nan"),
    "fraction true": ({"validation": True}, ValueError, "is between 0 and 1, both excluded; got True"),
    "nothing": ({"validation": 0.01}, ValueError, "a fraction of 0.01 of 23 samples holds out nothing: give another"),
    "everything": ({"validation": 0.99}, ValueError, "a fraction of 0.99 of 23 samples holds out everything"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data(case):
    change, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        fit(network(), **({"data": classes(), "epochs": 1} | change))


def test_evaluation_of_a_loader_takes_no_batch_size():
    with pytest.raises(ValueError, match="a DataLoader has a batch size of its own: leave out batch_size=4"):
        evaluate(network(), loader(), batch_size=4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a generator that is not on the CPU")
def test_a_loader_does_not_draw_from_a_gpu():
    with pytest.raises(ValueError, match="give a generator on the CPU; got one on cuda"):
        fit(network(), loader(), epochs=1, generator=torch.Generator("cuda"))
