"""Head pose from the detector's pass alone, on AFLW2000-3D (Zhu et al., 2016), also with faces shrunk to 24 px.

Angles are those of ``Pose_Para``. As in img2pose (Albiero et al., CVPR 2021), images with an angle beyond 99 degrees
are left out. Of the detected faces, the one whose box has the highest IoU with the box of the landmarks is measured.

Data: as for aflw2000-3d, images with a .mat of the same name beside each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tddfa._shared import image_io
from tddfa.datasets import files as sources
from tddfa.detector import Detector
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.aflw2000 import FOLDERS, LARGEST_ANGLE, SHAPES
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup
from tddfa.geometry.boxes import box_iou

_BENCHMARK = BENCHMARKS["detector-pose"]
SMALL = 24
"""Longer side of the box of the landmarks of a shrunk face, px."""
# Key of a figure -> its words.
_SIZES = {"native": "images as they are", "small": f"faces shrunk to {SMALL} px"}


@dataclass(frozen=True, eq=False)
class _Image:
    """Labelled pitch, yaw and roll in degrees, and the predicted rotation by size, None where the face is missed."""

    name: str
    pose: Floats
    rotations: dict[str, Floats | None]


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the docstring of the module.

    Raises
    ------
    DataMissing
        If the images are missing, or if the detector predicts no rotations.
    ValueError
        If the aligner has no detector, or if a file is damaged; the message names it.
    """
    folder = sources.first_folder(setup.data, FOLDERS, "*.mat")
    if folder is None:
        raise DataMissing(f"no images with .mat files in {setup.data}: expected {_BENCHMARK.data}")
    detector = setup.detector(_BENCHMARK.name).posed
    labels = setup.chosen(sorted(folder.glob("*.mat")))
    done = sources.parallel_map(lambda path: _read(path, detector), labels)
    images = [image for _, image in zip(setup.track(labels, "detector-pose"), done, strict=True)]
    kept = [image for image in images if (np.abs(image.pose) <= LARGEST_ANGLE).all()]
    figures = [Figure("left_out", "images left out, an angle beyond 99 degrees", len(images) - len(kept), "images")]
    for size, words in _SIZES.items():
        figures += _figures(kept, size, words)
    return Result(_BENCHMARK.name, {"images": len(images)}, tuple(figures))


def _read(path: Path, detector: Detector) -> _Image:
    file = sources.image_beside(path)
    if file is None:
        raise ValueError(f"{path}: expected its image beside it, got none")
    arrays = sources.read_mat(path, SHAPES)
    points, pose = arrays["pt3d_68"][:2].T, np.degrees(arrays["Pose_Para"][0, :3])
    if len(pose) < 3:
        raise ValueError(f"{path}: expected three angles, got {len(pose)}")
    image = image_io.read(file)
    sources.check_landmarks(path, points, image)
    size = float(np.ptp(points, axis=0).max())
    scale = min(1.0, SMALL / size)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rotations = {
        "native": _rotation(detector, image, points),
        "small": _rotation(detector, np.asarray(small), points * scale),
    }
    return _Image(path.stem, pose, rotations)


def _rotation(detector: Detector, image: np.ndarray, points: Floats) -> Floats | None:
    found = detector(image)
    if found.rotations is None:
        raise DataMissing("the detector of this config predicts no rotations")
    if not len(found):
        return None
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    iou = box_iou(found.xyxy, box[None])[:, 0]
    return found.rotations[int(iou.argmax())].astype(np.float64) if iou.max() > 0 else None


def _figures(images: list[_Image], size: str, words: str) -> Iterator[Figure]:
    differences = []
    for image in images:
        rotation = image.rotations[size]
        if rotation is not None:
            pitch, yaw, roll = image.pose
            differences.append(np.abs(metrics.wrapped(metrics.euler_300w_lp(rotation) - np.array([yaw, pitch, roll]))))
    yield Figure(f"{size}.missed", f"{words}: faces missed", len(images) - len(differences), "images", "lower")
    means = [metrics.mean(column) for column in np.array(differences).reshape(-1, 3).T]
    for name, value in zip(("yaw", "pitch", "roll"), means, strict=True):
        yield Figure(f"{size}.{name}", f"{words}: mean error of {name}", value, "deg", "lower")
    yield Figure(f"{size}.mean", f"{words}: mean of the three", float(np.mean(means)), "deg", "lower")
