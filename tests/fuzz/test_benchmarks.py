"""Labels and predictions of benchmarks, and results that are compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

from builders_fuzz import array_files, is_taken, mutated, npz, texts, written
from tddfa.datasets.cfp import read_cfp
from tddfa.datasets.files import read_array
from tddfa.datasets.views import stored_heads
from tddfa.evaluate.benchmarks import scans
from tddfa.evaluate.benchmarks.aflw2000 import _reannotated
from tddfa.evaluate.benchmarks.biwi import read_pose
from tddfa.evaluate.result import Curve, Figure, Result, Worst

pytestmark = pytest.mark.fuzz

CAMERA = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2.7, 0, 0, 0, 1, 4.26, 0, 0.5, 0, 4.26, 0.5, 0, 0, 1]
VIEWS = json.dumps({"labels": [["00000.png", CAMERA]]})


def views(folder):
    """The views of a head whose image is missing: its labels are read before."""
    (folder / "multiview/head").mkdir(parents=True, exist_ok=True)
    (folder / "multiview/head/dataset.json").write_text(VIEWS)
    return folder / "multiview"


def read_views(folder):
    assert list(stored_heads(folder)[0].views(1)) == []


ARRAYS = {
    "cfp/cfp.npz": (
        {"names": np.array(["001_profile_01"]), "points": np.ones((1, 30, 2)), "profile": np.array([True])},
        read_cfp,
    ),
    "scan.npz": (
        {"vertices": np.random.default_rng(0).normal(size=(80, 3)), "landmarks": np.arange(68), "scale": np.array(0.01),
         "points": np.random.default_rng(1).normal(size=(70, 3)), "heat": np.ones((70, 68)), "centre": np.zeros(3)},
        lambda folder: scans.read(folder / "scan.npz"),
    ),
    "aflw2000_reannotated.npz": (
        {"names": np.array(["image00002"]), "points": np.arange(136.0).reshape(1, 2, 68)},
        lambda folder: _reannotated([folder], []),
    ),
    "multiview/head.npz": ({"landmarks": np.zeros((0, 68, 2))}, read_views),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(tmp_path, explored, name):
    content, read = ARRAYS[name]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if read is read_views:
        views(tmp_path).joinpath("head/dataset.json").write_text('{"labels": []}')

    def check(data):
        path = written(tmp_path / name, data)
        return is_taken(lambda: read(tmp_path), ValueError, path.stem)

    assert name.startswith("multi") or check(npz(content))
    explored(array_files(content), check)


def test_one_array(tmp_path, explored):
    np.save(tmp_path / "yaw.npy", np.arange(4.0))
    seed = (tmp_path / "yaw.npy").read_bytes()

    def check(data):
        path = written(tmp_path / "yaw.npy", data)
        return is_taken(lambda: read_array(path, (None,)), ValueError, "yaw.npy")

    assert check(seed)
    words = (b"\x93NUMPY", b"'|O'", b"'<f8'", b"(4611686018427387904,)", b"True", b"\xff\xff", b"(" * 300)
    explored(mutated([seed], words), check)


def result(folder):
    made = Result(
        "AFLW2000", {"images": 3}, (Figure("nme", "NME", 3.0, "%", "lower"),), ({"name": "a.jpg", "nme": 3.0},),
        (Curve("nme", (1.0, 2.0), "%", (0.0, 30.0)),), (Worst("a.jpg", 3.0),), ("a note",),
    )  # fmt: skip
    return made.save(folder / "seed.json").read_text().replace("\n", " ")


def pose(_):
    return "1 0 0 \n0 1 0 \n0 0 1 \n\n 10.5 20 900 \n"


WORDS = ("{", "}", "[", "]", "[" * 5000, "null", "true", "NaN", "1e999", '"\\ud800"', '{"labels": [[]]}', "-1", '"x":')
TEXTS = {
    "result.json": (result, Result.load),
    "frame_00003_pose.txt": (pose, read_pose),
    "multiview/dataset.json": (lambda folder: VIEWS, lambda path: read_views(path.parent.parent)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path, explored, name):
    make, read = TEXTS[name]
    if name.startswith("multi"):
        (tmp_path / "multiview/head").mkdir(parents=True)
        np.savez(tmp_path / "multiview/head.npz", landmarks=np.zeros((0, 68, 2)))
    seed = make(tmp_path)

    def check(data):
        path = written(tmp_path / name, data)
        return is_taken(lambda: read(path), ValueError, "multiview" if name.startswith("multi") else path.name)

    assert name.startswith("multi") or check(seed.encode())
    explored(texts([seed], WORDS), check)
