"""The page without a browser: what its routes let through, and what its functions do with uploads."""

import asyncio
import json
import os
import re
import shutil
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("gradio")
pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("httpx2")

from fastapi.testclient import TestClient

from tddfa.serve.app import create_app
from tddfa.serve.engine import Engine
from tddfa.serve.limits import Limits
from tddfa.serve.page import add_page, delete_older, jobs
from tddfa.serve.page.guard import PATTERNS, Guard, is_inside, without_addresses
from tddfa.serve.page.order import Line, Newest

LIMITS = Limits(bytes=3 * 10**5, pixels=10**6, video_seconds=11)
CALL = "/gradio_api/queue/join"


@pytest.fixture(scope="module")
def client(aligner):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "")  # put back at the end
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "")
        app = create_app(aligner, LIMITS)
        add_page(app)
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        with TestClient(app, base_url="http://127.0.0.1") as client:
            yield client
            assert len(list(folder.iterdir())) > 1
        assert not folder.exists()  # all files go when the service ends


@pytest.fixture
def engine(aligner):
    return Engine(aligner, LIMITS)


@pytest.fixture
def photo(root):
    return root / "examples/inputs/astronaut.jpg"


@pytest.fixture
def clip_file(root):
    return root / "examples/inputs/videos/crossing.mp4"


def uploaded(client, name, content):
    answer = client.post("/gradio_api/upload", files={"files": (name, content)})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def call(path, **record):
    return {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}, **record}, ["pose"]], "fn_index": 1,
            "session_hash": "tests"}  # fmt: skip


