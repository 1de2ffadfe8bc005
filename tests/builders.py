"""Faces, meshes and face models made by hand, for tests. Every argument has a default that suits most of them."""

from __future__ import annotations

import numpy as np

from tddfa.geometry.camera import Camera
from tddfa.model.face_model import FaceModel
from tddfa.types import Face, Mesh, Params, Roi

CROP_SIZE = 120


def without_volumes(kinds):
    """The kinds of a table that models with a mesh can make: all but the volumes of JVCR."""
    return {name: kind for name, kind in kinds.items() if kind.takes != "volumes"}


def neutral(model):
    """Shape and expression coefficients of the mean face: zeros."""
    return np.zeros(model.shape_count, np.float32), np.zeros(model.expression_count, np.float32)


def make_landmarks(seed=0, low=10.0, high=90.0):
    """68 points (68, 3) without order, in px."""
    return np.random.default_rng(seed).uniform(low, high, (68, 3)).astype(np.float32)


def make_params(camera=None, shape=(), expression=()):
    """Parameters; the camera to crop px is the identity unless given."""
    return Params(np.eye(3, 4) if camera is None else camera, shape, expression)


def make_face(
    model=None,
    camera=None,
    *,
    shape=None,
    expression=None,
    landmarks=None,
    box=None,
    score=1.0,
    roi=None,
    params=None,
    crop_size=CROP_SIZE,
    **options,
):
    """A face whose camera, parameters, landmarks, box and Roi agree.

    With a `model`, the landmarks are those of `shape` and `expression` (zeros unless given); without one they are
    `landmarks` (68, 2 or 3), or some points. `options` are the other fields of `Face`.
    """
    camera = Camera.from_pose(0, 0, 0) if camera is None else camera
    if model is not None:
        shape = neutral(model)[0] if shape is None else shape
        expression = neutral(model)[1] if expression is None else expression
        if landmarks is None:
            landmarks = camera.project(model.landmarks(shape, expression))
    points = np.zeros((68, 3), np.float32)
    landmarks = make_landmarks() if landmarks is None else np.asarray(landmarks)
    points[:, : landmarks.shape[1]] = landmarks
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    if roi is None:
        roi = Roi.around(*((low + high) / 2), max(float((high - low).max()), 1.0))
    if params is None:
        shape, expression = (np.zeros(1) if value is None else value for value in (shape, expression))
        params = Params(roi.unfold(camera, crop_size), shape, expression)
    return Face(np.concatenate([low, high]) if box is None else box, score, roi, params, camera, points, **options)


def make_mesh(model, camera=None, shape=None, expression=None):
    """The surface of a face model in image px."""
    camera = Camera.from_pose(0, 0, 0) if camera is None else camera
    zeros = neutral(model)
    vertices = model.vertices(zeros[0] if shape is None else shape, zeros[1] if expression is None else expression)
    return Mesh(camera.project(vertices), model.triangles, None, model.uv, model.shade)


def make_face_model(seed=3, **changes):
    """A face model of six vertices, with two shapes and three expressions named a, b, c."""
    rng = np.random.default_rng(seed)
    fields = {
        "mean": rng.normal(size=(6, 3)).astype(np.float32),
        "basis": rng.normal(size=(5, 6, 3)).astype(np.float32),
        "shape_count": 2,
        "triangles": np.array([[0, 1, 2], [3, 4, 5]], np.int32),
        "landmark_triangles": rng.integers(0, 6, (68, 3)).astype(np.int32),
        "landmark_weights": np.full((68, 3), 1 / 3, np.float32),
        "uv": None,
        "part": np.zeros(6, np.uint8),
        "regions": {},
        "expression_names": ("a", "b", "c"),
        "expression_range": (0.0, 1.0),
        "unit": "cm",
        "licence": "none",
    }
    return FaceModel(**(fields | changes))
