"""Eyeballs that turn: their centres, their axes of gaze, and rows of the eyeLook expressions that rotate them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tddfa.modelling.closing import Sphere, front_of_eye
from tddfa.modelling.draft import LEFT_EYE, RIGHT_EYE, Draft

GAZE_DEGREES = 30.0
"""Rotation of an eyeball at weight 1. Apple does not publish one for ARKit; common rigs take about 30 degrees."""

# Side of the eye, x component of the direction towards the nose.
_EYES = ((LEFT_EYE, "Left", -1.0), (RIGHT_EYE, "Right", 1.0))


def with_gaze(draft: Draft) -> Draft:
    """Let the eyeLook expressions rotate the eyeballs about their centres.

    The eyeballs of the first edition do not move with any eyeLook expression; only the lids do. A row is the whole way of
    each vertex at weight 1, ``(R - I) (p - c)``, so that the eyeball is exactly rotated there, and a little smaller
    in between (3.4 % at most).

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
    extra = {
        "eye_centres": np.array(centres, dtype=np.float32),
        "gaze_axes": np.tile(np.float32([0, 0, 1]), (2, 1)),
        "gaze_degrees": np.float32(GAZE_DEGREES),
    }
    return replace(draft, expression_basis=rows, extra={**draft.extra, **extra})


def _towards(x: float, y: float, degrees: float) -> NDArray[np.float64]:
    """Rotation (3, 3) that turns the front (+z) towards +-x or +-y."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    if y == 0:
        return np.array([[cosine, 0, x * sine], [0, 1, 0], [-x * sine, 0, cosine]])
    return np.array([[1, 0, 0], [0, cosine, y * sine], [0, -y * sine, cosine]])
