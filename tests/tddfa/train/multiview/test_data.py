import json

import cv2
import numpy as np
import pytest

from tddfa.geometry.rotation import rotation_from_euler
from tddfa.geometry.triangulation import pinhole, project, triangulate
from tddfa.train.data.augment import STORED_SCALE, Augment
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import encode_jpeg
from tddfa.train.data.shards import Labels, write_shard
from tddfa.train.multiview.data import (
    Heads,
    HeadViews,
    procedural_samples,
    read_heads,
    rendered_heads,
    validation_views,
    view_batch,
    view_batches,
)

GEOMETRY = Augment(
    color=0,
    grayscale=0,
    lighting=0,
    occlusion=0,
    blur=0,
    low_resolution=0,
    noise=0,
    jpeg=0,
    roll_fraction=0.7,
    max_roll=70,
)


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


@pytest.fixture(scope="module")
def heads(model):
    return rendered_heads(model, 2, 6, seed=3)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def ramp(height, width):
    """An image whose pixels hold their position: x in blue, y in green."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


@pytest.fixture
def ramps(rng):
    """A head of five views whose images are ramps."""
    landmarks = rng.uniform(40, 120, (5, 68, 2))
    cameras = np.tile(np.eye(3, 4), (5, 1, 1))
    return HeadViews("ramps", (png(ramp(160, 160)),) * 5, cameras, landmarks)


def test_views_of_a_head_show_the_same_points_in_space(model, heads):
    samples = list(procedural_samples(model, 2, 6, seed=3))
    for number, head in enumerate(heads):
        own = samples[6 * number]
        ground_truth = model.landmarks(own.shape, own.expression)
        assert {sample.source for sample in samples[6 * number : 6 * number + 6]} == {head.name}
        assert np.allclose(triangulate(head.cameras, head.landmarks), ground_truth, atol=1e-4)
        assert np.allclose(project(head.cameras, ground_truth), head.landmarks, atol=1e-3)
        assert own.expression.max() > 0.05


def test_views_are_cropped_like_stored_crops_from_all_sides(heads):
    for head in heads:
        assert head.crop(0).shape == (160, 160, 3)
        low, high = head.landmarks.min(axis=1), head.landmarks.max(axis=1)
        assert np.allclose((high - low).max(axis=1), 160 / STORED_SCALE, atol=1e-3)
        assert np.allclose((low + high) / 2, 79.5, atol=1e-3)
        yaw = np.degrees(np.arctan2(head.cameras[:, 0, 2], head.cameras[:, 0, 0]))
        assert np.abs(yaw).max() < 72
        assert np.ptp(yaw) > 30
    assert not np.allclose(heads[0].landmarks, heads[1].landmarks, atol=1)


def test_the_same_seed_gives_the_same_views(model, heads):
    again, other = rendered_heads(model, 1, 6, seed=3)[0], rendered_heads(model, 1, 6, seed=4)[0]
    assert again.jpegs == heads[0].jpegs
    assert np.array_equal(again.cameras, heads[0].cameras)
    assert other.jpegs != heads[0].jpegs


def test_a_trained_network_predicts_the_labels(aligner, model, heads):
    batch = validation_views(heads[0], 6)
    outputs = aligner.regressor(batch.crops)
    points = model.landmarks(outputs["shape"], outputs["expression"]) @ outputs["camera"][:, :, :3].transpose(0, 2, 1)
    points = (points + outputs["camera"][:, None, :, 3])[..., :2]
    predicted = points @ batch.to_view[:, :, :2].transpose(0, 2, 1) + batch.to_view[:, None, :, 2]
    # a box of the landmarks is 0.57 of the view; made-up heads are not what it was trained on
    assert np.linalg.norm(predicted - batch.landmarks, axis=2).mean() < 0.04


def test_a_batch_maps_its_pixels_to_the_view(ramps):
    batch = view_batch(ramps, range(5), GEOMETRY, np.random.default_rng(1))
    at = np.array([[30, 40], [60, 60], [80, 45], [55, 90]])
    for crop, to_view in zip(batch.crops, batch.to_view, strict=True):
        shares = at @ to_view[:, :2].T + to_view[:, 2]
        projected = crop[at[:, 1], at[:, 0], :2]
        assert np.allclose(160 * shares - 0.5, projected, atol=1.1), "x, y of the view in px"
    angles = np.degrees(np.arctan2(batch.to_view[:, 1, 0], batch.to_view[:, 0, 0]))
    assert np.ptp(angles) > 10, "views have to be turned, or that was not tested"


def test_cameras_and_landmarks_of_a_batch_are_fractions_of_the_view(heads):
    head = heads[1]
    batch = view_batch(head, [4, 0, 2], GEOMETRY, np.random.default_rng(0))
    assert len(batch) == 3
    assert np.allclose(batch.landmarks, (head.landmarks[[4, 0, 2]] + 0.5) / 160)
    points = triangulate(head.cameras, head.landmarks)
    assert np.allclose(project(batch.cameras, points), batch.landmarks, atol=1e-5)


def test_batches_are_the_same_from_wherever_they_begin(heads):
    augment = Augment()
    stream = view_batches(heads, 4, augment, seed=5)
    first = [next(stream) for _ in range(4)]
    late = next(view_batches(heads, 4, augment, seed=5, start=3))
    assert np.array_equal(first[3].crops, late.crops)
    assert np.array_equal(first[3].to_view, late.to_view)
    assert not np.array_equal(next(view_batches(heads, 4, augment, seed=6)).crops, first[0].crops)
    for batch in first:
        # four different views, all of one head
        assert len({camera.tobytes() for camera in batch.cameras}) == 4
        assert np.allclose(
            project(batch.cameras, triangulate(batch.cameras, batch.landmarks)), batch.landmarks, atol=1e-5
        )
    who = [
        np.array([np.isclose(b.landmarks[0], (h.landmarks + 0.5) / 160).all(axis=(1, 2)).any() for h in heads])
        for b in first
    ]
    assert np.sum(who, axis=0).tolist() == [2, 2], "in four draws of two heads, each comes twice"


def test_heads_with_too_few_views_are_refused(heads):
    with pytest.raises(ValueError, match=r"rendered-.: expected 7 views or more, got 6"):
        next(view_batches(heads, 7, Augment()))


def test_validation_views_are_evenly_spread(heads):
    assert np.array_equal(validation_views(heads[0], 3).cameras, validation_views(heads[0], 9).cameras[[0, 2, 4]])
    assert len(validation_views(heads[0], 9)) == 6


def test_heads_are_made_once_and_when_they_are_asked_for(ramps):
    made = []
    heads = Heads([lambda: made.append(0) or ramps, lambda: made.append(1) or ramps])
    assert len(heads) == 2
    assert not made
    assert heads[1] is heads[1]
    assert made == [1]
    assert len(list(heads)) == 2
    with pytest.raises(IndexError, match=r"head: expected 0\.\.1, got 2"):
        heads[2]


def test_numbers_out_of_range(model):
    for heads, views, name in ((0, 1, "heads"), (1, 0, "views")):
        with pytest.raises(ValueError, match=f"{name}: expected 1 or more, got 0"):
            rendered_heads(model, heads, views, 0)


def test_views_and_arrays_have_to_match(ramps):
    with pytest.raises(ValueError, match=r"landmarks: expected shape \(5, 68, 2\), got \(4, 68, 2\)"):
        HeadViews("x", ramps.jpegs, ramps.cameras, ramps.landmarks[:4])


def crops_of(folder, samples, validation):
    labels = Labels.of(
        *(
            np.array([getattr(sample, name) for sample in samples])
            for name in ("camera", "shape", "expression", "source")
        ),
        validation=validation,
    )
    write_shard(folder, [encode_jpeg(sample.crop) for sample in samples], labels)
    return Crops.open([folder])


def test_heads_have_the_faces_of_training_crops_only(model, tmp_path):
    samples = list(procedural_samples(model, 3, 6, seed=1))
    crops = crops_of(tmp_path / "some", samples, np.arange(18) >= 6)
    ((head),) = rendered_heads(model, 1, 4, 0, crops)
    points = triangulate(head.cameras, head.landmarks)
    assert np.allclose(project(head.cameras, points), head.landmarks, atol=1e-3)
    # corners of the eyes hardly move with the expression: they tell who it is
    corners = [36, 39, 42, 45]
    none = np.zeros(model.expression_count, np.float32)
    off = [np.abs(points - model.landmarks(samples[6 * k].shape, none))[corners].mean() for k in range(3)]
    assert np.argmin(off) == 0
    assert off[0] < 0.1
    with pytest.raises(ValueError, match="crops: expected some for training"):
        rendered_heads(model, 1, 4, 0, crops_of(tmp_path / "none", samples, np.ones(18, bool)))


INTRINSICS = np.array([[2.5, 0, 0.5], [0, 2.5, 0.5], [0, 0, 1]])


@pytest.fixture
def stored(tmp_path, rng):
    """Three heads projected by six cameras in EG3D's layout, with what there is to know."""
    height, width = 200, 220
    labels, cameras = [], []
    for k in range(6):
        turn = rotation_from_euler(*rng.uniform((-40, -15, -5), (40, 15, 5)))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn @ np.diag([1, -1, -1]), turn @ [0, 0, 2.7]
        labels.append([f"{k:05d}.png", [*pose.ravel().tolist(), *INTRINSICS.ravel().tolist()]])
        cameras.append(pinhole(pose, INTRINSICS, (height, width)))
    folder = tmp_path / "multiview"
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    ground_truth = {}
    for name in ("anna", "bert", "cora"):
        ground_truth[name] = rng.normal(0, 0.1, (68, 3))
        projected = project(np.array(cameras), ground_truth[name])
        np.savez(folder / f"{name}.npz", landmarks=projected)
        (folder / name).mkdir()
        for k in range(6):
            (folder / name / f"{k:05d}.png").write_bytes(png(ramp(height, width)))
    return tmp_path, ground_truth, projected


