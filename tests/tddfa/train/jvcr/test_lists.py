import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from tddfa.cli import main
from tddfa.landmarks68 import MIRRORED
from tddfa.model.mirror import Mirror
from tddfa.train.data.augment import Augment
from tddfa.train.data.batches import in_order, make_batch
from tddfa.train.data.crops import Crops
from tddfa.train.jvcr.data import PointMaker, points_of
from tddfa.train.jvcr.lists import listed_samples


@pytest.fixture
def listed(tmp_path, aligner, astronaut):
    """A list of two entries of one photo, in JVCR's convention of z, and the face in ours."""
    cv2.imwrite(str(tmp_path / "photo.png"), astronaut)
    (face,) = aligner(astronaut)
    points = (face.landmarks * [1, 1, -1]).tolist()
    entry = {"img_paths": "photo.png", "landmarks": points, "objpos": [1, 2], "scale_provided": 1.0}
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{**entry, "isValidation": False}, {**entry, "isValidation": True}]))
    return path, face


@pytest.fixture
def crops(listed, tmp_path):
    path, _ = listed
    out = tmp_path / "out"
    assert main(["train", "prepare", "listed", str(out), "--list", str(path), "--photos", str(tmp_path)]) == 0
    return Crops.open([out])


def test_points_of_a_list(listed, crops, aligner):
    _, face = listed
    assert crops.labels.validation.tolist() == [False, True]
    assert not crops.labels.has_params.any()
    (batch,) = list(in_order(crops, 2, aligner.face_model, 64))
    points = points_of(batch, aligner.face_model)[0, :68]
    scale = 64 / (1.25 * np.ptp(face.landmarks[:, :2], axis=0).max())
    expected = face.landmarks * scale
    assert np.allclose(points - points.mean(axis=0), expected - expected.mean(axis=0), atol=0.01)
    assert points[30, 2] > points[0, 2]  # the nose is nearer than the ear


def test_depth_flips_with_the_crop(crops, aligner):
    model = aligner.face_model
    mirror = Mirror.of(model)
    flip = Augment(**{**vars(Augment.none()), "flip": 1.0})
    plain, flipped = (
        make_batch(crops, np.array([0]), augment, model, mirror, np.random.default_rng(0), 64)
        for augment in (Augment.none(), flip)
    )
    assert np.allclose(flipped.depth, plain.depth[:, MIRRORED], atol=1e-3)


def test_the_coordinate_stage_takes_lists(crops, aligner):
    maker = PointMaker.of(crops, aligner.face_model, 4, 64, Augment.none(), balance=0.0, max_turn=0.0, seed=0)
    points = maker.batch(0).points
    assert np.isfinite(points).all()
    assert np.ptp(points[:, :68, 2], axis=1).min() > 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a JSON list that can be read"),
        ("{}", "expected a list of objects, got dict"),
        ('[{"landmarks": []}]', "entry 0: img_paths: expected the path of a photo, got None"),
        ('[{"img_paths": "a.png", "landmarks": [[1, 2]]}]', "entry 0: landmarks: expected 68 rows of three numbers"),
        (json.dumps([{"img_paths": "a.png", "landmarks": 68 * [[1, 2, 3]]}]), "expected points apart"),
        (json.dumps([{"img_paths": "a.png", "landmarks": 68 * [[10**400, 2, 3]]}]), "digits, got one of 401"),
    ],
)
def test_bad_lists_are_named(tmp_path, content, message):
    path = tmp_path / "list.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        list(listed_samples(path, tmp_path, "made"))


def test_missing_photos_are_named(tmp_path):
    points = np.arange(68 * 3).reshape(68, 3).tolist()
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"img_paths": "gone.png", "landmarks": points}]))
    with pytest.raises(FileNotFoundError, match=r"gone.png: no such photo; .*entry 0 lists it"):
        list(listed_samples(path, tmp_path, "made"))
