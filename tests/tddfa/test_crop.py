from dataclasses import replace

import cv2
import numpy as np
import pytest

from tddfa import CropRule, Roi
from tddfa.crop import (
    all_to_crop,
    crop_image,
    crop_images,
    roi_from_box,
    roi_from_landmarks,
    roll_of_points,
    squares_of_detections,
    to_image,
)

RULE = CropRule(size=120, box_shift_y=0.155, box_scale=1.11, landmark_scale=1.25)


def reference_crop(image, roi, size):
    """Bilinear samples at the crop's pixel centres, black outside, in NumPy."""
    padded = np.zeros((image.shape[0] + 2, image.shape[1] + 2, 3))
    padded[1:-1, 1:-1] = image
    offset = (np.arange(size) + 0.5) * roi.side / size - roi.side / 2
    c, s = np.cos(np.radians(roi.angle)), np.sin(np.radians(roi.angle))
    x = roi.left + roi.side / 2 + c * offset - s * offset[:, None]
    y = roi.top + roi.side / 2 + s * offset + c * offset[:, None]
    # clipped to the black frame, a sample outside is black
    x, y = np.clip(x, -1, image.shape[1]) + 1, np.clip(y, -1, image.shape[0]) + 1
    x0, y0 = np.minimum(x.astype(int), padded.shape[1] - 2), np.minimum(y.astype(int), padded.shape[0] - 2)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    top = padded[y0, x0] * (1 - fx) + padded[y0, x0 + 1] * fx
    return top * (1 - fy) + (padded[y0 + 1, x0] * (1 - fx) + padded[y0 + 1, x0 + 1] * fx) * fy


def smooth_image(rng, height, width):
    return cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), dtype=np.uint8), (0, 0), 3)


class TestCrop:
    @pytest.mark.parametrize(
        "roi",
        [
            Roi(50.3, 40.7, 96.5),
            Roi(50.3, 40.7, 240.0),
            Roi(-40.5, -30.2, 120.0),
            Roi(150, 200, 130.3),
            Roi(-100, -100, 600),
            Roi(60, 60, 7.7),
            Roi(-0.5, -0.5, 200),
            Roi(50.3, 40.7, 96.5, 33),
            Roi(-40.5, -30.2, 120.0, -101.5),
            Roi(150, 200, 130.3, 180),
            Roi(60, 60, 7.7, 90),
        ],
    )
    def test_agrees_with_numpy_also_at_borders(self, rng, roi):
        image = smooth_image(rng, 230, 200)
        crop = np.full((120, 120, 3), 99, np.uint8)
        crop_image(image, roi, crop)
        assert np.abs(crop - reference_crop(image, roi, 120)).max() < 0.51  # half a grey level, and rounding

    def test_identity(self, rng):
        image = rng.integers(0, 255, (120, 120, 3), dtype=np.uint8)
        crop = np.empty_like(image)
        crop_image(image, Roi(-0.5, -0.5, 120), crop)
        np.testing.assert_array_equal(crop, image)

    def test_a_quarter_turn_is_exact(self, rng):
        image = rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)
        crops = np.empty((2, 120, 120, 3), np.uint8)
        for turns, angle in enumerate((0, 90, 180, -90)):  # a head with a roll of 90 degrees is turned back by rot90
            crop_image(image, Roi(19.5, 29.5, 120), crops[0])
            crop_image(image, Roi(19.5, 29.5, 120, angle), crops[1])
            np.testing.assert_array_equal(crops[1], np.rot90(crops[0], turns))

    @pytest.mark.parametrize(
        "roi", [Roi(500, 10, 50), Roi(-90, 10, 50), Roi(10, -90, 50), Roi(1e7, 1e7, 3), Roi(500, 10, 50, 45)]
    )
    def test_outside_the_image_is_black(self, rng, roi):
        crop = np.full((120, 120, 3), 99, np.uint8)
        crop_image(rng.integers(1, 255, (100, 100, 3), dtype=np.uint8), roi, crop)
        assert not crop.any()

    def test_images_with_a_side_over_32767(self, rng):
        strip = np.zeros((40, 40000, 3), np.uint8)
        strip[:, 39000:39040] = patch = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        crop = np.empty((40, 40, 3), np.uint8)
        crop_image(strip, Roi(38999.5, -0.5, 40), crop)
        np.testing.assert_array_equal(crop, patch)

    def test_strided_read_only_images(self, rng):
        image = rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)[:, ::-1]
        image.setflags(write=False)
        crops = np.empty((2, 120, 120, 3), np.uint8)
        crop_image(image, Roi(3, 4, 50), crops[0])
        crop_image(np.ascontiguousarray(image), Roi(3, 4, 50), crops[1])
        np.testing.assert_array_equal(*crops)


