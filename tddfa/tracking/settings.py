"""Settings of the tracker: when a track ends, when a face is the same one, how often the detector runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from tddfa._shared.arrays import checked_number


@dataclass(frozen=True, kw_only=True)
class TrackerSettings:
    """Thresholds of `tddfa.Tracker`. Distances between faces are in face sizes.

    The size of a face is the longer side of the box around its landmarks. Its position is the mean of its landmarks.

    Attributes
    ----------
    kept_score_fraction : float
        A track continues while its score is at least this fraction of the aligner's `min_score`, 0..1. A tracked face
        may have a low score for some frames (blur, a hand, a profile), so it needs less than a new face. With 0.75, and
        with values down to 0.2, a real talking head keeps its id over all frames; with 1, a dark face at the border of
        a frame gets two ids.
    start_score_fraction : float
        A new track needs a score that is at least this fraction of the way from the aligner's `min_score` to 1. False
        faces rarely have such a score. Without this limit, they would be visible for some frames.
    new_face_score : float
        While there are tracked faces, a box with a lower detection score starts no track. Most such boxes show patterns
        of the background, and each of them takes several passes of the regressor.
    max_misses : int
        For a model without a face score: a track ends after this many detections in a row without its face.
    max_jump : float
        A track ends if its face is farther than this from the predicted position, face sizes.
    max_growth : float
        A track ends if its face grows or shrinks by more than this factor in one frame.
    same_face_iou : float
        Minimum IoU of two squares, 0..1, for a detection and a track to be the same face.
    duplicate_distance : float
        Two faces whose positions are nearer than this are duplicates, face sizes.
    revival_distance : float
        A lost track may continue at most this far from its last or predicted position, face sizes.
    revival_growth : float
        A lost track may continue if its face has grown or shrunk by at most this factor.
    lost_detect_every : int
        Frames between detections while a track is lost, so that a hidden face is detected soon after it reappears.
    lost_face_size : float
        Between detections on the whole frame, lost tracks are searched in a frame scaled down so that the smallest
        face has this size, px.
    empty_area : int
        Frames of more than four times this area, px, are scaled down to it while there are neither tracked nor lost
        faces, except once in `detect_every` frames. At their own size, they would be searched in many tiles.
    rejected_iou : float
        In frames without a face, boxes in which the regressor found none are not aligned again for `detect_every`
        frames. A box is one of them if their IoU is at least this, 0..1.
    rejected_gain : float
        Such a box is aligned all the same if its detection score is higher than before by at least this, 0..1.
    longest_interval : int
        In frames without a face, faces at any roll are searched every `detect_every` frames, then half as often after
        each search, down to once in this many times `detect_every` frames.
    fast_distance : float
        Where a frame does not resemble the one before, a track may continue at most this far from its last or
        predicted position, face sizes.
    fast_correlation : float
        For such a track, the images of the face before and after must correlate at least this much, -1..1. Otherwise
        the change is a cut.
    spare_boxes : int
        Number of boxes that are aligned in addition to `max_faces`, so that a large false detection does not displace a
        face.
    velocity_gain : float
        Weight of the newest velocity in the running mean, for frames 1/30 s apart, 0..1.
    shape_frames : int
        Number of frames in the mean shape of a track. The mean shape distinguishes faces when a lost face reappears.
    cut_correlation : float
        A new scene may start where the thumbnails of two frames correlate less than this, -1..1.

    Examples
    --------
    >>> settings = TrackerSettings(max_jump=0.8)
    >>> settings.max_jump, settings.max_growth
    (0.8, 1.6)
    """

    kept_score_fraction: float = 0.75
    start_score_fraction: float = 0.4
    new_face_score: float = 0.35
    max_misses: int = 2
    max_jump: float = 0.6
    max_growth: float = 1.6
    same_face_iou: float = 0.25
    duplicate_distance: float = 0.25
    revival_distance: float = 3.0
    revival_growth: float = 2.0
    lost_detect_every: int = 2
    lost_face_size: float = 80.0
    empty_area: int = 777_600
    rejected_iou: float = 0.7
    rejected_gain: float = 0.1
    longest_interval: int = 4
    fast_distance: float = 2.0
    fast_correlation: float = 0.6
    spare_boxes: int = 8
    velocity_gain: float = 0.5
    shape_frames: int = 30
    cut_correlation: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in fields(self):
            low, high = _RANGES.get(field.name, (0.0, inf))
            # "int": annotations are strings in this module
            checked_number(
                f"TrackerSettings.{field.name}", getattr(self, field.name), low, high, whole=field.type == "int"
            )


_RANGES = {
    "kept_score_fraction": (0.0, 1.0),
    "start_score_fraction": (0.0, 1.0),
    "new_face_score": (0.0, 1.0),
    "max_misses": (1, inf),
    "max_growth": (1.0, inf),
    "same_face_iou": (0.0, 1.0),
    "revival_growth": (1.0, inf),
    "lost_detect_every": (1, inf),
    "lost_face_size": (1.0, inf),
    "empty_area": (1, inf),
    "rejected_iou": (0.0, 1.0),
    "rejected_gain": (0.0, 1.0),
    "longest_interval": (1, inf),
    "velocity_gain": (0.0, 1.0),
    "shape_frames": (1, inf),
    "cut_correlation": (-1.0, 1.0),
    "fast_correlation": (-1.0, 1.0),
}
