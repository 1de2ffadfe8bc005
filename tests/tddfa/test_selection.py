import numpy as np

from tddfa.passes import Predictions
from tddfa.selection import Aligned, likely, needed_scores, promising
from tddfa.targets import as_targets


def targets(images, scores):
    count = len(scores)
    boxes = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    return as_targets(0, boxes, np.array(scores), np.ones((count, 4)))._replace(image=np.array(images))


def aligned(images, scores, detected=0.9):
    count = len(scores)
    cameras, none = np.zeros((count, 3, 4), np.float32), np.zeros((count, 0), np.float32)
    points = np.zeros((count, 68, 3), np.float32)
    predicted = Predictions(np.ones((count, 4)), np.array(scores), cameras, none, none, cameras, points, points[..., 0])
    return Aligned(targets(images, np.full(count, detected)), predicted)


def test_beside_a_sure_face_unlikely_detections_are_dropped_after_one_pass():
    for images, scores, kept in (
        ([0, 0, 0, 1], [0.95, 0.16, 0.14, 0.14], [0.95, 0.16, 0.14]),
        ([0, 0], [0.16, 0.14], [0.16, 0.14]),
        ([0, 0], [0.95, 0.16], [0.95, 0.16]),
        ([0, 1], [0.14, 0.95], [0.14, 0.95]),
    ):
        result = likely(aligned(images, scores), 0.9, min_score=0.5)
        assert result.predicted.score.tolist() == kept
        assert len(result.targets.score) == len(kept)
    assert len(likely(aligned([0, 0], [0.95, 0.04]), 0.9, min_score=0.0).predicted.score) == 2


def test_a_doubtful_detection_has_to_look_like_a_face_after_one_pass():
    assert len(likely(aligned([0, 0], [0.95, 0.2]), 0.9, min_score=0.5).predicted.score) == 2
    assert len(likely(aligned([0, 0], [0.95, 0.2], detected=0.3), 0.9, min_score=0.5).predicted.score) == 1


def test_beside_a_strong_detection_weak_ones_are_dropped():
    kept = promising(targets([0, 0, 0, 1, 1], [0.8, 0.41, 0.39, 0.7, 0.3]))
    assert kept.score.tolist() == [0.8, 0.41, 0.7, 0.3]
    assert kept.box[:, 0].tolist() == [0, 4, 12, 16]


def test_the_less_sure_a_detection_the_higher_the_score_that_it_needs():
    np.testing.assert_allclose(needed_scores(np.array([0.1, 0.3, 0.45, 0.6, 1]), 0.5, 0.9), [0.9, 0.9, 0.7, 0.5, 0.5])
    assert needed_scores(np.array([0.1, 1]), 0.95, 0.9).tolist() == [0.95, 0.95]
    assert needed_scores(np.array([0.1, 1]), 0.5, None).tolist() == [0.5, 0.5]
    assert needed_scores(np.array([0.1]), 0.0, 0.9).tolist() == [0]
