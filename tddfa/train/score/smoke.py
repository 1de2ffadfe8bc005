"""Smoke test of the score's training, on rendered heads."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tddfa._shared.files import write_atomic
from tddfa.evaluate.metrics import area_under_roc
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.synthetic import backdrop
from tddfa.train.detector.settings import Folders, ImageFolder
from tddfa.train.engine.settings import Schedule
from tddfa.train.engine.smoke import SmokeResult
from tddfa.train.regressor.smoke import made_crops
from tddfa.train.score.settings import ScoreSettings
from tddfa.train.score.task import EXPORTED, RIGHT, VALIDATION, WRONG, read_samples, train_score

_HEADS, _VALIDATION_HEADS, _ROOMS = 6, 2, 6
_SAMPLES, _STEPS, _BATCH = 512, 120, 128
_SIZE = 200


def smoke_settings(out: Path) -> ScoreSettings:
    """Make heads and rooms in a folder; return the settings of a training of the released regressor's score on them."""
    config = Config.load(config_path("open_mb05"))
    made_crops(out / "crops", FaceModel.load(verified(config.face_model)), _HEADS, _VALIDATION_HEADS)
    for k in range(2 * _ROOMS):
        done, data = cv2.imencode(".png", backdrop((_SIZE, _SIZE), seed=k))
        assert done
        write_atomic(out / f"rooms/{k:02d}.png", data.tobytes())
    crops = (ImageFolder(out / "crops"),)
    return ScoreSettings(
        data=Folders(crops=crops, empty=(ImageFolder(out / "rooms", last=0.5),)),
        validation=Folders(crops=crops, empty=(ImageFolder(out / "rooms", first=0.5),)),
        init=verified(config.model),
        face_model=config.face_model,
        samples=_SAMPLES,
        validation_samples=_SAMPLES // 2,
        hidden=16,
        workers=0,
        schedule=Schedule(
            steps=_STEPS, batch_size=_BATCH, learning_rate=3e-3, ema_decay=0.9, validate_every=_STEPS, log_every=10
        ),
    )


def smoke(out: Path) -> SmokeResult:
    """Train the score on rendered heads, and compare the exported network with the released one.

    Parameters
    ----------
    out : Path
        Folder for the images, samples, checkpoints, log and the exported network.
    """
    settings = smoke_settings(out)
    outcome = train_score(settings, out, show=False)
    if not outcome.finished:
        return SmokeResult(False, outcome)
    released, trained = (Model(path, "cpu", threads=1) for path in (settings.init, out / EXPORTED))
    crops = np.random.default_rng(0).integers(0, 256, (8, 120, 120, 3), np.uint8)
    before, after = released(crops), trained(crops)
    equal = all(np.array_equal(before[name], after[name]) for name in before if name != "score")
    samples = read_samples(out / VALIDATION)
    auc = area_under_roc(samples.score[samples.error < RIGHT], samples.score[samples.error > WRONG])
    lines = (
        f"loss {outcome.first_loss:.3f} -> {outcome.last_loss:.3f}",
        f"AUC of crops of other heads {auc:.4f} -> {outcome.validation['auc']:.4f}",
        f"other outputs {'equal to the bit' if equal else 'changed'}",
    )
    right = min(outcome.validation["right"], outcome.validation["wrong"]) > 75
    return SmokeResult(equal and right and outcome.last_loss < outcome.first_loss, outcome, lines)
