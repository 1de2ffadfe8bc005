"""The downloader against a server on this machine that behaves well, and badly."""

import errno
import hashlib
import http.server
import pathlib
import socket
import threading
import time

import pytest

from tddfa.compat.download import DownloadError, OfflineError, check, digest, download

CONTENT = bytes(range(256)) * 1500
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under every name; the name says how."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []

    def handle_error(self, *_):
        pass  # the other side hangs up: that is what is tested

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        how = self.path.strip("/")
        span = self.headers.get("Range")
        times = sum(path == how for path, _ in self.server.requests)
        self.server.requests.append((how, span))
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        body = CONTENT
        if how == "missing":
            return self.send_error(404)
        if how == "busy" and times < 2:
            return self.send_error(503)
        if how == "silent":
            time.sleep(1.5)
            return None
        if how == "mute":
            return self.close()
        if how == "wrong":
            body = CONTENT[::-1]
        if how == "without-ranges":
            start = 0
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if how == "truncated" or (how in ("breaks", "without-ranges") and times == 0):
            self.wfile.write(body[: len(body) // 3])
            return self.close()
        if how == "slow":
            for k in range(0, len(body), 50_000):
                self.wfile.write(body[k : k + 50_000])
                time.sleep(0.05)
            return None
        if how == "stalls":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            time.sleep(1.5)
            return self.close()
        self.wfile.write(body)
        return None

    def close(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server, how, tmp_path, known=SHA, **options):
    path = tmp_path / "folder" / "file.bin"
    options = {"timeout": (0.4, 0.4), "pause": 0.01, **options}
    return download(f"{server.url}/{how}", path, known, **options)


def left(tmp_path):
    return sorted(p.name for p in tmp_path.rglob("*") if p.is_file())


def test_a_good_file(server, tmp_path):
    path = get(server, "good", tmp_path)
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == ["file.bin"]
    get(server, "good", tmp_path)
    assert server.requests == [("good", None)]  # it is there: nothing is asked


def test_a_git_blob_id(server, tmp_path):
    blob = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    path = get(server, "good", tmp_path, f"git:{blob}")
    assert digest(path, "git") == blob
    assert check(path, f"git:{blob}") is None
    assert check(path, "git:" + 40 * "0") == f"expected git {40 * '0'}, got {blob}"
    # what `git hash-object` says of an empty file
    (tmp_path / "empty").write_bytes(b"")
    assert digest(tmp_path / "empty", "git") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    with pytest.raises(ValueError, match="expected sha256 or git, got 'md5'"):
        digest(path, "md5")


def test_a_wrong_file_is_never_renamed(server, tmp_path):
    with pytest.raises(DownloadError) as caught:
        get(server, "wrong", tmp_path)
    for part in (server.url, SHA.removeprefix("sha256:"), hashlib.sha256(CONTENT[::-1]).hexdigest()):
        assert part in str(caught.value)
    assert left(tmp_path) == []


def test_a_changed_file_is_fetched_again(server, tmp_path):
    get(server, "good", tmp_path).write_bytes(b"changed")
    assert get(server, "good", tmp_path).read_bytes() == CONTENT


def test_a_file_missing_on_the_server(server, tmp_path):
    with pytest.raises(DownloadError, match=r"/missing: the server answered 404 Not Found$"):
        get(server, "missing", tmp_path)
    assert len(server.requests) == 1


def test_a_download_that_always_breaks_is_kept_for_the_next_run(server, tmp_path):
    with pytest.raises(DownloadError, match="the connection was interrupted; run the command again to resume"):
        get(server, "truncated", tmp_path)
    assert left(tmp_path) == ["file.bin.part"]
    sizes = [int(span.removeprefix("bytes=").rstrip("-")) for _, span in server.requests[1:]]
    assert sizes == sorted(set(sizes))  # each attempt went on from the last
    kept = (tmp_path / "folder/file.bin.part").stat().st_size
    assert get(server, "good", tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("good", f"bytes={kept}-")


def test_a_broken_download_is_resumed(server, tmp_path):
    assert get(server, "breaks", tmp_path).read_bytes() == CONTENT
    (_, first), (_, second) = server.requests
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= len(CONTENT) // 3


def test_a_server_without_ranges_sends_the_whole_file_again(server, tmp_path):
    assert get(server, "without-ranges", tmp_path).read_bytes() == CONTENT


def test_the_part_of_another_file_is_discarded(server, tmp_path):
    (tmp_path / "folder").mkdir()
    for rest in (b"something else", CONTENT + b"and more"):
        (tmp_path / "folder/file.bin.part").write_bytes(rest)
        path = get(server, "good", tmp_path)
        assert path.read_bytes() == CONTENT
        path.unlink()


def test_a_complete_part_is_only_renamed(server, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file.bin.part").write_bytes(CONTENT)
    assert get(server, "good", tmp_path).read_bytes() == CONTENT


def test_a_slow_server_is_waited_for(server, tmp_path):
    assert get(server, "slow", tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["silent", "stalls"])
def test_a_silent_server_times_out(server, tmp_path, how):
    started = time.perf_counter()
    with pytest.raises(DownloadError, match="the server does not answer"):
        get(server, how, tmp_path, timeout=(0.4, 0.1))
    assert time.perf_counter() - started < 5


def test_a_server_that_hangs_up(server, tmp_path):
    with pytest.raises(DownloadError, match="the connection was interrupted"):
        get(server, "mute", tmp_path)


def test_a_busy_server_is_asked_again(server, tmp_path):
    assert get(server, "busy", tmp_path).read_bytes() == CONTENT


def test_no_server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OfflineError, match=f"^127.0.0.1:{port} cannot be reached$"):
        download(f"http://127.0.0.1:{port}/x", tmp_path / "x", SHA, pause=0.01)


def test_no_such_host(tmp_path, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OfflineError, match=r"^files\.invalid cannot be reached$"):
        download("http://files.invalid/x", tmp_path / "x", SHA, pause=0.01)


class FullDisk:
    """A file on a disk that takes so many bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def test_no_space_on_the_disk(server, tmp_path, monkeypatch):
    whole = pathlib.Path.open

    def opened(path, mode="r", *rest, **options):
        file = whole(path, mode, *rest, **options)
        return FullDisk(file, 100_000) if mode == "ab" else file

    monkeypatch.setattr(pathlib.Path, "open", opened)
    with pytest.raises(DownloadError, match=r"file\.bin: no space left on the disk"):
        get(server, "good", tmp_path)
    assert left(tmp_path) == []  # what there was is given back


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "folder").write_bytes(b"a file in its place")
    with pytest.raises(DownloadError, match=r"file\.bin: cannot be written"):
        get(server, "good", tmp_path)


def test_a_progress_bar(server, tmp_path, capfd):
    get(server, "good", tmp_path, progress=True)
    assert "100%" in capfd.readouterr().err
