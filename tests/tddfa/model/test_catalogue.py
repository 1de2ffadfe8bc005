"""The table of models has the figures of RESULTS.md and weights/README.md."""

import re

import pytest

from tddfa._shared.errors import ConfigError
from tddfa.model import catalogue
from tddfa.model.assets import FETCHED_CONFIGS, data_folder

ROWS = {
    "aflw2000_3d": "AFLW2000-3D: 2D NME, mean of the yaw bins, convention of the labels, % ↓",
    "lfpw": "LFPW, last 30 %: NME, inner 51 points, % ↓",
    "pose": "AFLW2000-3D: head pose, mean error of the angles, deg ↓",
}


def cells(text, row):
    (line,) = re.findall(rf"^\| {re.escape(row)} \|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


def test_it_has_every_shipped_and_fetched_model():
    shipped = {path.stem for path in (data_folder() / "configs").glob("*.yml")}
    assert set(catalogue.model_cards()) == shipped | set(FETCHED_CONFIGS)


def clean_figure(root, field):
    """A figure of `open_clean_mb05`, from its card: RESULTS.md does not have it."""
    card = (root / "weights/README.md").read_text(encoding="utf-8").split("## `open_clean_mb05.onnx`")[1]
    card = card.split("\n## ")[0]
    rows = {
        "aflw2000_3d": [
            f"AFLW2000-3D in the labels' convention, yaw {yaw}°, % ↓" for yaw in ("0–30", "30–60", "60–90")
        ],
        "lfpw": ["LFPW, last 30 %: inner 51, % ↓"],
        "pose": ["head pose, mean error of the angles, ° ↓"],
    }
    values = [float(cells(card, row)[0]) for row in rows[field]]
    return round(sum(values) / len(values), 2)


@pytest.mark.parametrize("field", ROWS)
def test_figures_are_those_of_the_results(root, field):
    summary = (root / "RESULTS.md").read_text(encoding="utf-8").split("## ")[1]
    names = re.search(r"^\|  \|(.*)\|$", summary, re.MULTILINE)[1].split("|")
    expected = {name.strip(): float(cell) for name, cell in zip(names, cells(summary, ROWS[field]), strict=True)}
    # the table of JVCR's network has rows of its own
    jvcr = next(
        part for part in (root / "RESULTS.md").read_text(encoding="utf-8").split("\n\n") if "|  | jvcr_s |" in part
    )
    rows = {
        "aflw2000_3d": "2D NME, original labels, mean of the bins, % ↓",
        "pose": "head pose, mean of the three, deg ↓",
    }
    if field in rows:
        expected["jvcr_s"] = float(cells(jvcr, rows[field])[0])
    expected["open_clean_mb05"] = clean_figure(root, field)
    measured = {name: getattr(card.accuracy, field) for name, card in catalogue.model_cards().items()}
    assert {name: value for name, value in measured.items() if value is not None} == expected


def test_figures_in_8_bits_are_those_of_the_model_card(root):
    text = (root / "weights/README.md").read_text(encoding="utf-8")
    _, expected = cells(text, "LFPW, last 30 %, crop from the ground truth, inner 51, NME")
    assert catalogue.model_cards()["open_mb05"].accuracy_int8 == catalogue.Accuracy(lfpw=float(expected))


def test_a_damaged_table_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "data_folder", lambda: tmp_path)
    (tmp_path / "weights").mkdir()
    table = tmp_path / "weights/models.yml"
    table.write_text("mine: {licence: MIT}")
    with pytest.raises(ConfigError, match=r"models\.yml: unknown key 'licence'"):
        catalogue.model_cards()
