"""Files of arrays: face models, labels and crops of a training, cameras."""

from __future__ import annotations

import io
import tarfile

import cv2
import numpy as np
import pytest

from builders import make_face_model
from builders_fuzz import array_files, is_taken, mutated, npz, written
from tddfa import FaceModel
from tddfa.geometry import calibration
from tddfa.train.data.shards import LABELS, Labels, Shard

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def model_arrays():
    """The arrays of a small face model, with some of those that may be missing."""
    model = make_face_model()
    return {
        "mean": model.mean,
        "shape_basis": model.basis[:2],
        "expression_basis": model.basis[2:],
        "triangles": model.triangles,
        "landmark_triangles": model.landmark_triangles,
        "landmark_weights": model.landmark_weights,
        "uv": np.full((6, 2), 0.5, np.float32),
        "part": model.part,
        "region_nose": np.array([0, 2], np.int32),
        "expression_names": np.array(["a", "b", "c"]),
        "expression_range": np.array([0.0, 1.0]),
        "unit": np.array("cm"),
        "landmark_offset_300w-lp": np.zeros((68, 3), np.float32),
        "shade": np.ones(6, np.float32),
        "points_more_triangles": np.array([[0, 1, 2]], np.int32),
        "points_more_weights": np.full((1, 3), 1 / 3, np.float32),
    }


def test_face_models(tmp_path, explored, model_arrays):
    def check(data):
        path = written(tmp_path / "f.npz", data)
        models = []
        if not is_taken(lambda: models.append(FaceModel.load(path)), ValueError, "f.npz"):
            return False
        (model,) = models  # the native code takes whatever was accepted
        shape, expression = np.zeros(model.shape_count), np.zeros(model.expression_count)
        assert model.vertices(shape, expression).shape == model.mean.shape
        assert model.landmarks(shape, expression).shape == (68, 3)
        return True

    assert check(npz(model_arrays))
    explored(array_files(model_arrays), check)


def test_cameras(tmp_path, explored):
    matrix = np.array([[800, 0, 320], [0, 800, 240], [0, 0, 1]], np.float64)
    content = {"mtx": matrix, "dist": np.zeros((1, 5)), "image_width": np.array(640), "image_height": np.array(480)}

    def check(data):
        path = written(tmp_path / "k.npz", data)
        return is_taken(lambda: calibration.read(path, (480, 640)), ValueError, "k.npz")

    assert check(npz(content))
    explored(array_files(content), check)


@pytest.fixture(scope="module")
def label_arrays():
    labels = Labels.of(np.ones((4, 3, 4)), np.ones((4, 2)), np.zeros((4, 3)), "here")
    return {name: getattr(labels, name) for name in labels.__dataclass_fields__}


def crops(format):
    """A tar file of four crops."""
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for row in range(4):
            member = tarfile.TarInfo(f"{row:06d}.jpg")
            member.size = len(jpeg)
            archive.addfile(member, io.BytesIO(jpeg))
    return buffer.getvalue()


def is_read(folder, name):
    def read():
        shard = Shard(folder)
        for row in range(len(shard)):
            assert shard.jpeg(row).dtype == np.uint8

    return is_taken(read, (ValueError, FileNotFoundError), name)


def test_labels(tmp_path, explored, label_arrays):
    written(tmp_path / "crops-00.tar", crops(tarfile.USTAR_FORMAT))

    def check(data):
        written(tmp_path / LABELS, data)
        return is_read(tmp_path, tmp_path.name)

    assert check(npz(label_arrays))
    explored(array_files(label_arrays), check)


def test_crops_of_a_training(tmp_path, explored, label_arrays):
    written(tmp_path / LABELS, npz(label_arrays))

    def check(data):
        written(tmp_path / "crops-00.tar", data)
        return is_read(tmp_path, tmp_path.name)

    seeds = [crops(format) for format in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)]
    assert all(check(seed) for seed in seeds)
    words = [b"000000.jpg\0", b"00000000000\0", b"77777777777\0", b"\x80" + b"\xff" * 11, b"ustar\x00", b"L", b"x"]
    explored(mutated(seeds, words), check)
