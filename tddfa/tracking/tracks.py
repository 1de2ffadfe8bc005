"""Tracks, and which face of a frame continues which of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tddfa.tracking.scene import Grey, likeness
from tddfa.tracking.settings import TrackerSettings
from tddfa.tracking.smoothing import OneEuro
from tddfa.types import Face

FRAME_TIME = 1 / 30  # s, where the time of a frame is not known
_BRIEF_LOSS = 0.1  # s; the velocity of a face that was lost for longer is unknown


@dataclass(frozen=True, eq=False)
class Place:
    """A face of a frame, and where it is.

    Attributes
    ----------
    face : Face
    x, y : float
        Mean of the landmarks, px.
    size : float
        Longer side of the landmarks' box, px.
    """

    face: Face
    x: float
    y: float
    size: float

    def distance(self, x: float, y: float) -> float:
        """Distance to a point, px."""
        return math.hypot(self.x - x, self.y - y)


def places(faces: Sequence[Face]) -> list[Place]:
    """Where the faces of a frame are."""
    if not faces:
        return []
    points = np.array([face.landmarks for face in faces])[:, :, :2]
    centres = points.mean(axis=1, dtype=np.float64).tolist()
    sizes = np.maximum((points.max(axis=1) - points.min(axis=1)).max(axis=1), 1e-6).tolist()
    return [Place(face, x, y, size) for face, (x, y), size in zip(faces, centres, sizes, strict=True)]


@dataclass(eq=False)
class Track:
    """One person: the last face, its time, and its motion."""

    track_id: int
    last: Place
    time: float
    velocity: tuple[float, float] = (0.0, 0.0)  # px/s
    shape: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # mean over the last frames
    smoother: OneEuro | None = None
    frames: int = 1
    misses: int = 0  # detections in a row without this face
    clear: Place | None = None  # the last face whose score would do for a new one

    @property
    def size(self) -> float:
        """Size of the last face, px."""
        return self.last.size

    def position_at(self, time: float) -> tuple[float, float]:
        """Predicted position of the face, px."""
        dt = time - self.time
        return self.last.x + self.velocity[0] * dt, self.last.y + self.velocity[1] * dt

    def update(self, place: Place, time: float, settings: TrackerSettings) -> None:
        """Go on with the face of the next frame."""
        dt = time - self.time
        if dt > 0:
            # the gain depends on the time between the frames: over a short time, noise is most of the velocity
            gain = 1 - (1 - settings.velocity_gain) ** (dt / FRAME_TIME)
            x, y = self.velocity
            self.velocity = (
                x + gain * ((place.x - self.last.x) / dt - x),
                y + gain * ((place.y - self.last.y) / dt - y),
            )
        self.frames += 1
        self.shape = self.shape + (place.face.params.shape - self.shape) / min(self.frames, settings.shape_frames)
        self.last, self.time = place, time

    def restart(self, place: Place, time: float) -> None:
        """Go on with a face that was detected again."""
        dt = time - self.time
        brief = 0 < dt <= _BRIEF_LOSS
        self.velocity = ((place.x - self.last.x) / dt, (place.y - self.last.y) / dt) if brief else (0.0, 0.0)
        self.last, self.time, self.misses, self.smoother = place, time, 0, None

    def prediction_error(self, place: Place, now: float) -> float:
        """Error of the predicted position, in face sizes, plus the logarithm of the change in size."""
        return place.distance(*self.position_at(now)) / self.size + abs(math.log(place.size / self.size))

    def distance(self, place: Place, now: float) -> float:
        """Distance of a face, in face sizes: from the predicted or the last position, whichever is nearer.

        The face went on as before, or it turned back.
        """
        return min(place.distance(*self.position_at(now)), place.distance(self.last.x, self.last.y)) / self.size


@dataclass(frozen=True, eq=False)
class Moved:
    """The tracks before a frame that does not resemble the last one, and both frames."""

    tracks: list[Track]
    lost: list[Track]
    before: Grey
    after: Grey


def moved_cost(track: Track, place: Place, now: float, moved: Moved, settings: TrackerSettings) -> float:
    """Dissimilarity of a track and a face of the next frame, which moved fast; infinite if they cannot match."""
    distance, growth = track.distance(place, now), abs(math.log(place.size / track.size))
    if distance > settings.fast_distance or growth > math.log(settings.max_growth):
        return math.inf
    alike = likeness(moved.before.patch(track.last.face), moved.after.patch(place.face))
    return math.inf if alike < settings.fast_correlation else distance + growth + 1 - alike


def revival_cost(track: Track, place: Place, now: float, settings: TrackerSettings) -> float:
    """Dissimilarity of a lost track and a new face in position, size and shape; infinite if they cannot match."""
    # the last faces of one that leaves the image are distorted, so their size is not compared
    growth = abs(math.log(place.size / (track.clear or track.last).size))
    distance = track.distance(place, now)
    if distance > settings.revival_distance or growth > math.log(settings.revival_growth):
        return math.inf
    shape_change = float(np.linalg.norm(place.face.params.shape - track.shape)) / math.sqrt(max(len(track.shape), 1))
    return distance + growth + shape_change


def is_duplicate(place: Place, others: Iterable[Place], settings: TrackerSettings) -> bool:
    """Whether a face is the same as one of the others: they are nearer than two heads can be."""
    limit = settings.duplicate_distance
    return any(place.distance(other.x, other.y) < limit * max(place.size, other.size) for other in others)


def paired(tracks: list[Track], found: list[Place], cost_of: Callable[[Track, Place], float]) -> dict[int, Track]:
    """The track of each face that has one, by the face's index, with the lowest sum of costs."""
    if not tracks or not found:
        return {}
    cost = np.array([[cost_of(track, place) for place in found] for track in tracks])
    return {j: tracks[i] for i, j in assignment(np.minimum(cost, 1e6)) if math.isfinite(cost[i, j])}


def assignment(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of row and column, each used once, with the lowest sum of `cost`."""
    from scipy.optimize import linear_sum_assignment  # slow to load

    rows, columns = linear_sum_assignment(cost)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
