from __future__ import annotations

import cv2
import numpy as np
import pytest

from tddfa.train.data.photos import first_by_name, nonface_samples, photo_samples
from tddfa.train.data.samples import crop_square

POINTS = np.random.default_rng(0).uniform((60, 40), (140, 150), (68, 2))


def write_pts(path, points):
    lines = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points)
    path.write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")


@pytest.fixture
def photos(tmp_path):
    for name in ("b", "a", "c"):
        image = np.full((200, 260, 3), 90, np.uint8)
        cv2.circle(image, (100, 95), 4, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        write_pts(tmp_path / f"{name}.pts", POINTS)
    return tmp_path


def test_first_by_name(photos):
    assert [path.name for path in first_by_name(photos, 0.7)] == ["a.png", "b.png"]
    with pytest.raises(FileNotFoundError, match="expected photos"):
        first_by_name(photos / "none", 1)


def test_crops_of_photos_hold_their_landmarks(photos):
    for sample in photo_samples(first_by_name(photos, 1), "made"):
        low, high = sample.landmarks.min(axis=0), sample.landmarks.max(axis=0)
        assert (high - low).max() == pytest.approx(160 / 1.75, abs=0.01)
        scale = (high - low).max() / np.ptp(POINTS, axis=0).max()
        spot = sample.landmarks[0] + scale * (np.array([100, 95]) - POINTS[0])
        y, x = np.nonzero(sample.crop[..., 0] > 170)
        assert (x.mean(), y.mean()) == pytest.approx(spot, abs=0.3)
        assert sample.camera is None


def test_a_large_photo_is_averaged():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1600, 1600, 3), dtype=np.uint8)
    crop, matrix = crop_square(image, (800, 800), 1600)
    assert crop.std() < 12
    assert matrix @ (800, 800, 1) == pytest.approx((79.5, 79.5))
    ramp = np.tile(np.linspace(0, 250, 1600)[None, :, None], (1600, 1, 3)).astype(np.uint8)
    crop, matrix = crop_square(ramp, (700, 800), 960)
    x = (np.arange(160) - matrix[0, 2]) / matrix[0, 0]
    assert crop[80, :, 0] == pytest.approx(x * 250 / 1599, abs=1.5)


def test_windows_without_faces_show_none(tmp_path):
    image = np.full((300, 400, 3), 100, np.uint8)
    boxes = [(60, 60, 110, 120), (250, 150, 330, 250)]
    for x1, y1, x2, y2 in boxes:
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 255), -1)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (tmp_path / "a.txt").write_text("\n".join(" ".join(map(str, box)) for box in boxes) + "\n")
    made = list(nonface_samples([tmp_path / "a.png"], 120, 3))
    assert {sample.source for sample in made} == {f"nonface-{kind}" for kind in ("away", "beside", "room", "noise")}
    assert not any(sample.face for sample in made)
    for sample in made:
        if sample.source in ("nonface-away", "nonface-beside"):
            red = (sample.crop[..., 2] > 180) & (sample.crop[..., 0] < 90)
            # a face that fills the middle as a face's crop has it would cover it from edge to edge
            inner = red[40:120, 40:120].mean()
            outside = np.concatenate([red[:24].ravel(), red[-24:].ravel()]).mean()
            assert inner < 0.6 or outside > 0.3
    again = list(nonface_samples([tmp_path / "a.png"], 5, 3))
    assert all((a.crop == b.crop).all() for a, b in zip(made, again, strict=False))
