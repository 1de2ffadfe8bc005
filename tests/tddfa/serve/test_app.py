"""The service by Starlette's test client, with the shipped model."""

import asyncio
import json
import struct
import threading
import time
import zlib

import cv2
import numpy as np
import pytest

from tddfa import Aligner, Intrinsics
from tddfa.model.catalogue import model_cards
from tddfa.outputs import image_kinds

pytest.importorskip("fastapi")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from tddfa.serve.app import create_app
from tddfa.serve.limits import Limits

JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def aligner():
    return Aligner.load("open_mb05", device="cpu")


@pytest.fixture(scope="module")
def photo(root):
    return (root / "examples/inputs/astronaut.jpg").read_bytes()


@pytest.fixture(scope="module")
def client(aligner):
    with TestClient(create_app(aligner, Limits(bytes=2 * 10**6, pixels=10**6))) as client:
        yield client


def png(width, height):
    """The start of a PNG of this size, without its pixels."""

    def chunk(name, content=b""):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND")


class TestFaces:
    def test_they_are_those_of_the_aligner(self, client, aligner, photo, root):
        answer = client.post("/v1/faces", content=photo, headers=JPEG)
        assert answer.status_code == 200, answer.text
        faces = aligner(cv2.imread(str(root / "examples/inputs/astronaut.jpg")))
        expected = [face.to_dict(aligner.decoder) for face in faces]
        assert len(expected) == 1
        assert answer.json() == {
            "schema": 1, "width": 512, "height": 512, "precision": "float", "faces": json.loads(json.dumps(expected)),
        }  # fmt: skip

    def test_a_form_gives_the_same(self, client, photo):
        plain = client.post("/v1/faces", content=photo)  # without a type
        form = client.post("/v1/faces", files={"image": ("any.name", photo, "image/jpeg")})
        assert form.status_code == 200, form.text
        assert form.json() == plain.json()
        assert len(form.json()["faces"]) == 1

    def test_no_face_is_an_empty_list(self, client):
        grey = cv2.imencode(".png", np.full((64, 96, 3), 128, np.uint8))[1].tobytes()
        answer = client.post("/v1/faces", content=grey, headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["faces"]) == (200, [])
        assert (answer.json()["width"], answer.json()["height"]) == (96, 64)

    def test_options(self, client, aligner, photo, root):
        (sparse,) = client.post("/v1/faces?dense=false", content=photo, headers=JPEG).json()["faces"]
        assert (sparse["six_dof"], sparse["visible"]) == (None, None)
        faces = aligner(cv2.imread(str(root / "examples/inputs/astronaut.jpg")))
        for fov in (30, 60):
            camera = Intrinsics.from_field_of_view(fov, (512, 512))
            answer = client.post("/v1/faces", params={"fov": fov}, content=photo, headers=JPEG)
            assert answer.json()["faces"][0]["six_dof"] == faces[0].to_dict(aligner.decoder, camera)["six_dof"]


class TestRefused:
    def status(self, client, content, headers=JPEG, route="/v1/faces"):
        """Status and reason; the next photo is aligned."""
        answer = client.post(route, content=content, headers=headers)
        return answer.status_code, answer.json()["detail"]

    @pytest.fixture(autouse=True)
    def _the_next_request_works(self, client, photo):
        yield
        answer = client.post("/v1/faces?dense=false", content=photo, headers=JPEG)
        assert (answer.status_code, len(answer.json()["faces"])) == (200, 1)

    @pytest.mark.parametrize(
        ("cut", "reason"),
        [
            (lambda photo: b"hello", "image: not an image"),
            (lambda photo: b"", "image: expected the bytes of an image, got none"),
            (lambda photo: photo[:20_000], "image: the file is truncated: the JPEG has no end marker"),
        ],
    )
    def test_no_image(self, client, photo, cut, reason):
        assert self.status(client, cut(photo)) == (400, reason)

    def test_a_path_or_an_address_is_not_opened(self, client, root):
        path = str(root / "examples/inputs/astronaut.jpg")
        assert self.status(client, path.encode()) == (400, "image: not an image")
        answer = client.post("/v1/faces", data={"image": path}, files={"other": b"x"})
        assert answer.status_code == 400

    def test_a_form_without_the_field(self, client, photo):
        answer = client.post("/v1/faces", files={"photo": ("a.jpg", photo, "image/jpeg")})
        assert answer.status_code == 400
        assert answer.json()["detail"] == "expected a form with a file in the field 'image'"

    def test_a_form_that_is_none(self, client):
        assert self.status(client, b"nothing", {"Content-Type": "multipart/form-data; boundary=x"})[0] == 400
        assert self.status(client, b"nothing", {"Content-Type": "multipart/form-data"})[0] == 400

    def test_too_many_bytes(self, client, photo):
        too_many = (413, "image: expected at most 2000000 bytes")
        assert self.status(client, bytes(2 * 10**6 + 1)) == too_many
        assert self.status(client, (bytes(10**5) for _ in range(21))) == too_many  # whose size is not told before
        form = client.post("/v1/faces", files={"image": ("a.jpg", bytes(2 * 10**6 + 1), "image/jpeg")})
        assert (form.status_code, form.json()["detail"]) == too_many

    @pytest.mark.parametrize(("width", "height"), [(1001, 1000), (12_000, 12_000), (60_000, 60_000)])
    def test_too_many_pixels_are_not_decoded(self, client, width, height, monkeypatch):
        monkeypatch.setattr("tddfa._shared.image_io._pixels", None)
        status, reason = self.status(client, png(width, height), {"Content-Type": "image/png"})
        monkeypatch.undo()
        assert status == 413
        assert reason.startswith("image: expected at most 1 million pixels, got ")

    def test_another_type(self, client, photo):
        status, reason = self.status(client, photo, {"Content-Type": "text/html; charset=utf-8"})
        assert (status, reason) == (
            415, "expected image/*, application/octet-stream or multipart/form-data, got 'text/html'",
        )  # fmt: skip

    @pytest.mark.parametrize(
        "query", ["dense=perhaps", "fov=0", "fov=180", "fov=nan", "fov=5e-324", "fov=wide", "path=a.jpg"]
    )
    def test_options(self, client, photo, query):
        status, reason = self.status(client, photo, route=f"/v1/faces?{query}")
        assert status == 422
        assert query.partition("=")[0] in str(reason)


