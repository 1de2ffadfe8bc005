"""Smoke test of JVCR's training, on rendered heads: all three stages and the export."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tddfa.evaluate.metrics import ground_truth_error
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.train.data.augment import Augment
from tddfa.train.data.batches import in_order
from tddfa.train.data.crops import Crops
from tddfa.train.engine.settings import Folder, Schedule
from tddfa.train.engine.smoke import SmokeResult
from tddfa.train.jvcr.data import points_of
from tddfa.train.jvcr.settings import JvcrLosses, JvcrSettings, NetworkSettings, Stages, StageSettings
from tddfa.train.jvcr.task import EXPORTED, train_jvcr
from tddfa.train.regressor.smoke import made_crops

_STEPS, _BATCH, _HEADS, _VALIDATION_HEADS = 240, 16, 12, 3


def smoke_settings(data: Path, face_model: Path, steps: int = _STEPS) -> JvcrSettings:
    """Settings of a training from scratch of a very small network."""
    return JvcrSettings(
        data=(Folder(data),),
        face_model=face_model,
        workers=0,
        network=NetworkSettings(
            size=64, depths=(1, 16), features=24, block="separable", coordinate_features=(16, 32, 32)
        ),
        losses=JvcrLosses(coordinates="l1", volumes=1.0, foreground=10.0),
        augment=Augment(shift=0.05, scale=(0.9, 1.1), roll_fraction=0.0, occlusion=0.0, low_resolution=0.0),
        stages=Stages(StageSettings(0.3), StageSettings(0.4), StageSettings(0.3)),
        schedule=Schedule(
            steps=steps, batch_size=_BATCH, learning_rate=4e-3, ema_decay=0.9, validate_every=steps, log_every=10
        ),
    )


def smoke(out: Path) -> SmokeResult:
    """Train on rendered heads, export, and measure the exported network on other heads.

    Parameters
    ----------
    out : Path
        Folder for the crops, checkpoints, logs and the network.
    """
    config = Config.load(config_path("open_mb05"))
    model = FaceModel.load(verified(config.face_model))
    crops = made_crops(out / "crops", model, _HEADS, _VALIDATION_HEADS)
    settings = smoke_settings(crops, config.face_model)
    outcome = train_jvcr(settings, out)
    if not outcome.finished:
        return SmokeResult(False, outcome)
    mean_face, predicted = heldout_errors(out / EXPORTED, crops, model, settings.network.size)
    lines = (
        f"loss of the joint stage {outcome.first_loss:.3f} -> {outcome.last_loss:.3f}",
        f"GTE of held-out heads {predicted:.1f} %; of the mean of all heads {mean_face:.1f} %",
    )
    return SmokeResult(outcome.last_loss < outcome.first_loss and predicted < mean_face, outcome, lines)


def heldout_errors(network: Path, folder: Path, model: FaceModel, size: int) -> tuple[float, float]:
    """Mean GTE, %, of the mean points of the training heads, and of an exported network, on the validation heads."""
    exported = Model(network, device="cpu", threads=1)
    crops = Crops.open([folder])
    (train,), (held_out,) = (
        list(in_order(crops.split(validation=own), len(crops), model, size)) for own in (False, True)
    )
    mean = points_of(train, model)[train.has_params & train.face][:, :68].mean(axis=0)
    points = points_of(held_out, model)[:, :68]
    predicted = exported(held_out.crops)["points"][:, :68]
    return (
        float(np.mean([ground_truth_error(mean, own) for own in points])),
        float(np.mean([ground_truth_error(own, target) for own, target in zip(predicted, points, strict=True)])),
    )
