"""Jitter of landmarks in videos, and the lag and error that smoothing costs.

Data: DIR/video/carphone.mp4, or the video of the option.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tddfa import synthetic, video
from tddfa.aligner import Aligner
from tddfa.evaluate import metrics
from tddfa.evaluate.benchmarks import BENCHMARKS
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup
from tddfa.geometry.boxes import box_iou
from tddfa.tracking.jitter import jitter
from tddfa.tracking.tracker import Smooth, Tracker
from tddfa.types import Face

Floats = NDArray[np.float64]

_BENCHMARK = BENCHMARKS["jitter"]

SCENES = ("turn", "talking")
"""Scenes of `tddfa.synthetic`: a head that turns, and a head that talks."""

_MAX_FRAMES = 600
_FILTERS: tuple[Smooth, ...] = ("none", "one_euro", "lookahead")
_SCENE_SIZE = (360, 640)
_FPS = 30.0
# A face with a new id is the same person if it is this close, in space and time, to a face with another id.
_SAME_FACE_IOU, _SAME_FACE_FRAMES = 0.3, 60
# Delays that are compared, frames.
_DELAYS = np.arange(-1.0, 4.0, 0.05)


def lag(predicted: NDArray[np.floating], ground_truth: NDArray[np.floating]) -> float:
    """Compute the delay of a predicted motion: the shift in time at which the ground truth fits it best.

    Parameters
    ----------
    predicted, ground_truth : ndarray (frames, points, 2)
        Landmarks of one face, px. A constant offset of each point has no effect.

    Returns
    -------
    float
        Frames, from -1 to 4 in steps of 0.05; NaN if there are fewer than 12 frames, or if there is no motion.

    Examples
    --------
    >>> motion = np.sin(np.arange(40) / 5).reshape(40, 1, 1).repeat(2, axis=2)
    >>> round(lag(motion[:-2], motion[2:]), 2)
    2.0
    """
    count = len(ground_truth)
    if count < 12:
        return float("nan")
    edge = int(np.ceil(_DELAYS[-1])) + 1
    moved = ground_truth.reshape(count, -1).astype(np.float64)
    if np.ptp(moved, axis=0).max() < 1e-6:
        return float("nan")
    observed = predicted.reshape(count, -1).astype(np.float64)[edge : count - 2]
    misfits = []
    for delay in _DELAYS:
        whole = int(np.floor(delay))
        fraction = delay - whole
        at = np.arange(edge, count - 2) - whole
        off = observed - ((1 - fraction) * moved[at] + fraction * moved[at - 1])
        misfits.append(float(((off - off.mean(axis=0)) ** 2).mean()))
    return float(_DELAYS[int(np.argmin(misfits))])


@dataclass
class Run:
    """Tracked faces of a video.

    Attributes
    ----------
    faces : list of dict of int to ndarray (68, 2)
        Landmarks by track id, px, one dict per frame.
    before, after : float
        Jitter before and after smoothing, % of the size of the face.
    """

    faces: list[dict[int, NDArray[np.float32]]] = field(default_factory=list)
    before: float = float("nan")
    after: float = float("nan")


def follow(aligner: Aligner, smooth: Smooth, frames: Iterable[Any]) -> Run:
    """Track the faces of a video."""
    tracker = Tracker(aligner, smooth=smooth)
    run = Run()
    for _, faces in tracker.run(frames):
        run.faces.append({_id(face): face.landmarks[:, :2].copy() for face in faces})
    run.before, run.after = tracker.jitter_before.value, tracker.jitter_after.value
    return run


def _id(face: Face) -> int:
    assert face.track_id is not None
    return face.track_id


def id_changes(faces: Sequence[dict[int, NDArray[np.float32]]]) -> int:
    """Number of id changes: a new id appears close to the last box of an id that ended within the last 60 frames."""
    last: dict[int, tuple[int, Floats]] = {}
    changes = 0
    for frame, present in enumerate(faces):
        boxes = {
            track: np.concatenate([p.min(axis=0), p.max(axis=0)]).astype(np.float64) for track, p in present.items()
        }
        for track, box in boxes.items():
            if track not in last:
                gone = [
                    old
                    for other, (seen, old) in last.items()
                    if other not in present and frame - seen <= _SAME_FACE_FRAMES
                ]
                changes += bool(gone and box_iou([box], gone).max() >= _SAME_FACE_IOU)
        last |= {track: (frame, box) for track, box in boxes.items()}
    return changes


def _box(points: NDArray[np.float32]) -> Floats:
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float64)


def evaluate(setup: Setup, video: str | os.PathLike[str] | None = None, frames: int = 120) -> Result:
    """Measure jitter without smoothing and with each filter, on a video and on rendered heads with ground truth.

    Jitter is the mean second difference of the landmarks over frames, % of the size of the face
    (`tddfa.tracking.jitter.jitter`).

    Parameters
    ----------
    setup : Setup
        `limit` is the number of frames of the video.
    video : path, optional
        The video; ``DIR/video/carphone.mp4`` by default. Its first 600 frames are used.
    frames : int
        Length of each rendered scene.

    Raises
    ------
    DataMissing
        If there is no such video.
    ValueError
        If the video cannot be read, or if `frames` is too small to measure a lag.
    """
    if frames < 12:
        raise ValueError(f"frames: expected 12 or more, got {frames}")
    path = setup.data / "video" / "carphone.mp4" if video is None else Path(video)
    if not path.is_file():
        raise DataMissing(f"{path}: no such video; expected {_BENCHMARK.data}")
    count = min(_MAX_FRAMES, setup.limit or _MAX_FRAMES)
    figures: list[Figure] = []
    items: list[dict[str, object]] = []
    jobs: list[tuple[str, Smooth]] = [(name, smooth) for name in ("", *SCENES) for smooth in _FILTERS]
    played: dict[str, tuple[list[NDArray[np.uint8]], Floats]] = {}
    for scene, smooth in setup.track(jobs, _BENCHMARK.name):
        if not scene:
            run = follow(setup.aligner, smooth, _first(path, count))
            label = f"{path.name}: jitter, {_LABELS[smooth]}"
            figures.append(Figure(f"video.jitter.{smooth}", label, run.after, "%", "lower"))
            if smooth == "none":
                rows = [{"frame": k, "faces": len(p), "ids": sorted(p)} for k, p in enumerate(run.faces)]
                figures += _counts(path.name, run)
                items += rows
            continue
        if scene not in played:
            played.clear()  # free the frames of the last scene
            played[scene] = _play(scene, frames)
            still = jitter(played[scene][1])
            label = f"rendered, {scene}: jitter of the ground truth"
            figures.append(Figure(f"{scene}.jitter.ground_truth", label, still, "%"))
        run = follow(setup.aligner, smooth, played[scene][0])
        figures += _against_ground_truth(scene, smooth, run, played[scene][1])
    return Result(
        benchmark=_BENCHMARK.name,
        settings={"video": path.name, "frames": len(items), "rendered frames": frames, "scenes": ", ".join(SCENES)},
        figures=figures,
        items=items,
        notes=[
            "Jitter: mean second difference of the landmarks, % of the size of the face. Motion itself has some, see "
            "the jitter of the ground truth. lookahead uses later frames, the others do not."
        ],
    )


_LABELS = {"none": "no smoothing", "one_euro": "one_euro", "lookahead": "lookahead 1+1+1"}


def _first(path: Path, count: int) -> Iterator[Any]:
    return islice(video.frames(path), count)


def _counts(name: str, run: Run) -> Iterator[Figure]:
    faces = np.array([len(present) for present in run.faces] or [0])
    ids = {track for present in run.faces for track in present}
    yield Figure("video.frames", f"{name}: frames", len(run.faces), "frames")
    yield Figure("video.faces", f"{name}: faces per frame", faces.mean(), "faces")
    yield Figure("video.without", f"{name}: frames without a face", int((faces == 0).sum()), "frames", "lower")
    yield Figure("video.ids", f"{name}: number of ids", len(ids), "ids")
    yield Figure("video.id_changes", f"{name}: id changes", id_changes(run.faces), "changes", "lower")


def _play(scene: str, count: int) -> tuple[list[NDArray[np.uint8]], Floats]:
    images, landmarks = [], []
    for image, (face,) in synthetic.frames(scene, count, _SCENE_SIZE, _FPS, seed=3):
        assert face is not None
        images.append(image)
        landmarks.append(face.landmarks[:, :2])
    return images, np.array(landmarks, dtype=np.float64)


def _against_ground_truth(scene: str, smooth: Smooth, run: Run, ground_truth: Floats) -> Iterator[Figure]:
    label = f"rendered, {scene}, {_LABELS[smooth]}"
    at = [k for k, present in enumerate(run.faces) if present]
    predicted = np.array([_nearest(run.faces[k], ground_truth[k]) for k in at], dtype=np.float64)
    predicted = predicted.reshape(len(at), 68, 2)
    missed = len(ground_truth) - len(at)
    errors = [metrics.nme_box(points, ground_truth[k]) for k, points in zip(at, predicted, strict=True)]
    nme = float(np.mean(errors)) if errors else None
    # missing frames would shift all later ones
    delay = None if missed else lag(predicted, ground_truth)
    yield Figure(f"{scene}.jitter.{smooth}", f"{label}: jitter", run.after, "%", "lower")
    yield Figure(f"{scene}.nme.{smooth}", f"{label}: NME by sqrt(w h)", nme, "%", "lower")
    yield Figure(f"{scene}.lag.{smooth}", f"{label}: lag", delay, "frames")
    yield Figure(f"{scene}.missed.{smooth}", f"{label}: frames without a face", missed, "frames", "lower")


def _nearest(present: dict[int, NDArray[np.float32]], ground_truth: Floats) -> NDArray[np.float32]:
    middle = ground_truth.mean(axis=0)
    return min(present.values(), key=lambda points: float(np.linalg.norm(points.mean(axis=0) - middle)))
