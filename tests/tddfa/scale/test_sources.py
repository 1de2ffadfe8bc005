"""Lists of photos and videos from every kind of source; their bytes are those of the files."""

import io
import os
import tarfile
from concurrent.futures import Future

import cv2
import pytest

from builders_scale import errors, faces

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

import fsspec
import pyarrow
import pyarrow.parquet

from tddfa._shared.errors import FormatError
from tddfa.scale.items import Item
from tddfa.scale.reading import Decoders, as_file, item_reason, load, load_photos, read_bytes
from tddfa.scale.sources import list_items
from tddfa.scale.stores import StoreError


def names(*arguments, **options):
    return [item.name for item in list_items(*map(str, arguments), **options)]


@pytest.fixture
def memory():
    """An empty object store in memory."""
    files = fsspec.filesystem("memory")
    files.rm("/", recursive=True) if files.ls("/") else None
    yield files
    files.store.clear()


@pytest.fixture(scope="module")
def jpgs(astronaut):
    """Bytes of three photos."""
    return [cv2.imencode(".jpg", astronaut[: 300 - 4 * k, 80:390])[1].tobytes() for k in range(3)]


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_table(target, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), target, row_group_size=2)
    return target


class TestFolders:
    def test_a_folder_in_the_order_of_its_names(self, tmp_path):
        for name in ("b.jpg", "a/z.PNG", "a/a.mp4", "c.txt", "a.jpg", ".x.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.jpg").mkdir()
        (tmp_path / "loop").symlink_to(tmp_path)
        expected = [".x.jpg", "a/a.mp4", "a/z.PNG", "a.jpg", "b.jpg"]
        assert names(tmp_path) == [str(tmp_path / name) for name in expected]
        assert [item.kind for item in list_items(str(tmp_path))] == ["photo", "video", "photo", "photo", "photo"]

    def test_a_pattern(self, tmp_path):
        for name in ("b.jpg", "a/z.jpg", "c.png", "notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        assert names(tmp_path / "**/*.jpg") == [str(tmp_path / "a/z.jpg"), str(tmp_path / "b.jpg")]
        assert names(tmp_path / "*") == [str(tmp_path / "b.jpg"), str(tmp_path / "c.png")]

    def test_the_stamp_changes_with_the_content(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(b"1")
        (before,) = list_items(str(tmp_path))
        (tmp_path / "a.jpg").write_bytes(b"22")
        (after,) = list_items(str(tmp_path))
        assert before.stamp != after.stamp

    @pytest.mark.parametrize(
        ("name", "error", "message"),
        [
            ("nothing", FileNotFoundError, "nothing: no such file or folder"),
            ("*.jpg", FileNotFoundError, r"\*\.jpg: no file matches"),
            ("notes.doc", ValueError, r"notes\.doc: expected a photo, a video, a folder, \.parquet, \.tar, \.txt"),
        ],
    )
    def test_what_is_no_source(self, tmp_path, name, error, message):
        (tmp_path / "notes.doc").touch()
        with pytest.raises(error, match=message):
            names(tmp_path / name)

    def test_a_protocol_that_nobody_knows(self):
        with pytest.raises(ValueError, match="nope://a: Protocol not known: nope"):
            names("nope://a")


class TestLists:
    def test_lines_are_relative_to_the_list(self, tmp_path):
        (tmp_path / "list.txt").write_bytes("\ufeffa.jpg\r\n\nb ö.mp4\n/c.png\nmemory://d.jpg\nwithout".encode())
        found = list(list_items(str(tmp_path / "list.txt")))
        expected = [tmp_path / "a.jpg", tmp_path / "b ö.mp4", "/c.png", "memory://d.jpg", tmp_path / "without"]
        assert [item.name for item in found] == list(map(str, expected))
        assert [item.kind for item in found] == ["photo", "video", "photo", "photo", "photo"]
        assert found[0].stamp == "missing"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"\xff\xfe\x00", "expected text in UTF-8"),
            (b"a" * 40_000, "a line over"),
            (b"a\0b", "got .*x00"),
        ],
    )
    def test_other_content_is_an_error(self, tmp_path, content, message):
        (tmp_path / "list.txt").write_bytes(content)
        with pytest.raises(FormatError, match=rf"list\.txt: .*{message}"):
            names(tmp_path / "list.txt")


class TestParquet:
    def test_a_column_of_paths(self, tmp_path):
        path = write_table(tmp_path / "a.parquet", n=[1, 2, 3], path=["a.jpg", None, "s/b.mp4"])
        assert names(path) == [str(tmp_path / "a.jpg"), str(tmp_path / "s/b.mp4")]

    def test_a_column_by_its_name(self, tmp_path):
        path = write_table(tmp_path / "a.parquet", path=["a.jpg"], other=["b.jpg"])
        assert names(path, column="other") == [str(tmp_path / "b.jpg")]

    def test_a_column_of_bytes(self, tmp_path, jpgs):
        path = write_table(tmp_path / "a.parquet", bytes=[*jpgs, None, b"text"])
        items = list(list_items(str(path)))
        assert [item.name for item in items] == [f"{path}#{row}" for row in range(5)]
        loaded = list(load_photos(items))
        assert [one.image.shape[0] for one in loaded[:3]] == [300, 296, 292]
        assert [one.reason for one in loaded[3:]] == ["the row has no bytes", "not an image"]
        (last,) = load_photos(items[2:3])  # in the second group of rows
        assert last.image.shape[0] == 292

    def test_a_column_of_structs(self, tmp_path, jpgs):
        rows = [{"bytes": jpgs[0], "path": "me.jpg"}, {"bytes": jpgs[1], "path": None}]
        path = write_table(tmp_path / "a.parquet", image=rows)
        items = list(list_items(str(path)))
        assert [item.name for item in items] == ["me.jpg", f"{path}#1"]
        assert [one.image.shape[0] for one in load_photos(items)] == [300, 296]

    def test_bytes_are_named_by_the_column_path(self, tmp_path, jpgs):
        # a column of paths comes first, if none is named
        path = write_table(tmp_path / "a.parquet", path=["x/me.jpg"], bytes=[jpgs[0]])
        items = list(list_items(str(path), column="bytes"))
        assert [item.name for item in items] == ["x/me.jpg"]
        assert next(load_photos(items)).image.shape[0] == 300

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ("no", "expected a column no, got n;"),
            ("n", "column n: expected paths, .* got int64"),
        ],
    )
    def test_another_column_is_an_error(self, tmp_path, column, message):
        path = write_table(tmp_path / "a.parquet", n=[1])
        with pytest.raises(ValueError, match=message):
            names(path, column=column)

    def test_another_file_is_an_error(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
        with pytest.raises(FormatError, match=r"a\.parquet: not a readable Parquet file"):
            names(tmp_path / "a.parquet")


class TestTars:
    def test_its_photos_are_read_where_they_lie(self, tmp_path, jpgs):
        path = write_tar(
            tmp_path / "a.tar", [("0.jpg", jpgs[0]), ("0.json", b"{}"), ("d/1.jpg", jpgs[1]), ("2.jpg", b"")]
        )
        items = list(list_items(str(path)))
        assert [item.name for item in items] == [f"{path}/{name}" for name in ("0.jpg", "d/1.jpg", "2.jpg")]
        assert read_bytes(items[1]) == jpgs[1]
        loaded = list(load_photos(items))
        assert [one.image.shape[0] for one in loaded[:2]] == [300, 296]
        assert loaded[2].reason == "the file is empty"

    def test_a_video_in_it_is_copied_out(self, tmp_path, clip):
        path = write_tar(tmp_path / "a.tar", [("v.mp4", clip.read_bytes())])
        (item,) = list_items(str(path))
        with as_file(item) as copy:
            assert copy.read_bytes() == clip.read_bytes()
        assert not copy.exists()

    def test_another_file_is_an_error(self, tmp_path):
        (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
        with pytest.raises(FormatError, match=r"a\.tar: not a readable tar file"):
            names(tmp_path / "a.tar")

    def test_one_that_was_cut_since_is_an_error_of_its_photo(self, tmp_path, jpgs):
        path = write_tar(tmp_path / "a.tar", [("0.jpg", jpgs[0])])
        items = list(list_items(str(path)))
        path.write_bytes(path.read_bytes()[:2000])
        assert next(load_photos(items)).reason == "the tar file ends before it"


class TestReading:
    def test_reasons_do_not_repeat_the_name(self, tmp_path, monkeypatch):
        (tmp_path / "text.jpg").write_text("no")
        (tmp_path / "empty.jpg").touch()
        (tmp_path / "folder.jpg").mkdir()
        items = [
            Item(str(tmp_path / n), str(tmp_path / n), "photo")
            for n in ("text.jpg", "empty.jpg", "x.jpg", "folder.jpg")
        ]
        expected = ["not an image", "the file is empty", "no such file", "expected an image, got a folder"]
        assert [loaded.reason for loaded in load_photos(items)] == expected
        monkeypatch.chdir(tmp_path)
        for prefix in ("", "./", f"file://{tmp_path}/"):
            names = [f"{prefix}{name}.jpg" for name in ("text", "empty", "x", "folder")]
            items = [Item(name, name, "photo") for name in names]
            assert [loaded.reason for loaded in load_photos(items)] == expected, prefix

    def test_decoded_photos_that_wait_are_bounded(self, tmp_path, jpgs, monkeypatch):
        from tddfa.scale import reading

        (tmp_path / "a.jpg").write_bytes(jpgs[0])
        items = [Item(f"{k}", str(tmp_path / "a.jpg"), "photo") for k in range(40)]
        begun = []
        real = reading.load
        monkeypatch.setattr(reading, "load", lambda item, row: begun.append(item) or real(item, row))
        size = 300 * 310 * 3
        for taken, _ in enumerate(load_photos(items, ahead_bytes=3 * size), 1):
            assert len(begun) <= taken + 3 + 2 * reading._READERS
        assert len(begun) == 40

    def test_a_decoder_whose_process_ended_is_the_reason_of_its_photo(self, tmp_path, jpgs):
        (tmp_path / "a.jpg").write_bytes(jpgs[0])
        items = [Item(f"{k}", str(tmp_path / "a.jpg"), "photo") for k in range(3)]

        def submit(item, row):
            future = Future()
            if item.name == "1":
                future.set_exception(RuntimeError("the process has ended"))
            else:
                future.set_result(load(item, row))
            return future

        reasons = [loaded.reason for loaded in load_photos(items, decoders=Decoders(submit, 2))]
        assert reasons == ["", "the process has ended", ""]


class TestObjectStores:
    def test_sources_and_results_in_memory(self, do, memory, tmp_path, jpgs):
        for number, data in enumerate(jpgs):
            memory.pipe_file(f"/in/a/{number}.jpg", data)
        memory.pipe_file("/in/b.jpg", b"no")
        write_tar(tmp_path / "t.tar", [("0.jpg", jpgs[0])])
        memory.put_file(str(tmp_path / "t.tar"), "/in/t.tar")
        report = do("memory://in", "memory://in/*.tar", "memory://in/a/[01].jpg", out="memory://out", crops=64)
        assert (report.photos, report.faces, report.errors) == (7, 6, 1)
        assert [row["path"] for row in faces("memory://out")] == [
            *(f"memory:///in/a/{k}.jpg" for k in range(3)), "memory:///in/t.tar/0.jpg",
            *(f"memory:///in/a/{k}.jpg" for k in range(2)),
        ]  # fmt: skip
        assert errors("memory://out") == {"memory:///in/b.jpg": "not an image"}
        assert memory.exists("/out/crops/part-00000000.tar")
        assert not memory.exists("/out/_tddfa/lock")
        again = do("memory://in", "memory://in/*.tar", "memory://in/a/[01].jpg", out="memory://out", crops=64)
        assert (again.photos, again.faces) == (0, 6)

    def test_a_missing_package_is_named(self, monkeypatch):
        from tddfa.scale import stores

        def missing(url):
            raise ImportError("Install gcsfs to access Google Storage")

        monkeypatch.setattr(stores.fsspec.core, "url_to_fs", missing)
        with pytest.raises(ImportError, match=r"^gs:// needs gcsfs: pip install gcsfs$"):
            names("gs://bucket/a.jpg")


class TestVideos:
    def test_a_video_is_a_shard_with_its_tracks(self, do, clip, photos, tmp_path, aligner):
        from tddfa import Tracker, video

        report = do(clip, photos / "face_0.png", tracking={"smooth": "none"})
        assert (report.videos, report.frames, report.photos, report.shards) == (1, 24, 1, 2)
        rows = [row for row in faces(tmp_path / "out") if row["path"] == str(clip)]
        with video.open_source(clip) as reader:
            expected = [
                (frame.index, face.track_id, face.box)
                for frame, found in Tracker(aligner, smooth="none").run(reader.frames())
                for face in found
            ]
        assert [(row["frame"], row["track_id"]) for row in rows] == [(index, track) for index, track, _ in expected]
        assert len(rows) > 15
        assert rows[0]["time"] == pytest.approx(rows[0]["frame"] / 25)
        for row, (_, _, box) in zip(rows, expected, strict=True):
            assert row["box"] == pytest.approx(box.tolist(), abs=0.02)

    def test_a_damaged_one_is_an_error(self, do, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
        assert do(tmp_path / "a.mp4").errors == 1
        assert "a.mp4" not in errors(tmp_path / "out")[str(tmp_path / "a.mp4")]


class Unreachable(Exception):
    """As those of a library of an object store: of no kind of Python's, and without a name."""

    __module__ = "botocore.exceptions"


def test_a_store_that_cannot_be_reached_is_named(memory, monkeypatch, do):
    def refuse(*_, **__):
        raise Unreachable("Unable to locate credentials")

    monkeypatch.setattr(type(memory), "isdir", refuse)
    with pytest.raises(StoreError, match=r"^memory://photos/a.jpg: Unable to locate credentials$"):
        do("memory://photos/a.jpg")
    monkeypatch.setattr(type(memory), "ls", refuse)
    with pytest.raises(StoreError, match=r"^memory://results: Unable to locate credentials$"):
        do("examples/inputs/astronaut.jpg", out="memory://results")


def test_a_missing_file_is_told_from_a_server_that_does_not_answer():
    error = FileNotFoundError("http://localhost/a.jpg")
    item = Item("http://localhost/a.jpg", "http://localhost/a.jpg", "photo")
    assert item_reason(item, error) == "no such file"
    error.__cause__ = Unreachable("404, File not found")  # as fsspec and s3fs have it of a file that is not there
    assert item_reason(item, error) == "no such file"
    error.__cause__ = ConnectionRefusedError(111, "connection refused")
    assert item_reason(item, error).startswith("cannot be read: ")


def test_a_listed_file_url_has_the_time_of_its_change(tmp_path, jpgs):
    (tmp_path / "a.jpg").write_bytes(jpgs[0])
    (tmp_path / "list.txt").write_text(f"file://{tmp_path}/a.jpg\n")
    (before,) = list_items(str(tmp_path / "list.txt"))
    os.utime(tmp_path / "a.jpg", (1, 1))
    (after,) = list_items(str(tmp_path / "list.txt"))
    assert before.stamp != after.stamp


@pytest.mark.parametrize("struct", [False, True])
def test_rows_that_are_too_large_are_refused_one_by_one(tmp_path, jpgs, monkeypatch, struct):
    rows = [{"bytes": data} if struct else data for data in (jpgs[0], bytes(300_000), jpgs[1])]
    pyarrow.parquet.write_table(pyarrow.table({"image": rows}), tmp_path / "a.parquet")
    monkeypatch.setattr("tddfa.scale.reading._MAX_BYTES", 200_000)
    loaded = list(load_photos(list(list_items(str(tmp_path / "a.parquet")))))
    assert [photo.image is None for photo in loaded] == [False, True, False]
    assert "expected a file of at most" in loaded[1].reason


def test_a_video_of_a_tar_is_not_named_by_its_copy(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("x.mp4", b"no video")])
    (item,) = list_items(str(path))
    with as_file(item) as copy:
        assert item_reason(item, ValueError(f"{copy}: not a video")) == "not a video"
