"""Face profiling: a photo's face turned to the side, with its own texture and its own surroundings.

X. Zhu et al., Face Alignment Across Large Poses: A 3D Solution, CVPR 2016, section 5: photos of turned faces are rare,
so they are made from frontal photos. The mesh that was fitted to the face is turned, and its surroundings follow. The
paper meshes and turns the surroundings too. Here each direction from the face's centre is stretched, so that the
surroundings of the old outline surround the new one, without holes. On the side that the face turns away from, the back
of the head comes into view, which a frontal photo does not show: the surroundings, mostly hair, are stretched there.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from tddfa.geometry.camera import Camera
from tddfa.geometry.rotation import euler_from_rotation
from tddfa.model.face_model import FaceModel
from tddfa.train.data.crops import Crops
from tddfa.train.data.samples import Sample, centred
from tddfa.train.data.sources import usable_rows
from tddfa.train.synthesis.rerender import Pixels, photo_colors, surface_of

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Maximum angles of the faces that are turned, degrees; faces within _FRONTAL turn to a random side; yaw after the turn.
_MAX_YAW, _MAX_PITCH, _MAX_ROLL = 38.0, 28.0, 35.0
_FRONTAL = 10.0
_MIN_TURNED, _MAX_TURNED = 25.0, 95.0
# Spread of the pitch for most faces, and for the fraction _TILTED that looks farther up or down.
_PITCH_SPREADS, _MAX_TILTED, _TILTED = (10.0, 28.0), 65.0, 0.25
_DIRECTIONS = 72
# px of the source per px of the result on the side of the back of the head (stretched), and how many more than 1 on the
# side of the nose (squeezed).
_STRETCHED, _SQUEEZED = 0.45, 0.6


def turn(
    crop: Image, camera: Floats, shape: Floats, expression: Floats, yaw: float, pitch: float, model: FaceModel
) -> tuple[Image, Floats]:
    """Turn the face of a crop.

    Parameters
    ----------
    crop : ndarray (160, 160, 3) uint8
        A stored crop, BGR.
    camera : ndarray (3, 4)
        Face model to px of the crop.
    shape, expression : ndarray (s,), (e,)
        Coefficients; they do not change.
    yaw, pitch : float
        New direction of the face, degrees (`tddfa.geometry.camera`); the roll stays.
    model : FaceModel
        With `uv`.

    Returns
    -------
    crop : ndarray (160, 160, 3) uint8
        The turned face, centred and scaled as in stored crops.
    camera : ndarray (3, 4) float32
        Face model to px of the new crop.
    """
    face = model.vertices(shape, expression)
    before = Camera(camera)
    surface = surface_of(model)
    mesh = surface.mesh(camera, face)
    roll = euler_from_rotation(before.rotation).roll
    turned = centred(Camera.from_pose(yaw, pitch, roll, before.scale), model, shape, expression)
    vertices = surface.mesh(turned, face).vertices
    side = float(np.sin(np.radians(yaw)) - before.rotation[0, 2])
    surroundings = follow(crop, mesh.vertices, vertices, side)
    pixels = Pixels(surface, vertices, len(crop))
    return pixels.drawing(photo_colors(crop, mesh, pixels)).over(surroundings), turned


def turned_samples(crops: Crops, count: int, seed: int, model: FaceModel) -> Iterator[Sample]:
    """Turn faces of crops to the side at random.

    Only nearly frontal faces for training are turned, each to the side that it already faces, because the photo shows
    more of the texture there. The yaw of the result is uniform up to 95 degrees, from 25 on; a quarter of the
    faces also look up or down, up to 65 degrees.

    Parameters
    ----------
    crops : Crops
        With known parameters.
    count : int
        Number of samples.
    seed : int
        The same seed gives the same samples.
    model : FaceModel
        The face model of the labels.

    Raises
    ------
    ValueError
        If no crop is usable.
    """
    labels = crops.labels
    rows = usable_rows(crops, model, (_MAX_YAW, _MAX_PITCH, _MAX_ROLL), seed)
    for i, row in zip(range(count), rows, strict=False):
        rng = np.random.default_rng((seed, 0, i))
        yaw, pitch, _ = euler_from_rotation(Camera(labels.camera[row]).rotation)
        side = np.sign(yaw) if abs(yaw) > _FRONTAL else rng.choice([-1, 1])
        angle = side * rng.uniform(max(_MIN_TURNED, min(abs(yaw) + 5, 60)), _MAX_TURNED)
        spread = _PITCH_SPREADS[int(rng.random() < _TILTED)]
        pitch = np.clip(pitch + rng.normal(0, spread), -_MAX_TILTED, _MAX_TILTED)
        crop, camera = turn(
            crops.image(row), labels.camera[row], labels.shape[row], labels.expression[row], angle, float(pitch), model
        )
        yield Sample(crop, f"turned-{labels.source[row]}", camera, labels.shape[row], labels.expression[row])


def follow(crop: Image, before: Floats, after: Floats, side: float) -> Image:
    """Warp an image around a face so that the old outline moves to the new one.

    `side` is the turn of the face to the right of the image, as the change of sin(yaw).
    """
    size = len(crop)
    middle_before, middle_after = _middle(before), _middle(after)
    outline_before, outline_after = _outline(before, middle_before), _outline(after, middle_after)
    # the map is smooth: every other px of it is enough
    grid = np.linspace(0, size - 1, (size + 1) // 2 + 1)
    x, y = np.meshgrid(grid - middle_after[0], grid - middle_after[1])
    radius = np.maximum(np.hypot(x, y), 1e-3)
    at = (np.arctan2(y, x) / (2 * np.pi) % 1) * _DIRECTIONS
    wrapped = np.arange(_DIRECTIONS + 1)
    from_before = np.interp(at, wrapped, np.append(outline_before, outline_before[0]))
    from_after = np.interp(at, wrapped, np.append(outline_after, outline_after[0]))
    # the face turns towards the nose's side of the outline
    towards = x / radius * np.clip(side, -1, 1)
    slope = np.where(towards > 0, 1 + _SQUEEZED * towards, 1 + (1 - _STRETCHED) * towards)
    outside = radius - from_after
    source = np.where(outside > 0, from_before + slope * outside, radius * from_before / from_after)
    coarse = np.dstack([middle_before[0] + source * x / radius, middle_before[1] + source * y / radius])
    whole = np.linspace(0, len(grid) - 1, size, dtype=np.float32)
    maps = cv2.remap(coarse.astype(np.float32), *np.meshgrid(whole, whole), cv2.INTER_LINEAR)
    return np.asarray(cv2.remap(crop, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def _middle(vertices: Floats) -> NDArray[np.float64]:
    low, high = vertices[:, :2].min(axis=0), vertices[:, :2].max(axis=0)
    return np.asarray((low + high) / 2, dtype=np.float64)


def _outline(vertices: Floats, middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smoothed distance of the mesh's outline from its centre in each direction (72,), px."""
    offset = vertices[:, :2] - middle
    direction = np.rint(np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) * _DIRECTIONS).astype(np.intp)
    reach = np.zeros(_DIRECTIONS)
    np.maximum.at(reach, direction % _DIRECTIONS, np.hypot(offset[:, 0], offset[:, 1]))
    padded = np.concatenate([reach[-3:], reach, reach[:3]])
    return np.maximum(np.convolve(padded, np.array([1, 3, 5, 5, 3, 2, 1]) / 20, mode="valid"), 1.0)
