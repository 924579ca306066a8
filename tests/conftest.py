"""One thread, since the tests compare numbers and share their machine; every test starts from the same global seed."""

import pytest
import torch
from browser import browser_or_skip


def pytest_addoption(parser):
    parser.addoption("--need-browser", action="store_true", help="tests that need a browser fail without one")


@pytest.fixture(scope="module")
def browser(request):
    opened = browser_or_skip(request.config)
    yield opened
    opened.close()


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _same_seed_and_default_dtype():
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() is torch.float32
