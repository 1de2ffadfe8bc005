"""Networks at other sizes than those of `tddfa bench`, int8 compared with float, and memory over a thousand photos.

OPENBLAS_NUM_THREADS=1 pytest benchmarks/test_networks.py --benchmark-columns=min,median --benchmark-sort=name

``test_int8_and_float`` times both in turn and prints the ratio, on which other load on the machine has little effect.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa.bench.process_memory import resident_mb
from tddfa.bench.timing import Job, measure, sampler
from tddfa.model.assets import data_folder
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.onnx_tools.with_vertices import with_vertices

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = data_folder() / "weights"
PRECISIONS = {"float": "", "int8": "_int8"}


def print_line(text):
    sys.stdout.write(f"\n{text}\n")


@pytest.fixture(scope="module")
def photo():
    return cv2.imread(str(ROOT / "examples/inputs/two_people.jpg"))


@pytest.mark.parametrize("suffix", PRECISIONS.values(), ids=PRECISIONS)
@pytest.mark.parametrize("size", [(1080, 607), (540, 304), (270, 152)], ids=lambda size: f"{size[0]}px")
def test_detector(benchmark, photo, size, suffix):
    benchmark(Model(WEIGHTS / f"faceboxes{suffix}.onnx", "cpu", 1), cv2.resize(photo, size)[None])


@pytest.mark.parametrize("faces", [1, 8])
def test_regressor_with_face_model_in_onnx(benchmark, photo, faces, tmp_path):
    path = tmp_path / "dense.onnx"
    model = FaceModel.load(data_folder() / "configs/open_face.npz")
    path.write_bytes(with_vertices((WEIGHTS / "open_mb05.onnx").read_bytes(), model))
    benchmark(Model(path, "cpu", 1), np.repeat(cv2.resize(photo, (120, 120))[None], faces, axis=0))


@pytest.mark.parametrize("faces", [1, 8])
def test_regressor_and_face_model_in_numpy(benchmark, photo, faces):
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
def test_int8_and_float(photo, name, size, threads):
    batch = cv2.resize(photo, size)[None]
    models = {kind: Model(WEIGHTS / f"{name}{suffix}.onnx", "cpu", threads) for kind, suffix in PRECISIONS.items()}
    jobs = [Job(name, kind, sampler(partial(model, batch))) for kind, model in models.items()]
    timings, _ = measure(jobs, rounds=60)
    slow, fast = (timings[name, kind].median for kind in PRECISIONS)
    print_line(f"{name}, {threads} threads: float {slow:.2f} ms, int8 {fast:.2f} ms, ratio {slow / fast:.2f}")


def test_memory_does_not_grow_over_a_thousand_photos():
    """Photos of random size: `tddfa bench` uses images of one size."""
    code = f"""
import cv2, numpy as np
from tddfa import Aligner, draw
from tddfa.bench.process_memory import peak_mb, resident_mb
aligner = Aligner.load("open_mb05", device="cpu")
photo = cv2.imread({str(ROOT / "examples/inputs/two_people.jpg")!r})
rng = np.random.default_rng(0)
for k in range(1001):
    image = cv2.resize(photo, (int(rng.integers(200, 1400)), int(rng.integers(200, 1000))))
    faces = aligner(image)
    draw.mesh(image, [aligner.decoder.mesh(face) for face in faces])
    if k in (200, 1000):
        print(peak_mb(), resident_mb())
"""
    if resident_mb() is None:
        pytest.skip("this system does not report the memory of a process")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    (early_peak, early), (peak, late) = ([float(word) for word in line.split()] for line in output.splitlines())
    print_line(f"200 photos: {early:.0f} MB, peak {early_peak:.0f} MB; 1,000: {late:.0f} MB, peak {peak:.0f} MB")
    assert late < early + 32
    assert peak < early_peak + 32
