import importlib.util
import sys

import pytest


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Small networks are slower on several threads, and batches of two processes would share them."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_thread_again(one_thread):
    """A training sets the number that its settings have: the tests after it have one thread again."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
