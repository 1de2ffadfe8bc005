"""The networks alone, in float and in 8 bits, by size and by batch; and what a thousand photos do to the memory.

OPENBLAS_NUM_THREADS=1 pytest benchmarks/test_networks.py --benchmark-columns=min,median --benchmark-sort=name

``test_int8_beside_float`` runs both in turn and prints their ratio, which a busy machine changes least.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa.model.assets import data_folder
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.onnx_tools.with_vertices import with_vertices

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = data_folder() / "weights"


def say(text):
    sys.stdout.write(f"\n{text}\n")


@pytest.fixture(scope="module")
def photo():
    return cv2.imread(str(ROOT / "examples/inputs/two_people.jpg"))


@pytest.mark.parametrize("precision", ["", "_int8"], ids=["float", "int8"])
@pytest.mark.parametrize("size", [(1080, 524), (1080, 607), (540, 304), (270, 152)], ids=lambda size: f"{size[0]}px")
def test_detector(benchmark, photo, size, precision):
    benchmark(Model(WEIGHTS / f"faceboxes{precision}.onnx", "cpu", 1), cv2.resize(photo, size)[None])


@pytest.mark.parametrize("precision", ["", "_int8"], ids=["float", "int8"])
@pytest.mark.parametrize("faces", [1, 8, 64])
def test_regressor(benchmark, photo, faces, precision):
    crops = np.repeat(cv2.resize(photo, (120, 120))[None], faces, axis=0)
    benchmark(Model(WEIGHTS / f"open_mb05{precision}.onnx", "cpu", 1), crops)


@pytest.mark.parametrize("faces", [1, 8])
def test_regressor_with_the_face_model_inside(benchmark, photo, faces, tmp_path):
    path = tmp_path / "dense.onnx"
    model = FaceModel.load(data_folder() / "configs/open_face.npz")
    path.write_bytes(with_vertices((WEIGHTS / "open_mb05.onnx").read_bytes(), model))
    benchmark(Model(path, "cpu", 1), np.repeat(cv2.resize(photo, (120, 120))[None], faces, axis=0))


@pytest.mark.parametrize("faces", [1, 8])
def test_regressor_then_the_face_model(benchmark, photo, faces):
    model = FaceModel.load(data_folder() / "configs/open_face.npz")
    run = Model(WEIGHTS / "open_mb05.onnx", "cpu", 1)
    crops = np.repeat(cv2.resize(photo, (120, 120))[None], faces, axis=0)

    def both():
        outputs = run(crops)
        points = model.vertices(outputs["shape"], outputs["expression"])
        camera = outputs["camera"]
        return points @ camera[:, :, :3].transpose(0, 2, 1) + camera[:, None, :, 3]

    benchmark(both)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "size"), [("faceboxes", (1080, 524)), ("open_mb05", (120, 120))])
def test_int8_beside_float(photo, name, size, threads):
    batch = cv2.resize(photo, size)[None]
    runs = [Model(WEIGHTS / f"{name}{kind}.onnx", "cpu", threads) for kind in ("", "_int8")]
    taken = [[], []]
    for _ in range(60):
        for run, times in zip(runs, taken, strict=True):
            start = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - start)
    ratio = statistics.median(b / a for a, b in zip(taken[0][5:], taken[1][5:], strict=True))
    say(f"{name}, {threads} threads: float {1e3 * min(taken[0]):.2f} ms, int8 {1e3 * min(taken[1]):.2f}: {ratio:.2f}")


def test_a_thousand_photos_leave_the_memory_as_it_was():
    if not Path("/proc/self/status").exists():
        pytest.skip("the most memory held is read from /proc")
    code = f"""
import cv2, numpy as np
from tddfa import Aligner
from tddfa import draw
aligner = Aligner.load("open_mb05", device="cpu")
photo = cv2.imread({str(ROOT / "examples/inputs/two_people.jpg")!r})
rng = np.random.default_rng(0)
def held():
    text = open("/proc/self/status").read().split()
    return [int(text[text.index(name) + 1]) >> 10 for name in ("VmHWM:", "VmRSS:")]
for k in range(1001):
    image = cv2.resize(photo, (int(rng.integers(200, 1400)), int(rng.integers(200, 1000))))
    faces = aligner(image)
    draw.mesh(image, [aligner.decoder.mesh(face) for face in faces])
    if k in (200, 1000):
        print(*held())
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    (most_before, before), (most, after) = ([int(word) for word in line.split()] for line in output.splitlines())
    say(f"after 200 photos {before} MB, most {most_before} MB; after 1,000 {after} MB, most {most} MB")
    assert after < before + 32
    assert most < most_before + 32
