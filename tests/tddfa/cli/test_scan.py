import json
import shutil

import numpy as np
import pytest

from tddfa.cli import main
from tddfa.scan import landmarker as module
from tddfa.scan.head import mean_landmarks
from tddfa.synthetic.scans import ScanSettings, synthetic_scan

trimesh = pytest.importorskip("trimesh")


class Network:
    def __init__(self, mean):
        self.mean, self.path = mean / module.UNIT, "mean.onnx"
        self.metadata = {
            "scan": json.dumps({"points": 400, "sigma": 6.0, "jaw_sigma": 9.0, "radius": 110.0, "inner": 0.65})
        }

    def run(self, inputs):
        squared = np.square(inputs["features"][:, None, :3] - self.mean).sum(axis=2)
        return {"heat": np.exp(squared / (-2 * 0.08**2)).astype(np.float32)}


@pytest.fixture(autouse=True)
def mean_network(monkeypatch, aligner, remembered_poses):
    """The landmarks of the mean face, in place of a trained network."""

    def load(path=None, *, snap="geodesic", points=None, register=True, device="auto", threads=None):
        return module.ScanLandmarker(Network(mean_landmarks(aligner.face_model)), aligner, snap=snap, points=points)

    monkeypatch.setattr(module.ScanLandmarker, "load", load)
    monkeypatch.setattr(module, "find_pose", remembered_poses)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, aligner):
    folder = tmp_path_factory.mktemp("scans")
    made = synthetic_scan(aligner.face_model, 7, ScanSettings(faces=1, busts=0, covered=0, rotated=False, edge=(3, 3)))
    trimesh.Trimesh(made.scan.vertices, made.scan.triangles, process=False).export(folder / "face.ply")
    trimesh.creation.box((10, 20, 30)).export(folder / "box.stl")
    (folder / "notes.txt").write_text("no scan")
    return folder


def test_a_scan_to_all_files(folder, tmp_path, capsys):
    assert main(["scan", str(folder / "face.ply"), "--out", str(tmp_path), "--heat", "30"]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"face.json", "face.npz", "face.csv", "face.pp", "face_landmarks.jpg", "face_heat30.ply"}
    assert len(json.loads((tmp_path / "face.json").read_text())["landmarks"]) == 68
    assert "read in" in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_with_what_is_no_face(folder, tmp_path, capsys):
    assert main(["scan", str(folder), "--out", str(tmp_path), "-o", "json"]) == 0
    printed = capsys.readouterr().out
    assert "box.stl: no face" in printed
    assert "notes.txt (not a scan)" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"face.json"}


def test_no_face_at_all_and_a_damaged_file(folder, tmp_path, capsys):
    assert main(["scan", str(folder / "box.stl"), "--out", str(tmp_path)]) == 255
    shutil.copy(folder / "notes.txt", tmp_path / "broken.ply")
    assert main(["scan", str(tmp_path / "broken.ply"), "--out", str(tmp_path / "out")]) == 1
    assert "broken.ply: not a scan that can be read" in capsys.readouterr().err


def test_an_output_never_replaces_an_input(folder, capsys):
    assert main(["scan", str(folder / "face.ply"), "--out", str(folder), "--heat", "3"]) == 0
    (folder / "face_heat3.ply").rename(folder / "face_fit.ply")
    for path in folder.glob("face[._]*"):
        if path.name != "face.ply":
            path.unlink()
    shutil.copy(folder / "face.ply", folder / "x_heat3.ply")
    shutil.copy(folder / "face.ply", folder / "x.ply")
    arguments = ["scan", str(folder / "x.ply"), str(folder / "x_heat3.ply"), "--out", str(folder), "--heat", "3"]
    assert main(arguments) == 1
    assert "could replace it" in capsys.readouterr().err
    for name in ("x_heat3.ply", "x.ply"):
        (folder / name).unlink()


@pytest.mark.parametrize("value", ["w", "1,2", "0,0,0", "1,2,nan"])
def test_a_wrong_direction_is_named(value, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scan", "a.ply", "--up", value])
    assert ended.value.code == 2
    assert "--up" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "up"), [("-z", (0, 0, -1)), ("-1,0,0.5", (-1, 0, 0.5)), ("y", (0, 1, 0))])
def test_a_direction_may_begin_with_a_minus_sign(word, up, monkeypatch, folder, tmp_path):
    seen = []
    monkeypatch.setattr(module, "find_pose", lambda *_, up=None, **__: seen.append(up) or [])
    assert main(["scan", str(folder / "face.ply"), "--up", word, "--out", str(tmp_path)]) == 255
    assert seen[0].tolist() == list(up)
