"""The Biwi Kinect head pose database (Fanelli et al., 2013): angles of the head, as img2pose measures them.

Of the faces that the detector finds with a score over 0.9 the one nearest to the middle of the picture is taken, or the
best of all where none has such a score. A photo without a face is missed, and counted.

``frame_*_pose.txt`` holds a rotation, head to camera, in the frame of OpenCV: x right, y down, z away, so that a head
that looks into the camera has the identity. As in the papers, the turn between the depth camera, whose frame it is,
and the colour one (``rgb.cal``) is left out. Two ways to take angles out of it are in use; both are told:

- img2pose's: about fixed z, x, y, which is yaw, then pitch, then roll, in the order of `tddfa.geometry.camera`;
- that of most papers (Hopenet, FSA-Net): transposed, about fixed x, y, z: the angles of 300W-LP
  (`metrics.euler_300w_lp`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.datasets import files as sources
from tddfa.evaluate import crops, metrics
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst, number
from tddfa.geometry.rotation import Euler, euler_from_rotation
from tddfa.types import Face

NAME = "biwi"
LAYOUT = (
    "DIR/hpdb (also DIR/biwi, DIR/BIWI, with or without hpdb in it, or DIR itself) with folders 01 to 24 of "
    "frame_00003_rgb.png and frame_00003_pose.txt; where img2pose's BIWI_annotations.txt is there too, only the photos "
    "it names are taken"
)

_FOLDERS = ("hpdb", "biwi/hpdb", "biwi", "BIWI/hpdb", "BIWI", "kinect_head_pose_db/hpdb", "faces_0/hpdb")
_PATTERN, _PHOTO, _POSE = "[0-9][0-9]/frame_*_pose.txt", "_rgb.png", "_pose.txt"
_LIST = "BIWI_annotations.txt"
_MIN_SCORE = 0.9
_VIEW = np.diag([1.0, -1.0, -1.0])  # OpenCV's frame to the view's, and back
_ORDERS: dict[str, tuple[str, Callable[[Floats], Euler]]] = {
    "zxy": ("angles about z, x, y (img2pose)", euler_from_rotation),
    "xyz": ("angles of 300W-LP (Hopenet, FSA-Net)", metrics.euler_300w_lp),
}


@dataclass(frozen=True, eq=False)
class _Photo:
    path: str
    truth: Floats
    face: Face | None


def evaluate(setup: Setup) -> Result:
    """Run the benchmark; see the module's docstring, and `LAYOUT`.

    Raises
    ------
    DataMissing
        If the database is not there.
    ValueError
        If a file is damaged; the message names it.
    """
    folder = sources.first_folder(setup.data, _FOLDERS, _PATTERN)
    if folder is None:
        raise DataMissing(f"no frame_*_pose.txt in {setup.data}: expected {LAYOUT}")
    poses = sorted(folder.glob(_PATTERN))
    listed = sources.first_file([folder, folder.parent, setup.data], [_LIST])
    if listed is not None:
        wanted = {_key(line.split()[0]) for line in sources.read_list(listed)}
        poses = [path for path in poses if _key(str(path).removesuffix(_POSE) + _PHOTO) in wanted]
        if not poses:
            raise ValueError(f"{listed}: expected photos that are in {folder}, such as 01/frame_00003{_PHOTO}")

    def job(path: Path) -> _Photo:
        photo = path.with_name(path.name.removesuffix(_POSE) + _PHOTO)
        truth = read_pose(path)
        image = image_io.read(photo)
        return _Photo(sources.below(photo, setup.data), truth, _middle(setup.aligner, image))

    chosen = setup.chosen(poses)
    done = sources.worked(job, chosen)
    photos = [photo for _, photo in zip(setup.track(chosen, "Biwi"), done, strict=True)]
    return _result(photos, listed is not None)


def _key(path: str) -> tuple[str, ...]:
    return Path(path).parts[-2:]


def read_pose(path: Path) -> Floats:
    """Rotation (3, 3), model to view (`tddfa.geometry.camera`), of a ``frame_*_pose.txt``: its first nine numbers.

    Raises
    ------
    ValueError
        If it holds something else; the message names the file.
    """
    try:
        numbers = np.array(sources.read_text(path).split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: expected numbers: {error}") from error
    if numbers.size != 12 or not np.isfinite(numbers).all():
        raise ValueError(f"{path}: expected a rotation of 3 x 3 finite numbers and a place of 3, got {numbers.size}")
    rotation = numbers[:9].reshape(3, 3)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 0.01 or np.linalg.det(rotation) < 0:
        raise ValueError(f"{path}: expected a rotation, got {rotation.tolist()}")
    return np.asarray(_VIEW @ rotation @ _VIEW)


def _middle(aligner: Aligner, image: NDArray[np.uint8]) -> Face | None:
    faces = aligner(image)
    sure = [face for face in faces if face.score > _MIN_SCORE] or faces[:1]
    middle = np.array(image.shape[1::-1]) / 2
    return min(sure, key=lambda f: float(np.linalg.norm((f.box[:2] + f.box[2:]) / 2 - middle)), default=None)


def _result(photos: Sequence[_Photo], listed: bool) -> Result:
    settings: dict[str, Any] = {
        "photos": len(photos), "labels": "frame_*_pose.txt", "crops": "detector",
        "chosen": f"those that {_LIST} names" if listed else "all frames",
    }  # fmt: skip
    found = [photo for photo in photos if photo.face is not None]
    turned = {
        photo.path: metrics.rotation_angle(photo.face.camera.rotation, photo.truth) for photo in found if photo.face
    }
    yaw = [euler_from_rotation(photo.truth).yaw for photo in photos]
    errors = [turned.get(photo.path, float("nan")) for photo in photos]
    figures = [
        Figure("missed", "photos without a face found", len(photos) - len(found), "photos"),
        *(figure for order in _ORDERS for figure in _angle_figures(order, found)),
        Figure("rotation", "mean angle between rotations, of the rest", metrics.mean(errors), "deg"),
    ]
    ranked = sorted(found, key=lambda photo: -turned[photo.path])[: crops.MAX_WORST]
    missed = [photo for photo in photos if photo.face is None][: crops.MAX_MISSED]
    return Result(
        NAME,
        settings,
        tuple(figures),
        tuple(_row(photo, error) for photo, error in zip(photos, errors, strict=True)),
        (crops.curve("crop from the detector, angle between rotations", errors, "deg", yaw),),
        (
            *(Worst(p.path, round(turned[p.path], 6), [], crops.plain(p.face.landmarks)) for p in ranked if p.face),
            *(Worst(photo.path, caption="missed") for photo in missed),
        ),
    )


def _angle_figures(order: str, found: Sequence[_Photo]) -> Iterator[Figure]:
    label, take = _ORDERS[order]
    pairs = [(take(photo.face.camera.rotation), take(photo.truth)) for photo in found if photo.face]
    off = np.array([metrics.wrapped(np.subtract(*pair)) for pair in pairs]).reshape(-1, 3)
    by_angle = [metrics.mean(np.abs(column)) for column in off.T]
    for name, value in zip(Euler._fields, by_angle, strict=True):
        yield Figure(f"pose.{order}.{name}", f"{label}: mean error of {name}, of the rest", value, "deg")
    yield Figure(f"pose.{order}.mean", f"{label}: mean of the three", float(np.mean(by_angle)), "deg")


def _row(photo: _Photo, error: float) -> dict[str, Any]:
    row: dict[str, Any] = {"photo": photo.path, "rotation": number(error)}
    for order, (_, take) in _ORDERS.items():
        truth = take(photo.truth)
        found = (float("nan"),) * 3 if photo.face is None else take(photo.face.camera.rotation)
        for name, value, true in zip(Euler._fields, found, truth, strict=True):
            row[f"{order}.{name}"], row[f"{order}.{name}.label"] = number(value), number(true)
    return row
