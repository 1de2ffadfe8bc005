import cv2
import numpy as np
import pytest

from FaceBoxes import Anchors, Detector
from FaceBoxes.anchors import priors
from tddfa import Aligner

# around the 68 landmarks of examples/inputs/grace_hopper.jpg
HOPPER = np.array([173, 164, 353, 338])


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


@pytest.mark.parametrize(
    "value",
    [
        {"score": 1.5},
        {"iou": 0},
        {"max_height": 0},
        {"max_faces": -1},
        {"max_area": 0},
        {"small_area": 0},
        {"min_area": 0},
        {"min_area": 800_000},
        {"tiles": "on"},
    ],
)
def test_bad_limits_are_named(value):
    with pytest.raises(ValueError, match=next(iter(value))):
        Detector(FakeModel(), **value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"score": "a"}, "score: expected a number, got 'a'"),
        ({"iou": None}, "iou: expected a number, got None"),
        ({"max_area": 1.5}, "max_area: expected a whole number, got 1.5"),
        ({"max_faces": 2.0}, "max_faces: expected a whole number, got 2.0"),
        ({"max_candidates": None}, "max_candidates: expected a whole number, got None"),
        ({"max_height": None}, "max_height: expected a whole number, got None"),
        ({"min_area": True}, "min_area: expected a whole number, got True"),
    ],
)
def test_limits_that_are_no_numbers_are_named(value, message):
    with pytest.raises(TypeError, match=message):
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

    with pytest.raises(ValueError, match="model: scores: expected shape"):
        Detector(model)(np.zeros((64, 64, 3), np.uint8))


class Recorder(FakeModel):
    """A fake model that records the shapes of all its inputs."""

    def __init__(self, *hits):
        super().__init__(*hits)
        self.shapes = []

    def __call__(self, batch):
        self.shapes.append(batch.shape[1:3])
        return super().__call__(batch)


def test_one_pass_by_default():
    model = Recorder((64, 64, 128, 0.9), (80, 80, 32, 0.8))
    assert len(Detector(model)(np.zeros((2000, 3000, 3), np.uint8))) == 2, "a part was dropped"
    assert model.shapes == [(720, 1080)]


def test_a_small_pass_and_tiles():
    model = Recorder()
    detector = Detector(model, max_area=777_600, small_area=24_576, tiles="auto")
    assert len(detector(np.zeros((720, 1080, 3), np.uint8))) == 0
    assert model.shapes == [(720, 1080), (128, 192)]
    model.shapes.clear()
    detector(np.zeros((2000, 3000, 3), np.uint8))
    assert model.shapes[:2] == [(720, 1080), (128, 192)]
    assert len(model.shapes) == 2 + 15
    assert all(height * width <= 777_600 for height, width in model.shapes)


@pytest.mark.parametrize("first_score", [0.6, 0.45])
def test_small_faces_are_detected_again_in_a_close_up(first_score):
    anchors, shapes = Anchors(((8, ((16, 1), (40, 1))),)), []

    def model(batch):
        shapes.append(batch.shape[1:3])
        prior = anchors.priors(*batch.shape[1:3])
        # a face in the middle: in the whole view of 16 px, in the close-ups of 40 px
        side, score = (16, first_score) if len(shapes) == 1 else (40, 0.8)
        scores = np.zeros((1, len(prior)), np.float32)
        middle = np.array([*shapes[-1][::-1], 2 * side]) / 2
        scores[0, np.abs(prior - middle).sum(axis=1).argmin()] = score
        return {"scores": scores, "offsets": np.zeros((1, len(prior), 4), np.float32)}

    detector = Detector(model, anchors=anchors, max_area=777_600, min_area=262_144, tiles="auto")
    found = detector(np.zeros((720, 1080, 3), np.uint8))
    assert shapes[0] == (720, 1080) and 2 <= len(shapes) <= 5
    np.testing.assert_allclose(found.scores[0], 0.8)
    assert found.xyxy[0, 2] - found.xyxy[0, 0] == pytest.approx(20)
    shapes.clear()
    single = Detector(model, anchors=anchors, max_area=777_600)
    assert len(single(np.zeros((720, 1080, 3), np.uint8))) == (first_score > 0.5)
    assert shapes == [(720, 1080)]


