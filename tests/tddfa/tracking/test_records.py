import json
import sys
from pathlib import Path

import numpy as np
import pytest

from builders import make_face
from builders_files import size_limit
from tddfa.geometry.camera import Camera
from tddfa.tracking import records
from tddfa.tracking.records import SUFFIXES, Recorder
from tddfa.types import SCHEMA, Params
from tddfa.video import Frame

COLUMNS = ("frame", "time", "track_id", "score", "box", "pose", "landmarks", "camera", "shape", "expression")


class Stop(BaseException):
    """Not an Exception, like KeyboardInterrupt."""


def face(rng, track_id=None, widths=(12, 5)):
    return make_face(
        camera=Camera.from_pose(*rng.uniform(-40, 40, 3), scale=3.0, translation=(5, 6, 7)),
        params=Params(np.eye(3, 4), rng.normal(size=widths[0]), rng.normal(size=widths[1])),
        landmarks=rng.normal(size=(68, 3)),
        box=rng.uniform(0, 100, 4),
        score=rng.uniform(),
        track_id=track_id,
    )


def frame(index):
    return Frame(np.zeros((4, 6, 3), np.uint8), index, index / 24)


@pytest.fixture
def seen(rng):
    """Frames with no face, one and two; with a track id and without."""
    return [
        (frame(3), []),
        (frame(4), [face(rng, 0)]),
        (frame(5), [face(rng, 1), face(rng)]),
        (frame(7), []),
        (frame(8), [face(rng, 2**40)]),
    ]


def add_all(recorder, seen):
    for a_frame, faces in seen:
        recorder.add(a_frame, faces)


def rows_of(seen):
    return [(a_frame, a_face) for a_frame, faces in seen for a_face in faces]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def check_arrays(path, seen):
    rows = rows_of(seen)
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays) == {*COLUMNS, "frames", "schema"}
        assert arrays["schema"] == SCHEMA
        assert arrays["frames"] == len(seen)
        assert {len(arrays[name]) for name in COLUMNS} == {len(rows)}
        assert arrays["landmarks"].dtype == np.float32
        for i, (a_frame, a_face) in enumerate(rows):
            assert arrays["frame"][i] == a_frame.index
            assert arrays["time"][i] == a_frame.time
            assert arrays["track_id"][i] == (-1 if a_face.track_id is None else a_face.track_id)
            assert arrays["score"][i] == np.float32(a_face.score)
            np.testing.assert_array_equal(arrays["box"][i], a_face.box)
            np.testing.assert_allclose(arrays["pose"][i], a_face.camera.euler_degrees(), rtol=1e-6)
            np.testing.assert_array_equal(arrays["landmarks"][i], a_face.landmarks)
            np.testing.assert_array_equal(arrays["camera"][i], a_face.camera.matrix)
            np.testing.assert_array_equal(arrays["shape"][i], a_face.params.shape)
            np.testing.assert_array_equal(arrays["expression"][i], a_face.params.expression)


def check_table(path, seen):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = rows_of(seen)
    table = parquet.read_table(path)
    assert table.column_names == list(COLUMNS)
    metadata = parquet.read_metadata(path).metadata
    assert (metadata[b"frames"], metadata[b"schema"]) == (str(len(seen)).encode(), str(SCHEMA).encode())
    assert len(table) == len(rows)
    assert table.schema.field("landmarks").type.list_size == 204
    for row, (a_frame, a_face) in zip(table.to_pylist(), rows, strict=True):
        assert (row["frame"], row["time"], row["track_id"]) == (a_frame.index, a_frame.time, a_face.track_id)
        assert row["score"] == np.float32(a_face.score)
        np.testing.assert_array_equal(row["box"], a_face.box)
        assert row["pose"] == pytest.approx(a_face.camera.euler_degrees()._asdict(), rel=1e-6)
        np.testing.assert_array_equal(np.reshape(row["landmarks"], (68, 3)), a_face.landmarks)
        np.testing.assert_array_equal(np.reshape(row["camera"], (3, 4)), a_face.camera.matrix)
        np.testing.assert_array_equal(row["shape"], a_face.params.shape)
        np.testing.assert_array_equal(row["expression"], a_face.params.expression)


def check_lines(path, seen):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == [a_frame.index for a_frame, _ in seen]
    for line, (a_frame, faces) in zip(lines, seen, strict=True):
        assert line["time"] == pytest.approx(a_frame.time, abs=1e-6)
        assert (line["schema"], line["width"], line["height"]) == (SCHEMA, 6, 4)
        assert [entry["track_id"] for entry in line["faces"]] == [a_face.track_id for a_face in faces]
        for entry, a_face in zip(line["faces"], faces, strict=True):
            np.testing.assert_allclose(entry["landmarks"], a_face.landmarks, atol=1e-3)
            assert list(entry["pose"].values()) == pytest.approx(a_face.camera.euler_degrees(), abs=1e-3)


