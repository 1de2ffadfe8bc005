"""3DDFA_V2's helpers, against its formulas."""

import numpy as np
import pytest

from tddfa.compat import (
    P2sRt,
    calc_hypotenuse,
    crop_img,
    get_suffix,
    matrix2angle,
    parse_roi_box_from_bbox,
    parse_roi_box_from_landmark,
    ser_to_obj_single,
    ser_to_ply_multiple,
    ser_to_ply_single,
)
from tddfa.geometry.rotation import rotation_from_euler


def test_the_square_of_a_box():
    left, top, right, bottom = box = 40.0, 30.0, 120.0, 150.0
    old_size = (right - left + bottom - top) / 2
    x, y = right - (right - left) / 2, bottom - (bottom - top) / 2 + old_size * 0.14
    size = int(old_size * 1.58)
    np.testing.assert_allclose(
        parse_roi_box_from_bbox([*box, 0.9]), [x - size / 2, y - size / 2, x + size / 2, y + size / 2], atol=0.51
    )


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_square_of_landmarks(rng, dimensions):
    points = rng.uniform(20, 90, (dimensions, 68))
    low, high = points[:2].min(axis=1), points[:2].max(axis=1)
    radius = (high - low).max() / 2
    diagonal = np.sqrt(2 * (2 * radius) ** 2)
    middle = (low + high) / 2
    expected = [*(middle - diagonal / 2), *(middle + diagonal / 2)]
    np.testing.assert_allclose(parse_roi_box_from_landmark(points), expected, rtol=1e-6)
    assert calc_hypotenuse(points) == pytest.approx(diagonal / 3)


def test_suffixes():
    assert [get_suffix(name) for name in ("a/b.c/d.jpg", "d.tar.gz", "d")] == [".jpg", ".gz", ""]


class TestCrops:
    def test_inside(self, rng):
        image = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
        np.testing.assert_array_equal(crop_img(image, [10.4, 5.6, 29.5, 40.2]), image[6:40, 10:30])

    @pytest.mark.parametrize("box", [(-20, -10, 30, 40), (40, 30, 100, 90), (-5, -5, 70, 70), (200, 200, 220, 210)])
    def test_what_is_outside_is_black(self, rng, box):
        image = rng.integers(1, 256, (50, 60, 3), dtype=np.uint8)
        left, top, right, bottom = box
        padded = np.zeros((400, 400, 3), np.uint8)
        padded[100:150, 100:160] = image
        np.testing.assert_array_equal(crop_img(image, box), padded[top + 100 : bottom + 100, left + 100 : right + 100])

    @pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (0, 0, 1e6, 9), (0, 0, 9)])
    def test_wrong_boxes_are_named(self, box):
        with pytest.raises(ValueError, match="roi_box: expected"):
            crop_img(np.zeros((9, 9, 3), np.uint8), box)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, -20, 10), (-60, 15, -40)])
def test_a_camera_is_taken_apart(angles):
    rotation = rotation_from_euler(*angles)
    scale, found, offset = P2sRt(np.column_stack([3 * rotation, [5, 6, 7]]))
    assert scale == pytest.approx(3)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_array_equal(offset, [5, 6, 7])
    yaw, pitch, roll = matrix2angle(rotation)
    rows = found
    assert (np.sin(yaw), np.tan(pitch), np.tan(roll)) == pytest.approx(
        (rows[2, 0], rows[2, 1] / rows[2, 2], rows[1, 0] / rows[0, 0])
    )


def test_a_file_for_each_face(tmp_path, rng):
    faces = [rng.uniform(0, 40, (3, 5)) for _ in range(2)]
    triangles = np.array([[0, 1, 2], [2, 3, 4]])
    assert [path.name for path in ser_to_ply_single(faces, triangles, 50, tmp_path / "a.ply")] == ["a_1.ply", "a_2.ply"]
    image = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    paths = ser_to_obj_single(image, faces, triangles, 50, str(tmp_path / "b.obj"))
    assert [path.name for path in paths] == ["b_1.obj", "b_2.obj"]
    assert all(path.read_text().count("\nv ") == 5 for path in paths)
    ser_to_ply_multiple(faces, triangles, 50, tmp_path / "both.ply")
    assert "element vertex 10" in (tmp_path / "both.ply").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_1.ply", "a_2.ply", "b_1.obj", "b_2.obj", "both.ply"]
