"""Heads to render: shape, texture and surroundings of a face, from a photo or procedural."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from Sim3DR import interpolate, rasterize
from tddfa._shared.arrays import checked, checked_image
from tddfa.aligner import Aligner
from tddfa.decoder import Decoder
from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.surface.sampling import sample
from tddfa.surface.texture import FILLED, Texture, texel_positions, unwrap
from tddfa.surface.visibility import visibility
from tddfa.synthetic.bust import (
    ATLAS_HEIGHT,
    BODY_ROWS,
    COLUMNS,
    DARK_ROW,
    NECK_ROWS,
    RINGS,
    SKULL_ROWS,
    Bust,
    bust_of,
)
from tddfa.types import Face, Mesh

Image = NDArray[np.uint8]
Color = tuple[float, float, float]

_DARK: Color = (26, 20, 44)  # mouth and eye sockets, BGR
_SCLERA: Color = (205, 212, 216)
# The width of the smallest level of the atlas, texels.
_SMALLEST_LEVEL = 32
# ranges of v and u on the UV map that are certain to be skin: cheeks and nose
_CHEEKS = ((0.42, 0.62), (0.36, 0.64))
# above this height, cm in the frame of the open face model, hair frames the face
_TEMPLES = 5.5
# Movement of a point of the upper lid when the eye closes, as a fraction of the largest: at the rim of the lid, and
# well inside it.
_LID_TRAVEL = (0.25, 0.5)
# landmarks of the lower edge of the jaw
_JAW = slice(4, 13)


@dataclass(frozen=True, eq=False)
class Head:
    """A head that can be rendered.

    Attributes
    ----------
    model : FaceModel
        The face model, with `uv`.
    shape : ndarray (s,) float32
        Its shape coefficients.
    texture : ndarray (size, size, 3) uint8
        BGR, on the face model's UV map; row 0 is v = 1.
    hair, skin, clothes : tuple of float
        BGR, 0..255: the colours around the face.
    jaw_lift : float
        How far the surface below the jaw is lifted: 0 leaves it as in the face model, 1 brings it to the height of the
        jaw's landmarks.

    Examples
    --------
    >>> Head.procedural(aligner.face_model, seed=3).texture.shape
    (256, 256, 3)
    """

    model: FaceModel
    shape: NDArray[np.float32]
    texture: Image
    hair: Color = (40, 52, 66)
    skin: Color = (135, 160, 205)
    clothes: Color = (90, 70, 60)
    jaw_lift: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.model, FaceModel):
            raise TypeError(f"model: expected a FaceModel, got {type(self.model).__name__}")
        bust_of(self.model)
        object.__setattr__(self, "shape", checked("shape", self.shape, (self.model.shape_count,)))
        texture = checked_image("texture", self.texture)
        if texture.shape[0] != texture.shape[1] or texture.shape[0] < 16:
            raise ValueError(f"texture: expected shape (size, size, 3), 16 px or more, got {texture.shape}")
        for name in ("hair", "skin", "clothes"):
            color = checked(name, getattr(self, name), (3,))
            if color.min() < 0 or color.max() > 255:
                raise ValueError(f"{name}: expected BGR in 0..255, got {color.tolist()}")
            object.__setattr__(self, name, tuple(color.tolist()))
        jaw_lift = float(checked("jaw_lift", [self.jaw_lift], (1,), np.float64)[0])
        if not 0 <= jaw_lift <= 2:
            raise ValueError(f"jaw_lift: expected 0..2, got {jaw_lift:g}")
        object.__setattr__(self, "jaw_lift", jaw_lift)

    @classmethod
    def from_photo(cls, image: Image, aligner: Aligner, *, size: int = 512, face: Face | None = None) -> Head:
        """Make a head from a photo.

        Parameters
        ----------
        image : ndarray (h, w, 3) uint8
            BGR.
        aligner : Aligner
            Detects and aligns the face; its face model is used.
        size : int
            Side of the texture, px.
        face : Face, optional
            The face in the photo; by default the largest.

        Raises
        ------
        ValueError
            If there is no face in the photo.
        """
        checked_image("image", image)
        if face is None:
            faces = aligner(image)
            if not faces:
                raise ValueError("image: expected a photo with a face, got one without")
            face = max(faces, key=lambda found: float(np.ptp(found.landmarks[:, :2], axis=0).max()))
        return cls.from_face(image, face, aligner.decoder, size)

    @classmethod
    def from_face(cls, image: Image, face: Face, decoder: Decoder, size: int = 512) -> Head:
        """Take the head of a face that is aligned already; see `from_photo`."""
        model = decoder.face_model
        bust = bust_of(model)
        unwrapped = unwrap(image, decoder.mesh(face), size=size)
        texture = mended(unwrapped, model)
        (low, high), (left, right) = _CHEEKS
        cheeks = texture[int((1 - high) * size) : int((1 - low) * size), int(left * size) : int(right * size)]
        skin = np.median(cheeks.reshape(-1, 3), axis=0)
        vertices = model.vertices(face.params.shape, face.params.expression)
        rings = bust.skull(vertices)[2:5]
        top = rings[0, :, 1] > bust.place(np.array([0, 7.0, 0]))[1]
        hair = _median_color(image, face.camera.project(rings[:, top].reshape(-1, 3).astype(np.float32)))
        chest = bust.place([(x, y, 6.0) for x in np.linspace(-12, 12, 13) for y in np.linspace(-26, -21, 5)])
        clothes = _median_color(image, face.camera.project(chest.astype(np.float32)))
        return cls(
            model,
            face.params.shape,
            texture,
            hair=_color(hair, cls.hair),
            skin=_color(skin, cls.skin),
            clothes=_color(clothes, cls.clothes),
        )

    @classmethod
    def procedural(cls, model: FaceModel, seed: int = 0, *, size: int = 256) -> Head:
        """Make a procedural head.

        Parameters
        ----------
        model : FaceModel
            With `uv`; its regions of eyes, brows and lips are used if it has them.
        seed : int
            Seed of the identity; the same seed gives the same head.
        size : int
            Side of the texture, px.
        """
        rng = np.random.default_rng(seed)
        shape = rng.normal(0, 0.7, model.shape_count).astype(np.float32)
        tone = rng.uniform(0, 1)
        skin = (1 - tone) * np.array([165.0, 190, 228]) + tone * np.array([60.0, 86, 130])
        hair = np.array([[30.0, 34, 40], [36, 56, 84], [80, 128, 164], [120, 122, 124]])[rng.integers(4)]
        hair *= rng.uniform(0.8, 1.1)
        clothes = rng.uniform(30, 190, 3)
        texture = _painted(model, size, skin, np.minimum(hair, 0.6 * skin), rng)
        return cls(model, shape, texture, _color(hair, cls.hair), _color(skin, cls.skin), _color(clothes, cls.clothes))

    @cached_property
    def bust(self) -> Bust:
        """The parts around the face."""
        return bust_of(self.model)

    def vertices(self, face: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vertices (k, 3) of face, skull and plugs around the vertices (n, 3) of the face."""
        return self._lifted(self.bust.head(face), face).astype(np.float32, copy=False)

    def skull(self, face: NDArray[np.float32]) -> NDArray[np.floating]:
        """Rings (rings, columns, 3) of the skull; see `tddfa.synthetic.bust.Bust.skull`."""
        return self._lifted(self.bust.skull(face), face)

    def _lifted(self, points: NDArray[np.floating], face: NDArray[np.float32]) -> NDArray[np.floating]:
        if not self.jaw_lift:
            return points
        model = self.model
        jaw = (face[model.landmark_triangles[_JAW]] * model.landmark_weights[_JAW, :, None]).sum(axis=1)
        return self.bust.lifted(points, jaw, self.jaw_lift)

    @cached_property
    def atlas(self) -> list[Image]:
        """Face, skull, neck and clothes on one map; each level is half as large as the previous one."""
        size = len(self.texture)
        whole = np.zeros((round(ATLAS_HEIGHT * size), size, 3), dtype=np.float32)
        whole[:size] = self.texture
        known = np.zeros(whole.shape[:2], dtype=np.float32)
        known[:size] = face_texels(self.model, size)
        self._paint_skull(whole, known)
        neck, body = ([round(row * size) for row in rows] for rows in (NECK_ROWS, BODY_ROWS))
        margin = max(size // 64, 2)
        rng = np.random.default_rng(1)
        skin = 0.9 * np.array(self.skin)
        for (first, last), color, grain in (
            (neck, skin, 2.0),
            (body, np.array(self.clothes), 5.0),
        ):
            rows = slice(first - margin, last + margin)
            part = whole[rows]
            part[:] = np.clip(color + rng.normal(0, grain, (*part.shape[:2], 1)), 0, 255)
            known[rows] = 1
        row = round(DARK_ROW * size)
        whole[row - margin // 2 : row + margin // 2 + 1] = _DARK
        known[row - margin // 2 : row + margin // 2 + 1] = 1
        return pyramid(whole, known)

    def _paint_skull(self, whole: NDArray[np.float32], known: NDArray[np.float32]) -> None:
        """Paint the skull: from the colours of the edge of the face to hair, or to skin below the ears."""
        size, bust = len(self.texture), self.bust
        first, last = round(SKULL_ROWS[0] * size), round(SKULL_ROWS[1] * size)
        x = np.linspace(0, 1, size)
        edge = bust.atlas_points[bust.loop] * size - 0.5
        # slightly inside, where the UV map certainly has the colour of the face
        middle = np.array([0.5 * size, 0.45 * size])
        inner = edge + 4 * (size / 512) * (middle - edge) / np.linalg.norm(middle - edge, axis=1, keepdims=True)
        colors = sample(self.texture, inner.astype(np.float32)).astype(np.float32)
        s = np.clip((x - 0.01) / 0.98, 0, 1)
        at = (s * len(edge)).astype(np.intp) % len(edge)
        edge_colors = cv2.GaussianBlur(np.tile(colors[at], (3, 1))[None], (0, 0), size / 170)[0, size : 2 * size]

        skull = bust.skull(self.model.mean)
        height = (skull[..., 1] - bust.origin[1]) / bust.scale
        t = np.clip((np.arange(first, last + 1) - first) / (last - first), 0, 1)
        rows = np.concatenate([[0], RINGS, [1]])
        height = np.concatenate([height[:1], height])
        columns = (s * COLUMNS).astype(np.intp) % COLUMNS
        lower = np.searchsorted(rows, t, side="right").clip(1, len(rows) - 1) - 1
        weight = ((t - rows[lower]) / (rows[lower + 1] - rows[lower]))[:, None]
        y = height[lower][:, columns] * (1 - weight) + height[lower + 1][:, columns] * weight
        hairy = _smoothstep((y + 2.5 + 3 * (t[:, None] - 0.5)) / 2.5)

        rng = np.random.default_rng(0)
        strands = rng.normal(0, 1, (len(t), size)).astype(np.float32)
        strands = cv2.GaussianBlur(strands, (0, 0), sigmaX=size / 500, sigmaY=size / 25)
        strands = 1 + 0.16 * strands / max(float(strands.std()), 1e-6)
        hair = np.array(self.hair) * strands[..., None]
        color = hair * hairy[..., None] + 0.88 * np.array(self.skin) * (1 - hairy[..., None])
        begin = _smoothstep(t / 0.09)[:, None, None]
        color = edge_colors * (1 - begin) + color * begin
        whole[first : last + 1] = np.clip(color, 0, 255)
        whole[last + 1 : last + 1 + size // 64] = whole[last]
        known[first : last + 1 + size // 64] = 1


def mended(unwrapped: Texture, model: FaceModel) -> Image:
    """Complete the texture of a photo where the photo shows nothing: whites of the eyes, closed lids, hairline.

    Parameters
    ----------
    unwrapped : Texture
        Of a face of the model.
    model : FaceModel
        With `uv`, as the open face model.

    Returns
    -------
    ndarray (size, size, 3) uint8
        BGR; for heads that move, as those of `tddfa.avatar`.

    Examples
    --------
    >>> from tddfa.surface.texture import unwrap
    >>> mended(unwrap(image, mesh, size=64), aligner.face_model).shape
    (64, 64, 3)
    """
    texture, size = unwrapped.image, len(unwrapped.image)
    filled = unwrapped.mask == FILLED
    # hair is continued from its last visible texels; the fill has left its colour around them and beyond the UV map
    hairline = filled & (_texel_heights(model, size) > _TEMPLES)
    reach = max(size // 48, 2)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    unknown = cv2.dilate(hairline.view(np.uint8), around) & (hairline | _not_well_seen(unwrapped.mask, reach // 2))
    # the lid of an open eye is folded, and the photo shows lashes and shade there: it gets skin from around the eye
    covered = face_texels(model, size)
    texture = np.where(unknown[..., None] > 0, _nearest(texture, (covered > 0) & (unknown == 0)), texture)
    known = covered * (1 - _lid_texels(model, size))
    completed = np.rint(pyramid(texture.astype(np.float32), known)[0]).astype(np.uint8)
    # `unwrap` has painted what the photo does not show of an eye
    return np.where(_eye_texels(model, size)[..., None], unwrapped.image, completed)


def _nearest(image: Image, known: NDArray[np.bool_]) -> Image:
    """The colour of the nearest known pixel for each pixel, blurred slightly."""
    _, labels = cv2.distanceTransformWithLabels((~known).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colors = np.zeros((int(labels.max()) + 1, 3), dtype=np.uint8)
    colors[labels[known]] = image[known]
    return np.asarray(cv2.GaussianBlur(colors[labels], (0, 0), len(image) / 170))


def _not_well_seen(mask: NDArray[np.uint8], reach: int) -> NDArray[np.bool_]:
    """All texels but those that come from the photo and have only such neighbours."""
    near = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return np.asarray(cv2.erode((mask > FILLED).view(np.uint8), near) == 0)


def _color(values: ArrayLike | None, default: Color) -> Color:
    if values is None:
        return default
    b, g, r = (float(np.clip(value, 0, 255)) for value in np.asarray(values))
    return b, g, r


def _median_color(image: Image, points: NDArray[np.float32]) -> NDArray[np.float64] | None:
    height, width = image.shape[:2]
    x, y = points[:, 0], points[:, 1]
    inside = points[(x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)]
    return np.median(sample(image, inside), axis=0) if len(inside) > 5 else None


def on_uv_map(model: FaceModel, size: int, attributes: NDArray[np.floating], background: float) -> NDArray[np.float32]:
    """Interpolate vertex attributes (n, c) over the UV map."""
    assert model.uv is not None
    flat = np.zeros((len(model.uv), 3), dtype=np.float32)
    flat[:, :2] = texel_positions(model.uv, size)
    raster = rasterize(flat, model.triangles, (0, 0, size, size))
    return interpolate(raster, model.triangles, attributes, background=background)


@lru_cache(maxsize=8)
def face_texels(model: FaceModel, size: int) -> NDArray[np.float32]:
    """1 where the UV map contains a surface, 0 elsewhere."""
    return on_uv_map(model, size, np.ones((len(model.mean), 1)), 0.0)[..., 0]


@lru_cache(maxsize=8)
def _eye_texels(model: FaceModel, size: int) -> NDArray[np.bool_]:
    """The texels of the eyeballs."""
    return on_uv_map(model, size, np.isin(model.part, (1, 2))[:, None].astype(np.float32), 0.0)[..., 0] > 0.5


@lru_cache(maxsize=8)
def _texel_heights(model: FaceModel, size: int) -> NDArray[np.float32]:
    """Height of each texel on the mean face, cm of the open face model."""
    bust = bust_of(model)
    height = (model.mean[:, 1:2] - bust.origin[1]) / bust.scale
    return on_uv_map(model, size, height, -np.inf)[..., 0]


@lru_cache(maxsize=8)
def _lid_texels(model: FaceModel, size: int) -> NDArray[np.float32]:
    """1 on the upper lids, which move farthest when the eyes close; 0 elsewhere."""
    travel = np.zeros(len(model.mean))
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        if name in model.expression_names:
            moves = model.basis[model.shape_count + model.expression_names.index(name)]
            distance = np.linalg.norm(moves, axis=1) * (model.part == 0)
            travel = np.maximum(travel, distance / max(float(distance.max()), 1e-6))
    first, last = _LID_TRAVEL
    return on_uv_map(model, size, _smoothstep((travel - first) / (last - first))[:, None], 0.0)[..., 0]


def _painted(
    model: FaceModel,
    size: int,
    skin: NDArray[np.float64],
    hair: NDArray[np.float64],
    rng: np.random.Generator,
) -> Image:
    """Paint a face on its UV map: skin with blotches, lips, brows, eyes, shade in the hollows."""
    mean = model.mean.astype(np.float64)
    paint = np.tile(skin, (len(mean), 1))

    def stain(vertices: NDArray[np.integer], color: NDArray[np.floating], weight: NDArray[np.floating] | float) -> None:
        mix = np.broadcast_to(np.asarray(weight, dtype=np.float64), vertices.shape)[:, None]
        paint[vertices] = paint[vertices] * (1 - mix) + color * mix

    scale = bust_of(model).scale
    for name in ("left_brow", "right_brow"):
        if name in model.regions:
            stain(model.regions[name], hair, 0.85)
    if "lips" in model.regions:
        stain(model.regions["lips"], skin * (0.72, 0.62, 0.86), 0.8)
    iris = np.array([[70.0, 96, 120], [130, 110, 80], [40, 60, 92]])[rng.integers(3)]
    for part in (1, 2):
        eye = np.flatnonzero(model.part == part)
        if not len(eye):
            continue
        front = eye[np.argmax(mean[eye, 2])]
        off = np.linalg.norm(mean[eye, :2] - mean[front, :2], axis=1) / scale
        paint[eye] = np.minimum(_SCLERA, 1.3 * skin.max())
        stain(eye, iris, _smoothstep((0.68 - off) / 0.12))
        stain(eye, np.array([18.0, 16, 16]), _smoothstep((0.30 - off) / 0.08))
        near = np.flatnonzero(model.part == 0)
        centre = mean[eye].mean(axis=0)
        away = np.linalg.norm((mean[near] - centre) * (0.75, 1.2, 0.6), axis=1) / scale
        stain(near, skin * (0.62, 0.62, 0.68), 0.55 * _smoothstep((1.75 - away) / 0.9))
    # the inside (nostrils, mouth, backs of the lids) is dark
    hidden = 1 - openness(model)
    edge = mean[bust_of(model).loop[::4]]
    from_edge = np.sqrt(np.min([np.square(mean - point).sum(axis=1) for point in edge], axis=0)) / scale
    hidden[from_edge < 1.5] = 0  # nothing hides the edge
    inside = np.flatnonzero(model.part == 0)
    stain(inside, skin * 0.35, 0.75 * hidden[inside])
    if model.shade is not None:
        paint *= model.shade[:, None]
    colors = on_uv_map(model, size, paint, 0.0)
    coarse = rng.normal(0, 1, (size, size, 1)).astype(np.float32)
    blotches = cv2.GaussianBlur(coarse, (0, 0), size / 40)[..., None]
    grain = cv2.GaussianBlur(coarse, (0, 0), size / 400)[..., None]
    colors *= 1 + 0.03 * blotches / blotches.std() + 0.025 * grain / grain.std()
    levels = pyramid(colors, face_texels(model, size))
    return levels[0]


def openness(model: FaceModel) -> NDArray[np.float64]:
    """1 for vertices that are visible from the front or the sides, 0 for those in folds and hollows."""
    seen = np.zeros(len(model.mean))
    scale = 12 / bust_of(model).scale
    for yaw, pitch in ((0, 0), (45, 0), (-45, 0), (80, 0), (-80, 0), (0, 35), (0, -35)):
        camera = Camera.from_pose(yaw, pitch, 0, scale, (200, 200, 0))
        mesh = Mesh(camera.project(model.mean), model.triangles)
        seen = np.maximum(seen, visibility(mesh, (400, 400)))
    return np.clip(seen * 2, 0, 1)


def pyramid(whole: NDArray[np.float32], known: NDArray[np.float32]) -> list[Image]:
    """Levels of a map, each half as large as the previous one; unknown texels get the colour of their surroundings."""
    layers = [np.dstack([whole * known[..., None], known])]
    while min(layers[-1].shape[:2]) > 1:
        half = tuple(max(1, side // 2) for side in layers[-1].shape[1::-1])
        layers.append(cv2.resize(layers[-1], half, interpolation=cv2.INTER_AREA))
    filled = layers[-1][..., :3] / np.maximum(layers[-1][..., 3:], 1e-6)
    levels: list[Image] = []
    for layer in reversed(layers):
        filled = cv2.resize(filled, layer.shape[1::-1], interpolation=cv2.INTER_LINEAR).reshape(*layer.shape[:2], 3)
        weight = layer[..., 3:]
        filled = layer[..., :3] + (1 - weight) * filled
        levels.append(np.rint(np.clip(filled, 0, 255)).astype(np.uint8))
    levels.reverse()
    return [level for level in levels if level.shape[1] >= _SMALLEST_LEVEL] or levels[:1]


def _smoothstep(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)
