from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import MIRRORED
from tddfa.model.mirror import Mirror
from tddfa.train.data.augment import Augment
from tddfa.train.data.batches import Crops, batches, draw, in_order, make_batch, paired
from tddfa.train.data.samples import Sample, write_samples
from tddfa.train.data.shards import Shard, write_shard

FIELDS = (
    "crops",
    "camera",
    "shape",
    "expression",
    "landmarks",
    "has_params",
    "has_landmarks",
    "face",
    "rows",
    "person",
    "covered",
)


@pytest.fixture(scope="module")
def crops(made_crops):
    return Crops.open([made_crops])


def projected(batch, model):
    points = model.landmarks(batch.shape, batch.expression)
    return (points @ batch.camera[:, :, :3].transpose(0, 2, 1) + batch.camera[:, None, :, 3])[..., :2]


def same(first, second):
    return all(np.array_equal(getattr(first, f), getattr(second, f), equal_nan=f == "landmarks") for f in FIELDS)


def test_landmarks_are_those_of_the_rendered_heads(crops, made_samples, face_model):
    (batch,) = in_order(crops, 20, face_model)
    assert batch.has_params.tolist() == [True] * 6 + [False] * 2
    assert batch.has_landmarks.tolist() == [True] * 7 + [False]
    assert batch.face.tolist() == [True] * 7 + [False]
    for i, sample in enumerate(made_samples):
        target = Camera(sample.camera).project(face_model.landmarks(sample.shape, sample.expression))[:, :2]
        low, high = target.min(axis=0), target.max(axis=0)
        scale = 120 / (1.25 * (high - low).max())
        assert batch.landmarks[i] == pytest.approx((target - (low + high) / 2) * scale + 59.5, abs=0.02)
        assert projected(batch, face_model)[i] == pytest.approx(batch.landmarks[i], abs=0.02)
    assert not batch.camera[6:].any()
    assert np.flatnonzero(np.isnan(batch.landmarks[6]).any(axis=1)).tolist() == [3]
    assert not batch.landmarks[7].any()


def test_a_flipped_crop_has_the_mirrored_face(crops, face_model):
    mirror = Mirror.of(face_model)
    flip = replace(Augment.none(), flip=1.0)
    rows = np.arange(8)
    plain = make_batch(crops, rows, Augment.none(), face_model, mirror, np.random.default_rng(0))
    flipped = make_batch(crops, rows, flip, face_model, mirror, np.random.default_rng(0))
    expected = plain.landmarks[:, MIRRORED].copy()
    expected[..., 0] = 119 - expected[..., 0]
    # the mesh is not quite symmetric, least so at the mouth's corners
    assert np.nanmax(np.abs(flipped.landmarks[:7] - expected[:7])) < 0.8
    assert np.nanmean(np.abs(flipped.landmarks[:7] - expected[:7])) < 0.06
    assert np.abs(flipped.crops[:7, :, ::-1].astype(int) - plain.crops[:7]).mean() < 1.5
    assert np.isnan(flipped.landmarks[6, 13]).all()  # the third of the jaw was not known
    assert projected(flipped, face_model)[:6] == pytest.approx(flipped.landmarks[:6], abs=0.02)


def test_seed_and_number_determine_a_batch(crops, face_model):
    def made(**options):
        return list(batches(crops, 5, Augment(), face_model, seed=options.pop("seed", 3), count=3, **options))

    first, again = made(), made()
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert all(same(a, b) for a, b in zip(first[1:], made(start=1)[:2], strict=True))
    assert not same(first[0], made(seed=4)[0])
    in_processes = made(workers=2)
    assert all(same(a, b) for a, b in zip(first, in_processes, strict=True))


def test_labels_follow_all_changes(crops, face_model):
    for batch in batches(crops, 8, Augment(roll_fraction=0.5), face_model, count=4):
        known = batch.has_params
        assert projected(batch, face_model)[known] == pytest.approx(batch.landmarks[known], abs=0.05)
        assert batch.crops.shape == (8, 120, 120, 3)
        assert batch.crops.dtype == np.uint8


def test_every_row_is_drawn_as_often_as_its_weight():
    assert sorted(draw(np.ones(10), 0, 10, seed=1).tolist()) == list(range(10))
    assert sorted(draw(np.ones(10), 20, 10, seed=1).tolist()) == list(range(10))
    counts = np.bincount(draw(np.array([1.0, 2, 0.5, 0, 6.5]), 0, 1000, seed=1), minlength=5)
    assert np.abs(counts - np.array([100, 200, 50, 0, 650])).max() <= 200 / 5
    whole = draw(np.ones(7), 0, 50, seed=2)
    assert (np.concatenate([draw(np.ones(7), at, 5, seed=2) for at in range(0, 50, 5)]) == whole).all()


def test_rare_poses_are_drawn_more_often(crops):
    assert crops.weights() == pytest.approx(np.ones(8))
    balanced = crops.weights(1.0)
    yaw = np.abs(crops.yaw())
    assert yaw[:6] == pytest.approx([0, 20, 25, 10, 70, 5], abs=1e-3)
    assert balanced[4] > balanced[0]
    assert balanced.mean() == pytest.approx(1)
    assert balanced[6:] == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="balance"):
        crops.weights(2)


def test_folders_have_weights(made_crops):
    crops = Crops.open([(made_crops, 3.0), made_crops])
    assert len(crops) == 16
    assert crops.weights()[0] == pytest.approx(3 * crops.weights()[8])
    assert crops.sources == {"empty": 2, "made": 12, "photo": 2}
    assert (crops.image(1) == crops.image(9)).all()


