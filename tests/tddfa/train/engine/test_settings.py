import dataclasses

import pytest

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import build_settings
from tddfa.train.engine.settings import Schedule

OLD_KEYS = {
    "batch": "batch_size",
    "warm_up": "warmup_fraction",
    "last_rate": "final_lr_ratio",
    "clip": "max_grad_norm",
    "average": "ema_decay",
}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps: expected 1 or more, got 0"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number over 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: expected a number over 0"),
        ({"warmup_fraction": 1.5}, r"warmup_fraction: expected 0\.\.1"),
        ({"final_lr_ratio": -0.1}, r"final_lr_ratio: expected 0\.\.1"),
        ({"ema_decay": 2.0}, r"ema_decay: expected 0\.\.1"),
        ({"minutes": -1.0}, "minutes: expected a number over 0"),
        ({"seed": -1}, "seed: expected"),
    ],
)
def test_a_number_out_of_range_names_the_key(values, message):
    with pytest.raises(ConfigError, match=message):
        Schedule(**values)


@pytest.mark.parametrize(("old", "new"), OLD_KEYS.items())
def test_an_old_key_names_the_new_one(tmp_path, old, new):
    with pytest.raises(ConfigError, match=f"key '{old}' is now '{new}'"):
        build_settings(Schedule, {old: 1}, tmp_path / "training.yml")


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Schedule().steps = 3
