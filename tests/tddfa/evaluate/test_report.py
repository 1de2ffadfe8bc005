import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

import tddfa
from tddfa.evaluate import report
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
        "  NME, all | some  4.000 %",
        "  AUC                  – %",
        "  correlation      0.500",
        "  note: Beware.",
    ]


class TestPage:
    @pytest.fixture
    def folders(self, result, tmp_path):
        made_by = {"config": "a", "model_sha256": "0123456789abcdef", "exact_crop": False}
        report.signed(result, made_by, tmp_path).save(tmp_path / "one/aflw2000-3d.json")
        Result("zzz", {"photos": 1}, (Figure("x", "x", 1.0),)).save(tmp_path / "one/zzz.json")
        other = Result("aflw2000-3d", {"config": "b", "photos": 7}, (Figure("nme", "NME, all | some", 2.5, "%"),))
        other.save(tmp_path / "two/aflw2000-3d.json")
        Result("300w", {}, (Figure("auc", "AUC", 50.0, "%"),)).save(tmp_path / "two/300w.json")
        return [tmp_path / "one", tmp_path / "two"]

    def test_models_stand_side_by_side(self, folders):
        lines = report.markdown({folder.name: report.load_folder(folder) for folder in folders}).splitlines()
        assert "| NME, all \\| some, % | 4.000 | 2.500 |" in lines
        assert "| faces missed, photos | 3 | – |" in lines
        assert "| found: photos | 2 | – |" in lines
        assert "| AUC, % | – | 50.000 |" in lines
        assert "| regressor, sha256 | `0123456789ab` | – |" in lines
        assert "| --exact-crop | no | – |" in lines
        assert "|  | one | two |" in lines
        assert "photos: 5 / 7." in lines
        assert "- Beware." in lines

    def test_benchmarks_are_in_the_order_of_the_registry(self, folders):
        page = report.markdown({folder.name: report.load_folder(folder) for folder in folders})
        headings = [line for line in page.splitlines() if line.startswith("## ")]
        assert headings == ["## aflw2000-3d", "## 300w", "## zzz"]

    def test_tables_are_whole(self, folders):
        page = report.markdown({folder.name: report.load_folder(folder) for folder in folders})
        rows = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} == {4}

    def test_no_results(self, tmp_path):
        with pytest.raises(ValueError, match=r"expected .json files that tddfa evaluate wrote"):
            report.load_folder(tmp_path)

    def test_another_json_is_named(self, folders):
        (folders[0] / "other.json").write_text("{}")
        with pytest.raises(ValueError, match=r"other.json: not a result"):
            report.load_folder(folders[0])


def test_the_page_in_the_repository(root):
    page = (root / "RESULTS.md").read_text(encoding="utf-8")
    assert "| open_mb05 | mb05_120x120 |" in page
    for heading in ("## aflw2000-3d", "## 300w", "## detection", "## negatives"):
        assert heading in page
    assert not [word for word in page.split() if len(word) > 1 and Path(word.strip("`|.,")).is_absolute()]
