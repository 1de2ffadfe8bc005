"""Files of networks: released pickles, which may hold code, and ONNX files that are none."""

from __future__ import annotations

import collections
import io
import os
import pickle

import numpy as np
import pytest

import reference_3ddfa_v2
from builders_fuzz import is_taken, mutated, numbers, st, texts, written
from FaceBoxes import Detector
from FaceBoxes.anchors import Anchors
from tddfa.compat.bfm import read_bases
from tddfa.compat.restricted_pickle import RefusedError, read_pickle
from tddfa.compat.torch_file import read_state, read_torch
from tddfa.detector.fetch_yunet import fetch_yunet
from tddfa.detector.yunet import YuNet
from tddfa.model.assets import AssetError
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


def test_anchors_in_the_metadata_of_a_detector(explored):
    def check(data):
        text = data.decode("utf-8", "replace")
        return is_taken(lambda: Anchors.from_metadata({"anchors": text}).priors(64, 96), ValueError)

    seed = Anchors().to_json().replace(",", ", ")
    assert check(seed.encode())
    words = ("[", "]", "[" * 5000, "0", "-1", "1e400", "null", "true", "1e9", "[8,[[12,1]]]", "4096", "16", '"a"', "{}")
    explored(texts([seed, "[[8, [[12, 1], [24, 2]]]]"], words), check)


def test_the_released_file_of_yunet(tmp_path, explored, monkeypatch):
    """No other file is copied, whatever it holds."""
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))

    def check(data):
        return is_taken(lambda: fetch_yunet(written(tmp_path / "y.onnx", data)), AssetError, "y.onnx")

    explored(mutated([b"\x08\x08\x12\x07pytorch", b"\0" * 300], [b"\x08\x08", b"yunet"]), check)
    assert not (tmp_path / "cache").exists()


IMAGE = np.zeros((40, 50, 3), np.uint8)


def yunet_outputs():
    cells = [64 * 64 // stride**2 for stride in (8, 16, 32)]
    return {
        f"{name}_{stride}": (1, count, columns)
        for stride, count in zip((8, 16, 32), cells, strict=True)
        for name, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    }


def faceboxes_outputs():
    count = len(Anchors().priors(*IMAGE.shape[:2]))
    return {"scores": (1, count), "offsets": (1, count, 4), "points": (1, count, 10), "rotations": (1, count, 6)}


@pytest.mark.parametrize(
    ("kind", "shapes"), [(YuNet, yunet_outputs()), (Detector, faceboxes_outputs())], ids=["yunet", "faceboxes"]
)
def test_outputs_of_another_network(explored, kind, shapes):
    """Other names, other numbers of rows or columns, and numbers that are none."""

    def check(outputs):
        found = []
        if not is_taken(lambda: found.append(kind(lambda batch: outputs)(IMAGE)), ValueError):
            return False
        assert all(np.isfinite(each).all() for each in (found[0].xyxy, found[0].scores, found[0].points))
        return True

    assert check({name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()})

    @st.composite
    def outputs(draw):
        made = {name: draw(numbers(shape, low=0, high=1)) for name, shape in shapes.items()}
        name = draw(st.sampled_from(sorted(made)))
        how = draw(st.sampled_from(("none", "gone", "rows", "more", "flat", "type")))
        if how == "gone" and name not in ("points", "rotations"):  # FaceBoxes may have none
            del made[name]
        elif how == "rows":
            made[name] = made[name][:, 1:]
        elif how == "more":
            made[name] = np.repeat(made[name], 2, axis=-1)
        elif how == "flat":
            made[name] = made[name].ravel()
        elif how == "type":
            made[name] = made[name].astype("U8")
        return made

    explored(outputs(), check)