def test_stored_views_are_cropped_and_their_cameras_too(stored):
    folder, ground_truth, last = stored
    heads = read_heads(folder, 6)
    assert [head.name for head in heads] == ["anna", "bert", "cora"]
    for head in heads:
        assert len(head) == 6
        assert np.allclose(project(head.cameras, ground_truth[head.name]), head.landmarks, atol=1e-9)
        assert np.allclose(triangulate(head.cameras, head.landmarks), ground_truth[head.name], atol=1e-9)
        assert np.allclose(np.ptp(head.landmarks, axis=1).max(axis=1), 160 / STORED_SCALE)
    # pixels go along: under each landmark lies what lay under it before
    crop, points = heads[2].crop(3), heads[2].landmarks[3]
    row, column = np.rint(points[:, ::-1]).astype(int).T
    assert np.abs(crop[row, column, :2].astype(float) - last[3]).max() < 6, "a JPEG's ramp, to half a px"
    assert np.abs(crop[row, column, :2].astype(float) - last[3]).mean() < 1.5


def test_stored_views_are_thinned_and_heads_left_out(stored):
    folder, ground_truth, _ = stored
    heads = read_heads(folder, 3, lambda number: number < 2)
    assert [head.name for head in heads] == ["cora"]
    assert len(heads[0]) == 3
    batch = next(view_batches(heads, 3, Augment()))
    assert np.allclose(triangulate(batch.cameras, batch.landmarks), ground_truth["cora"], atol=1e-9)


def test_no_stored_views(tmp_path):
    with pytest.raises(ValueError, match=r"multiview: expected folders.* got none; the layout is DIR/multiview"):
        read_heads(tmp_path, 3)