class TestRois:
    def test_from_box(self):
        roi = roi_from_box([100, 200, 180, 320], RULE)  # w 80, h 120, old 100
        assert roi.side == pytest.approx(111)
        assert roi.left + roi.side / 2 == pytest.approx(140)
        assert roi.top + roi.side / 2 == pytest.approx(260 + 15.5)

    def test_from_landmarks(self, rng):
        points = rng.uniform(0, 10, (68, 3))
        points[0], points[1] = (20, 30, 0), (80, 70, 500)  # z does not count
        points[2:, :2] += (40, 40)
        for given in (points, points[:, :2], points.astype(np.float32)):
            roi = roi_from_landmarks(given, RULE)
            assert roi.side == pytest.approx(1.25 * 60, rel=1e-6)
            assert roi.left + roi.side / 2 == pytest.approx(50, rel=1e-6)
            assert roi.top + roi.side / 2 == pytest.approx(50, rel=1e-6)

    @pytest.mark.parametrize("angle", [25.0, 90.0, -140.0, 180.0])
    def test_a_rolled_face_has_the_square_of_the_upright_one_rotated(self, rng, angle):
        points = rng.uniform(20, 80, (68, 2))
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        rotation = np.array([[c, -s], [s, c]])  # clockwise in the image, as a roll
        upright, rolled = roi_from_landmarks(points, RULE), roi_from_landmarks(points @ rotation.T, RULE, angle)
        assert rolled.angle == angle
        assert rolled.side == pytest.approx(upright.side)
        np.testing.assert_allclose(rolled.centre, rotation @ upright.centre, atol=1e-9)

    def test_a_box_of_a_rolled_face_is_shifted_towards_its_chin(self):
        roi = roi_from_box([100, 200, 180, 320], RULE, angle=90)  # the chin is at the left
        assert roi.side == pytest.approx(111)
        np.testing.assert_allclose(roi.centre, (140 - 15.5, 260), atol=1e-9)
        assert roi.angle == 90

    def test_points_in_one_place_still_give_a_square(self):
        assert roi_from_landmarks(np.ones((68, 2)), RULE).side == 1

    @pytest.mark.parametrize(
        "box", [[0, 0, 0, 10], [10, 0, 0, 10], [0, 0, 10, 0], [0, 0, np.nan, 10], [0, 0, 10], "face"]
    )
    def test_bad_boxes_are_named(self, box):
        with pytest.raises((TypeError, ValueError), match="box: expected"):
            roi_from_box(box, RULE)

    @pytest.mark.parametrize("points", [np.zeros(68), np.full((68, 3), np.nan), np.zeros((0, 2))])
    def test_bad_landmarks_are_named(self, points):
        with pytest.raises(ValueError, match="landmarks: expected"):
            roi_from_landmarks(points, RULE)


class TestCropsOfSeveralFaces:
    ROIS = np.array([[50.3, 40.7, 96.5, 0], [-40.5, -30.2, 120.0, -101.5], [150, 20, 30, 0]])
    INDEX = np.array([1, 0, 1])

    def crops(self, images, **options):
        out = np.full((3, 48, 48, 3), 99, np.uint8)
        crop_images(images, self.INDEX, self.ROIS, out, **options)
        return out

    @pytest.fixture
    def images(self, rng):
        return [smooth_image(rng, 230, 200), smooth_image(rng, 90, 180)]

    @pytest.mark.parametrize("rounded", [False, True])
    def test_each_is_that_of_its_image_and_square(self, images, rounded):
        crops, flipped = (self.crops(images, rounded=rounded, flipped=flip) for flip in (False, True))
        for crop, index, roi in zip(crops, self.INDEX, self.ROIS, strict=True):
            alone = np.empty_like(crop)
            crop_image(images[index], Roi(*roi), alone, rounded=rounded)
            np.testing.assert_array_equal(crop, alone)
        np.testing.assert_array_equal(flipped, crops[:, :, ::-1])

    @pytest.mark.skipif(cv2.__version__ < "5", reason="before OpenCV 5, bilinear weights had 5 bits")
    def test_crops_are_those_of_opencv(self, images):
        """Rounding may differ where one of the two has no fused products."""
        for crop, index, roi in zip(self.crops(images), self.INDEX, self.ROIS, strict=True):
            matrix = Roi(*roi).crop_to_image(48)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            expected = cv2.warpAffine(images[index], matrix, (48, 48), flags=flags, borderMode=cv2.BORDER_CONSTANT)
            different = np.abs(crop.astype(int) - expected)
            assert different.max() <= 1
            assert (different > 0).mean() < 0.001

    def test_a_square_that_is_not_finite_is_black(self, images):
        out = np.full((1, 48, 48, 3), 99, np.uint8)
        crop_images(images, np.zeros(1, np.int64), np.array([[np.nan, 0, 50, 0]]), out)
        assert not out.any()

    @pytest.mark.parametrize(
        ("index", "rois", "out", "message"),
        [
            ([2], (1, 4), (1, 8, 8, 3), "image: expected indices of 2 images, got 2"),
            ([0, 0], (1, 4), (1, 8, 8, 3), "image, squares: expected shapes"),
            ([0], (1, 3), (1, 8, 8, 3), "image, squares: expected shapes"),
            ([0], (1, 4), (1, 8, 9, 3), "out: expected shape"),
            ([0], (1, 4), (2, 8, 8, 3), "out: expected shape"),
        ],
    )
    def test_wrong_shapes_are_named(self, images, index, rois, out, message):
        with pytest.raises(ValueError, match=message):
            crop_images(images, np.array(index), np.ones(rois), np.empty(out, np.uint8))


