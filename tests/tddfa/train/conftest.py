import importlib.util

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
