"""Detector, regressor, tracker and smoothing together, on rendered videos with ground truth.

``pytest tests/test_tracking.py -s`` prints the figures.
"""

import numpy as np
import pytest

from tddfa import Tracker
from tddfa.synthetic import Head, frames
from tddfa.tracking.jitter import jitter


@pytest.fixture(scope="module")
def cast(aligner, two_people):
    faces = sorted(aligner(two_people), key=lambda face: face.landmarks[:, 0].mean())
    made_up = Head.procedural(aligner.face_model, seed=4)
    return [*(Head.from_photo(two_people, aligner, face=face) for face in faces), made_up]


def played(scene, count, cast):
    return frames(scene, count, (360, 640), seed=3, heads=cast)


def follow(aligner, scene, **options):
    """Ids (frames, people), -1 where not detected; visibility (frames, people); number of false faces; tracks; tracker.

    The tracks of a single person are the landmarks, predicted and ground truth: two arrays (frames, 68, 3).
    """
    tracker = Tracker(aligner, **options)
    ids, visible, false, predicted, target = [], [], 0, [], []
    for image, heads in scene:
        faces = list(tracker(image))
        row = []
        for head in heads:
            row.append(-1)
            if head is None:
                continue
            position, size = head.landmarks[:, :2].mean(axis=0), np.ptp(head.landmarks[:, 0])
            for face in faces:
                if np.linalg.norm(face.landmarks[:, :2].mean(axis=0) - position) < 0.25 * size:
                    row[-1] = face.track_id
                    faces.remove(face)
                    if len(heads) == 1:
                        predicted.append(face.landmarks)
                        target.append(head.landmarks)
                    break
        ids.append(row)
        visible.append([0.0 if head is None else head.visible for head in heads])
        false += len(faces)
    return np.array(ids), np.array(visible), false, np.array(predicted), np.array(target), tracker


def switches(ids):
    """Number of times that a person gets another id."""
    return sum(len(np.unique(column[column >= 0])) - 1 for column in ids.T)


@pytest.mark.slow
def test_two_crossing_faces_keep_their_ids_and_no_frame_is_lost(aligner, cast):
    ids, visible, false, *_, tracker = follow(aligner, played("crossing", 300, cast))
    clear = visible > 0.65  # a face that is half hidden may be lost
    print(
        f"\ncrossing, 300 frames: {switches(ids)} id switches, {np.sum((ids < 0) & clear)} of {clear.sum()} faces lost,"
        f" {false} false faces, jitter {tracker.jitter_before.value:.2f} -> {tracker.jitter_after.value:.2f} %"
    )
    assert clear.sum() > 500
    assert switches(ids) == 0
    assert not ((ids < 0) & clear).any()
    assert set(ids[0]) == set(ids[-1]) == {0, 1}
    assert tracker.jitter_after.value < 0.7 * tracker.jitter_before.value
    assert tracker.jitter_after.value < 0.24


@pytest.mark.slow
def test_a_face_that_leaves_and_returns_keeps_its_id(aligner, cast):
    ids, visible, *_ = follow(aligner, played("leaving", 285, cast), remember=5)
    gone = (visible < 0.05).any(axis=1)
    assert gone.any()
    assert (visible[-1] > 0.9).all()
    assert switches(ids) == 0
    assert not ((ids < 0) & (visible > 0.65)).any()


def test_new_tracks_start_at_a_cut(aligner, cast):
    ids, visible, *_ = follow(aligner, played("cut", 150, cast))
    assert not ((ids < 0) & (visible > 0.65)).any()


@pytest.mark.parametrize(
    "scene", ["turn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nod", "talking", "blinking"))]
)
def test_smoothing_reduces_jitter_and_keeps_the_error(aligner, cast, scene):
    shown = list(played(scene, 90, cast))
    *_, raw, target, _ = follow(aligner, shown, smooth="none")
    *_, smooth, _, _ = follow(aligner, shown, smooth="one_euro")
    assert len(raw) == len(smooth) == 90, "detected in every frame"
    size = np.sqrt(np.ptp(target[..., :2], axis=1).prod(axis=-1)).mean()
    errors = [100 * np.linalg.norm((a - target)[..., :2], axis=-1).mean() / size for a in (raw, smooth)]
    print(f"\n{scene}: jitter {jitter(raw):.2f} -> {jitter(smooth):.2f} %, NME {errors[0]:.2f} -> {errors[1]:.2f} %")
    assert jitter(smooth) < 0.7 * jitter(raw)
    # the true motion has a second difference too, which smoothing need not reduce
    assert jitter(smooth) - jitter(target) < 0.55 * (jitter(raw) - jitter(target))
    assert errors[1] < errors[0] + 0.6


def test_no_face(aligner):
    tracker = Tracker(aligner)
    assert [tracker(image) for image, _ in frames("empty", 10, (360, 640), heads=[])] == [[]] * 10
