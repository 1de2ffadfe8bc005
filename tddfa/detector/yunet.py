"""YuNet (Wu et al., "YuNet: A tiny millisecond-level face detector", Machine Intelligence Research, 2023), decoded.

The network is that of libfacedetection.train. It has no prior boxes: each cell of its three maps predicts one face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from FaceBoxes import Detections
from FaceBoxes.scales import Scales
from FaceBoxes.search import Search, check_settings
from tddfa._shared.arrays import checked_image

STRIDES = (8, 16, 32)
"""Px per cell of the three maps."""

Network = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]
"""``image (1, 3, h, w) float32``, BGR, 0..255, sides multiples of 32 -> for each stride ``cls_8 (1, n, 1)``,
``obj_8 (1, n, 1)``, ``bbox_8 (1, n, 4)``, ``kps_8 (1, n, 10)``: n cells, row by row."""


@dataclass(frozen=True)
class YuNet:
    """The YuNet detector: boxes, scores and five points.

    Parameters
    ----------
    model : callable
        The network: the ONNX file as a `tddfa.model.runtime.Model`, or any function of the type `Network`.
    score : float
        Boxes of at most this score are dropped: the square root of the product of class score and objectness.
    iou : float
        Intersection over union from which the worse of two boxes is suppressed.
    max_area : int
        A larger image is shrunk to this height times width, px.
    min_area, small_area, tiles, max_candidates, max_faces
        See `FaceBoxes.Detector`.

    Raises
    ------
    ValueError
        If a threshold or a limit is out of range.

    Examples
    --------
    >>> def network(images):
    ...     cells = [images.shape[2] * images.shape[3] // stride**2 for stride in (8, 16, 32)]
    ...     return {
    ...         f"{name}_{stride}": np.zeros((1, n, k), np.float32)
    ...         for stride, n in zip((8, 16, 32), cells, strict=True)
    ...         for name, k in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    ...     }
    >>> YuNet(network)(image).points.shape
    (0, 5, 2)
    """

    model: Network
    _: KW_ONLY
    score: float = 0.5
    iou: float = 0.3
    max_area: int = 2_073_600
    min_area: int | None = None
    small_area: int | None = None
    tiles: str = "off"
    max_candidates: int = 5000
    max_faces: int = 750

    def __post_init__(self) -> None:
        """Check the thresholds and limits."""
        check_settings(self)

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Detect the faces of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR.

        Returns
        -------
        Detections
            With points.

        Raises
        ------
        TypeError, ValueError
            If `image` has the wrong type, shape or dtype, or if the model is another network.
        """
        return self._search(checked_image("image", image), self._candidates)

    @cached_property
    def _search(self) -> Search:
        scales = Scales(
            max_area=self.max_area, min_area=self.min_area, small_area=self.small_area, tiles=self.tiles == "auto"
        )
        return Search(scales, self.iou, self.max_candidates, self.max_faces, self.score)

    def _candidates(self, pixels: NDArray[np.uint8]) -> Detections:
        """Boxes above the minimum score, in px of the network's input."""
        height, width = (-(-side // STRIDES[-1]) * STRIDES[-1] for side in pixels.shape[:2])
        batch = np.zeros((1, 3, height, width), dtype=np.float32)
        batch[0, :, : pixels.shape[0], : pixels.shape[1]] = pixels.transpose(2, 0, 1)
        outputs = self.model(batch)
        maps = [self._decoded(outputs, stride, height // stride, width // stride) for stride in STRIDES]
        return Detections.concatenate(maps)

    def _decoded(self, outputs: Mapping[str, NDArray[np.float32]], stride: int, rows: int, columns: int) -> Detections:
        """Boxes of one map, in px."""
        n = rows * columns
        class_score, objectness = (_output(outputs, f"{name}_{stride}", n, 1)[:, 0] for name in ("cls", "obj"))
        scores = np.sqrt(class_score.clip(0, 1) * objectness.clip(0, 1))
        cells = np.flatnonzero(scores > self._search.min_score)
        boxes, points = _output(outputs, f"bbox_{stride}", n, 4)[cells], _output(outputs, f"kps_{stride}", n, 10)[cells]
        corner = np.column_stack([cells % columns, cells // columns]).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are none, whose boxes are dropped
            center, half = corner + boxes[:, :2], 0.5 * np.exp(boxes[:, 2:])
            xyxy = np.concatenate([center - half, center + half], axis=1) * stride
            found = Detections(xyxy, scores[cells], (corner[:, None] + points.reshape(-1, 5, 2)) * stride)
        return found.finite()


def _output(outputs: Mapping[str, NDArray[np.float32]], name: str, n: int, k: int) -> NDArray[np.float32]:
    if name not in outputs or outputs[name].shape != (1, n, k):
        got = outputs[name].shape if name in outputs else f"outputs {', '.join(outputs)}"
        raise ValueError(f"model: expected YuNet's output {name} (1, {n}, {k}), got {got}")
    if outputs[name].dtype.kind != "f":
        raise ValueError(f"model: {name}: expected floating-point numbers, got {outputs[name].dtype}")
    return outputs[name][0]
