"""Eyeballs that turn: their centres, their axes of gaze, and rows of the eyeLook expressions that rotate them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tddfa.model.face_model import LEFT_EYE, RIGHT_EYE
from tddfa.modelling.closing import Sphere, front_of_eye
from tddfa.modelling.draft import Draft
from tddfa.modelling.mediapipe import IRISES
from tddfa.modelling.teacher import stored_arrays

GAZE_DEGREES = 30.0
"""Rotation of an eyeball at weight 1. Apple does not publish one for ARKit; common rigs take about 30 degrees."""

# Side of the eye, x component of the direction towards the nose.
_EYES = ((LEFT_EYE, "Left", -1.0), (RIGHT_EYE, "Right", 1.0))


def with_gaze(draft: Draft) -> Draft:
    """Let the eyeLook expressions rotate the eyeballs about their centres.

    In the first edition only the lids move with the eyeLook expressions. A row is the displacement of each vertex at
    weight 1, ``(R - I) (p - c)``. At weight 1 the eyeball is exactly rotated; in between it is up to 3.4 % smaller.

    Returns
    -------
    Draft
        With the arrays ``eye_centres (2, 3)``, cm, and ``gaze_axes (2, 3)``, unit vectors, of the neutral mean face;
        left eye first.
    """
    rows = draft.expression_basis.copy()
    centres = []
    for part, side, to_nose in _EYES:
        sphere = Sphere.fit(draft.mean[front_of_eye(draft, part)])
        centres.append(sphere.centre)
        ball = np.flatnonzero(draft.part == part)
        offset = draft.mean[ball].astype(np.float64) - sphere.centre
        for name, direction in (
            ("In", (to_nose, 0.0)), ("Out", (-to_nose, 0.0)), ("Up", (0.0, 1.0)), ("Down", (0.0, -1.0)),
        ):  # fmt: skip
            moved = offset @ _towards(*direction, GAZE_DEGREES).T - offset
            rows[draft.expression(f"eyeLook{name}{side}"), ball] = moved.astype(np.float16)
    axes = iris_centres(draft) - np.array(centres)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    extra = {
        "eye_centres": np.array(centres, dtype=np.float32),
        "gaze_axes": axes.astype(np.float32),
        "gaze_degrees": np.float32(GAZE_DEGREES),
    }
    return replace(draft, expression_basis=rows, extra={**draft.extra, **extra})


def iris_centres(draft: Draft) -> NDArray[np.float64]:
    """Centres (2, 3) of the irises on the mean face, left eye first: those of MediaPipe's points.

    They lie about 6 degrees to the outer side of straight ahead, as in the eyes of the ICT face model.
    """
    points = stored_arrays()
    rows = [IRISES[LEFT_EYE], IRISES[RIGHT_EYE]]
    corners = draft.mean[points["points_mediapipe_triangles"][rows]].astype(np.float64)
    return np.asarray((corners * points["points_mediapipe_weights"][rows, :, None]).sum(axis=1))


def _towards(x: float, y: float, degrees: float) -> NDArray[np.float64]:
    """Rotation (3, 3) that turns the front (+z) towards +-x or +-y."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    if y == 0:
        return np.array([[cosine, 0, x * sine], [0, 1, 0], [-x * sine, 0, cosine]])
    return np.array([[1, 0, 0], [0, cosine, y * sine], [0, -y * sine, cosine]])
