import dataclasses

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from tddfa.geometry.boxes import box_around
from tddfa.model.runtime import Model
from tddfa.train.data.augment import Augment
from tddfa.train.detector.settings import Folders, ImageFolder
from tddfa.train.score import samples as score_samples
from tddfa.train.score.boxes import VIEW, Boxes, at_box, near_box, view
from tddfa.train.score.placement import cut, similarity, square_around, window_placement
from tddfa.train.score.samples import PASSES, SampleMaker, Samples, with_features
from tddfa.train.score.settings import ScoreSettings


@pytest.fixture(scope="module")
def settings(aligner, root, tmp_path_factory):
    """A photo with the landmarks that the model predicts in it, and a photo without a face."""
    folder = tmp_path_factory.mktemp("score")
    image = cv2.imread(str(root / "examples/inputs/grace_hopper.jpg"))
    (face,) = aligner(image)
    for name in ("photos", "empty", "boxes"):
        (folder / name).mkdir()
    assert cv2.imwrite(str(folder / "photos/hopper.png"), image)
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in face.landmarks[:, :2] + 1)
    (folder / "photos/hopper.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    assert cv2.imwrite(str(folder / "empty/0.png"), np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    assert cv2.imwrite(str(folder / "boxes/0.png"), image)
    (folder / "boxes/0.txt").write_text(" ".join(f"{edge:.0f}" for edge in face.box))
    folders = Folders(
        landmarks=(ImageFolder(folder / "photos", weight=2),),
        empty=(ImageFolder(folder / "empty"),),
        boxes=(ImageFolder(folder / "boxes"),),
    )
    return ScoreSettings(
        data=folders,
        validation=folders,
        init=root / "weights/open_mb05.onnx",
        face_model=root / "configs/open_face.npz",
        detector=root / "weights/faceboxes.onnx",
        augment=Augment.none(),
    )


@pytest.fixture(scope="module")
def network(settings, tmp_path_factory):
    return with_features(settings.init.read_bytes(), tmp_path_factory.mktemp("network") / "features.onnx")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(score_samples, "BATCH", 24)
    monkeypatch.setattr(score_samples, "_BESIDE", 0)


def test_the_features_are_one_more_output(settings, network):
    crops = np.random.default_rng(0).integers(0, 256, (3, 120, 120, 3), np.uint8)
    before, after = (Model(path, "cpu", threads=1)(crops) for path in (settings.init, network))
    assert set(after) - set(before) == {"features"} and after["features"].shape == (3, 512)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.usefixtures("small")
def test_a_batch_has_the_errors_of_all_passes(settings, network):
    maker = SampleMaker(settings, settings.data, network, validation=False)
    made = maker.batch(0)
    face = made.kind == "landmarks"
    assert len(made) <= 24 * PASSES and 5 * PASSES < face.sum() < 20 * PASSES
    assert np.isinf(made.error[made.kind == "empty"]).all() and np.isfinite(made.error[face]).all()
    more = Samples.joined([made, *(maker.batch(number) for number in range(1, 4))])
    boxed = more.error[more.kind == "boxes"]
    assert (np.isinf(boxed) | (boxed == 0)).all() and (boxed == 0).any() and np.isinf(boxed).any()
    again = SampleMaker(settings, settings.data, network, validation=False).batch(0)
    assert np.array_equal(made.features, again.features) and np.array_equal(made.error, again.error)
    assert not np.array_equal(made.error, maker.batch(1).error)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_crop_by_the_crop_rule_is_right(settings, network, monkeypatch, flip):
    """In flipped crops the labels are those of the mirrored face: else their errors would be those of another face."""
    monkeypatch.setattr(
        score_samples,
        "face_placement",
        lambda landmarks, rng: similarity(*square_around(landmarks), rng.normal(0, 0.01)),
    )
    monkeypatch.setattr(score_samples, "_CUT", 0)
    monkeypatch.setattr(score_samples, "_DETECTED", 0)
    only_faces = Folders(landmarks=settings.data.landmarks)
    augment = Augment(**{**vars(Augment.none()), "flip": flip})
    made = SampleMaker(
        ScoreSettings(**{**vars(settings), "augment": augment}), only_faces, network, validation=False
    ).batch(0)
    assert len(made) == 24 * PASSES
    assert made.error.max() < 8


@pytest.mark.usefixtures("small")
def test_boxes_beside_a_face_are_no_faces(settings, network, monkeypatch):
    """A sure one may be a face without a label, and one at the face is left out."""
    monkeypatch.setattr(score_samples, "_BESIDE", 1)
    only_faces = Folders(landmarks=settings.data.landmarks)
    made = SampleMaker(settings, only_faces, network, validation=False).batch(0)
    assert 0 < len(made) < 24 * PASSES
    assert np.isinf(made.error).all() and made.score.max() < 0.3


def test_windows_keep_away_from_faces(rng):
    image = np.zeros((300, 400, 3), np.uint8)
    squares = np.array([[120.0, 150, 100], [300, 80, 60]])
    for _ in range(100):
        matrix = window_placement(image, squares, rng)
        inverse = cv2.invertAffineTransform(matrix)
        side = 120 * np.sqrt(np.linalg.det(inverse[:, :2]))
        x, y = inverse[:, :2] @ [59.5, 59.5] + inverse[:, 2]
        for a, b, own in squares:
            assert np.hypot(x - a, y - b) >= 0.69 * max(side, own) or not 0.15 < own / side < 2.75


def test_a_cut_photo_keeps_its_labels(rng):
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.stack(np.meshgrid(np.linspace(60, 140, 17), np.linspace(60, 140, 4)), axis=-1).reshape(-1, 2)
    cv2.circle(image, (100, 113), 3, (255, 255, 255), -1)
    outside = 0
    for _ in range(30):
        part, moved = cut(image, points, rng)
        light = np.argwhere(part[..., 0] > 100)
        if len(light) == 29:
            np.testing.assert_allclose(light.mean(axis=0)[::-1] - moved[0], [40, 53], atol=0.01)
        outside += bool((moved < 0).any() or (moved >= part.shape[1::-1]).any())
    assert 5 < outside < 30


@pytest.fixture(scope="module")
def boxes(root):
    return Boxes(root / "weights/faceboxes.onnx")


@pytest.mark.usefixtures("small")
def test_most_crops_of_faces_are_at_boxes_of_the_detector(settings, network, monkeypatch):
    """The face is small, dark or rolled in many; weak boxes show parts of it."""
    monkeypatch.setattr(score_samples, "_DETECTED", 1)
    monkeypatch.setattr(score_samples, "at_box", lambda placement, rng: similarity(placement[:2], *placement[2:]))
    only_faces = Folders(landmarks=settings.data.landmarks)
    made = SampleMaker(settings, only_faces, network, validation=False).batch(0)
    assert len(made) == 24 * PASSES
    assert 0.25 < np.mean(made.error < 12) < 1


def test_a_crop_at_a_box_shows_the_face_upright(aligner, boxes, astronaut):
    (face,) = aligner(astronaut)
    turned = np.ascontiguousarray(np.rot90(astronaut))  # counterclockwise: a roll of -90 degrees
    points = np.column_stack([face.landmarks[:, 1], 511 - face.landmarks[:, 0]])
    placement = near_box(boxes(turned), box_around(points))[0]
    assert abs(placement[3] - np.pi / 2) < 0.3
    matrix = similarity(placement[:2], *placement[2:])
    left, right = (
        points[part].mean(axis=0) @ matrix[:, :2].T + matrix[:, 2] for part in (range(36, 42), range(42, 48))
    )
    assert right[0] - left[0] > 25 and abs(right[1] - left[1]) < 12  # px of 120
    elsewhere = near_box(boxes(turned), box_around(points + 300))
    assert len(elsewhere) < len(boxes(turned))


def test_some_crops_at_a_box_are_larger_or_rolled(rng):
    placement = np.array([100.0, 80, 60, 0.1])
    matrices = [at_box(placement, rng) for _ in range(200)]
    scales = np.array([np.sqrt(np.linalg.det(each[:, :2])) for each in matrices])
    assert 0.3 < np.mean(np.isclose(scales, 120 / 60)) < 0.7
    assert scales.min() < 120 / 60 / 1.5 and scales.max() > 120 / 60
    rolls = np.array([np.arctan2(each[1, 0], each[0, 0]) for each in matrices])
    assert 0.05 < np.mean(~np.isclose(rolls, 0.1)) < 0.4
    for each in matrices:
        np.testing.assert_allclose(each[:, :2] @ [100, 80] + each[:, 2], [59.5, 59.5])


def test_a_view_keeps_its_labels(rng):
    image = np.zeros((200, 200, 3), np.uint8)
    points = np.stack(np.meshgrid(np.linspace(60, 140, 17), np.linspace(60, 140, 4)), axis=-1).reshape(-1, 2)
    cv2.circle(image, (100, 113), 6, (255, 255, 255), -1)
    sizes, dark = [], 0
    for _ in range(40):
        seen, moved = view(image, points, rng)
        assert seen.shape == (VIEW, VIEW, 3)
        middle, size = moved.mean(axis=0), np.linalg.norm(moved[16] - moved[0])
        expected = middle + (moved[-17] - moved[0]) * 13 / 80
        light = np.argwhere(seen[..., 0] > 0.6 * seen.max())
        if size > 60 and (expected > 20).all() and (expected < VIEW - 20).all():
            np.testing.assert_allclose(light.mean(axis=0)[::-1], expected, atol=0.03 * size)
        sizes.append(size)
        dark += int(seen.max() < 200)
    assert min(sizes) < 70 < 200 < max(sizes)
    assert 1 <= dark <= 15


@pytest.mark.parametrize(
    ("move", "roll", "error"),
    [
        (0.0, 0.0, 0.0),
        (0.0, 30.0, 0.0),
        (0.0, 50.0, np.nan),
        (0.0, 90.0, np.inf),
        (0.3, 0.0, np.nan),
        (0.9, 0.0, np.inf),
    ],
)
def test_an_alignment_is_judged_by_the_box_of_the_face(aligner, root, move, roll, error):
    """Of a face in a crowd the box alone is known."""
    (face,) = aligner(cv2.imread(str(root / "examples/inputs/grace_hopper.jpg")))
    points = face.landmarks[:, :2].astype(np.float64)
    box = box_around(points)
    turn = cv2.getRotationMatrix2D(((box[:2] + box[2:]) / 2).tolist(), roll, 1.0)
    turned = points @ turn[:, :2].T + turn[:, 2] + move * (box[2] - box[0])
    far = box + 5000
    result = score_samples._error_by_box(turned, np.stack([far, box]))
    assert result == error or (np.isnan(result) and np.isnan(error))


def test_faces_get_masks(settings, network, small):
    """With masks the regressor's errors are larger, and the rest of the batch is as it was."""
    plain, masked = (
        SampleMaker(
            dataclasses.replace(settings, mask_fraction=fraction), settings.data, network, validation=False
        ).batch(0)
        for fraction in (0.0, 1.0)
    )
    assert np.median(masked.error[masked.kind == "landmarks"]) > np.median(plain.error[plain.kind == "landmarks"])
