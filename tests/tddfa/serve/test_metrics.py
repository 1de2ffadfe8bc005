"""Numbers for Prometheus, lines of the log, CORS, and the page of the description."""

import logging
import re

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tddfa.serve.app import create_app
from tddfa.serve.limits import Limits
from tddfa.serve.metrics import LOG


@pytest.fixture
def app(aligner):
    return create_app(aligner, Limits(requests=7))


@pytest.fixture
def client(app):
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def numbers(client):
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}


def requests(seen):
    counted = {key[1:]: value for key, value in seen.items() if key[0] == "tddfa_requests_total"}
    return {(dict(key)["route"], dict(key)["status"]): value for key, value in counted.items()}


class TestNumbers:
    def test_requests_by_route_and_status(self, client):
        client.get("/v1/health")
        client.post("/v1/faces", content=b"no image")
        client.post("/v1/draw/nothing", content=b"no image")
        client.post("/v1/draw/else", content=b"no image")
        client.get("/v1/a-name")
        seen = numbers(client)
        assert requests(seen) == {
            ("GET /v1/health", "200"): 1,
            ("POST /v1/faces", "400"): 1,
            ("POST /v1/draw/{kind}", "422"): 2,
            ("GET other", "404"): 1,
        }
        assert seen["tddfa_request_seconds_count", ("route", "POST /v1/faces")] == 1
        assert seen["tddfa_requests_in_flight",] == 0
        assert seen["tddfa_places",] == 7
        assert seen["process_resident_memory_bytes",] > 10**7

    def test_a_service_counts_its_own(self, client, aligner):
        with TestClient(create_app(aligner)) as other:
            other.get("/v1/health")
            assert requests(numbers(other)) == {("GET /v1/health", "200"): 1}
        assert requests(numbers(client)) == {}

    def test_an_error_that_nobody_handles(self, app, client):
        @app.get("/broken")
        async def broken():
            raise RuntimeError("a bug")

        assert client.get("/broken").status_code == 500
        assert requests(numbers(client)) == {("GET /broken", "500"): 1}

    def test_an_application_that_is_mounted(self, app, client):
        inner = FastAPI()
        inner.get("/files/{name}")(lambda name: name)
        app.mount("/page", inner)
        assert client.get("/page/files/secret").json() == "secret"
        assert requests(numbers(client)) == {("GET /page/files/{name}", "200"): 1}

    def test_any_word_may_be_a_method(self, client):
        client.request("SECRET", "/v1/health")
        assert requests(numbers(client)) == {("OTHER /v1/health", "405"): 1}


class TestLog:
    def test_a_line_has_time_route_status_bytes_and_ms_alone(self, client, caplog):
        with caplog.at_level(logging.INFO, LOG.name):
            form = {"image": ("secret-name.jpg", b"secret-bytes", "image/jpeg")}
            route = "/v1/draw/secret-kind?alpha=secret-value"
            answer = client.post(route, files=form, headers={"X-API-Key": "secret-key"})
            client.get("/secret-path")
            client.get("/v1/health")
        lines = [record.getMessage() for record in caplog.records if record.name == LOG.name]
        time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"
        assert re.fullmatch(rf"{time} POST /v1/draw/\{{kind\}} 422 {len(answer.content)} \d+", lines[0])
        assert re.fullmatch(rf"{time} GET other 404 \d+ \d+", lines[1])
        assert re.fullmatch(rf"{time} GET /v1/health 200 15 \d+", lines[2])
        assert len(lines) == 3
        assert "secret" not in caplog.text


class TestOtherPages:
    def test_they_may_not_use_it(self, client):
        headers = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
        assert client.options("/v1/faces", headers=headers).status_code == 405
        answer = client.get("/v1/health", headers=headers)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]

    def test_those_that_were_given_may(self, aligner):
        with TestClient(create_app(aligner, key=20 * "k", origins=["https://example.org"])) as client:
            for origin, status in (("https://example.org", 200), ("https://example.com", 400)):
                headers = {
                    "Origin": origin,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization, content-type",
                }
                asked = client.options("/v1/faces", headers=headers)  # without the key: a browser sends none here
                assert asked.status_code == status
            refused = client.post("/v1/faces", headers={"Origin": "https://example.org"})
            assert refused.status_code == 401
            assert refused.headers["Access-Control-Allow-Origin"] == "https://example.org"


class TestDocs:
    def test_all_files_of_the_page_are_local(self, client):
        pytest.importorskip("fastapi_offline")
        page = client.get("/docs")
        assert page.status_code == 200
        links = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page.text)
        assert len(links) == 3
        for link in links:
            assert client.get(f"/{link}").status_code == 200, link
        assert "://" not in page.text
        assert '"validatorUrl": null' in page.text  # of Swagger's own site
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert client.get("/docs/files/../__init__.py").status_code == 404

    def test_without_its_package_there_is_none(self, aligner, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with TestClient(create_app(aligner)) as client:
            assert client.get("/docs").status_code == 404
            assert client.get("/redoc").status_code == 404
