import pytest

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import load_settings
from tddfa.train.engine.settings import Folder, Schedule
from tddfa.train.regressor.settings import LossWeights, RegressorSettings

REQUIRED = "data: [{folder: crops}]\nface_model: ../face.npz\n"


def load(folder, text):
    path = folder / "training.yml"
    path.write_text(text, encoding="utf-8")
    return load_settings(RegressorSettings, path)


def test_paths_are_relative_to_the_file_and_other_keys_have_defaults(tmp_path):
    assert load(tmp_path, REQUIRED) == RegressorSettings((Folder(tmp_path / "crops"),), tmp_path.parent / "face.npz")


def test_nested_keys_are_read(tmp_path):
    settings = load(
        tmp_path,
        REQUIRED + "init: null\nloss_weights: {eyelids: 3, wpdc: 0.5}\nschedule: {minutes: 80, batch_size: 128}\n"
        "augment: {scale: [1, 2]}\n",
    )
    assert settings.init is None
    assert settings.loss_weights == LossWeights(eyelids=3.0, wpdc=0.5)
    assert settings.schedule == Schedule(minutes=80.0, batch_size=128)
    assert settings.augment.scale == (1.0, 2.0)


@pytest.mark.parametrize("name", ["open_mb05", "jaw", "turned_faces"])
def test_the_shipped_settings_are_read(root, name):
    settings = load_settings(RegressorSettings, root / f"configs/train/{name}.yml")
    assert settings.face_model == root / "configs/open_face.npz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("face_model: a.npz\n", "missing key 'data'"),
        (REQUIRED + "epochs: 3\n", "unknown key 'epochs'"),
        (REQUIRED + "schedule: {steps: 0}\n", "schedule.steps: expected 1 or more, got 0"),
        (REQUIRED + "loss_weights: {eyes: -1}\n", "loss_weights.eyes: expected a number from 0 on"),
        (REQUIRED + "meta_joint: {steps: -1}\n", "meta_joint.steps: expected 0 or more"),
        (REQUIRED + "augment: {flip: 2}\n", "flip: expected a"),
        (REQUIRED + "workers: -1\n", "workers: expected 0 or more"),
        (REQUIRED + "vertices: 0\n", "vertices: expected 1 or more"),
        (REQUIRED + "training_side: 500\n", "training_side: expected at most 120"),
        (REQUIRED + "yaw_balance: 1.5\n", "yaw_balance: expected 0..1"),
    ],
)
def test_a_wrong_value_names_the_file_and_the_key(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert str(tmp_path / "training.yml") in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("balance: 0", "key 'balance' is now 'yaw_balance'"),
        ("loss: {}", "key 'loss' is now 'loss_weights'"),
        ("loss_weights: {lids: 1}", "loss_weights: key 'lids' is now 'eyelids'"),
        ("schedule: {average: 0.9}", "schedule: key 'average' is now 'ema_decay'"),
        ("augment: {roll_share: 0.2}", "augment: key 'roll_share' is now 'roll_fraction'"),
        ("augment: {roll: 20}", "augment: key 'roll' is now 'max_roll'"),
        ("augment: {grey: 0.1}", "augment: key 'grey' is now 'grayscale'"),
        ("augment: {light: 0.1}", "augment: key 'light' is now 'lighting'"),
        ("augment: {occluder: 0.1}", "augment: key 'occluder' is now 'occlusion'"),
    ],
)
def test_an_old_key_names_the_new_one(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, REQUIRED + text)
