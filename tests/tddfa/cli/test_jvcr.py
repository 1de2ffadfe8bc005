"""The commands with a model of JVCR: one that sees the same face everywhere."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from tddfa.cli import main  # noqa: E402
from tddfa.jvcr.grid import with_centres  # noqa: E402
from tddfa.landmarks68 import OUTER_EYE_CORNERS  # noqa: E402
from tddfa.train.jvcr.export import export_jvcr  # noqa: E402
from tddfa.train.jvcr.networks import Jvcr  # noqa: E402
from tddfa.train.jvcr.settings import NetworkSettings  # noqa: E402

CONFIG = """
model: {model}
kind: jvcr
face_model: {root}/configs/open_face.npz
refine: 1
flip: true
crop: {{ size: 64, box_shift_y: 0.155, box_scale: 1.11, landmark_scale: 1.25 }}
detector: open_mb05
"""
BOXES = [[150, 60, 330, 290], [20, 20, 120, 150]]


@pytest.fixture(scope="module")
def config(root, tmp_path_factory, aligner, astronaut):
    """A config whose network predicts the astronaut's points for every crop."""
    folder = tmp_path_factory.mktemp("jvcr")
    (face,) = aligner(astronaut)
    points = face.landmarks.copy()
    points[:, :2] -= (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2
    points *= 64 / 1.25 / np.ptp(points[:, :2], axis=0).max()
    points[:, :2] += 31.5
    points[:, 2] -= points[:, 2].mean()
    torch.manual_seed(0)
    network = Jvcr(
        NetworkSettings(size=64, depths=(1, 16), features=8, block="separable", coordinate_features=(4, 8, 8))
    )
    network.coordinates.start_from(torch.from_numpy(with_centres(points)))
    torch.nn.init.zeros_(network.coordinates.head.weight)
    export_jvcr(network, folder / "tiny.onnx", np.zeros((1, 64, 64, 3), np.uint8), {})
    path = folder / "tiny.yml"
    path.write_text(CONFIG.format(model=folder / "tiny.onnx", root=root))
    return path


@pytest.fixture
def photo(tmp_path, astronaut):
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), astronaut)
    (tmp_path / "boxes.json").write_text(json.dumps({path.name: BOXES}))
    return path


def run(config, photo, *arguments):
    return main([
        "image", str(photo), "-c", str(config), "--boxes", str(photo.with_name("boxes.json")), "--device", "cpu",
        "--show-flag", "false", "--out", str(photo.parent / "out"), *arguments,
    ])  # fmt: skip


def written(photo):
    return sorted(path.name for path in (photo.parent / "out").iterdir())


def test_images_numbers_and_tables_of_several_faces(config, photo, capsys):
    assert run(config, photo, "-o", "2d_sparse,pose,volume", "--json", "--landmarks-csv") == 0
    images = [f"photo_{kind}.jpg" for kind in ("2d_sparse", "pose", "volume")]
    assert written(photo) == sorted([*images, "photo.json", "photo_landmarks_0.csv", "photo_landmarks_1.csv"])
    assert "2 faces" in capsys.readouterr().out
    faces = json.loads((photo.parent / "out" / "photo.json").read_text())["faces"]
    for index, face in enumerate(faces):
        assert [face[key] for key in ("shape", "expression", "gaze", "visible", "six_dof")] == 5 * [None]
        table = np.loadtxt(photo.parent / "out" / f"photo_landmarks_{index}.csv", delimiter=",")
        assert np.allclose(table, face["landmarks"], atol=2e-3)
        x1, _, x2, _ = BOXES[index]
        assert x1 < table[:, 0].mean() < x2
        assert table[OUTER_EYE_CORNERS[0], 0] < table[OUTER_EYE_CORNERS[1], 0]
        assert abs(face["pose"]["yaw"]) < 15


def test_kinds_that_need_a_mesh_say_so_before_work_starts(config, photo, capsys):
    assert run(config, photo, "-o", "2d_sparse,3d") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "-o 3d: expected a model with a mesh, got one of 68 points; --fit-mesh fits a mesh to them" in lines[-1]
    assert not (photo.parent / "out").exists()


def test_volumes_need_jvcr(photo, capsys):
    assert run("open_mb05", photo, "-o", "volume") == 2
    assert "expected a model that predicts volumes" in capsys.readouterr().err


def test_a_fitted_mesh_makes_every_kind(config, photo):
    assert run(config, photo, "-o", "3d,uv_tex,ply,volume", "--json", "--fit-mesh", "--uv-size", "64") == 0
    assert "photo.ply" in written(photo)
    faces = json.loads((photo.parent / "out" / "photo.json").read_text())["faces"]
    assert all(len(face["visible"]) == 68 and "jawOpen" in face["expression"] for face in faces)


def test_videos(config, tmp_path, root, capsys):
    source = root / "examples/inputs/videos"
    video = next(iter(sorted(Path(source).glob("*.mp4"))))
    arguments = ["-c", str(config), "--device", "cpu", "--out", str(tmp_path), "-e", "3", "-o", "pose"]
    assert main(["video", str(video), *arguments, "--save", str(tmp_path / "faces.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    faces = [face for row in rows for face in row.get("faces", [])]
    assert faces
    assert all(face["shape"] is None and len(face["landmarks"]) == 68 for face in faces)
    assert list(tmp_path.glob("*_pose*.mp4"))
    assert main(["video", str(video), *arguments[:-1], "3d"]) == 2
    assert "--fit-mesh" in capsys.readouterr().err


def test_aflw2000_3d_measures_points_in_3d(config, tmp_path, aligner, astronaut, capsys):
    """Labels that are the points of the network, in the landmark convention of the labels."""
    (face,) = aligner(astronaut)
    labels = aligner.decoder.landmarks(face, "300w-lp").astype(np.float64)
    folder = tmp_path / "aflw2000"
    folder.mkdir()
    cv2.imwrite(str(folder / "image00001.png"), astronaut)
    savemat(folder / "image00001.mat", {"pt3d_68": labels.T, "Pose_Para": np.zeros((1, 7))})
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu", "--refine", "0"]
    assert main(["evaluate", "aflw2000-3d", "-c", str(config), *arguments]) == 0
    (path,) = (tmp_path / "out").rglob("aflw2000-3d.json")
    figures = {figure["name"]: figure["value"] for figure in json.loads(path.read_text())["figures"]}
    # the crop is that of the labels, whose convention moves it a little
    assert figures["gte.300w-lp.ground_truth"] < 6
    assert figures["nme_3d.300w-lp.ground_truth"] < 4
    assert figures["mean_face.gte"] > 2 * figures["gte.300w-lp.ground_truth"]
    assert "GTE" in capsys.readouterr().out
