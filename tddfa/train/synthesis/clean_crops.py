"""Crops of procedural heads in front of procedural backgrounds: training data without a photo of anybody."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.synthetic import Head, degrade
from tddfa.synthetic.paint import painted_head
from tddfa.synthetic.studio import any_lighting, photograph
from tddfa.synthetic.surroundings import any_wall, hold
from tddfa.synthetic.wear import any_wear, teeth
from tddfa.train.data.samples import STORED_SIZE, Sample, centred
from tddfa.train.synthesis.average import mean_shape
from tddfa.train.synthesis.expressions import any_expression

Image = NDArray[np.uint8]

# Number of crops of each head.
_VIEWS = 4
_TEXTURE_SIZE = 384
# Standard deviation of the shape coefficients, which are 1 over people: from average to unusual faces.
_SPREAD = (0.7, 1.6)
# Height of heads over that of the model's, mean and standard deviation. On photos, `open_mb05` predicts 1.015.
_TALL = (1.025, 0.02)
_MAX_YAW, _MAX_PITCH, _MAX_ROLL = 100.0, 70.0, 60.0
_HELD = 0.1  # fraction of crops with a hand or an object in front
_EMPTY = 0.06  # fraction of crops without a face
# How often lips that are less than so far apart, cm, are brought together, and how far they stay apart. On photos of
# closed mouths, the labels of both lips are at one place.
_CLOSED, _NEARLY_CLOSED, _LEFT_OPEN = 0.85, 0.35, 0.02
_STEP = 0.1  # of mouthClose, from which its effect on these lips is measured
_OPEN_MOUTH = 0.25  # cm between the inner lips from which on teeth may be seen
_VALIDATION = 0.03  # fraction of heads that are kept for validation


def clean_samples(count: int, seed: int, model: FaceModel) -> Iterator[Sample]:
    """Render procedural heads; a few samples have no face: backgrounds, objects and backs of heads.

    Parameters
    ----------
    count : int
        Number of samples.
    seed : int
        The same seed gives the same samples.
    model : FaceModel
        With `uv`, eyeballs and ARKit's expression names, as the open face model.
    """
    head: Head | None = None
    mean = mean_shape(model)
    for i in range(count):
        rng = np.random.default_rng((seed, 0, i))
        if head is None or i % _VIEWS == 0:
            spread = float(rng.uniform(*_SPREAD))
            head = painted_head(model, int(rng.integers(2**31)), size=_TEXTURE_SIZE, spread=spread, mean=mean)
            kept = bool(rng.random() < _VALIDATION)
            tall = float(rng.normal(*_TALL))
        if rng.random() < _EMPTY:
            yield Sample(_camera_defects(_without_face(head, rng), rng), "clean", face=False, validation=kept)
            continue
        expression = any_expression(model.expression_names, rng)
        if rng.random() < _CLOSED:
            expression = _lips_together(head, expression, float(abs(rng.normal(0, _LEFT_OPEN))))
        yaw, pitch, roll = _pose(rng)
        upright = Camera.from_pose(yaw, pitch, roll).matrix * (1, tall, 1, 1)
        camera = Camera(centred(Camera(upright), model, head.shape, expression))
        image = _portrait(head, (yaw, pitch, roll), camera, expression, rng)
        if rng.random() < _HELD:
            hold(image, head.skin, rng)
        image = _camera_defects(image, rng)
        person = "" if kept else f"clean-{seed}-{i // _VIEWS}"
        yield Sample(image, "clean", camera.matrix, head.shape, expression, validation=kept, person=person)


def _lips_together(head: Head, expression: NDArray[np.float32], left_open: float) -> NDArray[np.float32]:
    """Close a mouth that is nearly closed: a fixed weight of `mouthClose` would leave a gap on most heads."""
    model = head.model

    def gap(weights: NDArray[np.float32]) -> float:
        landmarks = model.landmarks(head.shape, weights)
        return float((landmarks[61:64, 1] - landmarks[[67, 66, 65], 1]).mean()) / head.bust.scale

    before = gap(expression)
    if before > _NEARLY_CLOSED:
        return expression
    close = np.array([name == "mouthClose" for name in model.expression_names], np.float32)
    slope = (before - gap(expression + _STEP * close)) / _STEP
    return np.asarray(np.clip(expression + (before - left_open) / slope * close, 0, 1), np.float32)


def _portrait(
    head: Head,
    pose: tuple[float, float, float],
    camera: Camera,
    expression: NDArray[np.float32],
    rng: np.random.Generator,
) -> Image:
    model = head.model
    face = model.vertices(head.shape, expression)
    landmarks = model.landmarks(head.shape, expression)
    wear = any_wear(head, face, landmarks, rng)
    if landmarks[62, 1] - landmarks[66, 1] > _OPEN_MOUTH * head.bust.scale:
        wear += teeth(head, model.landmarks(head.shape, 0 * expression), landmarks, rng)
    yaw, _, roll = pose
    return photograph(head, yaw, roll, camera, face, wear, any_lighting(head.skin, rng), any_wall(STORED_SIZE, rng))


def _without_face(head: Head, rng: np.random.Generator) -> Image:
    """A background, or the back of a head."""
    if rng.random() < 0.6:
        wall = any_wall(STORED_SIZE, rng)
        if rng.random() < 0.4:
            hold(wall, head.skin, rng)
        return wall
    none = np.zeros(head.model.expression_count, np.float32)
    pose = float(180 + rng.uniform(-45, 45)), float(rng.normal(0, 15)), float(rng.normal(0, 15))
    camera = Camera(centred(Camera.from_pose(*pose), head.model, head.shape, none))
    return _portrait(head, pose, camera, none, rng)


def _pose(rng: np.random.Generator) -> tuple[float, float, float]:
    """Yaw, pitch and roll: mostly towards the viewer, any yaw for a third."""
    yaw = rng.uniform(-_MAX_YAW, _MAX_YAW) if rng.random() < 0.35 else rng.normal(0, 24)
    pitch = rng.normal(0, 32) if rng.random() < 0.2 else rng.normal(-4, 10)
    roll = rng.normal(0, 10)
    limits = (_MAX_YAW, _MAX_PITCH, _MAX_ROLL)
    turned, nodded, tilted = (float(np.clip(a, -m, m)) for a, m in zip((yaw, pitch, roll), limits, strict=True))
    return turned, nodded, tilted


def _camera_defects(image: Image, rng: np.random.Generator) -> Image:
    """Contrast and colours as a camera gives them, some blur and noise."""
    haze = rng.uniform(0, 25) if rng.random() < 0.3 else 0.0
    gain = rng.uniform(0.85, 1.1) * np.exp(rng.normal(0, 0.04, 3))
    levels = np.clip(
        haze + (255 - haze) * (np.arange(256)[:, None] / 255) ** np.exp(rng.normal(0, 0.15)) * gain, 0, 255
    )
    image = np.asarray(cv2.LUT(image, levels[None].astype(np.uint8)))
    blur = float(rng.uniform(0.25, 1.1))
    return degrade(image, rng, blur=blur, noise=float(rng.choice([0, rng.uniform(0, 5)])))
