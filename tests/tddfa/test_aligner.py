from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import PIL.Image
import pytest

from builders import make_face_model
from FaceBoxes import Detections
from tddfa import Aligner, CropRule, Decoder, Detector, Roi
from tddfa._shared.errors import ConfigError, TddfaError
from tddfa.crop import roi_from_box, roi_from_landmarks, to_image
from tddfa.landmarks68 import MIRRORED

RULE = CropRule(size=24, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.5)


class FakeRegressor:
    """Camera, shape and expression that follow from the crop's mean colour; the score is its green."""

    def __init__(self, with_score=True):
        self.calls, self.with_score = [], with_score

    def __call__(self, crops):
        self.calls.append(crops.copy())
        blue, green, red = crops.reshape(len(crops), -1, 3).mean(axis=1).T / 255
        camera = np.tile(np.array([[3.0, 0, 0, 12], [0, -3, 0, 12], [0, 0, 3, 0]], np.float32), (len(crops), 1, 1))
        camera[:, 0, 3] += blue
        outputs = {
            "camera": camera,
            "shape": np.stack([blue, red], axis=1).astype(np.float32),
            "expression": np.stack([blue - 0.5, green, 2 * red], axis=1).astype(np.float32),
        }
        return outputs | ({"score": green.astype(np.float32)} if self.with_score else {})


class FakeDetector:
    def __init__(self, *boxes):
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def __call__(self, image):
        return Detections(self.boxes, np.linspace(0.9, 0.6, len(self.boxes)))


@pytest.fixture
def image(rng):
    return rng.integers(0, 255, (80, 100, 3), dtype=np.uint8)


BOXES = [[10, 10, 30, 34], [50, 20, 80, 50], [-10, 60, 12, 90]]


class TestFlow:
    def test_all_faces_of_all_images_take_one_call(self, image):
        regressor = FakeRegressor()
        aligner = Aligner(regressor, Decoder(make_face_model(), RULE), detector=FakeDetector(*BOXES))
        one = aligner(image)
        assert [call.shape for call in regressor.calls] == [(3, 24, 24, 3)]
        regressor.calls.clear()
        two = aligner.batch([image, image[::-1]])
        assert [call.shape for call in regressor.calls] == [(6, 24, 24, 3)]
        assert [len(faces) for faces in two] == [3, 3]
        for a, b in zip(one, two[0], strict=True):
            np.testing.assert_array_equal(a.landmarks, b.landmarks)

    def test_a_crowd_is_split_into_batches_that_fit_memory(self, image):
        regressor = FakeRegressor()
        aligner = Aligner(regressor, Decoder(make_face_model(), RULE))
        faces = aligner(image, boxes=BOXES * 50)
        assert len(faces) == 150
        assert [len(call) for call in regressor.calls] == [64, 64, 22]
        np.testing.assert_array_equal(faces[0].landmarks, faces[147].landmarks)

    def test_no_face(self, image):
        regressor = FakeRegressor()
        aligner = Aligner(regressor, Decoder(make_face_model(), RULE), detector=FakeDetector())
        assert aligner(image) == []
        assert aligner.batch([image, image]) == [[], []]
        assert aligner.batch([]) == []
        assert aligner(image, boxes=[]) == aligner(image, boxes=np.zeros((0, 4))) == aligner(image, rois=[]) == []
        assert regressor.calls == []

    def test_landmarks_equal_the_formula_step_by_step(self, image):
        model = make_face_model()
        aligner = Aligner(FakeRegressor(), Decoder(model, RULE))
        (face,) = aligner(image, boxes=BOXES[1:2])
        vertices = model.vertices(face.params.shape, face.params.expression)
        in_crop = vertices @ face.params.camera[:, :3].T + face.params.camera[:, 3]
        scale = face.roi.side / 24
        in_image = in_crop * scale
        in_image[:, 0] += face.roi.left + (scale - 1) / 2 + 0.5
        in_image[:, 1] += face.roi.top + (scale - 1) / 2 + 0.5
        # the centre of pixel u is at left + (u + 0.5) * scale
        np.testing.assert_allclose(aligner.decoder.mesh(face).vertices, in_image, atol=1e-3)
        corners = in_image[model.landmark_triangles]
        np.testing.assert_allclose(face.landmarks, corners.mean(axis=1), atol=1e-3)

    def test_points_of_the_detector_stay_with_their_face(self, image):
        points = np.arange(30).reshape(3, 5, 2)
        detector = lambda image: Detections(BOXES, [0.5, 0.9, 0.7], points)  # noqa: E731
        aligner = Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), detector=detector, refine=1)
        faces = aligner(image)
        assert [face.detected_points[0, 0] for face in faces] == [10, 20, 0]
        assert [face.box[0] for face in faces] == [50, -10, 10]
        assert faces[0].to_dict()["detected_points"][4] == [18, 19]
        (given,) = aligner(image, boxes=BOXES[:1])
        assert given.detected_points is None and "detected_points" not in given.to_dict()

    def test_boxes_rois_and_the_detector_agree(self, image):
        aligner = Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), detector=FakeDetector(*BOXES))
        detected = aligner(image)
        for given in (
            aligner(image, boxes=BOXES),
            aligner(image, boxes=[[*box, 0.5] for box in BOXES]),
            aligner(image, rois=[roi_from_box(box, RULE) for box in BOXES]),
        ):
            for a, b in zip(detected, given, strict=True):
                np.testing.assert_array_equal(a.landmarks, b.landmarks)

    def test_refine_crops_around_the_landmarks(self, image):
        regressor = FakeRegressor()
        first = Aligner(regressor, Decoder(make_face_model(), RULE))(image, boxes=BOXES)
        again = Aligner(regressor, Decoder(make_face_model(), RULE), refine=1)(image, boxes=BOXES)
        for a, b in zip(first, again, strict=True):
            assert b.roi == roi_from_landmarks(a.landmarks, RULE)
            np.testing.assert_array_equal(b.box, a.box)


