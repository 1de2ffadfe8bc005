"""Where the parts of a face lie on the UV map, and noise to paint them with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.model.face_model import FaceModel
from tddfa.surface.texture import texel_positions
from tddfa.synthetic.bust import bust_of
from tddfa.synthetic.head import face_texels, on_uv_map, openness

Floats = NDArray[np.float32]

# Side of the noise fields, texels, and their blurs as fractions of the map's side.
NOISE_SIDE = 1024
_NOISE_BLURS = (1 / 400, 1 / 150, 1 / 45, 1 / 14)
# How far from a corner of the mouth the fold of the mesh is left out, as a fraction of the map's side.
_CORNER_REACH = 1 / 32


@dataclass(frozen=True, eq=False)
class Chart:
    """What lies where on the UV map of a face model.

    Attributes
    ----------
    position : ndarray (size, size, 3) float32
        Place on the mean face, cm in the frame of the open face model.
    surface : ndarray (size, size) float32
        1 where there is a surface.
    lips, hidden, shade : ndarray (size, size) float32
        Weights of the lips and of folds and hollows; brightness in scattered light.
    eyes, mouth : ndarray (size, size) bool
        Eyeballs, and the inside of the mouth.
    irises : ndarray (2, 3) float32
        The foremost point of each eyeball.
    landmarks : ndarray (68, 2) float32
        Their texels.
    """

    position: Floats
    surface: Floats
    lips: Floats
    hidden: Floats
    shade: Floats
    eyes: NDArray[np.bool_]
    mouth: NDArray[np.bool_]
    irises: Floats
    landmarks: Floats


@lru_cache(maxsize=4)
def chart_of(model: FaceModel, size: int) -> Chart:
    """Compute the chart of a face model with `uv`; cached per model and size."""
    assert model.uv is not None
    bust = bust_of(model)
    place = ((model.mean - bust.origin) / bust.scale).astype(np.float32)
    edge = place[bust.loop[::4]]
    from_edge = np.sqrt(np.min([np.square(place - point).sum(axis=1) for point in edge], axis=0))
    hidden = np.where(from_edge < 1.5, 0, 1 - openness(model)) * (model.part == 0)  # nothing hides the edge
    shade = np.ones(len(place)) if model.shade is None else model.shade
    values = np.column_stack([place, hidden, shade, np.isin(model.part, (1, 2)), model.part == 3])
    flat = on_uv_map(model, size, values.astype(np.float32), 0.0)
    irises = [place[eye][np.argmax(place[eye, 2])] for eye in (model.part == 1, model.part == 2) if eye.any()]
    texels = texel_positions(model.uv, size)
    landmarks = (texels[model.landmark_triangles] * model.landmark_weights[..., None]).sum(axis=1)
    return Chart(
        position=np.ascontiguousarray(flat[..., :3]),
        surface=face_texels(model, size),
        lips=_lips(landmarks, size),
        hidden=cv2.GaussianBlur(flat[..., 3], (0, 0), size / 350) * (1 - _around_corners(landmarks, size)),
        shade=np.where(face_texels(model, size) > 0, flat[..., 4], 1).astype(np.float32),
        eyes=flat[..., 5] > 0.5,
        mouth=flat[..., 6] > 0.5,
        irises=np.array(irises, dtype=np.float32).reshape(-1, 3),
        landmarks=np.asarray(landmarks, dtype=np.float32),
    )


def _lips(landmarks: NDArray[np.floating], size: int) -> Floats:
    """Weights of the lips: what the landmarks of their edge enclose.

    The edge of the model's region of the lips is 2 % of the eye distance below these landmarks, and 1 to 5 % above.
    """
    lips = np.zeros((size, size), dtype=np.uint8)
    cv2.fillPoly(lips, [np.rint(landmarks[48:60] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(lips.astype(np.float32) / 255, (0, 0), size / 450), np.float32)


def _around_corners(landmarks: NDArray[np.floating], size: int) -> Floats:
    """Weights of the surroundings of the corners of the mouth, where the fold of the mesh is left out.

    The fold ends inside of these landmarks and below them, and would look like the corner. Instead, the corners are
    painted at the landmarks.
    """
    y, x = np.mgrid[:size, :size].astype(np.float32)
    reach = _CORNER_REACH * size
    near = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / reach**2) for px, py in landmarks[[48, 54]]]
    return np.asarray(np.maximum(*near), np.float32)


def smoothstep(x: NDArray[np.floating]) -> Floats:
    """Rise from 0 to 1 while x does, without corners."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), dtype=np.float32)


@lru_cache(maxsize=2)
def noise_fields(size: int) -> list[Floats]:
    """Noise (side, side) of standard deviation 1, from fine to coarse, for maps of this size."""
    white = np.random.default_rng(0).standard_normal((NOISE_SIDE, NOISE_SIDE), dtype=np.float32)
    fields = [cv2.GaussianBlur(white, (0, 0), size * blur) for blur in _NOISE_BLURS]
    return [np.asarray(field / field.std(), np.float32) for field in fields]


@lru_cache(maxsize=2)
def streaks(size: int) -> Floats:
    """Noise (size, 4 * size) of vertical strands, of standard deviation 1."""
    white = np.random.default_rng(1).standard_normal((size, 4 * size), dtype=np.float32)
    fine = cv2.GaussianBlur(white, (0, 0), sigmaX=size / 450, sigmaY=size / 25)
    coarse = cv2.GaussianBlur(white, (0, 0), sigmaX=size / 60, sigmaY=size / 10)
    return np.asarray(fine / fine.std() * 0.8 + coarse / coarse.std() * 0.6, np.float32)
