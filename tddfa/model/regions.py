"""Named regions of a face model, from its 68 landmarks. The regions of ``configs/open_face.npz`` were made by it.

``python -m tddfa.model.regions IN.npz OUT.npz`` adds an array ``region_<name>`` of vertex indices for each region.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.npz import add_arrays
from tddfa.landmarks68 import NOSE, NOSE_TIP, OUTER_EYE_CORNERS, PARTS
from tddfa.model.face_model import MAX_BYTES, FaceModel

# Landmarks around a region, and the margin around their hull, in outer eye distances. Left and right of the subject.
_HULLS: dict[str, tuple[slice, float]] = {
    "right_eye": (PARTS["right_eye"], 0.07),
    "left_eye": (PARTS["left_eye"], 0.07),
    "right_brow": (PARTS["right_brow"], 0.05),
    "left_brow": (PARTS["left_brow"], 0.05),
    "nose": (NOSE, 0.1),
    "lips": (PARTS["outer_lips"], 0.02),
}
# A vertex belongs to the jaw if the opening jaw moves it by this fraction of the largest motion.
_JAW_FRACTION = 0.5


def find_regions(model: FaceModel) -> dict[str, NDArray[np.int32]]:
    """Vertices of the eyes, brows, nose, lips, ears and jaw.

    The mean face is unrolled onto a cylinder about its vertical axis. A region of the front is the hull of its
    landmarks with a margin. The ears are behind the ends of the jaw line, between the heights of the mouth and the
    brows. The jaw has the vertices that the expression ``jawOpen`` moves by at least half of its largest motion; a
    model without that expression has no jaw.

    Returns
    -------
    dict of str to ndarray (k,) int32
        Right and left are the subject's.

    Examples
    --------
    >>> sorted(find_regions(aligner.face_model))[:4]
    ['jaw', 'left_brow', 'left_ear', 'left_eye']
    """
    none = np.zeros(model.shape_count, dtype=np.float32), np.zeros(model.expression_count, dtype=np.float32)
    landmarks = model.landmarks(*none)
    unit = float(np.linalg.norm(np.subtract(*landmarks[list(OUTER_EYE_CORNERS)])))
    axis_z = float(landmarks[[0, 16], 2].mean())
    radius = float(landmarks[NOSE_TIP, 2]) - axis_z

    def unrolled(points: NDArray[np.float32]) -> NDArray[np.float32]:
        angle = np.arctan2(points[:, 0], points[:, 2] - axis_z)
        return np.column_stack([radius * angle, points[:, 1]]).astype(np.float32)

    flat, flat_landmarks = unrolled(model.mean), unrolled(landmarks)
    skin = model.part == 0
    regions: dict[str, NDArray[np.int32]] = {}
    for name, (part, margin) in _HULLS.items():
        hull = cv2.convexHull(flat_landmarks[part])
        inside = np.array([cv2.pointPolygonTest(hull, point, True) for point in flat.tolist()]) >= -margin * unit
        eyeball = {"left_eye": 1, "right_eye": 2}.get(name, -1)
        regions[name] = np.flatnonzero((inside & skin) | (model.part == eyeball)).astype(np.int32)

    x, y, z = model.mean.T
    low = float(landmarks[[2, 3, 13, 14], 1].mean())
    high = float(landmarks[[17, 26, 36, 45], 1].mean())
    ear = skin & (y > low) & (y < high) & (z < axis_z - 0.1 * unit)
    regions["right_ear"] = np.flatnonzero(ear & (x < 0)).astype(np.int32)
    regions["left_ear"] = np.flatnonzero(ear & (x > 0)).astype(np.int32)

    if "jawOpen" in model.expression_names:
        offset = model.basis[model.shape_count + model.expression_names.index("jawOpen")]
        moved = np.linalg.norm(offset, axis=1)
        regions["jaw"] = np.flatnonzero(skin & (moved >= _JAW_FRACTION * moved.max())).astype(np.int32)
    return regions


def main(source: str, target: str) -> None:
    """Copy a face model with its regions added."""
    regions = find_regions(FaceModel.load(source))
    add_arrays(source, target, {f"region_{name}": indices for name, indices in regions.items()}, MAX_BYTES)


if __name__ == "__main__":
    main(*sys.argv[1:])
