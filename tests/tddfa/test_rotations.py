from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from builders import make_face_model
from FaceBoxes import Detections
from tddfa import Aligner, CropRule, Decoder, Detector, Roi, Tracker
from tddfa.passes import Predictions, joined, rows
from tddfa.rotations import merged, realigned, rotated_targets, turn_of_photo, unseen
from tddfa.selection import Aligned, together
from tddfa.targets import as_targets

RULE = CropRule(size=120, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.25)


def rotated(image, roll):
    """An image rotated about its centre, clockwise, and the matrix that does it."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -roll, 1)
    turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return turned, matrix


def white_box(image):
    """Detects the white pixels of an image; there may be none."""
    y, x = np.nonzero(image[..., 0])
    boxes = [[x.min(), y.min(), x.max(), y.max()]] if len(x) else []
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), [0.9] * len(boxes))


class TestRotatedTargets:
    def test_boxes_are_in_px_of_the_image_as_it_is(self):
        image = np.zeros((80, 120, 3), np.uint8)
        image[10:21, 70:101] = 255
        found = joined(list(rotated_targets(white_box, image, 3, RULE)))
        assert found.roi[:, 3].tolist() == [90, 180, -90]
        assert found.image.tolist() == [3, 3, 3]
        np.testing.assert_array_equal(found.box, [[70, 10, 100, 20]] * 3)
        np.testing.assert_allclose(found.roi[:, 2], 1.2 * 20)

    def test_each_angle_is_the_roll_of_a_face_that_the_detector_saw_upright(self):
        # the chin, the end of the face with the white px, is below its centre in the image that the detector takes
        seen = []

        def detector(image):
            y, x = np.nonzero(image[..., 0])
            seen.append((x.mean() - (image.shape[1] - 1) / 2, y.mean() - (image.shape[0] - 1) / 2))
            return Detections([[0, 0, image.shape[1] - 1, image.shape[0] - 1]], [0.9])

        for k, chin in enumerate((np.s_[40:60, :20], np.s_[:20, 40:60], np.s_[40:60, 80:])):
            seen.clear()
            image = np.zeros((100, 100, 3), np.uint8)
            image[chin] = 255
            target = list(rotated_targets(detector, image, 0, RULE))[k]
            assert seen[k][1] > 35
            shift = target.roi[0, :2] + target.roi[0, 2] / 2 - 49.5  # towards the chin
            y, x = np.nonzero(image[..., 0])
            np.testing.assert_allclose(shift / 9.9, np.sign(np.round((x.mean() - 49.5, y.mean() - 49.5))), atol=1e-3)


class TestTurnOfPhoto:
    @pytest.mark.parametrize(
        ("angles", "turns"),
        [
            ((170, -170), (180,)),
            ((50, 130), (90,)),
            ((-80,), (-90,)),
            ((40, -40), ()),
            ((0, 180), ()),
            ((90, -90), ()),
            ((), ()),
        ],
    )
    def test_it_is_nearest_to_the_rolls_of_all_sure_faces(self, angles, turns):
        sure = [found(100 * k, 0, 10, 0.95, angle) for k, angle in enumerate(angles)]
        assert turn_of_photo(together([found(0, 0, 10, 0.8, 0), *sure]), 0.9) == turns

    @pytest.mark.parametrize("seen", [0, 1])
    def test_in_a_photo_upside_down_the_detector_misses_one_of_two_faces(self, aligner, two_people, seen):
        expected = aligner(two_people)
        assert len(expected) == 2
        calls = []

        def detector(image):
            calls.append(1)
            every = aligner.detector(two_people)
            if np.array_equal(image, two_people):
                return every
            x1, y1, x2, y2 = expected[seen].box
            height, width = image.shape[:2]
            return Detections([[width - 1 - x2, height - 1 - y2, width - 1 - x1, height - 1 - y1]], [0.9])

        made = Aligner(
            aligner.regressor, aligner.decoder, detector=detector, min_score=0.5, refine=1, flip=True,
            rotations="auto", sure_score=0.9,
        )  # fmt: skip
        faces = made(np.ascontiguousarray(two_people[::-1, ::-1]))
        assert len(faces) == len(calls) == 2
        corner = (two_people.shape[1] - 1, two_people.shape[0] - 1)
        for face in faces:
            errors = [np.abs(corner - face.landmarks[:, :2] - each.landmarks[:, :2]).mean() for each in expected]
            assert min(errors) < 3
        assert len(made(two_people)) == 2
        assert len(calls) == 3


def test_boxes_at_a_face_that_is_aligned_are_left_out():
    boxes = np.array([[72, 68, 128, 130], [100, 100, 130, 130], [270, 70, 330, 130]], np.float32)
    targets = as_targets(0, boxes, np.full(3, 0.9), np.zeros((3, 4)))
    faces = together([found(100, 100, 60, 0.95, box=[0, 0, 9, 9]), found(500, 100, 60, 0.95)])
    np.testing.assert_array_equal(unseen(targets, faces).box, boxes[1:])


class TestAnyRoll:
    @pytest.mark.parametrize("roll", [90, 135, 180, -90, -140])
    def test_a_rolled_photo_gives_the_points_of_the_upright_one(self, aligner, astronaut, roll):
        (upright,) = aligner(astronaut)
        image, matrix = rotated(astronaut, roll)
        (face,) = aligner(image)
        expected = upright.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        assert np.linalg.norm(face.landmarks[:, :2] - expected, axis=1).mean() < 2.5  # px; the face is 92 px wide
        turned = (face.camera.euler_degrees().roll - upright.camera.euler_degrees().roll - roll + 180) % 360 - 180
        assert abs(turned) < 5
        centre, size = expected.mean(axis=0), np.ptp(expected, axis=0)
        assert (face.box[:2] < centre - size / 4).all()
        assert (face.box[2:] > centre + size / 4).all()

    def test_without_points_and_rotations_an_upside_down_face_is_wrong_or_missing(self, aligner, astronaut):
        def boxes(image):
            return replace(aligner.detector(image), points=None)

        plain = Aligner.load("open_mb05", device="cpu", rotations="off", detector=boxes)
        (face,), others = aligner(astronaut[::-1, ::-1]), plain(astronaut[::-1, ::-1])
        assert all(np.abs(other.landmarks - face.landmarks).mean() > 20 for other in others)

    def test_a_given_box_of_an_upside_down_face_gives_its_points(self, aligner, astronaut):
        (upright,) = aligner(astronaut)
        x1, y1, x2, y2 = upright.box
        box = [511 - x2, 511 - y2, 511 - x1, 511 - y1]
        (face,) = aligner(np.ascontiguousarray(astronaut[::-1, ::-1]), boxes=[box])
        np.testing.assert_allclose(511 - face.landmarks[:, :2], upright.landmarks[:, :2], atol=4)
        np.testing.assert_allclose(face.box, box, rtol=1e-6)

    @pytest.mark.parametrize(("shift", "scale"), [(0.9, 2.2), (-1.0, 2.2), (-0.7, 3.0)])
    def test_a_face_far_from_its_box_comes_nearer_from_pass_to_pass(self, aligner, astronaut, shift, scale):
        (face,) = aligner(astronaut)
        low, high = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
        centre, size = (low + high) / 2, high - low
        centre[0] += shift * size[0]
        box = [*(centre - scale * size / 2), *(centre + scale * size / 2)]
        (plain,) = Aligner.load("open_mb05", device="cpu", rotations="off")(astronaut, boxes=[box])
        (settled,) = aligner(astronaut, boxes=[box])
        error, rest = (np.abs(each.landmarks - face.landmarks)[:, :2].mean() / size[0] for each in (plain, settled))
        assert error > 0.05 and rest < 0.02
        assert plain.score < aligner.sure_score <= settled.score

    def counting(self, aligner, rotations):
        calls = {"detector": 0, "crops": 0}

        def detector(image):
            calls["detector"] += 1
            found = aligner.detector(image)
            return found[found.scores > 0.5]

        def regressor(crops):
            calls["crops"] += len(crops)
            return aligner.regressor(crops)

        made = Aligner(
            regressor, aligner.decoder, detector=detector, min_score=aligner.min_score, refine=1, flip=True,
            rotations=rotations, sure_score=aligner.sure_score,
        )  # fmt: skip
        return made, calls

    @pytest.mark.parametrize(("rotations", "face", "no_face"), [("auto", 1, 4), ("all", 4, 4), ("off", 1, 1)])
    def test_an_upright_face_costs_nothing_more(self, aligner, astronaut, rotations, face, no_face):
        made, calls = self.counting(aligner, rotations)
        image = np.ascontiguousarray(astronaut[:250, 100:400])
        assert len(made(image)) == 1
        assert calls["detector"] == face
        if rotations == "auto":
            assert calls["crops"] == 2
        calls["detector"] = 0
        assert made(np.full((90, 120, 3), 99, np.uint8)) == []
        assert calls["detector"] == no_face

    @pytest.mark.parametrize(("score", "count"), [(0.94, 0), (0.96, 1)])
    def test_a_face_found_in_a_rotated_image_must_be_surer(self, aligner, score, count):
        def regressor(crops):
            return {**aligner.regressor(crops), "score": np.full(len(crops), score, np.float32)}

        def detector(image):  # sees faces in high images only
            box = [[20, 20, 60, 60]] if image.shape[0] > image.shape[1] else np.zeros((0, 4))
            return Detections(box, [0.9] * len(box))

        made = Aligner(
            regressor, aligner.decoder, detector=detector, min_score=0.5, rotations="auto", sure_score=0.9
        )  # fmt: skip
        assert len(made(np.full((90, 120, 3), 99, np.uint8))) == 2 * count
        assert len(made(np.full((120, 90, 3), 99, np.uint8))) == 1

    def test_a_face_is_reported_once(self, aligner, astronaut):
        every = Aligner.load("open_mb05", device="cpu", rotations="all")
        for image in (astronaut, np.ascontiguousarray(astronaut[::-1, ::-1])):
            (face,), (other,) = aligner(image), every(image)
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=4)

    def test_a_detector_without_a_face_score(self, aligner, astronaut):
        """Without a face score the detector decides: images are rotated, crops are not."""

        def regressor(crops):
            return {name: value for name, value in aligner.regressor(crops).items() if name != "score"}

        def detector(image):  # sees the upright astronaut only
            found = aligner.detector(image)
            return replace(found[(found.scores > 0.6) & (found.xyxy[:, 1] < 100)], points=None)

        made = Aligner(regressor, aligner.decoder, detector=detector, refine=1, flip=True, rotations="auto")
        (face,) = made(np.ascontiguousarray(np.rot90(astronaut)))
        (upright,) = aligner(astronaut)
        expected = np.column_stack([upright.landmarks[:, 1], 511 - upright.landmarks[:, 0]])
        assert np.linalg.norm(face.landmarks[:, :2] - expected, axis=1).mean() < 2.5
        assert 0.6 < face.score < 1

    @pytest.mark.parametrize(("name", "value"), [("rotations", "yes"), ("sure_score", 1.5)])
    def test_bad_values_are_named(self, name, value):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            Aligner(lambda crops: {}, Decoder(make_face_model(), RULE), **{name: value})

    def test_a_rounding_crop_rule_rotates_no_crop(self, aligner, astronaut):
        """Those of 3DDFA_V2: the results stay as they are."""
        rounded = Decoder(aligner.face_model, replace(aligner.crop, rounded=True))
        image, _ = rotated(astronaut, 40)
        made = Aligner(aligner.regressor, rounded, detector=aligner.detector, min_score=0.9, refine=1, flip=True)
        assert {face.roi.angle for face in made(image)} == {0.0}


@dataclass(frozen=True)
class WeakDetector:
    """Finds the left half of a face, but not with a score of 0.25."""

    box: tuple[float, ...]
    score: float = 0.25

    def __call__(self, image):
        return Detections([self.box], [0.1])[[0] if self.score <= 0.1 else []]


class TestWeakBoxes:
    def load(self, aligner, detector):
        return Aligner(
            aligner.regressor, aligner.decoder, detector=detector, min_score=aligner.min_score, refine=1, flip=True,
            rotations="auto", sure_score=aligner.sure_score,
        )  # fmt: skip

    def test_a_face_is_found_at_a_box_that_is_too_weak_for_a_detection(self, aligner, astronaut):
        (expected,) = aligner(astronaut)
        x1, y1, x2, y2 = expected.box
        detector = WeakDetector((x1, y1, (x1 + x2) / 2, y2 - 0.2 * (y2 - y1)))
        assert len(detector(astronaut)) == 0
        black = np.zeros((60, 90, 3), np.uint8)
        none, (face,), nothing = self.load(aligner, detector).batch([black, astronaut, black])
        assert none == nothing == []
        np.testing.assert_allclose(face.landmarks[:, :2], expected.landmarks[:, :2], atol=4)
        assert face.score >= 1 - 0.3 * (1 - aligner.sure_score)
        # that box shows half of the face
        np.testing.assert_allclose(face.box[:2], face.landmarks[:, :2].min(axis=0), atol=1e-3)
        assert self.load(aligner, lambda image: detector(image))(astronaut) == []

    def test_they_are_not_looked_for_where_a_face_is_found(self, aligner, astronaut):
        scores = []

        @dataclass(frozen=True)
        class Counting:
            score: float = 0.25

            def __call__(self, image):
                scores.append(self.score)
                return aligner.detector(image)

        made = self.load(aligner, Counting())
        assert len(made(astronaut)) == 1 and scores == [0.25]
        scores.clear()
        assert made(np.zeros((60, 90, 3), np.uint8)) == [] and scores == [0.25, 0.05, 0.25, 0.25, 0.25]

    def test_a_lowered_detector_has_no_tiles(self, aligner):
        lowered = aligner.detector.lowered
        assert (lowered.score, lowered.tiles, aligner.detector.tiles) == (0.05, "off", "auto")
        assert Detector(lambda image: Detections(np.zeros((0, 4)), [])).lowered is None
        assert aligner.detector.with_options(score=0.7).lowered is None


def found(x, y, size, score, angle=0.0, box=None, detected=0.5, image=0):
    """A face with its landmarks in a square of `size` px, as it was detected and aligned."""
    points = np.zeros((1, 68, 3), np.float32)
    points[0, :4, :2] = [[x - size / 2, y - size / 2], [x + size / 2, y + size / 2], [x, y], [x, y]]
    points[0, 4:, :2] = (x, y)
    box = points[0, :2, :2].reshape(1, 4) if box is None else np.array([box], np.float32)
    roi, upright = Roi.around(x, y, 1.25 * size, angle).row, Roi.around(x, y, 1.25 * size).row
    camera, none = np.eye(3, 4, dtype=np.float32)[None], np.zeros((1, 0), np.float32)
    predicted = Predictions(roi, np.array([score]), camera, none, none, camera, points, np.full((1, 68), np.nan))
    return Aligned(as_targets(image, box, np.array([detected]), upright), predicted)


class TestMerged:
    def scores(self, *faces):
        return merged(together(faces)).predicted.score.tolist()

    def test_of_two_faces_at_one_place_the_higher_score_is_kept(self):
        assert self.scores(found(100, 100, 60, 0.95), found(110, 95, 50, 0.999, 180)) == [0.999]
        assert self.scores(found(100, 100, 60, 0.9999), found(110, 95, 50, 0.999, 180)) == [0.9999]

    def test_neighbours_are_kept_in_the_order_of_the_detector(self):
        faces = found(100, 100, 60, 0.95, detected=0.4), found(140, 100, 60, 0.999, 90, detected=0.8)
        assert self.scores(*faces) == [0.999, 0.95]

    def test_upright_faces_stay_as_they_are(self):
        faces = [found(100, 100, 60, 0.95), found(115, 100, 60, 0.99)]
        both = together(faces)
        assert merged(both) is both
        with_third = [*faces, found(300, 100, 60, 0.999, 90)]
        assert self.scores(*with_third) == [0.95, 0.99, 0.999]

    def test_two_boxes_that_led_to_one_face_are_one(self):
        """The box of hair, and that of the face: the likelier box stays."""
        hair, face = found(101, 100, 60, 0.993, detected=0.5), found(100, 100, 60, 0.991, detected=0.9)
        assert self.scores(hair, face) == [0.991]
        assert self.scores(hair, found(100, 100, 60, 0.8, detected=0.9)) == [0.993]

    @pytest.mark.parametrize("angle", [0, 90])
    def test_a_poor_box_is_replaced(self, angle):
        part, around, good = [100, 100, 130, 130], [70, 70, 130, 130], [75, 70, 130, 130]
        face = found(100, 100, 60, 0.999, angle, box=part)
        np.testing.assert_array_equal(merged(face).targets.box, [around])
        both = together([face, found(300, 100, 60, 0.999)])
        np.testing.assert_array_equal(merged(both).targets.box, [around, [270, 70, 330, 130]])
        np.testing.assert_array_equal(merged(found(100, 100, 60, 0.999, angle, box=good)).targets.box, [good])

    def test_boxes_without_an_area_and_huge_ones(self):
        point, huge = [100, 100, 100, 100], [-3e38, -3e38, 3e38, 3e38]
        face = found(100, 100, 60, 0.999, box=huge)
        np.testing.assert_array_equal(merged(face).targets.box, [[70, 70, 130, 130]])
        flat = face.predicted._replace(landmarks=np.full((1, 68, 3), 100, np.float32))
        np.testing.assert_array_equal(merged(face._replace(predicted=flat)).targets.box, [point])
        at_point = found(100, 100, 60, 0.999, box=point)
        np.testing.assert_array_equal(merged(at_point._replace(predicted=flat)).targets.box, [point])


class CountingPasses:
    rule = RULE

    def __init__(self, scores=()):
        self.tried, self.scores = 0, scores

    def first(self, images, targets):
        self.tried += len(targets.roi)
        low = together([found(0, 0, 10, 0.1) for _ in targets.roi]).predicted
        return low._replace(score=np.array(self.scores or low.score.tolist()))

    def further(self, images, targets, first):
        return first

    def settled(self, images, targets, before, score):
        return before


@pytest.mark.parametrize(("rotations", "crops"), [("auto", 3), ("off", 3), ("all", None)])
def test_an_unlikely_detection_costs_one_crop(aligner, astronaut, rotations, crops):
    """The detector gives the face and a part of the background."""
    face, background = aligner(astronaut)[0].box, [400, 300, 500, 400]
    count = [0]

    def regressor(images):
        count[0] += len(images)
        return aligner.regressor(images)

    made = Aligner(
        regressor,
        aligner.decoder,
        detector=lambda image: Detections(np.array([face, background], np.float32), [0.9, 0.6]),
        min_score=0.5,
        refine=1,
        flip=True,
        rotations=rotations,
        sure_score=0.9,
    )
    (found_face,) = made(astronaut)
    np.testing.assert_allclose(found_face.landmarks, aligner(astronaut, boxes=[face])[0].landmarks, atol=1e-3)
    if crops is None:
        assert count[0] > 4
    else:
        assert count[0] == crops


def test_faces_under_the_limit_are_tried_only_without_a_sure_face():
    sure, unsure, low = found(50, 50, 20, 0.9995), found(90, 50, 20, 0.95), found(20, 90, 20, 0.3)
    elsewhere = found(20, 90, 20, 0.3, image=1)
    for faces, expected in (
        ([sure], 0),
        ([sure, low], 0),
        ([sure, unsure, low], 3),
        ([low], 3),
        ([sure, elsewhere], 3),
    ):
        passes, table = CountingPasses(), together(faces)
        result = realigned(passes, [], table, 0.999, ignored_below=0.9)
        for column, same in zip((*result.targets, *result.predicted), (*table.targets, *table.predicted), strict=True):
            np.testing.assert_array_equal(column, same)
        assert passes.tried == expected
    realigned(passes := CountingPasses(), [], together([sure, low]), 0.999)
    assert passes.tried == 3


class SettledPasses(CountingPasses):
    def settled(self, images, targets, before, score):
        self.settled_boxes = targets.score.tolist()
        return before._replace(score=np.full(len(targets.score), self.reached))


@pytest.mark.parametrize(("reached", "expected"), [(0.8, [0.3, 0.3, 0.3, 0.8]), (0.95, [0.3, 0.95, 0.95, 0.95])])
def test_further_passes_of_an_image_without_a_sure_face_take_weaker_boxes(reached, expected):
    """Those of the weaker ones count if they make the face sure."""
    boxes = [0.28, 0.35, 0.45, 0.6]
    faces = together([found(100 * k, 50, 20, 0.3, detected=score) for k, score in enumerate(boxes)])
    passes = SettledPasses()
    passes.reached = reached
    assert realigned(passes, [], faces, 0.9, ignored_below=0.2).predicted.score.tolist() == expected
    assert passes.settled_boxes == boxes[1:]
    realigned(passes, [], together([faces, found(900, 50, 20, 0.95)]), 0.9, ignored_below=0.2)
    assert passes.settled_boxes == boxes[3:]


@pytest.mark.parametrize(
    ("scores", "angle"), [((0.9991, 0.9999, 0.9995), 180), ((0.1, 0.9, 0.9995), -90), ((0.9, 0.9, 0.9), 0)]
)
def test_the_best_rotation_that_is_sure_takes_the_place(scores, angle):
    sure, low = found(50, 50, 20, 0.9995), found(20, 90, 20, 0.3)
    result = realigned(CountingPasses(scores), [], together([sure, low]), 0.999)
    assert result.targets.roi[:, 3].tolist() == [0, angle]
    assert result.predicted.score.tolist() == [0.9995, max(scores) if angle else 0.3]


def test_rows_of_a_table():
    table = together([found(50, 50, 20, 0.9), found(90, 50, 20, 0.8), found(20, 90, 20, 0.7)]).predicted
    assert rows(table, np.array([2, 0])).score.tolist() == [0.7, 0.9]
    assert rows(table, table.score > 0.75).landmarks.shape == (2, 68, 3)


def test_the_tracker_follows_an_upside_down_face(aligner, astronaut):
    tracker = Tracker(aligner, smooth="none")
    image = np.ascontiguousarray(astronaut[::-1, ::-1])
    (upright,) = aligner(astronaut)
    seen = [tracker(np.roll(image, 3 * k, axis=1)) for k in range(3)]
    assert [[face.track_id for face in faces] for faces in seen] == [[0]] * 3
    for k, (face,) in enumerate(seen):
        assert abs(face.roi.angle) > 160
        expected = (511 + 3 * k, 511) - upright.landmarks[:, :2]
        assert np.linalg.norm(face.landmarks[:, :2] - expected, axis=1).mean() < 2.5


def test_the_tracker_follows_a_face_that_rolls_all_around(aligner, astronaut):
    (upright,) = aligner(astronaut)
    tracker = Tracker(aligner, smooth="none", detect_every=1000)
    for roll in range(0, 361, 8):
        image, matrix = rotated(astronaut, roll)
        (face,) = tracker(image)
        assert face.track_id == 0
        expected = upright.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        assert np.linalg.norm(face.landmarks[:, :2] - expected, axis=1).mean() < 1.5
