"""Checks of ``tddfa info`` that load compiled packages. Each runs in a process of its own, which may crash."""

from __future__ import annotations

import time

_EXPECTED = (223.5, 126.5)  # tip of the nose by open_mb05 on the example photo, px
_TOLERANCE = 5.0  # px; other devices and versions round differently


def opencv() -> str:
    """Version of OpenCV, and whether it can open windows."""
    import cv2

    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    gui = next((line.partition(":")[2].strip() for line in lines if line.startswith("GUI:")), "")
    return f"{cv2.__version__}, windows: {gui or 'NONE'}"


def onnxruntime() -> str:
    """Execution providers of ONNX Runtime, and CUDA devices."""
    from tddfa.model.runtime import available_providers, cuda_device_count

    names = (name.removesuffix("ExecutionProvider") for name in available_providers())
    return f"providers {', '.join(names)}; CUDA devices: {cuda_device_count()}"


def self_test() -> str:
    """Align the face of the example photo with the default model.

    Raises
    ------
    ValueError
        If the result is not the known one.
    """
    import numpy as np

    from tddfa._shared.image_source import read_image
    from tddfa.aligner import Aligner
    from tddfa.landmarks68 import NOSE_TIP
    from tddfa.model.assets import data_folder

    image = read_image(data_folder() / "examples/inputs/astronaut.jpg")
    aligner = Aligner.load()
    aligner(image)  # the first call loads the networks
    started = time.perf_counter()
    faces = aligner(image)
    elapsed = 1000 * (time.perf_counter() - started)
    if len(faces) != 1:
        raise ValueError(f"expected one face in the example photo, got {len(faces)}")
    x, y = faces[0].landmarks[NOSE_TIP, :2]
    if not np.hypot(x - _EXPECTED[0], y - _EXPECTED[1]) <= _TOLERANCE:
        raise ValueError(f"expected the tip of the nose at {_EXPECTED[0]}, {_EXPECTED[1]}, got {x:.1f}, {y:.1f}")
    return f"passed: one face in the example photo, on {aligner.device}, {elapsed:.0f} ms"
