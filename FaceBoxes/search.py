"""Detect faces at several scales: a network's detections in each view of an image, merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FaceBoxes.detections import Detections
from FaceBoxes.merging import is_part, with_mean_poses
from FaceBoxes.nms import nms
from FaceBoxes.scales import WORTH, Scales, View

TILES = ("auto", "off")
"""Values of ``tiles``."""

Candidates = Callable[[NDArray[np.uint8]], Detections]
"""Pixels of a view (h, w, 3) uint8 BGR -> all boxes of a network above its minimum score, in px of the view."""


@dataclass(frozen=True)
class Search:
    """Search faces in the views of an image.

    Parameters
    ----------
    scales : Scales
        Sizes of the views.
    iou : float
        Intersection over union from which the worse of two boxes is suppressed.
    max_candidates, max_faces : int
        Maximum numbers of boxes before and after the suppression. The best boxes are kept.
    score : float
        Minimum score of the result.
    mean_poses : bool
        Whether points and rotations are means over the boxes of a face (`FaceBoxes.merging.with_mean_poses`).

    Examples
    --------
    >>> search = Search(Scales(max_area=100_000), iou=0.3, max_candidates=5000, max_faces=750)
    >>> len(search(image, lambda pixels: Detections([[10, 10, 50, 60], [12, 10, 50, 60]], [0.6, 0.9])))
    1
    """

    scales: Scales
    iou: float
    max_candidates: int
    max_faces: int
    score: float = 0.0
    mean_poses: bool = False

    @property
    def min_score(self) -> float:
        """Minimum score of the candidates: lower than `score` where a close-up may confirm a small face."""
        return self.score * WORTH if self.scales.tiles else self.score

    def __call__(self, image: NDArray[np.uint8], candidates: Candidates) -> Detections:
        """Detect the faces of an image.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR.
        candidates : callable
            See `Candidates`; their scores are over `min_score`.

        Returns
        -------
        Detections
            Best first. With several views, or a small one allowed, parts of a face are dropped.
        """
        image = np.ascontiguousarray(image)
        every = [self._view(view, candidates) for view in self.scales.views(image)]
        parts = [self._suppressed(found) for found in every]
        for view in self.scales.close_ups(image, parts[0].xyxy, parts[0].scores, self.score):
            every.append(self._view(view, candidates))
            parts.append(self._suppressed(every[-1]))
        if self.min_score < self.score:
            parts = [part[part.scores > self.score] for part in parts]
        found = parts[0] if len(parts) == 1 else self._best(Detections.concatenate(parts))
        if len(found) > 1 and (self.scales.small_area is not None or len(parts) > 1):
            part = is_part(found.xyxy, found.scores)
            found = found[~part] if part.any() else found
        found = self._suppressed(found) if len(found) > 1 and len(parts) > 1 else found
        return with_mean_poses(found, Detections.concatenate(every)) if self.mean_poses and len(found) else found

    def _view(self, view: View, candidates: Candidates) -> Detections:
        """All boxes of a view, in image px."""
        found = candidates(view.pixels)
        if not view.counts_all:
            found = found[view.counts(found.xyxy)]
        found = self._best(found)
        # in image px from here on: the suppression counts whole pixels, as that of 3DDFA_V2 does
        points = None if found.points is None else view.to_image(found.points)
        return Detections(view.to_image(found.xyxy), found.scores, points, found.rotations)

    def _suppressed(self, found: Detections) -> Detections:
        return found[nms(found.xyxy, found.scores, self.iou, self.max_faces)]

    def _best(self, found: Detections) -> Detections:
        """Keep at most `max_candidates` faces, in their order."""
        if len(found) <= self.max_candidates:
            return found
        return found[np.sort(np.argpartition(-found.scores, self.max_candidates - 1)[: self.max_candidates])]


def check_settings(detector: Any) -> None:
    """Check the settings of a detector: its score, `iou`, `tiles` and limits.

    Raises
    ------
    TypeError, ValueError
        If one is no number or out of range; the message names the setting.
    """
    for name in ("score", "iou"):
        _check_type(name, getattr(detector, name), Real)
    if not 0 <= detector.score <= 1:
        raise ValueError(f"score: expected 0..1, got {detector.score}")
    if not 0 < detector.iou <= 1:
        raise ValueError(f"iou: expected a number in (0, 1], got {detector.iou}")
    # a detector that is limited by area has no two sides
    needed = ("max_height", "max_width") if hasattr(detector, "max_height") else ("max_area",)
    for name in ("max_height", "max_width", "max_area", "min_area", "small_area", "max_candidates", "max_faces"):
        value: Any = getattr(detector, name, None)
        if value is None and name not in (*needed, "max_candidates", "max_faces"):
            continue
        _check_type(name, value, Integral)
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, got {value}")
    largest = detector.max_area or detector.max_height * detector.max_width
    if detector.min_area is not None and detector.min_area > largest:
        raise ValueError(f"min_area: expected at most the largest area, {largest}, got {detector.min_area}")
    if detector.tiles not in TILES:
        raise ValueError(f"tiles: expected one of {', '.join(TILES)}, got {detector.tiles!r}")


def _check_type(name: str, value: Any, kind: type[Real | Integral]) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {'whole ' if kind is Integral else ''}number, got {value!r}")
