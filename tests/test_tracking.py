"""The whole way on rendered videos whose truth is known: detector, regressor, tracker, smoothing.

``pytest tests/test_tracking.py -s`` prints the figures.
"""

import numpy as np
import pytest

from tddfa import Tracker
from tddfa.synthetic import Head, frames
from tddfa.tracking.smoothing import jitter


@pytest.fixture(scope="module")
def cast(aligner, two_people):
    faces = sorted(aligner(two_people), key=lambda face: face.landmarks[:, 0].mean())
    made_up = Head.procedural(aligner.face_model, seed=4)
    return [*(Head.from_photo(two_people, aligner, face=face) for face in faces), made_up]


def follow(aligner, scene, count, cast, **options):
    """Ids by person and frame (-1 where not found), visibility by person and frame, faces on nobody, tracker."""
    tracker = Tracker(aligner, **options)
    ids, visible, extra, points, truth = [], [], 0, [], []
    for image, truths in frames(scene, count, (360, 640), seed=3, heads=cast):
        faces = list(tracker(image))
        row = []
        for known in truths:
            row.append(-1)
            if known is None:
                continue
            middle, size = known.landmarks[:, :2].mean(axis=0), np.ptp(known.landmarks[:, 0])
            for face in faces:
                if np.linalg.norm(face.landmarks[:, :2].mean(axis=0) - middle) < 0.25 * size:
                    row[-1] = face.track_id
                    faces.remove(face)
                    if len(truths) == 1:
                        points.append(face.landmarks)
                        truth.append(known.landmarks)
                    break
        ids.append(row)
        visible.append([0.0 if known is None else known.visible for known in truths])
        extra += len(faces)
    return np.array(ids), np.array(visible), extra, np.array(points), np.array(truth), tracker


def switches(ids):
    """How often a person goes on under another id."""
    return sum(len(np.unique(column[column >= 0])) - 1 for column in ids.T)


def test_two_who_cross_keep_their_ids_and_no_frame_is_lost(aligner, cast):
    ids, visible, extra, *_, tracker = follow(aligner, "crossing", 300, cast)
    clear = visible > 0.65  # of a face that is half hidden nothing can be asked
    print(
        f"\ncrossing, 300 frames: {switches(ids)} id switches, {np.sum((ids < 0) & clear)} of {clear.sum()} faces lost,"
        f" {extra} on nobody, jitter {tracker.jitter_before.value:.2f} -> {tracker.jitter_after.value:.2f} %"
    )
    assert clear.sum() > 500
    assert switches(ids) == 0
    assert not ((ids < 0) & clear).any()
    assert set(ids[0]) == set(ids[-1]) == {0, 1}
    assert tracker.jitter_after.value < 0.7 * tracker.jitter_before.value
    assert tracker.jitter_after.value < 0.2


def test_who_leaves_and_comes_back_keeps_the_id(aligner, cast):
    ids, visible, *_ = follow(aligner, "leaving", 285, cast, remember=5)
    gone = (visible < 0.05).any(axis=1)
    assert gone.any()
    assert (visible[-1] > 0.9).all()
    assert switches(ids) == 0
    assert not ((ids < 0) & (visible > 0.65)).any()


def test_a_cut_is_followed_at_once(aligner, cast):
    ids, visible, *_ = follow(aligner, "cut", 150, cast)
    assert not ((ids < 0) & (visible > 0.65)).any()


@pytest.mark.parametrize("scene", ["turn", "nod", "talking", "blinking"])
def test_smoothing_steadies_and_does_not_lead_astray(aligner, cast, scene):
    *_, raw, truth, _ = follow(aligner, scene, 90, cast, smooth="none")
    *_, smooth, _, _ = follow(aligner, scene, 90, cast, smooth="one_euro")
    assert len(raw) == len(smooth) == 90, "found in every frame"
    size = np.sqrt(np.ptp(truth[..., :2], axis=1).prod(axis=-1)).mean()
    errors = [100 * np.linalg.norm((a - truth)[..., :2], axis=-1).mean() / size for a in (raw, smooth)]
    print(f"\n{scene}: jitter {jitter(raw):.2f} -> {jitter(smooth):.2f} %, NME {errors[0]:.2f} -> {errors[1]:.2f} %")
    assert jitter(smooth) < 0.7 * jitter(raw)
    # the motion has some of its own, which smoothing need not take
    assert jitter(smooth) - jitter(truth) < 0.55 * (jitter(raw) - jitter(truth))
    assert errors[1] < errors[0] + 0.6


def test_nobody(aligner):
    tracker = Tracker(aligner)
    assert [tracker(image) for image, _ in frames("nobody", 10, (360, 640), heads=[])] == [[]] * 10
