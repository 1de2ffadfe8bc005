"""The service does what its own description says: schemathesis makes requests from it, and checks the answers."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("schemathesis")

import schemathesis
from fuzz.test_requests import RULE, one_face, photo, scripted
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from builders import make_face_model
from tddfa import Aligner, Decoder
from tddfa.serve.app import create_app
from tddfa.serve.limits import Limits

pytestmark = pytest.mark.fuzz

READ = [("GET", "/v1/health"), ("GET", "/v1/models"), ("GET", "/metrics")]
SENT = [("POST", "/v1/faces"), ("POST", "/v1/draw/{kind}")]


@pytest.fixture(scope="module")
def api():
    images = st.sampled_from([photo("JPEG"), photo("PNG"), photo("PNG")[:200], b"", b"no image"])
    for kind in ("image/*", "application/octet-stream"):
        schemathesis.openapi.media_type(kind, images)
    aligner = Aligner(scripted, Decoder(make_face_model(), RULE), detector=one_face)
    app = create_app(aligner, Limits(bytes=20_000, pixels=10_000))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_all_routes_are_here(api):
    described = {(found.ok().method.upper(), found.ok().path) for found in api.get_all_operations()}
    assert described == {*READ, *SENT}


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*route, GenerationMode.POSITIVE) for route in (*READ, *SENT)),
        *((*route, GenerationMode.NEGATIVE) for route in SENT),  # the others take nothing that could be wrong
    ],
)
def test_every_answer_is_described(api, explored, method, path, mode):
    def check(case):
        # what the description cannot say: whether bytes are an image, and which kind has which option
        answer = case.call_and_validate(excluded_checks=[positive_data_acceptance])
        return answer.status_code == 200

    explored(api[path][method].as_strategy(generation_mode=mode), check, refuses=False, few=6)
