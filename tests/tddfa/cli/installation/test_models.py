import re

import pytest

from tddfa.cli import main
from tddfa.model.assets import data_folder


@pytest.fixture
def models(capfd, tmp_path, monkeypatch):
    """Runs ``tddfa models`` with a cache folder of its own; gives status, rows of the table and stderr."""
    monkeypatch.setenv("TDDFA_CACHE", str(tmp_path / "cache"))

    def call():
        status = main(["models"])
        out, err = capfd.readouterr()
        lines = out[: out.index("\n\n")].splitlines()
        return status, [re.split(r"\s{2,}", line) for line in lines], err

    return call


def megabytes(*names):
    return f"{sum((data_folder() / name).stat().st_size for name in names) / 1e6:.1f} MB"


def test_shipped_and_fetched_models(models):
    status, rows, err = models()
    assert (status, err) == (0, "")
    header, *rows = rows
    assert header == ["model", "precision", "size", "AFLW2000-3D", "LFPW", "head pose", "licence"]
    size = megabytes("weights/open_mb05.onnx", "weights/faceboxes.onnx", "configs/open_face.npz")
    small = megabytes("weights/open_mb05_int8.onnx", "weights/faceboxes_int8.onnx", "configs/open_face.npz")
    assert rows[:2] == [
        ["open_mb05", "float", size, "3.59 %", "3.46 %", "3.73°", "MIT"],
        ["open_mb05", "int8", small, "-", "3.47 %", "-", "MIT"],
    ]
    fetched = ["mb05_120x120", "mb1_120x120", "open_mb05_3ddfa_v2", "open_mb05_yunet"]
    assert [row[0] for row in rows[2:]] == ["open_mb05+", "open_clean_mb05", "jvcr_s", *fetched]
    assert [row[2] for row in rows[5:]] == ["not fetched"] * 4
    assert ["academic use only" in row[-1] for row in rows[5:]] == [True, True, False, False]


def test_a_model_in_the_cache_is_listed(models, tmp_path):
    folder = tmp_path / "cache/mine"
    folder.mkdir(parents=True)
    config = (data_folder() / "configs/open_mb05.yml").read_text()
    config = re.sub(r"model_int8: .*", "", config).replace("../weights", str(data_folder() / "weights"))
    (folder / "mb1_120x120.yml").write_text(config.replace("open_face", str(data_folder() / "configs/open_face")))
    _, rows, err = models()
    assert err == ""
    (row,) = (row for row in rows if row[0] == "mb1_120x120")
    assert row[2] == rows[1][2]  # the same files


def test_a_model_without_its_files_is_reported_and_the_others_listed(models, tmp_path):
    folder = tmp_path / "cache/mine"
    folder.mkdir(parents=True)
    (folder / "broken.yml").write_text((data_folder() / "configs/open_mb05+.yml").read_text())
    (folder / "empty.yml").write_text("")
    status, rows, err = models()
    assert status == 1
    assert [row[0] for row in rows[1:3]] == ["open_mb05", "open_mb05"]
    missing, damaged = err.splitlines()
    assert "open_mb05+.onnx" in missing
    assert "empty.yml" in damaged
