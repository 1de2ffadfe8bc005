"""What a training goes on from, starts from and learns from: checkpoints, networks, and arrays of scans and points."""

from __future__ import annotations

import copy
import os
import pickle

import numpy as np
import pytest

from builders import make_face_model
from builders_fuzz import array_files, chance, is_taken, mutated, npz, st, written
from FaceBoxes.anchors import Anchors
from tddfa import export
from tddfa.scan.head import mean_landmarks
from tddfa.types import Mesh

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("trimesh")

from tddfa.train.detector.export import ImportFailed, load_onnx, to_onnx  # noqa: E402
from tddfa.train.detector.networks import ANCHORS, Architecture, FaceBoxes  # noqa: E402
from tddfa.train.engine.checkpoint import FORMAT, CheckpointError, load_network, save_checkpoint  # noqa: E402
from tddfa.train.engine.loop import CHECKPOINT, _Loop  # noqa: E402
from tddfa.train.engine.settings import Schedule  # noqa: E402
from tddfa.train.labels.fit_photos import read_landmarks, read_vertex_map  # noqa: E402
from tddfa.train.regressor.networks import Regressor  # noqa: E402
from tddfa.train.scan.marked import marked_scan  # noqa: E402
from tddfa.train.scan.network import ScanNetwork  # noqa: E402
from tddfa.train.scan.shards import read_scans  # noqa: E402
from tddfa.train.score.task import ScoreHead, read_samples  # noqa: E402

pytestmark = pytest.mark.fuzz

KIND = "made"
WORDS = (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"data.pkl", b"cos\nsystem\n", b"R", b"FloatStorage", b"\x8e")
# Sizes of networks: what is large has no weights, so it must not take memory either.
VALUES = (None, True, -1, 0, 3, 10**5, 10**12, 1e308, float("nan"), "x", b"x", [], {}, [[1]], {"a": 1})


class Line:
    """The task of the checkpoints that are resumed."""

    kind = KIND
    look_ahead = 0

    def __init__(self):
        self.network = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
        self.objectives = {"square": lambda batch: {"square": self.network(batch).square().mean()}}

    def describe(self):
        return {"inputs": 3}


@st.composite
def states(draw, state):
    """A checkpoint with other values in some places, or with some left out."""
    count, by = draw(st.integers(1, 3)), chance(draw)
    changed = copy.deepcopy(state)
    for _ in range(count):
        place = changed
        while True:
            key = by.choice(sorted(place, key=str)) if isinstance(place, dict) else by.randrange(len(place))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or by.random() < 0.2:
                break
            place = inner
        how = by.choice(("value", "tensor", "gone"))
        if how == "gone" and isinstance(place, dict) and len(place) > 1:
            del place[key]
        elif how == "tensor":
            shape = by.choice(((), (0,), (2, 3), (3,), *([inner.shape] if isinstance(inner, torch.Tensor) else [])))
            place[key] = torch.zeros(shape, dtype=by.choice((torch.float32, torch.int64, torch.bool, torch.complex64)))
        else:
            place[key] = by.choice(VALUES)
    return changed


def files(tmp_path, state):
    """Bytes of checkpoints with damaged bytes, and with other values."""
    seed = save_checkpoint(tmp_path / "seed.pt", state).read_bytes()

    def saved(changed):
        torch.save(changed, tmp_path / "changed.pt")
        return (tmp_path / "changed.pt").read_bytes()

    return seed, st.one_of(mutated([seed], WORDS), states({"format": FORMAT, **state}).map(saved))


def tiny_detector():
    """Of two maps: those of four take four times as long to read."""
    return FaceBoxes(Architecture(stem=2, channels=(4, 4), blocks=(0, 1)), Anchors(ANCHORS.maps[:2]))


