"""Requests to the service: whatever comes, an answer of a documented status that is JSON."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from builders import make_face_model
from builders_fuzz import mutated, st, within
from FaceBoxes import Detections
from tddfa import Aligner, CropRule, Decoder

pytest.importorskip("fastapi")
pytest.importorskip("python_multipart")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from tddfa.serve.app import create_app
from tddfa.serve.limits import Limits

pytestmark = pytest.mark.fuzz

TAKEN, REFUSED = 200, {400, 404, 405, 413, 415, 422}
RULE = CropRule(size=24, box_shift_y=0.1, box_scale=1.2, landmark_scale=1.5)


def scripted(crops):
    camera = np.tile(np.array([[3.0, 0, 0, 12], [0, -3, 0, 12], [0, 0, 3, 0]], np.float32), (len(crops), 1, 1))
    return {"camera": camera, "shape": np.zeros((len(crops), 2)), "expression": np.zeros((len(crops), 3))}


def one_face(image):
    return Detections([[2, 2, 20, 20]], [0.9])


@pytest.fixture(scope="module")
def client():
    aligner = Aligner(scripted, Decoder(make_face_model(), RULE), detector=one_face)
    with TestClient(create_app(aligner, Limits(bytes=20_000, pixels=10_000)), raise_server_exceptions=True) as client:
        yield client


def photo(kind):
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(2).integers(0, 256, (30, 36, 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


BORDER = b"--x\r\n"
HEAD = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
WORDS = (
    BORDER, b"--x--", b"\r\n\r\n", HEAD, b'name="image"', b"filename*=utf-8''%ff", b"Content-Length: -1", b"\xff\xd8",
)  # fmt: skip
FORM = "multipart/form-data; boundary=x"
TYPES = (
    "image/jpeg", "application/octet-stream", FORM, "multipart/form-data", "text/plain", "image/", "", "a" * 3000,
    "multipart/form-data; boundary=", 'MULTIPART/FORM-DATA; boundary="x"',
)  # fmt: skip
OPTIONS = (
    "", "dense=false", "fov=60", "fov=nan", "fov=-1", "fov=1e999", "dense=maybe", "fov=60&fov=61", "x=1", "%ff=%00",
)  # fmt: skip


@st.composite
def requests(draw):
    photos = [photo(kind) for kind in ("JPEG", "PNG", "BMP")]
    forms = [BORDER + HEAD + data + b"\r\n--x--\r\n" for data in photos]
    form = draw(st.booleans())
    body = draw(st.one_of(st.sampled_from(forms if form else photos), mutated([*forms, *photos], WORDS)))
    kind = draw(st.one_of(st.just(FORM if form else TYPES[1]), st.sampled_from(TYPES)))
    headers = {"Content-Type": kind} if kind else {}
    if draw(st.integers(0, 9)) == 0:
        headers["Content-Length"] = draw(st.sampled_from(("0", "-1", "99999999", "1e3", "x")))
    path = draw(st.sampled_from(("/v1/faces",) * 8 + ("/v1/health", "/v1/models", "/", "/v1/faces/../health")))
    method = draw(st.sampled_from(("POST",) * 8 + ("GET", "PUT", "DELETE", "HEAD")))
    return method, f"{path}?{draw(st.sampled_from(OPTIONS))}", body, headers


# Starlette leaves the temporary file of a form that it cannot parse to the garbage collector
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function SpooledTemporaryFile:Warning")
def test_requests(explored, client, caplog):
    caplog.set_level("ERROR")  # the parser of forms tells every damage

    def check(request):
        method, address, body, headers = request
        with within(30):
            answer = client.request(method, address, content=body, headers=headers)
        assert answer.status_code == TAKEN or answer.status_code in REFUSED, (answer.status_code, answer.text)
        if method != "HEAD":
            content = answer.json()
            assert "faces" in content or "status" in content or "models" in content or "detail" in content
        return answer.status_code == TAKEN

    assert check(("POST", "/v1/faces", photo("JPEG"), {"Content-Type": "image/jpeg"}))
    form = BORDER + HEAD + photo("PNG") + b"\r\n--x--\r\n"
    assert check(("POST", "/v1/faces?fov=60", form, {"Content-Type": FORM}))
    explored(requests(), check)
