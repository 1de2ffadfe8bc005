import numpy as np
import pytest

pytest.importorskip("trimesh")

from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tddfa.cli import main
from tddfa.model.face_model import FaceModel
from tddfa.scan.head import mean_landmarks
from tddfa.scan.mesh import Scan
from tddfa.synthetic.scans import LabelledScan, ScanSettings, synthetic_scan
from tddfa.train.scan.marked import marked_scan
from tddfa.train.scan.shards import read_scans


@pytest.fixture(scope="module")
def model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def made(model):
    plain = ScanSettings(noise=(0, 0.01), holes=(0, 0), covered=0, cameras=0, remeshed=0, neutral=1, rotated=False)
    return synthetic_scan(model, 5, plain)


def write(folder, made, *, per_mm=1.0, turn=None, name="head"):
    """Write a scan with the layout of 2S-SGCN, its vertices doubled, and return the places of its marks."""
    turn = np.eye(3) if turn is None else turn
    vertices = made.scan.vertices @ turn.T * per_mm
    _, indices = cKDTree(made.scan.vertices).query(made.landmarks)
    doubled = np.repeat(vertices, 2, axis=0)
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}\nvt {x:.4g} {y:.4g}\n" for x, y, z in doubled]
    lines += [
        "f " + " ".join(f"{2 * k + 1}/{2 * k + 1 + corner % 2}" for corner, k in enumerate(row)) + "\n"
        for row in made.scan.triangles.tolist()
    ]
    (folder / f"{name}.obj").write_text("".join(lines))
    np.savez(folder / f"{name}.npz", v10=2 * indices)
    return made.scan.vertices[indices]


@pytest.mark.parametrize(("per_mm", "angles"), [(0.001, (100, -40, 20)), (1 / 25.4, (0, 180, 0))])
def test_the_marks_of_any_unit_and_pose_are_read_in_mm(tmp_path, made, model, per_mm, angles):
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    expected = write(tmp_path, made, per_mm=per_mm, turn=turn)
    read = marked_scan(tmp_path / "head.obj", mean_landmarks(model))
    np.testing.assert_allclose(read.landmarks @ turn, expected, atol=0.01)
    assert len(read.scan.vertices) <= len(made.scan.vertices)
    # the frame of the head, to the difference of this head and the mean one
    off = Rotation.from_matrix(read.rotation.T @ turn @ made.rotation).magnitude()
    assert np.degrees(off) < 8


def test_a_face_of_no_known_unit_gets_the_usual_size(tmp_path, made, model):
    """Such as one that is 2 units high."""
    mean = mean_landmarks(model)
    write(tmp_path, made, per_mm=2 / np.ptp(made.landmarks[:, 1]))
    read = marked_scan(tmp_path / "head.obj", mean)
    assert np.ptp(read.landmarks[:, 1]) == pytest.approx(np.ptp(mean[:, 1]), rel=0.15)


@pytest.mark.slow
def test_prepared_scans_can_be_trained_on(tmp_path, made, capsys):
    marks = write(tmp_path, made)
    write(tmp_path, made, per_mm=0.1, turn=Rotation.from_rotvec([0, 1, 0]).as_matrix(), name="other")
    (tmp_path / "unmarked.obj").write_text("v 0 0 0\n")
    assert main(["train", "prepare", "marked", str(tmp_path / "out"), "--meshes", str(tmp_path)]) == 0
    assert "2 of 2" in capsys.readouterr().out
    points = read_scans([tmp_path / "out"])
    assert len(points) == 2
    np.testing.assert_allclose(np.ptp(points.landmarks, axis=1), np.ptp(marks, axis=0)[None].repeat(2, 0), rtol=0.1)
    near, _ = cKDTree(points.face[0].astype(float)).query(points.landmarks[0])
    assert np.median(near) < 3  # marks are on the surface


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"v10": np.zeros(67, int)}, "v10: expected shape"),
        ({"v10": np.full(68, 10**6)}, "v10: expected indices 0.."),
        ({"v10": np.zeros(68, int)}, "expected landmarks at different places"),
        ({"v9": np.zeros(68, int)}, "expected an array 'v10', got none"),
        (None, "no scans"),
    ],
)
def test_wrong_marks(tmp_path, capsys, arrays, reason):
    points = np.random.default_rng(0).normal(0, 50, (80, 3))
    write(tmp_path, LabelledScan(Scan(points, np.int32([[0, 1, 2]])), points[:68], np.eye(3), covered=False))
    if arrays is None:
        (tmp_path / "head.npz").unlink()
    else:
        np.savez(tmp_path / "head.npz", **arrays)
    assert main(["train", "prepare", "marked", str(tmp_path / "out"), "--meshes", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert str(tmp_path) in error
    assert not (tmp_path / "out").exists()
