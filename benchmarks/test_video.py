"""Whole processes on 100 frames of 720p video, with start-up and encoding.

pytest benchmarks/test_video.py --benchmark-columns=min,median
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "turn.mp4"
    command = ["-m", "tddfa.synthetic", "turn", path, "--frames", "100", "--size", "1280x720"]
    photo = ["--photo", ROOT / "examples/inputs/astronaut.jpg"]
    subprocess.run([sys.executable, *map(str, [*command, *photo])], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("smooth", ["none", "one_euro", "lookahead"])
@pytest.mark.parametrize("kind", ["2d_sparse", "3d"])
def test_whole_process(benchmark, clip, tmp_path, kind, smooth):
    command = ["-m", "tddfa", "video", "-f", clip, "-o", kind, "--smooth", smooth, "--out", tmp_path]

    def run():
        subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)

    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
