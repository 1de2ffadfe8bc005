"""Lists of photos for ``tddfa scale``: text, tars and Parquet files; and the bytes in them."""

import io
import tarfile

import pytest

from builders_fuzz import is_taken, mutated, texts, written

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

import pyarrow
import pyarrow.parquet

from tddfa.scale.reading import load_photos
from tddfa.scale.sources import list_items

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
