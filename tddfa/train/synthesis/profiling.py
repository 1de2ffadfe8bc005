"""Face profiling: a photo's face turned to the side, with its own texture and its own surroundings.

X. Zhu et al., Face Alignment Across Large Poses: A 3D Solution, CVPR 2016, section 5: photos of turned faces are few,
so they are made of photos from the front. The mesh that was fitted to the face is turned. Its surroundings follow:
there they are meshed and turned too, here each direction from the face's middle is stretched, so that what bordered on
the face's outline borders on the new one, and no hole opens. On the side that the face turns away from, the back of the
head comes into view, which no photo from the front shows: what lay beside the face, mostly hair, is drawn out there.
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

# Which faces are turned, degrees, and where they may look then.
_MAX_YAW, _MAX_PITCH, _MAX_ROLL = 38.0, 28.0, 35.0
_FRONTAL = 10.0
_MIN_TURNED, _MAX_TURNED = 25.0, 95.0
# Of most, and of a share that looks farther up or down.
_PITCH_SPREADS, _MAX_TILTED, _TILTED = (10.0, 28.0), 65.0, 0.25
_DIRECTIONS = 72
# How much less, and more, of the surroundings a px is worth on the side of the back of the head and of the nose.
_DRAWN_OUT, _SQUEEZED = 0.45, 0.6


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
        Coefficients; they stay as they are.
    yaw, pitch : float
        Where the face is to look, degrees (`tddfa.geometry.camera`); its roll stays.
    model : FaceModel
        With `uv`.

    Returns
    -------
    crop : ndarray (160, 160, 3) uint8
        With the turned face in the middle, at the size that stored crops have.
    camera : ndarray (3, 4) float32
        The camera that sees it so.
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

    Only faces that look about to the front, and are for training, are turned; each on to the side that it looks to
    already, whose texture the photo shows. Where they look is then uniform over 25 to 95 degrees; a quarter of them
    look up or down too, as far as 65.

    Parameters
    ----------
    crops : Crops
        With known parameters.
    count : int
        How many samples.
    seed : int
        The same seed gives the same ones.
    model : FaceModel
        Whose coefficients the labels are.

    Raises
    ------
    ValueError
        If no crop is fit to be turned.
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
    """Stretch a picture about a face so that its old outline comes to lie on the new one.

    `side` is how far the face turns to the right of the picture, as the change of sin(yaw).
    """
    size = len(crop)
    middle_before, middle_after = _middle(before), _middle(after)
    outline_before, outline_after = _outline(before, middle_before), _outline(after, middle_after)
    # the map is smooth: every other px of it will do
    grid = np.linspace(0, size - 1, (size + 1) // 2 + 1)
    x, y = np.meshgrid(grid - middle_after[0], grid - middle_after[1])
    radius = np.maximum(np.hypot(x, y), 1e-3)
    at = (np.arctan2(y, x) / (2 * np.pi) % 1) * _DIRECTIONS
    wrapped = np.arange(_DIRECTIONS + 1)
    from_before = np.interp(at, wrapped, np.append(outline_before, outline_before[0]))
    from_after = np.interp(at, wrapped, np.append(outline_after, outline_after[0]))
    # the nose's side of the outline is where the face turns to
    towards = x / radius * np.clip(side, -1, 1)
    slope = np.where(towards > 0, 1 + _SQUEEZED * towards, 1 + (1 - _DRAWN_OUT) * towards)
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
    """How far the mesh reaches from its middle in each direction (72,), px, smoothed."""
    offset = vertices[:, :2] - middle
    direction = np.rint(np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi) * _DIRECTIONS).astype(np.intp)
    reach = np.zeros(_DIRECTIONS)
    np.maximum.at(reach, direction % _DIRECTIONS, np.hypot(offset[:, 0], offset[:, 1]))
    padded = np.concatenate([reach[-3:], reach, reach[:3]])
    return np.maximum(np.convolve(padded, np.array([1, 3, 5, 5, 3, 2, 1]) / 20, mode="valid"), 1.0)
