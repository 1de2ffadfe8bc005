"""Smoke test of the scan landmarker's training, on synthetic scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.scan.decoding import decode
from tddfa.scan.head import mean_landmarks
from tddfa.synthetic.scans import ScanSettings
from tddfa.train.engine.settings import Schedule
from tddfa.train.engine.smoke import SmokeResult
from tddfa.train.scan.data import ScanBatches
from tddfa.train.scan.settings import ScanTrainingSettings
from tddfa.train.scan.shards import read_scans, write_scans
from tddfa.train.scan.task import EXPORTED, train_scan

_SCANS, _HELD_OUT, _STEPS, _BATCH = 9, 2, 40, 3
# Landmarks this far off are of a network that learned nothing, mm.
_UNTRAINED = 20.0


def smoke_settings(data: Path, face_model: Path) -> ScanTrainingSettings:
    """Settings of a small training on the synthetic scans of a folder."""
    schedule = Schedule(
        steps=_STEPS, batch_size=_BATCH, learning_rate=1e-2, ema_decay=0.8, validate_every=_STEPS, log_every=_STEPS // 6
    )
    return ScanTrainingSettings(
        (data,), face_model, points=320, sigma=8.0, width=32, layers=2, edge_width=16, validation=_HELD_OUT,
        schedule=schedule,
    )  # fmt: skip


def smoke(out: Path) -> SmokeResult:
    """Make scans, train a small network on them, export it, and measure it on held-out scans.

    Parameters
    ----------
    out : Path
        Folder for the scans, checkpoints, log and the exported network.
    """
    face_model = verified(Config.load(config_path("open_mb05")).face_model)
    model = FaceModel.load(face_model)
    for _ in write_scans(out / "synthetic", model, ScanSettings(busts=0.0, edge=(3.0, 5.0)), 0, _SCANS):
        pass
    settings = smoke_settings(out / "synthetic", face_model)
    outcome = train_scan(settings, out)
    if not outcome.finished:
        return SmokeResult(False, outcome)
    scans = read_scans(settings.data).take(slice(_SCANS - _HELD_OUT, None))
    batch = ScanBatches(scans, settings, mean_landmarks(model), augmented=False).of(
        [(row, 0) for row in range(len(scans))], np.random.default_rng(1)
    )
    network = Model(out / EXPORTED, device="cpu", threads=1)
    errors = [
        np.linalg.norm(decode(graph.features[:, :3], network.run(vars(graph))["heat"])["pd"] - landmarks, axis=1).mean()
        * unit
        for graph, landmarks, unit in zip(batch.graphs, batch.landmarks, batch.unit, strict=True)
    ]
    lines = (
        f"loss {outcome.first_loss:.2f} -> {outcome.last_loss:.2f}",
        f"landmarks of held-out scans {np.mean(errors):.1f} mm off",
    )
    return SmokeResult(outcome.last_loss < outcome.first_loss and float(np.mean(errors)) < _UNTRAINED, outcome, lines)