def test_validation_is_split_off(tmp_path, made_samples, face_model):
    write_samples(tmp_path / "a", made_samples, face_model)
    shard = Shard(tmp_path / "a")
    shard.labels.validation[2] = True
    write_shard(tmp_path / "b", [shard.jpeg(i).tobytes() for i in range(6)], shard.labels)
    crops = Crops.open([tmp_path / "b"])
    assert len(crops.split(validation=True)) == 1
    assert len(crops.split(validation=False)) == 5
    assert (crops.split(validation=True).image(0) == crops.image(2)).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_crop_is_named(tmp_path, made_samples, face_model, workers):
    write_samples(tmp_path, made_samples[:2], face_model)
    tar = tmp_path / "crops-00.tar"
    data = bytearray(tar.read_bytes())
    data[512:612] = bytes(100)
    tar.write_bytes(data)
    with pytest.raises(ValueError, match=r"000000\.jpg: expected a square JPEG, got no image"):
        list(batches(Crops.open([tmp_path]), 2, Augment(), face_model, count=2, workers=workers))


def test_arguments_that_do_not_fit_are_errors(tmp_path, made_crops, crops, face_model):
    with pytest.raises(ValueError, match="folders: expected at least one"):
        Crops.open([])
    with pytest.raises(ValueError, match="expected a weight over 0"):
        Crops.open([(made_crops, 0.0)])
    with pytest.raises(ValueError, match="crops: expected at least one"):
        batches(crops.take(np.zeros(8, bool)), 2, Augment(), face_model)
    with pytest.raises(ValueError, match="size: expected 1 or more"):
        batches(crops, 0, Augment(), face_model)
    smaller = replace(face_model, basis=face_model.basis[1:], shape_count=39, mirror_shape=None)
    with pytest.raises(ValueError, match="shape: expected 39 coefficients"):
        batches(crops, 2, Augment(), smaller)
    write_samples(tmp_path, [Sample(crops.image(0), "x", face=False)], smaller)
    with pytest.raises(ValueError, match=r"shape: expected 40 coefficients, as in .*, got 39"):
        Crops.open([made_crops, tmp_path])


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_placement_does_not_depend_on_which_landmarks_are_known(made_samples, tmp_path, face_model, flip):
    first = made_samples[1]
    points = Camera(first.camera).project(face_model.landmarks(first.shape, first.expression))[:, :2]
    inner = points.copy()
    inner[:17] = np.nan
    target = first.camera, first.shape, first.expression
    samples = [
        Sample(first.crop, "whole", *target, points),
        Sample(first.crop, "fitted, inner", *target, inner),
        Sample(first.crop, "inner", landmarks=inner),
    ]
    write_samples(tmp_path, samples, face_model)
    batch = make_batch(
        Crops.open([tmp_path]),
        np.arange(3),
        replace(Augment.none(), flip=flip),
        face_model,
        Mirror.of(face_model),
        np.random.default_rng(0),
    )
    for other in (1, 2):
        assert np.abs(batch.crops[other].astype(int) - batch.crops[0]).mean() < 0.5
        assert np.isnan(batch.landmarks[other, :17]).all()
        assert batch.landmarks[other, 17:] == pytest.approx(batch.landmarks[0, 17:], abs=0.05)


def test_photos_of_a_person_come_in_pairs():
    person = np.array(["", "a", "a", "b", "b", "c"])
    rows = np.array([1, 0, 4, 3, 5, 5, 0, 2])
    own = paired(rows, person, np.random.default_rng(0))
    # known are 1 4 | 3 5 | 5 2: of each pair, the second becomes another photo of the first's person
    assert own[[0, 1, 3, 5, 6]].tolist() == [1, 0, 3, 5, 0]
    assert own[2] == 2 and own[4] == 4
    assert own[7] == 2  # the person has no other photo
    assert rows.tolist() == [1, 0, 4, 3, 5, 5, 0, 2]


def test_batches_number_their_persons_and_pair_them(tmp_path, made_samples, face_model):
    samples = [replace(sample, person="ab"[k % 2] if k < 4 else "") for k, sample in enumerate(made_samples)]
    write_samples(tmp_path, samples, face_model)
    crops = Crops.open([tmp_path])
    assert crops.labels.person[:5].tolist() == ["a", "b", "a", "b", ""]
    batch = next(batches(crops, 12, Augment.none(), face_model, seed=1))
    names = crops.labels.person[batch.rows]
    assert ((batch.person == -1) == (names == "")).all()
    for number in set(batch.person.tolist()) - {-1}:
        assert len(set(names[batch.person == number].tolist())) == 1
    known = batch.rows[batch.person >= 0]
    assert (crops.labels.person[known[0 : len(known) // 2 * 2 : 2]] == crops.labels.person[known[1::2]]).all()


def test_landmarks_behind_an_object_or_outside_are_covered(crops, face_model):
    rows = np.flatnonzero(crops.labels.has_params & crops.labels.face)
    mirror = Mirror.of(face_model)

    def made(augment):
        return make_batch(crops, rows, augment, face_model, mirror, np.random.default_rng(2))

    clear = made(Augment.none())
    assert not clear.covered.any()
    hidden = made(replace(Augment.none(), occlusion=1.0))
    assert 0.02 < hidden.covered.mean() < 0.6
    # where a landmark is covered, its pixel has changed in most cases, elsewhere never
    x, y = np.rint(clear.landmarks).astype(int).transpose(2, 0, 1).clip(0, 119)
    changed = (clear.crops != hidden.crops).any(axis=3)[np.arange(len(rows))[:, None], y, x]
    assert changed[hidden.covered].mean() > 0.8 and changed[~hidden.covered].mean() < 0.05
    outside = made(replace(Augment.none(), scale=(0.5, 0.5)))
    expected = ((np.rint(outside.landmarks) < 0) | (np.rint(outside.landmarks) > 119)).any(axis=2)
    assert expected.any() and (outside.covered == expected).all()
