"""Lists of photos for ``tddfa scale``: text, tars and Parquet files, and the bytes in them; and its own files."""

import io
import json
import tarfile

import pytest

from builders_fuzz import is_taken, mutated, st, texts, written

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

import pyarrow
import pyarrow.parquet

from tddfa._shared.errors import FormatError
from tddfa.scale import job, tables
from tddfa.scale.attempts import TRIES, Attempt
from tddfa.scale.job import JOB, MixedError
from tddfa.scale.plan import Done, Task, errors_of
from tddfa.scale.reading import load_photos
from tddfa.scale.sources import list_items
from tddfa.scale.stores import Store

pytestmark = pytest.mark.fuzz

ERRORS = (ValueError, OSError, ImportError)  # a path may have a protocol whose package is missing


def taken(path):
    """Whether the list is taken; each photo in it is loaded, or has a reason."""

    def read():
        items = [item for item in list_items(str(path)) if "://" not in item.url]  # nothing is asked of the network
        for loaded in load_photos(items[:8]):
            assert loaded.image is not None or loaded.reason

    return is_taken(read, ERRORS)


def test_lists(tmp_path, explored):
    seed = "\ufeffa.jpg\nb/c.png\r\nmemory://d.mp4\n"

    def check(data):
        return taken(written(tmp_path / "list.txt", data))

    assert check(seed.encode())
    explored(texts([seed], ("\0", "//", "..", "~", "file://", "nope://", "\\", "%00", " " * 40, "a" * 300)), check)


def test_tars(tmp_path, explored):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("a.jpg", "b.json", "c.png"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))

    def check(data):
        return taken(written(tmp_path / "a.tar", data))

    assert check(buffer.getvalue())
    explored(mutated([buffer.getvalue()], (b"77777777777", b"\x80\xff", b"L", b"S", b"x", b"ustar\0")), check)


@pytest.mark.parametrize("column", ["path", "bytes", "image"])
def test_parquet(tmp_path, explored, column):
    values = {"path": ["a.jpg", None], "bytes": [b"abc", None], "image": [{"bytes": b"abc", "path": "a.jpg"}, None]}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({column: values[column]}), buffer)

    def check(data):
        return taken(written(tmp_path / "a.parquet", data))

    assert check(buffer.getvalue())
    explored(mutated([buffer.getvalue()], (b"PAR1", b"\xff\xff\xff\x7f")), check)


WORDS = (
    "{",
    "}",
    "[",
    "]",
    "null",
    "true",
    "-1",
    "1e999",
    '"\\ud800"',
    "[" * 5000,
    '{"errors": [[1, 2]]}',
    '"errors":',
)
INPUTS = 64 * "a"


def test_what_a_run_keeps_about_itself(tmp_path, explored):
    """A damaged job, or one of other photos, is refused; so are damaged errors. Damaged attempts count as none."""
    store = Store(str(tmp_path / "out"))
    identity = {"format": 1, "model": "open_mb05", "options": {"kinds": ["faces"], "score": 0.5}}
    task, done = Task(0, "", 0, 0, INPUTS), {0: Done("_tddfa/done/a.json", INPUTS[:16], 1, 1)}
    seeds = {
        JOB: json.dumps(identity, indent=1),
        f"{TRIES}/00000000.json": json.dumps({"inputs": INPUTS, "tries": 3, "at": 2, "deaths": {"2": 1}}),
        done[0].name: json.dumps({"shard": 0, "errors": [["a.jpg", "no such file"], ["b.jpg", "damaged"]]}),
    }

    def check(example):
        name, data = example
        store.write(name, data)
        if name == JOB:
            return is_taken(lambda: job.check(store, identity), MixedError, str(tmp_path))
        if name == done[0].name:
            buffer = tmp_path / "errors.parquet"

            def write():
                with tables.TableFile(buffer, tables.ERRORS) as table:
                    for rows in errors_of(store, done):
                        table.add(rows)

            return is_taken(write, FormatError, name)
        attempt = Attempt(store, task)
        attempt.begin(2)
        return attempt.is_careful and attempt.has_ended_processes(2)

    assert all(check((name, seed.encode())) for name, seed in seeds.items())
    named = st.sampled_from(sorted(seeds))
    explored(named.flatmap(lambda name: st.tuples(st.just(name), texts([seeds[name]], WORDS))), check)
