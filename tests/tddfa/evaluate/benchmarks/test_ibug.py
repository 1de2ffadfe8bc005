import numpy as np
import pytest

from builders import make_face
from tddfa.evaluate.benchmarks import ibug
from tddfa.evaluate.result import DataMissing, Setup


def write_pts(path, points, head="version: 1\nn_points:  68\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in np.asarray(points)[:, :2] + 1)  # they count from 1
    path.write_text(f"{head}{{\n{lines}\n}}\n")


@pytest.fixture
def labelled_image(tmp_path, scripted, write_image, shape_68):
    """Makes a labelled image; given and detected are the errors of both predictions, px; None for a missed face."""

    def make(name, number, given, detected):
        write_image(tmp_path / f"{name}.png", number)
        write_pts(tmp_path / f"{name}.pts", shape_68)
        scripted.given[number] = make_face(landmarks=shape_68 + given)
        scripted.detected[number] = [] if detected is None else [make_face(landmarks=shape_68 + detected)]

    return make


@pytest.fixture
def outer(shape_68):
    return np.linalg.norm(shape_68[36, :2] - shape_68[45, :2])


def test_known_errors_come_out(labelled_image, setup, shape_68, outer):
    jaw = np.zeros((68, 3))
    jaw[:17, 0] = 4
    labelled_image("afw/a", 10, jaw, [0, 2, 0])
    labelled_image("afw/b", 20, jaw, None)
    result = ibug.evaluate(setup)
    assert result.value("afw.missed.detector") == 1
    assert result.value("afw.nme.ground_truth.68") == pytest.approx(100 * 4 * 17 / 68 / outer, rel=1e-3)
    for part in ("51", "eyes", "mouth"):
        assert result.value(f"afw.nme.ground_truth.{part}") == pytest.approx(0, abs=0.01)
        assert result.value(f"afw.nme.detector.{part}") == pytest.approx(200 / outer, rel=1e-3)
    # a missed face counts in the curve and as a failure
    error = 200 / outer
    assert result.value("afw.auc_8.detector.51") == pytest.approx(100 * (1 - error / 8) / 2, abs=0.01)
    assert result.value("afw.auc_10.detector.68") == pytest.approx(100 * (1 - error / 10) / 2, abs=0.01)
    assert result.value("afw.failures_8.detector.51") == 50
    assert result.value("afw.failures_10.ground_truth.51") == 0
    assert [item["nme.detector.68"] is None for item in result.items] == [False, True]
    assert result.worst[-1].caption == "missed"


def test_eye_openness(tmp_path, scripted, write_image, shape_68):
    """Predicted lids have half the opening of the labels: EAR correlates, and its mean error is half of the labels."""
    openness = []
    for i, height in enumerate((0.2, 0.6, 1.0, 1.4)):
        ground_truth, actual = shape_68.copy(), shape_68.copy()
        for corners, lids in (((36, 39), (37, 38, 40, 41)), ((42, 45), (43, 44, 46, 47))):
            middle = shape_68[list(corners), 1].mean()
            ground_truth[list(lids), 1] = middle + height * (shape_68[list(lids), 1] - middle)
            actual[list(lids), 1] = middle + height / 2 * (shape_68[list(lids), 1] - middle)
        # in a image with the lids between the corners, EAR goes with their height, nearly
        openness.append(ibug.metrics.eye_openness(ground_truth))
        write_image(tmp_path / f"x/{i}.png", i)
        write_pts(tmp_path / f"x/{i}.pts", ground_truth)
        scripted.given[i] = make_face(landmarks=actual)
        scripted.detected[i] = []
    result = ibug.evaluate(Setup(tmp_path, scripted))
    assert result.value("x.ear_correlation.ground_truth") == pytest.approx(1, abs=0.03)
    assert result.value("x.ear_error.ground_truth") == pytest.approx(np.mean(openness) / 2, rel=0.15)
    assert result.value("x.ear_correlation.detector") is None
    assert result.items[0]["ear.label.right"] == pytest.approx(openness[0][0], abs=1e-3)


def test_the_last_30_percent_of_lfpw_have_figures_of_their_own(labelled_image, tmp_path, scripted, outer):
    for i in range(10):
        labelled_image(f"lfpw/image_{i:04}", i, [0, 0 if i < 7 else 3, 0], [0, 0, 0])
    result = ibug.evaluate(Setup(tmp_path, scripted))
    assert result.settings["images.lfpw (last 30 %)"] == 3
    assert result.settings["images.lfpw"] == 10
    assert result.value("lfpw (last 30 %).nme.ground_truth.51") == pytest.approx(300 / outer, rel=1e-3)
    assert result.value("lfpw.nme.ground_truth.51") == pytest.approx(90 / outer, rel=1e-2)
    # the last 30 % are those of all images, not of those that a limit leaves
    few = ibug.evaluate(Setup(tmp_path, scripted, limit=2))
    assert (few.settings["images.lfpw (last 30 %)"], few.settings["images.lfpw"]) == (0, 2)
    assert few.value("lfpw (last 30 %).nme.ground_truth.51") is None


def test_landmarks_are_measured_by_the_labels_convention(labelled_image, setup, scripted, outer):
    labelled_image("x/a", 1, [3, 0, 0], [0, 0, 0])
    scripted.conventions["300w"] = [-1, 0, 0]
    result = ibug.evaluate(setup)
    assert result.value("x.nme.ground_truth.68") == pytest.approx(200 / outer, rel=1e-3)
    assert not any("landmark convention" in note for note in result.notes)
    scripted.conventions = {"300w-lp": [0, 0, 0]}
    result = ibug.evaluate(setup)
    assert result.value("x.nme.ground_truth.68") == pytest.approx(300 / outer, rel=1e-3)
    assert any("in another one (300w-lp)" in note for note in result.notes)


def test_every_folder_is_a_set(labelled_image, setup):
    labelled_image("300W/01_Indoor/a", 1, [0, 0, 0], [0, 0, 0])
    labelled_image("300W/02_Outdoor/a", 2, [0, 0, 0], [0, 0, 0])
    labelled_image(".hidden/a", 3, [0, 0, 0], [0, 0, 0])
    result = ibug.evaluate(setup)
    assert [name for name in result.settings if name.startswith("images")] == [
        "images.300W/01_Indoor",
        "images.300W/02_Outdoor",
    ]


def test_missing_data_are_named(setup):
    with pytest.raises(DataMissing, match=r"a \.pts of 68 points"):
        ibug.evaluate(setup)


def test_without_an_image(tmp_path, setup, shape_68):
    write_pts(tmp_path / "x/a.pts", shape_68)
    with pytest.raises(ValueError, match=r"a.pts: expected its image"):
        ibug.evaluate(setup)
