"""Decode the outputs of a network to the boxes above a minimum score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.anchors import CENTER_VARIANCE, SHORTEST, SIZE_VARIANCE
from FaceBoxes.detections import Detections

try:
    from FaceBoxes import _decode
except ImportError as error:
    raise ImportError("the compiled extensions are missing: run ./build.sh or pip install -e .") from error

Floats = NDArray[np.float32]


def decoded(prior: Floats, outputs: Mapping[str, Floats], min_score: float) -> Detections:
    """Decode the boxes of a network with a score over a minimum, in the order of its prior boxes.

    `decode`, `decode_points` and `decode_rotations` of `FaceBoxes.anchors` do the same in NumPy.

    Parameters
    ----------
    prior : ndarray (n, 3) float32
        `FaceBoxes.anchors.Anchors.priors`.
    outputs : mapping
        ``scores`` (1, n), ``offsets`` (1, n, 4) and, where the network has them, ``points`` (1, n, 10) and
        ``rotations`` (1, n, 6).
    min_score : float

    Returns
    -------
    Detections
        In px of the network's input. Boxes with a number that is NaN or infinite are left out.

    Raises
    ------
    ValueError
        If an output is missing, or has the wrong shape or type.

    Examples
    --------
    >>> outputs = {"scores": np.float32([[0.9]]), "offsets": np.zeros((1, 1, 4), np.float32)}
    >>> decoded(np.float32([[50, 60, 20]]), outputs, min_score=0.5).xyxy.tolist()
    [[40.0, 50.0, 60.0, 70.0]]
    """
    n = len(prior)
    scores = _output(outputs, "scores", (1, n))
    offsets = _output(outputs, "offsets", (1, n, 4))
    points = _output(outputs, "points", (1, n, 10)) if "points" in outputs else None
    rotations = _output(outputs, "rotations", (1, n, 6)) if "rotations" in outputs else None
    most = int(np.count_nonzero(scores > min_score))
    xyxy, kept = np.empty((most, 4), dtype=np.float32), np.empty(most, dtype=np.float32)
    five = None if points is None else np.empty((most, 10), dtype=np.float32)
    matrices = None if rotations is None else np.empty((most, 9), dtype=np.float32)
    count = _decode.decode(
        prior, scores, offsets, points, rotations, min_score, CENTER_VARIANCE, SIZE_VARIANCE, SHORTEST,
        xyxy, kept, five, matrices,
    )  # fmt: skip
    return Detections(
        xyxy[:count],
        kept[:count],
        None if five is None else five[:count].reshape(-1, 5, 2),
        None if matrices is None else matrices[:count].reshape(-1, 3, 3),
    )


def _output(outputs: Mapping[str, Floats], name: str, shape: tuple[int, ...]) -> Floats:
    """An output of one image, without the axis of images."""
    if name not in outputs:
        raise ValueError(f"model: expected the outputs scores and offsets, got {', '.join(outputs) or 'none'}")
    value = outputs[name]
    if value.dtype.kind != "f":
        raise ValueError(f"model: {name}: expected floating-point numbers, got {value.dtype}")
    if value.shape != shape:
        raise ValueError(f"model: {name}: expected shape {shape} for {shape[1]} prior boxes, got {value.shape}")
    return np.ascontiguousarray(value[0], dtype=np.float32)
