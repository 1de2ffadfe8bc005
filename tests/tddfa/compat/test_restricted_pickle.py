import collections
import contextlib
import io
import os
import pickle
import struct

import numpy as np
import pytest

from tddfa.compat.restricted_pickle import RefusedError, Tensor, _plain_dtype, read_pickle


def read(data):
    return read_pickle(io.BytesIO(data))


class Runs:
    """The pickle of an attacker: it calls the system when it is read."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


class Plain:
    pass


ARRAYS = {
    "float32": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "big-endian": np.arange(5, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bool": np.array([True, False]),
    "scalar": np.float64(2.5),
    "empty": np.zeros((0, 3), np.uint8),
    "half": np.float16([1, 2]),
}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_numpy_are_read(protocol):
    content = {
        "arrays": ARRAYS,
        "rest": [1, -(2**40), 2.5, "text é", b"bytes", None, True, (1, 2), (1, 2, 3, 4), [], {}, ()],
        "ordered": collections.OrderedDict(a=1),
    }
    content["again"] = content["rest"]
    # protocols 0 and 1 write bytes and arrays by other calls
    if protocol < 2:
        del content["ordered"]
    back = read(pickle.dumps(content, protocol=protocol))
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back["arrays"][name], array)
        assert np.asarray(back["arrays"][name]).dtype == np.asarray(array).dtype
    assert back["rest"] == content["rest"]
    assert back["again"] is back["rest"]


def test_the_file_is_at_the_end_of_the_pickle():
    file = io.BytesIO(pickle.dumps(1) + pickle.dumps([2]) + b"rest")
    assert [read_pickle(file), read_pickle(file), file.read()] == [1, [2], b"rest"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Runs(os.system, "touch hacked"), r"(posix|nt)\.system"),
        (Runs(eval, "1"), r"builtins?(__)?\.eval"),
        (Runs(getattr, "a", "b"), r"builtins?(__)?\.getattr"),
        (Runs(io.open, "hacked", "w"), r"(_io|io)\.open"),
        (Plain(), r"\.Plain"),
        (np.array([Plain()]), r"dtype called 'O8?'|\.Plain|dtype object"),
        (np.zeros(2, [("a", "f4")]), "records|dtype"),
        (os.path.join, r"(posix|nt)path\.join"),
        (np.ndarray, r"the name numpy\.ndarray in place"),
        (collections.OrderedDict, "OrderedDict in place of a value"),
        (slice(1), r"slice"),
        (1 + 2j, r"builtins?(__)?\.complex"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_other_names_are_refused(value, name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedError, match=name):
        read(pickle.dumps({"a": value}, protocol=protocol))
    assert not list(tmp_path.iterdir())


def test_sets_are_ignored():
    assert read(pickle.dumps({"a": {1, 2}}, protocol=4)) == {"a": set()}


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02}",
        b"\x80\x02N0N",  # no end
        b"\x80\x02t.",  # no mark
        b"\x80\x02(.",
        b"\x80\x02(]t0u.",
        b"\x80\x02h\x05.",  # a reference to nothing
        b"\x80\x02cnumpy\nndarray\n)R.",  # not to be called
        b"\x80\x02ccollections\nOrderedDict\nK\x01R.",
        b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.",
        b"\x80\x02cnumpy\ndtype\n)R.",
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R.",
        b"\x80\x02cnumpy\ndtype\nX\x05\x00\x00\x00,,,,,\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",  # without its numbers
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00base64\x86R.",
        b"\x80\x02]}b.",  # a state for a list
        b"\x80\x02}](K\x01es.",
        b"\x80\x02}]K\x01s.",  # a list as a key
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # claims more text than there is
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.",  # claims 2^63 bytes
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02\x82\x01.",  # an extension
        b"\x80\x02(i__main__\nPlain\n.",
        b"\x80\x04" + text(b"os") + text(b"system") + b"\x93.",
        b"\x80\x04K\x01K\x02\x93.",
        b"\x80\x02cnumpy\\q\nndarray\n)R.",  # a warning of Python
        b"\x80\x04" + text(b"os\n") + text(b"system\r\n") + b"\x93.",
        b"\xff\xff",
        b"garbage",
    ],
)
def test_damaged_files_are_refused(body):
    with pytest.raises(RefusedError) as caught:
        read(body)
    assert len(str(caught.value).splitlines()) == 1


def test_a_large_memo_index_takes_no_memory():
    # Python's own unpickler makes room for two thousand million entries here
    assert read(b"\x80\x02K\x07r\xff\xff\xff\x7f.") == 7


@pytest.mark.parametrize("array", [False, True])
def test_one_text_does_not_become_many_bytes(array):
    """A text of 100 kB, encoded again and again: gigabytes from a file of megabytes."""
    body = b"\x80\x02" + b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"q\x000"
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    if array:
        body += again + b"q\x010"
        again = (
            b"cnumpy.core.numeric\n_frombuffer\n(h\x01cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
            b"J" + (100_000).to_bytes(4, "little") + b"\x85X\x01\x00\x00\x00CtR"
        )
    assert len(read(body + b"]" + again + b"a.")[0]) == 100_000
    with pytest.raises(RefusedError, match="bytes and arrays that are larger than the file"):
        read(body + b"]" + (again + b"a") * 50 + b".")


def test_a_truncated_file_is_refused():
    whole = pickle.dumps(ARRAYS, protocol=4)
    for end in range(len(whole)):
        with pytest.raises(RefusedError):
            read(whole[:end])


def test_a_file_changed_anywhere_is_read_or_refused(rng):
    whole = bytearray(pickle.dumps(ARRAYS, protocol=4))
    for _ in range(1500):
        changed = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            changed[at] = rng.integers(0, 256)
        with contextlib.suppress(RefusedError):
            read(bytes(changed))


def test_deep_containers_are_refused():
    with pytest.raises(RefusedError, match="nested"):
        read(b"\x80\x02" + b"]" * 2000 + b"a" * 1999 + b".")


def test_a_container_that_contains_itself_is_read():
    back = read(b"\x80\x02]q\x00h\x00a.")
    assert back[0] is back


class TestTensors:
    @pytest.mark.parametrize("storage", ["FloatStorage", "LongStorage", "HalfStorage", "BoolStorage"])
    def test_described(self, reference, storage):
        tensor = read(reference.pickled(reference.tensor("0", (2, 3), storage=storage)))
        assert isinstance(tensor, Tensor)
        assert (tensor.shape, tensor.strides, tensor.storage.count) == ((2, 3), (3, 1), 6)

    @pytest.mark.parametrize(
        "how",
        [
            {"count": 5},
            {"offset": 1},
            {"offset": -1},
            {"strides": (4, 1)},
            {"strides": (-3, 1)},
            {"strides": (3,)},
            {"count": -6},
            {"strides": (0, 0), "count": 1},  # one number, blown up
            {"storage": "UntypedStorage"},
            {"module": "os"},
        ],
    )
    def test_a_tensor_beyond_its_storage_is_refused(self, reference, how):
        with pytest.raises(RefusedError):
            read(reference.pickled(reference.tensor("0", (2, 3), **how)))

    def test_views_are_copied_out(self, reference):
        tensor = read(reference.pickled(reference.tensor("0", (2, 3), strides=(1, 2), count=7, offset=1)))
        array = tensor.read(np.arange(7, dtype=np.float32))
        np.testing.assert_array_equal(array, [[1, 3, 5], [2, 4, 6]])
        assert array.flags.owndata


@pytest.mark.parametrize("instruction", [b"\x8d", b"\x8e", b"\x96"])  # text, bytes, a bytearray
def test_a_claim_of_more_bytes_than_the_file_has_is_refused_before_they_are_reserved(instruction):
    with pytest.raises(RefusedError, match=rf"^damaged: it claims {2**40} bytes, 4 are left$"):
        read(b"\x80\x04" + instruction + struct.pack("<Q", 2**40) + b"abc.")


def test_a_message_does_not_repeat_a_long_value():
    data = b"\x80\x02I" + b"9" * 5000 + b"x\n."
    with pytest.raises(RefusedError, match="damaged") as caught:
        read(data)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("text", ["a", "a5", "f4,i4", "O", "S3", "1e999", "(" * 300])
def test_dtypes_that_are_no_numbers_are_refused(text):
    with pytest.raises(RefusedError):
        _plain_dtype(text)