class TestImages:
    """Paths, Pillow images and RGB arrays; `tests/tddfa/_shared/test_image_source.py` has their pixels."""

    @pytest.fixture
    def aligner(self):
        return Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), detector=FakeDetector(BOXES[1]))

    @pytest.fixture
    def sources(self, image, tmp_path):
        path = tmp_path / "photo.png"
        cv2.imwrite(str(path), image)
        return [image, path, str(path), PIL.Image.fromarray(image[..., ::-1])]

    def test_one(self, aligner, image, sources):
        (expected,) = aligner(image)
        for source in sources:
            (face,) = aligner(source)
            np.testing.assert_array_equal(face.landmarks, expected.landmarks)
        (face,) = aligner(image[..., ::-1], color="rgb")
        np.testing.assert_array_equal(face.landmarks, expected.landmarks)
        (face,) = aligner(image, color="rgb")
        assert abs(face.landmarks - expected.landmarks).max() > 0.01

    def test_a_batch(self, aligner, image, sources):
        (expected,) = aligner(image)
        for faces in (*aligner.batch(sources), *aligner.batch([image[..., ::-1], *sources[1:]], color="rgb")):
            np.testing.assert_array_equal(faces[0].landmarks, expected.landmarks)
        (faces,) = aligner.batch(source for source in [image])
        np.testing.assert_array_equal(faces[0].landmarks, expected.landmarks)

    def test_bad_ones_are_named(self, aligner, image):
        with pytest.raises(TypeError, match=r"images: expected a sequence of images, got one path, a/photo\.jpg"):
            aligner.batch("a/photo.jpg")
        with pytest.raises(TypeError, match=r"images\[1\]: expected a NumPy array .* or a Pillow image, got int"):
            aligner.batch([image, 3])
        for call in (aligner, lambda image, **options: aligner.batch([image], **options)):
            with pytest.raises(ValueError, match="color: expected one of bgr, rgb, got 'hsv'"):
                call(image, color="hsv")


class TestConvention:
    def both(self, image, **options):
        offsets = np.random.default_rng(5).normal(size=(68, 3)).astype(np.float32)
        model = make_face_model(landmark_offsets={"theirs": offsets})
        return [
            Aligner(FakeRegressor(), Decoder(model, RULE, convention), **options) for convention in (None, "theirs")
        ], offsets

    def test_landmarks_in_both_conventions(self, image):
        (own, theirs), offsets = self.both(image)
        (a,), (b,) = own(image, boxes=BOXES[:1]), theirs(image, boxes=BOXES[:1])
        np.testing.assert_allclose(b.landmarks - a.landmarks, a.camera.scale * offsets * (1, -1, 1), atol=1e-3)
        np.testing.assert_allclose(own.decoder.landmarks(a, "theirs"), b.landmarks, atol=1e-3)
        np.testing.assert_allclose(theirs.decoder.landmarks(b, "300w"), a.landmarks, atol=1e-3)
        assert own.decoder.landmarks(a) is a.landmarks
        with pytest.raises(ValueError, match="convention: expected one of 300w, theirs, got 'mine'"):
            own.decoder.landmarks(a, "mine")

    @pytest.mark.parametrize("flip", [False, True])
    def test_the_squares_do_not_depend_on_it(self, image, flip):
        (own, theirs), _ = self.both(image, refine=2, flip=flip)
        for a, b in zip(own(image, boxes=BOXES), theirs(image, boxes=BOXES), strict=True):
            assert a.roi.side == pytest.approx(b.roi.side, rel=1e-4)
            assert own.roi(a).side == pytest.approx(theirs.roi(b).side, rel=1e-4)
            np.testing.assert_allclose(own.decoder.landmarks(a, "theirs"), b.landmarks, atol=0.01)


