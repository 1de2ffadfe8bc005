import subprocess
import sys

import numpy as np
import pytest

from builders import make_face, make_face_model
from tddfa import Camera, CropRule, Decoder
from tddfa.crop import to_image

RULE = CropRule(size=24, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.5)
OFFSETS = np.random.default_rng(5).normal(size=(68, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return make_face_model(landmark_offsets={"theirs": OFFSETS})


@pytest.fixture
def face(model):
    camera = Camera.from_pose(20, -10, 5, 12, (100, 80, 0))
    return make_face(model, camera, shape=np.ones(2, np.float32), expression=np.full(3, 0.5, np.float32))


class TestLoad:
    def test_equals_the_aligners(self, aligner, astronaut):
        decoder = Decoder.load("open_mb05")
        (face,) = aligner(astronaut)
        np.testing.assert_array_equal(decoder.mesh(face).vertices, aligner.decoder.mesh(face).vertices)
        assert (decoder.convention, decoder.unit, decoder.crop_rule) == ("300w", "cm", aligner.crop)

    def test_loads_no_network(self):
        code = "import sys; from tddfa import Decoder; Decoder.load('open_mb05'); print('onnxruntime' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_unknown_conventions_are_named(self):
        with pytest.raises(ValueError, match="open_mb05: convention: expected one of 300w, 300w-lp, got 'x'"):
            Decoder.load("open_mb05", convention="x")


class TestConvention:
    def test_landmarks_are_on_the_surface_by_default(self, model, face):
        decoder = Decoder(model, RULE)
        mesh = decoder.mesh(face)
        on_surface = (mesh.vertices[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
        np.testing.assert_allclose(decoder.landmarks(face), on_surface, atol=1e-4)
        assert decoder.landmarks(face) is face.landmarks

    def test_offsets_are_rotated_and_scaled(self, model, face):
        moved = Decoder(model, RULE).landmarks(face, "theirs") - face.landmarks
        np.testing.assert_allclose(moved, OFFSETS @ face.camera.matrix[:, :3].T, atol=1e-4)

    def test_a_decoder_with_a_convention(self, model, face):
        own, theirs = Decoder(model, RULE), Decoder(model, RULE, "theirs")
        converted = theirs.to_convention(face.landmarks, face.camera.matrix)
        np.testing.assert_allclose(converted, own.landmarks(face, "theirs"), atol=1e-4)
        params = face.params
        rebuilt = theirs.rebuild(face, camera=face.camera, shape=params.shape, expression=params.expression)
        np.testing.assert_allclose(rebuilt.landmarks, converted, atol=1e-4)
        np.testing.assert_allclose(theirs.landmarks(rebuilt, model.convention), face.landmarks, atol=1e-4)
        with pytest.raises(ValueError, match="convention: expected one of 300w, theirs, got 'x'"):
            theirs.landmarks(face, "x")


@pytest.mark.parametrize("rounded", [False, True])
def test_parameters_landmarks_and_camera_of_a_rebuilt_face_agree(model, face, rounded):
    decoder = Decoder(model, CropRule(24, 0.1, 1.2, 1.5, rounded))
    camera = Camera.from_pose(-30, 5, 0, 9, (60, 70, 1))
    shape, expression = np.array([0.3, -1], np.float32), np.array([0, 1, 0.2], np.float32)
    rebuilt = decoder.rebuild(face, camera=camera, shape=shape, expression=expression)
    again = to_image(rebuilt.roi, rebuilt.params.camera, decoder.crop_rule)
    np.testing.assert_allclose(again.matrix, camera.matrix, atol=1e-4)
    np.testing.assert_allclose(rebuilt.landmarks, camera.project(model.landmarks(shape, expression)), atol=1e-4)
    assert decoder.expression(rebuilt) == pytest.approx({"a": 0, "b": 1, "c": 0.2})


@pytest.mark.parametrize("call", ["mesh", "landmarks", "visible", "six_dof", "expression", "arkit", "gaze"])
def test_a_list_of_faces_is_named(aligner, astronaut, call):
    faces = aligner(astronaut)
    with pytest.raises(TypeError, match="face: expected a Face, got list; call it for each face"):
        getattr(aligner.decoder, call)(faces)
    with pytest.raises(TypeError, match=r"face: expected a Face, got NoneType$"):
        getattr(aligner.decoder, call)(None)
