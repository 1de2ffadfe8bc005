"""Stages of `tddfa bench` with 3DDFA_V2's converted weights on its own emma.jpg, one thread.

3DDFA_V2's own times are in ../shared/upstream/README.md.

pytest benchmarks/test_3ddfa.py --benchmark-columns=min,median
"""

from pathlib import Path

import cv2
import pytest

from tddfa import Aligner
from tddfa.bench.material import Material
from tddfa.bench.stages import Context, chosen, stages
from tddfa.bench.timing import opencv_threads
from tddfa.compat.fetch import fetch

UPSTREAM = Path(__file__).resolve().parents[2] / "shared/upstream"
STAGES = chosen(stages(), "detect,detect.network,network.1,align.1,decode.dense")

pytestmark = pytest.mark.upstream


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    if not UPSTREAM.is_dir():
        pytest.skip("../shared/upstream is missing: 3DDFA_V2's released files")
    path = UPSTREAM / "examples/emma.jpg"
    with pytest.MonkeyPatch.context() as patch, opencv_threads(1):
        patch.setenv("TDDFA_CACHE", str(tmp_path_factory.mktemp("cache")))
        fetch(UPSTREAM, UPSTREAM / "bfm_standin.npz")
        aligner = Aligner.load("mb05_120x120", device="cpu", threads=1)
        boxes = tuple(tuple(map(float, face.box)) for face in aligner(cv2.imread(str(path)))[:1])
        material = Material(path, path, (path,), boxes, boxes)
        yield Context(aligner, material, tmp_path_factory.mktemp("scratch"), threads=1)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage(benchmark, context, stage):
    benchmark(stage.make(context))
