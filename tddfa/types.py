"""What the functions of this package pass to each other: plain, frozen, checked when made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa._shared.arrays import checked
from tddfa.geometry.camera import Camera


@dataclass(frozen=True)
class Roi:
    """Square region of an image, the part that the regressor sees.

    Attributes
    ----------
    left, top : float
        Its left and top *edges*, px; pixel centres are at whole numbers, so the image's own edges are at -0.5.
    side : float
        Its width and height, px.
    """

    left: float
    top: float
    side: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("left", "top", "side"):
            value = float(getattr(self, name))
            if not np.isfinite(value):
                raise ValueError(f"Roi.{name}: expected a finite number, got {value}")
            object.__setattr__(self, name, value)
        if self.side <= 0:
            raise ValueError(f"Roi.side: expected more than 0 px, got {self.side}")

    @classmethod
    def around(cls, x: float, y: float, side: float) -> Roi:
        """The square of `side` px centred on (x, y)."""
        return cls(x - side / 2, y - side / 2, side)

    def iou(self, other: Roi) -> float:
        """Area that two squares share, by the area that they cover: 0 (apart) to 1 (the same)."""
        width = min(self.left + self.side, other.left + other.side) - max(self.left, other.left)
        height = min(self.top + self.side, other.top + other.side) - max(self.top, other.top)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.side**2 + other.side**2 - width * height)

    def crop_to_image(self, crop_size: int) -> tuple[float, float, float]:
        """Scale and offsets that map px of a crop of `crop_size` to px of the image: ``x = scale * u + dx``."""
        scale = self.side / crop_size
        return scale, self.left + 0.5 * scale, self.top + 0.5 * scale

    def fold(self, camera: ArrayLike, crop_size: int) -> Camera:
        """Camera to image px from a camera (3, 4) to px of the crop; z is scaled as x and y are."""
        scale, dx, dy = self.crop_to_image(crop_size)
        matrix = np.asarray(camera, dtype=np.float64) * scale
        matrix[0, 3] += dx
        matrix[1, 3] += dy
        return Camera(matrix.astype(np.float32))

    def unfold(self, camera: Camera, crop_size: int) -> NDArray[np.float32]:
        """Camera (3, 4) to px of the crop from one to image px: the inverse of `fold`."""
        scale, dx, dy = self.crop_to_image(crop_size)
        matrix = camera.matrix.astype(np.float64)
        matrix[0, 3] -= dx
        matrix[1, 3] -= dy
        return np.asarray(matrix / scale, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Params:
    """What the regressor says of one face.

    Attributes
    ----------
    camera : ndarray (3, 4) float32
        Face model to px of the crop.
    shape : ndarray (s,) float32
        Coefficients of the face model's `shape_basis`.
    expression : ndarray (e,) float32
        Coefficients of its `expression_basis`.
    """

    camera: NDArray[np.float32]
    shape: NDArray[np.float32]
    expression: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the arrays."""
        for name, shape in (("camera", (3, 4)), ("shape", (None,)), ("expression", (None,))):
            object.__setattr__(self, name, checked(f"Params.{name}", getattr(self, name), shape))


@dataclass(frozen=True, eq=False)
class Face:
    """One face of one picture. It refers to no model and no image, so it pickles and travels.

    Attributes
    ----------
    box : ndarray (4,) float32
        x1, y1, x2, y2 in px: the detector's, the caller's, or the Roi's edges where only a Roi was given.
    score : float
        The regressor's face score where the model has one, else the detector's, else 1.
    roi : Roi
        What the regressor saw; last, where it looked more than once.
    params : Params
        What it said, of that square; where it looked at the face's mirror image too, the mean (`tddfa.Aligner`).
    camera : Camera
        Face model to image px.
    landmarks : ndarray (68, 3) float32
        The 68 points of 300-W in image px, by the landmark convention of the aligner's face model; z larger is nearer.
    visible : ndarray (68,) bool or None
        Which landmarks the camera sees: not hidden by the face itself, and in the picture. None where it was not asked
        for (``Aligner.load(visibility=True)``).
    track_id : int or None
        The same for one person over the frames of a video.
    mean_of : tuple of Face
        The faces of other frames that this one is the mean of (`tddfa.tracking.smoothing.mean_of`); mostly none.
    """

    box: NDArray[np.float32]
    score: float
    roi: Roi
    params: Params
    camera: Camera
    landmarks: NDArray[np.float32]
    track_id: int | None = None
    visible: NDArray[np.bool_] | None = None
    mean_of: tuple[Face, ...] = ()

    def __post_init__(self) -> None:
        """Check the arrays."""
        object.__setattr__(self, "box", checked("Face.box", self.box, (4,)))
        object.__setattr__(self, "landmarks", checked("Face.landmarks", self.landmarks, (68, 3)))
        object.__setattr__(self, "score", float(self.score))
        if self.visible is not None:
            object.__setattr__(self, "visible", checked("Face.visible", self.visible, (68,), np.bool_))


@dataclass(frozen=True, eq=False)
class Mesh:
    """A face's surface in the image.

    Attributes
    ----------
    vertices : ndarray (n, 3) float32
        Image px: x right, y down, z larger is nearer.
    triangles : ndarray (m, 3) int32
        Vertex indices, wound counter-clockwise for one who looks at the outside of the face.
    colors : ndarray (n, 3) float32 or None
        RGB in 0..1.
    uv : ndarray (n, 2) float32 or None
        Texture coordinates in 0..1, v up.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colors: NDArray[np.float32] | None = None
    uv: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the arrays against each other."""
        vertices = checked("Mesh.vertices", self.vertices, (None, 3))
        triangles = checked("Mesh.triangles", self.triangles, (None, 3), np.int32)
        count = len(vertices)
        if triangles.size and (triangles.min() < 0 or triangles.max() >= count):
            raise ValueError(
                f"Mesh.triangles: expected indices 0..{count - 1}, got {triangles.min()}..{triangles.max()}"
            )
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "triangles", triangles)
        for name, width in (("colors", 3), ("uv", 2)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(f"Mesh.{name}", value, (count, width)))
