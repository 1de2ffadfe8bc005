"""Every stage of `tddfa bench` on photos, one thread: a face 530 px wide in 720p, and detection in 3913 x 1901 px.

pytest benchmarks/test_stages.py --benchmark-columns=min,median --benchmark-sort=name
"""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa import Aligner
from tddfa.bench.material import MANY, Material
from tddfa.bench.stages import Context, chosen, stages
from tddfa.bench.timing import opencv_threads
from tddfa.surface.texture import unwrap

ROOT = Path(__file__).resolve().parents[1]
FACE_WIDTH = 530
# stages of many faces need a rendered image, see `tddfa bench`
STAGES = [stage for stage in stages() if not stage.name.endswith(f".{MANY}")]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with opencv_threads(1):
        yield


@pytest.fixture(scope="module")
def aligner():
    return Aligner.load("open_mb05", device="cpu", threads=1)


@pytest.fixture(scope="module")
def context(tmp_path_factory, aligner):
    folder = tmp_path_factory.mktemp("material")
    photo = cv2.imread(str(ROOT / "examples/inputs/two_people.jpg"))
    row = cv2.resize(photo, None, fx=1901 / photo.shape[0], fy=1901 / photo.shape[0])
    large = np.ascontiguousarray(np.tile(row, (1, 2, 1))[:, :3913])  # the detector resizes it to 1080 x 524
    one = enlarged(aligner, cv2.imread(str(ROOT / "examples/inputs/grace_hopper.jpg")))
    for name, image in (("one", one), ("many", large)):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    boxes = [tuple(tuple(map(float, face.box)) for face in aligner(image)) for image in (one, large)]
    paths = folder / "one.png", folder / "many.png"
    return Context(aligner, Material(*paths, (paths[0],) * 4, *boxes), folder, threads=1)


@pytest.fixture(scope="module")
def int8_context(context):
    aligner = Aligner.load("open_mb05", device="cpu", threads=1, precision="int8")
    return Context(aligner, context.material, context.scratch, threads=1)


def enlarged(aligner, image, size=(1280, 720)):
    """The image scaled and moved, so that its face's mesh is `FACE_WIDTH` px wide and in the centre."""
    vertices = aligner.decoder.mesh(aligner(image)[0]).vertices[:, :2]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = FACE_WIDTH / (high - low)[0]
    shift = np.array(size) / 2 - scale * (low + high) / 2
    return cv2.warpAffine(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), size)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage(benchmark, context, stage):
    benchmark(stage.make(context))


@pytest.mark.parametrize("stage", chosen(STAGES, "detect.network,network.*"), ids=lambda stage: stage.name)
def test_stage_int8(benchmark, int8_context, stage):
    benchmark(stage.make(int8_context))


@pytest.mark.parametrize("size", [256, 1024])
def test_uv_texture(benchmark, context, size):
    benchmark(unwrap, context.images[1], context.meshes[1][0], size=size)


def test_whole_process(benchmark, tmp_path):
    """``demo.py -o 3d`` from start to exit, and its peak memory."""
    photo = str(ROOT / "examples/inputs/astronaut.jpg")
    code = (
        "from tddfa.bench.process_memory import peak_mb\nfrom tddfa.cli import main\n"
        f"main(['image', '-f', {photo!r}, '-o', '3d', '--out', {str(tmp_path)!r}])\nprint(peak_mb())"
    )

    def run():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    output = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    benchmark.extra_info["peak MB"] = output.splitlines()[-1]