CHECKS = {".jsonl": check_lines, ".npz": check_arrays, ".parquet": check_table}


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return request.param


def test_round_trip(tmp_path, seen, suffix):
    path = tmp_path / "new" / f"faces{suffix}"
    with Recorder.open(str(path)) as recorder:
        add_all(recorder, seen)
    assert (recorder.frames, recorder.faces) == (5, 4)
    CHECKS[suffix](path, seen)
    assert names(path.parent) == [path.name]


def test_faces_without_shape_and_expression(tmp_path, suffix, rng):
    """As those of `jvcr_s`."""
    seen = [(frame(i), [face(rng, k, widths=(0, 0)) for k in range(i)]) for i in range(3)]
    path = tmp_path / f"faces{suffix}"
    with Recorder.open(path) as recorder:
        add_all(recorder, seen)
    CHECKS[suffix](path, seen)


def test_more_rows_than_fit_a_block(tmp_path, rng, suffix, monkeypatch):
    monkeypatch.setattr(records, "_ROWS_PER_BLOCK", 4)
    monkeypatch.setattr(records, "_ROWS_PER_GROUP", 4)
    seen = [(frame(i), [face(rng, k) for k in range(i % 4)]) for i in range(20)]
    path = tmp_path / f"faces{suffix}"
    with Recorder.open(path) as recorder:
        add_all(recorder, seen)
    CHECKS[suffix](path, seen)


def test_tables_are_written_group_by_group(tmp_path, rng, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(records, "_ROWS_PER_GROUP", 4)
    with Recorder.open(tmp_path / "faces.parquet") as recorder:
        for i in range(10):
            recorder.add(frame(i), [face(rng)])
            assert len(recorder._rows) < 4
    assert parquet.read_metadata(tmp_path / "faces.parquet").num_row_groups == 3


@pytest.mark.parametrize("count", [0, 3])
def test_no_face_at_all(tmp_path, suffix, count):
    path = tmp_path / f"faces{suffix}"
    seen = [(frame(i), []) for i in range(count)]
    with Recorder.open(path) as recorder:
        add_all(recorder, seen)
    CHECKS[suffix](path, seen)


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), Stop()])
def test_what_was_added_before_an_interruption_is_kept(tmp_path, seen, suffix, error):
    path = tmp_path / f"faces{suffix}"
    with pytest.raises(type(error)), Recorder.open(path) as recorder:
        add_all(recorder, seen[:3])
        raise error
    CHECKS[suffix](path, seen[:3])
    assert names(tmp_path) == [path.name]


def test_lines_are_written_at_once(tmp_path, seen):
    path = tmp_path / "faces.jsonl"
    with Recorder.open(path) as recorder:
        for i, (a_frame, faces) in enumerate(seen):
            recorder.add(a_frame, faces)
            check_lines(tmp_path / "faces.jsonl.part", seen[: i + 1])
    assert names(tmp_path) == ["faces.jsonl"]


def test_the_old_file_is_replaced_when_the_new_one_is_complete(tmp_path, seen, suffix):
    path = tmp_path / f"faces{suffix}"
    path.write_bytes(b"the old one")
    with Recorder.open(path) as recorder:
        add_all(recorder, seen)
        assert path.read_bytes() == b"the old one"
        recorder.close()
        CHECKS[suffix](path, seen)
        recorder.close()
        with pytest.raises(ValueError, match="closed"):
            recorder.add(*seen[0])


def test_lines_hold_the_records(tmp_path, aligner, astronaut):
    path = tmp_path / "faces.jsonl"
    faces = aligner(astronaut)
    with Recorder.open(path) as recorder:
        recorder.add(Frame(astronaut, 0, 0.0), faces, lambda a_face: a_face.to_dict(aligner.decoder))
    [line] = path.read_text().splitlines()
    assert json.loads(line)["faces"] == [a_face.to_dict(aligner.decoder) for a_face in faces]


def test_tables_use_the_keys_and_values_of_the_record(tmp_path, rng):
    a_face = face(rng, 4)
    with Recorder.open(tmp_path / "faces.npz") as recorder:
        recorder.add(frame(0), [a_face])
    record = a_face.to_dict()
    with np.load(tmp_path / "faces.npz") as arrays:
        columns = set(arrays) - {"schema", "frames", "frame", "time"}
        assert columns <= set(record)
        for name in columns:
            value = list(record[name].values()) if name == "pose" else record[name]
            np.testing.assert_allclose(arrays[name][0], value, atol=6e-3, err_msg=name)  # the record is rounded


