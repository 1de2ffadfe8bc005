import cv2
import numpy as np
import pytest

from builders import make_face
from tddfa.evaluate.benchmarks import aflw
from tddfa.evaluate.result import DataMissing, Setup
from tddfa.synthetic import Head, State, render

BOX = np.array([40.0, 20.0, 280.0, 260.0])  # of 240 px: two px of the photo are one of the crop


@pytest.fixture
def made(tmp_path, scripted, write_image, shape_68):
    """Three crops; predictions are off by 3 px of the crop, 6 px of AFLW's image."""
    rows = {"roi_box": [], "yaws": [], "pts21": [], "pts68": []}
    names = []
    for i, yaw in enumerate((0, -45, 80)):
        ground_truth = 1.5 * shape_68[:, :2] + 10
        write_image(tmp_path / f"test.data/AFLW_GT_crop/{i}.png", i, size=(120, 120))
        in_crop = (ground_truth - BOX[:2] + 0.5) / 2 - 0.5  # px centres
        scripted.given[i] = make_face(landmarks=np.add(in_crop, [3, 0]))
        points = aflw.points_21(ground_truth)
        points[2 * i : 2 * i + 3] = -1
        names.append(f"{i}.png")
        for name, value in zip(rows, (BOX, yaw, points.T, ground_truth.T), strict=True):
            rows[name].append(value)
    folder = tmp_path / "test.configs"
    folder.mkdir()
    for name, kind in (("roi_box", "_crop"), ("yaws", "_crop"), ("pts21", ""), ("pts68", "")):
        np.save(folder / f"AFLW_GT{kind}_{name}.npy", np.array(rows[name]))
    (tmp_path / "test.data/AFLW_GT_crop.list").write_text("\n".join(names))
    return tmp_path


def test_known_errors_come_out(made, setup, shape_68, scripted, roi_rule):
    result = aflw.evaluate(setup)
    length = 1.5 * np.sqrt(np.prod(np.ptp(shape_68[:, :2], axis=0)))
    for name in ("0-30", "30-60", "60-90", "bins", "all"):
        assert result.value(f"nme_21.{name}") == pytest.approx(600 / length, rel=1e-4)
    assert [result.settings[f"images.{name}"] for name in ("0-30", "30-60", "60-90")] == [1, 1, 1]
    in_crop = (1.5 * shape_68[:, :2] + 10 - BOX[:2] + 0.5) / 2 - 0.5
    assert scripted.rois[0].left == pytest.approx(roi_rule(in_crop, scripted.crop).left, abs=1e-4)


def test_points_without_a_label_do_not_count(made, setup):
    path = made / "test.configs/AFLW_GT_pts21.npy"
    points = np.load(path)
    points[0] = -1
    np.save(path, points)
    result = aflw.evaluate(setup)
    assert result.items[0]["nme_21"] is None
    assert result.value("nme_21.0-30") is None
    assert result.value("nme_21.all") is not None
    assert "Images without a labelled point (1)" in result.notes[0]


def test_the_21_points(rng):
    """The indices of 3DDFA, which count from 1."""
    points = rng.normal(size=(68, 2))
    actual = aflw.points_21(points)
    assert actual.shape == (21, 2)
    one_based = {
        0: 18,
        5: 27,
        6: 37,
        8: 40,
        9: 43,
        11: 46,
        12: 3,
        13: 32,
        14: 31,
        15: 36,
        16: 15,
        17: 49,
        19: 55,
        20: 9,
    }
    for index, point in one_based.items():
        np.testing.assert_array_equal(actual[index], points[point - 1])
    np.testing.assert_allclose(actual[7], points[36:42].mean(axis=0))
    np.testing.assert_allclose(actual[10], points[42:48].mean(axis=0))
    np.testing.assert_allclose(actual[18], points[60:68].mean(axis=0))


@pytest.mark.parametrize("name", ["AFLW_GT_pts68.npy", "AFLW_GT_crop_yaws.npy"])
def test_missing_data_are_named(made, setup, name):
    (made / "test.configs" / name).unlink()
    with pytest.raises(DataMissing, match=rf"no file {name} .* expected DIR/AFLW_GT_crop"):
        aflw.evaluate(setup)


def test_no_data(tmp_path, setup):
    with pytest.raises(DataMissing, match="no folder AFLW_GT_crop"):
        aflw.evaluate(setup)
    (tmp_path / "AFLW_GT_crop").mkdir()
    with pytest.raises(DataMissing, match=r"no file AFLW_GT_crop.list"):
        aflw.evaluate(setup)


def test_rows_that_do_not_fit(made, setup):
    np.save(made / "test.configs/AFLW_GT_crop_yaws.npy", np.zeros(2))
    with pytest.raises(ValueError, match=r"yaws.npy: expected a row for each of the 3 images"):
        aflw.evaluate(setup)


def test_rendered_heads(tmp_path, aligner, astronaut):
    """The real aligner on crops like those of 3DDFA: square, the root of 2 times the box of the landmarks."""
    head = Head.from_photo(astronaut, aligner, size=256)
    rows = {"_crop_roi_box": [], "_crop_yaws": [], "_pts21": [], "_pts68": []}
    (tmp_path / "AFLW_GT_crop").mkdir()
    for i, yaw in enumerate((0, 40)):
        image, (ground_truth,) = render((400, 400), [(head, State(yaw, 0, 10, size=190, x=200, y=200))])
        points = ground_truth.landmarks[:, :2]
        half = np.ptp(points, axis=0).max() / np.sqrt(2)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        left, top, right, bottom = (round(float(v)) for v in (*(middle - half), *(middle + half)))
        crop = cv2.resize(image[top:bottom, left:right], (120, 120), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(tmp_path / f"AFLW_GT_crop/{i}.png"), crop)
        for name, value in zip(
            rows, ((left, top, right, bottom), yaw, aflw.points_21(points).T, points.T), strict=True
        ):
            rows[name].append(value)
    for name, values in rows.items():
        np.save(tmp_path / f"AFLW_GT{name}.npy", np.array(values, dtype=np.float32))
    (tmp_path / "AFLW_GT_crop.list").write_text("0.png\n1.png\n")
    result = aflw.evaluate(Setup(tmp_path, aligner))
    assert result.value("nme_21.all") < 3
