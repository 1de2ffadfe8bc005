"""Fixtures of several folders: 3DDFA_V2's released files, rendered heads, folders of crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import reference_3ddfa_v2
from tddfa.bench import material
from tddfa.compat.fetch import fetch
from tddfa.geometry.camera import Camera
from tddfa.scan.pose import find_pose
from tddfa.synthetic import Head, State, backdrop, render
from tddfa.train.data.samples import STORED_SIZE, Sample, centred, write_samples


@pytest.fixture(scope="session")
def reference():
    """NumPy versions of 3DDFA_V2's networks, crops and files."""
    return reference_3ddfa_v2


@pytest.fixture(scope="session")
def upstream_cache(tmp_path_factory, upstream):
    """A cache folder with 3DDFA_V2's files, the stand-in in the place of its face model."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TDDFA_CACHE", str(folder))
        report = fetch(upstream, upstream / "bfm_standin.npz")
    assert "mb05_120x120" in report.ready, report
    return folder


@pytest.fixture
def fetched(upstream_cache, monkeypatch):
    """That folder, in use."""
    monkeypatch.setenv("TDDFA_CACHE", str(upstream_cache))
    return upstream_cache


@pytest.fixture(scope="session")
def bases(upstream):
    with np.load(upstream / "bfm_standin.npz", allow_pickle=False) as file:
        return dict(file)


POSES = ((0, 0, 0), (20, 5, -10), (-25, -8, 15), (10, 0, 30), (70, 0, 0), (-5, 10, 0))


@pytest.fixture(scope="session")
def face_model(aligner):
    return aligner.face_model


@pytest.fixture(scope="session")
def rendered_head(face_model):
    """Renders a made-up head as a stored crop: (yaw, pitch, roll), expression by name -> Sample."""

    def rendered(pose, expression=None, seed=0, scale=1.0):
        head = Head.procedural(face_model, seed)
        mean = face_model.landmarks(np.zeros(40, np.float32), np.zeros(55, np.float32))
        weights = np.zeros(55, np.float32)
        for name, value in (expression or {}).items():
            weights[face_model.expression_names.index(name)] = value
        matrix = centred(Camera.from_pose(*pose), face_model, head.shape, weights)
        size = Camera(matrix).scale * float(np.ptp(mean[:, :2], axis=0).max())
        state = State(*pose, size, *matrix[:2, 3].tolist(), expression or {})
        image, (target,) = render((STORED_SIZE,) * 2, [(head, state)], backdrop((STORED_SIZE,) * 2, seed))
        return Sample(image, "made", target.camera.matrix, target.shape, target.expression)

    return rendered


@pytest.fixture(scope="session")
def made_samples(rendered_head):
    return [rendered_head(pose, {"jawOpen": 0.1 * i}, seed=i) for i, pose in enumerate(POSES)]


@pytest.fixture(scope="session")
def made_crops(tmp_path_factory, made_samples, face_model):
    """The folder: six heads, one photo with ground-truth landmarks alone, one image without a face."""
    folder = tmp_path_factory.mktemp("crops")
    first = made_samples[0]
    points = Camera(first.camera).project(face_model.landmarks(first.shape, first.expression))[:, :2].copy()
    points[3] = np.nan
    photo = Sample(first.crop, "photo", landmarks=points)
    empty = Sample(backdrop((STORED_SIZE,) * 2, 99), "empty", face=False)
    write_samples(folder, [*made_samples, photo, empty], face_model)
    return folder


@pytest.fixture(scope="session")
def bench_material(tmp_path_factory):
    """The images of `tddfa.bench`, rendered once for all tests."""
    return material.make(tmp_path_factory.mktemp("material"))


@pytest.fixture
def rendered_once(bench_material, monkeypatch):
    """Make runs of `tddfa.bench` use these images, instead of rendering their own."""
    monkeypatch.setattr("tddfa.bench.run.material.make", lambda folder: bench_material)


@pytest.fixture(scope="session")
def remembered_poses():
    """`find_pose`, which looks at each scan once: the search takes two thirds of the time of a landmarker."""
    known = {}

    def remembered(scan, aligner, mean, *, up=None, rng):
        state = rng.bit_generator.state
        key = (scan.vertices.tobytes(), scan.triangles.tobytes(), mean.tobytes(), repr(up), repr(state))
        if key not in known:
            known[key] = find_pose(scan, aligner, mean, up=up, rng=rng), rng.bit_generator.state
        poses, rng.bit_generator.state = known[key]
        return list(poses)

    return remembered


@pytest.fixture(scope="session")
def scale_photos(tmp_path_factory, astronaut):
    """Ten photos of one face, of two sizes; one without; a truncated one; one that is text; notes."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "b").mkdir()
    for number in range(10):
        image = astronaut[:300, 100 + 4 * number : 380] if number % 2 else astronaut[: 290 + number, 90:370]
        cv2.imwrite(str(folder / ("b" if number > 5 else "") / f"face_{number}.png"), image)
    cv2.imwrite(str(folder / "grey.png"), np.full((120, 160, 3), 90, np.uint8))
    (folder / "cut.jpg").write_bytes(cv2.imencode(".jpg", astronaut)[1].tobytes()[:9000])
    (folder / "b/text.jpg").write_text("no image")
    (folder / "notes.txt").write_text("no list of photos")
    return folder
