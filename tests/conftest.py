"""What several test files need."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa import Aligner, video

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root():
    return ROOT


def shared(name, what):
    """A folder or file of ../shared; skips the test if it is missing."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"../shared/{name} is missing: {what}")
    return path


@pytest.fixture(scope="session")
def upstream():
    """3DDFA_V2's released files."""
    return shared("upstream", "3DDFA_V2's released files")


@pytest.fixture(scope="session")
def evaluation():
    """Photos with ground truth."""
    return shared("eval", "photos with ground-truth landmarks")


@pytest.fixture(scope="session")
def yunet_file():
    """YuNet's released network."""
    return shared("teachers/yunet_n_dynamic.onnx", "YuNet's released file")


@pytest.fixture(scope="session")
def cases():
    """Folder of files on which earlier versions failed."""
    return shared("cases", "files on which earlier versions failed")


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


@pytest.fixture(scope="session")
def clip(tmp_path_factory, astronaut):
    """A video of 24 frames: the astronaut, sliding to the right by two px a frame; no face in the first three."""
    path = tmp_path_factory.mktemp("clip") / "slide.mp4"
    with video.Writer(path, fps=25) as writer:
        for number in range(24):
            image = np.roll(astronaut[:300, 60:380], 2 * number, axis=1)
            writer.write(np.zeros_like(image) if number < 3 else image, number / 25)
    return path
