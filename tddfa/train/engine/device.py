"""Device and precision of a training."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def torch_device(name: str) -> torch.device:
    """Return a device of torch that exists here.

    Raises
    ------
    ValueError
        If torch has no such device.
    """
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: expected one that torch has here, got {name!r}: {error}") from error


def autocast(device: torch.device, *, half: bool = False) -> AbstractContextManager[Any]:
    """Context of a network's precision: bfloat16 on CUDA and, with `half`, on any device; else float32."""
    return torch.autocast(device.type, torch.bfloat16) if half or device.type == "cuda" else nullcontext()
