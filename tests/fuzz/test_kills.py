"""``kill -9`` while a command writes: each file is whole and new, or the one of before; the next run takes no harm."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from pathlib import Path

import pytest

from builders_kills import ForkingKiller, Killer
from tddfa.model.runtime import Model

pytestmark = pytest.mark.slow

OLD = b"the old one"
EVENTS = "events.out.tfevents"  # TensorBoard's, whose names have the time
FACE = ("--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    return Killer(tmp_path_factory.mktemp("killer"))


@pytest.fixture
def kills(request, record_property):
    """The share of ``--kills`` of a test, and what tells how many there were."""
    tests = sum(item.fspath == request.fspath for item in request.session.items)
    return max(round(request.config.getoption("--kills") / tests), 1)


def moments(changes, count, seed):
    """Changes of a file at which a command dies: the first, the last and others."""
    chosen = random.Random(seed).choices(range(1, changes + 1), k=max(count - 2, 0))
    return [1, changes, *chosen][:count] if count > 1 else [changes]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def ours(files):
    """Without temporary files, which the next run removes, and lines of a recording that goes on."""
    return {name: data for name, data in files.items() if not name.endswith(".part")}


@pytest.fixture
def checked(killer, kills, tmp_path, record_property):
    """Kill a command that writes below a folder; nothing in it may be broken."""

    def run(command, out, seed):
        changes = killer.changes(command, tmp_path)
        whole = contents(out)
        assert whole and not [name for name in whole if name.endswith(".part")]
        broken = []
        for at in moments(changes, kills, seed):
            for name in whole:
                (out / name).write_bytes(OLD)
            assert killer.run(command, at, tmp_path) == -9, f"change {at} of {changes}"
            there = contents(out)
            for name, data in ours(there).items():
                if data not in (OLD, whole.get(name)):
                    broken.append((at, name, len(data)))
            for name, data in there.items():
                if name.endswith(".jsonl.part"):
                    for line in data.decode().splitlines()[:-1]:
                        json.loads(line)
            assert whole.keys() <= there.keys(), f"change {at} of {changes}: a file of before is gone"
        assert not broken, f"of {changes} changes: {broken}"
        record_property("kills", kills)
        assert killer.run(command, 0, tmp_path) == 0
        assert ours(contents(out)) == whole
        assert not [name for name in contents(out) if name.endswith(".part") and not name.endswith(".jsonl.part")]

    return run


def test_photos(checked, root, tmp_path):
    photos = [root / "examples/inputs/astronaut.jpg", root / "examples/inputs/two_people.jpg"]
    kinds = ("2d_sparse", "obj", "ply", "glb")
    checked(["image", "-f", *photos, "-o", *kinds, "--json", "--out", "out", *FACE], tmp_path / "out", 1)


@pytest.mark.parametrize("suffix", ["jsonl", "npz", "glb"])
def test_videos(checked, clip, tmp_path, suffix):
    command = ["video", "-f", clip, "-e", "8", "--out", "out", "--save", f"out/s.{suffix}", *FACE]
    checked(command, tmp_path / "out", 2)


def test_crops_of_faces(checked, root, tmp_path):
    photo = root / "examples/inputs/two_people.jpg"
    checked(["align", "-f", photo, "--out", "out", *FACE], tmp_path / "out", 3)


def test_fetched_files(checked, yunet_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))
    checked(["fetch", "yunet", "--from", yunet_file], tmp_path / "cache", 4)


def test_converted_files(killer, kills, upstream, tmp_path, monkeypatch, record_property):
    """A run after a kill makes what is missing. One network of the release is not at hand, so the status is 1."""
    pytest.importorskip("onnx")
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))
    command = ["fetch", "3ddfa_v2", "--from", upstream, "--bfm", upstream / "bfm_standin.npz"]
    changes = killer.changes(command, tmp_path, status=1)
    whole = contents(tmp_path / "cache")
    for at in moments(changes, kills, 5):
        shutil.rmtree(tmp_path / "cache")
        assert killer.run(command, at, tmp_path) == -9
        for name, data in ours(contents(tmp_path / "cache")).items():
            if not name.endswith("made.json"):  # it grows with each file
                assert data == whole[name], (at, name)
            else:
                json.loads(data)
    record_property("kills", kills)
    assert killer.run(command, 0, tmp_path) == 1
    assert ours(contents(tmp_path / "cache")).keys() == whole.keys()


@pytest.fixture
def forking_killer(tmp_path_factory):
    """For a training: torch, the writer of ONNX files and TensorBoard take most of the time of a short one."""
    for name in ("torch", "onnx"):
        pytest.importorskip(name)
    modules = ("torch._dynamo", "onnx", "tddfa.cli", "tddfa.train.scan.task")
    with contextlib.closing(ForkingKiller(tmp_path_factory.mktemp("killer"), modules)) as killer:
        yield killer


def test_a_training(forking_killer, kills, root, tmp_path, record_property):
    """Checkpoints and networks can be read after each kill, and the training resumes to its end."""
    from tddfa.model.face_model import FaceModel
    from tddfa.synthetic.scans import ScanSettings
    from tddfa.train.engine.checkpoint import load_checkpoint
    from tddfa.train.scan.shards import write_scans

    model = root / "configs/open_face.npz"
    list(write_scans(tmp_path / "synthetic", FaceModel.load(model), ScanSettings(busts=0.0, edge=(4.0, 6.0)), 0, 4))
    (tmp_path / "t.yml").write_text(
        f"data: [synthetic]\nface_model: {model}\npoints: 300\nwidth: 16\nlayers: 2\nedge_width: 8\nvalidation: 1\n"
        "schedule: {steps: 4, batch_size: 1, validate_every: 2, save_every_minutes: 0.000001, log_every: 1}\n"
    )
    command = ["train", "scan", "--config", "t.yml", "--out", "run"]
    changes = forking_killer.changes(command, tmp_path)
    names = {name for name in contents(tmp_path / "run") if not name.startswith(EVENTS)}
    checkpoints = [name for name in names if name.endswith(".pt")]
    assert checkpoints and any(name.endswith(".onnx") for name in names)
    for at in moments(changes, kills, 6):
        shutil.rmtree(tmp_path / "run")
        assert forking_killer.run(command, at, tmp_path) == -9
        for path in (tmp_path / "run").glob("*"):
            if path.suffix == ".pt":
                load_checkpoint(path, "scan landmarker")
            elif path.suffix == ".onnx":
                Model(path, device="cpu", threads=1)
            elif path.suffix == ".jsonl":
                for line in path.read_text().splitlines()[:-1]:
                    json.loads(line)
            elif path.suffix != ".part" and not path.name.startswith(EVENTS):
                raise AssertionError(f"expected no file {Path(path).name}")
        begun = any((tmp_path / "run" / name).exists() for name in checkpoints)
        assert forking_killer.run([*command, *["--resume"] * begun], 0, tmp_path) == 0
        assert {name for name in ours(contents(tmp_path / "run")) if not name.startswith(EVENTS)} == names
    record_property("kills", kills)
