import dataclasses
from pathlib import Path

import pytest

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import load_settings
from tddfa.train.engine.settings import Folder, Schedule
from tddfa.train.regressor.settings import LossWeights, RegressorSettings

LEAST = "data: [{folder: crops}]\nface_model: ../face.npz\n"


def written(folder, text):
    path = folder / "training.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file_and_what_is_left_out_is_default(tmp_path):
    settings = load_settings(RegressorSettings, written(tmp_path, LEAST))
    assert settings == RegressorSettings((Folder(tmp_path / "crops"),), tmp_path.parent / "face.npz")


def test_nested_keys_numbers_and_none(tmp_path):
    text = LEAST + "init: null\nloss_weights: {eyelids: 3, wpdc: 0.5}\nschedule: {minutes: 80, batch_size: 128}\n"
    text += "augment: {scale: [1, 2]}\n"
    settings = load_settings(RegressorSettings, written(tmp_path, text))
    assert settings.init is None
    assert settings.loss_weights == LossWeights(eyelids=3.0, wpdc=0.5)
    assert settings.schedule == Schedule(minutes=80.0, batch_size=128)
    assert settings.augment.scale == (1.0, 2.0)


def test_the_shipped_settings_are_understood_and_find_the_face_model(root):
    settings = load_settings(RegressorSettings, root / "configs/train/open_mb05.yml")
    assert settings.face_model == root / "configs/open_face.npz"
    assert settings.width == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("face_model: a.npz\n", "missing key 'data'"),
        (LEAST + "epochs: 3\n", "unknown key 'epochs'"),
        (LEAST + "schedule: {step: 3}\n", "schedule: unknown key 'step'"),
        (LEAST + "schedule: {steps: many}\n", "schedule.steps: expected a whole number, got 'many'"),
        (LEAST + "schedule: {steps: 0}\n", "steps: expected 1 or more, got 0"),
        (LEAST + "schedule: {learning_rate: .nan}\n", "learning_rate: expected a number over 0"),
        (LEAST + "schedule: {minutes: -1}\n", "minutes: expected a number over 0"),
        (LEAST + "loss_weights: {eyes: -1}\n", "eyes: expected a number from 0 on"),
        (LEAST + "meta_joint: {steps: -1}\n", "steps: expected 0 or more"),
        (LEAST + "augment: {flip: 2}\n", "flip: expected a share of 0..1"),
        (LEAST + "augment: {scale: [1]}\n", "augment.scale: expected a list of 2"),
        (LEAST + "workers: true\n", "workers: expected a whole number, got True"),
        (LEAST + "yaw_balance: 1.5\n", "yaw_balance: expected 0..1"),
        (LEAST.replace("crops", "''"), "folder: expected a path, got ''"),
        ("data: crops\nface_model: a.npz\n", "data: expected a list, got 'crops'"),
        ("- a\n", "expected keys and values"),
        ("a: [\n", "not a readable yml file"),
        ("#" * 70_000, "expected a yml file of at most"),
    ],
)
def test_what_is_not_understood_names_file_and_key(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_settings(RegressorSettings, path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yml"):
        load_settings(RegressorSettings, Path(tmp_path / "nothing.yml"))


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schedule().steps = 3
