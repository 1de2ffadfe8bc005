"""The Biwi Kinect head pose database (Fanelli et al., 2013): Euler angles of the head, with the protocol of img2pose.

Of the faces with a detection score over 0.9, the one nearest to the middle of the image is measured. If there is none,
the face with the highest score is measured. An image without a detected face counts as missed.

``frame_*_pose.txt`` has a rotation, head to camera, in the frame of OpenCV: x right, y down, z away from the camera. A
frontal head has the identity. The rotation is in the frame of the depth camera. As in the papers, the rotation between
this camera and the colour camera (``rgb.cal``) is ignored. There are figures for two conventions of Euler angles:

- that of img2pose: about fixed z, x, y, which is yaw, then pitch, then roll, in the order of `tddfa.geometry.rotation`;
- that of most papers (Hopenet, FSA-Net): transposed, about fixed x, y, z: the angles of 300W-LP
  (`metrics.euler_300w_lp`).

Data: DIR/hpdb (also DIR/biwi, DIR/BIWI, with or without hpdb in it, or DIR itself) with folders 01 to 24 of
frame_00003_rgb.png and frame_00003_pose.txt. If img2pose's BIWI_annotations.txt exists, only the images in it are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa._shared.errors import reason
from tddfa.aligner import Aligner
from tddfa.datasets import files as sources
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst, number
from tddfa.geometry.rotation import Euler, euler_from_rotation
from tddfa.types import Face

_BENCHMARK = BENCHMARKS["biwi"]

_FOLDERS = ("hpdb", "biwi/hpdb", "biwi", "BIWI/hpdb", "BIWI", "kinect_head_pose_db/hpdb", "faces_0/hpdb")
_PATTERN, _IMAGE, _POSE = "[0-9][0-9]/frame_*_pose.txt", "_rgb.png", "_pose.txt"
_LIST = "BIWI_annotations.txt"
_MIN_SCORE = 0.9
_VIEW = np.diag([1.0, -1.0, -1.0])  # from OpenCV's frame to the view frame, and back
_ORDERS: dict[str, tuple[str, Callable[[Floats], Euler]]] = {
    "zxy": ("angles about z, x, y (img2pose)", euler_from_rotation),
    "xyz": ("angles of 300W-LP (Hopenet, FSA-Net)", metrics.euler_300w_lp),
}


@dataclass(frozen=True, eq=False)
class _Image:
    path: str
    ground_truth: Floats
    face: Face | None


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the docstring of the module.

    Raises
    ------
    DataMissing
        If the database is missing.
    ValueError
        If a file is damaged; the message names it.
    """
    folder = sources.first_folder(setup.data, _FOLDERS, _PATTERN)
    if folder is None:
        raise DataMissing(f"no frame_*_pose.txt in {setup.data}: expected {_BENCHMARK.data}")
    poses = sorted(folder.glob(_PATTERN))
    listed = sources.first_file([folder, folder.parent, setup.data], [_LIST])
    if listed is not None:
        wanted = {_key(line.split()[0]) for line in sources.read_list(listed)}
        poses = [path for path in poses if _key(str(path).removesuffix(_POSE) + _IMAGE) in wanted]
        if not poses:
            raise ValueError(f"{listed}: expected images in {folder}, such as 01/frame_00003{_IMAGE}, got none")

    def job(path: Path) -> _Image:
        image = path.with_name(path.name.removesuffix(_POSE) + _IMAGE)
        rotation = read_pose(path)
        return _Image(sources.relative_name(image, setup.data), rotation, _middle(setup.aligner, image_io.read(image)))

    chosen = setup.chosen(poses)
    done = sources.parallel_map(job, chosen)
    images = [image for _, image in zip(setup.track(chosen, "Biwi"), done, strict=True)]
    return _result(images, listed is not None)


def _key(path: str) -> tuple[str, ...]:
    return Path(path).parts[-2:]


