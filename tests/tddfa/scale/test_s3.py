"""S3: sources and results in buckets of moto's server on this machine."""

import pytest

from builders_scale import errors, faces

pytest.importorskip("pyarrow")
pytest.importorskip("s3fs")
pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[s3]' flask flask-cors")

import s3fs
from moto.server import ThreadedMotoServer

from tddfa.scale.lock import LockedError, locked
from tddfa.scale.stores import Store

# of botocore and moto themselves
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        yield s3fs.S3FileSystem()
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_sources_and_results_in_buckets(do, photos, server, tmp_path):
    server.mkdir("sources")
    server.mkdir("results")
    for name in ("face_0.png", "b/face_6.png", "cut.jpg"):
        server.put_file(str(photos / name), f"sources/photos/{name}")
    report = do("s3://sources/photos", out="s3://results/run", crops=64)
    assert (report.photos, report.faces, report.errors) == (3, 2, 1)
    assert [row["path"] for row in faces("s3://results/run")] == [
        "s3://sources/photos/b/face_6.png",
        "s3://sources/photos/face_0.png",
    ]
    assert errors("s3://results/run") == {
        "s3://sources/photos/cut.jpg": "the file is truncated: the JPEG has no end marker"
    }
    assert server.exists("results/run/crops/part-00000000.tar")
    assert do("s3://sources/photos", out="s3://results/run", crops=64).photos == 0
    do(photos / "b/face_6.png", out="local")
    (here,) = faces(tmp_path / "local")
    there = faces("s3://results/run")[0]
    for mine, theirs in zip(here["landmarks"], there["landmarks"], strict=True):
        assert mine == pytest.approx(theirs, abs=5e-3)


def test_an_object_that_changed_is_done_again(do, photos, server):
    server.mkdir("changed")
    for name in ("face_0.png", "face_1.png"):
        server.put_file(str(photos / name), f"changed/in/{name}")
    do("s3://changed/in", out="s3://changed/out", shard_size=1)
    server.put_file(str(photos / "grey.png"), "changed/in/face_1.png")
    report = do("s3://changed/in", out="s3://changed/out", shard_size=1)
    assert (report.photos, report.skipped, report.faces) == (1, 1, 1)


def test_a_second_driver_stops(server):
    server.mkdir("lock")
    store = Store("s3://lock/out")
    with locked(store, beat=0.1), pytest.raises(LockedError), locked(store, beat=0.1, silence=60):
        pass
    assert store.create("x", b"1")
    assert not store.create("x", b"2")
    with pytest.raises(FileExistsError):  # the store decides, not the look before
        store.files.pipe_file(store.path("x"), b"3", mode="create")
    assert store.read("x") == b"1"
