"""Track the faces of frames: continue each track, start new tracks, and end tracks whose face is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa._shared.arrays import checked_image, checked_number
from tddfa.aligner import Aligner
from tddfa.crop import roi_from_box
from tddfa.selection import needed_scores
from tddfa.tracking.empty import EmptyFrames
from tddfa.tracking.jitter import JitterMeter
from tddfa.tracking.scene import Grey
from tddfa.tracking.settings import TrackerSettings
from tddfa.tracking.smoothing import OneEuro, mean_face, smooth_all
from tddfa.tracking.tracks import (
    FRAME_TIME,
    Moved,
    Place,
    Track,
    assignment,
    is_duplicate,
    moved_cost,
    paired,
    places,
    revival_cost,
)  # fmt: skip
from tddfa.types import Face, Roi, unchecked

Smooth = Literal["one_euro", "lookahead", "none"]
SMOOTH: tuple[Smooth, ...] = ("one_euro", "lookahead", "none")

Frame = TypeVar("Frame")

# By how much the times of a live source may go back, s. If they go back further, another video has begun.
_CLOCK_ERROR = 0.1
# What a time may be at most, s: beyond, its fractions are lost.
_LONGEST = 1e12


class Tracker:
    """Tracks every face of a video.

    A call takes one frame and returns its faces, each with a `track_id` that stays the same over the frames. The
    velocity of a track predicts the position of its next crop, and its last roll the angle. One call of the aligner
    aligns all tracks of a frame. The detector runs every `detect_every` frames, and on every frame while there is no
    track. While there is no track, the aligner also tries all rolls, at first every `detect_every` frames and then less
    often (`TrackerSettings.longest_interval`), unless `Aligner.rotations` is ``off``.

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
        Maximum number of tracks. Existing tracks come first, then the largest new faces. None sets no limit.
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
    TypeError, ValueError
        If an argument has the wrong type or is out of its range, or if the aligner has no detector.

    Notes
    -----
    Tracked faces get as many passes as new ones. With one pass (`Aligner.refine` of 0), the networks take half the
    time, but the jitter is higher. For a rendered head that turns, it is 0.60 instead of 0.36 % of the face size before
    smoothing, and 0.30 instead of 0.20 % after smoothing. For a real talking head (carphone), it is 0.90 instead of
    0.87 % after smoothing. With crops that are flipped in every second frame, the rendered head had 2.1 and 0.87 %
    (with earlier weights): the errors on a face and on its mirror image differ, so they alternate. Three other changes
    did not help: a slower crop (0.28 %), a crop that stays while the face moves by less than 3 % (0.35 %), and filters
    that predict by the speed (0.28 % and more, with a larger error).

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
        ):
            checked_number(name, value, low, whole=True)
        checked_number("remember", remember, 0)
        if not isinstance(settings, TrackerSettings | None):
            raise TypeError(f"settings: expected TrackerSettings, got {type(settings).__name__}")
        if not hasattr(aligner, "detector"):
            raise TypeError(f"aligner: expected an Aligner, got {type(aligner).__name__}")
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
        self._active: list[Track] = []
        self._lost: list[Track] = []
        self._next_id = 0
        self._since_detection, self._since_full_detection = 0, self.detect_every  # frames
        self._empty = EmptyFrames(self.detect_every, self.settings)
        self._time: float | None = None  # of the last frame, s
        self._now = 0.0  # s of the tracks: it never goes back
        self._grey: Grey | None = None
        self.jitter_before, self.jitter_after = JitterMeter(), JitterMeter()

    def __call__(self, frame: Any, time: float | None = None) -> list[Face]:
        """Track the faces of the next frame.

        Parameters
        ----------
        frame : ndarray (h, w, 3) uint8 BGR, or tddfa.video.Frame
            The size may change from frame to frame.
        time : float, optional
            Time of the frame, s. None takes the time of a `tddfa.video.Frame`; other frames are taken as 1/30 s apart.
            If the time is more than 0.1 s before that of the last frame, another video begins: lost faces are
            forgotten, and smoothing starts again. Equal times and smaller steps back count as 1/30 s.

        Returns
        -------
        list of Face
            Sorted by id; [] if there is no face.

        Raises
        ------
        TypeError, ValueError
            If the frame has the wrong type, shape or dtype, if the time is not a finite number, or if `smooth` is
            ``lookahead``, for which there is `run`. The tracker stays as it was.
        """
        if self.smooth == "lookahead":
            raise ValueError("smooth: lookahead needs later frames; call run(frames), or smooth by one_euro")
        return self._smoothed(*self._step(frame, time))

    def run(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Face]]]:
        """Track the faces of all frames.

        Parameters
        ----------
        frames : iterable of ndarray or tddfa.video.Frame
            The frames, as in `__call__`.

        Yields
        ------
        tuple of a frame and its list of Face
            In order. With ``lookahead``, a frame is returned after `n_next` further frames were taken.

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
        if self.smooth == "one_euro":
            # the faces are those of the active tracks, in their order
            for track in self._active:
                track.smoother = track.smoother or OneEuro(self.aligner.decoder)
            faces = smooth_all([track.smoother for track in self._active if track.smoother is not None], faces, dt)
        self.jitter_after.add(faces)
        return faces

    def _step(self, frame: Any, time: float | None) -> tuple[list[Face], float]:
        """Detect and align; return the faces of the frame before smoothing, and the time since the last frame, s."""
        image = checked_image("frame", getattr(frame, "image", frame))
        time = getattr(frame, "time", None) if time is None else time
        if time is not None:
            checked_number("time", time, -_LONGEST, _LONGEST)
        dt = self._advance(time)
        now = self._now
        before, self._grey = self._grey, Grey.of(image)
        moved: Moved | None = None
        if before is not None and self._grey.is_other_scene(before, self.settings.cut_correlation):
            # a cut, or fast motion of the camera or of a large face: the faces that are detected now decide
            moved = Moved(self._active, self._lost, before, self._grey)
            self._active, self._lost = [], []
            self._since_full_detection = self.detect_every
            self._empty.reset()
        self._lost = [track for track in self._lost if now - track.time <= self.remember]

        rois = self._next_rois(now)
        self._since_detection += 1
        boxes: list[NDArray[np.float32]] = []
        interval = min(self.detect_every, self.settings.lost_detect_every) if self._lost else self.detect_every
        detected = not self._active or self._since_detection >= interval
        if detected:
            due = self._since_full_detection + self._since_detection >= self.detect_every
            boxes = self._detect(image, rois, full=due or (not self._active and bool(self._lost)))
            if not self._active and not self._lost:
                boxes = self._empty.untried(boxes)
        found = places(self.aligner(image, rois=rois)) if rois else []
        continued = list(zip(self._active, found, strict=True))
        self._continue(continued, now)
        self._start(self._aligned(image, boxes), now, boxes, moved)
        lost = [track for track, _ in continued if track not in self._active]
        if not detected and lost and (not self._active or any(self._may_have_jumped(track) for track in lost)):
            # detect now, not in the next frame
            boxes = self._detect(
                image, self.aligner.rois([track.last.face for track in self._active]), full=not self._active
            )
            self._start(self._aligned(image, boxes), now, boxes)
        self._empty.next_frame()
        if not self._active:
            self._empty.reject(boxes)
            if self.aligner.rotations != "off" and self._empty.begins_rotated_search():
                # upside down, or on their sides: the aligner tries all rolls
                self._start(self.aligner(image), now)
        if self._active:
            self._empty.reset()
        self._active.sort(key=lambda track: track.track_id)
        result = [unchecked(Face, **track.last.face.__dict__ | {"track_id": track.track_id}) for track in self._active]
        self.jitter_before.add(result)
        return result, dt

    def _advance(self, time: float | None) -> float:
        """Set the clock to the time of a frame; return the time since the last one, s."""
        step = None if time is None or self._time is None else time - self._time
        # frames of one time: what lies between them is not known
        dt = step if step is not None and step > 0 else FRAME_TIME
        if step is not None and step < -_CLOCK_ERROR:
            # another video, or the same one again: how old the lost faces are is not known
            self._lost = []
            for track in self._active:
                track.smoother = None
        self._now += dt
        self._time = time if time is not None else dt + (self._time or 0.0)
        return dt

    def _aligned(self, image: NDArray[np.uint8], boxes: list[NDArray[np.float32]]) -> list[Face]:
        """Faces in detected boxes, at any roll."""
        return self.aligner(image, boxes=boxes) if boxes else []

    def _start_scores(self, count: int, boxes: list[NDArray[np.float32]] | None) -> list[float]:
        """The scores at which faces start tracks; of faces in doubtful boxes, they are higher."""
        limit = self.aligner.min_score
        if limit is None:
            return [-np.inf] * count
        score = limit + self.settings.start_score_fraction * (1 - limit)
        if boxes is None:
            return [score] * count
        needed = needed_scores(np.array([box[4] for box in boxes], dtype=np.float64), limit, self.aligner.sure_score)
        return np.maximum(needed, score).tolist()

    def _may_have_jumped(self, track: Track) -> bool:
        """Whether a face that was lost in this frame was clear before, and no other face can hide it."""
        last = track.last
        return track.clear is last and all(
            last.distance(other.last.x, other.last.y) > max(track.size, other.size) for other in self._active
        )

    def _next_rois(self, now: float) -> list[Roi]:
        """Squares around the predicted positions of the active tracks."""
        rois = self.aligner.rois([track.last.face for track in self._active])
        return [
            replace(roi, left=roi.left + track.velocity[0] * dt, top=roi.top + track.velocity[1] * dt)
            for roi, track in zip(rois, self._active, strict=True)
            for dt in (now - track.time,)
        ]

    def _detect(self, image: NDArray[np.uint8], rois: list[Roi], *, full: bool) -> list[NDArray[np.float32]]:
        """Boxes of faces without a track, with their scores, best first; the other boxes confirm their tracks.

        Unless `full`, only lost faces are searched, on an image as small as the sizes of the tracked faces allow, or
        large ones, on a smaller image, where no face is known.
        """
        settings = self.settings
        self._since_full_detection = 0 if full else self._since_full_detection + self._since_detection
        self._since_detection = 0
        assert self.aligner.detector is not None
        sizes = [track.size for track in (*self._active, *self._lost)]
        # boxes from a file are those of the frame at its own size
        whole = full or getattr(self.aligner.detector, "needs_name", False)
        if whole:
            scale = 1.0
        elif sizes:
            scale = min(1.0, settings.lost_face_size / min(sizes))
        else:
            share = settings.empty_area / (image.shape[0] * image.shape[1])
            scale = float(np.sqrt(share)) if share < 0.25 else 1.0
        if scale < 1:
            size = max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0]))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        detections = self.aligner.detector(image)
        boxes = [
            np.append(box / scale, score)
            for box, score in zip(detections.xyxy, detections.scores, strict=True)
            if _is_inside(box, image)
        ]
        overlap = np.array([[roi.iou(roi_from_box(box[:4], self.aligner.crop)) for box in boxes] for roi in rois])
        overlap = overlap.reshape(len(rois), len(boxes))
        pairs = [(i, j) for i, j in assignment(-overlap) if overlap[i, j] >= settings.same_face_iou]
        confirmed, taken = {i for i, _ in pairs}, {j for _, j in pairs}
        for i, track in enumerate(self._active[: len(rois)]):
            track.misses = 0 if i in confirmed else track.misses + 1
        # a second box on a tracked face is not another face
        free = [
            box
            for j, box in enumerate(boxes)
            if j not in taken
            and not (len(rois) and box[4] < settings.new_face_score)
            and not (len(rois) and overlap[:, j].max() >= 2 * settings.same_face_iou)
        ]
        if self.max_faces is None:
            return free
        free.sort(key=lambda box: float((box[2] - box[0]) * (box[3] - box[1])), reverse=True)
        # more boxes than the limit, because only the regressor can tell which of them are faces
        return free[: self.max_faces + settings.spare_boxes]

    def _continue(self, found: list[tuple[Track, Place]], now: float) -> None:
        """Update each track with the face in its crop; tracks without one are lost."""
        kept = [(track, place) for track, place in found if self._matches(track, place, now)]
        if len(kept) > 1:
            # The crop of a face that passes behind another shows the other face. If two tracks have the same face, it
            # belongs to the track that predicted it better.
            kept.sort(key=lambda pair: pair[0].prediction_error(pair[1], now))
        own: list[tuple[Track, Place]] = []
        for track, place in kept:
            if not is_duplicate(place, (other for _, other in own), self.settings):
                own.append((track, place))
        for track, place in own:
            track.update(place, now, self.settings)
            if self.aligner.min_score is None or place.face.score >= self.aligner.min_score:
                track.clear = place
        self._active = [track for track, _ in own]
        active = {track.track_id for track in self._active}
        self._lost += [track for track, _ in found if track.track_id not in active]

    def _matches(self, track: Track, place: Place, now: float) -> bool:
        """Whether the face in the crop of a track continues the track."""
        settings, size = self.settings, track.size
        if not 1 / settings.max_growth < place.size / size < settings.max_growth:
            return False
        if place.distance(*track.position_at(now)) > settings.max_jump * size:
            return False
        if self.aligner.min_score is not None:
            return place.face.score >= settings.kept_score_fraction * self.aligner.min_score
        return track.misses < settings.max_misses

    def _start(
        self,
        faces: list[Face],
        now: float,
        boxes: list[NDArray[np.float32]] | None = None,
        moved: Moved | None = None,
    ) -> None:
        """Start tracks on new faces, in `boxes`; one that moved fast, or was lost recently, continues its old track."""
        if not faces:
            return
        limit, settings = self.aligner.min_score, self.settings
        new: list[Place] = []
        start_scores: list[float] = []
        for place, start_score in zip(places(faces), self._start_scores(len(faces), boxes), strict=True):
            known = [*(track.last for track in self._active), *new]
            if (limit is None or place.face.score >= limit) and not is_duplicate(place, known, settings):
                new.append(place)
                start_scores.append(start_score)
        if self.max_faces is not None:
            new = new[: max(0, self.max_faces - len(self._active))]
        old: dict[int, Track] = {}
        if moved is not None:
            old = paired(moved.tracks, new, lambda track, place: moved_cost(track, place, now, moved, settings))
            if old:  # the same scene
                self._lost = [*moved.lost, *(track for track in moved.tracks if track not in old.values())]
                self._lost = [track for track in self._lost if now - track.time <= self.remember]
        rest = [j for j in range(len(new)) if j not in old]
        waiting = [new[j] for j in rest]
        revived = paired(self._lost, waiting, lambda track, place: revival_cost(track, place, now, settings))
        for j, track in revived.items():
            old[rest[j]] = track
            self._lost.remove(track)
        for j, place in enumerate(new):
            known_track = old.get(j)
            if known_track is None:
                if place.face.score < start_scores[j]:
                    continue
                track = Track(self._next_id, place, now, shape=place.face.params.shape.astype(np.float64))
                self._next_id += 1
            else:
                track = known_track
                track.restart(place, now)
            track.clear = place
            self._active.append(track)


def _is_inside(box: NDArray[np.float32], image: NDArray[np.uint8]) -> bool:
    """Whether a detected box covers a part of the image; the network's offsets may swap its edges."""
    x1, y1, x2, y2 = box.tolist()
    return x1 < min(x2, image.shape[1]) and y1 < min(y2, image.shape[0]) and min(x2, y2) > 1
