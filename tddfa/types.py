"""The data that the functions of this package exchange: plain, frozen, checked when created."""

from __future__ import annotations

import contextlib
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tddfa import landmarks68
from tddfa._shared.arrays import checked
from tddfa.geometry import plain, squares
from tddfa.geometry.camera import Camera
from tddfa.geometry.gaze import Gaze
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.geometry.rotation import euler_from_rotation
from tddfa.geometry.six_dof import SixDof, from_weak_perspective

SCHEMA = 1
"""Version of the record of a face. Every file of faces stores it under the key ``schema``."""

Type = TypeVar("Type")


def unchecked(kind: type[Type], **fields: object) -> Type:
    """Return an object of one of these classes whose fields were checked before, as rows of a table."""
    made = object.__new__(kind)
    made.__dict__.update(fields)
    return made


class FaceDecoder(Protocol):
    """The part of a `tddfa.Decoder` that `Face.to_dict` calls."""

    convention: str

    @property
    def has_mesh(self) -> bool:
        """Whether faces have a mesh."""

    @property
    def unit(self) -> str:
        """Unit of the face model."""

    def visible(self, face: Face) -> NDArray[np.bool_]:
        """Which landmarks the camera sees."""

    def six_dof(self, face: Face, intrinsics: Intrinsics | None = None) -> SixDof:
        """Pose of the head."""

    def expression(self, face: Face) -> dict[str, float]:
        """Expression weights by name."""

    def gaze(self, face: Face) -> Gaze | None:
        """Directions in which the eyes look."""


