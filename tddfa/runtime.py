"""ONNX Runtime, and nothing else knows of it: a file becomes a callable, batch -> named arrays."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")


@lru_cache(maxsize=1)
def _onnxruntime() -> Any:
    import onnxruntime

    # Errors only: the GPU build warns about every machine that has no GPU.
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


@lru_cache(maxsize=1)
def cuda_device_count() -> int:
    """Count the CUDA devices that the driver shows; 0 without a driver."""
    names = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
    try:
        driver = ctypes.CDLL(names[sys.platform])
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (KeyError, OSError, AttributeError):
        return 0
    return count.value


@lru_cache(maxsize=8)
def _providers(device: str) -> tuple[str, ...]:
    """Execution providers to ask for, best first. Cached, so that what is said of a missing GPU is said once."""
    if device not in DEVICES:
        raise ValueError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
    cpu = ("CPUExecutionProvider",)
    if device == "cpu":
        return cpu
    built = "CUDAExecutionProvider" in _onnxruntime().get_available_providers()
    # The driver is asked first: the CUDA provider of a machine without a GPU takes long to say no, and loudly.
    if built and cuda_device_count() > 0:
        preload = getattr(_onnxruntime(), "preload_dlls", None)
        if preload is not None:
            preload()
        return ("CUDAExecutionProvider", *cpu)
    if device == "cuda":
        why = "no CUDA device was found" if built else "this onnxruntime was built without CUDA"
        logger.warning("device cuda was asked for, but %s: running on the CPU", why)
    return cpu


class Model:
    """An ONNX file as a callable: ``batch -> dict of named arrays``.

    The file is read at the first call (or first look at `device`), so that what is never used costs nothing.

    Parameters
    ----------
    path : path
        The ``.onnx`` file; it must have one input.
    device : {"auto", "cpu", "cuda"}
        ``auto`` takes the GPU where there is one.
    threads : int or None
        Threads of one call on the CPU; None leaves it to ONNX Runtime (one a core).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If `device` or `threads` is something else; at the first call, if the file is no ONNX model with one input.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto", threads: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such model file")
        if device not in DEVICES:
            raise ValueError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected 1 or more, got {threads}")
        self._device, self._threads = device, threads

    @cached_property
    def _session(self) -> Any:
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        # threads that spin while they wait steal the cores from decoding and drawing
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(str(self.path), options, providers=list(_providers(self._device)))
        except Exception as error:
            raise ValueError(f"{self.path}: not a model that ONNX Runtime can load: {error}") from error
        if len(session.get_inputs()) != 1:
            raise ValueError(f"{self.path}: expected a model with one input, got {len(session.get_inputs())}")
        return session

    @cached_property
    def _names(self) -> tuple[str, list[str]]:
        return self._session.get_inputs()[0].name, [output.name for output in self._session.get_outputs()]

    @property
    def device(self) -> str:
        """The provider that really runs it, "cuda" or "cpu"."""
        return "cuda" if self._session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of its outputs."""
        return tuple(self._names[1])

    def __call__(self, batch: NDArray[Any]) -> Mapping[str, NDArray[np.float32]]:
        """Run it on a batch.

        Raises
        ------
        ValueError
            If the file is no model, or none for such a batch.
        """
        name, outputs = self._names
        try:
            values = self._session.run(outputs, {name: batch})
        except Exception as error:  # ONNX Runtime's errors share no class
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.path}: it cannot run on a batch of shape {batch.shape}: {reason}") from error
        return dict(zip(outputs, values, strict=True))
