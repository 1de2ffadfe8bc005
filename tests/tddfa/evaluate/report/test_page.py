from pathlib import Path

import pytest

from tddfa.evaluate.benchmarks import benchmark
from tddfa.evaluate.report import page
from tddfa.evaluate.report import table as report
from tddfa.evaluate.result import Figure, Result, Setup


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


@pytest.fixture
def folders(result, tmp_path):
    made_by = {"config": "a", "model_sha256": "0123456789abcdef", "exact_crop": False}
    report.signed(result, made_by, tmp_path).save(tmp_path / "one/aflw2000-3d.json")
    Result("zzz", {"images": 1}, (Figure("x", "x", 1.0),)).save(tmp_path / "one/zzz.json")
    other = Result("aflw2000-3d", {"config": "b", "images": 7}, (Figure("nme", "NME, all | some", 2.5, "%", "lower"),))
    other.save(tmp_path / "two/aflw2000-3d.json")
    Result("300w", {}, (Figure("auc", "AUC", 50.0, "%", "higher"),)).save(tmp_path / "two/300w.json")
    return [tmp_path / "one", tmp_path / "two"]


def test_models_are_compared_side_by_side(folders):
    lines = page.markdown({folder.name: report.load_folder(folder) for folder in folders}).splitlines()
    assert "| NME, all \\| some, % ↓ | 4.00 | 2.50 |" in lines
    assert "| faces missed, images ↓ | 3 | – |" in lines
    assert "| all images | 2 | – |" in lines
    assert "| AUC, % ↑ | – | 50.00 |" in lines
    assert "| regressor, sha256 | `0123456789ab` | – |" in lines
    assert "| --exact-crop | no | – |" in lines
    assert "|  | one | two |" in lines
    assert "images: 5 (one), 7 (two)." in lines
    assert "- one: Beware." in lines


def test_benchmarks_are_in_the_order_of_the_table(folders):
    text = page.markdown({folder.name: report.load_folder(folder) for folder in folders})
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## Made by", "## aflw2000-3d", "## 300w", "## zzz"]


def test_all_rows_have_all_cells(folders):
    text = page.markdown({folder.name: report.load_folder(folder) for folder in folders})
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {4}


def test_summary(folders):
    figures = (
        Figure("lfpw (last 30 %).nme.ground_truth.eyes", "long: NME, eyes", 3.018, "%", "lower"),
        Figure("lfpw (last 30 %).ear_correlation.ground_truth", "long: EAR, correlation", 0.6574, better="higher"),
    )
    columns = {"one": {"300w": Result("300w", {}, figures)}, "two": {"300w": Result("300w", {}, figures[:1])}}
    lines = page.markdown(columns).splitlines()
    at = lines.index("## Summary")
    table = [line for line in lines[at : lines.index("## Made by")] if line.startswith("| LFPW")]
    assert table == [
        "| LFPW, last 30 %: NME, eyes, % ↓ | 3.02 | 3.02 |",
        "| LFPW, last 30 %: eye openness (EAR), correlation ↑ | 0.657 | – |",
    ]
    # no empty heading
    assert "## Summary" not in page.markdown({folder.name: report.load_folder(folder) for folder in folders})


@pytest.mark.evaluation
def test_the_benchmarks_have_the_figures_of_the_summary(evaluation, aligner):
    """A renamed figure would silently remove a row."""
    for _, name, chosen in page.SUMMARY:
        actual = {figure.name for figure in benchmark(name).evaluate(Setup(evaluation, aligner, limit=4)).figures}
        assert {figure for _, figure in chosen} <= actual


def test_missing_benchmarks_are_listed(folders):
    text = page.markdown({folder.name: report.load_folder(folder) for folder in folders})
    (intro,) = (line for line in text.splitlines() if line.startswith("Made with "))
    assert "Not on this page" in intro
    assert "latency" in intro
    assert "aflw2000-3d" not in intro


def test_results_of_a_part_of_the_data_are_marked(result):
    part = Result("300w", {"limit": 5}, (Figure("lfpw (last 30 %).nme.ground_truth.51", "NME", 4.0, "%"),))
    lines = page.markdown({"one": {"300w": part}, "two": {"aflw2000-3d": result}}).splitlines()
    assert "**Part of the data only**: one, 300w: at most 5 of each set." in lines
    assert "part of the data only: at most 5 of each set." in lines


def test_rows_with_a_common_beginning_are_grouped():
    figures = (
        Figure("a", "set, small faces", 7, "faces"),
        Figure("b", "set, small faces: AP at IoU 0.5", 0.5, better="higher"),
        Figure("c", "set, small faces: recall", 0.25, better="higher"),
        Figure("d", "speed, all", 2.0, "ms", "lower"),
    )
    lines = page.markdown({"m": {"zzz": Result("zzz", {}, figures)}}).splitlines()
    at = lines.index("| **set, small faces** |  |")
    assert lines[at + 1 : at + 5] == [
        "| number, faces | 7 |",
        "| AP at IoU 0.5 ↑ | 0.500 |",
        "| recall ↑ | 0.250 |",
        "| speed, all, ms ↓ | 2.000 |",
    ]


def test_settings_have_labels():
    settings = {
        "images": 9,
        "images.0-30": 5,
        "images.30-60": 3,
        "images.60-90": 0,
        "images.over_90": 1,
        "images.new_bins.0-30": 4,
        "images.lfpw (last 30 %)": 2,
        "lowest score": 0.05,
        "kept": None,
    }
    lines = page.markdown({"m": {"zzz": Result("zzz", settings, ())}}).splitlines()
    assert (
        "images: 9; images by yaw: 5, 3, 0; images over 90 degrees: 1; images by yaw, new bins: 4; "
        "images of lfpw (last 30 %): 2; score threshold of the curves: 0.05; kept: –."
    ) in lines


def test_the_page_in_the_repository(root):
    page = (root / "RESULTS.md").read_text(encoding="utf-8")
    assert "| open_mb05 | open_mb05+ | mb05_120x120 |" in page
    for heading in ("## aflw2000-3d", "## 300w", "## detection", "## negatives"):
        assert heading in page
    assert not [word for word in page.split() if len(word) > 1 and Path(word.strip("`|.,")).is_absolute()]


def test_a_section_tells_what_differs_from_the_table_of_all(tmp_path):
    for name, precision, digest in (("300w", "int8", "b" * 64), ("aflw2000-3d", "float", "a" * 64)):
        settings = {"config": "a", "precision": precision, "model_sha256": digest}
        Result(name, settings, (Figure("x", "x", 1.0),)).save(tmp_path / f"a/{name}.json")
    Result("300w", {"config": "b", "precision": "float"}, (Figure("x", "x", 1.0),)).save(tmp_path / "b/300w.json")
    both = page.markdown({name: report.load_folder(tmp_path / name) for name in "ab"})
    assert "precision: int8 (a), float (b)" in both
    text = page.markdown({"a": report.load_folder(tmp_path / "a")})
    made_by, first, second = text.partition("## Made by")[2].split("\n## ")
    assert "| precision | float |" in made_by or "| precision | int8 |" in made_by
    told = [section for section in (first, second) if "precision: " in section]
    assert len(told) == 1
    assert "regressor, sha256: `" in told[0]
