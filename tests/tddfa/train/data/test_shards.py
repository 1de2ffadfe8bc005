from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from tddfa.train.data.shards import Labels, Shard, read_arrays, write_shard


def labels(n):
    camera = np.arange(12 * n, dtype=np.float32).reshape(n, 3, 4)
    return Labels.of(camera, np.ones((n, 40)), np.zeros((n, 55)), "here", validation=np.arange(n) % 2 == 1)


def test_what_is_written_is_read(tmp_path):
    jpegs = [bytes([i]) * (5 + i) for i in range(7)]
    path = write_shard(tmp_path / "deep/shard", jpegs, labels(7))
    assert path.name == "labels.npz"
    shard = Shard(tmp_path / "deep/shard")
    assert [shard.jpeg(i).tobytes() for i in range(7)] == jpegs
    assert (shard.labels.camera == labels(7).camera).all()
    assert shard.labels.validation.tolist() == [False, True] * 3 + [False]
    assert shard.labels.has_params.all()
    assert shard.labels.face.all()
    assert np.isnan(shard.labels.landmarks).all()
    assert shard.labels.source.tolist() == ["here"] * 7


def test_a_shard_is_pickled_without_its_images(tmp_path):
    jpegs = [bytes([i]) * 200_000 for i in range(3)]
    write_shard(tmp_path, jpegs, labels(3))
    shard = Shard(tmp_path)
    assert shard.jpeg(2).tobytes() == jpegs[2]
    data = pickle.dumps(shard)
    assert len(data) < 20_000
    assert pickle.loads(data).jpeg(1).tobytes() == jpegs[1]


def test_plain_files_beside_labels(tmp_path):
    write_shard(tmp_path, [b"one", b"two"], labels(2))
    (tmp_path / "crops-00.tar").unlink()
    for row, data in enumerate((b"1", b"2")):
        (tmp_path / f"{row:06d}.jpg").write_bytes(data)
    assert Shard(tmp_path).jpeg(1).tobytes() == b"2"


def test_old_labels_in_half_precision(tmp_path):
    write_shard(tmp_path, [b"x"], labels(1))
    np.savez(
        tmp_path / "labels.npz",
        camera=np.zeros((1, 3, 4)),
        shape=np.zeros((1, 40)),
        expression=np.full((1, 55), 0.5, np.float16),
        source=np.array(["web"]),
        crop_size=160,
    )
    assert Shard(tmp_path).labels.expression.dtype == np.float32


def test_other_members_are_ignored(tmp_path):
    write_shard(tmp_path, [b"x"], labels(1))
    with tarfile.open(tmp_path / "more.tar", "w") as archive:
        for name in ("../../000000.txt", "000007.jpg", "note"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"y"))
        link = tarfile.TarInfo("000000.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert Shard(tmp_path).jpeg(0).tobytes() == b"x"


def test_damaged_folders_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels\.npz: no such file"):
        Shard(tmp_path)
    (tmp_path / "labels.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ValueError, match=r"labels\.npz: expected arrays"):
        Shard(tmp_path)
    np.savez(tmp_path / "labels.npz", camera=np.zeros((1, 3, 4)))
    with pytest.raises(ValueError, match=r"labels\.npz: expected an array 'shape', got camera"):
        Shard(tmp_path)
    write_shard(tmp_path, [b"x", b"y"], labels(2))
    (tmp_path / "crops-00.tar").write_bytes(b"x" * 600)
    with pytest.raises(ValueError, match=r"crops-00\.tar: not a tar file"):
        Shard(tmp_path)
    (tmp_path / "crops-00.tar").unlink()
    with pytest.raises(ValueError, match=r"expected a crop for each of 2 labels, got none for 2, .*000000\.jpg"):
        Shard(tmp_path)
    with pytest.raises(ValueError, match="jpegs: expected 2, one for each label, got 1"):
        write_shard(tmp_path, [b"x"], labels(2))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("camera", np.full((2, 3, 4), np.nan)),
        ("shape", np.zeros((3, 40))),
        ("landmarks", np.zeros((2, 67, 2))),
        ("source", np.array(["one"])),
        ("face", np.ones(3, bool)),
    ],
)
def test_arrays_that_do_not_fit_are_named(name, value):
    good = {"camera": np.zeros((2, 3, 4)), "shape": np.zeros((2, 40)), "expression": np.zeros((2, 55)), "source": "x"}
    with pytest.raises(ValueError, match=name):
        Labels.of(**{**good, name: value})


@pytest.mark.parametrize("camera", [np.float32(1), np.array(["a"] * 2), np.zeros(2, "f4,i4")])
def test_cameras_of_another_kind_are_named(tmp_path, camera):
    write_shard(tmp_path, [b"x", b"y"], labels(2))
    arrays = read_arrays(tmp_path / "labels.npz")
    np.savez(tmp_path / "labels.npz", **{**arrays, "camera": camera})
    with pytest.raises(ValueError, match=r"labels\.npz: camera: expected"):
        Shard(tmp_path)


def test_no_pickle_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz: expected arrays"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_killed_leaves_no_crops_beside_labels_of_others(tmp_path):
    """At each step that changes the folder, in a process of its own."""
    code = """
import os, pathlib, sys
import numpy as np
from tddfa._shared import files
from tddfa.train.data import shards

def write(folder, kind):
    shards._CROPS_PER_TAR = 2
    labels = shards.Labels.of(np.full((5, 3, 4), float(kind)), np.ones((5, 2)), np.zeros((5, 3)), "here")
    shards.write_shard(folder, [b"%d%d" % (kind, row) for row in range(5)], labels)

def dies_at(step, operation):
    def run(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            os._exit(9)
        return operation(*arguments, **options)
    return run

for step in range(1, 20):
    folder = pathlib.Path(sys.argv[1], str(step))
    write(folder, 1)
    if os.fork() == 0:
        left = [step]
        for name in ("write_bytes", "replace", "unlink"):
            setattr(pathlib.Path, name, dies_at(step, getattr(pathlib.Path, name)))
        write(folder, 2)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.wait()[1]) == 0:
        print(step)
        break
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, timeout=100
    )
    steps = int(done.stdout)
    assert steps == 10  # four files are written, one is removed, four get their names; then it lives
    kinds = []
    for step in range(1, steps + 1):
        try:
            shard = Shard(tmp_path / str(step))
        except FileNotFoundError as error:
            assert "labels.npz" in str(error)
            kinds.append(None)
        else:
            kind = int(shard.labels.camera[0, 0, 0])
            assert [shard.jpeg(row).tobytes() for row in range(5)] == [b"%d%d" % (kind, row) for row in range(5)]
            kinds.append(kind)
    assert kinds == [1, 1, 1, 1, 1, None, None, None, None, 2]


def test_crops_that_lie_beside_their_tar_too_are_read_from_it(tmp_path):
    write_shard(tmp_path, [b"one", b"two"], labels(2))
    with tarfile.open(tmp_path / "crops-00.tar") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "000001.jpg").write_bytes(b"changed")
    shard = Shard(tmp_path)
    assert [shard.jpeg(row).tobytes() for row in range(2)] == [b"one", b"two"]
