import json
import pickle

import numpy as np
import pytest

from tddfa import TddfaError
from tddfa._shared.errors import ConfigError
from tddfa.detector import BoxFile

IMAGE = np.zeros((100, 100, 3), np.uint8)
POINTS = [14, 16, 24, 16, 19, 22, 15, 28, 23, 28]


@pytest.fixture
def written(tmp_path):
    def write(content, name="boxes.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_lines_are_the_boxes_of_every_image(written):
    boxes = BoxFile(written("# two\n10 10 30 34\n50, 20, 80, 50 # a face\n", "boxes.txt"))
    assert not boxes.has_names
    for name in (None, "a.jpg"):
        found = boxes(IMAGE, name)
        np.testing.assert_array_equal(found.xyxy, [[10, 10, 30, 34], [50, 20, 80, 50]])
        assert found.scores.tolist() == [1, 1]
        assert found.points is None


def test_json_has_those_of_each_image_by_name(written, tmp_path):
    boxes = BoxFile(written({"a.jpg": [[10, 10, 30, 34]], "b.jpg": [], str(tmp_path / "c.jpg"): [[1, 2, 3, 4]]}))
    assert boxes.has_names
    assert boxes(IMAGE, "folder/a.jpg").xyxy.tolist() == [[10, 10, 30, 34]]
    assert len(boxes(IMAGE, "b.jpg")) == 0
    assert boxes(IMAGE, tmp_path / "c.jpg").xyxy.tolist() == [[1, 2, 3, 4]]
    both = BoxFile(written({"a.jpg": [[1, 2, 3, 4]], "folder/a.jpg": [[10, 10, 30, 34]]}, "both.json"))
    assert both(IMAGE, "folder/a.jpg").xyxy.tolist() == [[10, 10, 30, 34]]
    assert both(IMAGE, "other/a.jpg").xyxy.tolist() == [[1, 2, 3, 4]]
    for name, message in ((None, "expected an image with a name"), ("d.jpg", r"boxes\.json: no boxes for d\.jpg")):
        with pytest.raises(TddfaError, match=message):
            boxes(IMAGE, name)


def test_scores_and_points(written):
    file = written({"a.jpg": [[10, 10, 30, 34, 0.9, *POINTS], [50, 20, 80, 50, 0.4, *POINTS]]})
    found = BoxFile(file)(IMAGE, "a.jpg")
    np.testing.assert_allclose(found.scores, [0.9, 0.4])
    assert found.points[0].tolist() == np.reshape(POINTS, (5, 2)).tolist()
    assert len(BoxFile(file, score=0.5)(IMAGE, "a.jpg")) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2, 3]], r"a.jpg: expected rows x1 y1 x2 y2, in px, got \[1, 2, 3\]$"),
        ([[1, 2, 3, 4], [5, 6]], r"a.jpg: expected rows x1 y1 x2 y2, in px, got \[5, 6\]$"),
        ([1, 2, 3, 4], r"a.jpg: expected rows x1 y1 x2 y2, in px, got one without a list: \[1, 2, 3, 4\]$"),
        ([[1, 2, 3, 4, 5, 6]], r"a.jpg: expected rows x1 y1 x2 y2, in px, got \[1, 2, 3, 4, 5, 6\]$"),
        ("x", "a.jpg: expected rows x1 y1 x2 y2, in px, got 'x'$"),
        ([[1, 2, 3, 4], [30, 2, 3, 4]], "with x1 < x2 and y1 < y2, got 30 2 3 4$"),
        ([[1, 2, 3, None]], "expected finite boxes"),
        ([[1, 2, 3.5e38, 1e39]], "expected finite boxes"),
        ([[1, 2, 3, 4, float("nan")]], "expected finite boxes .*, got 1 2 3 4 nan$"),
        ([[1, 2, 3, 4, 1, *POINTS[:9], float("inf")]], "expected finite boxes .*, got 1 2 3 4 1 14 .* 23 inf$"),
        ([[1, 2, 3, 4, 1.5]], r"a.jpg: expected scores from 0 to 1, got 1 2 3 4 1.5$"),
        ([[1, 2, 3, 4, -1, *POINTS]], "expected scores from 0 to 1, got 1 2 3 4 -1 14 "),
        ([[1, 2, 3, 4], ["10", 20, 30, 40]], r"expected rows x1 y1 x2 y2, in px, got \['10', 20, 30, 40\]$"),
        ([[1, 2, True, 4]], r"expected rows x1 y1 x2 y2, in px, got \[1, 2, True, 4\]$"),
    ],
)
def test_rows_that_are_no_boxes_are_named(written, rows, message):
    boxes = BoxFile(written({"a.jpg": rows, "b.jpg": [[1, 2, 3, 4]]}))
    assert len(boxes(IMAGE, "b.jpg")) == 1
    with pytest.raises(TddfaError, match=message):
        boxes(IMAGE, "a.jpg")


def test_a_file_that_cannot_be_read_is_named_at_once(tmp_path, written):
    with pytest.raises(TddfaError, match=r"missing\.txt: cannot be read"):
        BoxFile(tmp_path / "missing.txt")
    with pytest.raises(TddfaError, match=r"boxes\.json: not a file of boxes"):
        BoxFile(written("{"))
    with pytest.raises(ValueError, match=r"BoxFile\.score"):
        BoxFile(written({}), score=2)


def test_it_can_be_pickled(written):
    again = pickle.loads(pickle.dumps(BoxFile(written({"a.jpg": [[1, 2, 3, 4]]}))))
    assert len(again(IMAGE, "a.jpg")) == 1


def test_a_message_does_not_repeat_a_long_line(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("1 2 " + "9" * 5000 + "x 4")
    with pytest.raises(ConfigError, match="could not convert") as caught:
        BoxFile(path)
    assert len(str(caught.value)) < 600