class TestRoutes:
    def test_the_page_names_no_other_machine_and_forbids_its_scripts_to_ask_one(self, client):
        answer = client.get("/")
        assert answer.status_code == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy
        loaded = re.findall(r"""<(?:script|link)[^>]*(?:src|href)=["']([^"']+)""", answer.text)
        assert loaded
        assert [address for address in loaded if "//" in address] == []
        style = client.get("/theme.css").text
        assert len(style) > 1000
        assert re.findall(r"@import|url\(['\"]?(?:https?:)?//", style) == []

    def test_the_routes_of_the_service_stay(self, client, photo):
        answer = client.post(
            "/v1/faces?outputs=pose", content=photo.read_bytes(), headers={"Content-Type": "image/jpeg"}
        )
        assert answer.status_code == 200, answer.text
        assert client.get("/v1/faces").status_code == 405
        assert client.get("/nothing").status_code == 404
        assert not set(PATTERNS) & set(client.get("/openapi.json").json()["paths"])

    @pytest.mark.parametrize(
        "path",
        [
            "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/app_id", "/gradio_api/runs", "/config",
            "/monitoring", "/gradio_api/proxy=https://a.hf.space/x", "/gradio_api/dev/reload", "/gradio_api/token",
            "/gradio_api/vibe-code", "/gradio_api/queue/status", "/gradio_api/file/etc/passwd",
        ],
    )  # fmt: skip
    def test_other_routes_of_gradio_do_not_exist(self, client, path):
        assert client.get(path).status_code == 404

    @pytest.mark.parametrize("name", ["run/predict", "api/predict", "call/x", "component_server", "process_recording"])
    def test_there_is_no_other_way_to_call(self, client, name):
        assert client.post(f"/gradio_api/{name}", json=call("/etc/passwd")).status_code == 404

    def test_requests_of_other_pages_are_refused(self, client):
        for method, path in (("GET", "/"), ("POST", CALL)):
            for origin in ("http://elsewhere.example", "http://["):
                assert client.request(method, path, headers={"Origin": origin}).status_code == 403
        answer = client.get("/", headers={"Origin": "http://127.0.0.1"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("ends_it_itself", [True, False])
def test_an_open_page_lets_go_when_the_service_ends(tmp_path, ends_it_itself):
    sent = []

    async def gradio(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: ALIVE", "more_body": True})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not ends_it_itself:
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send(message):
        sent.append(message)

    guard = Guard(gradio, tmp_path, LIMITS, lambda: len(sent) == 2)
    scope = {"type": "http", "method": "GET", "path": "/gradio_api/heartbeat/tests", "headers": []}
    asyncio.run(asyncio.wait_for(guard(scope, None, send), 60))
    assert [message.get("more_body") for message in sent] == [None, True, False]


class TestFiles:
    def test_an_upload_comes_back_and_nothing_else_does(self, client, photo, root):
        path = uploaded(client, "me.jpg", photo.read_bytes())
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.content == photo.read_bytes()
        assert answer.headers["Cache-Control"] == "private, no-store"
        for other in (photo, "/etc/passwd", "pyproject.toml", f"{path}/../../../etc/passwd", "https://a.example/b.jpg"):
            assert client.get(f"/gradio_api/file={other}").status_code == 404

    def test_calls_that_name_other_files_are_refused(self, client, photo):
        path = uploaded(client, "me.jpg", photo.read_bytes())
        hostile = [
            call("/etc/passwd"),
            call(str(photo)),
            call("https://a.example/b.jpg"),
            call(f"{path}/../../../etc/passwd"),
            {"data": [[{"image": {"path": "/etc/passwd"}}]], "fn_index": 1, "session_hash": "tests"},
            {"data": [{"path": ["/etc/passwd"]}], "fn_index": 1, "session_hash": "tests"},
            {"data": [], "event_data": {"path": "/etc/passwd"}, "fn_index": 1, "session_hash": "tests"},
        ]
        for body in hostile:
            answer = client.post(CALL, json=body)
            assert (answer.status_code, answer.json()) == (
                403, {"detail": "expected a file that was uploaded to this page"},
            )  # fmt: skip

    def test_a_link_out_of_the_folder_is_not_followed(self, tmp_path, photo):
        (tmp_path / "link.jpg").symlink_to(photo)
        assert not is_inside(tmp_path, str(tmp_path / "link.jpg"))

    def test_an_address_beside_a_path_is_dropped(self, tmp_path):
        file = tmp_path / "me.jpg"
        file.write_bytes(b"x")
        record = call(str(file), url="data:image/png;base64,AAAA", is_stream=True, orig_name="x.svg")
        assert without_addresses(record, tmp_path)["data"] == call(str(file), orig_name="me.jpg")["data"]

    def test_too_many_bytes(self, client):
        answer = client.post("/gradio_api/upload", files={"files": ("a.jpg", bytes(400_000))})
        assert answer.status_code == 413
        many = [("files", (f"{number}.jpg", bytes(200_000))) for number in range(3)]
        assert client.post("/gradio_api/upload", files=many).status_code == 413
        assert client.post(CALL, content=b"[" * 1_100_000).status_code == 413
        assert client.post(CALL, content=b"[" * 100_000).status_code == 400

    def test_a_name_cannot_leave_the_folder(self, client, tmp_path):
        path = uploaded(client, "../../../../tmp/evil.jpg", b"x")
        assert path.endswith("/evil.jpg")
        assert client.get(f"/gradio_api/file={path}").content == b"x"  # so it is in the folder


class TestJobs:
    def test_a_photo_gives_all_kinds(self, engine, photo, tmp_path):
        result = jobs.photo(engine, photo, jobs.photo_kinds(engine.aligner), tmp_path)
        names = {path.name for path in result.files}
        kinds = ("2d_sparse", "2d_dense", "3d", "depth", "pncc", "pose", "uv_tex", "6dof", "box")
        assert {f"astronaut_{kind}.jpg" for kind in kinds} <= names
        assert {"astronaut.ply", "astronaut.obj", "astronaut.glb", "astronaut.json"} <= names
        assert [name for _, name in result.images] == list(kinds)
        assert all(path.stat().st_size > 20 for path in result.files)
        assert result.mesh.read_bytes()[:4] == b"glTF"
        assert abs(result.faces[0]["pose"]["yaw"]) < 10

    def test_no_face_is_a_result(self, engine, tmp_path, rng):
        import cv2

        cv2.imwrite(str(tmp_path / "grey.png"), rng.integers(90, 110, (64, 64, 3)).astype("uint8"))
        assert jobs.photo(engine, tmp_path / "grey.png", ["pose"], tmp_path) == jobs.Photo([], [], None, [])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"hello", "Not an image."),
            (b"\x89PNG\r\n\x1a\n" + b"".join(
                struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c))
                for n, c in ((b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)), (b"IEND", b""))
            ), "Expected at most 1 million pixels, got more."),
            (bytes(300_001), "The file is larger than 0.3 MB."),
        ],
        ids=["text", "60,000 x 60,000", "large"],
    )  # fmt: skip
    def test_what_is_no_photo_gets_one_sentence(self, engine, tmp_path, content, message):
        (tmp_path / "me.png").write_bytes(content)
        with pytest.raises(jobs.PageError) as error:
            jobs.photo(engine, tmp_path / "me.png", ["pose"], tmp_path)
        assert str(error.value) == message
        assert engine.in_flight == 0

    def test_unknown_kinds_are_refused(self, engine, photo, tmp_path):
        for kinds in ([], ["../x"]):
            with pytest.raises(jobs.PageError, match=r"Choose one or more of 2d_sparse, "):
                jobs.photo(engine, photo, kinds, tmp_path)
        with pytest.raises(jobs.PageError, match="Choose one"):
            next(jobs.video_steps(engine, photo, "glb", tmp_path))

    def test_a_video_gives_its_files(self, engine, clip, tmp_path):
        steps = list(jobs.video_steps(engine, clip, "2d_sparse", tmp_path))
        assert [step.done for step in steps[-2:]] == [24, 24]
        last = steps[-1]
        assert [path.name for path in last.files] == [
            "slide_2d_sparse.mp4",
            "slide_2d_sparse.jsonl",
            "slide_2d_sparse.glb",
        ]
        lines = [json.loads(line) for line in last.files[1].read_text().splitlines()]
        assert len(lines) == 24
        assert last.tracks == {0: sum(bool(line["faces"]) for line in lines)}
        assert last.tracks[0] >= 20

    def test_a_video_that_is_cancelled_leaves_no_file_and_no_place(self, engine, clip_file, tmp_path):
        steps = jobs.video_steps(engine, clip_file, "pose", tmp_path)
        assert next(steps).total == 300
        assert engine.in_flight == 1
        steps.close()
        assert list(tmp_path.iterdir()) == []
        assert engine.in_flight == 0

    def test_a_long_video_is_refused_before_it_is_read(self, aligner, clip_file, tmp_path):
        engine = Engine(aligner, Limits(video_seconds=9))
        with pytest.raises(jobs.PageError, match=r"^Expected at most 9 seconds and 540 frames, got .* 300 frames\.$"):
            next(jobs.video_steps(engine, clip_file, "pose", tmp_path))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "content", [b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile a.mp4\n", b"GIF89a", b""]
    )
    def test_files_that_name_other_files_are_no_videos(self, engine, tmp_path, content):
        (tmp_path / "me.mp4").write_bytes(content)
        with pytest.raises(jobs.PageError, match=r"^Not a video: expected MP4, MOV, WebM, MKV or AVI\.$"):
            next(jobs.video_steps(engine, tmp_path / "me.mp4", "pose", tmp_path))

    def test_a_full_service_says_so(self, aligner, photo, tmp_path):
        engine = Engine(aligner, Limits(requests=1))
        with engine.place(), pytest.raises(jobs.PageError, match=r"^Expected at most 1 requests at a time\.$"):
            jobs.photo(engine, photo, ["pose"], tmp_path)


