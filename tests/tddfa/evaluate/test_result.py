import json

import pytest

from tddfa.evaluate.result import Curve, Figure, Result, Setup, Worst, number


@pytest.fixture
def result():
    return Result(
        "x",
        {"config": "a", "images": 2},
        (Figure("nme", "NME", 1.5, "%", "lower"), Figure("none", "nothing", float("nan"))),
        ({"image": "a.jpg", "nme": None},),
        (Curve("all", (1.0, 2.0), "%", (-3.0, 4.0), missed=1),),
        (Worst("a.jpg", 2.0, [[1.0, 2.0]], [[3.0, 4.0]]), Worst("b.jpg", caption="missed")),
        ("a note",),
    )


def test_round_trip(result, tmp_path):
    path = result.save(tmp_path / "made/x.json")
    assert Result.load(path) == result
    assert json.loads(path.read_text())["figures"][1]["value"] is None


def test_older_files_are_read(result, tmp_path):
    """Without the field `better`, and with other names of the points of `Worst`."""
    path = result.save(tmp_path / "x.json")
    content = json.loads(path.read_text())
    for figure in content["figures"]:
        del figure["better"]
    for case in content["worst"]:
        case["truth"], case["found"] = case.pop("ground_truth"), case.pop("predicted")
    path.write_text(json.dumps(content))
    loaded = Result.load(path)
    assert [figure.better for figure in loaded.figures] == ["", ""]
    assert loaded.worst == result.worst


def test_the_better_direction_is_checked(result, tmp_path):
    with pytest.raises(ValueError, match=r"Figure.better: expected 'lower', 'higher' or '', got 'more'"):
        Figure("nme", "NME", 1.5, better="more")
    path = result.save(tmp_path / "x.json")
    path.write_text(path.read_text().replace('"lower"', '"more"'))
    with pytest.raises(ValueError, match=r"x.json: not a result"):
        Result.load(path)


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
def test_an_error_names_a_damaged_file(tmp_path, content):
    (tmp_path / "a.json").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a.json: not a result of tddfa evaluate"):
        Result.load(tmp_path / "a.json")


def test_names_are_unique():
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


def test_number():
    assert number(1.23456789) == 1.234568
    assert number(float("nan")) is None
    assert number(float("inf")) is None
