"""Render heads to an image, with their ground truth."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from Sim3DR import bounds, covered_window, interpolate, rasterize, shade, vertex_normals
from tddfa._shared.arrays import checked_image
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.synthetic.head import Head
from tddfa.synthetic.surfaces import Surface, atlas_level, mean_size, surfaces

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

LIGHT: dict[str, Any] = {
    "ambient": 0.6,
    "directional": 0.48,
    "specular": 0.03,
    "exponent": 12.0,
    "light_direction": (-0.3, -0.45, 1.0),
}
"""Default light, arguments of `Sim3DR.shade`: mild, because the texture of a photo contains its own light."""

# Faces smaller than this, px, are rendered at twice their size and averaged.
_SUPERSAMPLED_UNDER = 260
_LARGEST_SIDE = 16384


@dataclass(frozen=True, eq=False)
class State:
    """Pose, position and expression of a head in an image.

    Attributes
    ----------
    yaw, pitch, roll : float
        Degrees; the signs are in `tddfa.geometry.camera`.
    size : float
        px: the longer side of the bounding box of the 68 landmarks of the *mean* face, seen from the front. Heads of
        one size are thus at equal distance, and keep their size as they turn.
    x, y : float
        Position of the face model's origin, the centre of the head, in image px.
    expression : mapping of str to float
        Weights by name. A name without its ``Left`` or ``Right`` sets both sides.
    visible : bool
        False omits the head.

    Examples
    --------
    >>> state = State(yaw=30, size=200, x=320, y=240, expression={"jawOpen": 0.5})
    >>> state.yaw
    30.0
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    size: float = 200.0
    x: float = 0.0
    y: float = 0.0
    expression: Mapping[str, float] = field(default_factory=dict)
    visible: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("yaw", "pitch", "roll", "size", "x", "y"):
            value = float(getattr(self, name))
            if not np.isfinite(value):
                raise ValueError(f"State.{name}: expected a finite number, got {value}")
            object.__setattr__(self, name, value)
        if self.size <= 0:
            raise ValueError(f"State.size: expected more than 0 px, got {self.size}")
        for name, weight in self.expression.items():
            if not np.isfinite(weight):
                raise ValueError(f"State.expression[{name!r}]: expected a finite number, got {weight}")


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Ground truth of a rendered head.

    Attributes
    ----------
    camera : Camera
        Face model to image px.
    shape : ndarray (s,) float32
        Coefficients of the face model.
    expression : ndarray (e,) float32
        Its expression weights.
    landmarks : ndarray (68, 3) float32
        In image px; z larger is nearer.
    visible : float
        Visible fraction of the front of the face, 0..1. The rest is outside of the image, or behind nearer heads.

    Examples
    --------
    >>> head = Head.procedural(aligner.face_model, seed=1)
    >>> image, (target,) = render((120, 160), [(head, State(size=60, x=80, y=60))])
    >>> target.landmarks.shape, target.visible
    ((68, 3), 1.0)
    """

    camera: Camera
    shape: Floats
    expression: Floats
    landmarks: Floats
    visible: float

    @cached_property
    def box(self) -> Floats:
        """Bounding box of the landmarks (4,): x1, y1, x2, y2, px."""
        low, high = bounds(self.landmarks[:, :2])
        return np.concatenate([low, high])


class _Layer(NamedTuple):
    """Part of an image: colours, and the coverage of each pixel, 0..255."""

    left: int
    top: int
    color: Image
    cover: Image


def render(
    image_size: tuple[int, int],
    heads: Sequence[tuple[Head, State]],
    background: Image | None = None,
    *,
    light: Mapping[str, Any] | None = None,
    shoulders: bool = True,
    supersample: int | None = None,
) -> tuple[Image, list[GroundTruth | None]]:
    """Render heads.

    Parameters
    ----------
    image_size : (int, int)
        Height and width of the image, px.
    heads : sequence of (Head, State)
        The heads; a larger one is nearer, and hides smaller ones.
    background : ndarray (h, w, 3) uint8, optional
        BGR; uniform grey by default.
    light : mapping, optional
        Arguments of `Sim3DR.shade` that replace those of `LIGHT`.
    shoulders : bool
        Render neck and shoulders too.
    supersample : int or None
        Render heads this many times larger and average them, 1..4; None is 2 for small heads, otherwise 1.

    Returns
    -------
    image : ndarray (h, w, 3) uint8
        BGR, C-contiguous, new.
    targets : list of GroundTruth or None
        In the order of `heads`; None for those whose state is not visible.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> head = Head.procedural(aligner.face_model, seed=1)
    >>> image, targets = render((120, 160), [(head, State(size=60, x=80, y=60))])
    >>> image.shape, len(targets)
    ((120, 160, 3), 1)
    """
    height, width = checked_size("image_size", image_size)
    if background is None:
        out = np.full((height, width, 3), 128, dtype=np.uint8)
    else:
        if checked_image("background", background).shape[:2] != (height, width):
            raise ValueError(f"background: expected {height} x {width} px, as in image_size, got {background.shape}")
        out = np.array(background, order="C")
    if supersample is not None and supersample not in (1, 2, 3, 4):
        raise ValueError(f"supersample: expected 1..4 or None, got {supersample!r}")
    lamp = {**LIGHT, **(light or {})}
    for index, pair in enumerate(heads):
        if len(pair) != 2 or not isinstance(pair[0], Head) or not isinstance(pair[1], State):
            raise TypeError(f"heads[{index}]: expected (Head, State), got {tuple(type(v).__name__ for v in pair)}")

    targets: list[GroundTruth | None] = [None] * len(heads)
    nearer: list[_Layer] = []
    drawn: list[list[_Layer]] = []
    for index in sorted(range(len(heads)), key=lambda i: -heads[i][1].size):
        head, state = heads[index]
        if not state.visible:
            continue
        camera = _camera(head.model, state)
        expression = expression_weights(head.model, state.expression)
        face = head.model.vertices(head.shape, expression)
        projected = camera.project(face)
        landmarks = camera.project(head.model.landmarks(head.shape, expression))
        seen = _seen(projected, head.model, (height, width), nearer)
        targets[index] = GroundTruth(camera, head.shape, expression, landmarks, seen)
        factor = supersample or (2 if state.size < _SUPERSAMPLED_UNDER else 1)
        layers = _layers(head, state, camera, face, (height, width), lamp, factor, shoulders)
        drawn.append(layers)
        nearer += layers
    for layers in reversed(drawn):
        for layer in layers:
            _composite(out, layer)
    return out, targets


def degrade(
    image: Image,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    blur: float = 0.0,
    jpeg: int | None = None,
) -> Image:
    """Add the defects of a camera to an image: blur, noise and JPEG compression.

    Parameters
    ----------
    image : ndarray (h, w, 3) uint8
        BGR.
    rng : numpy.random.Generator
        Source of the noise.
    noise : float
        Standard deviation of the sensor noise, grey levels, 0 or more.
    blur : float
        Standard deviation of the lens blur, px, 0 or more.
    jpeg : int or None
        Quality of the JPEG compression, 1..100; None for no compression.

    Returns
    -------
    ndarray (h, w, 3) uint8
        A new image.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or dtype.

    Examples
    --------
    >>> degrade(image, np.random.default_rng(0), noise=2, blur=0.7, jpeg=80).shape == image.shape
    True
    """
    out = checked_image("image", image).copy()
    for name, value in (("noise", noise), ("blur", blur)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: expected 0 or more, got {value}")
    if jpeg is not None and not 1 <= jpeg <= 100:
        raise ValueError(f"jpeg: expected a quality of 1..100, got {jpeg}")
    if blur > 0:
        out = cv2.GaussianBlur(out, (0, 0), blur)
    if noise > 0:
        grain = rng.standard_normal(out.shape, dtype=np.float32)
        out = np.clip(np.rint(out + np.float32(noise) * grain), 0, 255).astype(np.uint8)
    if jpeg is not None:
        done, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(jpeg)])
        assert done
        out = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(out)


def expression_weights(model: FaceModel, weights: Mapping[str, float]) -> Floats:
    """Convert expression weights by name to the weights (e,) of a face model.

    Parameters
    ----------
    model : FaceModel
        The face model.
    weights : mapping of str to float
        ``eyeBlink`` sets ``eyeBlinkLeft`` and ``eyeBlinkRight``; expressions without a name here are 0.

    Raises
    ------
    ValueError
        If a name is unknown, or a weight is outside of the range of the model.

    Examples
    --------
    >>> weights = expression_weights(aligner.face_model, {"eyeBlink": 1})
    >>> float(weights.sum())
    2.0
    """
    out = np.zeros(model.expression_count, dtype=np.float32)
    index = _name_index(model)
    for name, weight in weights.items():
        at = [index[full] for full in (name, f"{name}Left", f"{name}Right") if full in index]
        if not at:
            close = difflib.get_close_matches(name, index, n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"expression: expected names of the face model, got {name!r}{hint}")
        if model.expression_range is not None:
            low, high = model.expression_range
            if not low <= weight <= high:
                raise ValueError(f"expression[{name!r}]: expected a weight of {low:g}..{high:g}, got {weight:g}")
        out[at] = weight
    return out


def checked_size(name: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of an image as integers; raise TypeError or ValueError otherwise."""
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected (height, width) in whole px, got {size!r}") from None
    if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
        raise ValueError(f"{name}: expected sides of 1..{_LARGEST_SIDE} px, got {height} x {width}")
    return height, width