class TestScores:
    def test_a_detected_face_under_the_score_is_dropped(self, image):
        scores = [face.score for face in Aligner(FakeRegressor(), Decoder(make_face_model(), RULE))(image, boxes=BOXES)]
        limit = sorted(scores)[1]
        aligner = Aligner(
            FakeRegressor(), Decoder(make_face_model(), RULE), detector=FakeDetector(*BOXES), min_score=limit
        )
        assert [face.score for face in aligner(image)] == [score for score in scores if score >= limit]

    def test_given_boxes_keep_their_order_whatever_the_score(self, image):
        aligner = Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), detector=FakeDetector(), min_score=1.0)
        assert len(aligner(image, boxes=BOXES)) == 3
        assert len(aligner(image, rois=[Roi(0, 0, 10)])) == 1

    @pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
    def test_a_score_out_of_range_is_named(self, score):
        with pytest.raises(ValueError, match=r"min_score: expected 0\.\.1, got"):
            Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), min_score=score)

    def test_load_takes_a_score_in_place_of_the_config_s(self, aligner):
        assert Aligner.load("open_mb05", device="cpu").min_score == aligner.min_score != 0
        assert Aligner.load("open_mb05", device="cpu", min_score=0).min_score == 0
        with pytest.raises(ValueError, match="min_score"):
            Aligner.load("open_mb05", device="cpu", min_score=2)

    def test_without_a_score_of_its_own_the_detectors_stands(self, image):
        aligner = Aligner(
            FakeRegressor(with_score=False), Decoder(make_face_model(), RULE), detector=FakeDetector(*BOXES)
        )
        np.testing.assert_allclose([face.score for face in aligner(image)], [0.9, 0.75, 0.6])
        assert aligner(image, boxes=[[*BOXES[0], 0.25]])[0].score == 0.25
        assert aligner(image, boxes=BOXES[:1])[0].score == 1.0


class TestDoubtfulDetections:
    """The less sure the detector, the higher the face score that a face needs."""

    @pytest.mark.parametrize(
        ("detected", "green", "kept"),
        [
            (0.9, 0.55, True),
            (0.6, 0.55, True),
            (0.5, 0.55, False),
            (0.5, 0.7, True),
            (0.3, 0.85, False),
            (0.25, 0.95, True),
        ],
    )
    @pytest.mark.parametrize("limit", [0.5, 0.0])
    def test_the_needed_score(self, detected, green, kept, limit):
        image = np.full((80, 100, 3), (90, round(255 * green), 90), np.uint8)
        found = Detections([[30, 30, 60, 64]], [detected])
        aligner = Aligner(
            FakeRegressor(),
            Decoder(make_face_model(), RULE),
            detector=lambda image: found,
            min_score=limit,
            sure_score=0.9,
        )
        assert len(aligner(image)) == (kept or not limit), "a limit of 0 keeps all"

    def test_without_a_sure_score_the_limit_counts_alone(self):
        image = np.full((80, 100, 3), (90, 140, 90), np.uint8)
        found = Detections([[30, 30, 60, 64]], [0.25])
        aligner = Aligner(
            FakeRegressor(), Decoder(make_face_model(), RULE), detector=lambda image: found, min_score=0.5
        )
        assert len(aligner(image)) == 1


class TestMesh:
    def test_colours_are_those_of_the_image(self):
        aligner = Aligner(FakeRegressor(), Decoder(make_face_model(), RULE))
        image = np.zeros((80, 100, 3), np.uint8)
        image[:] = (10, 100, 200)  # BGR
        (face,) = aligner(image, boxes=BOXES[:1])
        mesh = aligner.decoder.mesh(face, image)
        np.testing.assert_allclose(mesh.colors, np.tile(np.array([200, 100, 10]) / 255, (6, 1)), atol=1e-6)
        assert aligner.decoder.mesh(face).colors is None

    def test_the_face_has_the_size_of_its_image(self, image):
        model = make_face_model()
        faces = Aligner(FakeRegressor(), Decoder(model, RULE)).batch([image, image[:40]], boxes=[BOXES[:1], BOXES[:1]])
        for (face,), size in zip(faces, ((80, 100), (40, 100)), strict=True):
            assert face.image_size == size
            # of one face alone, the product's sums may be in another order
            np.testing.assert_allclose(
                face.model_landmarks, model.landmarks(face.params.shape, face.params.expression), atol=1e-5
            )

    def test_visibility_is_computed_on_request(self, image):
        plain, asked = (
            Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), visibility=visible) for visible in (False, True)
        )
        (without,), (face,) = plain(image, boxes=BOXES[2:]), asked(image, boxes=BOXES[2:])
        assert without.visible is None
        np.testing.assert_array_equal(face.visible, plain.decoder.visible(face))
        x, y = face.landmarks[:, :2].T
        assert not face.visible[(x < -0.5) | (y > 79.5)].any(), "outside the image"

    def test_expression_by_name_stays_in_range(self, image):
        aligner = Aligner(FakeRegressor(), Decoder(make_face_model(), RULE))
        (face,) = aligner(image, boxes=BOXES[:1])
        weights = aligner.decoder.expression(face)
        assert list(weights) == ["a", "b", "c"]
        np.testing.assert_allclose(list(weights.values()), np.clip(face.params.expression, 0, 1), atol=1e-6)


