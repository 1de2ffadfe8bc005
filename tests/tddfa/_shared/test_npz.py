"""Archives of arrays: whole, in part, and damaged in every way that a zip file can be."""

import io
import time
import zipfile

import numpy as np
import pytest

from tddfa._shared.npz import add_arrays, read_npz


def packed(method):
    """A file of one array, ``a``, packed by a method of zip."""
    array, file = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(200.0))
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.npy", array.getvalue())
    return file.getvalue()


def changed(data, *changes):
    """Bytes with others in some places."""
    out = bytearray(data)
    for at, value in changes:
        out[at] = value
    return bytes(out)


def test_all_arrays_or_some(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(3), b=np.eye(2))
    assert sorted(read_npz(tmp_path / "x.npz", 1 << 20)) == ["a", "b"]
    some = read_npz(tmp_path / "x.npz", 1 << 20, ("b", "c"))
    assert list(some) == ["b"]
    np.testing.assert_array_equal(some["b"], np.eye(2))


def test_the_limit_counts_only_the_arrays_that_are_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", small=np.zeros(3), large=np.zeros(100_000))
    assert list(read_npz(tmp_path / "x.npz", 1000, ["small"])) == ["small"]
    with pytest.raises(ValueError, match="expected at most 1000 bytes of unpacked arrays, got 8"):
        read_npz(tmp_path / "x.npz", 1000)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_data(tmp_path, method):
    data = packed(method)
    path = tmp_path / "x.npz"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_npz(path, 1 << 20)["a"], np.arange(200.0))
    path.write_bytes(changed(data, *((45 + k, data[45 + k] ^ 0xFF) for k in range(30))))
    with pytest.raises(ValueError, match=r"\S"):
        read_npz(path, 1 << 20)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="not a zip file"):
        read_npz(path, 1 << 20)


def test_the_message_quotes_little_of_a_damaged_file(tmp_path):
    data = packed(zipfile.ZIP_STORED)
    (tmp_path / "a.npz").write_bytes(changed(data, (27, 8)))  # a name of 2 kB and more in the header
    with pytest.raises(ValueError, match=r"^File name in directory 'a\.npy' and header b'a\.npy") as caught:
        read_npz(tmp_path / "a.npz", 1 << 20)
    assert len(str(caught.value)) <= 300


def test_encrypted(tmp_path):
    data = packed(zipfile.ZIP_STORED)
    central = data.find(b"PK\x01\x02")
    (tmp_path / "x.npz").write_bytes(changed(data, (6, 1), (central + 8, 1)))
    with pytest.raises(ValueError, match="encrypted"):
        read_npz(tmp_path / "x.npz", 1 << 20)


def test_an_unknown_method(tmp_path):
    data = packed(zipfile.ZIP_STORED)
    central = data.find(b"PK\x01\x02")
    (tmp_path / "x.npz").write_bytes(changed(data, (8, 99), (central + 10, 99)))
    with pytest.raises(ValueError, match="method"):
        read_npz(tmp_path / "x.npz", 1 << 20)


def test_an_entry_that_is_not_an_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", b"hello")
    with pytest.raises(ValueError, match="a is not an array"):
        read_npz(tmp_path / "x.npz", 1 << 20)
    np.savez(tmp_path / "y.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_npz(tmp_path / "y.npz", 1 << 20)
    np.save(tmp_path / "z.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not a zip file"):
        read_npz(tmp_path / "z.npy", 1 << 20)


class TestAdding:
    def test_other_arrays_stay(self, tmp_path):
        np.savez_compressed(tmp_path / "x.npz", a=np.arange(3), b=np.eye(2))
        add_arrays(tmp_path / "x.npz", tmp_path / "y.npz", {"b": np.zeros(1), "c": np.array("text")}, 1 << 20)
        found = read_npz(tmp_path / "y.npz", 1 << 20)
        assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2], "b": [0], "c": "text"}

    def test_a_damaged_source_leaves_the_target_unchanged(self, tmp_path):
        (tmp_path / "x.npz").write_bytes(b"none")
        (tmp_path / "y.npz").write_bytes(b"old")
        with pytest.raises(ValueError, match="zip"):
            add_arrays(tmp_path / "x.npz", tmp_path / "y.npz", {"a": np.zeros(1)}, 1 << 20)
        assert (tmp_path / "y.npz").read_bytes() == b"old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npz", "y.npz"]


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as entry:
        np.lib.format.write_array_header_1_0(entry, {"descr": "<f4", "fortran_order": False, "shape": (80 << 18,)})
        for _ in range(80):
            entry.write(bytes(1 << 20))
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"^expected at most \d+ bytes of arrays unpacked from \d+ bytes, got \d+$"):
        read_npz(tmp_path / "x.npz", 1 << 30)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'shape': (1,",
        "{'descr': [" + "(" * 300,
        "{1:2}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': ((),)}",
    ],
)
def test_headers_that_are_none(tmp_path, header):
    text = header.encode().ljust(1000) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match=r"^\S") as caught:
        read_npz(tmp_path / "x.npz", 1 << 30)
    assert "\n" not in str(caught.value)