class TestRounded:
    """3DDFA_V2's way."""

    RULE = CropRule(size=120, box_shift_y=0.14, box_scale=1.58, landmark_scale=2**0.5, rounded=True)

    @pytest.mark.parametrize(
        "roi",
        [
            Roi(50.3, 40.7, 96.0),
            Roi(50.5, 41.5, 97.0),
            Roi(51.5, 40.5, 96.0),
            Roi(10.2, 20.9, 100.6),  # the rounded edges make no square
            Roi(-40.5, -30.2, 120.0),
            Roi(150, 200, 130.3),
            Roi(-100.2, -100.7, 600),
            Roi(0, 0, 120),
            Roi(60.4, 60.4, 1.0),
            Roi(1.5, 1.5, 1.0),
            Roi(-500, 3, 100),
            Roi(3, 1e7, 100),
        ],
    )
    def test_agrees_with_the_plain_crop(self, rng, roi, reference):
        image = rng.integers(0, 255, (230, 200, 3), dtype=np.uint8)
        crop = np.full((120, 120, 3), 99, np.uint8)
        crop_image(image, roi, crop, rounded=True)
        right, bottom = (max(round(a + roi.side), round(a) + 1) for a in (roi.left, roi.top))
        np.testing.assert_array_equal(crop, reference.crop_at(image, (roi.left, roi.top, right, bottom)))

    @pytest.mark.parametrize("rounded", [False, True])
    @pytest.mark.parametrize(
        ("image", "out", "message"),
        [
            ((90, 90), np.empty((120, 120, 3), np.uint8), "image: expected shape"),
            ((90, 90, 4), np.empty((120, 120, 3), np.uint8), "image: expected shape"),
            ((90, 90, 3), np.empty((120, 120, 3), np.float32), "out: expected a C-contiguous"),
            ((90, 90, 3), np.empty((120, 120), np.uint8), "out: expected a C-contiguous"),
            ((90, 90, 3), np.empty((120, 100, 3), np.uint8), "out: expected a C-contiguous"),
            ((90, 90, 3), np.empty((120, 240, 3), np.uint8)[:, ::2], "out: expected a C-contiguous"),
        ],
    )
    def test_other_arrays_are_refused(self, image, out, message, rounded):
        """OpenCV would leave `out` as it was."""
        with pytest.raises(ValueError, match=message):
            crop_image(np.zeros(image, np.uint8), Roi(3, 4, 50), out, rounded=rounded)

    def test_a_huge_square_is_not_laid_out(self, rng):
        image = rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)
        crops = np.full((2, 120, 120, 3), 99, np.uint8)
        crop_image(image, Roi(-1e6, -1e6, 2e6), crops[0], rounded=True)
        crop_image(image, Roi(-3000.3, -3000.3, 6000), crops[0], rounded=True)
        crop_image(image, Roi(-3000.5, -3000.5, 6000), crops[1])
        np.testing.assert_array_equal(*crops)
        assert crops[0].any()

    def test_strided_read_only_images(self, rng):
        image = rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)[:, ::-1]
        image.setflags(write=False)
        crops = np.empty((2, 120, 120, 3), np.uint8)
        crop_image(image, Roi(3, 4, 50), crops[0], rounded=True)
        crop_image(np.ascontiguousarray(image), Roi(3, 4, 50), crops[1], rounded=True)
        np.testing.assert_array_equal(*crops)

    def test_a_rotated_square_is_cropped_and_mapped_back_exactly(self, rng):
        image, roi = rng.integers(0, 255, (230, 200, 3), dtype=np.uint8), Roi(50.3, 40.7, 96.5, 33)
        crops = np.full((2, 120, 120, 3), 99, np.uint8)
        for crop, rounded in zip(crops, (False, True), strict=True):
            crop_image(image, roi, crop, rounded=rounded)
        np.testing.assert_array_equal(*crops)
        camera = rng.normal(0, 30, (3, 4)).astype(np.float32)
        exact = replace(self.RULE, rounded=False)
        np.testing.assert_array_equal(to_image(roi, camera, self.RULE).matrix, to_image(roi, camera, exact).matrix)

    def test_side_of_a_box_is_whole(self):
        roi = roi_from_box([100, 200, 180, 321], self.RULE)  # w 80, h 121, old 100.5
        assert roi.side == 158  # of 158.79
        assert roi.left == 140 - 79
        assert roi.top == pytest.approx(260.5 + 14.07 - 79)

    def test_the_first_px_lies_at_the_edge(self):
        camera = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]])  # the model's origin at the crop's first px
        roi = Roi(30.3, 40.2, 240)
        np.testing.assert_allclose(to_image(roi, camera, self.RULE).matrix[:, 3], (30.3, 40.2, 0), rtol=1e-6)
        exact = replace(self.RULE, rounded=False)
        np.testing.assert_allclose(to_image(roi, camera, exact).matrix[:, 3], (31.3, 41.2, 0), rtol=1e-6)

    @pytest.mark.parametrize("angle", [0, 41, -170])
    @pytest.mark.parametrize("rounded", [False, True])
    def test_there_and_back(self, rng, rounded, angle):
        camera = rng.normal(0, 30, (3, 4)).astype(np.float32)
        roi, rule = Roi(-30.3, 40.2, 77.7, angle), replace(self.RULE, rounded=rounded)
        in_image = to_image(roi, camera, rule).matrix
        np.testing.assert_allclose(all_to_crop(roi.row, in_image[None], rule)[0], camera, atol=1e-4)


