"""Decoding and encoding of 720p video: frames per second and memory.

pytest benchmarks/test_video_io.py --benchmark-columns=min,median
"""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from tddfa import video

COUNT = 200


def scene():
    """A photo-like texture, over which the camera pans."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    return cv2.GaussianBlur(cv2.resize(noise, (1600, 900), interpolation=cv2.INTER_CUBIC), (0, 0), 2)


def views(count):
    wide = scene()
    for i in range(count):
        x, y = int(100 + 80 * np.sin(i / 20)), int(60 + 50 * np.cos(i / 15))
        yield np.ascontiguousarray(wide[y : y + 720, x : x + 1280])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "720p.mp4"
    with video.Writer(path, fps=30) as writer:
        for image in views(COUNT):
            writer.write(image)
    return path


def record_rate(benchmark):
    if benchmark.stats is None:  # --benchmark-disable
        return
    benchmark.extra_info["frames per second"] = round(COUNT / benchmark.stats.stats.median)


def test_decode(benchmark, clip):
    benchmark.pedantic(lambda: sum(1 for _ in video.frames(clip)), rounds=5)
    record_rate(benchmark)


def test_decode_in_a_thread(benchmark, clip):
    benchmark.pedantic(lambda: sum(1 for _ in video.threaded(video.frames(clip))), rounds=5)
    record_rate(benchmark)


def test_encode(benchmark, tmp_path):
    images = list(views(COUNT))

    def write():
        with video.Writer(tmp_path / "out.mp4", fps=30) as writer:
            for image in images:
                writer.write(image)

    benchmark.pedantic(write, rounds=3)
    record_rate(benchmark)


def test_decode_and_encode(benchmark, clip, tmp_path):
    def copy():
        with video.Writer(tmp_path / "out.mp4", fps=30) as writer:
            for frame in video.threaded(video.frames(clip)):
                writer.write(frame.image, frame.time)

    benchmark.pedantic(copy, rounds=3)
    record_rate(benchmark)


@pytest.mark.parametrize("count", [1000, 10_000])
def test_memory(benchmark, tmp_path, count):
    """Peak memory while frames are written and read. It must not grow with their number."""
    path = str(tmp_path / "long.mp4")
    code = (
        "import numpy as np\nfrom tddfa import video\nfrom tddfa.bench.process_memory import peak_mb\n"
        "image = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)\n"
        f"with video.Writer({path!r}, fps=30, crf=40) as writer:\n"
        f"    for i in range({count}):\n        writer.write(np.roll(image, i, axis=1))\n"
        f"assert sum(1 for _ in video.threaded(video.frames({path!r}))) == {count}\n"
        "print(peak_mb())"
    )

    def run():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    output = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["peak MB"] = output.splitlines()[-1]