class Slow(Aligner):
    """An aligner that waits for `go`, and finds no face."""

    def __init__(self, aligner):
        super().__init__(aligner.regressor, aligner.decoder)
        self.go = threading.Event()
        self.started = threading.Event()

    def __call__(self, image):
        self.started.set()
        assert self.go.wait(60)
        return []


def test_requests_over_the_limit_are_refused_at_once(photo, aligner):
    slow = Slow(aligner)
    with TestClient(create_app(slow, Limits(requests=2))) as client:
        answers = []

        def post():
            answer = client.post("/v1/faces", content=photo, headers=JPEG)
            while answer.status_code == 503 and not slow.go.is_set():  # a probe below had the place
                answer = client.post("/v1/faces", content=photo, headers=JPEG)
            answers.append(answer)

        waiting = [threading.Thread(target=post) for _ in range(2)]
        waiting[0].start()
        assert slow.started.wait(20)
        waiting[1].start()
        deadline = time.monotonic() + 20
        refused = None
        while time.monotonic() < deadline:  # until the second has its place
            refused = client.post("/v1/faces", content=b"", headers=JPEG)
            if refused.status_code == 503:
                break
            time.sleep(0.01)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert refused.json() == {"detail": "expected at most 2 requests at a time"}
        assert client.get("/v1/health").json() == {"status": "ok"}
        slow.go.set()
        for thread in waiting:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert client.post("/v1/faces", content=photo, headers=JPEG).status_code == 200  # the places are free again


def test_work_that_takes_too_long(photo, aligner):
    slow = Slow(aligner)
    with TestClient(create_app(slow, Limits(seconds=0.01))) as client:
        answer = client.post("/v1/faces", content=photo, headers=JPEG)
        assert answer.status_code == 504
        assert answer.json() == {"detail": "expected the work to take at most 0.01 seconds"}
        slow.go.set()


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([{"type": "http.request", "body": b"\xff", "more_body": True}], 504),
        ([{"type": "http.request", "body": b"\xff", "more_body": True}, {"type": "http.disconnect"}], 400),
    ],
)
def test_an_upload_that_does_not_end(messages, status, aligner):
    """A client that stops sending, and one that goes away."""
    app = create_app(aligner, Limits(upload_seconds=0.05))
    sent, left = [], list(messages)

    async def receive():
        if not left:
            await asyncio.sleep(20)
        return left.pop(0)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/faces", "raw_path": b"/v1/faces", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"image/jpeg")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == status


def test_health_models_and_description(client):
    assert client.get("/v1/health").json() == {"status": "ok"}
    models = client.get("/v1/models").json()
    assert models["loaded"].pop("licence").startswith("MIT")
    # the default model predicts no volumes
    assert models["loaded"].pop("kinds") == [name for name in image_kinds() if name != "volume"]
    assert models["loaded"] == {"device": "cpu", "precision": "float", "landmark_convention": "300w"}
    assert [model["name"] for model in models["models"]] == list(model_cards())
    described = client.get("/openapi.json").json()["paths"]
    assert set(described) == {"/metrics", "/v1/faces", "/v1/draw/{kind}", "/v1/health", "/v1/models"}
    expected = {"200", "400", "401", "406", "413", "415", "422", "503", "504"}
    for route in ("/v1/faces", "/v1/draw/{kind}"):
        assert set(described[route]["post"]["responses"]) == expected
