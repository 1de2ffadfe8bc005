"""The page about avatars says what the package does."""

import re

import pytest

from tddfa.model.arkit import ARKIT_SHAPES, UNSEEN


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/avatars.md").read_text(encoding="utf-8")


def test_the_table_of_blendshapes(page):
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (yes|no: .+) \|$", page, re.M)
    assert {name: meaning for name, meaning, _ in rows} == ARKIT_SHAPES
    assert {name: seen.removeprefix("no: ") for name, _, seen in rows if seen != "yes"} == UNSEEN
