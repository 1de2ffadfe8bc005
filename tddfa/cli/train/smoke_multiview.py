"""Multiview-consistent fine-tuning from end to end in under a minute, on heads made for it."""

from __future__ import annotations

from pathlib import Path

from tddfa.cli._common import print_line
from tddfa.cli.train._training import report
from tddfa.cli.train.smoke_regressor import made_crops
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.train.data.augment import Augment
from tddfa.train.engine.settings import Folder, Schedule
from tddfa.train.labels.agreement import projected_landmarks
from tddfa.train.multiview.data import ViewBatch, rendered_heads, validation_views
from tddfa.train.multiview.settings import MultiviewSettings, ViewSettings
from tddfa.train.multiview.task import finetune, view_errors
from tddfa.train.regressor.settings import RegressorSettings
from tddfa.train.regressor.task import EXPORTED

_STEPS, _BATCH = 24, 16
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
            (Folder(data),), config.face_model, init=config.model, workers=0, vertices=100,
            augment=Augment.none(), schedule=schedule,
        ),
        ViewSettings(heads=3, validation_heads=1, views_per_head=8, views_per_step=8),
    )  # fmt: skip


def smoke(out: Path) -> bool:
    """Fine-tune the released regressor on made heads, export, and tell whether views of another one agree better.

    Parameters
    ----------
    out : Path
        Folder for the crops, checkpoints, log and the exported network.
    """
    config = Config.load(config_path("open_mb05"))
    model = FaceModel.load(verified(config.face_model))
    outcome = finetune(smoke_settings(made_crops(out / "crops", model), config), out)
    report(outcome, "labelled crops")
    if not outcome.finished:
        return False
    (head,) = rendered_heads(model, 1, _MEASURED_VIEWS, seed=1000)
    views = validation_views(head, _MEASURED_VIEWS)
    before, after = (_measured(path, model, views) for path in (config.model, out / EXPORTED))
    print_line(f"loss {outcome.first_loss:.2f} -> {outcome.last_loss:.2f}")
    for name, was in before.items():
        print_line(f"{name} of a head never seen {was:.3f} -> {after[name]:.3f}")
    return outcome.last_loss < outcome.first_loss and all(after[name] < was for name, was in before.items())


def _measured(path: Path, model: FaceModel, views: ViewBatch) -> dict[str, float]:
    """Error and disagreement of a network's file."""
    said = Model(path, device="cpu", threads=1)(views.crops)
    points = projected_landmarks(model, said["camera"], said["shape"], said["expression"])
    found = points @ views.to_view[:, :, :2].transpose(0, 2, 1) + views.to_view[:, None, :, 2]
    return view_errors(found, views)