class TestBadInput:
    @pytest.mark.parametrize(
        ("image", "error", "message"),
        [
            (None, TypeError, "image: expected a NumPy array"),
            ("photo.jpg", TddfaError, "photo.jpg: no such file"),
            (b"\xff\xd8", TddfaError, "image: not an image"),
            (3, TypeError, "image: expected .*, a path, the bytes of an image file or a Pillow image, got int"),
            (np.zeros((5, 5)), ValueError, r"image: expected shape \(height, width, 3\)"),
            (np.zeros((5, 5, 3), np.float32), TypeError, "image: expected dtype uint8"),
            (np.zeros((5, 5, 4), np.uint8), ValueError, "image: expected shape"),
            ([np.zeros((5, 5, 3), np.uint8)], TypeError, r"got a list; batch\(\) takes several"),
        ],
    )
    def test_images(self, image, error, message):
        with pytest.raises(error, match=message):
            Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), detector=FakeDetector())(image)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"boxes": [[0, 0, 10]]}, "boxes: expected shape"),
            ({"boxes": [0, 0, 10, 10]}, "boxes: expected shape"),
            ({"boxes": [[0, 0, np.nan, 10]]}, "boxes: expected finite"),
            ({"boxes": [[10, 10, 5, 20]]}, "box: expected x1 < x2"),
            ({"boxes": [[0.1, 0.2, 0.5, 1]]}, "boxes: expected px, got 0.1 0.2 0.5 1; .* x by 100 and y by 80"),
            ({"boxes": [BOXES[0], [0, 0, 1, 1]]}, "boxes: expected px, got 0 0 1 1"),
            ({"boxes": [[100, 10, 120, 30]]}, "boxes: expected a part of the image of 100 x 80 px, got 100 10 120 30"),
            (
                {"boxes": [[-1e38, -1e38, 1e38, 1e38]]},
                r"boxes: expected edges within 1e\+06 px of the image, got -1e\+38",
            ),
            ({"boxes": [[10, 80, 30, 99]]}, "boxes: expected a part of the image"),
            ({"boxes": [[-20, 10, 0, 30]]}, "boxes: expected a part of the image"),
            ({"boxes": [[10, -20, 30, 0]]}, "boxes: expected a part of the image"),
            ({"boxes": [[1e38, 1e38, 3e38, 3e38]]}, "boxes: expected a part of the image"),
            ({"boxes": [[0, 0, 9, 9]], "rois": [Roi(0, 0, 5)]}, "expected at most one of them"),
            ({"rois": [(0, 0, 5)]}, "rois: expected Roi, got tuple"),
            ({"rois": 5}, "rois: expected a sequence of Roi, got int"),
            ({"boxes": [[0, 0, 9, 9, 1.5]]}, "boxes: expected scores from 0 to 1, got 1.5 to 1.5"),
            ({"boxes": [[0, 0, 9, 9, -0.1], [0, 0, 9, 9, 1]]}, "boxes: expected scores from 0 to 1, got -0.1 to 1"),
            ({}, "this aligner has no detector"),
        ],
    )
    def test_boxes_and_rois(self, image, arguments, message):
        with pytest.raises((TypeError, ValueError), match=message):
            Aligner(FakeRegressor(), Decoder(make_face_model(), RULE))(image, **arguments)

    @pytest.mark.parametrize("box", [[99, 79, 120, 99], [-20, -20, 1, 1], [-500, -500, 900, 900], [0, 0, 1.5, 1.5]])
    def test_boxes_may_leave_the_image_in_part(self, image, box):
        assert len(Aligner(FakeRegressor(), Decoder(make_face_model(), RULE))(image, boxes=[box])) == 1

    def test_detections_outside_are_not_boxes_of_the_caller(self, image):
        detector = FakeDetector([200, 200, 230, 230])
        assert len(Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), detector=detector)(image)) == 1

    def test_as_many_entries_as_images(self, image):
        with pytest.raises(ValueError, match="boxes: expected one entry for each of 2 images, got 1"):
            Aligner(FakeRegressor(), Decoder(make_face_model(), RULE)).batch([image, image], boxes=[BOXES])

    def test_a_regressor_with_other_outputs(self, image):
        with pytest.raises(ValueError, match="regressor: expected an output 'camera', got params"):
            Aligner(lambda crops: {"params": crops}, Decoder(make_face_model(), RULE))(image, boxes=BOXES)
        with pytest.raises(ValueError, match="refine"):
            Aligner(FakeRegressor(), Decoder(make_face_model(), RULE), refine=-1)


