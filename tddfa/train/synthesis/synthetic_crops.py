"""Rendered heads as crops, with ground truth: any pose, expression and light (`tddfa.synthetic`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera
from tddfa.model.config import CropRule
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import Head, State, backdrop, degrade, render
from tddfa.synthetic.surfaces import mean_size
from tddfa.train.data.augment import CROP_SIZE
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import STORED_SIZE, Sample, centred
from tddfa.train.data.sources import usable_rows
from tddfa.train.synthesis.edits import another_expression
from tddfa.types import Face, Params, Roi

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Number of crops of each head.
_VIEWS = 4
_PROCEDURAL = 0.15
_TEXTURE_SIZE = 256
# Textures are taken from faces turned no farther than this, degrees.
_MAX_YAW, _MAX_PITCH, _MAX_ROLL = 30.0, 25.0, 40.0
_HEAD_MAX_YAW, _HEAD_MAX_PITCH, _HEAD_MAX_ROLL = 100.0, 75.0, 60.0
_ANY_PITCH = 0.3  # fraction of heads whose pitch is uniform


def synthetic_samples(crops: Crops, count: int, seed: int, model: FaceModel) -> Iterator[Sample]:
    """Render random heads.

    Most have the texture and shape of a crop's face, 15 % are procedural. The yaw of one half is uniform up to 100
    degrees, the other half is mostly frontal; the pitch is up to 75 degrees.

    Parameters
    ----------
    crops : Crops
        Faces for textures, and images for backgrounds; those for validation are not used.
    count : int
        Number of samples.
    seed : int
        The same seed gives the same samples.
    model : FaceModel
        With `uv` and ARKit's expression names, as the open face model.
    """
    labels = crops.labels
    rows = usable_rows(crops, model, (_MAX_YAW, _MAX_PITCH, _MAX_ROLL), seed)
    usable = np.flatnonzero(labels.has_params & labels.face & ~labels.validation)
    head = None
    for i in range(count):
        rng = np.random.default_rng((seed, 0, i))
        if head is None or i % _VIEWS == 0:
            if rng.random() < _PROCEDURAL:
                head = Head.procedural(model, int(rng.integers(2**31)), size=_TEXTURE_SIZE)
            else:
                # a crop shows little of the clothes
                clothes = rng.uniform(10, 235) + rng.normal(0, 25, 3)
                head = replace(textured_head(crops, next(rows), model), clothes=tuple(clothes.clip(0, 255).tolist()))
        expression = labels.expression[rng.choice(usable)].clip(0, 1)
        if rng.random() < 0.6:
            expression = another_expression(expression, model.expression_names, rng)
        yaw, pitch, roll = _pose(rng)
        matrix = centred(Camera.from_pose(yaw, pitch, roll), model, head.shape, expression)
        weights = dict(zip(model.expression_names, expression.tolist(), strict=True))
        x, y, _ = matrix[:, 3].tolist()
        state = State(yaw, pitch, roll, Camera(matrix).scale * mean_size(model), x, y, weights)
        background = any_background(crops, int(rng.choice(usable)), rng)
        size = (STORED_SIZE, STORED_SIZE)
        image, (target,) = render(size, [(head, state)], background, light=any_light(rng))
        assert target is not None
        image = degrade(image, rng, noise=float(rng.uniform(0, 4)), blur=float(rng.uniform(0, 0.7)))
        yield Sample(image, "synthetic", target.camera.matrix, target.shape, target.expression)


def textured_head(crops: Crops, row: int, model: FaceModel) -> Head:
    """The head of a crop's face."""
    labels = crops.labels
    camera = Camera(labels.camera[row])
    params = Params(labels.camera[row], labels.shape[row], labels.expression[row])
    landmarks = camera.project(model.landmarks(params.shape, params.expression))
    box = np.concatenate([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)])
    face = Face(box, 1.0, Roi(-0.5, -0.5, STORED_SIZE), params, camera, landmarks)
    return Head.from_face(crops.image(row), face, Decoder(model, CropRule(CROP_SIZE, 0.0, 1.0, 1.0)), _TEXTURE_SIZE)


def _pose(rng: np.random.Generator) -> tuple[float, float, float]:
    wide = rng.random() < 0.5
    yaw = rng.uniform(-_HEAD_MAX_YAW, _HEAD_MAX_YAW) if wide else rng.normal(0, 25)
    pitch = rng.uniform(-_HEAD_MAX_PITCH, _HEAD_MAX_PITCH) if rng.random() < _ANY_PITCH else rng.normal(0, 15)
    roll = rng.normal(0, 12)
    return (
        float(np.clip(yaw, -_HEAD_MAX_YAW, _HEAD_MAX_YAW)),
        float(np.clip(pitch, -_HEAD_MAX_PITCH, _HEAD_MAX_PITCH)),
        float(np.clip(roll, -_HEAD_MAX_ROLL, _HEAD_MAX_ROLL)),
    )


def any_light(rng: np.random.Generator) -> dict[str, Any]:
    """Random light from the front half-space, as arguments of `Sim3DR.shade`."""
    ambient = float(rng.uniform(0.4, 0.85))
    return {
        "ambient": ambient,
        "directional": max(float(rng.uniform(0.75, 1.2)) - ambient, 0.05),
        "specular": float(rng.choice([0, rng.uniform(0, 0.15)])),
        "exponent": float(rng.uniform(5, 25)),
        "light_direction": (float(rng.normal(0, 0.8)), float(rng.normal(-0.4, 0.5)), float(rng.uniform(0.3, 1.0))),
    }


def any_background(crops: Crops, row: int, rng: np.random.Generator) -> Image:
    """An enlarged corner of another photo, sharp or blurred; or a rendered room."""
    if rng.random() < 0.3:
        return backdrop((STORED_SIZE, STORED_SIZE), int(rng.integers(2**31)))
    crop = crops.image(row)
    side = int(rng.uniform(0.2, 0.36) * len(crop))
    top, left = (int(v) for v in rng.integers(0, 2, 2) * (len(crop) - side))
    part = cv2.resize(crop[top : top + side, left : left + side], (STORED_SIZE, STORED_SIZE))
    return np.asarray(cv2.GaussianBlur(part, (0, 0), float(rng.uniform(0.5, 5))))
