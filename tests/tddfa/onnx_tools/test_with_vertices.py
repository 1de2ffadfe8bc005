import numpy as np
import pytest

pytest.importorskip("onnx")

from tddfa import Aligner
from tddfa.crop import crop_image
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.onnx_tools import with_vertices as dense
from tddfa.onnx_tools.graph import GraphError
from tddfa.onnx_tools.with_vertices import with_vertices


@pytest.fixture(scope="module")
def regressor(root):
    return (root / "weights/open_mb05.onnx").read_bytes()


@pytest.fixture(scope="module")
def face_model(root):
    return FaceModel.load(root / "configs/open_face.npz")


@pytest.fixture(scope="module")
def path(regressor, face_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "dense.onnx"
    path.write_bytes(with_vertices(regressor, face_model))
    return path


def test_vertices_of_a_batch_are_those_of_the_face_model_and_camera(path, aligner, two_people):
    once = Aligner(aligner.regressor, aligner.decoder)
    faces = once(two_people, boxes=[face.box for face in aligner(two_people)])
    assert len(faces) == 2
    crops = np.empty((len(faces), 120, 120, 3), np.uint8)
    for crop, face in zip(crops, faces, strict=True):
        crop_image(two_people, face.roi, crop)
    outputs = Model(path, "cpu", 1)(crops)
    for vertices, face in zip(outputs["vertices"], faces, strict=True):
        expected = aligner.decoder.mesh(face).vertices
        (scale, _, dx), (_, _, dy) = face.roi.crop_to_image(120)
        assert np.ptp(expected[:, 0]) > 60
        np.testing.assert_allclose(vertices * scale + np.float32([dx, dy, 0]), expected, atol=1e-3 * scale)


def test_other_outputs_stay(path, root, rng):
    crops = rng.integers(0, 256, (3, 120, 120, 3), dtype=np.uint8)
    plain, both = Model(root / "weights/open_mb05.onnx", "cpu", 1)(crops), Model(path, "cpu", 1)(crops)
    assert set(both) == {*plain, "vertices"}
    for name, value in plain.items():
        np.testing.assert_allclose(both[name], value, rtol=1e-5, atol=1e-6)


def test_a_wrong_face_model_or_file_gives_an_error(root, path, regressor, face_model, tmp_path):
    with pytest.raises(GraphError, match="the model has an output 'vertices' already"):
        with_vertices(path.read_bytes(), face_model)
    with pytest.raises(GraphError, match="expected outputs camera, shape, expression, got scores, offsets"):
        with_vertices((root / "weights/faceboxes.onnx").read_bytes(), face_model)
    other = FaceModel(
        **{name: getattr(face_model, name) for name in face_model.__dataclass_fields__}
        | {"basis": face_model.basis[1:], "shape_count": face_model.shape_count - 1, "mirror_shape": None}
    )
    with pytest.raises(GraphError, match="expected the face model's 39 shapes and 55 expressions, got 40 and 55"):
        with_vertices(regressor, other)


class TestCommand:
    def test_it_writes_the_file(self, root, tmp_path, path):
        names = [root / "weights/open_mb05.onnx", root / "configs/open_face.npz", tmp_path / "out.onnx"]
        assert dense.main([str(name) for name in names]) == 0
        assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()

    def test_bad_files_give_one_line_with_their_name(self, root, tmp_path, capsys):
        bad = tmp_path / "bad"
        bad.write_bytes(b"nothing")
        model, face = root / "weights/open_mb05.onnx", root / "configs/open_face.npz"
        for names in ((bad, face), (model, bad), (model, tmp_path / "none"), (tmp_path / "none", face)):
            assert dense.main([*map(str, names), str(tmp_path / "out.onnx")]) == 1
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert "bad" in error or "none" in error
        assert not (tmp_path / "out.onnx").exists()
