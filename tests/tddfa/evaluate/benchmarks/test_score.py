import cv2
import numpy as np
import pytest

from tddfa.evaluate.benchmarks import score
from tddfa.evaluate.result import DataMissing, Setup


@pytest.fixture(scope="module")
def labelled(aligner, root, tmp_path_factory):
    """A photo with the landmarks that the model predicts in it, and images without a face."""
    folder = tmp_path_factory.mktemp("score")
    image = cv2.imread(str(root / "examples/inputs/grace_hopper.jpg"))
    (face,) = aligner(image)
    for name in ("photos", "negatives"):
        (folder / name).mkdir()
    assert cv2.imwrite(str(folder / "photos/hopper.png"), image)
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in face.landmarks[:, :2] + 1)
    (folder / "photos/hopper.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    for k in range(2):
        noise = np.random.default_rng(k).integers(0, 255, (12, 16, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"negatives/{k}.png"), cv2.resize(noise, (320, 240)))
    return folder


def test_the_shipped_score_tells_right_from_wrong(aligner, labelled, monkeypatch):
    monkeypatch.setattr(score, "_CROPS", 6)
    result = score.evaluate(Setup(labelled, aligner))
    assert result.settings == {"photos": 1, "images without a face": 1}
    for passes in ("first", "all"):
        assert result.value(f"{passes}.right.count") >= 8 and result.value(f"{passes}.wrong.count") >= 8
        assert result.value(f"{passes}.auc") > 0.95
        assert result.value(f"{passes}.right") >= 90 and result.value(f"{passes}.wrong") >= 80
        assert result.value(f"{passes}.placed.right") == 100
        assert result.value(f"{passes}.none.wrong") == 100
    assert score.evaluate(Setup(labelled, aligner)).figures == result.figures


def test_no_photos(tmp_path, aligner):
    with pytest.raises(DataMissing, match="no photos with landmarks"):
        score.evaluate(Setup(tmp_path, aligner))


def test_figures_of_known_scores():
    error = np.array([1, 5, 7, 10, 20, np.inf, np.nan, 30])
    scores = np.array([0.9, 0.5, 0.4, 0.1, 0.6, 0.1, 0.9, 0.49])
    figures = {each.name: each.value for each in score._figures("k", "all", error, scores, counts=True)}
    assert figures["k.right"] == pytest.approx(200 / 3) and figures["k.wrong"] == pytest.approx(200 / 3)
    assert (figures["k.right.count"], figures["k.wrong.count"]) == (3, 3)
    assert figures["k.auc"] == pytest.approx((3 + 2 + 1) / 9)


@pytest.mark.parametrize(
    ("centre", "side", "free"),
    [
        ((100, 100), 50, False),  # on the face
        ((100, 100), 15, True),  # within it
        ((100, 100), 400, True),  # the face is tiny
        ((130, 100), 50, False),  # beside it, too near
        ((140, 100), 50, True),
        ((160, 100), 100, False),  # the larger side counts
    ],
)
def test_where_no_face_could_be_aligned(centre, side, free):
    assert score.shows_no_face(np.array(centre, float), side, np.array([[100.0, 100, 50]])) == free
    assert score.shows_no_face(np.array(centre, float), side, np.zeros((0, 3)))


def test_a_cut_face_keeps_its_labels(rng):
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.stack(np.meshgrid(np.linspace(60, 140, 17), np.linspace(60, 140, 4)), axis=-1).reshape(-1, 2)
    cv2.circle(image, (100, 100), 3, (255, 255, 255), -1)
    for _ in range(20):
        part, moved = score.cut(image, points, rng)
        outside = (moved < 0) | (moved >= part.shape[1::-1])
        assert 0.05 < outside.any(axis=1).mean() < 0.9
        light = np.argwhere(part[..., 0] > 100)
        if len(light) == 29:
            np.testing.assert_allclose(light.mean(axis=0)[::-1] - moved[0], [40, 40], atol=0.01)