def read_pose(path: Path) -> Floats:
    """Read the rotation of a ``frame_*_pose.txt``: its first nine numbers.

    Returns
    -------
    ndarray (3, 3) float64
        Model to view (`tddfa.geometry.camera`).

    Raises
    ------
    ValueError
        If it holds something else; the message names the file.
    """
    try:
        numbers = np.array(sources.read_text(path).split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers: {reason(error)}") from error
    if numbers.size != 12 or not np.isfinite(numbers).all():
        raise ValueError(f"{path}: expected a rotation of 3 x 3 finite numbers and a position of 3, got {numbers.size}")
    rotation = numbers[:9].reshape(3, 3)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.01 or np.linalg.det(rotation) < 0:
        raise ValueError(f"{path}: expected a rotation, got {rotation.tolist()}")
    return np.asarray(_VIEW @ rotation @ _VIEW)


def _middle(aligner: Aligner, image: NDArray[np.uint8]) -> Face | None:
    faces = aligner(image)
    confident = [face for face in faces if face.score > _MIN_SCORE] or faces[:1]
    middle = np.array(image.shape[1::-1]) / 2
    return min(confident, key=lambda f: float(np.linalg.norm((f.box[:2] + f.box[2:]) / 2 - middle)), default=None)


def _result(images: Sequence[_Image], listed: bool) -> Result:
    settings: dict[str, Any] = {
        "images": len(images),
        "labels": "frame_*_pose.txt",
        "crops": "detector",
        "chosen": f"those in {_LIST}" if listed else "all frames",
    }
    angles = {
        image.path: metrics.rotation_angle(image.face.camera.rotation, image.ground_truth)
        for image in images
        if image.face
    }
    yaw = [euler_from_rotation(image.ground_truth).yaw for image in images]
    errors = [angles.get(image.path, float("nan")) for image in images]
    missed = [image for image in images if image.face is None]
    figures = [
        Figure("missed", "images without a detected face", len(missed), "images", "lower"),
        *(figure for order in _ORDERS for figure in _angle_figures(order, images)),
        Figure("rotation", "mean angle between rotations, detected faces only", metrics.mean(errors), "deg", "lower"),
    ]
    ranked = sorted((image for image in images if image.face), key=lambda image: -angles[image.path])
    return Result(
        _BENCHMARK.name,
        settings,
        tuple(figures),
        tuple(_row(image, error) for image, error in zip(images, errors, strict=True)),
        (crops.curve("crop from the detector, angle between rotations", errors, "deg", yaw),),
        (
            *(
                Worst(image.path, round(angles[image.path], 6), [], crops.plain(image.face.landmarks))
                for image in ranked[: crops.MAX_WORST]
                if image.face
            ),
            *(Worst(image.path, caption="missed") for image in missed[: crops.MAX_MISSED]),
        ),
    )


def _angle_figures(order: str, images: Sequence[_Image]) -> Iterator[Figure]:
    label, to_angles = _ORDERS[order]
    pairs = [(to_angles(image.face.camera.rotation), to_angles(image.ground_truth)) for image in images if image.face]
    off = np.array([metrics.wrapped(np.subtract(*pair)) for pair in pairs]).reshape(-1, 3)
    by_angle = [metrics.mean(np.abs(column)) for column in off.T]
    for name, value in zip(Euler._fields, by_angle, strict=True):
        description = f"{label}: mean error of {name}, detected faces only"
        yield Figure(f"pose.{order}.{name}", description, value, "deg", "lower")
    yield Figure(f"pose.{order}.mean", f"{label}: mean of the three", float(np.mean(by_angle)), "deg", "lower")


def _row(image: _Image, error: float) -> dict[str, Any]:
    row: dict[str, Any] = {"image": image.path, "rotation": number(error)}
    for order, (_, to_angles) in _ORDERS.items():
        labels = to_angles(image.ground_truth)
        predicted = (float("nan"),) * 3 if image.face is None else to_angles(image.face.camera.rotation)
        for name, value, label in zip(Euler._fields, predicted, labels, strict=True):
            row[f"{order}.{name}"], row[f"{order}.{name}.label"] = number(value), number(label)
    return row
