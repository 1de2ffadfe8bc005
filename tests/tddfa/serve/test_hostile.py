"""Uploads that mean harm: each gets a 4xx with a reason, nothing is left of it, and the next request works."""

import base64
import gzip
import io
import struct
import tempfile
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from tddfa.serve.app import create_app
from tddfa.serve.limits import Limits


@pytest.fixture(scope="module")
def photo(astronaut):
    return cv2.imencode(".jpg", astronaut[60:220, 140:300])[1].tobytes()


@pytest.fixture(scope="module")
def client(aligner):
    with TestClient(create_app(aligner, Limits(bytes=2 * 10**6, pixels=10**6, requests=2))) as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_is_left(client, photo, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    answer = client.post("/v1/faces?outputs=box", content=photo)
    assert (answer.status_code, len(answer.json()["faces"])) == (200, 1)
    assert client.app.state.engine.in_flight == 0
    assert list(tmp_path.iterdir()) == []


def chunk(name, content=b""):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, *chunks, bits=8):
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND")


def saved(kind, image=None, **options):
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(np.zeros((40, 50, 3), np.uint8)) if image is None else image
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def cyclic_tiff():
    """A page whose next page is itself."""
    data = bytearray(saved("TIFF"))
    order = "<" if data[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, first)
    struct.pack_into(f"{order}I", data, first + 2 + 12 * count, first)
    return bytes(data)


def claims(data, width, height):
    """A BMP that claims another size."""
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


ZEROS = chunk(b"IDAT", zlib.compress(bytes(10**6)))
HOSTILE = {
    "a header of 60,000 x 60,000": (413, lambda: png(60_000, 60_000, ZEROS)),
    "a header of 2^31 - 1": (413, lambda: png(2**31 - 1, 2**31 - 1)),
    "a header of no pixels": (400, lambda: png(0, 10)),
    "many pixels from few bytes": (413, lambda: saved("PNG", PIL.Image.new("L", (4000, 4000)))),
    "texts that unpack to much more": (
        400, lambda: png(8, 8, *(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 * 10**6))) for _ in range(40)))),
    "pixels that do not end": (400, lambda: png(8, 8, chunk(b"IDAT", zlib.compress(bytes(9))[:-4]))),
    "a JPEG of 65,535 x 65,535": (
        413, lambda: b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xd9"),
    "half a JPEG": (400, lambda: saved("JPEG", quality=95)[:300]),
    "a BMP of 60,000 x 60,000": (413, lambda: claims(saved("BMP"), 60_000, 60_000)),
    "a BMP of a negative width": (413, lambda: claims(saved("BMP"), -5, 5)),
    "a WebP without its end": (400, lambda: saved("WEBP")[:60]),
    "a GIF without its end": (400, lambda: saved("GIF")[:30]),
    "a page of an SVG": (400, lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
    "a script of PostScript": (400, lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n"),
    "a PDF": (400, lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n%%EOF"),
    "a playlist": (400, lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
    "an MVG of ImageMagick": (400, lambda: b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/x'\n"),
    "an archive": (400, lambda: gzip.compress(bytes(10**7))),
    "a pickle": (400, lambda: b"cos\nsystem\n(S'true'\ntR."),
    "a path": (400, lambda: b"/etc/passwd"),
    "an address": (400, lambda: b"http://127.0.0.1:22/"),
    "text in base64": (400, lambda: b"data:image/png;base64," + base64.b64encode(saved("PNG"))),
    "zeros": (400, lambda: bytes(10**6)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_with_a_reason(client, name):
    status, make = HOSTILE[name]
    answer = client.post("/v1/faces", content=make(), headers={"Content-Type": "image/png"})
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert detail.startswith("image: ")
    assert len(detail) < 300
    assert "/tmp" not in detail


def test_a_page_that_follows_itself_is_one_page(client):
    answer = client.post("/v1/faces", content=cyclic_tiff())
    assert answer.status_code == 200 or (answer.status_code == 400 and answer.json()["detail"].startswith("image: "))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/cron.d/x", "a\0b.jpg", "C:\\x.jpg", "x" * 5000, "|id"])
def test_the_name_of_a_file_is_not_used(client, photo, name):
    answer = client.post("/v1/faces?outputs=box", files={"image": (name, photo, "image/jpeg")})
    assert answer.status_code in (200, 400)
    assert "etc" not in answer.text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([("image", ("a.jpg", b"x", "image/jpeg"))] * 2, "Too many files"),
        ([(f"f{k}", (None, b"x")) for k in range(2000)], "Too many fields"),
        ([("image", (None, b"/etc/passwd"))], "Too many fields"),
    ],
)
def test_a_form_of_many_parts(client, fields, reason):
    answer = client.post("/v1/faces", files=fields)
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]


def test_a_header_of_a_part_that_does_not_end(client):
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="' + b"a" * 500_000
    answer = client.post("/v1/faces", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400
    assert answer.json()["detail"]
