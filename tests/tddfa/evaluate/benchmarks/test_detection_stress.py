import cv2
import numpy as np
import pytest

from tddfa.evaluate.benchmarks import detection_stress as stress
from tddfa.evaluate.result import DataMissing, Setup


@pytest.fixture(scope="module")
def labelled(aligner, root, tmp_path_factory):
    """A folder with a photo and the landmarks that the model predicts in it."""
    folder = tmp_path_factory.mktemp("stress")
    image = cv2.imread(str(root / "examples/inputs/grace_hopper.jpg"))
    (face,) = aligner(image)
    (folder / "photos").mkdir()
    assert cv2.imwrite(str(folder / "photos/hopper.png"), image)
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in face.landmarks[:, :2] + 1)
    (folder / "photos/hopper.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return folder


@pytest.fixture
def photo(labelled):
    return stress._photo(labelled / "photos/hopper.pts")


def test_a_small_version_of_each_situation(aligner, labelled, monkeypatch):
    monkeypatch.setattr(stress, "FRAMES", (1.1,))
    monkeypatch.setattr(stress, "SIZES", (300, 720))
    monkeypatch.setattr(stress, "ANGLES", (0, 75, 180, 240))
    monkeypatch.setattr(stress, "SCENES", ((1920, 1080, 32), (600, 4000, 60), (4000, 600, 60)))
    result = stress.evaluate(Setup(labelled, aligner))
    assert result.settings == {"photos": 1, "backgrounds": 0}
    every = "closeup.1.1.300", "closeup.1.1.720", "scene.600x4000.60", "scene.4000x600.60", "closeup", "rolled"
    for key in every:
        assert result.value(f"{key}.found") == 100, key
    assert len(result.items) == 9
    assert stress.evaluate(Setup(labelled, aligner)).figures == result.figures


def test_no_photos(tmp_path, aligner):
    with pytest.raises(DataMissing, match=r"no \.pts files"):
        stress.evaluate(Setup(tmp_path, aligner))


@pytest.mark.parametrize("make", ["closeup", "rolled", "pasted"])
def test_the_landmarks_follow_the_face(photo, rng, make):
    """A white dot at a landmark of a black photo is at that landmark of the image."""
    image, points = photo
    image = np.zeros_like(image)
    x, y = points[30].round().astype(int)
    points = points + (np.array([x, y]) - points[30])
    cv2.circle(image, (int(x), int(y)), 4, (255, 255, 255), -1)
    if make == "closeup":
        scene, moved = stress.closeup(image, points, 1.3, 500)
        assert max(scene.shape) == 500
    elif make == "rolled":
        scene, moved = stress.rolled(image, points, 75)
    else:
        scene, moved = stress.pasted(image, points, 100, np.zeros((400, 900, 3), np.uint8), rng)
        assert np.ptp(moved, axis=0).max() == pytest.approx(100, rel=0.02)
    light = np.argwhere(scene[..., 0] > 60)
    np.testing.assert_allclose(light.mean(axis=0)[::-1], moved[30], atol=1)


def test_a_background_of_photos(tmp_path, write_image, rng):
    for number in (40, 90):
        write_image(tmp_path / f"{number}.png", number, size=(320, 400))
    made = stress.background((700, 1000), sorted(tmp_path.iterdir()), rng)
    assert made.shape == (700, 1000, 3)
    assert set(np.unique(made)) <= {40, 90}
    assert set(np.unique(stress.background((10, 10), [], rng))) == {127}
