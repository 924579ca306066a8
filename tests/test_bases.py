"""Bases by themselves: values against NumPy, derivatives against finite differences."""

from unittest import mock

import numpy as np
import pytest
import torch
from helpers import error, generator
from torch.autograd import gradcheck, gradgradcheck

from qkan.bases import blocks, fourier, products


@pytest.mark.parametrize("floats", [1, 40, 2**19])
@pytest.mark.parametrize("harmonics", [(), (1,), (1, 2, 3), (3, 5, 13), (2, 4)])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4), (2, 0, 4)])
def test_fourier_features_are_cosines_and_sines(shape, harmonics, floats):
    u = 3 * torch.randn(shape, generator=generator(), dtype=torch.float64)
    with mock.patch.object(blocks, "_FLOATS", floats):
        got = fourier.features(u, harmonics)
    want = (
        np.concatenate([np.stack([f(k * u.numpy()) for k in harmonics], -1) for f in (np.cos, np.sin)], -1)
        if harmonics
        else np.zeros((*shape, 0))
    )
    assert got.shape == want.shape
    assert error(got, torch.from_numpy(want)) < 1e-14


@pytest.mark.parametrize("floats", [1, 40, 2**19])
@pytest.mark.parametrize("uploads", [1, 2, 4])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)])
def test_products_are_kronecker_products(shape, uploads, floats):
    angles = 3 * torch.randn(*shape, uploads, generator=generator(), dtype=torch.float64)
    with mock.patch.object(blocks, "_FLOATS", floats):
        got = products.features(angles)
    assert got.shape == (*shape, 3**uploads - 1)
    for place in np.ndindex(shape):
        want = np.ones(1)
        for t in angles[place].numpy():
            want = np.kron(want, [1, np.cos(t), np.sin(t)])
        assert error(got[place], torch.from_numpy(want[1:])) < 1e-14


@pytest.mark.parametrize("floats", [1, 40, 2**19])
@pytest.mark.parametrize(
    "basis",
    [products.features, lambda t: fourier.features(t, (1, 2, 5)), lambda t: fourier.features(t, (3,))],
    ids=["products", "fourier", "third"],
)
def test_derivatives_are_those_of_finite_differences(basis, floats):
    t = torch.randn(2, 3, 3, generator=generator(), dtype=torch.float64).requires_grad_()
    with mock.patch.object(blocks, "_FLOATS", floats):
        assert gradcheck(basis, t)
        assert gradgradcheck(basis, t)


def test_features_are_one_piece_of_memory_for_every_function():
    u = torch.randn(5, 3)
    assert fourier.features(u, (1, 2)).stride() == (1, 5, 15)
    assert products.features(torch.randn(5, 3, 2)).stride() == (1, 5, 15)
