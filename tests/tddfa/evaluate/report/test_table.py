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
        Figure("missed", "faces missed", 3.0, "images", "lower"),
        Figure("all", "all images", 2.0, "images"),
        Figure("nme", "NME, all | some", 4.0, "%", "lower"),
        Figure("auc", "AUC", None, "%", "higher"),
        Figure("r", "correlation", 0.5, better="higher"),
    )
    return Result("aflw2000-3d", {"config": "a", "device": "cpu", "images": 5}, figures, notes=("Beware.",))


def test_identity_hashes_the_files(root, aligner):
    actual = report.identity(aligner, "open_mb05", threads=2)
    for key, path in (
        ("model_sha256", "weights/open_mb05.onnx"),
        ("detector_sha256", "weights/faceboxes.onnx"),
        ("face_model_sha256", "configs/open_face.npz"),
    ):
        assert actual[key] == hashlib.sha256((root / path).read_bytes()).hexdigest()
    assert (actual["config"], actual["device"], actual["threads"]) == ("open_mb05", "cpu", 2)
    assert (actual["tddfa"], actual["numpy"]) == (tddfa.__version__, np.__version__)
    assert actual["opencv"].startswith(cv2.__version__.split("-")[0])
    assert actual["onnxruntime"]
    assert actual["refine"] == aligner.refine == 1
    assert actual["convention"] == "300w"
    assert set(actual) == set(report.MADE_BY)


def test_identity_of_other_networks(root, aligner):
    actual = report.identity(aligner, "open_mb05", "int8", exact_crop=True)
    assert actual["model_sha256"] == hashlib.sha256((root / "weights/open_mb05_int8.onnx").read_bytes()).hexdigest()
    assert (actual["precision"], actual["exact_crop"], actual["threads"]) == ("int8", True, "one per core")


def test_signed_results_name_images_relative_to_the_data_folder(result, tmp_path):
    worst = (Worst(str(tmp_path / "lfpw/a.jpg"), 1.0), Worst("lfpw/b.jpg", 1.0))
    actual = report.signed(Result("x", {"images": 1}, (), worst=worst), {"config": "a"}, tmp_path)
    assert [case.path for case in actual.worst] == ["lfpw/a.jpg", "lfpw/b.jpg"]
    assert actual.settings == {"config": "a", "images": 1}


def test_table(result):
    assert report.table(result).splitlines() == [
        "aflw2000-3d  a  cpu",
        "  faces missed         3 images",
        "  all images           2 images",
        "  NME, all | some   4.00 %",
        "  AUC                  – %",
        "  correlation      0.500",
        "  note: Beware.",
    ]


def test_no_results(tmp_path):
    with pytest.raises(ValueError, match=r"expected .json files that tddfa evaluate wrote"):
        report.load_folder(tmp_path)


def test_an_error_names_a_damaged_json(result, tmp_path):
    result.save(tmp_path / "a.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other.json: not a result"):
        report.load_folder(tmp_path)
