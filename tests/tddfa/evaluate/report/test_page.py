from pathlib import Path

import pytest

from tddfa.evaluate.benchmarks import module
from tddfa.evaluate.report import page
from tddfa.evaluate.report import table as report
from tddfa.evaluate.result import Figure, Result, Setup


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


@pytest.fixture
def folders(result, tmp_path):
    made_by = {"config": "a", "model_sha256": "0123456789abcdef", "exact_crop": False}
    report.signed(result, made_by, tmp_path).save(tmp_path / "one/aflw2000-3d.json")
    Result("zzz", {"photos": 1}, (Figure("x", "x", 1.0),)).save(tmp_path / "one/zzz.json")
    other = Result("aflw2000-3d", {"config": "b", "photos": 7}, (Figure("nme", "NME, all | some", 2.5, "%"),))
    other.save(tmp_path / "two/aflw2000-3d.json")
    Result("300w", {}, (Figure("auc", "AUC", 50.0, "%"),)).save(tmp_path / "two/300w.json")
    return [tmp_path / "one", tmp_path / "two"]


def test_models_stand_side_by_side(folders):
    lines = page.markdown({folder.name: report.load_folder(folder) for folder in folders}).splitlines()
    assert "| NME, all \\| some, % ↓ | 4.00 | 2.50 |" in lines
    assert "| faces missed, photos ↓ | 3 | – |" in lines
    assert "| found: photos | 2 | – |" in lines
    assert "| AUC, % ↑ | – | 50.00 |" in lines
    assert "| regressor, sha256 | `0123456789ab` | – |" in lines
    assert "| --exact-crop | no | – |" in lines
    assert "|  | one | two |" in lines
    assert "photos: 5 (one), 7 (two)." in lines
    assert "- one: Beware." in lines


def test_benchmarks_are_in_the_order_of_the_registry(folders):
    text = page.markdown({folder.name: report.load_folder(folder) for folder in folders})
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Made by", "## aflw2000-3d", "## 300w", "## zzz"]


def test_tables_are_whole(folders):
    text = page.markdown({folder.name: report.load_folder(folder) for folder in folders})
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}


def test_it_begins_with_what_matters_most(folders):
    figures = (
        Figure("lfpw (last 30 %).nme.truth.eyes", "long: NME, eyes", 3.018, "%"),
        Figure("lfpw (last 30 %).ear_correlation.truth", "long: EAR, correlation", 0.6574),
    )
    columns = {"one": {"300w": Result("300w", {}, figures)}, "two": {"300w": Result("300w", {}, figures[:1])}}
    lines = page.markdown(columns).splitlines()
    at = lines.index("## In short")
    table = [line for line in lines[at : lines.index("## Made by")] if line.startswith("| LFPW")]
    assert table == [
        "| LFPW, last 30 %: NME, eyes, % ↓ | 3.02 | 3.02 |",
        "| LFPW, last 30 %: eye openness (EAR), correlation ↑ | 0.657 | – |",
    ]
    # what none of them has is no empty heading
    assert "## In short" not in page.markdown({folder.name: report.load_folder(folder) for folder in folders})


@pytest.mark.evaluation
def test_figures_of_the_summary_are_those_of_the_benchmarks(evaluation, aligner):
    """A name that a benchmark gives no more would be a row that is silently gone."""
    for _, name, chosen in page.SUMMARY:
        found = {figure.name for figure in module(name).evaluate(Setup(evaluation, aligner, limit=4)).figures}
        assert {figure for _, figure in chosen} <= found


def test_what_is_not_there_is_not_claimed(folders):
    text = page.markdown({folder.name: report.load_folder(folder) for folder in folders})
    (said,) = (line for line in text.splitlines() if line.startswith("Made by "))
    assert "Not on this page" in said
    assert "latency" in said
    assert "aflw2000-3d" not in said


def test_a_part_of_the_data_is_said_to_be_one(result):
    part = Result("300w", {"limit": 5}, (Figure("lfpw (last 30 %).nme.truth.51", "NME", 4.0, "%"),))
    lines = page.markdown({"one": {"300w": part}, "two": {"aflw2000-3d": result}}).splitlines()
    assert "**Of a part of the data only**: one, 300w: at most 5 of each set." in lines
    assert "a part of the data only: at most 5 of each set." in lines


def test_what_several_rows_begin_with_is_said_once():
    figures = (
        Figure("a", "set, small faces", 7, "faces"),
        Figure("b", "set, small faces: AP at IoU 0.5", 0.5),
        Figure("c", "set, small faces: recall", 0.25),
        Figure("d", "speed, all", 2.0, "ms"),
    )
    lines = page.markdown({"m": {"zzz": Result("zzz", {}, figures)}}).splitlines()
    at = lines.index("| **set, small faces** |  |")
    assert lines[at + 1 : at + 5] == [
        "| how many, faces | 7 |",
        "| AP at IoU 0.5 ↑ | 0.500 |",
        "| recall ↑ | 0.250 |",
        "| speed, all, ms ↓ | 2.000 |",
    ]


def test_settings_in_words():
    settings = {
        "photos": 9, "photos.0-30": 5, "photos.30-60": 3, "photos.60-90": 0, "photos.over_90": 1,
        "photos.new_bins.0-30": 4, "photos.lfpw (last 30 %)": 2, "lowest score": 0.05, "kept": None,
    }  # fmt: skip
    lines = page.markdown({"m": {"zzz": Result("zzz", settings, ())}}).splitlines()
    assert (
        "photos: 9; photos by yaw: 5, 3, 0; photos over 90 degrees: 1; photos by yaw, new bins: 4; "
        "photos of lfpw (last 30 %): 2; curves from a score of: 0.05; kept: –."
    ) in lines


def test_the_page_in_the_repository(root):
    page = (root / "RESULTS.md").read_text(encoding="utf-8")
    assert "| open_mb05 | open_mb05+ | mb05_120x120 |" in page
    for heading in ("## aflw2000-3d", "## 300w", "## detection", "## negatives"):
        assert heading in page
    assert not [word for word in page.split() if len(word) > 1 and Path(word.strip("`|.,")).is_absolute()]
