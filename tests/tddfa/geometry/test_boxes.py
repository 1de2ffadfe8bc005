import numpy as np

from tddfa.geometry.boxes import box_iou


def test_iou_equals_the_fraction_of_pixels(rng):
    corners = rng.integers(0, 20, (12, 2, 2))
    boxes = np.sort(corners, axis=1).reshape(-1, 4)

    def pixels(box):
        mask = np.zeros((20, 20), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes):
            union = (pixels(a) | pixels(b)).sum()
            expected = (pixels(a) & pixels(b)).sum() / union if union else 0
            assert np.isclose(box_iou(boxes, boxes)[i, j], expected)


def test_a_box_with_swapped_corners_overlaps_nothing():
    assert box_iou([[10, 10, 0, 0]], [[0, 0, 10, 10], [10, 10, 0, 0]]).tolist() == [[0, 0]]
