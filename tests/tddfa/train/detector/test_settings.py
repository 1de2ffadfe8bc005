from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import load_settings
from tddfa.train.detector.export import load_onnx
from tddfa.train.detector.settings import DetectorSettings

REQUIRED = "data: {boxes: [{folder: a}]}\nvalidation: {boxes: [{folder: a}]}\n"


def load(folder, text):
    path = folder / "training.yml"
    path.write_text(text, encoding="utf-8")
    return load_settings(DetectorSettings, path)


@pytest.mark.parametrize("name", ["faceboxes", "faceboxes_poses", "faceboxes_narrow"])
def test_the_shipped_settings_are_read(root, name):
    settings = load_settings(DetectorSettings, root / f"configs/train/{name}.yml")
    assert settings.data.boxes and settings.data.crops and settings.data.empty
    # what is kept for the choice of settings and for reports is not trained on
    allowed = {"detect": 0.6, "lfpw": 0.6, "negatives": 0.5}
    for _, part in settings.data.parts():
        assert part.last <= allowed.get(part.folder.name, 1.0)


def test_the_shipped_network_has_the_settings_size(root):
    first, last = (
        load_settings(DetectorSettings, root / f"configs/train/{name}.yml") for name in ("faceboxes", "faceboxes_poses")
    )
    blocks = tuple(map(sum, zip(first.architecture.blocks, last.added_blocks, strict=True)))
    network = load_onnx(root / "weights/faceboxes.onnx")
    assert network.architecture == replace(first.architecture, blocks=blocks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {}\nvalidation: {}", "data, validation: expected at least one folder"),
        ("data: {cats: []}\nvalidation: {}", "unknown key 'cats'"),
        ("data: {boxes: [{folder: a, first: 0.8, last: 0.2}]}\nvalidation: {}", "expected 0 <= first < last <= 1"),
        (REQUIRED + "augment: {noise: 0.5}", r"augment\.noise: expected 0, because it is for crops only, got 0\.5"),
        (REQUIRED + "teacher_weight: 0", "teacher_weight: expected a number over 0"),
        (REQUIRED + "narrow_to: [8, 8, 8, 8]", "narrow_to: expected init, the trained network to narrow, got none"),
        (REQUIRED + "more: 1", "unknown key 'more'"),
        (REQUIRED + "box_weight: 0", "box_weight: expected a number over 0"),
        (REQUIRED + "points_weight: -1", "points_weight: expected a number over 0"),
        (REQUIRED + "architecture: {stem_side: 4}", "odd stem_side"),
        (REQUIRED + "layout: {face_size: [0.5, 0.1]}", r"layout\.face_size: expected minimum and maximum"),
    ],
)
def test_a_wrong_value_names_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
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