NETWORKS = {
    "scan": (lambda: ScanNetwork(8, 1, 4), lambda network: network.arguments, lambda told: ScanNetwork(**told)),
    "score": (lambda: ScoreHead(8, 4), lambda _: {"channels": 8, "hidden": 4}, lambda told: ScoreHead(**told)),
    "detector": (
        lambda: tiny_detector(),
        lambda network: network.describe(),
        FaceBoxes.of_description,
    ),
    "regressor": (
        lambda: Regressor(0.1, 2, 3),
        lambda _: {"width": 0.1, "shape_count": 2, "expression_count": 3},
        lambda told: Regressor(**told),
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_of_checkpoints(tmp_path, explored, kind):
    make, describe, build = NETWORKS[kind]
    network = make()
    state = {"kind": KIND, "describe": describe(network), "network": network.state_dict(), "step": 3}

    def check(data):
        path = written(tmp_path / "best.pt", data)
        return is_taken(lambda: load_network(path, KIND, build), CheckpointError, "best.pt")

    seed, strategy = files(tmp_path, state)
    assert check(seed)
    explored(strategy, check)


def test_checkpoints_to_resume(tmp_path, explored):
    schedule, batch = Schedule(steps=4, batch_size=2), torch.arange(6.0).reshape(2, 3)

    def step(loop):
        loop.optimizer.zero_grad()
        loop.task.objectives["square"](batch)["square"].backward()
        loop.optimizer.step()

    first = _Loop(Line(), schedule, tmp_path)
    step(first)
    first.step, first.best = 1, {"error": 0.5}
    first.save()
    seed = (tmp_path / CHECKPOINT).read_bytes()
    _, strategy = files(tmp_path, torch.load(tmp_path / CHECKPOINT, weights_only=True))

    def check(data):
        written(tmp_path / CHECKPOINT, data)
        loop = _Loop(Line(), schedule, tmp_path)
        if not is_taken(loop.restore, CheckpointError, CHECKPOINT):
            return False
        step(loop)  # what was taken is used
        assert loop.step >= 0 and loop.progress() >= 0
        return True

    assert check(seed)
    explored(strategy, check)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_checkpoint_runs_no_code(tmp_path, protocol):
    class Calls:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    for content in (Calls(), {"format": FORMAT, "kind": KIND, "describe": {}, "network": Calls()}):
        torch.save(content, tmp_path / "zip.pt", pickle_protocol=protocol)
        torch.save(content, tmp_path / "old.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
        (tmp_path / "plain.pt").write_bytes(pickle.dumps(content, protocol))
        for name in ("zip.pt", "old.pt", "plain.pt"):
            with pytest.raises(CheckpointError, match=f"{name}: not a checkpoint that can be read") as caught:
                load_network(tmp_path / name, KIND, lambda told: ScoreHead(**told))
            assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "made").exists()


def test_detectors_to_start_from(tmp_path, explored):
    seed = to_onnx(tiny_detector().eval(), {})

    def check(data):
        path = written(tmp_path / "d.onnx", data)
        return is_taken(lambda: load_onnx(path), ImportFailed, "d.onnx")

    assert check(seed)
    words = (
        b"Conv",
        b"Add",
        b'"stem": 2',
        b'"channels": [4, 4]',
        b"[",
        b"null",
        b"\x08\x08",
        b"anchors",
        b"Loop",
    )
    explored(mutated([seed], words), check, few=10)


def scan_beside(folder):
    """A scan of 68 vertices, whose labels are beside it."""
    points = mean_landmarks(make_face_model()) + np.random.default_rng(0).normal(0, 9, (68, 3))
    mesh = Mesh(points.astype(np.float32), np.array([[0, 1, 2]], np.int32))
    (folder / "s.ply").write_bytes(export.encode("s.ply", mesh)["s.ply"])
    return folder / "s.ply"


ARRAYS = {
    "score.npz": (
        {"features": np.ones((4, 3), np.float16), "error": np.array([1, 2, np.inf, 3], np.float32),
         "kind": np.array(["faces"] * 4), "score": np.full(4, 0.5, np.float32)},
        read_samples,
    ),
    "scans-00000.npz": (
        {"face": np.ones((2, 9, 3), np.float16), "face_normals": np.ones((2, 9, 3), np.int8),
         "landmarks": np.ones((2, 68, 3), np.float32), "seed": np.arange(2)},
        lambda path: read_scans([path.parent]),
    ),
    "map.npz": (
        {"triangles": np.array([[0, 1, 2], [1, 2, 3]]), "weights": np.full((2, 3), 1 / 3), "pairs": np.array([[0, 1]])},
        lambda path: read_vertex_map(path, make_face_model()),
    ),
    "vertices.npz": ({"vertices": np.array([0, 1, 5])}, lambda path: read_vertex_map(path, make_face_model())),
    "points.npz": (
        {"names": np.array(["a.jpg", "../b.jpg"]), "landmarks": np.ones((2, 5, 2))},
        lambda path: read_landmarks(path.parent, path),
    ),
    "s.npz": ({"v10": np.arange(68)}, lambda path: marked_scan(scan_beside(path.parent), np.eye(68, 3) * 40)),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(tmp_path, explored, name):
    content, read = ARRAYS[name]

    def check(data):
        path = written(tmp_path / name, data)
        return is_taken(lambda: read(path), ValueError, name)

    assert check(npz(content))
    explored(array_files(content), check)
