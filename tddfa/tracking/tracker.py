"""Frames to faces with track ids: continue each track, start new ones, end those whose face is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_box
from tddfa.tracking.settings import TrackerSettings
from tddfa.tracking.smoothing import JitterMeter, OneEuro, mean_face
from tddfa.types import Face, Roi

Smooth = Literal["one_euro", "lookahead", "none"]
SMOOTH: tuple[Smooth, ...] = ("one_euro", "lookahead", "none")

_FRAME_TIME = 1 / 30  # s, where the time of a frame is not known
_PATCH_SIZE = 16  # side of the patches by which two faces are compared, px
_MIN_FACE_SAMPLES = 12  # the patch of a smaller face has its surroundings too
_BRIEF_LOSS = 0.1  # s; the velocity of a face that was lost for longer is unknown

Frame = TypeVar("Frame")


@dataclass(eq=False)
class _Track:
    """One person: the last face, its time, and its motion."""

    track_id: int
    face: Face
    time: float
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # px/s
    shape: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # mean over the last frames
    smoother: OneEuro | None = None
    frames: int = 1
    misses: int = 0  # detections in a row without this face
    clear: Face | None = None  # the last face whose score would do for a new one

    @property
    def size(self) -> float:
        return _size(self.face.landmarks)

    def position_at(self, time: float) -> NDArray[np.float64]:
        """Predicted position (2,) of the face, px."""
        return _position(self.face.landmarks) + self.velocity * (time - self.time)

    def update(self, face: Face, time: float, settings: TrackerSettings) -> None:
        dt = time - self.time
        if dt > 0:
            velocity = (_position(face.landmarks) - _position(self.face.landmarks)) / dt
            # the gain depends on the time between the frames: over a short time, noise is most of the velocity
            self.velocity += (1 - (1 - settings.velocity_gain) ** (dt / _FRAME_TIME)) * (velocity - self.velocity)
        self.frames += 1
        self.shape = self.shape + (face.params.shape - self.shape) / min(self.frames, settings.shape_frames)
        self.face, self.time = face, time

    def restart(self, face: Face, time: float) -> None:
        """Go on with a face that was detected again."""
        dt = time - self.time
        step = _position(face.landmarks) - _position(self.face.landmarks)
        self.velocity = step / dt if 0 < dt <= _BRIEF_LOSS else np.zeros(2)
        self.face, self.time, self.misses, self.smoother = face, time, 0, None


class Tracker:
    """Tracks every face of a video.

    A call takes one frame and returns its faces, each with a `track_id` that stays the same over the frames. The
    velocity of each track predicts where to crop, its last roll by which angle, and one call of the aligner aligns all
    tracks of a frame. The detector runs every `detect_every` frames, and at once when there is no track. While there is
    none, every `detect_every` frames the aligner also tries all rolls, see `Aligner.rotations`.

    Parameters
    ----------
    aligner : Aligner
        An aligner with a detector.
    smooth : {"one_euro", "lookahead", "none"}
        ``one_euro`` smooths without delay (`tddfa.tracking.smoothing.OneEuro`). ``lookahead`` takes the mean over
        `n_pre` frames before, the frame, and `n_next` frames after, as 3DDFA_V2 does
        (`tddfa.tracking.smoothing.mean_face`). It needs later frames, so only `run` offers it.
    detect_every : int
        Frames between detections of new faces. While a track is lost, `TrackerSettings.lost_detect_every` applies.
    max_faces : int or None
        Upper limit of tracks: existing ones come first, then the largest faces. None sets no limit.
    remember : float
        Time for which a lost face keeps its id, s.
    n_pre, n_next : int
        Frames before and after in a mean of ``lookahead``.
    settings : TrackerSettings, optional
        Thresholds. None takes the defaults.

    Attributes
    ----------
    jitter_before, jitter_after : JitterMeter
        Jitter of the landmarks so far, without and with smoothing.

    Raises
    ------
    ValueError
        If an argument is out of its range, or if the aligner has no detector.

    Examples
    --------
    >>> from tddfa import Tracker, TrackerSettings
    >>> tracker = Tracker(aligner, smooth="one_euro", settings=TrackerSettings(max_jump=0.8))
    >>> for time in (0.00, 0.04, 0.08):
    ...     faces = tracker(image, time)
    >>> [face.track_id for face in faces]
    [0]
    """

    def __init__(
        self,
        aligner: Aligner,
        *,
        smooth: Smooth = "one_euro",
        detect_every: int = 15,
        max_faces: int | None = None,
        remember: float = 2.0,
        n_pre: int = 1,
        n_next: int = 1,
        settings: TrackerSettings | None = None,
    ) -> None:
        if smooth not in SMOOTH:
            raise ValueError(f"smooth: expected one of {', '.join(SMOOTH)}, got {smooth!r}")
        for name, value, low in (
            ("detect_every", detect_every, 1),
            ("max_faces", 1 if max_faces is None else max_faces, 1),
            ("n_pre", n_pre, 0),
            ("n_next", n_next, 0),
            ("remember", remember, 0),
        ):
            if not value >= low:
                raise ValueError(f"{name}: expected {low} or more, got {value}")
        if aligner.detector is None:
            raise ValueError("aligner: expected an Aligner with a detector, got one without")
        self.aligner = aligner
        self.smooth = smooth
        self.settings = TrackerSettings() if settings is None else settings
        self.detect_every, self.max_faces, self.remember = detect_every, max_faces, remember
        self.n_pre, self.n_next = n_pre, n_next
        self.reset()

    def reset(self) -> None:
        """Drop all tracks; ids start from 0 again.

        Examples
        --------
        >>> from tddfa import Tracker
        >>> tracker = Tracker(aligner)
        >>> first = tracker(image)
        >>> tracker.reset()
        >>> [face.track_id for face in tracker(image)]
        [0]
        """
        self._active: list[_Track] = []
        self._lost: list[_Track] = []
        self._next_id = 0
        self._since_detection = self._since_full_detection = 0  # frames
        self._since_rotated = self.detect_every  # frames, without a face
        self._time: float | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._grey: _Grey | None = None
        self._size: tuple[int, ...] = ()
        self.jitter_before, self.jitter_after = JitterMeter(), JitterMeter()

    def __call__(self, frame: Any, time: float | None = None) -> list[Face]:
        """Track the faces of the next frame.

        Parameters
        ----------
        frame : ndarray (h, w, 3) uint8 BGR, or tddfa.video.Frame
            The size may change from frame to frame.
        time : float, optional
            Time of the frame, s. None takes that of a `tddfa.video.Frame`; else frames are 1/30 s apart.

        Returns
        -------
        list of Face
            Sorted by id; [] if there is no face.

        Raises
        ------
        TypeError, ValueError
            If the frame has the wrong type, shape or dtype, or if `smooth` is ``lookahead``, for which there is `run`.
        """
        if self.smooth == "lookahead":
            raise ValueError("smooth: lookahead needs later frames; call run(frames), or smooth by one_euro")
        return self._smoothed(*self._step(frame, time))

    def run(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """Track the faces of all frames.

        Parameters
        ----------
        frames : iterable of ndarray or tddfa.video.Frame
            As for a call.

        Yields
        ------
        tuple of a frame and its list of Face
            In order; with ``lookahead``, `n_next` frames later than the frame was taken.

        Examples
        --------
        >>> from tddfa import Tracker
        >>> for frame, faces in Tracker(aligner, smooth="lookahead").run([image, image]):
        ...     print(len(faces), faces[0].track_id)
        1 0
        1 0
        """
        if self.smooth != "lookahead":
            for frame in frames:
                yield frame, self(frame)
            return
        window: deque[tuple[Frame, dict[int | None, Face]]] = deque(maxlen=self.n_pre + 1 + self.n_next)
        waiting = 0
        for frame in frames:
            window.append((frame, {face.track_id: face for face in self._step(frame, None)[0]}))
            waiting += 1
            if waiting > self.n_next:
                waiting -= 1
                yield self._mean_faces(list(window), len(window) - 1 - self.n_next)
        kept = list(window)
        for position in range(len(kept) - waiting, len(kept)):
            # frames earlier than `n_pre` before this one are not part of its mean
            first = max(0, position - self.n_pre)
            yield self._mean_faces(kept[first:], position - first)

    def _mean_faces(self, window: list[tuple[Frame, dict[int | None, Face]]], at: int) -> tuple[Frame, list[Face]]:
        """Mean over the window of each face in frame `at` of the window.

        Where a track starts or ends, and at the ends of the video, the nearest frame with the face counts again, as in
        3DDFA_V2.
        """
        frame, faces = window[at]
        result = []
        for track_id, face in faces.items():
            parts = [face]
            for step, count in ((-1, self.n_pre), (1, self.n_next)):
                last, present = face, True
                for k in range(1, count + 1):
                    index = at + step * k
                    present = present and 0 <= index < len(window) and track_id in window[index][1]
                    last = window[index][1][track_id] if present else last
                    parts.append(last)
            result.append(mean_face(parts, face, self.aligner.decoder))
        self.jitter_after.add(result)
        return frame, result

    def _smoothed(self, faces: list[Face], dt: float) -> list[Face]:
        if self.smooth != "one_euro":
            self.jitter_after.add(faces)
            return faces
        by_id = {track.track_id: track for track in self._active}
        result = []
        for face in faces:
            assert face.track_id is not None
            track = by_id[face.track_id]
            if track.smoother is None:
                track.smoother = OneEuro(self.aligner.decoder)
            result.append(track.smoother(face, dt))
        self.jitter_after.add(result)
        return result

    def _step(self, frame: Any, time: float | None) -> tuple[list[Face], float]:
        """Detect and align; return the faces of the frame before smoothing, and the time since the last frame, s."""
        image = checked_image("frame", getattr(frame, "image", frame))
        if time is None:
            time = getattr(frame, "time", None)
        dt = _FRAME_TIME if self._time is None or time is None else max(time - self._time, 0.0)
        now = (0.0 if self._time is None else self._time + dt) if time is None else time
        self._time = now
        grey_before = self._grey
        moved: _Moved | None = None
        if self._is_new_scene(image):
            # a cut, or fast motion of the camera or of a large face: the faces that are detected now decide
            assert grey_before is not None
            assert self._grey is not None
            moved = _Moved(self._active, self._lost, grey_before, self._grey)
            self._active, self._lost = [], []
        self._lost = [track for track in self._lost if now - track.time <= self.remember]

        rois = [self._next_roi(track, now) for track in self._active]
        self._since_detection += 1
        boxes: list[NDArray[np.float32]] = []
        interval = min(self.detect_every, self.settings.lost_detect_every) if self._lost else self.detect_every
        detected = not self._active or self._since_detection >= interval
        if detected:
            full = not self._active or self._since_full_detection + self._since_detection >= self.detect_every
            boxes = self._detect(image, rois, full=full)
        continued = list(zip(self._active, self.aligner(image, rois=rois) if rois else [], strict=True))
        self._continue(continued, now)
        self._start(self._aligned(image, boxes), now, moved)
        lost = [track for track, _ in continued if track not in self._active]
        if not detected and lost and (not self._active or any(self._may_have_jumped(track) for track in lost)):
            # detect now, not in the next frame
            boxes = self._detect(image, [self.aligner.roi(track.face) for track in self._active], full=not self._active)
            self._start(self._aligned(image, boxes), now)
        self._since_rotated += 1
        if not self._active and self.aligner.rotations != "off" and self._since_rotated >= self.detect_every:
            # upside down, or on their sides: the aligner tries all rolls
            self._since_rotated = 0
            self._start(self.aligner(image), now)
        self._active.sort(key=lambda track: track.track_id)
        result = [replace(track.face, track_id=track.track_id) for track in self._active]
        self.jitter_before.add(result)
        return result, dt

    def _aligned(self, image: NDArray[np.uint8], boxes: list[NDArray[np.float32]]) -> list[Face]:
        """Faces in detected boxes, at any roll."""
        return self.aligner(image, boxes=boxes) if boxes else []

    def _may_have_jumped(self, track: _Track) -> bool:
        """Whether a face that was lost in this frame was clear before, and no other face can hide it."""
        return track.clear is track.face and all(
            float(np.linalg.norm(_position(track.face.landmarks) - _position(other.face.landmarks)))
            > max(track.size, other.size)
            for other in self._active
        )

    def _is_new_scene(self, image: NDArray[np.uint8]) -> bool:
        """Whether a cut may lie between the last frame and this one: their thumbnails do not correlate."""
        height, width = image.shape[:2]
        step = max(1, min(height, width) // 64)
        grey = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_BGR2GRAY)
        self._grey = _Grey(np.asarray(grey), step)
        thumbnail = cv2.resize(grey, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, size = self._thumbnail, self._size
        self._thumbnail, self._size = thumbnail, image.shape
        if before is None:
            return False
        if size != image.shape:
            return True
        a, b = thumbnail - thumbnail.mean(), before - before.mean()
        spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
        if spread < thumbnail.size:  # a standard deviation of about one grey level: a uniform image shows no scene
            return False
        return float((a * b).sum()) / spread < self.settings.cut_correlation

    def _next_roi(self, track: _Track, now: float) -> Roi:
        roi = self.aligner.roi(track.face)
        dx, dy = track.velocity * (now - track.time)
        return replace(roi, left=roi.left + dx, top=roi.top + dy)

    def _detect(self, image: NDArray[np.uint8], rois: list[Roi], *, full: bool) -> list[NDArray[np.float32]]:
        """Boxes of faces without a track, best first; the other boxes confirm their tracks.

        Unless `full`, only lost faces are searched, on an image as small as the sizes of the tracked faces allow.
        """
        settings = self.settings
        self._since_full_detection = 0 if full else self._since_full_detection + self._since_detection
        self._since_detection = 0
        assert self.aligner.detector is not None
        sizes = [track.size for track in (*self._active, *self._lost)]
        # boxes from a file are those of the frame at its own size
        whole = full or getattr(self.aligner.detector, "needs_name", False)
        scale = 1.0 if whole else min(1.0, settings.lost_face_size / min(sizes))
        if scale < 1:
            size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        detections = self.aligner.detector(image)
        boxes = [box / scale for box in detections.xyxy if _is_inside(box, image)]
        overlap = np.array([[roi.iou(roi_from_box(box, self.aligner.crop)) for box in boxes] for roi in rois])
        overlap = overlap.reshape(len(rois), len(boxes))
        pairs = [(i, j) for i, j in _assignment(-overlap) if overlap[i, j] >= settings.same_face_iou]
        confirmed, taken = {i for i, _ in pairs}, {j for _, j in pairs}
        for i, track in enumerate(self._active[: len(rois)]):
            track.misses = 0 if i in confirmed else track.misses + 1
        # a second box on a tracked face is not another face
        free = [
            box
            for j, box in enumerate(boxes)
            if j not in taken and not (len(rois) and overlap[:, j].max() >= 2 * settings.same_face_iou)
        ]
        if self.max_faces is None:
            return free
        free.sort(key=lambda box: float((box[2] - box[0]) * (box[3] - box[1])), reverse=True)
        # more boxes than the limit, because only the regressor can tell which of them are faces
        return free[: self.max_faces + settings.spare_boxes]

    def _continue(self, faces: list[tuple[_Track, Face]], now: float) -> None:
        """Update each track with the face in its crop; tracks without one are lost."""
        kept = [(track, face) for track, face in faces if self._matches(track, face, now)]
        # The crop of a face that passes behind another shows the other face. If two tracks have the same face, it
        # belongs to the track that predicted it better.
        kept.sort(key=lambda pair: self._prediction_error(pair[0], pair[1], now))
        own: list[tuple[_Track, Face]] = []
        for track, face in kept:
            if not self._is_duplicate(face, [other for _, other in own]):
                own.append((track, face))
        for track, face in own:
            track.update(face, now, self.settings)
            if self.aligner.min_score is None or face.score >= self.aligner.min_score:
                track.clear = face
        self._active = [track for track, _ in own]
        active = {track.track_id for track in self._active}
        self._lost += [track for track, _ in faces if track.track_id not in active]

    def _prediction_error(self, track: _Track, face: Face, now: float) -> float:
        """Error of the predicted position, in face sizes, plus the logarithm of the change in size."""
        error = float(np.linalg.norm(_position(face.landmarks) - track.position_at(now))) / track.size
        return error + abs(float(np.log(_size(face.landmarks) / track.size)))

    def _matches(self, track: _Track, face: Face, now: float) -> bool:
        """Whether the face in the crop of a track continues the track."""
        settings, size = self.settings, track.size
        if not 1 / settings.max_growth < _size(face.landmarks) / size < settings.max_growth:
            return False
        if float(np.linalg.norm(_position(face.landmarks) - track.position_at(now))) > settings.max_jump * size:
            return False
        if self.aligner.min_score is not None:
            return face.score >= settings.kept_score_fraction * self.aligner.min_score
        return track.misses < settings.max_misses

    def _start(self, faces: list[Face], now: float, moved: _Moved | None = None) -> None:
        """Start tracks on new faces; a face that moved fast, or was lost recently, continues its old track."""
        limit = self.aligner.min_score
        new: list[Face] = []
        for face in faces:
            known = [*(track.face for track in self._active), *new]
            if (limit is None or face.score >= limit) and not self._is_duplicate(face, known):
                new.append(face)
        if self.max_faces is not None:
            new = new[: max(0, self.max_faces - len(self._active))]
        old: dict[int, _Track] = {}
        if moved is not None:
            old = _pairs(moved.tracks, new, lambda track, face: self._moved_cost(track, face, now, moved))
            if old:  # the same scene
                self._lost = [*moved.lost, *(track for track in moved.tracks if track not in old.values())]
                self._lost = [track for track in self._lost if now - track.time <= self.remember]
        rest = [j for j in range(len(new)) if j not in old]
        revived = _pairs(self._lost, [new[j] for j in rest], lambda track, face: self._revival_cost(track, face, now))
        for j, track in revived.items():
            old[rest[j]] = track
            self._lost.remove(track)
        for j, face in enumerate(new):
            known_track = old.get(j)
            if known_track is None:
                if limit is not None and face.score < limit + self.settings.start_score_fraction * (1 - limit):
                    continue
                track = _Track(self._next_id, face, now, shape=face.params.shape.astype(np.float64))
                self._next_id += 1
            else:
                track = known_track
                track.restart(face, now)
            track.clear = face
            self._active.append(track)

    def _is_duplicate(self, face: Face, others: Iterable[Face]) -> bool:
        """Whether a face is the same as one of the others: they are nearer than two heads can be."""
        position, size = _position(face.landmarks), _size(face.landmarks)
        return any(
            np.linalg.norm(position - _position(other.landmarks))
            < self.settings.duplicate_distance * max(size, _size(other.landmarks))
            for other in others
        )

    def _moved_cost(self, track: _Track, face: Face, now: float, moved: _Moved) -> float:
        """Dissimilarity of a track and a face of the next frame, which moved fast; infinite if they cannot match."""
        settings, distance = self.settings, _distance(track, face, now)
        growth = abs(float(np.log(_size(face.landmarks) / track.size)))
        if distance > settings.fast_distance or growth > np.log(settings.max_growth):
            return float("inf")
        likeness = _likeness(moved.before.patch(track.face), moved.after.patch(face))
        if likeness < settings.fast_correlation:
            return float("inf")
        return distance + growth + 1 - likeness

    def _revival_cost(self, track: _Track, face: Face, now: float) -> float:
        """Dissimilarity of a lost track and a new face in position, size and shape; infinite if they cannot match."""
        # the last faces of one that leaves the image are distorted, so their size is not compared
        growth = abs(float(np.log(_size(face.landmarks) / _size((track.clear or track.face).landmarks))))
        distance = _distance(track, face, now)
        if distance > self.settings.revival_distance or growth > np.log(self.settings.revival_growth):
            return float("inf")
        shape_change = float(np.linalg.norm(face.params.shape - track.shape)) / np.sqrt(max(len(track.shape), 1))
        return distance + growth + shape_change


@dataclass(frozen=True, eq=False)
class _Grey:
    """A frame in grey, reduced to every `step`-th pixel."""

    image: NDArray[np.uint8]
    step: int

    def patch(self, face: Face) -> NDArray[np.float32]:
        """The square around a face, of `_PATCH_SIZE` px."""
        low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
        scale = _PATCH_SIZE / max(float((high - low).max()) / self.step, _MIN_FACE_SAMPLES)
        x, y = _PATCH_SIZE / 2 - scale * (low + high) / 2 / self.step
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        size = (_PATCH_SIZE, _PATCH_SIZE)
        return np.asarray(cv2.warpAffine(self.image, matrix, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Moved:
    """The tracks before a frame that does not resemble the last one, and both frames."""

    tracks: list[_Track]
    lost: list[_Track]
    before: _Grey
    after: _Grey


def _likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Highest correlation, -1..1, of two patches shifted by at most 2 px; 0 where one is uniform."""
    inner = b[2:-2, 2:-2]
    if np.ptp(a) < 1 or np.ptp(inner) < 1:
        return 0.0
    return float(cv2.matchTemplate(a, inner, cv2.TM_CCOEFF_NORMED).max())