class TestDetections:
    points = np.array([[40.0, 50], [60, 50], [50, 62], [43, 74], [57, 74]])
    box = np.array([30.0, 35, 70, 85])

    def rotated(self, degrees):
        """Points and box of the face rotated about the centre of its box."""
        middle = np.array([50.0, 60])
        a = np.radians(degrees)
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        half = np.abs(turn) @ [20.0, 25.0]
        return np.r_[middle - half, middle + half], (self.points - middle) @ turn.T + middle

    def square(self, box, points, rule=RULE, roll=0.0):
        (row,) = squares_of_detections(box[None], None if points is None else points[None], rule, roll)
        return Roi(*row)

    @pytest.mark.parametrize("degrees", [0, 33, 90, -135, 180])
    def test_the_roll_is_the_direction_from_eyes_to_mouth(self, degrees):
        roll = np.degrees(roll_of_points(self.rotated(degrees)[1]))
        assert (roll - degrees + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize("degrees", [0, 5])
    def test_an_upright_face_is_cropped_as_from_its_box(self, degrees):
        box, points = self.rotated(degrees)
        assert self.square(box, points) == roi_from_box(box, RULE)

    @pytest.mark.parametrize("degrees", [90, 180, -90])
    def test_a_rolled_face_has_the_crop_of_the_upright_one(self, degrees):
        box, points = self.rotated(degrees)
        upright, roi = roi_from_box(self.box, RULE), self.square(box, points)
        assert roi.side == pytest.approx(upright.side) and abs(roi.angle) == abs(degrees)
        a = np.radians(degrees)
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        np.testing.assert_allclose(roi.centre, turn @ (np.array(upright.centre) - (50, 60)) + (50, 60), atol=1e-6)

    def test_without_points_or_with_3ddfa_v2s_rule_nothing_is_rotated(self):
        box, points = self.rotated(90)
        assert self.square(box, None) == roi_from_box(box, RULE)
        assert self.square(box, None, roll=-90) == roi_from_box(box, RULE, -90)
        rounded = replace(RULE, rounded=True)
        assert self.square(box, points, rounded) == roi_from_box(box, rounded)


@pytest.mark.parametrize("columns", [0, 1, 4])
def test_landmarks_need_x_and_y(columns):
    with pytest.raises(ValueError, match=r"landmarks: expected shape \(n, 2\)"):
        roi_from_landmarks(np.zeros((68, columns)), RULE)