def test_a_doubtful_small_face_without_a_better_close_up_is_no_face():
    anchors, shapes = Anchors(((8, ((16, 1),)),)), []

    def model(batch):
        shapes.append(batch.shape[1:3])
        count = len(anchors.priors(*batch.shape[1:3]))
        scores = np.zeros((1, count), np.float32)
        scores[0, count // 2] = 0.45
        return {"scores": scores, "offsets": np.zeros((1, count, 4), np.float32)}

    detector = Detector(model, anchors=anchors, max_area=777_600, min_area=262_144, tiles="auto")
    assert len(detector(np.zeros((720, 1080, 3), np.uint8))) == 0
    assert len(shapes) > 1


def test_a_large_face_of_the_small_pass_drops_its_parts():
    class Model(FakeModel):
        def __call__(self, batch):
            # the face in the small view, an eye in the whole view
            self.hits = [(96, 64, 128, 0.7)] if batch.shape[1] < 200 else [(432, 304, 64, 0.9)]
            return super().__call__(batch)

    image = np.zeros((720, 1080, 3), np.uint8)
    (box,) = Detector(Model(), small_area=24_576)(image).xyxy
    assert box[2] - box[0] == pytest.approx(128 * 1080 / 192, rel=0.02)
    (box,) = Detector(Model())(image).xyxy
    assert box[2] - box[0] == 64


class PointModel(FakeModel):
    """A fake model with points: fractions of the side from the centre of its prior box."""

    FACE = np.float32([[-0.2, -0.1], [0.2, -0.1], [0, 0.1], [-0.15, 0.25], [0.15, 0.25]])

    def __call__(self, batch):
        outputs = super().__call__(batch)
        count = outputs["scores"].shape[1]
        return {**outputs, "points": np.tile(self.FACE.reshape(-1) / 0.1, (1, count, 1)).astype(np.float32)}

    @classmethod
    def expected(cls, xyxy):
        centre, size = (xyxy[:, None, :2] + xyxy[:, None, 2:]) / 2, xyxy[:, None, 2:] - xyxy[:, None, :2]
        return centre + cls.FACE * size


class TestPoints:
    """Points keep their place in the box through views, tiles, merging and suppression."""

    def test_one_view(self):
        found = Detector(PointModel((176, 176, 128, 0.9), (400, 400, 128, 0.6)))(np.zeros((500, 600, 3), np.uint8))
        assert found.points.shape == (2, 5, 2)
        np.testing.assert_allclose(found.points, PointModel.expected(found.xyxy), atol=1e-3)
        assert found.points[0, 0, 0] < found.points[0, 1, 0] < found.xyxy[0, 2]

    def test_all_views(self):
        model = PointModel((64, 64, 128, 0.9), (100, 64, 32, 0.8), (400, 300, 64, 0.7))
        detector = Detector(model, max_area=777_600, small_area=24_576, tiles="auto", max_candidates=20)
        found = detector(np.zeros((2000, 3000, 3), np.uint8))
        sides = found.xyxy[:, 2] - found.xyxy[:, 0]
        assert sides.max() > 1500 and sides.min() < 40, "one of the views gave nothing"
        np.testing.assert_allclose(found.points, PointModel.expected(found.xyxy), rtol=1e-4, atol=1e-2)

    def test_without_points(self):
        assert Detector(FakeModel((176, 176, 128, 0.9)))(np.zeros((500, 600, 3), np.uint8)).points is None

    def test_no_face(self):
        assert Detector(PointModel())(np.zeros((50, 60, 3), np.uint8)).points.shape == (0, 5, 2)

    def test_points_of_a_wrong_shape_are_refused(self):
        def model(batch):
            return {**FakeModel()(batch), "points": np.zeros((1, 3, 10), np.float32)}

        with pytest.raises(ValueError, match=r"model: points: expected shape \(1, \d+, 10\)"):
            Detector(model)(np.zeros((64, 64, 3), np.uint8))


class TestLayout:
    """The network's metadata tell its prior boxes."""

    class Model:
        metadata = {"anchors": "[[16,[[24,1]]]]"}

        def __call__(self, batch):
            count = len(Anchors(((16, ((24, 1),)),)).priors(*batch.shape[1:3]))
            scores = np.zeros((1, count), np.float32)
            scores[0, 5] = 0.9
            return {"scores": scores, "offsets": np.zeros((1, count, 4), np.float32)}

    def test_the_model_tells_it(self):
        found = Detector(self.Model())(np.zeros((64, 64, 3), np.uint8))
        np.testing.assert_allclose(found.xyxy, [[12, 12, 36, 36]])  # cell (1, 1): centre (24, 24)

    def test_an_argument_wins(self):
        with pytest.raises(ValueError, match="model: scores: expected shape"):
            Detector(self.Model(), anchors=Anchors())(np.zeros((64, 64, 3), np.uint8))

    def test_the_shipped_file_has_a_layout_of_its_own(self, aligner):
        assert [stride for stride, _ in aligner.detector.find.layout.maps] == [8, 16, 32, 64]


class TestRealPhotos:
    """With the shipped weights, at the score above which a box counts as a face; the default config keeps more."""

    @pytest.fixture
    def detector(self, aligner):
        return aligner.detector.with_options(score=0.5)

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

    def test_a_face_at_the_border_is_detected_and_its_box_may_extend_beyond_the_image(self, detector, astronaut):
        found = detector(np.ascontiguousarray(astronaut[95:400, 100:400]))
        assert len(found) == 1
        assert abs((found.xyxy[0, 0] + found.xyxy[0, 2]) / 2 - 123) < 15

    @pytest.mark.parametrize("size", [(1, 1), (1, 50), (20, 20000), (20000, 20), (31, 33)])
    def test_odd_sizes(self, aligner, size):
        assert len(aligner.detector(np.zeros((*size, 3), np.uint8))) == 0

    def test_strided_and_read_only_images(self, aligner, astronaut):
        expected = aligner.detector(np.ascontiguousarray(astronaut[:, ::-1]))
        mirrored = aligner.detector(astronaut[:, ::-1])
        np.testing.assert_array_equal(mirrored.xyxy, expected.xyxy)


class TestScales:
    """With the shipped weights: each kind of image that one pass at one resolution fails on."""

    @pytest.fixture
    def hopper(self, root):
        return cv2.imread(str(root / "examples/inputs/grace_hopper.jpg")), HOPPER

    @staticmethod
    def closeup(image, box, frame, size):
        """Crop a square around a box, `frame` times as large, and scale it; return it with the box in it."""
        side = frame * max(box[2] - box[0], box[3] - box[1])
        left, top = ((box[:2] + box[2:] - side) / 2).round().astype(int)
        left, top = max(left, 0), max(top, 0)
        crop = image[top : top + round(side), left : left + round(side)]
        scale = size / max(crop.shape[:2])
        return cv2.resize(crop, None, fx=scale, fy=scale), (box - [left, top] * 2) * scale

    @pytest.mark.parametrize("size", [300, 500, 720, 1080, 2000])
    @pytest.mark.parametrize("frame", [1.1, 1.3, 1.6])
    def test_closeups(self, aligner, hopper, frame, size):
        image, box = self.closeup(*hopper, frame, size)
        best = aligner(image)[0]
        assert iou(best.box, box) > 0.5

    @pytest.mark.parametrize(
        ("size", "face"), [((9000, 600), 60), ((600, 9000), 60), ((4000, 6000), 60), ((9000, 600), 200)]
    )
    def test_long_and_large_images(self, aligner, hopper, size, face):
        patch, box = self.closeup(*hopper, 1.8, 1.8 * face)
        image = np.full((*size, 3), 120, np.uint8)
        height, width = patch.shape[:2]
        for left, top in ((size[1] // 3, size[0] // 3), (size[1] - width, size[0] - height)):
            image[:] = 120
            image[top : top + height, left : left + width] = patch
            found = aligner(image)
            assert len(found) == 1
            assert iou(found[0].box, box + [left, top] * 2) > 0.4

    def test_a_face_at_every_place_of_a_tiled_image_is_detected_once(self, aligner, hopper):
        patch, box = self.closeup(*hopper, 1.8, 180)
        height, width = patch.shape[:2]
        for offset in range(0, 200, 25):
            image = np.full((1800, 2600, 3), 120, np.uint8)
            image[800 + offset : 800 + offset + height, 800 + offset : 800 + offset + width] = patch
            (face,) = aligner(image)
            assert iou(face.box, box + 800 + offset) > 0.4

    def test_tiles_off(self, hopper):
        image, _ = self.closeup(*hopper, 1.8, 36)
        large = np.full((6000, 4000, 3), 120, np.uint8)
        large[3000 : 3000 + image.shape[0], 2000 : 2000 + image.shape[1]] = image
        assert len(Aligner.load("open_mb05", device="cpu", tiles="off", rotations="off")(large)) == 0
        assert len(Aligner.load("open_mb05", device="cpu", rotations="off")(large)) == 1


def test_poses_may_be_means_over_the_boxes_of_a_face():
    anchors = Anchors(((32, ((64, 1),)),))

    def two_of_one_face(batch):
        n = len(anchors.priors(*batch.shape[1:3]))
        offsets = np.zeros((1, n, 4), np.float32)
        offsets[0, 1, 0] = -32 / (0.1 * 64)  # the second box is moved onto the first
        rotations = np.tile(np.float32([1, 0, 0, 0, 1, 0]), (1, n, 1))
        rotations[0, 1] = [0, 1, 0, -1, 0, 0]
        scores = np.where(np.arange(n) < 2, 0.9, 0).astype(np.float32)[None]
        return {"scores": scores, "offsets": offsets, "rotations": rotations}

    image = np.zeros((96, 96, 3), np.uint8)
    (one,) = Detector(two_of_one_face, anchors=anchors)(image).rotations
    (mean,) = Detector(two_of_one_face, anchors=anchors, mean_poses=True)(image).rotations
    np.testing.assert_allclose(one, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(mean[:, 0], [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