class TestFlip:
    """Two-pass inference with flip."""

    @pytest.fixture
    def passes(self, aligner):
        """The same model with one pass, with two, and with two of which the second is flipped."""
        parts = aligner.regressor, aligner.decoder
        return Aligner(*parts), Aligner(*parts, refine=1), Aligner(*parts, refine=1, flip=True)

    @staticmethod
    def flipped_back(aligner, image, roi):
        """Landmarks of the horizontally flipped image, flipped back."""
        width = image.shape[1]
        (face,) = aligner(
            np.ascontiguousarray(image[:, ::-1]), rois=[Roi(width - 1 - roi.left - roi.side, roi.top, roi.side)]
        )
        return face.landmarks[MIRRORED] * (-1, 1, 1) + (width - 1, 0, 0)

    def test_it_is_the_mean_of_both_passes(self, passes, astronaut):
        one, _, flipped = passes
        (first,) = one(astronaut, boxes=[[180, 70, 270, 180]])
        (face,) = flipped(astronaut, boxes=[[180, 70, 270, 180]])
        assert face.roi == roi_from_landmarks(first.landmarks, one.crop)
        second = self.flipped_back(one, astronaut, face.roi)
        assert np.abs(first.landmarks - second).mean() > 0.3
        # the mean is of coefficients and cameras, not of points; and the mesh is not quite symmetric
        assert np.abs(face.landmarks - (first.landmarks + second) / 2).mean() < 0.03

    def test_a_wrong_first_square_is_ignored(self, passes, astronaut):
        one, refined, flipped = passes
        boxes = [[150, 10, 330, 200]]
        (first,) = one(astronaut, boxes=boxes)
        (face,) = flipped(astronaut, boxes=boxes)
        assert first.roi.iou(face.roi) < 0.7
        assert np.abs(face.landmarks - self.flipped_back(one, astronaut, face.roi)).mean() < 0.04
        np.testing.assert_allclose(face.landmarks, refined(astronaut, boxes=boxes)[0].landmarks, atol=8)

    def test_params_camera_and_landmarks_agree(self, passes, astronaut, two_people):
        *_, aligner = passes
        for face in (
            *aligner(astronaut, boxes=[[180, 50, 270, 180]]),
            *aligner(two_people, boxes=[[150, 10, 330, 200], [0, 0, 60, 80]]),
        ):
            again = to_image(face.roi, face.params.camera, aligner.crop)
            np.testing.assert_allclose(again.matrix, face.camera.matrix, rtol=1e-5, atol=1e-3)
            points = aligner.face_model.landmarks(face.params.shape, face.params.expression)
            np.testing.assert_allclose(face.landmarks, again.project(points), atol=1e-2)
        assert face.image_size == two_people.shape[:2]

    def test_every_other_pass_is_flipped(self, aligner, astronaut):
        seen = []

        def regressor(crops):
            seen.append(crops.copy())
            return aligner.regressor(crops)

        several = Aligner(regressor, aligner.decoder, refine=2, flip=True)
        several(astronaut, boxes=[[180, 50, 270, 180]])
        first, second, third = (crops[0].astype(int) for crops in seen)
        nearer = np.abs(first - second[:, ::-1]).mean(), np.abs(first - second).mean()
        assert nearer[0] < 0.7 * nearer[1]
        assert np.abs(first - third).mean() < 0.7 * np.abs(first - third[:, ::-1]).mean()

    def test_a_single_pass_is_not_flipped(self, aligner, astronaut):
        parts = aligner.regressor, aligner.decoder
        a, b = (Aligner(*parts, flip=flip)(astronaut, boxes=BOXES) for flip in (False, True))
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one.landmarks, other.landmarks)

    def test_an_image_and_its_flip_agree_better(self, passes, astronaut):
        one, _, flipped = passes
        roi = one(astronaut, boxes=[[180, 50, 270, 180]])[0].roi
        moved = [Roi(roi.left + dx, roi.top + dy, roi.side) for dx, dy in ((0, 0), (5, 5), (-5, 5), (5, -5), (-5, -5))]
        apart = [
            np.mean(
                [np.abs(a(astronaut, rois=[r])[0].landmarks - self.flipped_back(a, astronaut, r)).mean() for r in moved]
            )
            for a in (one, flipped)
        ]
        assert apart[1] < 0.8 * apart[0]

    def test_faces_that_move_a_little_jitter_less(self, passes, astronaut):
        one, _, flipped = passes
        roi = one(astronaut, boxes=[[180, 50, 270, 180]])[0].roi
        moved = [Roi(roi.left + dx, roi.top + dy, roi.side) for dx, dy in ((0, 0), (2, 1), (-1, 2), (1, -2), (-2, 0))]
        spread = [np.std([face.landmarks for face in a(astronaut, rois=moved)], axis=0).mean() for a in (one, flipped)]
        assert spread[1] < 0.8 * spread[0]

    def test_no_face(self, aligner, astronaut):
        assert aligner.flip
        assert aligner.refine == 1
        assert aligner(astronaut, boxes=[]) == []

    def test_refine_is_the_config_s_by_default(self):
        assert Aligner.load("open_mb05", device="cpu", refine=0).refine == 0
        assert Aligner.load("open_mb05", device="cpu", refine=3).refine == 3

    def test_the_convention_is_the_face_model_s_by_default(self):
        assert Aligner.load("open_mb05", device="cpu").decoder.convention == "300w"
        assert Aligner.load("open_mb05", device="cpu", convention="300w-lp").decoder.convention == "300w-lp"
        with pytest.raises(ValueError, match="open_mb05: convention: expected one of 300w, 300w-lp, got '300W'"):
            Aligner.load("open_mb05", device="cpu", convention="300W")