@lru_cache(maxsize=4)
def _name_index(model: FaceModel) -> dict[str, int]:
    return {name: i for i, name in enumerate(model.expression_names)}


def _camera(model: FaceModel, state: State) -> Camera:
    scale = state.size / mean_size(model)
    return Camera.from_pose(state.yaw, state.pitch, state.roll, scale, (state.x, state.y, 0.0))


def _seen(projected: Floats, model: FaceModel, size: tuple[int, int], nearer: Sequence[_Layer]) -> float:
    """Visible fraction of the area that faces the viewer: centres in the image, and not behind a nearer layer."""
    height, width = size
    low, high = bounds(projected[:, :2])
    left, top, right, bottom = (float(v) for v in (*low, *high))
    nearer = [
        layer
        for layer in nearer
        if layer.left <= right
        and layer.top <= bottom
        and left <= layer.left + layer.cover.shape[1]
        and top <= layer.top + layer.cover.shape[0]
    ]
    if not nearer and left >= 0 and top >= 0 and right <= width - 1 and bottom <= height - 1:
        return 1.0
    first, second, third = (projected[model.triangles[:, corner], :2] for corner in range(3))
    a, b = second - first, third - first
    area = b[:, 0] * a[:, 1] - a[:, 0] * b[:, 1]
    front = area > 0
    area, middle = area[front], (first + second + third)[front]
    total = float(area.sum())
    if total <= 0:
        return 0.0
    # clipped: positions far outside do not fit into integers
    column, row = np.rint(np.clip(middle.T / 3, -(2**20), 2**20)).astype(np.int64)
    seen = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    for layer in nearer:
        rows, columns = layer.cover.shape
        r, c = row - layer.top, column - layer.left
        behind = seen & (r >= 0) & (c >= 0) & (r < rows) & (c < columns)
        seen[behind] = layer.cover[r[behind], c[behind]] < 128
    return float(area[seen].sum()) / total


