from dataclasses import replace
from pathlib import Path

import pytest

from tddfa._shared.errors import ConfigError
from tddfa._shared.settings import build_settings, load_settings
from tddfa.train.engine.settings import Folder
from tddfa.train.multiview.settings import MultiviewSettings, ViewSettings
from tddfa.train.regressor.settings import MetaJoint, RegressorSettings


def test_the_shipped_settings_are_read(root):
    settings = load_settings(MultiviewSettings, root / "configs/train/multiview.yml")
    assert settings.regressor.init == root / "weights/open_mb05.onnx"
    before = load_settings(RegressorSettings, root / "configs/train/turned_faces.yml")
    for name in ("data", "loss_weights", "augment", "yaw_balance"):
        assert getattr(settings.regressor, name) == getattr(before, name), name
    assert settings.views == replace(ViewSettings(), weight=0.6), "the file lists the other defaults"
    assert (settings.views.views_per_step, settings.views.source_views) == (32, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views_per_step": 4}, "views_per_step: expected 5 or more, got 4"),
        ({"source_views": 1}, "source_views: expected 2 or more, got 1"),
        ({"views_per_head": 31}, "views_per_head: expected 32 or more, got 31"),
        ({"heads": 0}, "heads: expected 1 or more, got 0"),
        ({"validation_heads": 0}, "validation_heads: expected 1 or more, got 0"),
        ({"weight": -1.0}, "weight: expected a number from 0 on, got -1"),
        ({"jaw_weight": float("nan")}, "jaw_weight: expected a number from 0 on, got nan"),
    ],
)
def test_a_number_out_of_range_names_the_key(change, message):
    with pytest.raises(ConfigError, match=message):
        ViewSettings(**change)


@pytest.mark.parametrize(
    ("old", "new"),
    [("kept", "views_per_head"), ("count", "views_per_step"), ("sources", "source_views"), ("jaw", "jaw_weight")],
)
def test_an_old_key_names_the_new_one(tmp_path, old, new):
    content = {"regressor": {"data": [], "face_model": "f.npz", "init": "i.onnx"}, "views": {old: 1}}
    with pytest.raises(ConfigError, match=f"views: key '{old}' is now '{new}'"):
        build_settings(MultiviewSettings, content, tmp_path / "training.yml")


def test_fine_tuning_needs_a_network_and_no_meta_joint_optimisation():
    settings = RegressorSettings((Folder(Path("x")),), Path("x"))
    with pytest.raises(ConfigError, match=r"regressor\.init: expected a network to fine-tune"):
        MultiviewSettings(settings)
    with pytest.raises(ConfigError, match=r"regressor\.meta_joint: expected none"):
        MultiviewSettings(replace(settings, init=Path("x"), meta_joint=MetaJoint(steps=2)))