class TestRealPhotos:
    def test_one_face(self, aligner, astronaut):
        (face,) = aligner(astronaut)
        assert face.score > 0.99
        # eyes, nose tip, mouth and chin, as a person sees them
        for index, (x, y) in {
            36: (195, 101),
            45: (259, 103),
            30: (224, 126),
            48: (203, 140),
            54: (245, 140),
            8: (222, 179),
        }.items():
            np.testing.assert_allclose(face.landmarks[index, :2], (x, y), atol=6)
        yaw, _, roll = face.camera.euler_degrees()
        assert abs(yaw) < 8
        assert abs(roll) < 10

    def test_two_faces_in_a_batch_of_two_images(self, aligner, astronaut, two_people):
        one, two = aligner.batch([astronaut, two_people])
        assert (len(one), len(two)) == (1, 2)
        np.testing.assert_allclose(one[0].landmarks, aligner(astronaut)[0].landmarks, atol=0.05)

    def test_a_flipped_photo_gives_the_mirrored_face(self, aligner, astronaut):
        (face,) = aligner(astronaut)
        (mirrored,) = aligner(np.ascontiguousarray(astronaut[:, ::-1]))
        pairs = [*range(16, -1, -1), *range(26, 16, -1)]
        np.testing.assert_allclose(
            astronaut.shape[1] - 1 - mirrored.landmarks[pairs, 0], face.landmarks[:27, 0], atol=6
        )
        assert mirrored.camera.euler_degrees().roll == pytest.approx(-face.camera.euler_degrees().roll, abs=4)

    def test_no_face(self, aligner):
        assert aligner(np.full((200, 200, 3), 128, np.uint8)) == []
        assert aligner(np.zeros((1, 1, 3), np.uint8)) == []

    def test_a_face_at_the_border(self, aligner, astronaut):
        (whole,) = aligner(astronaut)
        half = np.ascontiguousarray(astronaut[:, 215:])
        (face,) = aligner(half, boxes=[whole.box - (215, 0, 215, 0)])
        seen = whole.landmarks[:, 0] > 225
        error = np.linalg.norm(face.landmarks[seen, :2] + (215, 0) - whole.landmarks[seen, :2], axis=1)
        assert error.mean() < 12

    def test_bad_configs(self, tmp_path):
        with pytest.raises(ValueError, match="no such config"):
            Aligner.load("nobody")
        with pytest.raises(ValueError, match="device: expected one of"):
            Aligner.load("open_mb05", device="tpu")


