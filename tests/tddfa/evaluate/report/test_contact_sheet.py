import cv2
import numpy as np
import pytest

from tddfa._shared.image_io import ImageError
from tddfa.evaluate.report.contact_sheet import contact_sheet
from tddfa.evaluate.result import Worst

TILE, STEP_X, STEP_Y, GAP = 260, 266, 306, 6
GREEN, RED = (60, 200, 60), (50, 50, 235)


@pytest.fixture
def data(tmp_path):
    image = np.full((300, 400, 3), 30, dtype=np.uint8)
    image[140:161, 190:211] = 200
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path


def tile(sheet, column=0, row=0):
    top, left = row * STEP_Y + GAP, column * STEP_X + GAP
    return sheet[top : top + TILE, left : left + TILE]


def middle(image, color):
    """Centre of a colour, px."""
    near = (np.abs(image.astype(int) - color) < 40).all(axis=2)
    return np.argwhere(near).mean(axis=0)[::-1] if near.any() else None


def test_position_of_points(data):
    """A square is shown, 1.5 times the points' box: 60 px of the image on 260 of the tile."""
    ground_truth = [[180.0, 150.0], [220.0, 150.0]]
    sheet = contact_sheet([Worst("a.png", 1.5, ground_truth, [[200.0, 150.0]])], data)
    assert sheet.shape == (STEP_Y + GAP, STEP_X + GAP, 3)
    image = tile(sheet)
    np.testing.assert_allclose(middle(image, RED), [129.5, 129.5], atol=1)
    left, right = image[:, :100], image[:, 160:]
    scale = 260 / 60
    np.testing.assert_allclose(middle(left, GREEN), [129.5 - 20 * scale, 129.5], atol=1)
    np.testing.assert_allclose(middle(right, GREEN)[0] + 160, 129.5 + 20 * scale, atol=1)
    # the bright square of the image lies around (200, 150), 21 px wide
    bright = np.flatnonzero((image[110] > 115).all(axis=1))
    np.testing.assert_allclose((bright.min(), bright.max()), (129.5 - 10.5 * scale, 129.5 + 10.5 * scale), atol=1)


def test_boxes_are_outlines_in_the_whole_image(data):
    corners = [[100.0, 100.0], [300.0, 100.0], [300.0, 200.0], [100.0, 200.0]]
    image = tile(contact_sheet([Worst("a.png", 1.0, corners)], data))
    near = (np.abs(image.astype(int) - GREEN) < 60).all(axis=2)
    scale = 260 / 400
    low, high = np.argwhere(near).min(axis=0)[::-1], np.argwhere(near).max(axis=0)[::-1]
    np.testing.assert_allclose(low, [100 * scale, (100 + 50) * scale], atol=1.5)
    np.testing.assert_allclose(high, [300 * scale, (200 + 50) * scale], atol=1.5)
    assert not near[140:150, 100:160].any()
    assert (image[5] == 225).all()  # outside of the image


def test_cases_are_arranged_in_rows(data):
    cases = [Worst("a.png", float(i), [[100.0, 100.0], [150.0, 120.0]]) for i in range(7)]
    cases += [Worst("a.png", caption="missed")]
    sheet = contact_sheet(cases, data)
    assert sheet.shape == (2 * STEP_Y + GAP, 6 * STEP_X + GAP, 3)
    assert middle(tile(sheet, 0, 1), GREEN) is not None
    assert middle(tile(sheet, 1, 1), GREEN) is None
    for column in range(2):  # something is written below
        assert (sheet[STEP_Y + GAP + TILE : 2 * STEP_Y, column * STEP_X + GAP : (column + 1) * STEP_X] < 100).any()
    assert (tile(sheet, 2, 1) == 250).all()


def test_distant_points_and_long_names(data):
    (data / ("é" * 50)).mkdir()
    cv2.imwrite(str(data / ("é" * 50) / "b.png"), np.zeros((2, 3, 3), np.uint8))
    far = [Worst("a.png", 1e9, [[1.0, 1.0]], [[1e12, -1e12]]), Worst(f"{'é' * 50}/b.png", 0.1, [[1.0, 1.0]])]
    assert contact_sheet(far, data).shape[1] == 2 * STEP_X + GAP


def test_no_case_and_unreadable_images(data):
    with pytest.raises(ValueError, match="worst: expected at least one case"):
        contact_sheet([], data)
    with pytest.raises(ImageError, match=r"none.png"):
        contact_sheet([Worst("none.png", 1.0)], data)


def test_heading(data):
    """It is above the tiles, which stay the same; a long one has several lines."""
    cases = [Worst("a.png", 1.5, [[180.0, 150.0], [220.0, 150.0]])]
    plain = contact_sheet(cases, data)
    for words in (3, 12):
        sheet = contact_sheet(cases, data, "ground truth green " * words)
        head = len(sheet) - len(plain)
        assert head >= 18 * (1 if words == 3 else 3)
        np.testing.assert_array_equal(sheet[head:], plain)
        assert (sheet[:head] < 100).any()
        assert (sheet[:head, -3:] == 250).all()  # it ends before the edge
    with_unit = contact_sheet(cases, data, unit="%")
    assert (with_unit != plain).any()
