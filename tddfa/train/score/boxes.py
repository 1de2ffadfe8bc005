"""Crops where the aligner takes them: at the boxes of the detector, also at those that it is not sure of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.crop import squares_of_detections
from tddfa.detector import Detector
from tddfa.model.assets import config_path
from tddfa.model.config import Config, FaceBoxesConfig
from tddfa.train.score.placement import Matrix, rotation, similarity, warped

Image = NDArray[np.uint8]
Placement = NDArray[np.float64]
"""Centre x, y and side of a square, px, and the rotation (radians) that makes the face in it upright."""

VIEW = 480
"""Side of a `view`, px."""

# Lowest score of the detector: faces of any roll and turned faces are also looked for at weak boxes.
_SCORE = 0.05
# Size of the face in a view, px.
_FACE = (12.0, 380.0)
# Fraction of the views that are dark, their brightness, and the noise of the camera in grey levels.
_DARK, _BRIGHTNESS, _NOISE = 0.15, (0.12, 0.6), (1.0, 6.0)
# Fraction of the boxes that are cropped as they are; of the others the side has a factor in this range, for the aligner
# tries larger crops of a face that it is not sure of.
_AS_IT_IS, _FACTORS = 0.5, (0.8, 1.8)
# Fraction of the boxes that are cropped at another roll, a quarter or half a turn away.
_TURNED = 0.2


class Boxes:
    """Squares at the boxes of a detector, kept by the image's key.

    Parameters
    ----------
    path : Path
        ``.onnx`` file of the detector. Its settings are those of the config ``open_mb05``, without tiles.
    """

    def __init__(self, path: Path) -> None:
        config = Config.load(config_path("open_mb05"))
        settings = config.detector
        assert isinstance(settings, FaceBoxesConfig)
        self._rule = config.crop
        changed = replace(settings, model=path, score=_SCORE)
        self._detector = Detector.from_config(changed, device="cpu", threads=1, tiles="off")
        self._known: dict[object, Placement] = {}

    def __call__(self, image: Image, key: object | None = None) -> Placement:
        """Placements (n, 4) at the boxes, most certain first."""
        if key is not None and key in self._known:
            return self._known[key]
        found = self._detector(image)
        squares = squares_of_detections(found.xyxy, found.points, self._rule)
        centre = squares[:, :2] + squares[:, 2:3] / 2
        placements = np.column_stack([centre, squares[:, 2], -np.radians(squares[:, 3])])
        if key is not None:
            self._known[key] = placements
        return placements


def near_box(placements: Placement, box: NDArray[np.float64]) -> Placement:
    """Those whose centre is at the box (4,) of a face: what is elsewhere may be a face without a label."""
    distance = np.linalg.norm(placements[:, :2] - (box[:2] + box[2:]) / 2, axis=1)
    return placements[distance < 0.7 * float((box[2:] - box[:2]).max())]


def at_box(placement: Placement, rng: np.random.Generator) -> Matrix:
    """Map to a crop at a box (4,): as it is, or larger, smaller, or rolled by quarter turns."""
    x, y, side, roll = placement.tolist()
    if rng.random() >= _AS_IT_IS:
        side *= float(np.exp(rng.uniform(*np.log(_FACTORS))))
    if rng.random() < _TURNED:
        roll += float(rng.integers(1, 4)) * np.pi / 2
    return similarity(np.array([x, y]), side, roll)


def view(image: Image, landmarks: NDArray[np.float64], rng: np.random.Generator) -> tuple[Image, NDArray[np.float64]]:
    """Image of `VIEW` px with a face at a random size, place and roll, sometimes dark, and the landmarks in it."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    scale = float(np.exp(rng.uniform(*np.log(_FACE)))) / float((high - low).max())
    roll = rng.uniform(-180, 180) if rng.random() < 0.4 else rng.normal(0, 12)
    turned = scale * rotation(float(np.radians(roll)))
    matrix = np.column_stack([turned, VIEW * rng.uniform(0.25, 0.75, 2) - turned @ ((low + high) / 2)])
    # beyond the image: black, or its border repeated
    border = cv2.BORDER_REPLICATE if rng.random() < 0.6 else cv2.BORDER_CONSTANT
    seen = warped(image, matrix, border, VIEW)
    if rng.random() < _DARK:
        noise = np.zeros((VIEW, VIEW, 3), dtype=np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, (0, 0, 0), (rng.uniform(*_NOISE),) * 3)
        seen = (seen * rng.uniform(*_BRIGHTNESS) + noise).clip(0, 255).astype(np.uint8)
    return seen, landmarks @ matrix[:, :2].T + matrix[:, 2]
