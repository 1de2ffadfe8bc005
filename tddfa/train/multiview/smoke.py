"""Smoke test of multiview-consistent fine-tuning, on rendered heads."""

from __future__ import annotations

from pathlib import Path

from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.train.data.augment import Augment
from tddfa.train.engine.settings import Folder, Schedule
from tddfa.train.engine.smoke import SmokeResult
from tddfa.train.labels.agreement import projected_landmarks
from tddfa.train.multiview.data import ViewBatch, rendered_heads, validation_views
from tddfa.train.multiview.settings import MultiviewSettings, ViewSettings
from tddfa.train.multiview.task import finetune, view_errors
from tddfa.train.regressor.settings import RegressorSettings
from tddfa.train.regressor.smoke import made_crops
from tddfa.train.regressor.task import EXPORTED

_HEADS, _VALIDATION_HEADS = 6, 1
_STEPS, _BATCH = 12, 16
_MEASURED_VIEWS = 12


def smoke_settings(data: Path, config: Config) -> MultiviewSettings:
    """Settings of a fine-tuning on `made_crops`."""
    schedule = Schedule(
        steps=_STEPS,
        batch_size=_BATCH,
        learning_rate=1.5e-4,
        ema_decay=0.8,
        validate_every=_STEPS,
        log_every=_STEPS // 5,
    )
    return MultiviewSettings(
        RegressorSettings(
            (Folder(data),),
            config.face_model,
            init=config.model,
            workers=0,
            vertices=100,
            augment=Augment.none(),
            schedule=schedule,
        ),
        ViewSettings(heads=3, validation_heads=1, views_per_head=8, views_per_step=8),
    )


def smoke(out: Path) -> SmokeResult:
    """Fine-tune the released regressor on rendered heads, export, and measure it on views of another head.

    Parameters
    ----------
    out : Path
        Folder for the crops, checkpoints, log and the exported network.
    """
    config = Config.load(config_path("open_mb05"))
    model = FaceModel.load(verified(config.face_model))
    crops = made_crops(out / "crops", model, _HEADS, _VALIDATION_HEADS)
    outcome = finetune(smoke_settings(crops, config), out)
    if not outcome.finished:
        return SmokeResult(False, outcome)
    (head,) = rendered_heads(model, 1, _MEASURED_VIEWS, seed=1000)
    views = validation_views(head, _MEASURED_VIEWS)
    before, after = (_measured(path, model, views) for path in (config.model, out / EXPORTED))
    lines = (
        f"loss {outcome.first_loss:.2f} -> {outcome.last_loss:.2f}",
        *(f"{name} of a held-out head {before[name]:.3f} -> {after[name]:.3f}" for name in before),
    )
    better = all(after[name] < before[name] for name in before)
    return SmokeResult(outcome.last_loss < outcome.first_loss and better, outcome, lines)


def _measured(path: Path, model: FaceModel, views: ViewBatch) -> dict[str, float]:
    """Errors of an exported network on views of one head (`view_errors`)."""
    outputs = Model(path, device="cpu", threads=1)(views.crops)
    points = projected_landmarks(model, outputs["camera"], outputs["shape"], outputs["expression"])
    predicted = points @ views.to_view[:, :, :2].transpose(0, 2, 1) + views.to_view[:, None, :, 2]
    return view_errors(predicted, views)
