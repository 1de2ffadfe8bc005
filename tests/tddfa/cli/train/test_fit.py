from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from tddfa.cli import main
from tddfa.geometry.camera import Camera
from tddfa.train.data.crops import Crops


def run(*arguments):
    return main(["train", "fit", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory, root, aligner, astronaut):
    """The astronaut twice, once flipped, with the aligner's landmarks as .pts."""
    folder = tmp_path_factory.mktemp("photos")
    for name, image in (("a", astronaut), ("b", astronaut[:, ::-1])):
        image = np.ascontiguousarray(image)
        cv2.imwrite(str(folder / f"{name}.png"), image)
        points = aligner(image)[0].landmarks[:, :2] + 1
        lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
        (folder / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return folder


def test_photos_become_labelled_crops(photos, tmp_path, capsys, face_model):
    assert run(photos, tmp_path / "out", "--source", "nasa") == 0
    assert "2 faces" in capsys.readouterr().out
    crops = Crops.open([tmp_path / "out"])
    labels = crops.labels
    assert crops.sources == {"nasa": 2}
    for i in range(2):
        points = Camera(labels.camera[i]).project(face_model.landmarks(labels.shape[i], labels.expression[i]))[:, :2]
        assert np.abs(points - labels.landmarks[i]).mean() < 0.8  # px of 160
        low, high = points.min(axis=0), points.max(axis=0)
        assert (low + high) / 2 == pytest.approx((79.5, 79.5), abs=0.05)
    assert crops.yaw()[0] == pytest.approx(-crops.yaw()[1], abs=3)
    sheet = cv2.imread(str(tmp_path / "out/fits.png"))
    assert sheet.shape == (320, 4 * 640, 3)
    assert ((sheet == (40, 40, 255)).all(axis=2)).any()


@pytest.mark.parametrize(("options", "marked"), [((), [False, True]), (("--validation", 0), [False, False])])
def test_some_are_kept_for_validation(photos, tmp_path, capsys, options, marked):
    assert run(photos, tmp_path / "out", *options) == 0
    assert f"{sum(marked)} marked for validation" in capsys.readouterr().out
    assert Crops.open([tmp_path / "out"]).labels.validation.tolist() == marked


def test_one_photo_alone_is_for_training(photos, tmp_path):
    assert run(photos, tmp_path / "out", "--first", 0.5, "--validation", 1) == 0
    assert Crops.open([tmp_path / "out"]).labels.validation.tolist() == [False]


def test_of_turned_faces_the_landmarks_alone_are_kept(photos, tmp_path, face_model):
    none = np.zeros(40, np.float32), np.zeros(55, np.float32)
    cameras = [Camera.from_pose(yaw, 0, 0, 12, (220, 120, 0)) for yaw in (5, 30)]
    points = np.stack([camera.project(face_model.landmarks(*none)) for camera in cameras])
    names = np.array(["a.png", "b.png"])
    for axes, has_params in ((2, [True, False]), (3, [True, True])):
        np.savez(tmp_path / "points.npz", landmarks=points[..., :axes], names=names)
        out = tmp_path / f"out{axes}"
        assert run(photos, out, "--landmarks", tmp_path / "points.npz", "--max-yaw", 15) == 0
        labels = Crops.open([out]).labels
        assert labels.has_params.tolist() == has_params
        known = np.isfinite(labels.landmarks).all(axis=2)
        assert known[0].all()
        assert known[1, 17:].all()
        # annotators of 2D images see another jaw on a turned face
        assert known[1, :4].any() == (axes == 3)


def test_landmarks_of_a_file_and_a_map(photos, tmp_path, face_model):
    vertices = np.flatnonzero(face_model.part == 0)[::80]
    camera = Camera.from_pose(10, 0, 0, 12, (220, 120, 0))
    points = camera.project(face_model.mean[vertices])
    np.savez(tmp_path / "points.npz", landmarks=points[None], names=np.array(["../secret/a.png"]))
    np.savez(tmp_path / "map.npz", vertices=vertices)
    assert run(photos, tmp_path / "out", "--landmarks", tmp_path / "points.npz", "--map", tmp_path / "map.npz") == 0
    crops = Crops.open([tmp_path / "out"])
    assert crops.yaw()[0] == pytest.approx(10, abs=0.5)
    assert np.isnan(crops.labels.landmarks).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"vertices": np.array([1, 99999])}, "vertices: expected indices"),
        ({"vertices": np.array([1, 2]), "pairs": np.array([[0, 2]])}, "pairs: expected indices"),
        ({"triangles": np.zeros((2, 3), int)}, "expected 'vertices', or 'triangles' and 'weights'"),
        ({"triangles": np.zeros((2, 3), int), "weights": np.zeros((3, 3))}, "weights: expected shape"),
    ],
)
def test_a_bad_map_is_an_error(photos, tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "map.npz", **arrays)
    assert run(photos, tmp_path / "out", "--map", tmp_path / "map.npz") == 1
    error = capsys.readouterr().err
    assert message in error
    assert "map.npz" in error
    assert not (tmp_path / "out").exists()


def test_missing_input_is_an_error(photos, tmp_path, capsys):
    assert run(tmp_path, tmp_path / "out") == 1
    assert "expected photos" in capsys.readouterr().err
    assert run(photos, tmp_path / "out", "--max-error", "0.0001") == 1
    assert "max_error: expected some fits within" in capsys.readouterr().err
    np.savez(tmp_path / "points.npz", points=np.zeros(3))
    assert run(photos, tmp_path / "out", "--landmarks", tmp_path / "points.npz") == 1
    assert "expected an array 'names'" in capsys.readouterr().err
    shutil.copy(photos / "a.png", tmp_path / "c.png")
    assert run(tmp_path, tmp_path / "out") == 1
    assert "c.pts" in capsys.readouterr().err
