"""Every mistake of a user: the exception, and a message that names the argument, what came, and the remedy."""

import numpy as np
import pytest
import torch

from qkan import HQKAN, QKAN, QKANLinear
from qkan.ansatz import RY, Ansatz, H
from qkan.layers import QKANOptions
from qkan.solvers import choose, names

OWN = Ansatz("own", (H,), (RY("encoding"),))
STACK = lambda **options: QKAN([2, 2], **options)  # noqa: E731
LAYER = lambda **options: QKANLinear(2, 3, **options)  # noqa: E731
HYBRID = lambda **options: HQKAN(4, 3, **options)  # noqa: E731
OWNERS = {"QKAN": STACK, "QKANLinear": LAYER, "HQKAN": HYBRID}

# What the constructors of all models refuse in their options: keywords, exception, message.
OPTIONS = {
    "near miss": ({"repz": 7}, TypeError, r"got an unexpected keyword 'repz'; did you mean 'reps'\? options are "),
    "unknown keyword": ({"zzz": 1}, TypeError, r"got an unexpected keyword 'zzz'; options are reps, ansatz, solver"),
    "keyword of the peer": ({"fast_measure": True}, TypeError, r"unexpected keyword 'fast_measure'"),
    "reps 0": ({"reps": 0}, ValueError, r"reps must be an integer of at least 1; got 0"),
    "reps negative": ({"reps": -1}, ValueError, r"reps must be an integer of at least 1; got -1"),
    "reps float": ({"reps": 3.0}, TypeError, r"reps must be an integer; got 3\.0 of type float"),
    "reps bool": ({"reps": True}, ValueError, r"reps must be an integer of at least 1; got True"),
    "reps string": ({"reps": "3"}, TypeError, r"reps must be an integer; got '3' of type str"),
    "ansatz": ({"ansatz": "pzz"}, ValueError, r"ansatz must be one of pz, rpz, px, real, mix, .*; got 'pzz'"),
    "ansatz type": ({"ansatz": 3}, TypeError, r"ansatz must be a name or an Ansatz; got int"),
    "solver": ({"solver": "exact"}, ValueError, r"solver must be one of auto, .*, pennylane, or a Solver; got 'exact'"),
    "solver type": ({"solver": None}, TypeError, r"solver must be one of auto, .*; got NoneType"),
    "readout": ({"readout": "Z"}, ValueError, r"readout must be one of expectation, amplitude; got 'Z'"),
    "encoding": ({"encoding": "tern"}, ValueError, r"encoding must be one of unit, ternary, trainable, .*; got 'tern'"),
    "encoding int": ({"encoding": 3}, ValueError, r"encoding must be one of unit, ternary, .*; got 3"),
    "weights not integer": (
        {"encoding": (1, 0.5, 2)},
        TypeError,
        r"encoding must hold integers: .*; got \(1, 0\.5, 2\)\. For real weights use encoding='trainable'",
    ),
    "too few weights": ({"encoding": (1, 3)}, ValueError, r"encoding must hold 3 integers, one per upload; got 2"),
    "too many weights": ({"encoding": (1, 3, 9, 27)}, ValueError, r"encoding must hold 3 integers, .*; got 4"),
    "encoding_init": ({"encoding_init": "rand"}, ValueError, r"encoding_init must be 'unit' or 'ternary'; got 'rand'"),
    "fourier, trainable": (
        {"solver": "fourier", "encoding": "trainable"},
        ValueError,
        r"solver='fourier' needs integer encoding weights .*encoding='trainable'.*use solver='bloch'",
    ),
    "init name": ({"init": "xavie"}, ValueError, r"init must be 'scaled', 'xavier' or a .*; got 'xavie'"),
    "init negative": ({"init": -0.1}, ValueError, r"init must be a finite standard deviation of at least 0; got -0\.1"),
    "init nan": ({"init": float("nan")}, ValueError, r"init must be a finite standard deviation .*; got nan"),
    "init infinite": ({"init": float("inf")}, ValueError, r"init must be a finite standard deviation .*; got inf"),
    "init type": ({"init": None}, TypeError, r"init must be 'scaled', 'xavier' or a standard deviation; got None"),
    "init bool": ({"init": True}, TypeError, r"init must be 'scaled', .*; got True"),
    "activation name": ({"base_activation": "silo"}, ValueError, r"base_activation must be one of .*; got 'silo'"),
    "activation type": ({"base_activation": 3}, TypeError, r"base_activation must be a module, .*; got 3"),
    "scale": ({"scale": 1}, TypeError, r"scale must be True or False; got 1"),
    "bias": ({"bias": "yes"}, TypeError, r"bias must be True or False; got 'yes'"),
}

