"""Every writer on a disk that is full after n bytes: an earlier file stays whole, and no part of a new one is left."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from builders import make_face
from builders_files import size_limit
from tddfa import Camera, export
from tddfa._shared import image_io
from tddfa._shared.files import write_atomic
from tddfa._shared.npz import add_arrays
from tddfa.avatar import Performer, open_take
from tddfa.export import rigs
from tddfa.outputs import Options, Outputs
from tddfa.tracking.records import Recorder
from tddfa.train.data.shards import Labels, write_shard
from tddfa.types import Mesh
from tddfa.video import Frame, Writer

OLD = b"the old one"
SMALL = 400  # bytes; a write of no more fails at each of them, a longer one at some
POINTS = 24

IMAGE = np.random.default_rng(3).integers(0, 256, (40, 48, 3), dtype=np.uint8)
MESH = Mesh(
    np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]], np.float32),
    np.array([[0, 2, 1], [0, 3, 2], [1, 2, 3]], np.int32),
    None,
    np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32),
)
TEXTURE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


@pytest.fixture(scope="module")
def face(aligner):
    """A face of the default model in an image of 80 px, with a track."""
    return make_face(aligner.face_model, Camera.from_pose(5, 0, 0, 4.0, (40, 40, 0)), image_size=(80, 80), track_id=0)


@pytest.fixture(scope="module")
def outputs(aligner, face):
    return Outputs(np.full((80, 80, 3), 90, np.uint8), [face], aligner, Options(suffix=".png", raw_depth="npy"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def limits(size, count):
    """Bytes at which a file of some size fails: all of a small one, else some, the first and the last with them."""
    return range(size) if size <= SMALL else sorted({int(limit) for limit in np.linspace(0, size - 1, count)})


def check(folder, write, count=POINTS, kept=()):
    """A write that fails at byte n leaves the files of before, whatever n; those in `kept` may be there too."""
    folder.mkdir()
    write(folder)
    whole = contents(folder)
    for limit in limits(max(map(len, whole.values())), count):
        for name in whole:
            (folder / name).write_bytes(OLD)
        with size_limit(limit), pytest.raises(OSError) as caught:
            write(folder)
        assert any(name in str(caught.value) for name in whole), f"byte {limit}: {caught.value}"
        there = contents(folder)
        for name in kept:
            there.pop(name, None)
        # of files that do not belong together, those before the one that fails may be new
        assert there.keys() == whole.keys(), f"byte {limit}"
        assert all(data in (OLD, whole[name]) for name, data in there.items()), f"byte {limit}"
        yield [name for name, data in there.items() if data == OLD]
    write(folder)  # nothing is left that would stop the next run
    assert contents(folder).keys() - set(kept) == whole.keys()


def all_stay(folder, write, **options):
    for old in check(folder, write, **options):
        assert sorted(old) == sorted(path.name for path in folder.iterdir() if path.name not in options.get("kept", ()))


def test_bytes(tmp_path):
    all_stay(tmp_path / "out", lambda folder: write_atomic(folder / "x.json", bytes(range(100))))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_images(tmp_path, suffix):
    all_stay(tmp_path / "out", lambda folder: image_io.write(folder / f"x{suffix}", IMAGE))
    all_stay(tmp_path / "small", lambda folder: image_io.write(folder / f"x{suffix}", IMAGE[:4, :4]))


@pytest.mark.parametrize("name", ["x.ply", "x.obj", "x.glb"])
def test_meshes(tmp_path, name):
    textures = None if name == "x.ply" else [TEXTURE]
    all_stay(tmp_path / "out", lambda folder: export.save(folder / name, MESH, textures=textures))


def test_numbers_of_a_photo(tmp_path, outputs):
    all_stay(tmp_path / "json", lambda folder: outputs.save_json(folder / "me", "me.jpg"))
    all_stay(tmp_path / "csv", lambda folder: outputs.save_landmarks(folder / "me"))


def test_images_and_their_numbers(tmp_path, outputs):
    for old in check(tmp_path / "out", lambda folder: outputs.save("depth", folder / "me"), count=8):
        assert "me_depth.npy" in old


def test_a_rig(tmp_path, aligner, face):
    heads = rigs([face], aligner.decoder)
    all_stay(tmp_path / "out", lambda folder: export.save(folder / "me.glb", heads), count=4)


@pytest.mark.parametrize("suffix", [".jsonl", ".npz", ".parquet"])
def test_records_of_a_video(tmp_path, suffix):
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        pytest.skip("could not import 'pyarrow'")

    def write(folder):
        with Recorder.open(folder / f"x{suffix}") as recorder:
            for index in range(3):
                recorder.add(Frame(IMAGE, index, index / 25), [make_face(track_id=1)])
            recorder.close()

    # of .jsonl, the whole lines are kept beside the old file
    all_stay(tmp_path / "out", write, kept=[f"x{suffix}.part"] if suffix == ".jsonl" else ())


@pytest.mark.parametrize("suffix", [".livelink.csv", ".glb"])
def test_takes_of_a_video(tmp_path, aligner, face, suffix):
    performer = Performer(aligner.decoder, "none")

    def write(folder):
        with open_take(folder / f"x{suffix}", performer) as take:
            for index in range(12):
                take.add(Frame(IMAGE, index, index / 25), [face])

    all_stay(tmp_path / "out", write, count=3 if suffix == ".glb" else POINTS)


def test_a_video(tmp_path):
    def write(folder):
        with Writer(folder / "x.mp4", fps=25) as writer:
            for index in range(4):
                writer.write(np.roll(IMAGE, index, axis=1))

    all_stay(tmp_path / "out", write, count=8)


def test_files_of_a_training(tmp_path):
    labels = Labels.of(np.ones((2, 3, 4)), np.ones((2, 2)), np.zeros((2, 3)), "here")
    all_stay(tmp_path / "out", lambda folder: write_shard(folder, [b"1" * 20, b"2" * 30], labels))
    np.savez(tmp_path / "model.npz", mean=np.zeros((2, 3)))
    more = {"more": np.arange(4)}
    all_stay(tmp_path / "more", lambda folder: add_arrays(tmp_path / "model.npz", folder / "m.npz", more, 1 << 20))
