"""Smoke test of the detector's training, on rendered images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from FaceBoxes.detector import Detector
from tddfa._shared.files import write_atomic
from tddfa.model.assets import config_path, verified
from tddfa.model.config import Config
from tddfa.model.face_model import FaceModel
from tddfa.model.runtime import Model
from tddfa.synthetic import Head, State, backdrop, render
from tddfa.train.data.augment import Augment
from tddfa.train.detector.faces import Faces
from tddfa.train.detector.networks import Architecture
from tddfa.train.detector.scenes import Layout
from tddfa.train.detector.settings import DetectorSettings, Folders, ImageFolder
from tddfa.train.detector.task import EXPORTED, measure, train_detector, validation_images
from tddfa.train.engine.settings import Schedule
from tddfa.train.engine.smoke import SmokeResult

_SIZE, _HEADS, _EMPTY, _PEOPLE = 160, 40, 10, 3
_STEPS, _BATCH = 200, 8


def made_images(folder: Path, heads: int = _HEADS, empty: int = _EMPTY, seed: int = 0) -> Path:
    """Write images of rendered heads with a ``.txt`` file of the box, and images without a face with an empty one.

    Parameters
    ----------
    folder : Path
        Created if missing.
    heads, empty : int
        Number of images with and without a head.
    seed : int
        The same seed gives the same images.
    """
    model = FaceModel.load(verified(Config.load(config_path("open_mb05")).face_model))
    people = [Head.procedural(model, 10 * seed + k, size=256) for k in range(_PEOPLE)]
    for i in range(heads + empty):
        rng = np.random.default_rng((seed, i))
        image = backdrop((_SIZE, _SIZE), int(rng.integers(2**31)))
        lines = ""
        if i < heads:
            size = rng.uniform(0.3, 0.6) * _SIZE
            state = State(
                yaw=rng.uniform(-60, 60),
                pitch=rng.uniform(-20, 20),
                roll=rng.uniform(-20, 20),
                size=size,
                x=rng.uniform(0.35, 0.65) * _SIZE,
                y=rng.uniform(0.4, 0.65) * _SIZE,
            )
            image, (target,) = render((_SIZE, _SIZE), [(people[i % _PEOPLE], state)], image)
            assert target is not None
            lines = (
                " ".join(f"{value:.1f}" for value in Faces.of_landmarks(target.landmarks[None, :, :2]).xyxy[0]) + "\n"
            )
        done, data = cv2.imencode(".png", image)
        assert done
        write_atomic(folder / f"{i:04d}.png", data.tobytes())
        write_atomic(folder / f"{i:04d}.txt", lines.encode())
    return folder


def smoke_settings(folder: Path) -> DetectorSettings:
    """Settings of a training from scratch on `made_images` in the subfolders ``train`` and ``validation``."""
    return DetectorSettings(
        data=Folders(boxes=(ImageFolder(folder / "train"),)),
        validation=Folders(boxes=(ImageFolder(folder / "validation"),)),
        validation_scenes=0,
        architecture=Architecture(stem=8, channels=(16, 32, 48, 48), blocks=(1, 1, 1, 0)),
        workers=0,
        layout=Layout(
            size=128,
            mosaic_fraction=0.3,
            max_cells=2,
            face_size=(0.3, 0.8),
            roll_fraction=0.0,
            random_window_fraction=0.0,
            mask_fraction=0.0,
        ),
        augment=Augment(
            grayscale=0.1, lighting=0.1, color=0.5, occlusion=0.0, blur=0.0, low_resolution=0.0, noise=0.0, jpeg=0.0
        ),
        schedule=Schedule(
            steps=_STEPS, batch_size=_BATCH, learning_rate=8e-3, ema_decay=0.95, validate_every=_STEPS, log_every=20
        ),
    )


def smoke(out: Path) -> SmokeResult:
    """Train on rendered images, export, and measure the exported detector on other images.

    Parameters
    ----------
    out : Path
        Folder for the images, checkpoints, log and the exported network.
    """
    made_images(out / "images/train")
    made_images(out / "images/validation", _HEADS // 4, _EMPTY // 2, seed=1)
    settings = smoke_settings(out / "images")
    outcome = train_detector(settings, out)
    if not outcome.finished:
        return SmokeResult(False, outcome)
    detector = Detector(Model(out / EXPORTED, "cpu", threads=1), score=0.05)
    values = measure(detector, validation_images(settings))
    lines = (
        f"loss {outcome.first_loss:.2f} -> {outcome.last_loss:.2f}",
        f"AP of the exported detector {values['ap']:.2f}",
    )
    return SmokeResult(outcome.last_loss < outcome.first_loss and values["ap"] > 0.5, outcome, lines)
