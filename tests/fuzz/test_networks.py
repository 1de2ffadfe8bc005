"""Files of networks: released pickles, which may hold code, and ONNX files that are none."""

from __future__ import annotations

import collections
import io
import os
import pickle

import numpy as np
import pytest

import reference_3ddfa_v2
from builders_fuzz import is_taken, mutated, st, written
from tddfa.compat.bfm import read_bases
from tddfa.compat.restricted_pickle import RefusedError, read_pickle
from tddfa.compat.torch_file import read_state, read_torch
from tddfa.model.runtime import Model

pytestmark = pytest.mark.fuzz

OPCODES = (
    b"cos\nsystem\n", b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"\x93", b"R", b"b", b"o", b"(",
    b")", b"t", b"}", b"]", b"s", b"u", b"a", b"e", b"0", b"1", b"2", b"N", b".", b"\x80\x05", b"\x94", b"h\0", b"q\0",
    b"\x85", b"\x8b\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7 + b"\x7f", b"B\xff\xff\xff\xff", b"I99\n", b"F1e999\n",
    b"L5L\n", b"Q", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"P0\n", b"\x81", b"\x92",
    b"\x97", b"\x98",
)  # fmt: skip


class Calls:
    """The pickle of an attacker: it calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


@pytest.fixture(scope="module")
def pickles():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True]), "c": np.float64(2.5)}
    content = {**arrays, "list": [1, -(2**40), "text", b"bytes", None, (1, 2)], "d": np.arange(3, dtype=">i4")}
    files = [pickle.dumps(content, protocol=protocol) for protocol in range(2, 6)]
    return [*files, pickle.dumps(collections.OrderedDict(content), protocol=2)]


def test_pickles(tmp_path, explored, pickles):
    def check(data):
        return is_taken(lambda: read_pickle(io.BytesIO(data)), RefusedError)

    assert all(check(data) for data in pickles)
    folder = tmp_path / "made"
    attack = pickle.dumps([Calls(os.mkdir, str(folder)), *range(3)])
    assert not check(attack)
    explored(mutated([*pickles, attack], OPCODES), check)
    assert not folder.exists()


@pytest.mark.parametrize("layout", ["zip_file", "old_file"])
def test_files_of_torch(tmp_path, explored, layout):
    state = {"conv.weight": np.ones((2, 3, 1, 1), np.float32), "conv.bias": np.array([1.5, -2], np.float32)}
    seed = reference_3ddfa_v2.torch_file(state, getattr(reference_3ddfa_v2, layout))

    def check(data):
        path = written(tmp_path / "w.pth", data)
        whole = is_taken(lambda: read_torch(path), RefusedError, "w.pth")
        return is_taken(lambda: read_state(path), RefusedError, "w.pth") and whole

    assert check(seed)
    words = (*OPCODES, b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"archive/data.pkl", b"FloatStorage", b"little")
    explored(mutated([seed], words), check)


def test_bases(tmp_path, explored, pickles):
    def check(data):
        path = written(tmp_path / "b.pkl", data)
        return is_taken(lambda: read_bases(path), ValueError, "b.pkl")

    numbers = {"u": np.zeros((9, 1)), "w_shp": np.zeros((9, 40)), "w_exp": np.zeros((9, 10)), "keypoints": np.zeros(3)}
    seeds = [pickle.dumps(numbers, protocol=protocol) for protocol in (2, 4)]
    explored(mutated([*seeds, *pickles], OPCODES), check)


def test_no_network(tmp_path, explored):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, ["n", 3])],
        [helper.make_tensor("w", kind, [3], [1.0, 2.0, 3.0])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    seed = made.SerializeToString()
    batch = np.zeros((2, 3), np.float32)

    def check(data):
        path = written(tmp_path / "n.onnx", data)
        return is_taken(lambda: Model(path, "cpu", threads=1)(batch), ValueError, "n.onnx")

    assert check(seed)
    words = (b"Add", b"Mul", b"Loop", b"\x08\x08", b"\x12\x00", b"pytorch", b"w", b"/etc/passwd", b"ai.onnx")
    explored(st.one_of(mutated([seed], words), st.binary(max_size=200)), check)
