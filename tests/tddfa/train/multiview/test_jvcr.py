"""Multiview-consistent fine-tuning of a network of JVCR: the module works with any network that predicts landmarks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tddfa._shared.settings import load_settings  # noqa: E402
from tddfa.model.face_model import FaceModel  # noqa: E402
from tddfa.model.runtime import Model  # noqa: E402
from tddfa.train.engine.checkpoint import CheckpointError, save_checkpoint  # noqa: E402
from tddfa.train.jvcr.networks import Jvcr  # noqa: E402
from tddfa.train.jvcr.settings import NetworkSettings  # noqa: E402
from tddfa.train.jvcr.smoke import smoke_settings  # noqa: E402
from tddfa.train.multiview.settings import MultiviewSettings, ViewSettings  # noqa: E402
from tddfa.train.multiview.task import export_again, finetune  # noqa: E402
from tddfa.train.regressor.smoke import made_crops  # noqa: E402

ROOT = Path(__file__).resolve().parents[4]
FACE_MODEL = ROOT / "configs" / "open_face.npz"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of eight steps from a network that predicts about the same points for every crop."""
    folder = tmp_path_factory.mktemp("multiview")
    own = smoke_settings(made_crops(folder / "crops", FaceModel.load(FACE_MODEL), 3, 1), FACE_MODEL)
    own = replace(own, schedule=replace(own.schedule, steps=8, batch_size=4, validate_every=8, log_every=2))
    torch.manual_seed(0)
    network = Jvcr(own.network)
    network.coordinates.start_from(torch.rand(71, 3) * 40 + 12)
    state = {"kind": "jvcr", "describe": network.describe(), "network": network.state_dict()}
    views = ViewSettings(heads=2, validation_heads=1, views_per_head=6, views_per_step=6, weight=1.0)
    return MultiviewSettings(jvcr=own, checkpoint=save_checkpoint(folder / "best.pt", state), views=views)


def test_views_pull_the_network_together(settings, tmp_path):
    outcome = finetune(settings, tmp_path, show=False)
    assert outcome.finished
    assert {"crops", "gte", "views", "reprojection", "spread"} <= outcome.start.keys()
    assert outcome.validation["views"] < outcome.start["views"]
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    terms = [row for row in rows if row["part"] == "train"]
    assert {"coordinates", "volume_1", "volume_2", "view_projection", "view_source", "view_landmarks"} <= terms[
        0
    ].keys()
    assert terms[-1]["view_landmarks"] < terms[0]["view_landmarks"]
    exported = Model(tmp_path / settings.exported, device="cpu", threads=1)
    assert exported(np.zeros((2, 64, 64, 3), np.uint8))["points"].shape == (2, 71, 3)


def test_weight_0_leaves_the_views_out(settings, tmp_path):
    own = replace(settings.jvcr, schedule=replace(settings.jvcr.schedule, steps=2))
    finetune(replace(settings, jvcr=own, views=replace(settings.views, weight=0.0)), tmp_path, show=False)
    assert "view_projection" not in (tmp_path / "log.jsonl").read_text()


def test_the_network_is_that_of_the_checkpoint(settings, tmp_path):
    """Whatever network the settings name: its crops have another size."""
    own = replace(settings.jvcr, network=NetworkSettings(), schedule=replace(settings.jvcr.schedule, steps=1))
    other = replace(settings, jvcr=own)
    finetune(other, tmp_path, show=False)
    assert Model(export_again(tmp_path, other), "cpu", 1)(np.zeros((1, 64, 64, 3), np.uint8))["points"].shape[1] == 71


def test_another_checkpoint_is_refused(settings, tmp_path):
    path = save_checkpoint(tmp_path / "best.pt", {"kind": "regressor", "describe": {}, "network": {}})
    with pytest.raises(CheckpointError, match="expected a checkpoint of a jvcr"):
        finetune(replace(settings, checkpoint=path), tmp_path / "out", show=False)


def test_settings_name_one_network(settings):
    assert load_settings(MultiviewSettings, ROOT / "configs/train/multiview_jvcr.yml").jvcr.network.size == 128
    with pytest.raises(ValueError, match="regressor, jvcr: expected one of them"):
        replace(settings, jvcr=None)
    with pytest.raises(ValueError, match="checkpoint: expected a file for jvcr"):
        replace(settings, checkpoint=None)
