"""Crops and meshes on request, as WebDataset tars."""

import io
import json
import tarfile

import cv2
import numpy as np
import pytest

from builders_scale import errors, faces

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from tddfa.face_crops.aligned import align_face


def samples(path):
    """Key -> ending -> bytes."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            key, _, ending = member.name.partition(".")
            found.setdefault(key, {})[ending] = archive.extractfile(member).read()
    return found


def test_crops_are_those_of_align(do, photos, tmp_path, aligner):
    do(photos / "face_0.png", photos / "grey.png", photos / "face_1.png", crops=96)
    found = samples(tmp_path / "out/crops/part-00000000.tar")
    assert list(found) == ["00000000-00000000-000", "00000000-00000002-000"]
    for sample, row in zip(found.values(), faces(tmp_path / "out"), strict=True):
        about = json.loads(sample["json"])
        assert about == {name: row[name] for name in ("path", "frame", "time", "face")}
        image = cv2.imread(about["path"])
        expected = align_face(image, aligner(image)[0], size=96)
        crop = cv2.imdecode(np.frombuffer(sample["jpg"], np.uint8), cv2.IMREAD_COLOR)
        assert crop.shape == (96, 96, 3)
        assert np.abs(crop.astype(int) - expected).mean() < 2


def test_crops_of_a_video_are_named_by_frame(do, clip, tmp_path):
    do(clip, crops=32)
    found = samples(tmp_path / "out/crops/part-00000000.tar")
    assert len(found) == len(faces(tmp_path / "out"))
    for key, sample in found.items():
        assert int(key.split("-")[1]) == json.loads(sample["json"])["frame"]


def test_meshes_can_be_read(do, photos, tmp_path, aligner):
    do(photos / "face_0.png", meshes="ply")
    (sample,) = samples(tmp_path / "out/meshes/part-00000000.tar").values()
    assert list(sample) == ["ply", "json"]
    count = len(aligner.decoder.mesh(aligner(photos / "face_0.png")[0]).vertices)
    assert f"element vertex {count}".encode() in sample["ply"]
    do(photos / "face_0.png", meshes="glb", out="glb")
    (sample,) = samples(tmp_path / "glb/meshes/part-00000000.tar").values()
    assert sample["glb"][:4] == b"glTF"


def test_a_second_run_gives_the_same_bytes(do, photos, tmp_path):
    for out in ("a", "b"):
        do(photos / "face_0.png", crops=64, out=out)
    first, second = ((tmp_path / out / "crops/part-00000000.tar").read_bytes() for out in ("a", "b"))
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert {member.mtime for member in archive} == {0}


def test_a_face_that_cannot_be_cropped_is_an_error_and_keeps_its_row(do, photos, tmp_path, monkeypatch):
    from tddfa.scale import worker

    def fails(*arguments):
        raise ValueError("no crop of this one")

    monkeypatch.setattr(worker, "crop_files", fails)
    report = do(photos / "face_0.png", crops=64)
    assert (report.faces, report.errors) == (1, 1)
    assert errors(tmp_path / "out") == {str(photos / "face_0.png"): "face 0: no crop: no crop of this one"}
