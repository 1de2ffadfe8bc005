import pytest

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import load_settings
from tddfa.train.detector.settings import DetectorSettings

REQUIRED = "data: {boxes: [{folder: a}]}\nvalidation: {boxes: [{folder: a}]}\n"


def load(folder, text):
    path = folder / "training.yml"
    path.write_text(text, encoding="utf-8")
    return load_settings(DetectorSettings, path)


@pytest.mark.parametrize("name", ["faceboxes", "faceboxes_large"])
def test_the_shipped_settings_are_read(root, name):
    settings = load_settings(DetectorSettings, root / f"configs/train/{name}.yml")
    assert settings.init == root / "weights/faceboxes.onnx" and settings.init.is_file()
    assert settings.data.boxes and settings.data.crops
    # the parts of shared data that are kept for evaluation are not trained on
    assert all(part.last <= 0.7 for _, part in settings.data.parts() if "eval" in part.folder.parts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {}\nvalidation: {}", "data, validation: expected one folder at least"),
        ("data: {cats: []}\nvalidation: {}", "unknown key 'cats'"),
        ("data: {boxes: [{folder: a, first: 0.8, last: 0.2}]}\nvalidation: {}", "expected 0 <= first < last <= 1"),
        (
            "data: {boxes: [{folder: a}]}\nvalidation: {unlabelled: [{folder: a}]}",
            "validation: expected labelled images, got unlabelled ones",
        ),
        (REQUIRED + "augment: {noise: 0.5}", r"augment\.noise: expected 0, it is for crops; got 0\.5"),
        (REQUIRED + "more: 1", "unknown key 'more'"),
        (REQUIRED + "feature_maps: [3]", "feature_maps: expected some of 0, 1, 2"),
        (REQUIRED + "init_fraction: 0.5", r"init_fraction: expected 0\.\.1, and init"),
        (REQUIRED + "box_weight: 0", "box_weight: expected a number over 0"),
        (REQUIRED + "negative_ratio: -1", "negative_ratio: expected a number over 0"),
        (REQUIRED + "layout: {face_size: [0.5, 0.1]}", r"layout\.face_size: expected least and largest"),
    ],
)
def test_a_wrong_value_names_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ratio: 7", "key 'ratio' is now 'negative_ratio'"),
        ("place: 2", "key 'place' is now 'box_weight'"),
        ("maps: [0]", "key 'maps' is now 'feature_maps'"),
        ("init_share: 0.5", "key 'init_share' is now 'init_fraction'"),
        ("logits: [0, 0, 0]", "key 'logits' is now 'logit_shifts'"),
        ("layout: {mosaic: 0.5}", "layout: key 'mosaic' is now 'mosaic_fraction'"),
        ("layout: {most_cells: 3}", "layout: key 'most_cells' is now 'max_cells'"),
        ("layout: {face: [0.1, 1]}", "layout: key 'face' is now 'face_size'"),
        ("layout: {anywhere: 0.5}", "layout: key 'anywhere' is now 'random_window_fraction'"),
        ("layout: {roll_share: 0.5}", "layout: key 'roll_share' is now 'roll_fraction'"),
        ("layout: {roll: 90}", "layout: key 'roll' is now 'max_roll'"),
        ("augment: {grey: 0.5}", "augment: key 'grey' is now 'grayscale'"),
        ("schedule: {clip: 5}", "schedule: key 'clip' is now 'max_grad_norm'"),
    ],
)
def test_an_old_key_names_the_new_one(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, REQUIRED + text)
