from pathlib import Path

import numpy as np
import pytest

from tddfa.datasets.pts import held_out, read_pts

POINTS = np.random.default_rng(0).uniform((60, 40), (140, 150), (68, 2))


def write_pts(path, points, head="version: 1\nn_points:  68\n"):
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points + 1)
    path.write_text(f"{head}{{\n{lines}\n}}\n")


def test_the_file_counts_from_1(tmp_path):
    write_pts(tmp_path / "a.pts", POINTS)
    np.testing.assert_allclose(read_pts(tmp_path / "a.pts"), POINTS, atol=1e-3)


@pytest.mark.parametrize("head", ["version: 1\r\nn_points:68 \r\n", ""])
def test_headers(tmp_path, head):
    write_pts(tmp_path / "a.pts", POINTS, head)
    assert read_pts(str(tmp_path / "a.pts")).shape == (68, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected points between"),
        ("version: 1\nn_points: 68\n{\n1 2\n", "expected points between"),
        ("version: 1\nn_points: 39\n{\n" + "1 2\n" * 39 + "}", "expected n_points: 68, got '39'"),
        ("{" + "1 2\n" * 67 + "}", "expected 68 finite points, x and y each, got 134 numbers"),
        ("{" + "1 nan\n" * 68 + "}", "finite"),
        ("{" + "1 two\n" * 68 + "}", "expected numbers"),
        ("{" + "1 2\n" * 68 + "}", "span a box"),
    ],
)
def test_an_error_names_file_and_cause(tmp_path, content, message):
    (tmp_path / "a.pts").write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_pts(tmp_path / "a.pts")
    assert "a.pts" in str(caught.value)


def test_the_folder_that_one_is_in_is_known_by_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "lfpw"
    folder.mkdir()
    for k in range(10):
        (folder / f"{k}.pts").write_text("")
    monkeypatch.chdir(folder)
    assert [path.name for path in held_out(Path())] == ["7.pts", "8.pts", "9.pts"]