def _layers(
    head: Head,
    state: State,
    camera: Camera,
    face: Floats,
    size: tuple[int, int],
    light: Mapping[str, Any],
    factor: int,
    shoulders: bool,
) -> list[_Layer]:
    """The layers of a head, farthest first."""
    upper, lower = surfaces(head, state.yaw, state.roll, camera, face)
    pixels_per_unit = state.size / mean_size(head.model)
    if not shoulders:
        count = head.bust.head_triangles
        upper = upper._replace(triangles=upper.triangles[:count], on_atlas=upper.on_atlas[:count])
    layers = [_layer(upper, head, size, light, factor, pixels_per_unit)]
    if shoulders:
        layers.insert(0, _layer(lower, head, size, light, 1, pixels_per_unit))
    return [layer for layer in layers if layer is not None]


def _layer(
    surface: Surface,
    head: Head,
    size: tuple[int, int],
    light: Mapping[str, Any],
    factor: int,
    pixels_per_unit: float,
) -> _Layer | None:
    """Render a surface with texture and light; None if it is outside of the image."""
    vertices, triangles, atlas_triangles, atlas_points = surface
    window = covered_window(vertices, size)
    if window is None:
        return None
    left, top, width, height = window
    lit = shade(vertex_normals(vertices, triangles), **light)
    raster = rasterize(vertices, triangles, window, cull="back", factor=factor)

    texture = atlas_level(head, pixels_per_unit * factor)
    texels = texture.shape[1]
    maps = interpolate(raster, atlas_triangles, atlas_points * np.float32(texels) - np.float32(0.5))
    color = cv2.remap(texture, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gain = interpolate(raster, triangles, (lit.diffuse + lit.specular)[:, None])[..., 0]
    mask = raster.mask.view(np.uint8)
    color = cv2.multiply(color, cv2.merge([gain, gain, gain]), dtype=cv2.CV_8U)
    if factor == 1:
        near = cv2.blur(mask * np.uint8(255), (3, 3))
        # a pixel on a straight outline has a third of its neighbours outside, one on a corner more
        cover = cv2.convertScaleAbs(np.maximum(near, 128), alpha=2.0, beta=-204.0) * mask
        cover = np.maximum(cover, mask * np.uint8(51))
        return _Layer(left, top, np.asarray(color), np.asarray(cover, dtype=np.uint8))
    cover = cv2.resize(mask * np.uint8(255), (width, height), interpolation=cv2.INTER_AREA)
    color = cv2.resize(cv2.copyTo(color, mask), (width, height), interpolation=cv2.INTER_AREA)
    # the averages contain black where there is no surface
    at = np.flatnonzero(cover.reshape(-1) % 255)
    pixels = color.reshape(-1, 3)
    pixels[at] = np.minimum(pixels[at] * (255 / cover.reshape(-1)[at, None]), 255).astype(np.uint8)
    return _Layer(left, top, color, cover)


def _composite(out: Image, layer: _Layer) -> None:
    height, width = layer.cover.shape
    target = out[layer.top : layer.top + height, layer.left : layer.left + width]
    opaque = (layer.cover == 255).view(np.uint8)  # OpenCV cannot compare an image of one pixel with a number
    cv2.copyTo(layer.color, opaque, target)
    at = np.flatnonzero(layer.cover.reshape(-1) % 255)  # neither 0 nor 255
    where = np.divmod(at, width)
    weight = layer.cover.reshape(-1)[at, None] * np.float32(1 / 255)
    target[where] = np.rint(layer.color.reshape(-1, 3)[at] * weight + target[where] * (1 - weight)).astype(np.uint8)
