from dataclasses import replace

import cv2
import numpy as np
import pytest

from tddfa import Aligner, Camera, Decoder, Roi
from tddfa.crop import roi_from_landmarks
from tddfa.passes import Passes, next_squares
from tddfa.synthetic import Head, State, render
from tddfa.targets import as_targets


@pytest.fixture(scope="module")
def passes(aligner):
    return Passes(aligner.regressor, aligner.decoder, refine=1, flip=True)


def rotated(image, roll):
    """An image rotated about its centre, clockwise, and the matrix that does it."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -roll, 1)
    turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return turned, matrix


def next_angle(rule, landmarks, camera, roi):
    return next_squares(rule, landmarks[None], camera.matrix[None], roi.row)[0, 3]


def upright_crops_only(aligner):
    """The same aligner with upright squares in all passes."""

    class Upright(Passes):
        def next_rois(self, predictions):
            return np.concatenate([roi_from_landmarks(points, self.rule).row for points in predictions.landmarks])

    return Upright(aligner.regressor, aligner.decoder, refine=1, flip=True)


class TestAngleOfTheSquare:
    @pytest.mark.parametrize(
        ("roll", "angle"),
        [(0, 0), (9.9, 0), (-10, 0), (15, 10), (-17.5, -15), (20, 20), (-33, -33), (90, 90), (170, 170), (-135, -135)],
    )
    def test_it_is_the_roll_of_a_frontal_face(self, passes, roll, angle):
        landmarks = np.random.default_rng(0).uniform(0, 90, (68, 3))
        found = next_angle(passes.rule, landmarks, Camera.from_pose(0, 0, roll, scale=7), Roi(0, 0, 50))
        assert found == pytest.approx(angle, abs=1e-4)

    @pytest.mark.parametrize(("yaw", "roll", "angle"), [(90, 35, 0), (-90, 35, 0), (60, 15, 0), (40, 30, 30)])
    def test_a_face_that_is_turned_aside_is_rotated_later(self, passes, yaw, roll, angle):
        """A profile that looks up seems to be rolled."""
        aside = Camera.from_pose(yaw, 0, 0).matrix
        rotation = Roi(0, 0, 1, roll).crop_to_image(1)[:, :2]
        camera = Camera(np.vstack([rotation @ aside[:2], aside[2:]]))
        found = next_angle(passes.rule, np.eye(68, 3), camera, Roi(0, 0, 50))
        assert found == pytest.approx(angle, abs=1e-3)

    def test_it_is_defined_where_roll_is_not(self, passes):
        for pitch in (90, -90):
            found = next_angle(passes.rule, np.eye(68, 3), Camera.from_pose(0, pitch, 0), Roi(0, 0, 50))
            assert found == pytest.approx(0, abs=1e-4)

    def test_a_rounded_crop_keeps_its_angle(self, aligner):
        decoder = Decoder(aligner.face_model, replace(aligner.crop, rounded=True))
        rounded = Passes(aligner.regressor, decoder, refine=1, flip=True)
        for angle in (0, 90):
            found = next_angle(rounded.rule, np.eye(68, 3), Camera.from_pose(0, 0, 60), Roi(0, 0, 50, angle))
            assert found == angle


class TestRolledFaces:
    def test_a_rendered_head_has_its_known_points_at_any_roll(self, aligner):
        head, errors = Head.procedural(aligner.face_model, 3), []
        for roll in (0, -100, -35, 50):
            image, (target,) = render((300, 400), [(head, State(10, 5, roll, 150, 200, 150))])
            (face,) = aligner(image, rois=[roi_from_landmarks(target.landmarks, aligner.crop)])
            distance = np.linalg.norm(face.landmarks[:, :2] - target.landmarks[:, :2], axis=1)
            errors.append(100 * distance.mean() / 150)
            assert face.camera.euler_degrees().roll == pytest.approx(roll, abs=8)
            assert face.roi.angle == pytest.approx(0 if roll == 0 else roll, abs=8)
        assert max(errors) < 1.3 * errors[0], errors

    def test_a_rolled_photo_gives_the_points_of_the_upright_one(self, aligner, astronaut):
        (upright,) = aligner(astronaut)
        plain = upright_crops_only(aligner)
        errors = []
        for roll in (-50, 35, 75):
            image, matrix = rotated(astronaut, roll)
            expected = upright.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            roi = roi_from_landmarks(expected, aligner.crop)
            (face,) = aligner(image, rois=[roi])
            other = plain([image], as_targets(0, np.zeros((1, 4), np.float32), np.ones(1), roi.row))
            points = aligner.decoder.landmarks(face, "300w")[:, :2], other.landmarks[0, :, :2]
            errors.append([np.linalg.norm(each - expected, axis=1).mean() for each in points])
        with_angle, without = np.mean(errors, axis=0)
        assert with_angle < 1.5  # px; the face is 92 px wide
        assert with_angle < 0.7 * without

    def test_params_camera_and_square_agree(self, aligner, astronaut):
        image, matrix = rotated(astronaut, 40)
        x, y = matrix @ (224, 130, 1)
        (face,) = aligner(image, rois=[Roi.around(x, y, 130)])
        assert face.roi.angle == pytest.approx(40, abs=8)
        points = aligner.face_model.landmarks(face.params.shape, face.params.expression)
        in_crop = points @ face.params.camera[:, :3].T + face.params.camera[:, 3]
        matrix = face.roi.crop_to_image(aligner.crop.size)
        in_image = in_crop[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(in_image, face.camera.project(points)[:, :2], atol=1e-3)

    def test_only_a_face_with_another_roll_takes_a_third_pass(self, aligner, astronaut):
        seen = []

        def regressor(crops):
            seen.append(len(crops))
            return aligner.regressor(crops)

        counting = Aligner(regressor, aligner.decoder, refine=1, flip=True)
        (upright,) = aligner(astronaut)
        (face,) = counting(astronaut, rois=[upright.roi])
        assert (seen, face.roi.angle) == ([1, 1], 0)
        image, matrix = rotated(astronaut, 60)
        rolled = roi_from_landmarks(upright.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2], aligner.crop)
        seen.clear()
        (face, _) = counting(image, rois=[rolled, replace(rolled, angle=60)])
        assert seen == [2, 2, 1]
        seen.clear()
        counting(image, rois=[face.roi])  # the tracker's next frame: the roll is known
        assert seen == [1, 1]

    def test_one_pass_has_the_square_that_was_given(self, aligner, astronaut):
        fast = Aligner(aligner.regressor, aligner.decoder)
        roi = Roi(150, 40, 150, 30)
        (face,) = fast(astronaut, rois=[roi])
        assert face.roi == roi
        np.testing.assert_allclose(face.box, [*roi.corners().min(axis=0), *roi.corners().max(axis=0)], rtol=1e-6)