class TestRoundedCrop:
    RULE = CropRule(size=24, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.5, rounded=True)

    def test_it_is_cropped_at_whole_px_and_mapped_back_by_the_square(self, image):
        regressor = FakeRegressor()
        roi = Roi(10.4, 20.3, 48)
        (face,) = Aligner(regressor, Decoder(make_face_model(), self.RULE))(image, rois=[roi])
        np.testing.assert_array_equal(regressor.calls[0][0], cv2.resize(image[20:68, 10:58], (24, 24)))
        expected = 2 * face.params.camera
        expected[:2, 3] += (10.4, 20.3)
        np.testing.assert_allclose(face.camera.matrix, expected, rtol=1e-6)
        assert face.roi == roi

    def test_a_face_s_square_gives_it_again(self, image):
        aligner = Aligner(FakeRegressor(), Decoder(make_face_model(), self.RULE))
        faces = aligner(image, boxes=BOXES)
        again = aligner(image, rois=[face.roi for face in faces])
        for a, b in zip(faces, again, strict=True):
            np.testing.assert_array_equal(a.landmarks, b.landmarks)


class TestPrecision:
    def test_int8_is_nearly_equal(self, aligner, two_people):
        eight = Aligner.load("open_mb05", device="cpu", precision="int8")
        assert eight.regressor.path.name == "open_mb05_int8.onnx"
        assert eight.detector.find.model.path.name == "faceboxes_int8.onnx"
        # from left to right: the scores of the two boxes are nearly equal
        expected, faces = (sorted(each(two_people), key=lambda face: face.box[0]) for each in (aligner, eight))
        assert len(faces) == len(expected) == 2
        for face, other in zip(faces, expected, strict=True):
            size = np.ptp(other.landmarks[:, 0])
            assert 0 < np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean() < 0.02 * size

    @pytest.mark.parametrize(("fast", "expected"), [(True, "int8"), (False, "float")])
    def test_auto_takes_what_the_processor_is_fast_with(self, monkeypatch, two_people, fast, expected):
        monkeypatch.setattr("tddfa.model.runtime.has_int8_dot_products", lambda: fast)
        auto, chosen = (Aligner.load("open_mb05", device="cpu", precision=name) for name in ("auto", expected))
        assert auto.precision == chosen.precision == expected
        assert (
            Detector.load("open_mb05", device="cpu", precision="auto").find.model.path
            == chosen.detector.find.model.path
        )
        for face, other in zip(auto(two_people), chosen(two_people), strict=True):
            np.testing.assert_array_equal(face.landmarks, other.landmarks)

    def test_auto_of_a_model_without_int8_is_float(self, monkeypatch, tmp_path, root):
        monkeypatch.setattr("tddfa.model.runtime.has_int8_dot_products", lambda: True)
        text = (root / "configs/open_mb05.yml").read_text().replace("../", f"{root}/")
        text = "".join(line for line in text.splitlines(keepends=True) if "model_int8" not in line)
        (tmp_path / "mine.yml").write_text(text.replace("open_face.npz", f"{root}/configs/open_face.npz"))
        assert Aligner.load(tmp_path / "mine.yml", device="cpu", precision="auto").precision == "float"

    def test_a_model_without_int8_is_refused(self, tmp_path, root):
        text = (root / "configs/open_mb05.yml").read_text()
        text = "".join(line for line in text.splitlines(keepends=True) if "model_int8" not in line)
        (tmp_path / "mine.yml").write_text(text)
        with pytest.raises(ConfigError, match="mine: this model has no int8 network"):
            Aligner.load(tmp_path / "mine.yml", precision="int8")


def test_the_regressor_limits_the_batch():
    regressor = FakeRegressor()
    regressor.max_batch = 3
    aligner = Aligner(regressor, Decoder(make_face_model(), RULE))
    image = np.full((40, 40, 3), 128, np.uint8)
    assert len(aligner(image, boxes=[[5, 5, 30, 30]] * 7)) == 7
    assert [len(crops) for crops in regressor.calls] == [3, 3, 1]


def test_one_aligner_may_be_called_from_many_threads(aligner, astronaut, two_people):
    images = [
        astronaut,
        two_people,
        np.ascontiguousarray(astronaut[:, ::-1]),
        np.ascontiguousarray(astronaut[::-1, ::-1]),
    ]
    fresh = Aligner.load("open_mb05", device="cpu", threads=1)  # its networks are loaded by the first calls
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fresh, images * 3))
    expected = [aligner(image) for image in images]
    for faces, others in zip(found, expected * 3, strict=True):
        assert len(faces) == len(others)
        for face, other in zip(faces, others, strict=True):
            np.testing.assert_allclose(face.landmarks, other.landmarks, atol=1e-3)


