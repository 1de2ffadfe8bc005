"""The key of the service."""

import base64
import hmac

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from tddfa._shared.errors import ConfigError
from tddfa.serve.app import create_app
from tddfa.serve.keys import read_key

KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def client(aligner):
    with TestClient(create_app(aligner, key=KEY)) as client:
        yield client


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ROUTES = [
    "/v1/models",
    "/v1/faces",
    "/v1/draw/3d",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/docs/files/swagger-ui.css",
    "/x",
]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": "Bearer"},
        {"Authorization": KEY},
        {"Authorization": "Basic ÄÄ".encode()},
        {"X-API-Key": KEY[:-1]},
        {"X-API-Key": ""},
        basic(KEY, ""),
    ],
)
def test_without_it_there_is_only_health(client, headers):
    for route in ROUTES:
        for method in ("GET", "POST"):
            answer = client.request(method, route, headers=headers)
            assert answer.status_code == 401, (method, route)
            assert answer.json()["detail"].startswith("expected the key of this service")
            assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert client.get("/v1/health", headers=headers).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"X-API-Key": KEY}, basic("any", KEY)],
)
def test_with_it_all_routes_answer(client, headers):
    for route in ("/v1/models", "/metrics", "/openapi.json"):
        assert client.get(route, headers=headers).status_code == 200
    assert client.get("/x", headers=headers).status_code == 404


def test_a_websocket_needs_it_too(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/health2"):
        pass


def test_the_time_of_the_comparison_tells_nothing(client, monkeypatch):
    """Two values of one length are compared, in constant time."""
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    for sent in ("c", KEY, 1000 * "x"):
        assert client.get("/v1/models", headers={"X-API-Key": sent}).status_code == 401
    assert len(compared) == 3
    assert {(len(a), len(b)) for a, b in compared} == {(32, 32)}


def test_the_description_asks_for_it(client):
    described = client.get("/openapi.json", headers={"X-API-Key": KEY}).json()
    assert described["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert described["security"] == [{"bearer": []}, {"header": []}]
    assert described["paths"]["/v1/health"]["get"]["security"] == []


class TestFile:
    def test_its_line_is_the_key(self, tmp_path):
        (tmp_path / "key").write_text(f"  {KEY}\r\n")
        assert read_key(tmp_path / "key") == KEY

    @pytest.mark.parametrize(
        "content", [b"", b"short\n", b"two words of a key\n", b"first-line-of-a-key\nsecond\n", 5000 * b"x"]
    )
    def test_another_content(self, tmp_path, content):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ConfigError, match="key: "):
            read_key(tmp_path / "key")

    def test_no_ascii(self, tmp_path):
        (tmp_path / "key").write_text("schlüssel-schlüssel", encoding="utf-8")
        with pytest.raises(ConfigError, match="key: cannot be read as a key: not ASCII"):
            read_key(tmp_path / "key")

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match="none: cannot be read as a key: No such file or directory"):
            read_key(tmp_path / "none")