@dataclass(frozen=True)
class Roi:
    """Square region of an image, upright or rotated: the part that the regressor sees.

    Attributes
    ----------
    left, top : float
        Left and top *edges* before the rotation, px. Pixel centres are at whole numbers, so the image's own edges are
        at -0.5.
    side : float
        Width and height, px.
    angle : float
        Rotation about the centre of the square, degrees, clockwise in the image, -180..180: a head with this roll is
        upright in the crop.

    Examples
    --------
    >>> from tddfa import Roi
    >>> roi = Roi.around(100, 80, side=40)
    >>> roi
    Roi(left=80.0, top=60.0, side=40.0, angle=0.0)
    >>> round(roi.iou(Roi(80, 70, 40)), 3)
    0.6
    >>> Roi.around(100, 80, side=40, angle=90).corners().tolist()  # its left top corner is at the right of the image
    [[120.0, 60.0], [120.0, 100.0], [80.0, 100.0], [80.0, 60.0]]
    """

    left: float
    top: float
    side: float
    angle: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("left", "top", "side", "angle"):
            given = getattr(self, name)
            try:
                value = np.nan if isinstance(given, str) else float(given)
            except (TypeError, ValueError, OverflowError):
                value = np.nan
            if not np.isfinite(value):
                if isinstance(given, Real):
                    raise ValueError(f"Roi.{name}: expected a finite number, got {given}")
                raise TypeError(f"Roi.{name}: expected a number, got {given!r}")
            object.__setattr__(self, name, value)
        if self.side <= 0:
            raise ValueError(f"Roi.side: expected more than 0 px, got {self.side}")
        if not -180 <= self.angle <= 180:
            object.__setattr__(self, "angle", (self.angle + 180) % 360 - 180)

    @classmethod
    def around(cls, x: float, y: float, side: float, angle: float = 0.0) -> Roi:
        """Square of `side` px centred on (x, y), rotated by `angle` degrees."""
        return cls(x - side / 2, y - side / 2, side, angle)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) of the square, px."""
        return self.left + self.side / 2, self.top + self.side / 2

    @property
    def row(self) -> NDArray[np.float64]:
        """The square as an array (1, 4), for the functions of `tddfa.geometry.squares`."""
        return np.array([[self.left, self.top, self.side, self.angle]])

    def corners(self) -> NDArray[np.float64]:
        """Corners (4, 2), px: left top, right top, right bottom and left bottom of the crop."""
        return squares.corners(self.row)[0]

    def iou(self, other: Roi) -> float:
        """Intersection over union of two squares: 0 (apart) to 1 (the same)."""
        return float(squares.iou(self.row, other.row)[0])

    def crop_to_image(self, crop_size: int) -> NDArray[np.float64]:
        """Matrix (2, 3) that maps px of a crop of `crop_size` to px of the image."""
        linear = self.side / crop_size * squares.rotations_in_image(np.array([self.angle]))[0]
        return np.column_stack([linear, squares.offsets(self.row, crop_size)[0]])

    def fold(self, camera: ArrayLike, crop_size: int) -> Camera:
        """Convert a camera matrix (3, 4) to crop px into a camera to image px. z is scaled like x and y."""
        return Camera(squares.fold(self.row, np.asarray(camera)[None], crop_size)[0])

    def unfold(self, camera: Camera, crop_size: int) -> NDArray[np.float32]:
        """Convert a camera to image px into a camera matrix (3, 4) to crop px: the inverse of `fold`."""
        return squares.unfold(self.row, camera.matrix[None], crop_size)[0]


@dataclass(frozen=True, eq=False)
class Params:
    """What the regressor predicts for one face.

    Attributes
    ----------
    camera : ndarray (3, 4) float32
        Face model to crop px.
    shape : ndarray (s,) float32
        Coefficients of the face model's `shape_basis`.
    expression : ndarray (e,) float32
        Coefficients of the face model's `expression_basis`.
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
    """One face of one image. It refers to no model and to no image, so it can be pickled and sent elsewhere.

    Attributes
    ----------
    box : ndarray (4,) float32
        x1, y1, x2, y2 in px: the detected or the given box, or the box around the Roi if only a Roi was given. If the
        IoU of a detected box with the box of the landmarks is under 0.5, the box of the landmarks replaces it, unless
        the aligner's `rotations` is ``off``.
    score : float
        The regressor's score, if the model has one: the probability that the alignment is right
        (``docs/thresholds.md``). Otherwise the detector's score, or 1 if there is none.
    roi : Roi
        The square of the pass that gave the result.
    params : Params
        Prediction of the regressor for that square. In two-pass inference with flip, it is the mean of the passes if
        their squares overlap.
    camera : Camera
        Face model to image px.
    landmarks : ndarray (68, 3) float32
        The 68 points of 300-W in image px, in the decoder's landmark convention; larger z is nearer.
    track_id : int or None
        Number of the track: the same for one person over the frames of a video. None without tracking.
    visible : ndarray (68,) bool or None
        Which landmarks the camera sees: not hidden by the face itself, and inside the image. None if it was not
        computed (``Aligner.load(visibility=True)`` does).
    image_size : tuple of int or None
        Height and width of the image, px.
    confidence : ndarray (68,) float32 or None
        Confidence of the network in each landmark, 0..1. It is 0.5 where the network expects an error of 4 % of the
        face's size, and low where an object hides the landmark. None if the model does not predict it.
    detected_points : ndarray (5, 2) float32 or None
        The detector's five points in image px: right eye, left eye, nose tip, right and left mouth corner of the face
        (`FaceBoxes.detections.POINTS`). None if the detector predicts none, or did not find this face.

    Examples
    --------
    >>> face = aligner(image)[0]
    >>> face
    Face(box=[178 82 273 187], score=1.000)
    >>> face.landmarks.shape, face.image_size
    ((68, 3), (512, 512))
    >>> abs(round(face.camera.euler_degrees().yaw)) < 3
    True
    """

    box: NDArray[np.float32]
    score: float
    roi: Roi
    params: Params
    camera: Camera
    landmarks: NDArray[np.float32]
    _: KW_ONLY
    track_id: int | None = None
    visible: NDArray[np.bool_] | None = None
    image_size: tuple[int, int] | None = None
    confidence: NDArray[np.float32] | None = None
    detected_points: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the arrays."""
        object.__setattr__(self, "box", checked("Face.box", self.box, (4,)))
        object.__setattr__(self, "landmarks", checked("Face.landmarks", self.landmarks, (68, 3)))
        object.__setattr__(self, "score", float(self.score))
        if self.visible is not None:
            object.__setattr__(self, "visible", checked("Face.visible", self.visible, (68,), np.bool_))
        if self.confidence is not None:
            object.__setattr__(self, "confidence", checked("Face.confidence", self.confidence, (68,)))
        if self.detected_points is not None:
            points = checked("Face.detected_points", self.detected_points, (5, 2))
            object.__setattr__(self, "detected_points", points)

    def __repr__(self) -> str:
        """Return one line: all arrays would be 200."""
        box = " ".join(f"{value:.0f}" for value in self.box)
        track = "" if self.track_id is None else f", track_id={self.track_id}"
        return f"Face(box=[{box}], score={self.score:.3f}{track})"

    @property
    def model_landmarks(self) -> NDArray[np.float64]:
        """The landmarks (68, 3) in the face model's frame and unit: `landmarks`, mapped back by `camera`.

        Raises
        ------
        ValueError
            If the camera's matrix cannot be inverted.
        """
        return self.camera.unproject(self.landmarks)

    def contours(self, *names: str) -> dict[str, NDArray[np.float32]]:
        """Return the landmarks of parts of the face as lines, by name (`tddfa.landmarks68.contours`).

        Parameters
        ----------
        *names : str
            Groups (``jaw``, ``brows``, ``nose``, ``eyes``, ``lips``) and parts (``left_eye``, ``outer_lips``, …: the
            keys of `tddfa.landmarks68.PARTS`). Without a name: all parts.

        Returns
        -------
        dict of str to ndarray (n, 3) float32
            Part -> its landmarks in image px; eyes and lips end at the point where they begin.

        Raises
        ------
        ValueError
            If there is no such part or group; the message lists the names.

        Examples
        --------
        >>> {name: line.shape for name, line in face.contours("eyes").items()}
        {'right_eye': (7, 3), 'left_eye': (7, 3)}
        """
        return landmarks68.contours(self.landmarks, *names)

    def six_dof(self, intrinsics: Intrinsics | None = None, *, points: ArrayLike | None = None) -> SixDof:
        """Pose of the head in the frame of a perspective camera.

        Parameters
        ----------
        intrinsics : Intrinsics, optional
            The camera. None assumes one for an image of `image_size`, as img2pose does: f = width + height.
        points : array_like (n, 3), optional
            The head's surface in the model's frame and unit. None takes the 68 landmarks; `Decoder.six_dof` takes the
            dense surface, which is more accurate.

        Returns
        -------
        SixDof
            Rotation, translation in the model's unit, and reprojection error. The method is described in
            `tddfa.geometry.six_dof.from_weak_perspective`.

        Raises
        ------
        ValueError
            If neither `intrinsics` nor `image_size` is known, or if no pose in front of the camera fits.

        Examples
        --------
        >>> pose = face.six_dof()
        >>> pose.translation.shape, 100 < pose.distance < 200  # cm
        ((3,), True)
        """
        if intrinsics is None:
            if self.image_size is None:
                raise ValueError("intrinsics: expected Intrinsics, got None for a face without image_size")
            intrinsics = Intrinsics.assumed(self.image_size)
        surface = self.model_landmarks if points is None else points
        return from_weak_perspective(self.camera.matrix, surface, intrinsics)

    def to_dict(
        self,
        decoder: FaceDecoder | None = None,
        intrinsics: Intrinsics | None = None,
        *,
        dense: bool = True,
        pose: SixDof | None = None,
    ) -> dict[str, Any]:
        """Return the face as a record of plain numbers, in image px, degrees and cm.

        ``.json``, ``.jsonl``, ``.npz`` and Parquet files of faces use the same keys. `SCHEMA` is the version of the
        record, and ``docs/face.schema.json`` is its JSON Schema.

        Parameters
        ----------
        decoder : Decoder, optional
            Decoder of the face. Without it, ``expression`` is a list of coefficients instead of weights by name, and
            ``landmark_convention``, ``gaze`` and ``six_dof`` are null.
        intrinsics : Intrinsics, optional
            The camera, for ``six_dof``; None assumes one, see `Face.six_dof`.
        dense : bool
            Compute ``visible`` and ``six_dof`` from the dense surface, which takes about 6 ms. If False, ``visible`` is
            `Face.visible`, and ``six_dof`` is null.
        pose : SixDof, optional
            Pose of the face for these `intrinsics`, if it is computed already.

        Returns
        -------
        dict
            A dict that `json.dumps` accepts. ``six_dof`` is also null if no pose in front of the camera fits. If the
            model has no mesh, ``shape``, ``expression``, ``gaze``, ``visible`` and ``six_dof`` are null.

        Examples
        --------
        >>> record = face.to_dict(aligner.decoder)
        >>> list(record)[:6]
        ['box', 'score', 'roi', 'pose', 'pose_order', 'rotation']
        >>> record["landmark_convention"], record["six_dof"]["unit"]
        ('300w', 'cm')
        """
        rotation = self.camera.rotation
        record = {
            "box": plain.rounded(self.box, 2),
            "score": round(self.score, 5),
            "roi": {name: round(getattr(self.roi, name), 3) for name in ("left", "top", "side", "angle")},
            "pose": plain.angles(euler_from_rotation(rotation)),
            "pose_order": plain.VIEW_ORDER,
            "rotation": plain.rounded(rotation, 6),
            "quaternion": plain.quaternion(rotation),
            "camera": plain.rounded(self.camera.matrix, 5),
            "scale": round(self.camera.scale, 5),
            "landmarks": plain.rounded(self.landmarks, 3),
            "landmark_convention": None,
            "shape": plain.rounded(self.params.shape, 5),
            "expression": plain.rounded(self.params.expression, 4),
            "gaze": None,
            "track_id": self.track_id,
            "visible": None if self.visible is None else self.visible.tolist(),
            "six_dof": None,
            "confidence": None if self.confidence is None else plain.rounded(self.confidence, 4),
        }
        if self.detected_points is not None:
            record["detected_points"] = plain.rounded(self.detected_points, 2)
        if decoder is not None:
            record["landmark_convention"] = decoder.convention
        if decoder is not None and not decoder.has_mesh:
            return record | {"shape": None, "expression": None}
        if decoder is not None:
            record["expression"] = {name: round(weight, 4) for name, weight in decoder.expression(self).items()}
            gaze = decoder.gaze(self)
            record["gaze"] = None if gaze is None else {eye: plain.angles(at) for eye, at in gaze._asdict().items()}
        if decoder is not None and dense:
            record |= self._dense_record(decoder, intrinsics, pose)
        return record

    def _dense_record(self, decoder: FaceDecoder, intrinsics: Intrinsics | None, pose: SixDof | None) -> dict[str, Any]:
        visible = decoder.visible(self) if self.visible is None else self.visible
        record: dict[str, Any] = {"visible": visible.tolist(), "six_dof": None}
        if pose is None and (intrinsics is not None or self.image_size is not None):
            # no pose fits a face of a very wide lens that is nearer than its own size
            with contextlib.suppress(ValueError):
                pose = decoder.six_dof(self, intrinsics)
        if pose is not None:
            record["six_dof"] = plain.six_dof(
                pose, self.model_landmarks, self.image_size, unit=decoder.unit, assumed=intrinsics is None
            )
        return record


@dataclass(frozen=True, eq=False)
class Mesh:
    """Surface of a face in the image.

    Attributes
    ----------
    vertices : ndarray (n, 3) float32
        Image px: x right, y down, z larger is nearer.
    triangles : ndarray (m, 3) int32
        Vertex indices, counter-clockwise as seen from outside the face.
    colors : ndarray (n, 3) float32 or None
        RGB in 0..1.
    uv : ndarray (n, 2) float32 or None
        Texture coordinates in 0..1, v up.
    shade : ndarray (n,) float32 or None
        Brightness factor of each vertex, 0..1: low inside the mouth. It is used for drawing without colours, and for
        parts of a texture that the photo does not show.
    opacity : ndarray (n,) float32 or None
        Opacity of a vertex in a drawing, 0..1: 0 on the rim, less than 1 on the ears.
    tone : ndarray (n,) float32 or None
        Brightness factor of each vertex in a drawing without colours: `shade`, with darker irises and lips.
    part : ndarray (n,) uint8 or None
        0 face, 1 left eyeball, 2 right eyeball, 3 inside of the mouth.

    Examples
    --------
    >>> mesh = aligner.decoder.mesh(face)
    >>> mesh.vertices.shape[1], mesh.triangles.shape[1]
    (3, 3)
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    colors: NDArray[np.float32] | None = None
    uv: NDArray[np.float32] | None = None
    shade: NDArray[np.float32] | None = None
    opacity: NDArray[np.float32] | None = None
    tone: NDArray[np.float32] | None = None
    part: NDArray[np.uint8] | None = None

    def __repr__(self) -> str:
        """Return one line: all arrays would be 50."""
        return f"Mesh({len(self.vertices)} vertices, {len(self.triangles)} triangles)"

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
        for name, shape in (
            ("colors", (count, 3)),
            ("uv", (count, 2)),
            *((name, (count,)) for name in ("shade", "opacity", "tone")),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checked(f"Mesh.{name}", value, shape))
        if self.part is not None:
            object.__setattr__(self, "part", checked("Mesh.part", self.part, (count,), np.uint8))

    def with_vertices(self, vertices: NDArray[np.float32]) -> Mesh:
        """Return the same surface with other vertices (n, 3). Only the new vertices are checked.

        Examples
        --------
        >>> moved = mesh.with_vertices(mesh.vertices + 5)
        >>> moved.triangles is mesh.triangles
        True
        """
        return unchecked(
            type(self), **self.__dict__ | {"vertices": checked("Mesh.vertices", vertices, self.vertices.shape)}
        )
