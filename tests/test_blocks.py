"""Blocks: attention, focal modulation, experts, recurrent cells and transformers, against torch and by hand."""

import copy
import math
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from helpers import error, generator, perturb
from torch import nn

from qkan import HQKAN, fit
from qkan.models import (
    QKANGRU,
    QKANLSTM,
    BalanceLoss,
    KANAttention,
    KANFocalModulation,
    MixtureOfExperts,
    QKANGRUCell,
    QKANLSTMCell,
    TransformerBlock,
    auxiliary_loss,
)

PZ = {"ansatz": "pz", "reps": 1}
KINDS = {"rbf": {"basis": "rbf", "num_grids": 3}, "gram": {"basis": "gram", "bottleneck": True}, "pz": PZ}
EXACT = {"dtype": torch.float64, "generator": generator()}


def double(*shape, seed=1):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# Every block: (how it is built, an input).
BLOCKS = {
    **{f"attention {name}": (lambda kind=kind: KANAttention(4, heads=2, **kind, **EXACT), (3, 4, 5, 4))
       for name, kind in KINDS.items()},
    **{f"focal {name}": (lambda kind=kind: KANFocalModulation(4, **kind, **EXACT), (3, 4, 5, 4))
       for name, kind in KINDS.items()},
    "experts": (lambda: MixtureOfExperts([nn.Linear(4, 3, dtype=torch.float64) for _ in range(4)], 4,
                                         dtype=torch.float64), (6, 4)),
    "lstm": (lambda: QKANLSTM(4, 3, batch_first=True, reps=1, **EXACT), (2, 2, 4)),
    "gru": (lambda: QKANGRU(4, 3, reps=1, **EXACT), (2, 2, 4)),
    "transformer": (lambda: TransformerBlock(8, 2, causal=True, latent=(3, 4), reps=1, **EXACT), (2, 5, 8)),
}  # fmt: skip
QUICK = ("attention rbf", "experts", "transformer")


def block_of(name):
    build, shape = BLOCKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return perturb(build()), double(*shape)


def first(y):
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_train_and_keep_samples_apart(name):
    block, x = block_of(name)
    y = first(block(x))
    y.square().mean().backward()
    untouched = [key for key, part in block.named_parameters() if part.grad is None]
    assert untouched in ([], ["noise_weight"])
    torch.optim.Adam(block.parameters(), lr=0.01).step()
    block.eval()
    dim = 1 if name == "gru" else 0
    whole, part = first(block(x)), first(block(x.narrow(dim, 1, 1)))
    assert error(whole.narrow(dim, 1, 1), part) < 1e-12


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BLOCKS])
def test_blocks_compile_and_export(name):
    torch._dynamo.reset()
    block, x = block_of(name)
    block.eval()
    with torch.no_grad():
        compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
        assert error(first(compiled(x)), first(block(x))) < 1e-12
        program = torch.export.export(block, (x,))
        assert error(first(program.module()(x)), first(block(x))) < 1e-12


# Attention


def attention_by_hand(block, x, scale):
    """Loops over images, heads and pixels."""
    result = torch.empty_like(x)
    for image in range(len(x)):
        q, k, v = (part(x)[image].flatten(1) for part in (block.query, block.key, block.value))
        per = len(q) // block.heads
        for head in range(block.heads):
            rows = slice(head * per, (head + 1) * per)
            for pixel in range(q.shape[1]):
                weights = torch.stack([scale * q[rows, pixel] @ k[rows, other] for other in range(q.shape[1])])
                mixed = v[rows] @ (weights.exp() / weights.exp().sum())
                result[image].flatten(1)[rows, pixel] = mixed
    return result


