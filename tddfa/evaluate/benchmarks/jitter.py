"""How steady faces are in a video: how landmarks tremble, and what steadying them costs in lag and error."""

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
from tddfa.evaluate.result import DataMissing, Figure, Result, Setup
from tddfa.geometry.boxes import box_iou
from tddfa.tracking.smoothing import jitter
from tddfa.tracking.tracker import Smooth, Tracker
from tddfa.types import Face

Floats = NDArray[np.float64]

NAME = "jitter"
LAYOUT = "DIR/video/carphone.mp4, or --video FILE"

SCENES = ("turn", "talking")
"""Of `tddfa.synthetic`: one head that looks about, and one that talks."""

_MAX_FRAMES = 600
_FILTERS: tuple[Smooth, ...] = ("none", "one_euro", "lookahead")
_SCENE_SIZE = (360, 640)
_FPS = 30.0
# A face with a new id where one of another id was seen so shortly before is the same person.
_SAME_FACE_IOU, _SAME_FACE_FRAMES = 0.3, 60
# Delays that are tried, frames.
_DELAYS = np.arange(-1.0, 4.0, 0.05)


def lag(found: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """By how many frames a motion follows the true one: the delay of the truth that fits it best.

    Parameters
    ----------
    found, truth : ndarray (frames, points, 2)
        Of one face, px. What is constant between them, an offset of each point, does not count.

    Returns
    -------
    float
        Frames, in steps of 0.05 from -1 to 4; NaN of fewer than 12 frames, and where nothing moves.
    """
    count = len(truth)
    if count < 12:
        return float("nan")
    edge = int(np.ceil(_DELAYS[-1])) + 1
    moved = truth.reshape(count, -1).astype(np.float64)
    if np.ptp(moved, axis=0).max() < 1e-6:
        return float("nan")
    seen = found.reshape(count, -1).astype(np.float64)[edge : count - 2]
    misfits = []
    for delay in _DELAYS:
        whole = int(np.floor(delay))
        share = delay - whole
        at = np.arange(edge, count - 2) - whole
        off = seen - ((1 - share) * moved[at] + share * moved[at - 1])
        misfits.append(float(((off - off.mean(axis=0)) ** 2).mean()))
    return float(_DELAYS[int(np.argmin(misfits))])


@dataclass
class Run:
    """What a tracker made of a video, frame by frame.

    Attributes
    ----------
    faces : list of dict of int to ndarray (68, 2)
        Landmarks by id, px, a dict a frame.
    before, after : float
        Jitter as found and as given out, % of the face's size.
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
    """How often a face got another id: a new one appears where one of an id now gone was seen within two seconds."""
    last: dict[int, tuple[int, Floats]] = {}
    changes = 0
    for frame, present in enumerate(faces):
        boxes = {who: np.concatenate([p.min(axis=0), p.max(axis=0)]).astype(np.float64) for who, p in present.items()}
        for who, box in boxes.items():
            if who not in last:
                gone = [
                    old for other, (seen, old) in last.items()
                    if other not in present and frame - seen <= _SAME_FACE_FRAMES
                ]  # fmt: skip
                changes += bool(gone and box_iou([box], gone).max() >= _SAME_FACE_IOU)
        last |= {who: (frame, box) for who, box in boxes.items()}
    return changes


def evaluate(setup: Setup, video: str | os.PathLike[str] | None = None, frames: int = 120) -> Result:
    """Jitter on a video, without smoothing and with each of the filters; and on rendered heads whose truth is known.

    Jitter is the mean second difference of the landmarks over frames, % of the face's size (`tddfa.tracking.smoothing.jitter`).

    Parameters
    ----------
    setup : Setup
        `limit` takes the first frames of the video.
    video : path, optional
        The video; ``DIR/video/carphone.mp4`` if none. Its first 600 frames count.
    frames : int
        Length of each rendered scene.

    Raises
    ------
    DataMissing
        If there is no such video.
    ValueError
        If it is none, or if `frames` is too small to measure a lag.
    """
    if frames < 12:
        raise ValueError(f"frames: expected 12 or more, got {frames}")
    path = setup.data / "video" / "carphone.mp4" if video is None else Path(video)
    if not path.is_file():
        raise DataMissing(f"{path}: no such video; expected {LAYOUT}")
    most = min(_MAX_FRAMES, setup.limit or _MAX_FRAMES)
    figures: list[Figure] = []
    items: list[dict[str, object]] = []
    jobs: list[tuple[str, Smooth]] = [(name, smooth) for name in ("", *SCENES) for smooth in _FILTERS]
    played: dict[str, tuple[list[NDArray[np.uint8]], Floats]] = {}
    for scene, smooth in setup.track(jobs, NAME):
        if not scene:
            run = follow(setup.aligner, smooth, _first(path, most))
            figures.append(Figure(f"video.jitter.{smooth}", f"{path.name}: jitter, {_SAID[smooth]}", run.after, "%"))
            if smooth == "none":
                rows = [{"frame": k, "faces": len(p), "ids": sorted(p)} for k, p in enumerate(run.faces)]
                figures += _counts(path.name, run)
                items += rows
            continue
        if scene not in played:
            played.clear()  # the last scene's frames are done with
            played[scene] = _play(scene, frames)
            still = jitter(played[scene][1])
            figures.append(Figure(f"{scene}.jitter.truth", f"rendered, {scene}: jitter of the truth", still, "%"))
        figures += _against_truth(scene, smooth, follow(setup.aligner, smooth, played[scene][0]), played[scene][1])
    return Result(
        benchmark=NAME,
        settings={"video": path.name, "frames": len(items), "rendered frames": frames, "scenes": ", ".join(SCENES)},
        figures=figures,
        items=items,
        notes=[
            "Jitter: mean second difference of the landmarks, % of the face's size; motion has some of its own, see "
            "that of the truth. lookahead waits for later frames, the others do not."
        ],
    )


_SAID = {"none": "no smoothing", "one_euro": "one_euro", "lookahead": "lookahead 1+1+1"}


def _first(path: Path, count: int) -> Iterator[Any]:
    return islice(video.frames(path), count)


def _counts(name: str, run: Run) -> Iterator[Figure]:
    faces = np.array([len(present) for present in run.faces] or [0])
    ids = {who for present in run.faces for who in present}
    yield Figure("video.frames", f"{name}: frames", len(run.faces), "frames")
    yield Figure("video.faces", f"{name}: faces a frame", faces.mean(), "faces")
    yield Figure("video.without", f"{name}: frames without a face", int((faces == 0).sum()), "frames")
    yield Figure("video.ids", f"{name}: ids given", len(ids), "ids")
    yield Figure("video.id_changes", f"{name}: faces that got another id", id_changes(run.faces), "changes")


def _play(scene: str, count: int) -> tuple[list[NDArray[np.uint8]], Floats]:
    pictures, landmarks = [], []
    for picture, (truth,) in synthetic.frames(scene, count, _SCENE_SIZE, _FPS, seed=3):
        assert truth is not None
        pictures.append(picture)
        landmarks.append(truth.landmarks[:, :2])
    return pictures, np.array(landmarks, dtype=np.float64)


def _against_truth(scene: str, smooth: Smooth, run: Run, truth: Floats) -> Iterator[Figure]:
    said = f"rendered, {scene}, {_SAID[smooth]}"
    at = [k for k, present in enumerate(run.faces) if present]
    found = np.array([_nearest(run.faces[k], truth[k]) for k in at], dtype=np.float64).reshape(len(at), 68, 2)
    whole = len(at) == len(truth)
    errors = [metrics.nme_box(points, truth[k]) for k, points in zip(at, found, strict=True)]
    yield Figure(f"{scene}.jitter.{smooth}", f"{said}: jitter", run.after, "%")
    yield Figure(f"{scene}.nme.{smooth}", f"{said}: NME by sqrt(w h)", float(np.mean(errors)) if errors else None, "%")
    # frames without the face would shift what follows
    yield Figure(f"{scene}.lag.{smooth}", f"{said}: lag", lag(found, truth) if whole else None, "frames")
    yield Figure(f"{scene}.missed.{smooth}", f"{said}: frames without a face", len(truth) - len(at), "frames")


def _nearest(present: dict[int, NDArray[np.float32]], truth: Floats) -> NDArray[np.float32]:
    return min(present.values(), key=lambda points: float(np.linalg.norm(points.mean(axis=0) - truth.mean(axis=0))))
