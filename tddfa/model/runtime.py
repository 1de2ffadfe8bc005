"""`Model`: an ONNX file as a callable, run by ONNX Runtime. No other module imports ONNX Runtime."""

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

from tddfa._shared.arrays import checked_number
from tddfa._shared.cores import available_cores, has_int8_dot_products
from tddfa.model.config import Config

logger = logging.getLogger(__name__)

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""Device -> the execution provider of ONNX Runtime that runs networks on it."""

DEVICES = ("auto", *PROVIDERS)
"""Devices to choose from. ``auto`` is CUDA if there is a GPU, and never another: TensorRT builds an engine first."""

_NAMES = {provider: device for device, provider in PROVIDERS.items()}
# Variants of ONNX Runtime that have providers which are not in onnxruntime-gpu.
_PACKAGES = {
    "coreml": "onnxruntime on macOS",
    "directml": "onnxruntime-directml on Windows",
    "openvino": "onnxruntime-openvino",
}
_CUDA_DEVICES = ("cuda", "tensorrt")
# ONNX Runtime's default, cuDNN's exhaustive search, is repeated for each image size and batch size.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}
# Largest batch of a call. The feature maps take about 1 MB per crop of 120 px, and those of a large batch do not fit
# into the caches of a CPU: time per crop is about 7 % higher at batch 64 than at batch 8.
_MAX_ON_CPU, _MAX_ON_GPU = 16, 512
_MAX_THREADS = 1024


@lru_cache(maxsize=1)
def _onnxruntime() -> Any:
    # ONNX Runtime collects usage data: an id of the device and events in ~/.cache/Microsoft, which it sends. It reads
    # the variable when it is loaded, so that its disable_telemetry_events() would be too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    # Errors only: the GPU build warns about every machine that has no GPU.
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


def available_providers() -> tuple[str, ...]:
    """Execution providers that the installed ONNX Runtime was built with, the preferred first.

    Examples
    --------
    >>> available_providers()[-1]
    'CPUExecutionProvider'
    """
    return tuple(_onnxruntime().get_available_providers())


@lru_cache(maxsize=1)
def cuda_device_count() -> int:
    """Number of CUDA devices that the driver reports; 0 without a driver."""
    names = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}
    try:
        driver = ctypes.CDLL(names[sys.platform])
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (KeyError, OSError, AttributeError):
        return 0
    return count.value


@lru_cache(maxsize=32)
def _warn_once(message: str) -> None:
    logger.warning(message)


@lru_cache(maxsize=8)
def _choices(device: str) -> tuple[tuple[str, ...], ...]:
    """Lists of execution providers to try in turn; the last list is the CPU alone."""
    if device not in DEVICES:
        raise ValueError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
    cpu = ("CPUExecutionProvider",)
    if device == "cpu":
        return (cpu,)
    built = _onnxruntime().get_available_providers()
    if device in _PACKAGES:
        if PROVIDERS[device] in built:
            return ((PROVIDERS[device], *cpu), cpu)
        _warn_once(
            f"device {device} was requested, but this onnxruntime does not have it ({_PACKAGES[device]} does): "
            "running on the CPU"
        )
        return (cpu,)
    # Ask the driver first: without a GPU, loading the CUDA provider fails slowly and prints errors.
    if "CUDAExecutionProvider" not in built or cuda_device_count() == 0:
        if device != "auto":
            why = "no CUDA device was found" if "CUDAExecutionProvider" in built else "this onnxruntime has no CUDA"
            _warn_once(f"device {device} was requested, but {why}: running on the CPU")
        return (cpu,)
    preload = getattr(_onnxruntime(), "preload_dlls", None)
    if preload is not None:
        preload()  # CUDA and cuDNN installed by pip (onnxruntime-gpu[cuda,cudnn]) are not on the library path
    cuda = ("CUDAExecutionProvider", *cpu)
    if device != "tensorrt":
        return (cuda, cpu)
    if "TensorrtExecutionProvider" not in built:
        _warn_once("device tensorrt was requested, but this onnxruntime has no TensorRT: running on CUDA")
        return (cuda, cpu)
    return (("TensorrtExecutionProvider", *cuda), cuda, cpu)


def chosen_precision(config: Config, precision: str, device: str) -> str:
    """Replace the precision ``auto`` by "float" or "int8"; return any other precision unchanged.

    Parameters
    ----------
    config : Config
        The config of the model. It may have 8-bit networks.
    precision : str
        ``auto`` takes the 8-bit networks if there are any and they run on a CPU that is fast with them.
    device : str
        See `Model`.

    Examples
    --------
    >>> from tddfa.model.assets import config_path
    >>> chosen_precision(Config.load(config_path("open_mb05")), "float", "cpu")
    'float'
    """
    if precision != "auto":
        return precision
    on_cpu = len(_choices(device)) == 1
    return "int8" if config.model_int8 is not None and on_cpu and has_int8_dot_products() else "float"


class Model:
    """An ONNX file as a callable: it maps a batch to named output arrays.

    The file is loaded at the first call, or when `device` is first read. Pickling stores the arguments: another process
    loads the file again.

    Parameters
    ----------
    path : path
        An ``.onnx`` file with one input.
    device : {"auto", "cpu", "cuda", "tensorrt", "coreml", "directml", "openvino"}
        ``auto`` uses CUDA if there is a CUDA GPU, else the CPU. If the requested device is missing or fails, the next
        best is used, and a warning is logged once.
    threads : int or None
        CPU threads of one call, 1..1024. None uses one per core that the process may use.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If `threads` is not a whole number.
    ValueError
        If `device` or `threads` has a wrong value; at the first call, if the file is not an ONNX model with one input.

    Examples
    --------
    >>> from tddfa.model.assets import data_folder
    >>> regressor = Model(data_folder() / "weights/open_mb05.onnx", device="cpu")
    >>> regressor.outputs
    ('camera', 'shape', 'expression', 'score', 'confidence')
    >>> regressor(np.zeros((2, 120, 120, 3), np.uint8))["camera"].shape
    (2, 3, 4)
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto", threads: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such model file")
        if device not in DEVICES:
            raise ValueError(f"device: expected one of {', '.join(DEVICES)}, got {device!r}")
        if threads is not None:
            checked_number("threads", threads, 1, _MAX_THREADS, whole=True)
            threads = int(threads)  # ONNX Runtime takes no number of NumPy
        self._device, self._threads = device, threads

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._device, self._threads)

    @cached_property
    def _session(self) -> Any:
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = _thread_count(self._threads)
        # threads that spin while they wait take the cores from decoding and drawing
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # its memory for tensors grows by powers of two, and is kept; the allocator of the system is as fast
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        # one block for all tensors of a run leaves holes where images have many sizes: 340 MB after 800, else 170
        options.enable_mem_pattern = False
        choices = _choices(self._device)
        session: Any = None
        failed = ""
        for choice in choices:
            providers = [(name, _CUDA_OPTIONS if name == "CUDAExecutionProvider" else {}) for name in choice]
            try:
                # ONNX Runtime's own fallback prints to stdout
                session = ort.InferenceSession(str(self.path), options, providers=providers, enable_fallback=0)
                break
            except Exception as error:  # ONNX Runtime's errors have no common class
                failed = " ".join(str(error).split())
        if session is None:
            raise ValueError(f"{self.path}: not a model that ONNX Runtime can load: {failed}")
        got, wanted = _name(session.get_providers()[0]), _name(choices[0][0])
        if got != wanted:
            why = f": {failed}" if failed else ", which could not be loaded"
            _warn_once(f"running on {got} in place of {wanted}{why}")
        return session

    @cached_property
    def _names(self) -> tuple[str, list[str]]:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{self.path}: expected a model with one input, got {len(inputs)}")
        return inputs[0].name, [output.name for output in self._session.get_outputs()]

    @cached_property
    def device(self) -> str:
        """Device that runs the model, one of `PROVIDERS`. It may differ from the requested device."""
        return _name(self._session.get_providers()[0])

    @property
    def max_batch(self) -> int:
        """Largest recommended batch of crops for one call."""
        return _MAX_ON_GPU if self.device in _CUDA_DEVICES else _MAX_ON_CPU

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(self._names[1])

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The file's own metadata: key -> text."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, batch: NDArray[Any]) -> Mapping[str, NDArray[np.float32]]:
        """Run the model on a batch; return its outputs by name.

        Raises
        ------
        ValueError
            If the file is not a model, or if it cannot run on such a batch.
        """
        name, outputs = self._names
        try:
            if self.device in _CUDA_DEVICES:
                values = self._run_bound(name, outputs, batch)
            else:
                values = self._session.run(outputs, {name: batch})
        except Exception as error:  # ONNX Runtime's errors have no common class
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.path}: cannot run on a batch of shape {batch.shape}: {reason}") from error
        return dict(zip(outputs, values, strict=True))

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        """Run a model with several inputs, by their names; return its outputs by name.

        Raises
        ------
        ValueError
            If the file is not a model, or if it has other inputs.
        """
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, dict(inputs))
        except Exception as error:  # ONNX Runtime's errors have no common class
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.path}: cannot run on {', '.join(inputs)}: {reason}") from error
        return dict(zip(names, values, strict=True))

    def _run_bound(self, name: str, outputs: list[str], batch: NDArray[Any]) -> list[NDArray[np.float32]]:
        # one copy to the device, one copy of all outputs back, none between
        binding = self._session.io_binding()
        binding.bind_cpu_input(name, np.ascontiguousarray(batch))
        for output in outputs:
            binding.bind_output(output, "cuda")
        self._session.run_with_iobinding(binding)
        values: list[NDArray[np.float32]] = binding.copy_outputs_to_cpu()
        return values


def _thread_count(threads: int | None) -> int:
    if threads is not None:
        return threads
    # ONNX Runtime counts the physical cores of the machine (0), whatever the affinity and the quota of the process
    available = available_cores()
    return 0 if available >= (os.cpu_count() or 1) else available


def _name(provider: str) -> str:
    return _NAMES.get(provider, provider)
