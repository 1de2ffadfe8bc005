"""Really turned faces: 30 human points on photos from the side (CFP; Sengupta et al., 2016).

The error is the mean distance of the 30 points, % of the square root of the area of their box. Each face is aligned on
the crop around its points, by the crop rule for landmarks, and on the crop from the detector. Frontal photos have
points on only one half of the face, so the crop around these points tests a wrong box. Most profile photos are turned
by 40 to 75 degrees. Their predicted yaw shows whether a model turns faces back.

Landmarks are measured in the landmark convention of 300-W if the model supports it.

With ``--peer-mediapipe``, MediaPipe's Face Landmarker is measured on the same photos. It finds faces by itself.

Data: DIR/cfp with PPP_profile_NN.jpg and PPP_frontal_NN.jpg of person PPP, and cfp.npz (`tddfa.datasets.cfp`). Persons
426 to 450 are reported; ``--split choose`` takes 401 to 425.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tddfa.bench.face_landmarker import FaceLandmarker, landmarks_68
from tddfa.crop import roi_from_landmarks
from tddfa.datasets import files as sources
from tddfa.datasets.cfp import CfpPhoto, point_error, read_cfp
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.benchmarks.hard_cases import persons_of
from tddfa.evaluate.crops import MAX_WORST, curve, plain
from tddfa.evaluate.metrics import Floats
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup, Worst, number
from tddfa.types import Face

_BENCHMARK = BENCHMARKS["cfp"]
_CONVENTION = "300w"
_TURNED = (45.0, 75.0)
_PEER = "MediaPipe"


@dataclass(frozen=True)
class _Row:
    """Errors of a photo, %; NaN where the face is missed. Yaw in degrees, positive or 0."""

    photo: CfpPhoto
    points: float
    detector: float
    yaw: float
    peer: float
    shown: Worst


def evaluate(setup: Setup, split: str = "report", peer: FaceLandmarker | None = None) -> Result:
    """Measure the landmarks of turned faces.

    Parameters
    ----------
    setup : Setup
    split : str
        ``report`` for the photos of reported figures, ``choose`` for those by which a training is chosen.
    peer : FaceLandmarker, optional
        A Face Landmarker to measure too.

    Raises
    ------
    DataMissing
        If there are no such photos.
    ValueError
        If the split is another one, or if a file is damaged; the message names it.
    """
    photos = setup.chosen(read_cfp(setup.data, persons_of(split)))
    if not photos:
        raise DataMissing(f"no photos of CFP in {setup.data}: expected {_BENCHMARK.data}")

    def one(photo: CfpPhoto) -> _Row:
        return _row(setup, photo, peer)

    done = sources.parallel_map(one, photos)
    rows = [row for _, row in zip(setup.track(photos, _BENCHMARK.name), done, strict=True)]
    notes = []
    if _CONVENTION not in setup.aligner.face_model.landmark_offsets:
        notes.append("The points are those of 300-W, the predicted landmarks follow another convention.")
    profiles = [row for row in rows if row.photo.profile]
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"split": split, "persons": len({photo.person for photo in photos}), "images": len(photos)},
        figures=list(_figures(profiles, [row for row in rows if not row.photo.profile], peer is not None)),
        items=[_item(row) for row in rows],
        curves=[
            curve("profiles, crop from the points", [row.points for row in profiles], "%"),
            curve("profiles, crop from the detector", [row.detector for row in profiles], "%"),
        ],
        worst=[row.shown for row in sorted(profiles, key=lambda row: -row.points)[:MAX_WORST]],
        notes=notes,
    )


def _row(setup: Setup, photo: CfpPhoto, peer: FaceLandmarker | None) -> _Row:
    aligner = setup.aligner
    image, points = photo.read()
    (given,) = aligner(image, rois=[roi_from_landmarks(points, aligner.crop)])
    detected = aligner(image)
    index = metrics.nearest([face.landmarks.astype(np.float64) for face in detected], points)
    length = metrics.box_length(points)

    def error(face: Face) -> float:
        own = _CONVENTION if _CONVENTION in aligner.face_model.landmark_offsets else None
        return metrics.percent(point_error(aligner.decoder.landmarks(face, own), points), length)

    other = np.nan
    if peer is not None and (found := peer(image)) is not None:
        own = landmarks_68(found.points)
        # the face of another person in the photo does not count as found
        if metrics.nearest([own], points) is not None:
            other = metrics.percent(point_error(own, points), length)
    return _Row(
        photo,
        error(given),
        np.nan if index is None else error(detected[index]),
        abs(given.camera.euler_degrees().yaw),
        other,
        # px of the image that was read: the contact sheet shows the file, without border, and not flipped
        Worst(
            sources.relative_name(photo.path, setup.data),
            round(error(given), 6),
            plain(photo.points),
            plain(_in_file(given.landmarks, photo, points)),
        ),
    )


def _in_file(landmarks: NDArray[np.floating], photo: CfpPhoto, points: Floats) -> Floats:
    """Landmarks in px of the file, from px of the image that was read."""
    # flip and border map the points alike
    x_read, x_file = points[:, 0], photo.points[:, 0]
    flip = -1.0 if (x_read[0] - x_read[-1]) * (x_file[0] - x_file[-1]) < 0 else 1.0
    offset = photo.points.mean(axis=0) - points.mean(axis=0) * [flip, 1]
    return np.asarray(landmarks[:, :2] * [flip, 1] + offset)


def _figures(profiles: Sequence[_Row], frontal: Sequence[_Row], peer: bool) -> Iterator[Figure]:
    for key, group, name in (("profile", profiles, "profile photos"), ("frontal", frontal, "frontal photos")):
        points, detector = (np.array([getattr(row, crop) for row in group]) for crop in ("points", "detector"))
        where = "points" if key == "profile" else "points of half of the face"
        yield Figure(f"{key}.images", f"{name}: number", len(group), "images")
        yield Figure(f"{key}.points", f"{name}, crop from the {where}: NME", metrics.mean(points), "%", "lower")
        yield Figure(f"{key}.points.median", f"{name}, crop from the {where}: median", _median(points), "%", "lower")
        label = f"{name}, crop from the detector, detected faces only: NME"
        yield Figure(f"{key}.detector", label, metrics.mean(detector), "%", "lower")
        missed = int(np.isnan(detector).sum())
        yield Figure(f"{key}.missed", f"{name}: faces missed by the detector", missed, "images", "lower")
        if peer:
            other = np.array([row.peer for row in group])
            seen = np.isfinite(other)
            missed = int((~seen).sum())
            yield Figure(f"{key}.peer", f"{name}, {_PEER}, found faces only: NME", metrics.mean(other), "%", "lower")
            label = f"{name} that {_PEER} finds, crop from the {where}: NME"
            yield Figure(f"{key}.points.peer_found", label, metrics.mean(points[seen]), "%", "lower")
            yield Figure(f"{key}.peer.missed", f"{name}: faces missed by {_PEER}", missed, "images", "lower")
    yaw = np.array([row.yaw for row in profiles])
    inside = 100 * float(np.mean((yaw >= _TURNED[0]) & (yaw <= _TURNED[1]))) if len(yaw) else np.nan
    yield Figure("profile.yaw.median", "profile photos: predicted yaw, median", _median(yaw), "deg")
    yield Figure("profile.yaw.45-75", "profile photos: predicted yaw of 45 to 75 degrees", inside, "%")


def _median(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _item(row: _Row) -> dict[str, object]:
    return {
        "image": row.photo.path.name,
        "person": row.photo.person,
        "profile": row.photo.profile,
        "nme.points": number(row.points),
        "nme.detector": number(row.detector),
        "nme.peer": number(row.peer),
        "yaw": number(row.yaw),
    }
