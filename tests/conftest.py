"""What several test files need."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa import Aligner

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def upstream():
    """3DDFA_V2's released files."""
    folder = SHARED / "upstream"
    if not folder.is_dir():
        pytest.skip("../shared/upstream is missing: 3DDFA_V2's released files")
    return folder


@pytest.fixture(scope="session")
def evaluation():
    """Photos with truth."""
    folder = SHARED / "eval"
    if not folder.is_dir():
        pytest.skip("../shared/eval is missing: photos with true landmarks")
    return folder


@pytest.fixture(scope="session")
def aligner():
    return Aligner.load("open_mb05", device="cpu")


@pytest.fixture(scope="session")
def astronaut():
    return _read_only(ROOT / "examples/inputs/astronaut.jpg")


@pytest.fixture(scope="session")
def two_people():
    return _read_only(ROOT / "examples/inputs/two_people.jpg")


def _read_only(path):
    image = cv2.imread(str(path))
    assert image is not None, path
    image.setflags(write=False)  # whoever draws on its input fails here
    return image


@pytest.fixture
def rng():
    return np.random.default_rng(7)
