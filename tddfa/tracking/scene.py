"""Whether a frame shows the scene of the one before, and whether two faces look alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.types import Face

_PATCH_SIZE = 16  # side of the patches by which two faces are compared, px
_MIN_FACE_SAMPLES = 12  # the patch of a smaller face has its surroundings too
_MIN_SIDE = 64  # samples along the shorter side of a frame
_THUMBNAIL = (32, 24)


@dataclass(frozen=True, eq=False)
class Grey:
    """A frame in grey, reduced to every `step`-th pixel.

    Attributes
    ----------
    image : ndarray (h, w) uint8
    step : int
    size : tuple of int
        Shape of the frame.
    thumbnail : ndarray (24, 32) float32
        Its deviations from their mean.
    """

    image: NDArray[np.uint8]
    step: int
    size: tuple[int, ...]
    thumbnail: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Grey:
        """Reduce an image (h, w, 3), BGR."""
        step = max(1, min(image.shape[:2]) // _MIN_SIDE)
        grey = np.asarray(cv2.cvtColor(image[::step, ::step].copy(), cv2.COLOR_BGR2GRAY))
        thumbnail = cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        return cls(grey, step, image.shape, thumbnail - thumbnail.mean())

    def is_other_scene(self, before: Grey, min_correlation: float) -> bool:
        """Whether a cut may lie between two frames: their thumbnails do not correlate."""
        if self.size != before.size:
            return True
        a, b = self.thumbnail.ravel(), before.thumbnail.ravel()
        spread = float(np.sqrt((a @ a) * (b @ b)))
        if spread < a.size:  # a standard deviation of about one grey level: a uniform image shows no scene
            return False
        return float(a @ b) / spread < min_correlation

    def patch(self, face: Face) -> NDArray[np.float32]:
        """The square around a face, of `_PATCH_SIZE` px."""
        low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
        scale = _PATCH_SIZE / max(float((high - low).max()) / self.step, _MIN_FACE_SAMPLES)
        x, y = _PATCH_SIZE / 2 - scale * (low + high) / 2 / self.step
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        size = (_PATCH_SIZE, _PATCH_SIZE)
        return np.asarray(cv2.warpAffine(self.image, matrix, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Highest correlation, -1..1, of two patches shifted by at most 2 px; 0 where one is uniform."""
    inner = b[2:-2, 2:-2]
    if np.ptp(a) < 1 or np.ptp(inner) < 1:
        return 0.0
    return float(cv2.matchTemplate(a, inner, cv2.TM_CCOEFF_NORMED).max())