def test_confidence_of_the_landmarks_follows_flips_and_is_averaged(aligner, astronaut):
    """A regressor that is sure of the landmarks on the left of its crop: with both passes, of those on both sides."""
    regressor, calls = aligner.regressor, []

    def sure(crops):
        outputs = dict(regressor(crops))
        points = aligner.face_model.landmarks(outputs["shape"], outputs["expression"])
        x = (points @ outputs["camera"][:, :1, :3].transpose(0, 2, 1))[..., 0] + outputs["camera"][:, :1, 3]
        outputs["confidence"] = (x < 60).astype(np.float32)
        calls.append(outputs["confidence"])
        return outputs

    def unsure(crops):
        return {name: value for name, value in regressor(crops).items() if name != "confidence"}

    (box,) = (face.box for face in aligner(astronaut))
    assert Aligner(unsure, aligner.decoder)(astronaut, boxes=[box])[0].confidence is None
    for refine, flip in ((0, False), (1, True)):
        own = Aligner(sure, aligner.decoder, refine=refine, flip=flip)
        calls.clear()
        (face,) = own(astronaut, boxes=[box])
        assert face.confidence.shape == (68,)
        expected = calls[0][0] if not flip else (calls[0][0] + calls[1][0][MIRRORED]) / 2
        assert face.confidence == pytest.approx(expected)
        assert face.to_dict()["confidence"] == pytest.approx(expected.tolist(), abs=1e-4)
    # the flipped crop's left is the other side of the face
    assert 0.4 < face.confidence.mean() < 0.6 and (face.confidence == 0.5).mean() > 0.7


def nan_in(aligner, name, column=...):
    """The regressor, with NaN in an output."""

    def regressor(crops):
        outputs = {key: np.array(value) for key, value in aligner.regressor(crops).items()}
        outputs[name][0, column] = np.nan
        return outputs

    return regressor


@pytest.mark.parametrize(("name", "column"), [("score", ...), ("confidence", 40), ("camera", ...)])
def test_a_regressor_that_gives_nan_is_an_error(aligner, astronaut, name, column):
    """Otherwise, a NaN score would drop every face."""
    broken = Aligner(nan_in(aligner, name, column), aligner.decoder, min_score=0.5)
    with pytest.raises(ValueError, match="regressor: expected finite numbers"):
        broken(astronaut, boxes=[[173, 70, 273, 192]])


@pytest.mark.parametrize(("outputs", "error"), [(None, TypeError), ([1], TypeError), ({3: 4}, ValueError)])
def test_other_answers_of_a_regressor_are_named(aligner, astronaut, outputs, error):
    with pytest.raises(error, match="regressor: expected a"):
        Aligner(lambda crops: outputs, aligner.decoder)(astronaut, boxes=[[173, 70, 273, 192]])


def test_visibility_needs_a_mesh():
    with pytest.raises(ValueError, match="visibility: expected False for a model that predicts points"):
        Aligner.load("jvcr_s", device="cpu", visibility=True)


def test_tiles_are_not_those_of_another_detector():
    with pytest.raises(ValueError, match="tiles: expected None with a detector of your own"):
        Aligner.load("open_mb05", device="cpu", detector=lambda image: None, tiles="auto")


def test_poses_of_a_detector_that_needs_the_name(aligner, root):
    class Named:
        needs_name = True

        def __call__(self, image, name=None):
            assert str(name).endswith("astronaut.jpg")
            return Detections([[173, 70, 273, 192]], [1.0], rotations=np.eye(3)[None])

    named = Aligner(aligner.regressor, aligner.decoder, detector=Named())
    (face,) = named.detect_poses(root / "examples/inputs/astronaut.jpg")
    assert face.camera.euler_degrees().yaw == pytest.approx(0, abs=1e-4)


def test_boxes_of_a_batch_may_come_from_a_generator(aligner, astronaut):
    box = [173, 70, 273, 192]
    (first,), (second,) = aligner.batch((astronaut for _ in range(2)), boxes=([box] for _ in range(2)))
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


@pytest.mark.parametrize("name", ["matrices", "shapes", "expressions"])
def test_rebuilt_faces_need_their_numbers(aligner, astronaut, name):
    (face,) = aligner(astronaut)
    rows = face.camera.matrix[None], face.params.shape[None], face.params.expression[None]
    numbers = dict(zip(("matrices", "shapes", "expressions"), rows, strict=True))
    with pytest.raises(ValueError, match=f"{name}: expected one for each of 1 faces, got 2"):
        aligner.decoder.rebuild_all([face], **numbers | {name: np.repeat(numbers[name], 2, axis=0)})


def test_the_regressor_that_saw_no_photo_agrees_with_the_default(aligner, two_people):
    faces = zip(aligner(two_people), Aligner.load("open_clean_mb05", device="cpu")(two_people), strict=True)
    for face, other in faces:
        eyes = np.linalg.norm(face.landmarks[36, :2] - face.landmarks[45, :2])
        away = np.linalg.norm((face.landmarks - other.landmarks)[17:, :2], axis=1).mean()
        assert away < 0.05 * eyes
        assert other.score > 0.9
