import math
import pickle

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tddfa._shared import image_io
from tddfa.geometry.intrinsics import Intrinsics


def rational(number):
    return TiffImagePlugin.IFDRational(number)


def photo(path, size=(400, 300), orientation=None, **tags):
    """A JPEG of (width, height) px with tags of EXIF's inner block, by number or name."""
    names = {"focal": 0x920A, "film": 0xA405, "per_unit": 0xA20E, "unit": 0xA210}
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    inner = exif.get_ifd(0x8769)
    for name, value in tags.items():
        inner[names[name]] = value
    Image.new("RGB", size).save(path, exif=exif)
    return path


class TestIntrinsics:
    def test_what_is_given_is_kept(self):
        matrix = [[800.0, 0, 320], [0, 820, 240], [0, 0, 1]]
        for coefficients in ([0.1, -0.2, 0, 0], np.array([[0.1], [-0.2], [0], [0]]), np.array([[0.1, -0.2, 0, 0]])):
            camera = Intrinsics(matrix, coefficients)
            np.testing.assert_array_equal(camera.matrix, matrix)
            np.testing.assert_array_equal(camera.distortion, [0.1, -0.2, 0, 0])
        assert camera.focal == 810
        assert Intrinsics(matrix).distortion.shape == (0,)
        again = pickle.loads(pickle.dumps(camera))
        np.testing.assert_array_equal(again.matrix, camera.matrix)
        with pytest.raises(AttributeError):
            camera.matrix = matrix

    @pytest.mark.parametrize(
        ("matrix", "distortion", "message"),
        [
            (np.eye(4), (), r"Intrinsics\.matrix: expected shape \(3, 3\)"),
            (np.full((3, 3), np.nan), (), r"Intrinsics\.matrix: expected finite values"),
            (np.diag([0.0, 1, 1]), (), "fx, fy > 0"),
            (np.diag([1.0, -1, 1]), (), "fx, fy > 0"),
            (np.diag([2.0, 2, 2]), (), "fx, fy > 0"),
            ([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]], (), "fx, fy > 0"),
            (np.diag([1e-300, 1, 1]), (), "fx, fy from 0.001 to 1e\\+09 px"),
            (np.diag([1, 1e300, 1]), (), "fx, fy from 0.001 to 1e\\+09 px"),
            ([[1, 0, 1e300], [0, 1, 0], [0, 0, 1]], (), "cx, cy of at most 1e\\+09 px"),
            (np.eye(3), (1, 2, 3), r"Intrinsics\.distortion: expected .* coefficients, got 3"),
            (np.eye(3), (1, 2, 3, np.inf), r"Intrinsics\.distortion: expected finite values"),
            (np.eye(3), ("a", "b", "c", "d"), r"Intrinsics\.distortion: expected numbers"),
        ],
    )
    def test_what_is_no_camera_is_said(self, matrix, distortion, message):
        with pytest.raises((TypeError, ValueError), match=message):
            Intrinsics(matrix, distortion)

    def test_img2poses_default(self):
        np.testing.assert_array_equal(
            Intrinsics.assumed((481, 640)).matrix, [[1121, 0, 320], [0, 1121, 240], [0, 0, 1]]
        )

    @pytest.mark.parametrize(("axis", "length"), [("horizontal", 640), ("vertical", 480), ("diagonal", 800)])
    def test_the_angle_is_that_between_the_edges_of_the_image(self, axis, length):
        camera = Intrinsics.from_field_of_view(70, (480, 640), axis)
        assert 2 * math.degrees(math.atan(length / 2 / camera.focal)) == pytest.approx(70)
        np.testing.assert_array_equal(camera.matrix[:2, 2], [319.5, 239.5])  # the middle of the pixels' centres
        angles = cv2.calibrationMatrixValues(camera.matrix, (640, 480), 1, 1)[:2]
        if axis != "diagonal":
            assert angles[axis == "vertical"] == pytest.approx(70, abs=0.2)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: Intrinsics.from_field_of_view(0, (4, 4)), "degrees: expected"),
            (lambda: Intrinsics.from_field_of_view(180, (4, 4)), "degrees: expected"),
            (lambda: Intrinsics.from_field_of_view(5e-324, (4, 4)), "degrees: expected"),
            (lambda: Intrinsics.from_field_of_view(math.nan, (4, 4)), "degrees: expected"),
            (lambda: Intrinsics.from_field_of_view(math.inf, (4, 4)), "degrees: expected an angle between 0 and 180"),
            (lambda: Intrinsics.assumed((math.inf, 5)), r"image_size: expected \(height, width\), .* \(inf, 5\)"),
            (lambda: Intrinsics.assumed((480.9, 640.9)), r"image_size: .* in whole px, got \(480.9, 640.9\)"),
            (lambda: Intrinsics.assumed("45"), "image_size: expected .* '45'"),
            (lambda: Intrinsics.centered(9, (10**400, 5)), "image_size: expected .* of 1 to 1e\\+09 px, got "),
            (lambda: Intrinsics.from_field_of_view(60, (4, 4), "depth"), "axis: expected one of horizontal"),
            (lambda: Intrinsics.assumed((0, 4)), "image_size: expected"),
            (
                lambda: Intrinsics.from_field_of_view(60, (4, 4, 3)),
                r"image_size: expected \(height, width\), .* \(4, 4, 3\)",
            ),
            (lambda: Intrinsics.assumed(640), r"image_size: expected \(height, width\), .* 640"),
            (lambda: Intrinsics.centered(0, (4, 4)), "focal: expected"),
            (lambda: Intrinsics.centered(math.inf, (4, 4)), "focal: expected"),
        ],
    )
    def test_wrong_numbers_are_named(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestExif:
    def test_by_35_mm_film(self, tmp_path):
        # 4:3 images have a diagonal of 5 parts, and film one of 43.27 mm
        camera = Intrinsics.from_exif(photo(tmp_path / "a.jpg", film=50))
        assert camera.focal == pytest.approx(500 * 50 / math.hypot(36, 24))
        np.testing.assert_array_equal(camera.matrix[:2, 2], [199.5, 149.5])

    @pytest.mark.parametrize(("unit", "millimetres"), [(2, 25.4), (3, 10), (None, 25.4)])
    def test_by_the_sensor(self, tmp_path, unit, millimetres):
        tags = {} if unit is None else {"unit": unit}
        path = photo(tmp_path / "a.jpg", focal=rational(8.0), per_unit=rational(2540.0), **tags)
        assert Intrinsics.from_exif(path).focal == pytest.approx(8 * 2540 / millimetres)

    def test_a_smaller_version_of_the_image(self, tmp_path):
        path = photo(tmp_path / "a.jpg", film=50)
        assert Intrinsics.from_exif(path, (150, 200)).focal == pytest.approx(Intrinsics.from_exif(path).focal / 2)
        path = photo(tmp_path / "b.jpg", focal=rational(8.0), per_unit=rational(2540.0))
        assert Intrinsics.from_exif(path, (150, 200)).focal == pytest.approx(Intrinsics.from_exif(path).focal / 2)

    def test_on_its_side(self, tmp_path):
        path = photo(tmp_path / "a.jpg", orientation=6, film=50)
        height, width = image_io.read(path).shape[:2]
        assert (height, width) == (400, 300)
        read, given = Intrinsics.from_exif(path), Intrinsics.from_exif(path, (height, width))
        np.testing.assert_array_equal(read.matrix, given.matrix)

    @pytest.mark.parametrize(
        "tags",
        [
            {},
            {"film": 0},
            {"focal": rational(8.0)},
            {"per_unit": rational(2540.0)},
            {"focal": TiffImagePlugin.IFDRational(8, 0), "per_unit": rational(2540.0)},
        ],
    )
    def test_no_focal_length(self, tmp_path, tags):
        path = photo(tmp_path / "a.jpg", **tags)
        with pytest.raises(ValueError, match=r"a\.jpg: its EXIF block has no focal length"):
            Intrinsics.from_exif(path)

    def test_files_that_are_none(self, tmp_path, rng):
        with pytest.raises(FileNotFoundError):
            Intrinsics.from_exif(tmp_path / "missing.jpg")
        good = photo(tmp_path / "good.jpg", film=50, focal=rational(8.0), per_unit=rational(2540.0)).read_bytes()
        path = tmp_path / "bad.jpg"
        for content in (b"", b"hello", good[:30], good[:100]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"bad\.jpg: "):
                Intrinsics.from_exif(path)
        # damaged anywhere: a camera, or one line
        start = good.index(b"Exif")
        for _ in range(200):
            data = bytearray(good)
            for at in rng.integers(start, start + 120, 3):
                data[at] = rng.integers(256)
            path.write_bytes(data)
            try:
                assert np.isfinite(Intrinsics.from_exif(path).matrix).all()
            except ValueError as error:
                assert str(error).startswith(str(path))
