"""3DDFA_V2's converted weights, one thread, on its own emma.jpg; beside its figures in ../shared/upstream/README.md.

pytest benchmarks/test_3ddfa.py --benchmark-columns=min,median
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa import Aligner
from tddfa.compat.fetch import fetch

UPSTREAM = Path(__file__).resolve().parents[2] / "shared/upstream"

pytestmark = pytest.mark.upstream


@pytest.fixture(scope="module")
def image(aligner):
    assert aligner.device == "cpu"
    return cv2.imread(str(UPSTREAM / "examples/emma.jpg"))


@pytest.fixture(scope="module")
def aligner(tmp_path_factory):
    if not UPSTREAM.is_dir():
        pytest.skip("../shared/upstream is missing: 3DDFA_V2's released files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TDDFA_CACHE", str(tmp_path_factory.mktemp("cache")))
        fetch(UPSTREAM, UPSTREAM / "bfm_standin.npz")
        return Aligner.load("mb05_120x120", device="cpu", threads=1)


@pytest.fixture(scope="module")
def face(aligner, image):
    return aligner(image)[0]


def test_detector_network_alone(benchmark, aligner, image):
    small = cv2.resize(image, (1080, 524))
    benchmark(aligner.detector.model, small[None])


def test_detector_whole_call(benchmark, aligner, image):
    benchmark(aligner.detector, image)


def test_network_one_face(benchmark, aligner):
    benchmark(aligner.regressor, np.zeros((1, 120, 120, 3), np.uint8))


def test_crop_network_and_landmarks(benchmark, aligner, image, face):
    benchmark(aligner, image, boxes=[face.box])


def test_dense_vertices(benchmark, aligner, face):
    benchmark(aligner.decoder.mesh, face)