def _distance(track: _Track, face: Face, now: float) -> float:
    """Distance of a face from a track, in face sizes: the nearer of its predicted and its last position.

    The face went on as before, or it turned back.
    """
    position = _position(face.landmarks)
    predicted = float(np.linalg.norm(position - track.position_at(now)))
    return min(predicted, float(np.linalg.norm(position - _position(track.face.landmarks)))) / track.size


def _pairs(tracks: list[_Track], faces: list[Face], cost_of: Callable[[_Track, Face], float]) -> dict[int, _Track]:
    """The track of each face that has one, by the face's index, with the lowest sum of costs."""
    cost = np.array([[cost_of(track, face) for face in faces] for track in tracks]).reshape(len(tracks), len(faces))
    return {j: tracks[i] for i, j in _assignment(np.minimum(cost, 1e6)) if np.isfinite(cost[i, j])}


def _is_inside(box: NDArray[np.float32], image: NDArray[np.uint8]) -> bool:
    """Whether a detected box covers a part of the image; the network's offsets may swap its edges."""
    x1, y1, x2, y2 = box.tolist()
    return x1 < min(x2, image.shape[1]) and y1 < min(y2, image.shape[0]) and min(x2, y2) > 1


def _assignment(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of row and column, each used once, with the lowest sum of `cost`."""
    from scipy.optimize import linear_sum_assignment  # slow to load

    rows, columns = linear_sum_assignment(cost)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _position(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean (2,) of the landmarks, px."""
    return np.asarray(landmarks[:, :2].mean(axis=0, dtype=np.float64))


def _size(landmarks: NDArray[np.float32]) -> float:
    """Longer side of the landmarks' box, px."""
    return max(float(np.ptp(landmarks[:, 0])), float(np.ptp(landmarks[:, 1])), 1e-6)
