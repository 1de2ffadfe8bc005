import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from builders import make_face
from tddfa import Aligner
from tddfa.datasets import views
from tddfa.evaluate.benchmarks import multiview
from tddfa.evaluate.result import Setup
from tddfa.geometry.rotation import rotation_from_euler
from tddfa.geometry.triangulation import pinhole, project
from tddfa.model.config import CropRule


@dataclass
class Scripted:
    """An aligner that returns the given landmarks, with a given error."""

    landmarks: list
    errs: object = lambda points: points
    crop: CropRule = field(default_factory=lambda: CropRule(120, 0.0, 1.1, 1.25))

    def batch(self, images, rois):
        ground_truth = iter(self.landmarks)
        faces = []
        for image, (roi,) in zip(images, rois, strict=True):
            assert image.ndim == 3
            faces.append([make_face(landmarks=self.errs(next(ground_truth)), roi=roi)])
        return faces


def landmarks_of_rendered(heads=1, count=6, size=128):
    return [view.landmarks for head in views.rendered_heads(heads, size, 0) for view in head.views(count)]


def run(errs, **options):
    ground_truth = landmarks_of_rendered()
    return multiview.evaluate(
        Setup(None, Scripted(ground_truth, errs)), heads=1, views=6, size=128, **options
    ), ground_truth


@pytest.fixture
def no_data(monkeypatch):
    monkeypatch.setattr(multiview, "stored_heads", lambda data: [])


def test_exact_landmarks_have_no_error(no_data):
    result, _ = run(lambda points: points)
    for name in ("nme", "nme_side", "reprojection", "reprojection_targets", "spread", "error_3d"):
        assert result.value(name) == pytest.approx(0, abs=1e-4), name
    assert result.value("failures.nme.0.05") == 0


def test_a_known_offset(no_data):
    result, ground_truth = run(lambda points: points + np.array([6, 8]))
    sizes = np.array([np.sqrt(np.prod(np.ptp(points, axis=0))) for points in ground_truth])
    errors = 100 * 10 / sizes
    assert result.value("nme") == pytest.approx(errors.mean())
    assert result.value("nme_side") == pytest.approx(100 * 10 / 128)
    assert result.value("failures.nme.0.1") == pytest.approx(100 * (errors > 10).mean())
    assert result.value("failures.nme_side.0.05") == 100
    # an offset in the image is one in space only for views from about one direction
    assert 0 < result.value("reprojection") < errors.max()


def test_noise_increases_reprojection_error_and_spread(no_data, rng):
    little, _ = run(lambda points: points + rng.normal(0, 0.5, points.shape))
    much, _ = run(lambda points: points + rng.normal(0, 2, points.shape))
    for name in ("nme", "reprojection", "reprojection_targets", "spread", "error_3d"):
        assert 2.5 < much.value(name) / little.value(name) < 6, name
    # views that a point was not triangulated from agree less with it
    assert much.value("reprojection_targets") > much.value("reprojection")


def test_the_same_seed_gives_the_same_figures(no_data):
    first, _ = run(lambda points: 1.05 * points)
    again, _ = run(lambda points: 1.05 * points)
    assert first == again


def test_rendered_views_with_a_real_model(aligner, tmp_path):
    result = multiview.evaluate(Setup(tmp_path, aligner), heads=1, views=8, size=256, quadruples=4)
    assert result.settings["views"] == "rendered"
    assert result.value("nme") < 5
    assert result.value("reprojection") < 4
    assert result.value("spread") < 1.0
    assert next(f.unit for f in result.figures if f.name == "spread") == "cm"
    assert len(result.curves[0].yaw) == 8


def test_numbers_out_of_range(aligner, tmp_path):
    for options in ({"views": 3}, {"heads": 0}, {"quadruples": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            multiview.evaluate(Setup(tmp_path, aligner), **options)


INTRINSICS = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])


@pytest.fixture
def stored(tmp_path, rng):
    """Two heads of 68 points, seen by eight cameras, in the layout of EG3D; the folder and the landmarks."""
    count, height, width = 8, 100, 120
    labels, cameras = [], []
    for k in range(count):
        turn = rotation_from_euler(*rng.uniform((-40, -15, -5), (40, 15, 5)))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn @ np.diag([1, -1, -1]), turn @ [0, 0, 2.7]
        labels.append([f"{k:05d}.png", [*pose.ravel().tolist(), *INTRINSICS.ravel().tolist()]])
        cameras.append(pinhole(pose, INTRINSICS, (height, width)))
    folder = tmp_path / "multiview"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"labels": labels[::-1]}))
    ground_truth = {}
    for name in ("anna", "bert"):
        (folder / name).mkdir()
        for k in range(count):
            cv2.imwrite(str(folder / name / f"{k:05d}.png"), np.full((height, width, 3), k, np.uint8))
        ground_truth[name] = project(np.array(cameras), rng.normal(0, 0.1, (68, 3)))
        np.savez(folder / f"{name}.npz", landmarks=ground_truth[name])
    return tmp_path, ground_truth


