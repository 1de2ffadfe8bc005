from contextlib import nullcontext

import pytest

torch = pytest.importorskip("torch")

from tddfa.train.engine.device import autocast, torch_device  # noqa: E402


def test_a_device_that_exists():
    assert torch_device("cpu") == torch.device("cpu")


def test_a_missing_device_is_named():
    with pytest.raises(ValueError, match="device: expected one that torch has here, got 'abacus'"):
        torch_device("abacus")


def test_precision_is_float32_except_on_cuda():
    assert isinstance(autocast(torch.device("cpu")), nullcontext)
