"""Faces as objects of supervision, for its annotators, trackers, zones and metrics.

>>> import supervision as sv
>>> from tddfa.integrations.supervision import EDGES, detections, key_points
>>> faces = aligner(image)
>>> drawn = sv.BoxAnnotator().annotate(image.copy(), detections(faces))
>>> drawn = sv.EdgeAnnotator(edges=EDGES).annotate(drawn, key_points(faces))
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa import landmarks68
from tddfa._shared.packages import needs
from tddfa.types import Face

try:
    import supervision as sv
except ImportError as error:
    raise ImportError(needs("tddfa.integrations.supervision", "supervision>=0.30")) from error

CLASS_NAME = "face"
"""Name of the only class; its id is 0."""

NO_TRACK = -1
"""Track id of a face without one among faces that have one."""

EDGES = [
    (int(first), int(second))
    for line in landmarks68.contours(np.arange(1, landmarks68.COUNT + 1)[:, None]).values()
    for first, second in pairwise(line[:, 0])
]
"""Pairs of landmarks that lines join, for ``sv.EdgeAnnotator(edges=EDGES)``; supervision counts key points from 1."""


def detections(faces: Sequence[Face]) -> sv.Detections:
    """Return faces as detections of the class ``face``.

    Parameters
    ----------
    faces : sequence of Face
        The faces of one image; may be empty.

    Returns
    -------
    supervision.Detections
        One for each face, in the same order: ``xyxy`` (n, 4) float32, the boxes in px; ``confidence`` (n,) float32,
        the scores; ``class_id`` (n,), zeros; ``tracker_id`` (n,), the track ids, or None if no face has one; in
        ``data``, ``class_name`` (n,) and ``yaw``, ``pitch``, ``roll`` (n,) float32, degrees.

    Raises
    ------
    TypeError
        If `faces` is no sequence of faces.

    Examples
    --------
    >>> found = detections(aligner(image))
    >>> found.xyxy.shape, found["class_name"].tolist()
    ((1, 4), ['face'])
    >>> frontal = found[np.abs(found["yaw"]) < 30]
    >>> len(frontal)
    1
    """
    _check(faces)
    return sv.Detections(
        xyxy=_stacked([face.box for face in faces], (4,)),
        confidence=_scores(faces),
        class_id=np.zeros(len(faces), int),
        tracker_id=_track_ids(faces),
        data=_data(faces),
    )


def key_points(faces: Sequence[Face]) -> sv.KeyPoints:
    """Return the 68 landmarks of faces as key points.

    Parameters
    ----------
    faces : sequence of Face
        The faces of one image; may be empty.

    Returns
    -------
    supervision.KeyPoints
        One row for each face, in the same order: ``xy`` (n, 68, 2) float32, px; ``visible`` (n, 68) bool, and
        ``keypoint_confidence`` (n, 68) float32, each None unless every face has it (`Face.visible`,
        `Face.confidence`); ``detection_confidence`` (n,) float32, the scores; ``class_id`` and ``data`` as in
        `detections`, with ``tracker_id`` in ``data`` if a face has one. Annotators leave out hidden landmarks.

    Raises
    ------
    TypeError
        If `faces` is no sequence of faces.

    Examples
    --------
    >>> points = key_points(aligner(image))
    >>> points.xy.shape, points.visible is None
    ((1, 68, 2), True)
    >>> from tddfa import Aligner
    >>> points = key_points(Aligner.load("open_mb05", device="cpu", visibility=True)(image))
    >>> points.visible.shape
    (1, 68)
    """
    _check(faces)
    data = _data(faces)
    track_ids = _track_ids(faces)
    if track_ids is not None:
        data["tracker_id"] = track_ids
    visible = [face.visible for face in faces if face.visible is not None]
    confidence = [face.confidence for face in faces if face.confidence is not None]
    points = (landmarks68.COUNT,)
    return sv.KeyPoints(
        xy=_stacked([face.landmarks[:, :2] for face in faces], (*points, 2)),
        class_id=np.zeros(len(faces), int),
        keypoint_confidence=_stacked(confidence, points) if len(confidence) == len(faces) else None,
        detection_confidence=_scores(faces),
        visible=_stacked(visible, points, bool) if len(visible) == len(faces) else None,
        data=data,
    )


def _check(faces: Sequence[Face]) -> None:
    if not isinstance(faces, Sequence):
        raise TypeError(f"faces: expected a list of Face, got {type(faces).__name__}")
    for i, face in enumerate(faces):
        if not isinstance(face, Face):
            raise TypeError(f"faces[{i}]: expected a Face, got {type(face).__name__}")


def _stacked(rows: Sequence[NDArray[Any]], shape: tuple[int, ...], dtype: type = np.float32) -> NDArray[Any]:
    return np.array(rows, dtype).reshape(-1, *shape)


def _scores(faces: Sequence[Face]) -> NDArray[np.float32]:
    return np.array([face.score for face in faces], np.float32)


def _track_ids(faces: Sequence[Face]) -> NDArray[np.int_] | None:
    if all(face.track_id is None for face in faces):
        return None
    return np.array([NO_TRACK if face.track_id is None else face.track_id for face in faces], int)


def _data(faces: Sequence[Face]) -> dict[str, Any]:
    angles = _stacked([np.array(face.camera.euler_degrees()) for face in faces], (3,))
    names = np.array([CLASS_NAME] * len(faces), str)
    return {"class_name": names, "yaw": angles[:, 0], "pitch": angles[:, 1], "roll": angles[:, 2]}
