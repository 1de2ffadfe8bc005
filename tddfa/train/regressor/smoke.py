"""Smoke test of the regressor's training, on rendered heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tddfa.aligner import Aligner
from tddfa.crop import roi_from_landmarks
from tddfa.decoder import Decoder
from tddfa.evaluate.metrics import nme_box
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.synthetic import Head, State, backdrop, render
from tddfa.train.data.augment import Augment
from tddfa.train.data.samples import encode_jpeg
from tddfa.train.data.shards import Labels, write_shard
from tddfa.train.engine.settings import Folder, Schedule
from tddfa.train.engine.smoke import SmokeResult
from tddfa.train.multiview.data import procedural_samples
from tddfa.train.regressor.export import export_regressor
from tddfa.train.regressor.settings import RegressorSettings
from tddfa.train.regressor.task import EXPORTED, first_network, train_regressor

START = "start.onnx"
"""Name of the exported network before the first step."""

_HEADS, _VIEWS, _VALIDATION_HEADS = 24, 8, 4
_STEPS, _BATCH = 100, 32
_SIZE = 256
# Seeds of heads that no crop shows, with yaw, pitch and roll in degrees.
_HELD_OUT = ((9001, (0, 0, 0)), (9002, (20, 5, 0)), (9003, (-25, -5, 10)))


def made_crops(folder: Path, model: FaceModel, heads: int = _HEADS, validation_heads: int = _VALIDATION_HEADS) -> Path:
    """Write labelled crops of rendered heads, the last heads for validation, and crops without a face."""
    samples = list(procedural_samples(model, heads, _VIEWS, seed=0))
    rooms = [backdrop((160, 160), seed) for seed in range(len(samples) // 8)]
    count = len(samples) + len(rooms)
    face = np.arange(count) < len(samples)

    def padded(values: list[np.ndarray | None]) -> np.ndarray:
        rows = np.array(values, dtype=np.float32)
        return np.concatenate([rows, np.zeros((len(rooms), *rows.shape[1:]), dtype=np.float32)])

    labels = Labels.of(
        padded([sample.camera for sample in samples]),
        padded([sample.shape for sample in samples]),
        padded([sample.expression for sample in samples]),
        "made-up",
        validation=face & (np.arange(count) >= (heads - validation_heads) * _VIEWS),
        has_params=face,
        face=face,
    )
    write_shard(folder, [encode_jpeg(image) for image in [*(sample.crop for sample in samples), *rooms]], labels)
    return folder


def smoke_settings(data: Path, face_model: Path) -> RegressorSettings:
    """Settings of a training from scratch on `made_crops`."""
    return RegressorSettings(
        data=(Folder(data),),
        face_model=face_model,
        width=0.25,
        workers=0,
        vertices=100,
        augment=Augment(shift=0.05, scale=(0.9, 1.1), roll_fraction=0.0, occlusion=0.0, low_resolution=0.0),
        schedule=Schedule(
            steps=_STEPS, batch_size=_BATCH, learning_rate=4e-3, ema_decay=0.9, validate_every=_STEPS, log_every=10
        ),
    )


def smoke(out: Path) -> SmokeResult:
    """Train on rendered heads, export, and measure the exported network on other heads.

    Parameters
    ----------
    out : Path
        Folder for the crops, checkpoints, log and both networks: before the first step, and trained.
    """
    config = Config.load(config_path("open_mb05"))
    model = FaceModel.load(verified(config.face_model))
    settings = smoke_settings(made_crops(out / "crops", model), config.face_model)
    rng = np.random.default_rng(0)
    export_regressor(first_network(settings), out / START, rng.integers(0, 256, (2, 120, 120, 3), np.uint8), {})
    outcome = train_regressor(settings, out)
    if not outcome.finished:
        return SmokeResult(False, outcome)
    before, after = (heldout_error(out / name, model, config) for name in (START, EXPORTED))
    lines = (
        f"loss {outcome.first_loss:.2f} -> {outcome.last_loss:.2f}",
        f"NME of held-out heads {before:.1f} % -> {after:.1f} %",
    )
    return SmokeResult(outcome.last_loss < outcome.first_loss and after < before, outcome, lines)


def heldout_error(network: Path, model: FaceModel, config: Config) -> float:
    """Mean NME of 68 landmarks of an exported network on held-out heads, % of the box."""
    aligner = Aligner(Model(network, device="cpu", threads=1), Decoder(model, config.crop))
    errors = []
    for seed, (yaw, pitch, roll) in _HELD_OUT:
        state = State(yaw, pitch, roll, size=0.5 * _SIZE, x=_SIZE / 2, y=_SIZE / 2)
        head = Head.procedural(model, seed, size=_SIZE)
        image, (target,) = render((_SIZE, _SIZE), [(head, state)], backdrop((_SIZE, _SIZE), seed))
        assert target is not None
        (face,) = aligner(image, rois=[roi_from_landmarks(target.landmarks, config.crop)])
        errors.append(nme_box(face.landmarks, target.landmarks))
    return float(np.mean(errors))
