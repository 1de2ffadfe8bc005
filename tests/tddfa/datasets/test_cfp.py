import cv2
import numpy as np
import pytest

from tddfa.datasets.cfp import CHOOSE, POINTS_68, REPORT, TRAINING, point_error, read_cfp


@pytest.fixture
def written(tmp_path):
    """Writes photos and ``cfp.npz`` with these points."""

    def write(names, points, profile=None, folder="cfp"):
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            image = np.zeros((60, 80, 3), np.uint8)
            image[:, :40] = 10 * number + 50
            assert cv2.imwrite(str(place / f"{name}.jpg"), image)
        profile = ["profile" in name for name in names] if profile is None else profile
        np.savez(place / "cfp.npz", names=np.array(names), points=np.array(points, np.float32), profile=profile)
        return tmp_path

    return write


def half(mirrored=False):
    """Points with the ear at x = 10 and the nose at x = 60, or mirrored in a photo of 80 px."""
    points = np.random.default_rng(0).uniform(15, 55, (30, 2))
    points[0], points[23] = (10, 20), (60, 30)
    return (79 - points[:, 0], points[:, 1]) if mirrored else points.T


def test_photos_are_read_with_a_border_and_the_visible_half_at_the_right_of_the_subject(written):
    data = written(["002_profile_01", "001_frontal_01"], np.stack([half(True), half()]).transpose(0, 2, 1))
    frontal, turned = read_cfp(data)
    assert (frontal.person, frontal.profile, turned.person, turned.profile) == (1, False, 2, True)
    (image, points), (flipped, other) = frontal.read(), turned.read()
    assert image.shape == flipped.shape == (60 + 64, 80 + 64, 3)  # 0.4 of the longer side, all around
    assert points == pytest.approx(other) and points == pytest.approx(half().T + 32, abs=1e-5)
    # the bright half of the file is at its left, and at the right after the flip
    assert image[60, 40, 0] > 30 > image[60, 104, 0] and flipped[60, 40, 0] < 30 < flipped[60, 104, 0]
    assert image[0, 0, 0] == image[60, 40, 0]  # replicated


def test_persons_are_separate(written):
    names = [f"{person:03d}_frontal_01" for person in (1, 400, 401, 425, 426, 450)]
    data = written(names, np.tile(half().T, (6, 1, 1)))
    for persons, expected in ((TRAINING, [1, 400]), (CHOOSE, [401, 425]), (REPORT, [426, 450])):
        assert [photo.person for photo in read_cfp(data, persons)] == expected
    assert [photo.person for photo in read_cfp(data / "cfp")] == [1, 400, 401, 425, 426, 450]


def test_without_points_there_are_no_photos(tmp_path):
    assert read_cfp(tmp_path) == []


@pytest.mark.parametrize(
    ("names", "shape", "message"),
    [
        (["001_profile_01"], (1, 29, 2), r"cfp.npz: points: expected shape \(1, 30, 2\)"),
        (["001_profile_01"], (2, 30, 2), r"cfp.npz: points: expected shape \(1, 30, 2\)"),
        (["../../etc/passwd"], (1, 30, 2), "cfp.npz: names: expected names as 001_profile_01"),
    ],
)
def test_damaged_points(tmp_path, names, shape, message):
    np.savez(tmp_path / "cfp.npz", names=np.array(names), points=np.ones(shape), profile=np.ones(1, bool))
    with pytest.raises(ValueError, match=message):
        read_cfp(tmp_path)


def test_error_of_points_whose_lower_lid_is_swapped():
    landmarks = np.random.default_rng(1).uniform(0, 100, (68, 3))
    points = landmarks[list(POINTS_68), :2]
    assert point_error(landmarks, points) == 0
    swapped = points.copy()
    swapped[[16, 17]] = points[[17, 16]]
    assert point_error(landmarks, swapped) == 0
    swapped[[14, 15]] = points[[15, 14]]  # other points keep their order
    distance = np.linalg.norm(points[14] - points[15])
    assert point_error(landmarks, swapped) == pytest.approx(2 * distance / 30)
