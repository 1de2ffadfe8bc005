"""Types of the service's answers: the record of a face, and the objects that contain it.

Pydantic checks the answers against these types, and OpenAPI describes them. ``docs/face.schema.json`` describes the
record of a face too; a test compares both.

>>> from tddfa.serve.answers import FACE_KEYS
>>> FACE_KEYS[:3]
('box', 'score', 'roi')
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from tddfa.geometry.plain import CAMERA_ORDER, VIEW_ORDER
from tddfa.model.catalogue import ModelCard

_exact = with_config(ConfigDict(extra="forbid", allow_inf_nan=False))

Angle = Annotated[float, Field(ge=-180, le=180)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Vector2 = Annotated[list[float], Field(min_length=2, max_length=2)]
Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Vector4 = Annotated[list[float], Field(min_length=4, max_length=4)]
Matrix3x3 = Annotated[list[Vector3], Field(min_length=3, max_length=3)]


@_exact
class Roi(TypedDict):
    """Square that the regressor saw: left and top edge before its rotation, and side, px; rotation, degrees."""

    left: float
    top: float
    side: Annotated[float, Field(gt=0)]
    angle: Angle


@_exact
class Pose(TypedDict):
    """Head pose relative to the line of sight, degrees."""

    yaw: Angle
    pitch: Angle
    roll: Angle


@_exact
class CameraPose(Pose):
    """Head pose relative to the camera's axis, degrees."""

    order: Literal[CAMERA_ORDER]  # type: ignore[valid-type]  # a constant of the record


@_exact
class Quaternion(TypedDict):
    """Unit quaternion."""

    order: Literal["wxyz"]
    values: Annotated[list[Annotated[float, Field(ge=-1, le=1)]], Field(min_length=4, max_length=4)]


@_exact
class Direction(TypedDict):
    """Direction of an eye relative to the head, degrees: yaw > 0 to the subject's left, pitch > 0 up."""

    yaw: Angle
    pitch: Angle


@_exact
class Gaze(TypedDict):
    """Directions of both eyes."""

    left: Direction
    right: Direction


@_exact
class Camera(TypedDict):
    """A perspective camera."""

    matrix: Matrix3x3
    distortion: Annotated[list[float], Field(max_length=14)]
    assumed: bool


@_exact
class SixDof(TypedDict):
    """Head pose before a perspective camera; lengths in `unit`."""

    rotation: Matrix3x3
    rotation_vector: Vector3
    img2pose_vector: Vector3
    quaternion: Quaternion
    euler: CameraPose
    translation: Vector3
    distance: Annotated[float, Field(ge=0)]
    unit: str
    box: Vector4 | None
    intrinsics: Camera
    reprojection_error_px: Annotated[float, Field(ge=0)]


@_exact
class Face(TypedDict, total=False):
    """A face, with the keys of `Face.to_dict` of tddfa, or with those that ``outputs`` selects."""

    box: Annotated[Vector4, Field(description="x1, y1, x2, y2, px.")]
    score: Annotated[float, Field(description="Face score.")]
    roi: Roi
    pose: Pose
    pose_order: Literal[VIEW_ORDER]  # type: ignore[valid-type]
    rotation: Annotated[Matrix3x3, Field(description="Head to view: x right, y up, z towards the viewer.")]
    quaternion: Quaternion
    camera: Annotated[list[Vector4], Field(min_length=3, max_length=3, description="Face model to image.")]
    scale: Annotated[float, Field(gt=0, description="px per unit of the face model.")]
    landmarks: Annotated[list[Vector3], Field(min_length=68, max_length=68, description="x, y, z, px.")]
    landmark_convention: str | None
    shape: Annotated[list[float] | None, Field(description="Coefficients; null if the model predicts no mesh.")]
    expression: Annotated[
        dict[str, float] | None, Field(description="Weights by name; null if the model predicts no mesh.")
    ]
    gaze: Gaze | None
    track_id: Annotated[int | None, Field(ge=0, description="Null in a photo.")]
    visible: Annotated[
        Annotated[list[bool], Field(min_length=68, max_length=68)] | None,
        Field(description="Which landmarks the camera sees; null with dense=false."),
    ]
    six_dof: Annotated[SixDof | None, Field(description="Null with dense=false, or if no pose fits.")]
    confidence: Annotated[
        Annotated[list[Fraction], Field(min_length=68, max_length=68)] | None,
        Field(description="Confidence of the landmarks; null if the model does not predict it."),
    ]
    detected_points: Annotated[
        list[Vector2], Field(min_length=5, max_length=5, description="The detector's; missing if it predicts none.")
    ]


FACE_KEYS: tuple[str, ...] = tuple(Face.__annotations__)
"""Keys of a face, in the order of the answer."""


@_exact
class Faces(TypedDict):
    """The faces of an image, in descending order of their detection scores."""

    schema: Annotated[int, Field(description="Version of the record of a face.")]
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    precision: Annotated[str, Field(description="Precision of the networks: float or int8.")]
    faces: list[Face]


@_exact
class Health(TypedDict):
    """Answer of a service that runs."""

    status: Literal["ok"]


@_exact
class Loaded(TypedDict):
    """The loaded model, and where it runs."""

    device: str
    precision: str
    landmark_convention: str
    licence: str
    kinds: Annotated[list[str], Field(description="Of POST /v1/draw/{kind}.")]


@_exact
class Models(TypedDict):
    """The loaded model, and all models that have a name."""

    loaded: Loaded
    models: list[ModelCard]


@_exact
class Problem(TypedDict):
    """Why a request is refused, in one line."""

    detail: str
