from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tddfa import Aligner, Decoder
from tddfa.geometry.camera import Camera
from tddfa.landmarks68 import MIRRORED
from tddfa.train.data.crops import Crops
from tddfa.train.labels.convention import aligned_pairs, landmark_offsets, matching_pairs


@pytest.fixture
def offsets(rng):
    """Known, symmetric offsets."""
    one = rng.normal(0, 0.4, (68, 3))
    one[17:, 2] -= np.median(one[17:, 2])
    return (one + one[MIRRORED] * (-1, 1, 1)) / 2


@pytest.fixture
def pairs(aligner, astronaut, offsets, rng):
    """A face at many poses, and another model's landmarks of it: depth from elsewhere, and noise."""
    (face,) = aligner(astronaut)
    solid = aligner.face_model.landmarks(face.params.shape, face.params.expression)

    def pair():
        camera = Camera.from_pose(*rng.uniform(-40, 40, 3), rng.uniform(5, 50), rng.normal(0, 100, 3))
        theirs = camera.project((solid + offsets + rng.normal(0, 0.02, (68, 3))).astype(np.float32))
        theirs[:, 2] += rng.normal(0, 1000)
        return replace(face, camera=camera, landmarks=camera.project(solid)), replace(face, landmarks=theirs)

    return [pair() for _ in range(60)]


def test_known_offsets_are_recovered(pairs, offsets):
    measured = landmark_offsets(pairs)
    assert measured.dtype == np.float32
    # depth is counted from the median of the inner landmarks, which noise moves a little
    np.testing.assert_allclose(measured, offsets, atol=0.06)
    np.testing.assert_allclose(measured[MIRRORED] * (-1, 1, 1), measured, atol=1e-6)


def test_a_lost_face_does_not_count(pairs):
    own, theirs = pairs[0]
    lost = own, replace(theirs, landmarks=theirs.landmarks + np.float32(1e4))
    assert matching_pairs([*pairs, lost]) == pairs
    np.testing.assert_array_equal(landmark_offsets(matching_pairs([lost, *pairs])), landmark_offsets(pairs))
    for none in ([], [lost]):
        with pytest.raises(ValueError, match="pairs: expected faces"):
            landmark_offsets(matching_pairs(none))


def test_labels_must_be_of_one_of_the_models(aligner, made_crops):
    crops = Crops.open([made_crops])
    crops = crops.take(crops.labels.has_params)
    tables = {"arkit_table": None, "mirror_expression": None}
    bare = replace(aligner.face_model, basis=aligner.face_model.basis[:41], expression_names=("jawOpen",), **tables)
    other = Aligner(aligner.regressor, Decoder(bare, aligner.crop))
    with pytest.raises(ValueError, match="got 40 shapes and 55 expressions"):
        aligned_pairs(crops, other, other)
