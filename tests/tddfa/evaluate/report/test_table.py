import hashlib

import cv2
import numpy as np
import pytest

import tddfa
from tddfa.evaluate.report import table as report
from tddfa.evaluate.result import Figure, Result, Worst


@pytest.fixture
def result():
    figures = (
        Figure("missed", "faces missed", 3.0, "photos"),
        Figure("found", "found: photos", 2.0, "photos"),
        Figure("nme", "NME, all | some", 4.0, "%"),
        Figure("auc", "AUC", None, "%"),
        Figure("r", "correlation", 0.5),
    )
    return Result("aflw2000-3d", {"config": "a", "device": "cpu", "photos": 5}, figures, notes=("Beware.",))


def test_identity_hashes_the_files(root, aligner):
    found = report.identity(aligner, "open_mb05", threads=2)
    for key, path in (
        ("model_sha256", "weights/open_mb05.onnx"),
        ("detector_sha256", "weights/faceboxes.onnx"),
        ("face_model_sha256", "configs/open_face.npz"),
    ):
        assert found[key] == hashlib.sha256((root / path).read_bytes()).hexdigest()
    assert (found["config"], found["device"], found["threads"]) == ("open_mb05", "cpu", 2)
    assert (found["tddfa"], found["numpy"]) == (tddfa.__version__, np.__version__)
    assert found["opencv"].startswith(cv2.__version__.split("-")[0])
    assert found["onnxruntime"]
    assert found["refine"] == aligner.refine == 1
    assert found["convention"] == "300w"
    assert set(found) == set(report.MADE_BY)


def test_identity_of_other_networks(root, aligner):
    found = report.identity(aligner, "open_mb05", "int8", exact_crop=True)
    assert found["model_sha256"] == hashlib.sha256((root / "weights/open_mb05_int8.onnx").read_bytes()).hexdigest()
    assert (found["precision"], found["exact_crop"], found["threads"]) == ("int8", True, "one a core")


def test_signed_names_pictures_by_the_data_folder(result, tmp_path):
    worst = (Worst(str(tmp_path / "lfpw/a.jpg"), 1.0), Worst("lfpw/b.jpg", 1.0))
    found = report.signed(Result("x", {"photos": 1}, (), worst=worst), {"config": "a"}, tmp_path)
    assert [case.path for case in found.worst] == ["lfpw/a.jpg", "lfpw/b.jpg"]
    assert found.settings == {"config": "a", "photos": 1}


def test_table(result):
    assert report.table(result).splitlines() == [
        "aflw2000-3d  a  cpu",
        "  faces missed         3 photos",
        "  found: photos        2 photos",
        "  NME, all | some   4.00 %",
        "  AUC                  – %",
        "  correlation      0.500",
        "  note: Beware.",
    ]


def test_no_results(tmp_path):
    with pytest.raises(ValueError, match=r"expected .json files that tddfa evaluate wrote"):
        report.load_folder(tmp_path)


def test_another_json_is_named(result, tmp_path):
    result.save(tmp_path / "a.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other.json: not a result"):
        report.load_folder(tmp_path)
