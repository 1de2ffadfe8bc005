"""Writing an exported network to a file, once its outputs are those of torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tddfa._shared.errors import TddfaError
from tddfa._shared.files import write_atomic
from tddfa.model.runtime import Model

TOLERANCE = 1e-4
"""Largest difference from torch, relative to the output's largest value or 1."""


class ExportError(TddfaError, ValueError):
    """The outputs of the file differ from those of the network."""


def write_checked(
    path: str | os.PathLike[str],
    data: bytes,
    expected: Mapping[str, Tensor],
    run: Callable[[Model], Mapping[str, NDArray[Any]]],
) -> float:
    """Write a network completely, or not at all.

    Parameters
    ----------
    path : path
        ``.onnx`` file to write.
    data : bytes
        Its content.
    expected : mapping of str to Tensor
        Outputs of torch.
    run : callable
        Runs the exported network on the same inputs.

    Returns
    -------
    float
        Largest difference from torch, relative to the output's largest value or 1.

    Raises
    ------
    ExportError
        If an output differs by more than `TOLERANCE`.
    OSError
        If the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "network.onnx"
        trial.write_bytes(data)
        exported = run(Model(trial, device="cpu", threads=1))
    worst = 0.0
    for name, tensor in expected.items():
        value = tensor.cpu().numpy()
        if exported[name].shape != value.shape:
            raise ExportError(f"{path}: {name}: expected shape {value.shape}, got {exported[name].shape}")
        difference = np.abs(exported[name] - value) / max(np.abs(value).max(initial=0), 1)
        # not "greater than", so that NaN fails
        if not difference.max(initial=0) <= TOLERANCE:
            raise ExportError(f"{path}: {name}: differs from torch by {difference.max():.2g}, more than {TOLERANCE}")
        worst = max(worst, float(difference.max(initial=0)))
    write_atomic(path, data)
    return worst
