from dataclasses import replace

import numpy as np
import pytest

from tddfa.model.appearance import opacity, tone


@pytest.fixture(scope="module")
def model(aligner):
    return aligner.face_model


def ears(model):
    return np.concatenate([model.regions["left_ear"], model.regions["right_ear"]])


def test_the_rim_is_clear_and_the_face_is_opaque(model):
    values = opacity(model)
    assert values.dtype == np.float32
    for rim in ("forehead", "neck", "behind_ears"):
        assert (values[model.regions[f"rim_{rim}_0"]] == 0).mean() > 0.9, rim
    for part in ("left_eye", "right_eye", "nose", "lips", "left_brow"):
        assert (values[model.regions[part]] == 1).all(), part


def test_ears_are_faint_or_absent_and_their_edge_is_soft(model):
    behind = ears(model)[model.mean[ears(model), 2] < 0]
    assert np.percentile(opacity(model)[behind], 95) == pytest.approx(0.4, abs=0.01)
    assert opacity(model, ears=False)[behind].max() == 0
    for values in (opacity(model), opacity(model, ears=False)):
        inner = model.feather == 1
        edges = model.triangles[inner[model.triangles].all(axis=1)]
        assert np.percentile(np.ptp(values[edges], axis=1), 99.5) < 0.4


def test_both_sides_are_alike(model):
    values, tones = opacity(model), tone(model)
    for name in ("ear", "iris", "pupil", "eye"):
        sides = [model.regions[f"{side}_{name}"] for side in ("left", "right")]
        for of in (values, tones):
            assert of[sides[0]].mean() == pytest.approx(of[sides[1]].mean(), abs=0.03), name


def test_irises_and_lips_are_darker_than_skin(model):
    tones = tone(model)
    of = {name: float(np.median(tones[model.material == k])) for k, name in enumerate(model.material_names)}
    assert of["pupil"] < 0.3 < of["iris"] < 0.6 < of["lip"] < 0.9 < of["skin"] == 1 < of["sclera"]
    plain = (model.shade == 1) & (model.material == model.material_names.index("skin"))
    assert (tones[plain] == 1).mean() > 0.98
    assert (tones[model.shade < 1] <= model.shade[model.shade < 1]).all()


def test_models_without_parts(model):
    bare = replace(model, feather=None, regions={}, material=None, material_names=())
    assert opacity(bare) is None
    assert opacity(bare, ears=False) is None
    assert tone(bare) is None
    assert tone(replace(model, eye_centres=None)) is None
    np.testing.assert_array_equal(opacity(replace(model, regions={})), model.feather)
    featherless = replace(model, feather=None)
    assert opacity(featherless) is None
    assert opacity(featherless, ears=False)[ears(model)].min() == 0
