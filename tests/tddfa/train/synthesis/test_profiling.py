from __future__ import annotations

import cv2
import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import Sample, write_samples
from tddfa.train.data.sources import is_whole, photo_part, usable_rows
from tddfa.train.synthesis.profiling import turn, turned_samples


def landmarks(model, camera, sample):
    return Camera(camera).project(model.landmarks(sample.shape, sample.expression))[:, :2]


def inside(points, size):
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    return mask > 0


@pytest.mark.parametrize(("yaw", "pitch"), [(35, 0), (-60, 10), (90, -5)])
def test_a_turned_head_looks_like_a_rendering_of_that_pose(rendered_head, face_model, yaw, pitch):
    front, target = rendered_head((0, 0, 8), seed=3), rendered_head((yaw, pitch, 8), seed=3)
    image, camera = turn(front.crop, front.camera, front.shape, front.expression, yaw, pitch, face_model)
    assert Camera(camera).euler_degrees() == pytest.approx((yaw, pitch, 8), abs=0.01)
    assert camera == pytest.approx(target.camera, abs=0.01)
    # brows, eyes, nose and mouth; cheeks are plain, and differently lit
    face = inside(landmarks(face_model, camera, front)[17:], 160)
    grey = [cv2.GaussianBlur(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY), (0, 0), 1.5)[face] for i in (image, target.crop)]
    other = cv2.GaussianBlur(cv2.cvtColor(front.crop, cv2.COLOR_BGR2GRAY), (0, 0), 1.5)[face]
    alike, unlike = np.corrcoef(*grey)[0, 1], np.corrcoef(other, grey[1])[0, 1]
    assert alike > 0.6
    assert alike > unlike + 0.15


def test_the_same_pose_gives_the_same_image(rendered_head, face_model):
    sample = rendered_head((15, 5, 0), seed=1)
    image, camera = turn(sample.crop, sample.camera, sample.shape, sample.expression, 15, 5, face_model)
    assert camera == pytest.approx(sample.camera, abs=0.02)
    assert np.abs(image.astype(int) - sample.crop).mean() < 4


def test_there_is_no_hole(rendered_head, face_model):
    sample = rendered_head((0, 0, 0), seed=2)
    bright = np.maximum(sample.crop, 40)
    for yaw in (-95, -50, 50, 95):
        image, _ = turn(bright, sample.camera, sample.shape, sample.expression, yaw, 0, face_model)
        assert image.max(axis=2).min() > 25


def test_samples_turn_away_from_the_front(made_crops, face_model):
    crops = Crops.open([made_crops])
    made = list(turned_samples(crops, 12, 5, face_model))
    again = list(turned_samples(crops, 12, 5, face_model))
    assert all((a.crop == b.crop).all() for a, b in zip(made, again, strict=True))
    yaw, pitch, _ = np.array([Camera(sample.camera).euler_degrees() for sample in made]).T
    assert np.abs(yaw).min() > 24.9
    assert np.abs(yaw).max() < 95.1
    assert 25 < np.abs(pitch).max() < 65.1, "some look up or down"
    assert np.median(np.abs(pitch)) < 20
    for sample in made:
        points = landmarks(face_model, sample.camera, sample)
        low, high = points.min(axis=0), points.max(axis=0)
        assert (low + high) / 2 == pytest.approx((79.5, 79.5), abs=0.01)
        assert (high - low).max() == pytest.approx(160 / 1.75, abs=0.01)
        assert sample.source == "turned-made"


def test_only_usable_faces_are_used(made_crops, face_model):
    crops = Crops.open([made_crops])
    crops.labels.validation[0] = True
    rows = usable_rows(crops, face_model, (38, 28, 25), 1)
    used = {next(rows) for _ in range(20)}
    assert used == {1, 2, 5}  # 0 is for validation, 3 rolled too far, 4 turned too far, 6 and 7 have no parameters
    with pytest.raises(ValueError, match="expected some for training"):
        next(usable_rows(crops, face_model, (1, 1, 1), 1))


def test_faces_at_a_photos_edge_are_left_out(tmp_path, rendered_head, face_model):
    sample = rendered_head((0, 0, 0))
    crop = sample.crop.copy()
    assert photo_part(crop) == (0, 0, 160, 160)
    assert is_whole(crop, sample.camera, sample.shape, sample.expression, face_model)
    crop[:, :45], crop[130:] = (200, 30, 90), (200, 30, 90)
    assert photo_part(crop) == (45, 0, 160, 130)
    assert not is_whole(crop, sample.camera, sample.shape, sample.expression, face_model)
    assert photo_part(np.full((160, 160, 3), 7, np.uint8)) == (0, 0, 0, 0)
    cropped = Sample(crop, "cropped", sample.camera, sample.shape, sample.expression)
    write_samples(tmp_path, [cropped], face_model)
    with pytest.raises(ValueError, match="expected some for training"):
        next(turned_samples(Crops.open([tmp_path]), 1, 0, face_model))