@pytest.mark.parametrize("compat", [None, "torch-conv-kan"])
@pytest.mark.parametrize("heads", [1, 2])
def test_attention_is_that_of_the_formula(heads, compat):
    block = KANAttention(4, heads=heads, compat=compat, norm_layer=None, **KINDS["rbf"], **EXACT)
    x = double(2, 4, 3, 2)
    with torch.no_grad():
        block.skip.fill_(0.3)
        attended = attention_by_hand(block, x, 1.0 if compat else 1 / math.sqrt(4 // heads))
        want = 0.3 * x + attended if compat else x + 0.3 * attended
        assert error(block(x), want) < 1e-12


def test_attention_starts_as_the_identity_and_the_published_form_without_its_skip():
    x = double(2, 4, 3, 2)
    ours, theirs = (KANAttention(4, norm_layer=None, compat=way, **PZ, **EXACT) for way in (None, "torch-conv-kan"))
    assert torch.equal(ours(x), x)
    with torch.no_grad():
        assert error(theirs(x), attention_by_hand(theirs, x, 1.0)) < 1e-12


def test_attention_may_be_narrow():
    block = KANAttention(6, heads=2, inner=4, dims=1, norm_layer="instance", **KINDS["rbf"], **EXACT)
    assert block.query.in_channels == 4
    assert block(double(2, 6, 5)).shape == (2, 6, 5)


# Focal modulation


def test_focal_modulation_is_that_of_the_formula():
    block = KANFocalModulation(3, basis="plain", norm_layer=None, activation=None, dtype=torch.float64)
    x = double(2, 3, 7, 6)
    f, first_kernel, second_kernel, h, out = (part for part in block.parameters())
    q, context, gates = F.conv2d(x, f).split([3, 3, 3], 1)
    first_context = F.conv2d(context, first_kernel, padding=1, groups=3)
    second_context = F.conv2d(first_context, second_kernel, padding=2, groups=3)
    total = gates[:, :1] * first_context + gates[:, 1:2] * second_context
    total = (total + gates[:, 2:] * second_context.mean((2, 3), keepdim=True)) / 3
    assert error(block(x), F.conv2d(q * F.conv2d(total, h), out)) < 1e-12


@pytest.mark.parametrize("kind", ["rbf", "pz"])
def test_contexts_are_truly_depthwise(kind):
    block = KANFocalModulation(3, **KINDS[kind], **EXACT).eval()
    for part in block.contexts:
        reach = torch.func.jacrev(lambda x, part=part: part(x).sum((0, 2, 3)))(double(1, 3, 5, 4))
        reach = reach.squeeze(1).flatten(2).abs().amax(-1)
        assert reach.diagonal().min() > 1e-3
        assert (reach - torch.diag(reach.diagonal())).max() == 0


# Experts


def mixture_of(chosen=2, experts=4, **more):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [nn.Linear(3, 2, dtype=torch.float64) for _ in range(experts)]
    mixture = MixtureOfExperts(parts, 3, chosen=chosen, dtype=torch.float64, **more)
    return perturb(mixture)


def test_a_sample_takes_its_best_experts():
    mixture, x = mixture_of().eval(), double(5, 3)
    for row, y in zip(x, mixture(x), strict=True):
        shares = (row @ mixture.gate_weight).softmax(-1)
        best = sorted(range(4), key=lambda number: -shares[number])[:2]
        want = sum(shares[number] * mixture.experts[number](row) for number in best)
        assert error(y, want / sum(shares[number] for number in best)) < 1e-12


def test_gates_see_the_mean_of_an_image():
    mixture = MixtureOfExperts([nn.Conv2d(3, 2, 1, dtype=torch.float64) for _ in range(3)], 3, dtype=torch.float64)
    perturb(mixture).eval()
    x = double(4, 3, 5, 2)
    assert error(mixture.gates(x), mixture.gates(x.mean((2, 3)))) < 1e-12
    assert mixture(x).shape == (4, 2, 5, 2)


@pytest.mark.parametrize("rows", [7, 1, 0])
def test_experts_that_compute_their_samples_alone_give_the_same(rows):
    dense, sparse = mixture_of().eval(), mixture_of(sparse=True).eval()
    x = double(rows, 3)
    assert error(sparse(x), dense(x)) < 1e-12


def test_the_load_is_how_often_new_noise_would_choose_an_expert():
    mixture, x = mixture_of(), double(6, 3)
    clean = x @ mixture.gate_weight
    std = F.softplus(x @ mixture.noise_weight) + 0.01
    noisy = clean + std * double(6, 4, seed=3)
    draws = 20_000
    noise = double(draws, 6, seed=4)
    want = torch.zeros(4, dtype=torch.float64)
    for expert in range(4):
        others = torch.cat([noisy[:, :expert], noisy[:, expert + 1 :]], -1).topk(2, -1).values[:, -1]
        again = clean[:, expert] + std[:, expert] * noise
        want[expert] = (again > others).double().mean(0).sum()
    assert (mixture._load(clean, noisy, std) - want).abs().max() < 6 * math.sqrt(0.25 * 6 / draws)


def test_the_loss_is_the_variation_of_importance_and_load():
    mixture, x = mixture_of(noisy=False, scale=0.5), double(6, 3)
    gates = mixture.gates(x)
    importance, load = gates.sum(0), (gates > 0).double().sum(0)
    want = 0.5 * sum(amount.var() / amount.mean() ** 2 for amount in (importance, load))
    assert error(mixture.loss, want) < 1e-8  # their 1e-10 in the denominator
    noisy = mixture_of(scale=0.5)
    noisy(x, generator(2))
    noisy.loss.backward()
    assert noisy.gate_weight.grad.abs().min() > 0
    assert noisy.noise_weight.grad.abs().min() > 0


def test_losses_are_read_from_the_module_and_copies_have_none():
    model = nn.Sequential(mixture_of(), nn.Linear(2, 3, dtype=torch.float64), mixture_of())
    with pytest.raises(ValueError, match="no mixture of experts in the model has a loss: call the model in training"):
        auxiliary_loss(model)
    model(double(5, 3))
    assert torch.equal(auxiliary_loss(model), model[0].loss + model[2].loss)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again[0].loss is None
        assert error(again.eval()(double(5, 3)), model.eval()(double(5, 3))) < 1e-12
        model.train()
    before = model[0].loss
    model.eval()(double(5, 3))
    assert model[0].loss is before


def test_the_losses_are_a_penalty_of_fit():
    model = mixture_of()
    data = double(8, 3), double(8, 2, seed=2)
    history = fit(model, data, epochs=2, loss=F.mse_loss, sparsity=BalanceLoss(0.5))
    assert history["penalty"][-1] > 0


def test_a_mixture_in_training_compiles_with_its_loss():
    torch._dynamo.reset()
    mixture, x = mixture_of(noisy=False), double(6, 3)
    want = mixture(x), mixture.loss
    mixture.loss = None
    got = torch.compile(mixture, fullgraph=True, backend="aot_eager")(x)
    assert error(got, want[0]) < 1e-12
    assert error(mixture.loss, want[1]) < 1e-12
    mixture.loss.backward()


def test_one_of_one_expert_is_itself():
    mixture, x = mixture_of(chosen=1, experts=1), double(4, 3)
    assert error(mixture(x), mixture.experts[0](x)) < 1e-12
    assert mixture.loss == 0


# Recurrence


def copy_linear(cell, theirs, suffix):
    with torch.no_grad():
        for part, name in ((cell.input_map, "ih"), (cell.hidden_map, "hh")):
            part.weight.copy_(getattr(theirs, f"weight_{name}{suffix}"))
            part.bias.copy_(getattr(theirs, f"bias_{name}{suffix}"))


SEQUENCES = {"lstm": (QKANLSTM, nn.LSTM), "gru": (QKANGRU, nn.GRU)}
LINEAR = partial(nn.Linear, dtype=torch.float64)
WAYS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "layers": {"num_layers": 2, "batch_first": True},
    "both": {"num_layers": 2, "bidirectional": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", SEQUENCES)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_sequences_of_linear_maps_are_those_of_torch(kind, way, given, alone):
    ours, theirs = SEQUENCES[kind]
    torch_layer = theirs(4, 3, dtype=torch.float64, **WAYS[way])
    layer = ours(4, 3, make_map=LINEAR, **WAYS[way])
    for at, cell in enumerate(layer.cells):
        number, backwards = divmod(at, layer.directions)
        copy_linear(cell, torch_layer, f"_l{number}" + ("_reverse" if backwards else ""))
    x = double(6, 4) if alone else double(5, 6, 4)
    hx = None
    if given:
        batch = () if alone else (x.shape[0 if layer.batch_first else 1],)
        states = [double(len(layer.cells), *batch, 3, seed=seed) for seed in (2, 3)]
        hx = tuple(states) if kind == "lstm" else states[0]
    got, want = layer(x, hx), torch_layer(x, hx)
    assert error(got[0], want[0]) < 1e-12
    pairs = zip(got[1], want[1], strict=True) if kind == "lstm" else [(got[1], want[1])]
    assert max(error(*pair) for pair in pairs) < 1e-12


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_cells_of_linear_maps_are_those_of_torch(kind, given):
    ours, theirs = {"lstm": (QKANLSTMCell, nn.LSTMCell), "gru": (QKANGRUCell, nn.GRUCell)}[kind]
    cell, torch_cell = ours(4, 3, make_map=LINEAR), theirs(4, 3, dtype=torch.float64)
    copy_linear(cell, torch_cell, "")
    states = (double(5, 3, seed=2), double(5, 3, seed=3))
    hx = None if not given else states if kind == "lstm" else states[0]
    got, want = cell(double(5, 4), hx), torch_cell(double(5, 4), hx)
    pairs = zip(got, want, strict=True) if kind == "lstm" else [(got, want)]
    assert max(error(*pair) for pair in pairs) < 1e-12


def test_dropout_is_between_layers_in_training_alone():
    layer = QKANLSTM(4, 3, num_layers=2, dropout=0.999, make_map=LINEAR)
    x = double(5, 6, 4)
    lost = layer(x)[1][0][1]
    assert error(layer.eval()(x)[1][0][0], layer.train()(x)[1][0][0]) < 1e-12
    assert error(layer.eval()(x)[1][0][1], lost) > 1e-3


def test_recurrent_maps_may_be_narrow_circuits():
    layer = QKANGRU(4, 3, make_map=partial(HQKAN, latent=(2, 2), reps=1))
    assert isinstance(layer.cells[0].hidden_map, HQKAN)
    assert layer(torch.zeros(2, 5, 4))[0].shape == (2, 5, 3)


# Transformer


@pytest.mark.parametrize("causal", [False, True])
def test_the_transformer_block_is_torchs_but_for_its_feed_forward(causal):
    block = perturb(TransformerBlock(8, 2, causal=causal, latent=(3, 4), **EXACT))
    theirs = nn.TransformerEncoderLayer(8, 2, 6, 0.0, "gelu", norm_first=True, batch_first=True, dtype=torch.float64)
    perturb(theirs, seed=5)
    block.feed_forward = nn.Sequential(theirs.linear1, nn.GELU(), theirs.linear2)
    with torch.no_grad():
        block.inputs.weight.copy_(theirs.self_attn.in_proj_weight)
        block.inputs.bias.copy_(theirs.self_attn.in_proj_bias)
    block.output, block.attention_norm, block.feed_forward_norm = theirs.self_attn.out_proj, theirs.norm1, theirs.norm2
    x = double(3, 5, 8)
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    assert error(block(x), theirs(x, src_mask=mask)) < 1e-12


def test_a_mask_says_where_attention_is_allowed():
    block = perturb(TransformerBlock(8, 2, latent=(3, 4), **EXACT))
    causal = copy.copy(block)
    causal.causal = True
    x = double(3, 5, 8)
    assert error(block(x, torch.ones(5, 5, dtype=torch.bool).tril()), causal(x)) < 1e-12


def test_the_feed_forward_is_an_hqkan():
    block = TransformerBlock(8, 2, latent=(3, 4), encoding="ternary")
    assert isinstance(block.feed_forward, HQKAN)
    assert block.feed_forward.core.options.encoding == "ternary"
    assert TransformerBlock(8, 2).feed_forward.core.width == (12, 12)


REFUSED = {
    "heads must divide the 4 channels of q, k and v; got 3": lambda: KANAttention(4, heads=3),
    "compat must be None or 'torch-conv-kan'; got 'own'": lambda: KANAttention(4, compat="own"),
    "window must be odd and factor even, so that kernels have a middle; got 2, 2": (
        lambda: KANFocalModulation(4, window=2)
    ),
    "chosen must be at most the number of experts, 2; got 3": (
        lambda: MixtureOfExperts([nn.Linear(3, 2), nn.Linear(3, 2)], 3, chosen=3)
    ),
    "features must be an integer of at least 1; got 0": lambda: MixtureOfExperts([nn.Linear(3, 2)] * 2, 0),
    "hidden_size must be an integer of at least 1; got 0": lambda: QKANLSTMCell(3, 0),
    "num_layers must be an integer of at least 1; got 0": lambda: QKANGRU(3, 2, 0),
    "dropout probability has to be between 0 and 1, but got 1.5": lambda: QKANLSTM(3, 2, dropout=1.5),
    r"x must be \[\*batch, 3\], with in_features as its last size": lambda: QKANLSTM(3, 2)(torch.zeros(4, 5)),
    r"x must be a sequence \[length, 3\] or a batch of them; got \(3,\)": lambda: QKANLSTM(3, 2)(torch.zeros(3)),
    "heads must divide width=8; got 3": lambda: TransformerBlock(8, 3),
    "mask is for blocks with causal=False": (
        lambda: TransformerBlock(4, 2, causal=True)(torch.zeros(1, 2, 4), torch.ones(2, 2, dtype=torch.bool))
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_errors_say_what_was_expected(message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_options_beside_a_map_and_unknown_ones_are_refused():
    with pytest.raises(TypeError, match="options are those of QKAN layers, which make_map replaces; got reps"):
        QKANLSTMCell(3, 2, make_map=nn.Linear, reps=2)
    with pytest.raises(TypeError, match="unexpected keyword 'rep'; did you mean 'reps'"):
        QKANGRU(3, 2, rep=2)