def test_stored_views(stored):
    folder, ground_truth = stored
    heads = views.stored_heads(folder)
    assert [head.name for head in heads] == ["anna", "bert"]
    actual = list(heads[1].views(4))
    assert [int(view.image[0, 0, 0]) for view in actual] == [0, 2, 4, 6]
    assert np.allclose([view.landmarks for view in actual], ground_truth["bert"][::2])


def test_cameras_are_found_by_the_names_of_the_images(stored):
    """Also where some images have been taken away, and names have folders."""
    folder, ground_truth = stored
    cameras = [view.camera for view in views.stored_heads(folder)[1].views(8)]
    file = folder / "multiview/dataset.json"
    labels = json.loads(file.read_text())["labels"]
    file.write_text(json.dumps({"labels": [[f"{9 - k}/{name}", values] for k, (name, values) in enumerate(labels)]}))
    for k in (0, 3):
        (folder / f"multiview/bert/{k:05d}.png").unlink()
    kept = [1, 2, 4, 5, 6, 7]
    np.savez(folder / "multiview/bert.npz", landmarks=ground_truth["bert"][kept])
    np.testing.assert_array_equal(
        [view.camera for view in views.stored_heads(folder)[1].views(6)], [cameras[k] for k in kept]
    )


def test_stored_views_are_measured(stored, monkeypatch):
    folder, ground_truth = stored
    aligner_of_data = Scripted(None)

    def tell(images, rois):
        head = "anna" if tell.calls == 0 else "bert"
        tell.calls += 1
        aligner_of_data.landmarks = list(ground_truth[head])
        return Scripted.batch(aligner_of_data, images, rois)

    tell.calls = 0
    result = multiview.evaluate(Setup(folder, SimpleNamespace(batch=tell, crop=aligner_of_data.crop)), views=8)
    assert result.settings["views"] == "stored"
    assert result.settings["heads"] == 2
    for name in ("nme", "reprojection", "spread"):
        assert result.value(name) == pytest.approx(0, abs=1e-4)
    assert result.value("error_3d") is None
    assert len(result.worst) == 16


def test_normalised_landmarks(stored):
    folder, ground_truth = stored
    np.savez(folder / "multiview/anna.npz", landmarks=(ground_truth["anna"] + 0.5) / (120, 100))
    assert np.allclose([view.landmarks for view in views.stored_heads(folder)[0].views(8)], ground_truth["anna"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "anna.npz").unlink(), r"anna\.npz: no such file"),
        (lambda folder: (folder / "anna.npz").write_bytes(b"no"), r"anna\.npz: not arrays"),
        (lambda folder: np.savez(folder / "anna.npz", landmarks=np.zeros((8, 5, 2))), r"anna\.npz: landmarks"),
        (
            lambda folder: np.savez(folder / "anna.npz", landmarks=np.zeros((3, 68, 2))),
            "8 images, got 8 cameras and 3",
        ),
        (lambda folder: (folder / "dataset.json").write_text("{}"), r"dataset\.json: not a list of cameras of EG3D"),
        (lambda folder: (folder / "dataset.json").write_text('{"labels": [["a", [1, 2]]]}'), r"dataset\.json"),
        (lambda folder: (folder / "dataset.json").unlink(), r"dataset\.json"),
        (
            lambda folder: (folder / "dataset.json").write_text(json.dumps({"labels": [["a", [0] * 25]] * 8})),
            "camera 0.*inverted",
        ),
    ],
)
def test_damaged_stored_views_are_named(stored, spoil, message):
    folder, _ = stored
    spoil(folder / "multiview")
    with pytest.raises(ValueError, match=message):
        list(views.stored_heads(folder)[0].views(8))


def test_cameras_of_a_head_have_priority_over_shared_ones(stored):
    folder, _ = stored
    labels = json.loads((folder / "multiview/dataset.json").read_text())["labels"]
    for label in labels:
        label[1][16] *= 2  # twice the focal length
    (folder / "multiview/bert/dataset.json").write_text(json.dumps({"labels": labels}))
    anna, bert = (next(head.views(1)).camera for head in views.stored_heads(folder))
    assert not np.allclose(anna[0], bert[0])
    assert np.allclose(anna[1], bert[1])


@pytest.mark.parametrize("seed", [0, 7])
def test_fine_tuned_weights_are_more_consistent_and_not_less_accurate(no_data, aligner, seed):
    plus = Aligner.load("open_mb05+", device="cpu", threads=2)
    before, after = (
        multiview.evaluate(Setup(None, each), heads=3, views=12, size=256, seed=seed) for each in (aligner, plus)
    )
    for name in ("reprojection_targets", "spread"):
        assert after.value(name) < 0.95 * before.value(name), name
    assert after.value("nme") < before.value("nme")
