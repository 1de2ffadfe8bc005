from dataclasses import replace

import cv2
import numpy as np
import pytest

from FaceBoxes import Detections, Detector
from FaceBoxes.anchors import priors


def iou(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    overlap = np.clip(high - low, 0, None).prod()
    return overlap / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap)


class FakeModel:
    """Scores the priors nearest to given points as faces, and records its input."""

    def __init__(self, *hits):
        self.hits, self.seen = hits, None

    def __call__(self, batch):
        self.seen = batch
        prior = priors(*batch.shape[1:3])
        scores = np.zeros((1, len(prior)), np.float32)
        for x, y, side, score in self.hits:
            distance = np.abs(prior - np.array([x, y, side], np.float32)).sum(axis=1)
            scores[0, distance.argmin()] = score
        return {"scores": scores, "offsets": np.zeros((1, len(prior), 4), np.float32)}


def test_boxes_of_a_fake_model():
    found = Detector(FakeModel((176, 176, 128, 0.9), (400, 400, 128, 0.6), (560, 300, 32, 0.4)))(
        np.zeros((500, 600, 3), np.uint8)
    )
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert iou(found.xyxy[0], np.array([112, 112, 240, 240])) > 0.5
    assert len(found) == 2


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((524, 1080), (524, 1080)),
        ((1901, 3913), (524, 1080)),
        ((1440, 100), (720, 50)),
        ((100, 2160), (50, 1080)),
    ],
)
def test_large_images_are_shrunk_and_small_ones_are_not_enlarged(size, shown):
    model = FakeModel((40, 40, 32, 0.9))
    found = Detector(model)(np.zeros((*size, 3), np.uint8))
    assert model.seen.shape == (1, *shown, 3)
    scale = min(1, 720 / size[0], 1080 / size[1])
    side = found.xyxy[0, 2] - found.xyxy[0, 0]
    assert side == pytest.approx(32 / scale, rel=1e-5)


def test_limits_and_thresholds_are_arguments():
    hits = [(64 + 128 * i, 64, 128, 0.9 - 0.1 * i) for i in range(5)]
    image = np.zeros((128, 700, 3), np.uint8)
    assert len(Detector(FakeModel(*hits))(image)) == 4
    assert len(Detector(FakeModel(*hits), score=0.65)(image)) == 3
    np.testing.assert_allclose(Detector(FakeModel(*hits), max_faces=2)(image).scores, [0.9, 0.8])
    np.testing.assert_allclose(Detector(FakeModel(*hits), max_candidates=1)(image).scores, [0.9])
    model = FakeModel(*hits)
    Detector(model, max_width=350)(image)
    assert model.seen.shape == (1, 64, 350, 3)


@pytest.mark.parametrize("value", [{"score": 1.5}, {"iou": 0}, {"max_height": 0}, {"max_faces": -1}])
def test_bad_limits_are_named(value):
    with pytest.raises(ValueError, match=next(iter(value))):
        Detector(FakeModel(), **value)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (None, TypeError),
        (np.zeros((10, 10, 3)), TypeError),
        (np.zeros((10, 10), np.uint8), ValueError),
        (np.zeros((10, 10, 4), np.uint8), ValueError),
        (np.zeros((0, 10, 3), np.uint8), ValueError),
    ],
)
def test_bad_images_are_named(image, error):
    with pytest.raises(error, match="image: expected"):
        Detector(FakeModel())(image)


def test_a_model_for_other_priors_is_refused():
    def model(batch):
        return {"scores": np.zeros((1, 5), np.float32), "offsets": np.zeros((1, 5, 4), np.float32)}

    with pytest.raises(ValueError, match="model: expected scores"):
        Detector(model)(np.zeros((64, 64, 3), np.uint8))


def test_shapes_of_detections_are_checked():
    with pytest.raises(ValueError, match="xyxy"):
        Detections(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ValueError, match="scores"):
        Detections(np.zeros((2, 4)), np.zeros(3))


class TestRealPhotos:
    """With the shipped weights, at the score above which a box counts as a face; the default config keeps more."""

    @pytest.fixture
    def detector(self, aligner):
        return replace(aligner.detector, score=0.5)

    def test_no_face(self, aligner, rng):
        assert len(aligner.detector(np.full((300, 400, 3), 127, np.uint8))) == 0
        assert len(aligner.detector(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8))) == 0

    def test_one_face(self, detector, astronaut):
        found = detector(astronaut)
        assert len(found) == 1
        assert iou(found.xyxy[0], np.array([173, 70, 273, 192])) > 0.6

    def test_two_faces(self, detector, two_people):
        assert len(detector(two_people)) == 2

    def test_many_faces(self, aligner, astronaut):
        face = cv2.resize(astronaut[30:240, 120:330], (140, 140))
        crowd = np.tile(face, (4, 6, 1))
        found = aligner.detector(crowd)
        assert len(found) == 24
        centers = (found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2
        assert len({(int(x // 140), int(y // 140)) for x, y in centers}) == 24

    def test_a_face_at_the_border_is_detected_and_its_box_may_extend_beyond_the_image(self, aligner, astronaut):
        found = aligner.detector(np.ascontiguousarray(astronaut[95:400, 100:400]))
        assert len(found) == 1
        assert abs((found.xyxy[0, 0] + found.xyxy[0, 2]) / 2 - 123) < 15

    @pytest.mark.parametrize("size", [(1, 1), (1, 50), (20, 20000), (20000, 20), (31, 33)])
    def test_odd_sizes(self, aligner, size):
        assert len(aligner.detector(np.zeros((*size, 3), np.uint8))) == 0

    def test_strided_and_read_only_images(self, aligner, astronaut):
        expected = aligner.detector(np.ascontiguousarray(astronaut[:, ::-1]))
        mirrored = aligner.detector(astronaut[:, ::-1])
        np.testing.assert_array_equal(mirrored.xyxy, expected.xyxy)