# Everything else: call, exception, message.
ERRORS = {
    "one width": (lambda: QKAN([3]), ValueError, r"width must hold at least two integers, .*; got \(3,\)"),
    "no width": (lambda: QKAN([]), ValueError, r"width must hold at least two integers, .*; got \(\)"),
    "width 0": (lambda: QKAN([3, 0]), ValueError, r"width\[1\] must be an integer of at least 1; got 0"),
    "width negative": (lambda: QKAN([-3, 2]), ValueError, r"width\[0\] must be an integer of at least 1; got -3"),
    "width float": (lambda: QKAN([3, 2.0]), TypeError, r"width\[1\] must be an integer; got 2\.0 of type float"),
    "width bool": (lambda: QKAN([3, True]), ValueError, r"width\[1\] must be an integer of at least 1; got True"),
    "width string": (lambda: QKAN(["3", 2]), TypeError, r"width\[0\] must be an integer; got '3' of type str"),
    "width None": (lambda: QKAN([3, None]), TypeError, r"width\[1\] must be an integer; got None"),
    "widths as text": (lambda: QKAN("32"), TypeError, r"width must be a sequence of integers .*; got '32'"),
    "widths as a number": (lambda: QKAN(3), TypeError, r"width must be a sequence of integers .*; got 3"),
    "widths of floats": (lambda: QKAN(np.array([3.0, 2.0])), TypeError, r"width\[0\] must be an integer; got "),
    "in_features": (lambda: QKANLinear(0, 2), ValueError, r"in_features must be an integer of at least 1; got 0"),
    "out_features": (lambda: QKANLinear(2, 1.5), TypeError, r"out_features must be an integer; got 1\.5"),
    "HQKAN in": (lambda: HQKAN(0, 2), ValueError, r"in_features must be an integer of at least 1; got 0"),
    "HQKAN out": (lambda: HQKAN(2, "2"), TypeError, r"out_features must be an integer; got '2'"),
    "latent name": (lambda: HYBRID(latent="log3"), ValueError, r"latent must be .* or 'log2'; got 'log3'"),
    "latent one": (lambda: HYBRID(latent=(3,)), ValueError, r"width must hold at least two integers"),
    "latent type": (lambda: HYBRID(latent=3), TypeError, r"must be a sequence"),
    "multiplier": (lambda: HYBRID(multiplier=0), ValueError, r"multiplier must be an integer of at least 1; got 0"),
    "multiplier float": (lambda: HYBRID(multiplier=0.5), TypeError, r"multiplier must be an integer; got 0\.5"),
    "solver alone": (lambda: choose("blochh", OWN, 1, (1,)), ValueError, r"solver must be one of .*; got 'blochh'"),
    "options alone": (lambda: QKANOptions.parse("mine", {"rep": 1}), TypeError, r"mine got an unexpected .* 'rep'"),
}  # fmt: skip

# Inputs of a layer with 2 features and of a stack and a hybrid that begin with one.
INPUTS = {
    "integers": (lambda: torch.ones(4, 2, dtype=torch.int64), TypeError, r"x must be a floating.*; got torch.int64"),
    "booleans": (lambda: torch.ones(4, 2, dtype=torch.bool), TypeError, r"x must .*; got torch.bool; .*x\.float\(\)"),
    "complex": (lambda: torch.ones(4, 2, dtype=torch.complex64), TypeError, r"x must be .*; got torch.complex64"),
    "list": (lambda: [[1.0, 2.0]], TypeError, r"x must be a floating-point tensor; got list"),
    "array": (lambda: np.ones((4, 2)), TypeError, r"x must be a floating-point tensor; got ndarray"),
    "features": (lambda: torch.ones(4, 3), ValueError, r"x must .* 2.*in_features.*; got .*\(4, 3\)"),
    "one feature": (lambda: torch.ones(4, 1), ValueError, r"x must .* 2.*; got .*\(4, 1\)"),
    "scalar": (lambda: torch.tensor(1.0), ValueError, r"x must .* 2.*; got .*\(\)"),
    "empty, features": (lambda: torch.ones(0, 5), ValueError, r"x must .* 2.*; got .*\(0, 5\)"),
}  # fmt: skip


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("name", OPTIONS)
def test_wrong_options(name, owner):
    options, exception, match = OPTIONS[name]
    with pytest.raises(exception, match=match) as caught:
        OWNERS[owner](**options)
    if "unexpected keyword" in match:
        assert str(caught.value).startswith(f"{owner} got")


@pytest.mark.parametrize("name", ERRORS)
def test_wrong_arguments(name):
    call, exception, match = ERRORS[name]
    with pytest.raises(exception, match=match):
        call()


@pytest.mark.parametrize("name", INPUTS)
def test_wrong_inputs(name):
    x, exception, match = INPUTS[name]
    for net in (QKANLinear(2, 3), QKAN([2, 3]), QKANLinear(2, 3).edges, QKANLinear(2, 3, solver="bloch")):
        with pytest.raises(exception, match=match):
            net(x())


def test_the_names_in_messages_are_those_that_exist():
    assert names() == ("auto", "statevector", "bloch", "fourier", "pennylane")


@pytest.mark.parametrize("encoding", [[1, 3, 9], (np.int64(1), np.int32(3), 9), np.array([1, 3, 9])])
def test_any_sequence_of_integers_is_a_tuple_of_weights(encoding):
    options = QKANLinear(2, 2, encoding=encoding).options
    assert options.start_weights == options.encoding == (1, 3, 9)
    assert all(type(weight) is int for weight in options.encoding)


def test_options_are_frozen_and_compare():
    options = QKANOptions(reps=2, encoding=[1, 3])
    same = QKANOptions(reps=np.int64(2), encoding=(1, 3))
    assert options == same
    assert hash(options) == hash(same)
    with pytest.raises(AttributeError):
        options.reps = 3


@pytest.mark.parametrize("name", ["pz", "mix"])
def test_an_ansatz_may_bear_the_name_of_another(name):
    layer = QKANLinear(2, 3, ansatz=Ansatz(name, (H,), (RY("encoding"),)), reps=2)
    assert layer.theta.shape == (3, 2, 0)
    assert layer(torch.ones(4, 2)).shape == (4, 3)
