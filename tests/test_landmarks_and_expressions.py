"""The tables and images of docs/landmarks_and_expressions.md agree with the code and the face model."""

import importlib.util
import re

import cv2
import numpy as np
import pytest

from tddfa import landmarks68
from tddfa.landmarks68 import PARTS


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/landmarks_and_expressions.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("script", root / "examples/landmarks_and_expressions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(text):
    return re.findall(r"`(\w+)`", text)


def test_groups(page):
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", page, re.MULTILINE)
    assert {group: tuple(names(parts)) for group, parts in rows} == landmarks68.GROUPS


def test_landmarks(page):
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (`.*`) \| [^|]+ \|$", page, re.MULTILINE)
    pairs = [(int(right), int(left)) for right, left, _ in rows]
    assert sorted({number for pair in pairs for number in pair}) == list(range(landmarks68.COUNT))
    assert len(set(pairs)) == len(pairs)
    for (right, left), (*_, parts) in zip(pairs, rows, strict=True):
        assert landmarks68.MIRRORED[right] == left
        listed = names(parts)
        assert right in range(PARTS[listed[0]].start, PARTS[listed[0]].stop)
        assert left in range(PARTS[listed[-1]].start, PARTS[listed[-1]].stop)


def test_right_comes_first(page, aligner):
    model = aligner.face_model
    points = model.landmarks(np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32))
    for right, left in re.findall(r"^\| (\d+) \| (\d+) \| `", page, re.MULTILINE):
        if right != left:
            assert points[int(right), 0] < 0 < points[int(left), 0]  # x points to the subject's left


class TestExpressions:
    @pytest.fixture
    def rows(self, page):
        return re.findall(r"^\| (\d+(?:, \d+)?) \| (`.*`) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)

    def test_numbers_and_names(self, rows, aligner):
        listed = {
            int(number): name
            for numbers, expressions, *_ in rows
            for number, name in zip(numbers.split(", "), names(expressions), strict=True)
        }
        assert list(listed.items()) == list(enumerate(aligner.face_model.expression_names))

    def test_arkit(self, rows, aligner):
        model = aligner.face_model
        for _, expressions, _, arkit in rows:
            own, targets = names(expressions), names(arkit)
            targets = own if arkit == "the same" else targets * len(own) if len(targets) == 1 else targets
            for name, target in zip(own, targets, strict=True):
                column = model.arkit_table[:, model.expression_names.index(name)]
                assert [model.arkit_names[k] for k in np.flatnonzero(column)] == [target]
                assert column.max() == (0.5 if "the mean" in arkit else 1)

    def test_they_move_the_side_that_their_name_says(self, aligner):
        model = aligner.face_model
        for name, basis in zip(model.expression_names, model.basis[model.shape_count :], strict=True):
            side = re.search(r"^(?!jaw|mouthLeft|mouthRight).*(Left|Right)$", name)
            if side is not None:
                moved = np.linalg.norm(basis.reshape(-1, 3), axis=1)
                x = np.average(model.mean[:, 0], weights=moved)
                assert (x > 0) == (side[1] == "Left"), name


@pytest.mark.parametrize("name", ["landmarks", "expressions"])
def test_images_are_small(root, page, name):
    assert f"({name}.jpg)" in page
    assert (root / f"docs/{name}.jpg").stat().st_size < 300_000


def test_the_image_of_the_landmarks_is_that_of_the_face_model(root, script, aligner):
    stored = cv2.imread(str(root / "docs/landmarks.jpg")).astype(int)
    assert np.abs(stored - script.draw_landmarks(aligner.face_model)).mean() < 2


def test_the_image_of_the_expressions_has_a_tile_of_each(root, script, aligner):
    stored = cv2.imread(str(root / "docs/expressions.jpg")).astype(int)
    width, height = script.TILE
    rows = -(-(1 + aligner.face_model.expression_count) // script.COLUMNS)
    assert stored.shape == (rows * (height + script.CAPTION), script.COLUMNS * width, 3)
    first, second = (stored[: height - 4, k * width : (k + 1) * width] for k in (0, 1))
    drawn = script.rendered(aligner.face_model, script.TILE, {}, **script.TILE_VIEW)[: height - 4]
    assert np.abs(first - drawn).mean() < 3
    assert np.abs(second - drawn)[: height // 3].max() > 40  # browDownLeft
