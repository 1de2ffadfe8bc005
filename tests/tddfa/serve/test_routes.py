"""Images, files and chosen keys of the faces of an image, and what the answers are checked against."""

import io
import json
import tempfile

import cv2
import jsonschema
import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient
from pydantic import TypeAdapter, ValidationError

from tddfa import Intrinsics
from tddfa.outputs import Options, Outputs, image_kinds
from tddfa.serve.answers import FACE_KEYS, Face
from tddfa.serve.app import create_app


@pytest.fixture(scope="module")
def photo(root):
    return (root / "examples/inputs/astronaut.jpg").read_bytes()


@pytest.fixture(scope="module")
def grey():
    """An image without a face."""
    return cv2.imencode(".png", np.full((64, 96, 3), 128, np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def client(aligner):
    with TestClient(create_app(aligner)) as client:
        yield client


def post(client, route, content, accept="*/*", **options):
    headers = {"Content-Type": "image/jpeg", "Accept": accept}
    return client.post(route, content=content, headers=headers, params=options)


def decoded(answer):
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


class TestDraw:
    @pytest.mark.parametrize("kind", [name for name in image_kinds() if name != "volume"])
    def test_every_kind_is_that_of_the_outputs(self, client, aligner, astronaut, photo, kind):
        expected = Outputs(astronaut, aligner(astronaut), aligner).draw(kind)
        answer = post(client, f"/v1/draw/{kind}", photo, "image/png")
        assert answer.headers["Content-Type"] == "image/png"
        np.testing.assert_array_equal(decoded(answer), expected)

    def test_options_are_those_of_the_kind(self, client, aligner, astronaut, photo):
        faces = aligner(astronaut)
        expected = Outputs(astronaut, faces, aligner, Options(background="black", alpha=0.5, style="classic")).draw(
            "3d"
        )
        answer = post(client, "/v1/draw/3d", photo, "image/png", background="black", alpha=0.5, style="classic")
        np.testing.assert_array_equal(decoded(answer), expected)
        camera = Intrinsics.from_field_of_view(30, (512, 512))
        expected = Outputs(astronaut, faces, aligner, Options(intrinsics=camera)).draw("6dof")
        np.testing.assert_array_equal(decoded(post(client, "/v1/draw/6dof", photo, "image/png", fov=30)), expected)

    def test_jpeg_is_the_default(self, client, photo):
        answer = post(client, "/v1/draw/box", photo)
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert decoded(answer).shape == (512, 512, 3)

    @pytest.mark.parametrize("kind", [name for name in image_kinds() if image_kinds()[name].over_image])
    def test_without_a_face_it_is_the_image(self, client, grey, kind):
        image = decoded(post(client, f"/v1/draw/{kind}", grey, "image/png"))
        assert (image == 128).all()
        assert image.shape == (64, 96, 3)

    @pytest.mark.parametrize(
        ("route", "options", "reason"),
        [
            ("volume", {}, "kind: expected one of 2d_sparse, 2d_dense, "),  # the model predicts none
            ("nothing", {}, "kind: expected one of 2d_sparse, 2d_dense, "),
            ("3d", {"alpha": 2}, "alpha: "),
            ("3d", {"style": "oil"}, "style: "),
            ("3d", {"fov": 30}, "fov: unknown option of 3d; expected background, alpha, style"),
            ("box", {"alpha": 0.5}, "alpha: unknown option of box; expected none"),
        ],
    )
    def test_wrong_options(self, client, photo, route, options, reason):
        answer = post(client, f"/v1/draw/{route}", photo, **options)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(reason)

    @pytest.mark.parametrize("name", ["fov", "dense", "outputs"])
    def test_options_of_json_alone(self, client, photo, name):
        value = {"fov": 30, "dense": "false", "outputs": "pose"}[name]
        answer = post(client, "/v1/faces", photo, "application/x-npz", **{name: value})
        assert (answer.status_code, answer.json()["detail"].partition(":")[0]) == (422, name)

    def test_an_option_twice(self, client, photo):
        answer = post(client, "/v1/faces?fov=30", photo, fov=[30, 60])
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("fov: expected once, got ")

    def test_a_texture_needs_a_face(self, client, grey):
        answer = post(client, "/v1/draw/uv_tex", grey)
        assert (answer.status_code, answer.json()["detail"]) == (422, "image: expected a face for uv_tex, got none")

    def test_an_image_that_cannot_be_made_has_a_reason(self, client, photo, monkeypatch):
        def no_texture(*_, **__):
            raise ValueError("mesh: expected a mesh with uv, got none")

        monkeypatch.setattr("tddfa.outputs.prepared.unwrap", no_texture)  # as of a face model without a texture
        for route, accept, name in (
            ("/v1/draw/uv_tex", "*/*", "uv_tex"), ("/v1/faces", "model/gltf-binary", "model/gltf-binary"),
        ):  # fmt: skip
            answer = post(client, route, photo, accept)
            assert answer.status_code == 422
            assert answer.json()["detail"] == f"{name}: mesh: expected a mesh with uv, got none"

    def test_another_type_is_refused(self, client, photo):
        answer = post(client, "/v1/draw/3d", photo, "image/webp")
        assert (answer.status_code, answer.json()["detail"]) == (406, "Accept: expected one of image/jpeg, image/png")


class TestFiles:
    @pytest.fixture(autouse=True)
    def _no_file_stays(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        yield
        assert list(tmp_path.iterdir()) == []

    def test_npz(self, client, aligner, astronaut, photo):
        answer = post(client, "/v1/faces", photo, "application/x-npz")
        assert answer.headers["Content-Type"] == "application/x-npz"
        (face,) = aligner(astronaut)
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
            np.testing.assert_array_equal(arrays["landmarks"], face.landmarks[None])
            np.testing.assert_array_equal(arrays["camera"], face.camera.matrix[None])

    def test_npz_of_no_face(self, client, grey):
        answer = post(client, "/v1/faces", grey, "application/x-npz")
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
            assert arrays["landmarks"].shape == (0, 68, 3)

    def test_glb(self, client, aligner, astronaut, photo, tmp_path):
        answer = post(client, "/v1/faces", photo, "model/gltf-binary")
        assert answer.headers["Content-Type"] == "model/gltf-binary"
        saved = Outputs(astronaut, aligner(astronaut), aligner).save("glb", tmp_path / "faces")[0]
        assert answer.content == saved.read_bytes()
        saved.unlink()

    def test_glb_of_no_face(self, client, grey):
        answer = post(client, "/v1/faces", grey, "model/gltf-binary")
        assert answer.status_code == 422
        assert answer.json()["detail"] == "image: expected a face for model/gltf-binary, got none"

    def test_keys_go_with_json_alone(self, client, photo):
        answer = post(client, "/v1/faces", photo, "application/x-npz", outputs="box")
        assert answer.status_code == 422
        assert answer.json()["detail"] == "outputs: expected Accept: application/json with it, got application/x-npz"


class TestKeys:
    def test_only_those_are_answered(self, client, photo):
        (whole,) = post(client, "/v1/faces", photo).json()["faces"]
        (face,) = post(client, "/v1/faces", photo, outputs="pose,six_dof,box").json()["faces"]
        assert face == {key: whole[key] for key in ("pose", "six_dof", "box")}
        assert face["six_dof"]["unit"] == "cm"

    def test_an_unknown_one_is_named(self, client, photo):
        for wrong in ("pose,nose", ""):
            answer = post(client, "/v1/faces", photo, outputs=wrong)
            assert answer.status_code == 422
            assert answer.json()["detail"].endswith(f", got {wrong.partition(',')[2]!r}")


@pytest.fixture(scope="module")
def schema(root):
    return json.loads((root / "docs/face.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def record(aligner, astronaut):
    return json.loads(json.dumps(aligner(astronaut)[0].to_dict(aligner.decoder)))


class TestAnswersAreTheSchema:
    """`tddfa.serve.answers` and ``docs/face.schema.json`` describe the same record."""

    def test_keys(self, schema):
        assert set(FACE_KEYS) == set(schema["properties"])

    def test_both_refuse_the_same(self, schema, record):
        mine = TypeAdapter(Face)
        assert mine.validate_python(record) == record
        refused = 0
        for name, value in record.items():
            # a face may have chosen keys alone
            theirs = jsonschema.Draft202012Validator({**schema, "required": []})
            assert theirs.is_valid({name: value})
            for path in paths(value):
                for other in ("text", None, [], -1e9):
                    changed = with_value({name: value}, (name, *path), other)
                    if not theirs.is_valid(changed):
                        refused += 1
                        with pytest.raises(ValidationError):
                            mine.validate_python(changed)
        assert refused > 150


def paths(value, path=()):
    """Path of a value and of all that is in it; of a list the first entry."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from paths(value[0], (*path, 0))


def with_value(record, path, value):
    changed = json.loads(json.dumps(record))
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed
