"""Directions in which eyes look."""

from __future__ import annotations

from typing import NamedTuple


class Direction(NamedTuple):
    """Direction in which an eye looks, relative to the head, degrees.

    Attributes
    ----------
    yaw : float
        Positive to the subject's left.
    pitch : float
        Positive upwards.
    """

    yaw: float
    pitch: float


class Gaze(NamedTuple):
    """Directions in which both eyes look, relative to the head.

    Attributes
    ----------
    left, right : Direction
        Of the subject's left and right eye; 0, 0 looks straight ahead, as a face without expression does.
    """

    left: Direction
    right: Direction