def test_a_record_that_fails_leaves_whole_lines(tmp_path, seen):
    path = tmp_path / "faces.jsonl"
    with Recorder.open(path) as recorder:
        recorder.add(*seen[1])
        with pytest.raises(ValueError):
            recorder.add(*seen[2], lambda a_face: {"score": float("nan")})
        recorder.add(*seen[4])
    check_lines(path, [seen[1], seen[4]])
    assert recorder.frames == 2


def test_faces_of_another_model_are_refused(tmp_path, rng, suffix):
    if suffix == ".jsonl":
        return
    path = tmp_path / f"faces{suffix}"
    first, other = (frame(0), [face(rng)]), (frame(1), [face(rng), face(rng, widths=(12, 6))])
    with Recorder.open(path) as recorder:
        recorder.add(*first)
        with pytest.raises(ValueError, match=r"expression: expected shape \(5,\), as in the rows before, got \(6,\)"):
            recorder.add(*other)
    CHECKS[suffix](path, [first])


@pytest.mark.parametrize("limit", [0, 50, 5000])
@pytest.mark.parametrize("enough_later", [False, True])
def test_a_full_disk_leaves_the_old_file(tmp_path, rng, suffix, monkeypatch, limit, enough_later):
    monkeypatch.setattr(records, "_ROWS_PER_GROUP", 2)
    path = tmp_path / f"faces{suffix}"
    path.write_bytes(b"the old one")
    recorder = Recorder.open(path)
    with pytest.raises(OSError, match=rf"File too large: '{path}'$"), recorder, size_limit(limit):
        for i in range(20):
            recorder.add(frame(i), [face(rng)])
        recorder.close()
    if enough_later:  # a close after the space is there again must not rename either
        recorder.close()
    assert path.read_bytes() == b"the old one"
    kept = tmp_path / "faces.jsonl.part"
    assert names(tmp_path) == [path.name] + [kept.name] * kept.exists()
    assert kept.exists() == (suffix == ".jsonl" and limit == 5000)
    if kept.exists():
        assert all(json.loads(line)["schema"] == SCHEMA for line in kept.read_text().splitlines())


def test_a_write_that_failed_and_was_caught_gives_no_file(tmp_path, rng, suffix, monkeypatch):
    monkeypatch.setattr(records, "_ROWS_PER_GROUP", 2)
    recorder = Recorder.open(tmp_path / f"faces{suffix}")
    if suffix == ".npz":  # it writes only when it closes
        recorder.close()
        return
    recorder.add(frame(0), [])
    with size_limit(100), pytest.raises(OSError, match="File too large"):
        for i in range(1, 20):
            recorder.add(frame(i), [face(rng)])
    with pytest.raises(OSError, match=rf"faces{suffix}: not written, because an earlier write failed$"):
        recorder.close()
    assert f"faces{suffix}" not in names(tmp_path)


def test_other_suffixes(tmp_path):
    with pytest.raises(ValueError, match=r"faces\.csv: expected a name that ends in \.jsonl, \.npz, \.parquet$"):
        Recorder.open(tmp_path / "faces.csv")
    assert names(tmp_path) == []


def test_the_longest_names(tmp_path, seen, suffix):
    path = tmp_path / ("y" * (255 - len(suffix)) + suffix)
    with Recorder.open(path) as recorder:
        recorder.add(*seen[0])
    assert names(tmp_path) == [path.name]
    with pytest.raises(OSError, match="too long"):
        Recorder.open(tmp_path / ("y" * (256 - len(suffix)) + suffix))


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"a \.parquet file needs pyarrow: pip install pyarrow$"):
        Recorder.open(tmp_path / "faces.parquet")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written(tmp_path, suffix):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Recorder.open(tmp_path / "file" / f"faces{suffix}")


def test_an_error_names_the_file_and_no_temporary_one(tmp_path, suffix, monkeypatch):
    def refuse(path, *arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError) as error:
        Recorder.open(tmp_path / f"faces{suffix}")
    assert error.value.filename == str(tmp_path / f"faces{suffix}")


def test_a_file_that_cannot_be_finished_is_removed(tmp_path, seen, monkeypatch):
    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    recorder = Recorder.open(tmp_path / "faces.npz")
    add_all(recorder, seen)
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        recorder.close()
    assert names(tmp_path) == []
