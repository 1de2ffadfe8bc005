"""Every stage of a photo, one thread, on a face 530 px wide in a 720p picture.

pytest benchmarks --benchmark-columns=min,median --benchmark-sort=name
"""

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tddfa import Aligner, draw
from tddfa.crop import crop_image
from tddfa.surface import texture

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 530


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def aligner():
    return Aligner.load("open_mb05", device="cpu", threads=1)


@pytest.fixture(scope="module")
def large():
    """A picture of 3913 x 1901 px with three faces: the detector sees 1080 x 524."""
    photo = cv2.imread(str(ROOT / "examples/inputs/two_people.jpg"))
    row = cv2.resize(photo, None, fx=1901 / photo.shape[0], fy=1901 / photo.shape[0])
    return np.ascontiguousarray(np.tile(row, (1, 2, 1))[:, :3913])


@pytest.fixture(scope="module")
def scene(aligner):
    """A 720p picture and the mesh of its face, scaled to the width asked for."""
    image = cv2.resize(cv2.imread(str(ROOT / "examples/inputs/grace_hopper.jpg")), (1280, 720))
    face = aligner(image)[0]
    mesh = aligner.decoder.mesh(face)
    vertices = mesh.vertices - mesh.vertices.min(axis=0)
    vertices = vertices * np.float32(WIDTH / np.ptp(vertices[:, 0])) + np.float32(20)
    return image, face, dataclasses.replace(mesh, vertices=vertices)


def test_detector_network_alone(benchmark, aligner, large):
    small, _ = aligner.detector._shrink(large)
    benchmark(aligner.detector.model, small[None])


def test_detector_whole_call(benchmark, aligner, large):
    benchmark(aligner.detector, large)


def test_crop(benchmark, scene):
    crop = np.empty((120, 120, 3), np.uint8)
    benchmark(crop_image, scene[0], scene[1].roi, crop)


@pytest.mark.parametrize("faces", [1, 8, 32])
def test_regressor_whole_call(benchmark, aligner, scene, faces):
    benchmark(aligner, scene[0], rois=[scene[1].roi] * faces)


def test_dense_vertices(benchmark, aligner, scene):
    params = scene[1].params
    benchmark(aligner.face_model.vertices, params.shape, params.expression)


def test_landmarks_only(benchmark, aligner, scene):
    params = scene[1].params
    benchmark(aligner.face_model.landmarks, params.shape, params.expression)


def test_draw_2d_sparse(benchmark, scene):
    benchmark(draw.landmarks, scene[0], [scene[1]])


def test_draw_2d_dense(benchmark, scene):
    benchmark(draw.points, scene[0], [scene[2]])


def test_draw_3d(benchmark, scene):
    benchmark(draw.mesh, scene[0], [scene[2]])


def test_draw_depth(benchmark, scene):
    benchmark(draw.depth, scene[0], [scene[2]])


def test_draw_pncc(benchmark, aligner, scene):
    benchmark(draw.pncc, scene[0], [scene[2]], aligner.face_model.normalized_coordinates)


def test_draw_pose(benchmark, scene):
    benchmark(draw.pose, scene[0], [scene[1]])


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_uv_texture(benchmark, scene, size):
    benchmark(texture.unwrap, scene[0], scene[2], size)


def test_whole_process(benchmark, tmp_path):
    """``demo.py -o 3d`` from start to exit, and the most memory that it held."""
    photo = str(ROOT / "examples/inputs/astronaut.jpg")
    # VmHWM, not ru_maxrss: the latter starts from what the process that forked this one held
    code = (
        "from pathlib import Path\nfrom tddfa.cli import main\n"
        f"main(['image', '-f', {photo!r}, '-o', '3d', '--out', {str(tmp_path)!r}])\n"
        "status = Path('/proc/self/status')\n"
        "if status.exists():\n"
        "    print([line for line in status.read_text().splitlines() if line.startswith('VmHWM')][0])"
    )

    def run():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    output = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    benchmark.extra_info["memory"] = output.splitlines()[-1]
