"""Jitter of landmarks over the frames of a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked
from tddfa.types import Face


def jitter(tracks: NDArray[np.floating]) -> float:
    """Jitter of landmarks: mean length of their second difference over frames, % of the face size.

    Parameters
    ----------
    tracks : ndarray (frames, points, 2 or more)
        Landmarks of one face, px; only x and y are used. The face size is the square root of the area of their box.

    Returns
    -------
    float
        0 for uniform motion; NaN for fewer than three frames, and for points that are all at one place.

    Examples
    --------
    >>> from tddfa.tracking.jitter import jitter
    >>> uniform = face.landmarks + np.arange(5)[:, None, None]
    >>> round(jitter(uniform), 3)
    0.0
    """
    points = checked("tracks", tracks, (None, None, None), np.float64)[..., :2]
    if points.shape[0] < 3 or not points.shape[1]:
        return float("nan")
    size = np.sqrt(np.ptp(points, axis=1).prod(axis=-1)).mean()
    if not size:
        return float("nan")
    return float(100 * np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean() / size)


class JitterMeter:
    """`jitter` of all faces of a video, frame by frame; it keeps the last two frames only.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from tddfa.tracking.jitter import JitterMeter
    >>> meter = JitterMeter()
    >>> for shift in (0, 1, 0):
    ...     meter.add([replace(face, track_id=0, landmarks=face.landmarks + [shift, 0, 0])])
    >>> 1 < meter.value < 3
    True
    """

    def __init__(self) -> None:
        self._before: list[tuple[dict[int | None, int], NDArray[np.float64]]] = []  # of the last two frames
        self._sum = 0.0
        self._count = 0

    def add(self, faces: Sequence[Face]) -> None:
        """Add the faces of the next frame, each with a `track_id`.

        A face that was not in the frame before starts anew. Faces without an id are left out.
        """
        faces = [face for face in faces if face.track_id is not None]
        if not faces:
            self._before = []
            return
        rows = {face.track_id: k for k, face in enumerate(faces)}
        points = np.array([face.landmarks for face in faces])[:, :, :2].astype(np.float64)
        if len(self._before) == 2:
            (old_rows, old), (last_rows, last) = self._before
            ids = [track_id for track_id in rows if track_id in old_rows and track_id in last_rows]
            if ids:
                at, before, earlier = ([table[k] for k in ids] for table in (rows, last_rows, old_rows))
                size = np.sqrt(np.ptp(points[at], axis=1).prod(axis=1))
                change = points[at] - 2 * last[before] + old[earlier]
                length = np.sqrt(np.square(change).sum(axis=2)).mean(axis=1)
                self._sum += float((length / np.maximum(size, 1e-6)).sum())
                self._count += len(ids)
        self._before = [*self._before[-1:], (rows, points)]

    @property
    def value(self) -> float:
        """Mean second difference, % of the face size; NaN until a face was in three frames in a row."""
        return 100 * self._sum / self._count if self._count else float("nan")
