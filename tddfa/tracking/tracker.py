"""Frames to faces that keep their identity: follow each face, find new ones, let lost ones go."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
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

Frame = TypeVar("Frame")


@dataclass
class _Track:
    """One person: the last face, its motion, and since when it is missing."""

    track_id: int
    face: Face
    time: float
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))  # px a second
    shape: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    smoother: OneEuro | None = None
    seen: int = 1  # frames
    misses: int = 0
    clear: Face | None = None  # the last one that a new face's score would do for

    @property
    def size(self) -> float:
        return _size(self.face.landmarks)

    def middle_at(self, time: float) -> NDArray[np.float64]:
        return _middle(self.face.landmarks) + self.velocity * (time - self.time)

    def update(self, face: Face, time: float, settings: TrackerSettings) -> None:
        dt = time - self.time
        if dt > 0:
            moved = (_middle(face.landmarks) - _middle(self.face.landmarks)) / dt
            # the gain is that of a thirtieth of a second: two frames a moment apart say little about speed
            self.velocity += (1 - (1 - settings.velocity_gain) ** (30 * dt)) * (moved - self.velocity)
        self.seen += 1
        self.shape = self.shape + (face.params.shape - self.shape) / min(self.seen, settings.shape_frames)
        self.face, self.time = face, time


class Tracker:
    """Follows every face of a video.

    A call takes one frame and gives its faces, each with the `track_id` that it had in the frames before. The frame's
    crops lie where each face's motion carries its landmarks; one call of the network aligns all of them. The detector
    looks for new faces every `detect_every` frames, and at once when nobody is followed.

    Parameters
    ----------
    aligner : Aligner
        With a detector.
    smooth : {"one_euro", "lookahead", "none"}
        ``one_euro`` steadies without delay (`tddfa.tracking.smoothing.OneEuro`). ``lookahead`` is 3DDFA_V2's mean over
        `n_pre` frames before, the frame, and `n_next` after: only `run` can do it, for it waits for later frames.
    detect_every : int
        Frames between looks for new faces. While somebody is missing, it is every other frame.
    max_faces : int or None
        Follow no more than so many: those that are followed already, then the largest.
    remember : float
        For how many seconds a lost face keeps its id.
    n_pre, n_next : int
        Frames before and after in a mean of ``lookahead``.
    settings : TrackerSettings, optional
        Thresholds; None takes the defaults.

    Attributes
    ----------
    jitter_before, jitter_after : JitterMeter
        How the landmarks trembled so far, as they were found and as they were given out.

    Raises
    ------
    ValueError
        If a number or a word is another one, or if the aligner has no detector.
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
            raise ValueError("aligner: expected one with a detector")
        self.aligner = aligner
        self.smooth = smooth
        self.settings = TrackerSettings() if settings is None else settings
        self.detect_every, self.max_faces, self.remember = detect_every, max_faces, remember
        self.n_pre, self.n_next = n_pre, n_next
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids start from 0 again."""
        self._followed: list[_Track] = []
        self._missing: list[_Track] = []
        self._next_id = 0
        self._since_detection = self._since_whole = 0
        self._time: float | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._size: tuple[int, ...] = ()
        self.jitter_before, self.jitter_after = JitterMeter(), JitterMeter()

    def __call__(self, frame: Any, time: float | None = None) -> list[Face]:
        """Take the next frame.

        Parameters
        ----------
        frame : ndarray (h, w, 3) uint8 BGR, or tddfa.video.Frame
            Its size may change from frame to frame.
        time : float, optional
            Seconds; that of a `tddfa.video.Frame` is taken from it. Without either, frames are 1/30 s apart.

        Returns
        -------
        list of Face
            In the order of their ids; [] when nobody is there.

        Raises
        ------
        ValueError
            If frames are to be smoothed by later ones; `run` does that.
        """
        if self.smooth == "lookahead":
            raise ValueError("smooth: lookahead needs later frames; call run(frames), or smooth by one_euro")
        return self._smoothed(*self._step(frame, time))

    def run(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """Take all frames; yield each with its faces, in order. With ``lookahead``, `n_next` frames behind."""
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
                yield self._averaged(list(window), len(window) - 1 - self.n_next)
        kept = list(window)
        for position in range(len(kept) - waiting, len(kept)):
            # frames before the window's own `n_pre` are not part of this frame's mean
            first = max(0, position - self.n_pre)
            yield self._averaged(kept[first:], position - first)

    def _averaged(self, window: list[tuple[Frame, dict[int | None, Face]]], at: int) -> tuple[Frame, list[Face]]:
        """Mean over the window of each face in its frame `at`.

        Where a face is not there yet, or any more, or the video is at its ends, the nearest frame that has it counts
        again, as in 3DDFA_V2.
        """
        frame, faces = window[at]
        result = []
        for track_id, face in faces.items():
            parts = [face]
            for step, count in ((-1, self.n_pre), (1, self.n_next)):
                last, there = face, True
                for k in range(1, count + 1):
                    position = at + step * k
                    there = there and 0 <= position < len(window) and track_id in window[position][1]
                    last = window[position][1][track_id] if there else last
                    parts.append(last)
            result.append(mean_face(parts, face, self.aligner.face_model, self.aligner.crop))
        self.jitter_after.add(result)
        return frame, result

    def _smoothed(self, faces: list[Face], dt: float) -> list[Face]:
        if self.smooth != "one_euro":
            self.jitter_after.add(faces)
            return faces
        by_id = {track.track_id: track for track in self._followed}
        result = []
        for face in faces:
            assert face.track_id is not None
            track = by_id[face.track_id]
            if track.smoother is None:
                track.smoother = OneEuro(self.aligner.face_model, self.aligner.crop)
            result.append(track.smoother(face, dt))
        self.jitter_after.add(result)
        return result

    def _step(self, frame: Any, time: float | None) -> tuple[list[Face], float]:
        """Follow, detect, align; return the frame's faces as they are, and the seconds since the last frame."""
        image = checked_image("frame", getattr(frame, "image", frame))
        if time is None:
            time = getattr(frame, "time", None)
        dt = 1 / 30 if self._time is None or time is None else max(time - self._time, 0.0)
        now = (0.0 if self._time is None else self._time + dt) if time is None else time
        self._time = now
        if self._is_cut(image):
            # nobody is where they were, and nobody moves on from there
            self._missing = []
            self._followed = []
        self._missing = [track for track in self._missing if now - track.time <= self.remember]

        rois = [self._next_roi(track, now) for track in self._followed]
        self._since_detection += 1
        boxes: list[NDArray[np.float32]] = []
        patience = min(self.detect_every, self.settings.lost_detect_every) if self._missing else self.detect_every
        detected = not self._followed or self._since_detection >= patience
        if detected:
            self._since_whole += self._since_detection
            boxes = self._detect(image, rois, whole=not self._followed or self._since_whole >= self.detect_every)
        faces = self.aligner(image, rois=[*rois, *(roi_from_box(box, self.aligner.crop) for box in boxes)])
        followed = list(zip(self._followed, faces[: len(rois)], strict=True))
        self._follow(followed, now)
        found = [replace(face, box=box) for face, box in zip(faces[len(rois) :], boxes, strict=True)]
        self._admit(found, now)
        if followed and not self._followed and not detected:
            # the last one was lost in this very frame: look at once, not in the next
            boxes = self._detect(image, [], whole=True)
            self._admit(self.aligner(image, boxes=boxes), now)
        self._followed.sort(key=lambda track: track.track_id)
        result = [replace(track.face, track_id=track.track_id) for track in self._followed]
        self.jitter_before.add(result)
        return result, dt

    def _is_cut(self, image: NDArray[np.uint8]) -> bool:
        """Whether this frame shows another scene than the last: their thumbnails do not go together."""
        height, width = image.shape[:2]
        step = max(1, min(height, width) // 64)
        grey = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_BGR2GRAY)
        thumbnail = cv2.resize(grey, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, size = self._thumbnail, self._size
        self._thumbnail, self._size = thumbnail, image.shape
        if before is None:
            return False
        if size != image.shape:
            return True
        a, b = thumbnail - thumbnail.mean(), before - before.mean()
        spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
        if spread < 32 * 24:  # under a grey level or so: a plain picture goes together with anything
            return False
        return float((a * b).sum()) / spread < self.settings.cut_correlation

    def _next_roi(self, track: _Track, now: float) -> Roi:
        roi = self.aligner.roi(track.face)
        dx, dy = track.velocity * (now - track.time)
        return Roi(roi.left + dx, roi.top + dy, roi.side)

    def _detect(self, image: NDArray[np.uint8], rois: list[Roi], whole: bool) -> list[NDArray[np.float32]]:
        """Boxes of faces that nobody follows, best first; faces that are followed are confirmed by the others.

        Where only those who are missing are looked for, not the `whole`, the picture is as small as their faces allow.
        """
        self._since_detection = 0
        assert self.aligner.detector is not None
        known = [track.size for track in (*self._followed, *self._missing)]
        scale = 1.0 if whole else min(1.0, self.settings.lost_face_size / min(known))
        if whole:
            self._since_whole = 0
        if scale < 1:
            size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        detections = self.aligner.detector(image)
        boxes = [box for box in detections.xyxy / scale if box[0] < box[2] and box[1] < box[3]]
        overlap = np.array([[roi.iou(roi_from_box(box, self.aligner.crop)) for box in boxes] for roi in rois]).reshape(
            len(rois), len(boxes)
        )
        least = self.settings.same_face_iou
        pairs = [(i, j) for i, j in _assignment(-overlap) if overlap[i, j] >= least]
        confirmed = {i for i, _ in pairs}
        for i, track in enumerate(self._followed[: len(rois)]):
            track.misses = 0 if i in confirmed else track.misses + 1
        taken = {j for _, j in pairs}
        # a second box on a followed face is no second face
        free = [
            box
            for j, box in enumerate(boxes)
            if j not in taken and not (len(rois) and overlap[:, j].max() >= 2 * self.settings.same_face_iou)
        ]
        if self.max_faces is not None:
            # who is nearest is meant
            free.sort(key=lambda box: float((box[2] - box[0]) * (box[3] - box[1])), reverse=True)
        # no more than the limit are admitted, but only the regressor can tell which of these boxes are faces
        return free if self.max_faces is None else free[: self.max_faces + self.settings.spare_boxes]

    def _follow(self, faces: list[tuple[_Track, Face]], now: float) -> None:
        """Take in what the crops of the followed faces show; who is lost goes to the missing."""
        kept = [(track, face) for track, face in faces if self._is_there(track, face, now)]
        lost = {track.track_id for track, _ in faces} - {track.track_id for track, _ in kept}
        # Who passes behind another is drawn onto that other's face. Where two come to lie on one face, it belongs to
        # the one whose motion leads there.
        kept.sort(key=lambda pair: self._surprise(pair[0], pair[1], now))
        own: list[tuple[_Track, Face]] = []
        for track, face in kept:
            if self._is_duplicate(face, [other for _, other in own]):
                lost.add(track.track_id)
            else:
                own.append((track, face))
        for track, face in own:
            track.update(face, now, self.settings)
            if self.aligner.min_score is None or face.score >= self.aligner.min_score:
                track.clear = face
        self._missing += [track for track, _ in faces if track.track_id in lost]
        self._followed = [track for track, _ in own]

    def _surprise(self, track: _Track, face: Face, now: float) -> float:
        """How far a face lies from where, and how large, its track would have it; in its size."""
        off = float(np.linalg.norm(_middle(face.landmarks) - track.middle_at(now))) / track.size
        return off + abs(float(np.log(_size(face.landmarks) / track.size)))

    def _is_there(self, track: _Track, face: Face, now: float) -> bool:
        size = _size(face.landmarks)
        if not 1 / self.settings.max_growth < size / track.size < self.settings.max_growth:
            return False
        if float(np.linalg.norm(_middle(face.landmarks) - track.middle_at(now))) > self.settings.max_jump * track.size:
            return False
        if self.aligner.min_score is not None:
            return face.score >= self.settings.kept_score_fraction * self.aligner.min_score
        return track.misses < self.settings.max_misses

    def _admit(self, faces: list[Face], now: float) -> None:
        """Follow new faces; one who was lost a moment ago comes back under the old id."""
        limit = self.aligner.min_score
        new: list[Face] = []
        for face in faces:
            known = [*(track.face for track in self._followed), *new]
            if (limit is None or face.score >= limit) and not self._is_duplicate(face, known):
                new.append(face)
        if self.max_faces is not None:
            new = new[: max(0, self.max_faces - len(self._followed))]
        cost = np.array([[self._strangeness(track, face, now) for face in new] for track in self._missing])
        cost = cost.reshape(len(self._missing), len(new))
        revived: dict[int, _Track] = {}
        for i, j in _assignment(np.minimum(cost, 1e6)):
            if np.isfinite(cost[i, j]):
                revived[j] = self._missing[i]
        for j, face in enumerate(new):
            track = revived.get(j)
            if track is None:
                track = _Track(self._next_id, face, now, shape=face.params.shape.astype(np.float64))
                self._next_id += 1
            else:
                self._missing.remove(track)
                track.face, track.time, track.velocity, track.misses = face, now, np.zeros(2), 0
                track.smoother = None
            track.clear = face
            self._followed.append(track)

    def _is_duplicate(self, face: Face, others: Iterable[Face]) -> bool:
        """Whether a face is one of the others: their positions are too near for two heads."""
        position, size = _middle(face.landmarks), _size(face.landmarks)
        return any(
            np.linalg.norm(position - _middle(other.landmarks))
            < self.settings.duplicate_distance * max(size, _size(other.landmarks))
            for other in others
        )

    def _strangeness(self, track: _Track, face: Face, now: float) -> float:
        """How unlike a missing face a new one is: by place, size and shape; infinite if it is another's."""
        # what a face that leaves the picture comes to in its last frames is no measure of its size
        growth = abs(float(np.log(_size(face.landmarks) / _size((track.clear or track.face).landmarks))))
        middle = _middle(face.landmarks)
        # moved on as it did before, or, having turned round, near where it was
        off = min(
            float(np.linalg.norm(middle - track.middle_at(now))),
            float(np.linalg.norm(middle - _middle(track.face.landmarks))),
        )
        off /= track.size
        if off > self.settings.revival_distance or growth > np.log(self.settings.revival_growth):
            return float("inf")
        unlike = float(np.linalg.norm(face.params.shape - track.shape)) / np.sqrt(max(len(track.shape), 1))
        return off + growth + unlike


def _assignment(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of row and column, each used once, with the least sum of `cost`."""
    from scipy.optimize import linear_sum_assignment  # slow to load, and not needed where no face is detected

    rows, columns = linear_sum_assignment(cost)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _middle(landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(landmarks[:, :2].mean(axis=0, dtype=np.float64))


def _size(landmarks: NDArray[np.float32]) -> float:
    return max(float(np.ptp(landmarks[:, 0])), float(np.ptp(landmarks[:, 1])), 1e-6)
