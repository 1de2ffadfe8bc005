import json

import pytest

from tddfa.evaluate.result import Curve, Figure, Result, Setup, Worst, number


@pytest.fixture
def result():
    return Result(
        "x",
        {"config": "a", "photos": 2},
        (Figure("nme", "NME", 1.5, "%"), Figure("none", "nothing", float("nan"))),
        ({"photo": "a.jpg", "nme": None},),
        (Curve("all", (1.0, 2.0), "%", (-3.0, 4.0), missed=1),),
        (Worst("a.jpg", 2.0, [[1.0, 2.0]], [[3.0, 4.0]]), Worst("b.jpg", caption="missed")),
        ("a note",),
    )


def test_there_and_back(result, tmp_path):
    path = result.save(tmp_path / "made/x.json")
    assert Result.load(path) == result
    assert json.loads(path.read_text())["figures"][1]["value"] is None


def test_the_same_result_is_the_same_file(result, tmp_path):
    assert result.save(tmp_path / "a.json").read_bytes() == result.save(tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"benchmark": "x"}',
        "{" * 100000,
        "\xff",
        '{"benchmark": 1, "settings": [], "figures": 3}',
        '{"benchmark": "x", "settings": {}, "figures": [{"name": ["a"], "label": "", "value": 1}], "items": [],'
        ' "curves": [], "worst": [], "notes": []}',
    ],
)
def test_another_file_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a.json: not a result of tddfa evaluate"):
        Result.load(tmp_path / "a.json")


def test_names_come_once():
    with pytest.raises(ValueError, match="each name once, got a twice"):
        Result("x", {}, (Figure("a", "", 1), Figure("a", "", 2)))


def test_value_by_name(result):
    assert result.value("nme") == 1.5
    assert result.value("none") is None
    with pytest.raises(KeyError):
        result.value("other")


def test_a_curve_has_an_angle_for_each_error():
    with pytest.raises(ValueError, match="expected 2 angles, got 1"):
        Curve("a", (1.0, 2.0), "%", (3.0,))


def test_limit_is_spread_evenly(tmp_path):
    assert Setup(tmp_path, None).chosen(range(5)) == [0, 1, 2, 3, 4]
    assert Setup(tmp_path, None, limit=9).chosen(range(5)) == [0, 1, 2, 3, 4]
    assert Setup(tmp_path, None, limit=3).chosen(range(9)) == [0, 3, 6]
    assert Setup(tmp_path, None, limit=3).chosen(iter(range(10))) == [0, 3, 6]


def test_numbers_of_rows():
    assert number(1.23456789) == 1.234568
    assert number(float("nan")) is None
    assert number(float("inf")) is None