def test_who_leaves_the_line_lets_the_others_move_up():
    line = Line()
    with ExitStack() as first, ExitStack() as second, ExitStack() as third:
        before = [held.enter_context(line.place()) for held in (first, second, third)]
        assert [count() for count in before] == [0, 1, 2]
        second.close()
        assert [before[0](), before[2]()] == [0, 1]
        first.close()
        assert before[2]() == 0


class TestNewest:
    def test_only_the_result_of_the_last_run_of_a_page_counts(self):
        newest = Newest()
        first, other = newest.start("a", "1.jpg"), newest.start("b", "1.jpg")
        second = newest.start("a", "2.jpg")
        assert not newest.finish("a", first)
        assert newest.finish("a", second)
        assert newest.finish("b", other)
        assert not newest.finish("a", second)  # nothing is kept of a run that ended

    def test_another_photo_takes_the_place_of_a_run_and_the_same_one_does_not(self):
        newest = Newest()
        first = newest.start("a", "1.jpg")
        newest.replace("a", "1.jpg")
        assert newest.finish("a", first)
        second = newest.start("a", "1.jpg")
        newest.replace("a", None)
        assert not newest.finish("a", second)
        newest.replace("a", "2.jpg")


def test_uploads_that_arrive_have_their_places(tmp_path):
    """A slow upload takes memory before the whole of it is there."""

    async def gradio(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(gradio, tmp_path, Limits(requests=2, bytes=10**6))
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}
    statuses = []

    async def upload():
        parts = 0

        async def receive():
            nonlocal parts
            parts += 1
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"1234", "more_body": parts < 3}

        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await guard(scope, receive, send)

    async def all_of_them():
        await asyncio.gather(*(upload() for _ in range(5)))
        await upload()  # the places are free again

    asyncio.run(asyncio.wait_for(all_of_them(), 60))
    assert sorted(statuses) == [200, 200, 200, 503, 503, 503]


def test_what_a_video_uses_is_not_deleted_while_it_is_tracked(engine, clip, tmp_path):
    upload = tmp_path / "uploads/a.mp4"
    upload.parent.mkdir()
    shutil.copy(clip, upload)
    steps = jobs.video_steps(engine, upload, "pose", tmp_path)
    for step in steps:
        for path in tmp_path.iterdir():
            if step.done == 1:  # as half an hour later
                os.utime(path, (0, 0))
        delete_older(tmp_path, 1.0) if step.done == 3 else None
    assert all(path.is_file() for path in (upload, *step.files))
